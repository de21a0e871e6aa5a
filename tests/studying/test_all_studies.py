"""`diptych study all`: every study that needs nothing, the done and the short ones first, with an index on the way."""

from __future__ import annotations

import re

import pytest
from instant_steps import FAKE, STUDY, InstantSteps, write_study

from diptych.commands import studies
from diptych.studying import study as running
from diptych.studying.index_page import FILE


def of(name, minutes):
    return STUDY.replace("name: steps", f"name: {name}").replace("full: 2}", f"full: {minutes}}}")


@pytest.fixture
def every(tmp_path, monkeypatch):
    """Runs all of these studies with further words; returns the status, and the studies in the order of their runs."""
    texts = {"slow": of("slow", 9), "quick_one": of("quick_one", 1), "unknown": of("unknown", "null")}
    texts["real"] = of("real", 1).replace("data: rooms\n", "data: rooms\nneeds: real data\n")
    own = None
    for name, text in texts.items():
        own = write_study(tmp_path, text, name)
    monkeypatch.setattr(studies, "study_files", lambda own: list(texts))
    monkeypatch.setattr("diptych.studying.steps.Steps.require_data", lambda self, done: None)
    ran, run_study = [], running.run_study

    def noted(planned):
        ran.append((planned.study.name, (tmp_path / "out" / FILE).read_text()))
        return run_study(planned)

    monkeypatch.setattr(running, "run_study", noted)
    InstantSteps.executed = []

    def run(*words, dry_run=False):
        ran.clear()
        return studies.every_study([FAKE, *words], False, dry_run, tmp_path / "out", own), list(ran)

    return run


def waiting(index):
    return re.findall(r'<td colspan="2">(not run yet[^<]*)</td>', index)


def test_the_shortest_run_first_and_the_index_says_what_waits(every, tmp_path, capsys):
    status, ran = every()
    assert (status, [name for name, _ in ran]) == (0, ["quick_one", "slow", "unknown"])
    assert "left out: real needs real data" in capsys.readouterr().out
    assert waiting(ran[0][1]) == [  # in the order of the files
        "not run yet; about 9 minutes, one step at a time",
        "not run yet; about 1 minutes, one step at a time",
        "not run yet",
    ]
    assert waiting(ran[2][1]) == ["not run yet"]
    index = (tmp_path / "out" / FILE).read_text()
    assert not waiting(index) and "3 studies, 3 hypotheses" in index


def test_what_is_done_is_judged_before_anything_is_run(every, tmp_path):
    assert every()[0] == 0
    before = len(InstantSteps.executed)
    for name in ("quick_one", "unknown"):
        (tmp_path / "out" / name / "steps/more_1_evaluate/status.json").unlink()
    status, ran = every()
    assert (status, [name for name, _ in ran]) == (0, ["slow", "quick_one", "unknown"])
    assert InstantSteps.executed[before:] == ["more_1_evaluate", "more_1_evaluate"]


def test_a_study_that_cannot_be_run_costs_no_other_and_a_plan_is_only_shown(every, tmp_path, capsys):
    status, ran = every("seeds=[]", dry_run=True)
    assert (status, ran) == (1, []) and not (tmp_path / "out").exists()
    status, _ = every(dry_run=True)
    shown = capsys.readouterr().out
    assert status == 0 and shown.index("quick_one: Do more") < shown.index("slow: Do more") < shown.index("unknown: Do")
    (tmp_path / "out" / "slow").mkdir(parents=True)
    (tmp_path / "out" / "slow" / "study.json").write_text("{")
    status, ran = every()
    assert (status, [name for name, _ in ran]) == (1, ["quick_one", "unknown"])
    assert "slow/study.json" in (tmp_path / "out" / FILE).read_text()
