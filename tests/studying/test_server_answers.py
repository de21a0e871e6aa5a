"""What servers have answered becomes a part of a study's table."""

import json

import pytest
from instant_steps import FAKE, STUDY, InstantSteps, write_study

from diptych.studying.planning import plan_study
from diptych.studying.study import run_study

TEXT = STUDY.replace("metrics: [recall_at_1]", "metrics: [recall_at_1, circo/map_at_5]")


@pytest.fixture
def run(tmp_path):
    def run(answers):
        study = plan_study("steps", [FAKE], out=tmp_path / "out", own=write_study(tmp_path, TEXT))
        study.folder.mkdir(exist_ok=True)
        (study.folder / "server_answers.json").write_text(json.dumps(answers))
        return run_study(study)[0]

    return run


def test_answers_are_values_of_their_arms_and_compared_over_seeds(run):
    few, more = {"0": {"circo/map_at_5": 0.02}, "1": {"circo/map_at_5": 0.03}}, {"0": {"circo/map_at_5": 0.05}}
    result = run({"few": few, "more": more})
    assert result.values["few"]["circo/map_at_5"] == {0: {"": 0.02}, 1: {"": 0.03}}
    assert "circo/map_at_5" not in result.values["more"]  # the second seed's is not there yet
    done = list(InstantSteps.executed)
    result = run({"few": few, "more": more | {"1": {"circo/map_at_5": 0.07}}})
    assert InstantSteps.executed == done
    (found,) = (one for one in result.comparisons if one.metric == "circo/map_at_5")
    assert (found.num_seeds, found.num_queries) == (2, 0) and found.difference == pytest.approx(0.035)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"mor": {}}, r"server_answers.json: there is no arm 'mor', only few, more. Did you mean 'more'"),
        ({"more": {"7": {}}}, r"more was not run with seed '7', only 0, 1"),
        ({"more": {"0": {"circo/map_at_50": 0.1}}}, r"the study does not show 'circo/map_at_50'.* Did you mean"),
        ({"more": {"0": {"circo/map_at_5": "4.64"}}}, r"must be a finite number"),
    ],
)
def test_mistakes_are_named_before_anything_runs(run, answers, message):
    InstantSteps.executed = []
    with pytest.raises(ValueError, match=message):
        run(answers)
    assert InstantSteps.executed == []
