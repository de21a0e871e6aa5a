import json

import pytest
from instant_steps import FAKE, STUDY, make_ledger, write_study

from diptych.studying.planning import plan_study
from diptych.studying.running import run_steps
from diptych.studying.study_file import fix_plan
from diptych.studying.values import collect, values_by_query
from diptych.sweeping.run_records import find_runs


@pytest.fixture
def collected(tmp_path):
    def collected(*words, text=STUDY, between=lambda study: None):
        study = plan_study("steps", [FAKE, *words], out=tmp_path / "out", own=write_study(tmp_path, text))
        study.folder.mkdir()
        fix_plan(study.folder, study.study)
        not_done = run_steps(study.study, study.steps, study.cluster)
        between(study)
        return collect(study.study, study.steps, not_done)

    return collected


def test_values_are_those_of_the_last_steps_query_by_query(collected):
    found = collected()
    assert found.lost == {} and found.unlike() == []
    assert list(found.values) == ["few", "more"]
    of_seeds = found.values["few"]["recall_at_1"]
    assert {seed: sum(values.values()) / 20 for seed, values in of_seeds.items()} == {0: 0.2, 1: 0.3}
    assert list(of_seeds[1].items())[:4] == [("q0", 1.0), ("q1", 1.0), ("q2", 1.0), ("q3", 0.0)]
    assert found.meanings["recall_at_1"].unit == "fraction"


def test_an_arm_that_failed_for_one_seed_has_no_values_and_a_reason(collected):
    found = collected("+cluster.failing=[more_1_second]")
    assert list(found.values) == ["few"]
    assert found.lost == {"more": "more_1_evaluate: not started: it needs more_1_second"}


def test_a_metric_that_is_no_mean_has_one_value_a_seed_and_one_that_is_not_there_is_said(collected, caplog):
    text = STUDY.replace("metrics: [recall_at_1]", "metrics: [recall_at_1, corpus, recal_at_1]")
    found = collected(text=text)
    assert found.values["more"]["corpus"] == {0: {"": 3.5}, 1: {"": 3.5}}
    assert "recal_at_1" not in found.values["more"]
    assert "arm more has no recal_at_1. Did you mean 'recall_at_1'" in caplog.text


def test_a_metric_of_the_studys_own_is_made_of_others_query_by_query(collected, caplog):
    lack, none = ("{take: difference, of: [full_at_1, recall_at_1]}", "{take: mean, of: [full_at_1, absent]}")
    own = f"derived: {{lack: {lack}, none: {none}}}\n"

    def with_full(study):
        for path in study.folder.glob("steps/*_evaluate/scores.jsonl"):
            lines = [json.loads(line) | {"full_at_1": 1.0} for line in path.read_text().splitlines()]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            result = json.loads((metrics := path.with_name("metrics.json")).read_text())
            metrics.write_text(json.dumps(result | {"metrics": result["metrics"] | {"full_at_1": 1.0}}))

    found = collected(text=STUDY.replace("metrics: [recall_at_1]", "metrics: [lack, none]") + own, between=with_full)
    few = found.values["few"]
    assert list(few) == ["lack", "recall_at_1"]  # the second of the hypothesis; parts are not kept
    assert few["lack"] == {
        seed: {query: 1 - value for query, value in few["recall_at_1"][seed].items()} for seed in few["lack"]
    }
    assert (found.meanings["lack"].unit, found.meanings["lack"].better) == ("fraction", None)
    assert "arm few has no none." in caplog.text and "arm few has no absent." in caplog.text


def test_arms_that_were_measured_unlike_are_said_and_their_queries_are_not_paired(collected):
    def elsewhere(study):
        for seed in (0, 1):
            path = study.steps.folder(f"more_{seed}_evaluate") / "metrics.json"
            path.write_text(path.read_text().replace('"val"', '"test"'))

    found = collected(between=elsewhere)
    assert found.unlike() == ["split: val (few); test (more)"]
    assert next(iter(found.values["few"]["recall_at_1"][0])) == "rooms val: q0"
    assert next(iter(found.values["more"]["recall_at_1"][0])) == "rooms test: q0"


def test_a_step_that_measures_nothing_costs_its_arm(collected):
    found = collected(between=lambda study: (study.steps.folder("few_0_evaluate") / "metrics.json").unlink())
    assert list(found.values) == ["more"]
    assert "no metrics.json; an arm's last step must be one that measures" in found.lost["few"]


def test_what_the_last_step_has_not_measured_is_looked_for_before_it_and_amounts_are_summed_up(collected):
    text = STUDY.replace("metrics: [recall_at_1]", "metrics: [recall_at_1, said/claims_wrong, requests, cost_usd]")
    step = "    - pipeline: [pipeline=merge_triplets, 'folders=[x]', seed=<seed>]\n"
    text = text.replace("  few:\n", f"  few:\n{step}      as: one\n")
    text = text.replace("  more:\n", "  more:\n" + step + step.replace("]\n", ", num_workers=1]\n"))
    rate = {"rate": 0.25, "part": 1, "of": 4}

    def annotate(study):
        for name, number in (("few_0_one", 2), ("few_1_one", 2), ("more_0_pipeline", 5), ("more_1_pipeline", 5)):
            folder = study.steps.folder(name)
            make_ledger(folder, number)
            (folder / "metrics.json").unlink()
            (folder / "audit_triplets").mkdir()
            audit = {"pairs": 4, "not_audited": 0, "ways": {"said": {"claims_wrong": rate}}}
            (folder / "audit_triplets/audit.json").write_text(json.dumps(audit))
            (folder / "audit_triplets/records.jsonl").write_text("")

    found = collected(text=text, between=annotate)
    assert found.values["few"]["requests"] == {0: {"": 2.0}, 1: {"": 2.0}}
    assert found.values["more"]["requests"] == {0: {"": 7.0}, 1: {"": 7.0}}  # its first step is that of few
    assert found.values["more"]["cost_usd"][0][""] == pytest.approx(7 * 120 / 1e6)
    assert found.values["more"]["said/claims_wrong"] == {0: {"": 0.25}, 1: {"": 0.25}}
    assert found.meanings["requests"].unit == "count" and found.meanings["said/claims_wrong"].better == "lower"
    assert found.values["more"]["recall_at_1"][0]["q0"] == 1.0  # of the evaluation


def test_of_several_sets_a_metric_of_one_has_its_queries(tmp_path):
    lines = [
        {"query_id": "q", "set": "dress", "recall_at_1": 1.0},
        {"query_id": "q", "set": "shirt", "recall_at_1": 0.0},
    ]
    lines += [{"query_id": "r", "set": "shirt", "recall_at_1": 0.0}]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = {"recall_at_1": 0.5, "dress/recall_at_1": 1.0, "shirt/recall_at_1": 0.0}
    content = {"data": ["fashioniq"], "split": "val", "lines": {}, "queries": {"scored": 3, "expected": 3}}
    (tmp_path / "metrics.json").write_text(json.dumps({**content, "metrics": metrics}))
    (run,) = find_runs(tmp_path)
    assert values_by_query(run, ["shirt/recall_at_1", "recall_at_1", "absent"]) == {
        "shirt/recall_at_1": {"shirt/q": 0.0, "shirt/r": 0.0},
        "recall_at_1": {"": 0.5},  # of the sets' means
    }
