"""Which queries are shown as those that changed most, and with what."""

import json
from dataclasses import replace

from made_study import VALUES, make_result, write_runs

from diptych.studying.examples import Changed, all_changed, examples_of, most_changed
from diptych.studying.run_answers import Answer


def test_the_largest_change_of_the_mean_over_seeds_comes_first():
    """q0: 0, 0 -> 1, 1; q1: 1, 1 -> 1, 0; q2: 0, 0 -> 1, 1; q3: 0, 1 -> 0, 1."""
    changed = all_changed(VALUES["single"]["recall_at_1"], VALUES["joined"]["recall_at_1"])
    q0, q1, q2, _ = changed
    assert [(one.query, one.before, one.after) for one in changed] == [
        *(("q0", 0.0, 1.0), ("q1", 1.0, 0.5), ("q2", 0.0, 1.0), ("q3", 0.5, 0.5))
    ]
    assert most_changed(changed, {}, 5) == [q0, q2, q1], "what did not change is none of them"
    assert most_changed(changed, {"q2": 1.5, "q1": 9.0}, 2) == [q2, q0], "of equals, whose target moved further"


def test_queries_that_one_arm_lacks_or_that_have_no_value_are_none():
    assert all_changed({0: {"a": 1.0, "b": None, "c": 1.0}}, {0: {"b": 1.0, "c": 0.0, "d": 1.0}}) == [
        Changed("c", 1.0, 0.0)
    ]
    assert all_changed({0: {"": 1.0}}, {0: {"": 2.0}}) == []


def test_an_example_has_its_picture_its_text_and_both_arms_answers(tmp_path):
    joined, all_texts, other = examples_of(write_runs(tmp_path))
    assert [(one.arm, one.control) for one in (joined, all_texts, other)] == [
        *(("joined", "single"), ("all", "single"), ("joined", "all"))
    ]
    assert (joined.risen, joined.fallen, joined.unchanged, joined.problem) == (2, 1, 1, "")
    assert [one.changed.query for one in joined.examples] == ["q2", "q0", "q1"], "q2 from rank 90 to 1, q0 from 9 to 1"
    first = joined.examples[0]
    assert first.asked.text == "make it 2" and first.asked.picture.path == tmp_path / "data/images/2.png"
    assert first.asked.target.image_id == "images/3.png"
    ranks = [{seed: answer.rank for seed, answer in side.answers.items()} for side in (first.control, first.arm)]
    assert ranks == [{0: 90, 1: 90}, {0: 1, 1: 1}]
    assert first.arm.first == Answer(found=("images/3.png", "images/0.png"), rank=1) and first.arm.first_seed == 0


def test_a_pair_without_values_per_query_has_no_examples():
    result = make_result()
    assert examples_of(replace(result, values={arm: {"recall_at_1": {0: {"": 1.0}}} for arm in VALUES})) == []


def test_queries_that_are_named_with_their_data_have_their_pictures(tmp_path):
    """As where another arm of the study was measured elsewhere."""
    result = write_runs(tmp_path)
    values = {
        arm: {
            metric: {seed: {f"rooms val: {query}": value for query, value in of.items()} for seed, of in by.items()}
            for metric, by in metrics.items()
        }
        for arm, metrics in result.values.items()
    }
    first = examples_of(replace(result, values=values))[0].examples[0]
    assert (first.changed.query, first.asked.text) == ("rooms val: q2", "make it 2") and first.arm.first.rank == 1


def test_damaged_answers_cost_the_pictures_and_not_the_page(tmp_path, caplog):
    result = write_runs(tmp_path)
    (tmp_path / "runs/joined_0_evaluate/predictions.jsonl").write_text("{")
    first = examples_of(result)[0]
    assert "predictions.jsonl:1" in first.problem and first.problem in caplog.text
    assert [one.changed.query for one in first.examples] == ["q0", "q2", "q1"]


def test_captions_stand_beside_each_other(tmp_path):
    result = write_runs(tmp_path)
    for arm in VALUES:
        lines = [{"query_id": f"q{number}", "caption": f"{arm} {number}"} for number in range(4)]
        path = tmp_path / f"runs/{arm}_0_evaluate/predictions.jsonl"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    first = examples_of(result)[0].examples[0]
    assert (first.control.first.caption, first.arm.first.caption) == ("single 2", "joined 2")
