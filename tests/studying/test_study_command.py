"""A small study from end to end, with real trainings and evaluations; and killed on its way."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import yaml

from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set
from working_folder import WorkingFolder

pytestmark = [pytest.mark.processes, pytest.mark.slow]

TRAIN = ["experiment=cir_rooms", "seed=<seed>", *TINY_MODEL, *TINY_RUN, *TINY_ROOMS_SIZES, "evaluate_at_end=false"]
STUDY = {
    "name": "tiny",
    "question": "Does leaving out the reference help?",
    "control": "kept",
    "seeds": [0],
    "hypotheses": [{"metric": "recall_at_5", "arm": "out", "control": "kept", "direction": "higher", "least": 0.01}],
    "metrics": ["recall_at_5", "recall_at_10"],
    "limits": "Two steps teach nothing.",
    "arms": {
        "kept": [{"train": TRAIN}, {"evaluate": ["ckpt=<train>", "split=val", "trainer=cpu"]}],
        "out": [
            {"train": TRAIN},
            {
                "evaluate": [
                    *("ckpt=<train>", "split=val", "trainer=cpu"),
                    "data.sources.rooms.exclude_reference=true",
                ]
            },
        ],
        "broken": [{"evaluate": ["ckpt=nowhere", "split=val", "trainer=cpu"]}],
    },
}
COMMAND = ("diptych", "study", "tiny", "--config-dir=conf")


def working_folder(folder):
    tiny_set("rooms", folder / "data" / "rooms")
    path = folder / "conf" / "study" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\n" + yaml.safe_dump(STUDY, sort_keys=False))
    return WorkingFolder(folder)


def findings(study):
    content = json.loads((study / "study.json").read_text())
    return (study / "study.csv").read_bytes(), content["values"], content["verdicts"]


def test_a_study_ends_the_same_whenever_it_is_killed_and_a_failing_arm_costs_no_other(tmp_path):
    place = working_folder(tmp_path)
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    place.run(*COMMAND, "dry_run=true", f"out={alone}")
    assert not alone.exists()
    output = place.run(*COMMAND, f"out={alone}", status=1)
    assert "arm broken has no result: broken_evaluate: failed: " in output
    steps = alone / "steps"
    states = {path.name: read_status(path).state for path in steps.iterdir() if path.name != "latest"}
    done = ["kept_0_train", "kept_0_evaluate", "out_0_evaluate"]
    assert states == {**dict.fromkeys(done, "done"), "broken_evaluate": "failed"}
    table, values, (verdict,) = findings(alone)
    assert set(values) == {"kept", "out"} and verdict["verdict"] in ("supported", "refuted", "undecided")
    assert len(values["kept"]["recall_at_5"]["0"]) == 168
    assert (alone / "study.html").is_file() and table.startswith(b"metric,arm,")

    moments = [
        lambda: (killed / "study.json").is_file(),
        lambda: (killed / "steps/kept_0_train/checkpoints/last.ckpt").is_file(),
        lambda: read_status(killed / "steps/kept_0_evaluate") is not None,
        lambda: (killed / "steps/out_0_evaluate/metrics.json").is_file(),
    ]
    for moment in moments:
        place.interrupt(signal.SIGKILL, moment, killed, *COMMAND, f"out={killed}")
    place.run(*COMMAND, f"out={killed}", status=1)
    assert findings(killed) == findings(alone)
    assert read_status(killed / "steps/kept_0_train").step == 2


KILLS = int(os.environ.get("DIPTYCH_TESTS_KILLS", "0"))


@pytest.mark.skipif(KILLS == 0, reason="takes minutes: DIPTYCH_TESTS_KILLS=20 says how often")
def test_a_study_ends_the_same_after_many_kills(tmp_path, capsys):
    """At times drawn by chance, every other time its steps with it; all processes are started for real."""
    place = working_folder(tmp_path)
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    since = time.monotonic()
    place.start(*COMMAND, f"out={alone}", real=True).ends(1)
    longest = time.monotonic() - since
    for number in range(KILLS):
        words = [sys.executable, "-m", *COMMAND, f"out={killed}"]
        study = subprocess.Popen(words, cwd=tmp_path, env=place.environment, start_new_session=True)
        time.sleep(random.Random(number).uniform(0.02, 0.5) * longest)
        alive = study.poll() is None
        if alive and number % 2:
            os.killpg(study.pid, signal.SIGKILL)
        study.kill()
        study.wait()
        with capsys.disabled():
            sys.stderr.write(f"killed {number + 1}: {'at work' if alive else 'it had ended'}\n")
    place.start(*COMMAND, f"out={killed}", real=True).ends(1)
    assert findings(killed) == findings(alone)
