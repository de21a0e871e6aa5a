"""The seconds of a stage: they add up over its runs, and a kill costs both seconds and records."""

import json
import subprocess
from pathlib import Path

import pytest
from test_runner import numbers, of, run  # noqa: F401  # a fixture

import patience
from diptych.stages.running import times
from diptych.stages.running.times import StageTimes, seconds_per_record
from warm_python import warm

pytestmark = pytest.mark.processes


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    hands = [100.0]
    monkeypatch.setattr(times.time, "perf_counter", lambda: hands[0])
    return hands


def stored(folder):
    return json.loads((folder / times.FILE).read_text())


def test_runs_add_up(tmp_path, clock):
    assert seconds_per_record(tmp_path) is None
    with StageTimes(tmp_path) as first:
        clock[0] += 6.0
        first.count(4)
    assert stored(tmp_path) == {"records": 4, "seconds": 6.0, "runs": 1, "seconds_per_record": 1.5}
    clock[0] += 1000.0
    with StageTimes(tmp_path) as second:
        clock[0] += 1.0
        second.count(1)
        clock[0] += 1.0
        second.count(1)
    assert stored(tmp_path) == {"records": 6, "seconds": 8.0, "runs": 2, "seconds_per_record": round(8 / 6, 6)}
    assert seconds_per_record(tmp_path) == pytest.approx(8 / 6)


def test_what_a_kill_leaves_is_true_of_the_records_it_counts(tmp_path, clock):
    killed = StageTimes(tmp_path).__enter__()
    for _ in range(5):
        clock[0] += 0.8
        killed.count(1)
    assert stored(tmp_path) == {"records": 3, "seconds": 2.4, "runs": 1, "seconds_per_record": 0.8}
    with StageTimes(tmp_path) as resumed:
        clock[0] += 1.6
        resumed.count(2)
    assert stored(tmp_path)["seconds_per_record"] == 0.8 and stored(tmp_path)["runs"] == 2


def test_a_run_without_records_says_nothing(tmp_path, clock):
    with pytest.raises(KeyError), StageTimes(tmp_path):
        clock[0] += 5.0
        raise KeyError
    assert not (tmp_path / times.FILE).exists()


def test_a_stage_that_fails_has_taken_its_time(tmp_path, clock):
    with pytest.raises(KeyError), StageTimes(tmp_path) as broken:
        clock[0] += 1.0
        broken.count(2)
        raise KeyError
    assert stored(tmp_path)["seconds_per_record"] == 0.5


def test_a_pipeline_times_its_stages_and_leaves_finished_ones_alone(tmp_path, numbers):  # noqa: F811
    run(tmp_path, of(numbers, bad=(1,), pause=0.01))
    folder = tmp_path / "work/squares_0"
    first = stored(folder)
    assert first["records"] == 4 and first["seconds"] >= 0.04 and first["runs"] == 1, "failures take time too"
    run(tmp_path, of(numbers, bad=(1,)))
    assert stored(folder) == first
    stage, settings = of(numbers, bad=(1,))
    stage.bad = set()
    run(tmp_path, (stage, settings), retry_failures=True)
    assert stored(folder)["records"] == 5 and stored(folder)["runs"] == 2
    assert not any("seconds" in name for name in json.loads((folder / "manifest.json").read_text()))


KILLED = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from diptych.stages.running import times
from test_runner import of, run
times._SAVE_EVERY = 0.0
run(Path({tmp!r}), of(Path({numbers!r}), die_at=3))
"""
FOLDERS = [str(Path(file).parent) for file in (__file__, patience.__file__)]


def test_the_times_of_a_killed_stage_are_kept(tmp_path, numbers):  # noqa: F811
    script = KILLED.format(tests=FOLDERS, tmp=str(tmp_path), numbers=str(numbers))
    assert subprocess.run([warm.python(), "-c", script], capture_output=True).returncode == -9
    assert stored(tmp_path / "work/squares_0")["records"] == 3
    run(tmp_path, of(numbers))
    assert stored(tmp_path / "work/squares_0")["records"] == 4 and stored(tmp_path / "work/squares_0")["runs"] == 2
