"""Studies whose steps end at once."""

import pytest
from instant_steps import FAKE, STUDY, InstantSteps, write_study

from diptych.storage.run_status import read_status
from diptych.studying.planning import plan_study
from diptych.studying.running import run_steps
from diptych.studying.shown_plan import minutes_left, shown_plan
from diptych.studying.study_file import fix_plan

ALL = ["few_0_train", "few_0_evaluate", "few_1_train", "few_1_evaluate"]
ALL += ["more_0_second", "more_0_evaluate", "more_1_second", "more_1_evaluate"]


@pytest.fixture
def planned(tmp_path):
    InstantSteps.executed = []

    def planned(*words, text=STUDY):
        return plan_study("steps", [FAKE, *words], out=tmp_path / "out", own=write_study(tmp_path, text))

    return planned


def run(study):
    study.folder.mkdir(exist_ok=True)
    fix_plan(study.folder, study.study)
    return run_steps(study.study, study.steps, study.cluster)


def test_every_step_is_run_once_behind_those_that_it_needs(planned):
    study = planned()
    assert run(study) == {}
    assert InstantSteps.executed == ALL
    config = (study.steps.folder("more_1_second") / "config.yaml").read_text()
    assert f"init_from: {study.steps.folder('few_1_train')}\n" in config
    assert "max_steps: 3" in config and "log_every_n_steps: 7" in config  # the cluster's word, too
    assert read_status(study.steps.folder("more_1_evaluate")).overrides == ("ckpt=<more_1_second>", "split=val")
    assert run(planned()) == {}
    assert InstantSteps.executed == ALL


def test_independent_steps_run_at_once_where_there_is_room(planned):
    assert run(planned("+cluster.meet=2", "cluster.jobs=2")) == {}  # those of `few` wait for each other, two by two
    assert sorted(InstantSteps.executed) == sorted(ALL)


def test_a_step_that_fails_stops_only_those_that_need_it_and_is_tried_again(planned):
    study = planned("+cluster.failing=[more_0_second]")
    assert run(study) == {
        "more_0_second": "failed: no data",
        "more_0_evaluate": "not started: it needs more_0_second",
    }
    assert sorted(InstantSteps.executed) == sorted(set(ALL) - {"more_0_evaluate"})
    InstantSteps.executed = []
    assert run(planned()) == {}
    assert InstantSteps.executed == ["more_0_second", "more_0_evaluate"]


def test_the_plan_is_shown_and_nothing_is_written(planned, tmp_path):
    study = planned()
    text = shown_plan(study)
    assert not study.folder.exists()
    for line in (
        "steps: Do more steps help?",
        "  1. recall_at_1 of more against few: higher, least 0.2\n     more steps help",
        "few (control)\n  diptych train --config-dir=",
        "diptych evaluate --config-dir=",
        "   [shared]\n",
        "and the same for seed 1",
        "8 steps, 2 of them shared by arms, 0 done already\nabout 2 minutes, one step at a time",
    ):
        assert line in text, line


def test_minutes_are_those_of_steps_that_ran(planned):
    study = planned("+cluster.failing=[more_0_second,more_1_second]")
    run(study)
    assert minutes_left(study.study, study.steps) == pytest.approx(4 * 0.5)
    assert minutes_left(planned("seeds=[0,1]", text=STUDY).study, study.steps) == pytest.approx(2.0)


def test_a_mistake_in_a_step_is_found_before_any_is_run(planned):
    text = STUDY.replace("trainer.max_steps=${size.steps}", "trainer.max_step=${size.steps}")
    with pytest.raises(
        ValueError, match=r"study/steps.yaml: arm more, train \(more_0_second\): unknown key 'trainer.max_step'"
    ):
        planned(text=text)
    text = STUDY.replace("ckpt=<second>", "out=<second>")
    with pytest.raises(ValueError, match=r"arm more, evaluate \(more_0_evaluate\): unknown key 'out'"):
        planned(text=text)
