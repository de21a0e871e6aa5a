"""A study whose data is not there is refused before its first step, though it can be planned."""

import pytest
from instant_steps import FAKE, STUDY, InstantSteps, write_study

from diptych.studying.planning import plan_study
from diptych.studying.study import run_study

MIXED = STUDY.replace('experiment=cir_rooms, "data=${data}"', "experiment=cir_cirr")
MIXED = MIXED.replace("data: rooms\n", "").replace(
    '"ckpt=<second>", split=val', '"ckpt=<second>", "data=[cirr,circo]", split=val'
)
MADE = STUDY.replace('"init_from=<train>"', 'data=triplets, "data.root=<train>/set"')


def test_all_that_is_missing_is_said_with_its_pages_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "none"))
    InstantSteps.executed = []
    study = plan_study("steps", [FAKE], out=tmp_path / "out", own=write_study(tmp_path, MIXED))
    with pytest.raises(ValueError, match=r"study steps cannot begin; nothing was run") as refused:
        run_study(study)
    lines = str(refused.value).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["few_0_train", "more_0_evaluate"]  # each set once
    assert "docs/cirr.md" in lines[0] and "docs/circo.md" in lines[1]
    assert InstantSteps.executed == [] and not study.folder.exists()


def test_what_steps_make_need_not_be_there(tmp_path):
    InstantSteps.executed = []
    run_study(plan_study("steps", [FAKE, "seeds=[0]"], out=tmp_path / "out", own=write_study(tmp_path, MADE)))
    assert "more_0_second" in InstantSteps.executed


def test_what_is_done_needs_its_data_no_more(tmp_path, monkeypatch):
    study = lambda: plan_study("steps", [FAKE], out=tmp_path / "out", own=write_study(tmp_path, MIXED))  # noqa: E731
    for name in ("cirr", "circo"):
        (tmp_path / "data" / name).mkdir(parents=True)
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "data"))
    _, lost = run_study(study())
    for name in ("cirr", "circo"):
        (tmp_path / "data" / name).rmdir()
    assert lost == {} and run_study(study())[1] == {}
