import json

import pytest
from instant_steps import FAKE, STUDY, write_study

from diptych.studying.planning import plan_study
from diptych.studying.study_file import FILE, fix_plan, plan_hash


@pytest.fixture
def planned(tmp_path):
    def planned(*words, text=STUDY, quick=False):
        own = write_study(tmp_path, text)
        return plan_study("steps", [FAKE, *words], quick, tmp_path / "out", own)

    return planned


def fix(study):
    study.folder.mkdir(exist_ok=True)
    return fix_plan(study.folder, study.study)


def test_the_plan_is_written_once_with_its_hash(planned):
    study = planned()
    fix(study)
    written = (study.folder / FILE).read_bytes()
    content = json.loads(written)
    assert content["plan"] == study.study.record() and content["plan_hash"] == plan_hash(study.study)
    assert content["plan"]["steps"]["few_0_evaluate"] == ["evaluate", "ckpt=<few_0_train>", "split=val"]
    assert "conf" not in written.decode() and str(study.folder) not in written.decode()  # it may be moved
    fix(planned())
    assert (study.folder / FILE).read_bytes() == written


@pytest.mark.parametrize(
    ("words", "text", "line"),
    [
        (["seeds=[0,2]"], STUDY, "seeds.1: 1 there, 2 now"),
        (["size.steps=4"], STUDY, "size.steps: 3 there, 4 now"),
        ([], STUDY.replace("least: 0.2", "least: 0.1"), "hypotheses.0.least: 0.2 there, 0.1 now"),
        ([], STUDY.replace("split=val", "split=test"), "steps.few_0_evaluate.2: split=val there, split=test now"),
        (["arms.more=null"], STUDY, "hypotheses.0.metric: recall_at_1 there, nothing now"),
    ],
)
def test_another_plan_is_refused_with_what_differs_and_what_to_do(planned, words, text, line):
    fix(planned())
    with pytest.raises(ValueError, match="holds another plan's results: a study is planned before it runs") as caught:
        planned(*words, text=text)
    assert f"\n  {line}" in str(caught.value)
    assert "Name another folder, out=DIR" in str(caught.value)


def test_what_is_only_said_about_a_study_may_change(planned):
    fix(planned())
    planned("question=Really?", "metrics=[recall_at_1,recall_at_5]", "limits=None.", "cluster=parallel")


def test_a_plan_that_was_changed_by_hand_is_refused(planned):
    study = planned()
    fix(study)
    path = study.folder / FILE
    path.write_text(path.read_text().replace('"least": 0.2', '"least": 0.1'))
    with pytest.raises(ValueError, match=r"study.json: the plan is not as it was written before the first run"):
        planned()


def test_steps_without_a_plan_are_refused(planned):
    study = planned()
    (study.folder / "steps" / "few_0_train").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds steps of a study, but not the plan"):
        planned()
