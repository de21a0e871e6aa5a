"""A study with `cluster=slurm` on a real SLURM: each step is a job, those that others need first, and the table is that
of the same study on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from loopback_cluster import LoopbackCluster
from sweep_runs import Place, job_id

from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN

TRAIN = ["experiment=cir_rooms", "seed=<seed>", *TINY_MODEL, *TINY_RUN, *TINY_ROOMS_SIZES, "evaluate_at_end=false"]
OUT = "data.sources.rooms.exclude_reference=true"
PAIRS = ["data=rooms", "split=val", *TINY_ROOMS_SIZES]
STUDY = {
    "name": "tiny",
    "question": "Does leaving out the reference help?",
    "control": "kept",
    "seeds": [0],
    "hypotheses": [{"metric": "recall_at_5", "arm": "out", "control": "kept", "direction": "higher", "least": 0.01}],
    "metrics": ["recall_at_5"],
    "limits": "Two steps teach nothing.",
    "before": [{"pairs": PAIRS}],
    "arms": {
        "kept": [{"train": TRAIN}, {"evaluate": ["ckpt=<train>", "split=val"]}],
        "out": [{"train": TRAIN}, {"evaluate": ["ckpt=<train>", "split=val", OUT]}],
    },
}
JOBS = ["kept_0_train", "kept_0_evaluate", "out_0_evaluate"]
ONE_TASK = ["cluster=slurm", "cluster.gpus_per_node=0", "cluster.cpus_per_task=1"]


def test_a_study_is_the_same_on_slurm_and_here(slurm: LoopbackCluster, place: Place) -> None:
    path = place.folder / "conf" / "study" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\n" + yaml.safe_dump(STUDY, sort_keys=False))
    here, there = place.folder / "study_here", place.folder / "study_there"
    jobs_before = set(slurm.job_ids())
    command = [sys.executable, "-m", "diptych", "study", "tiny", "--config-dir=conf"]
    place.start("study_there", *command, *ONE_TASK, f"out={there}").finish()
    assert set(slurm.job_ids()) - jobs_before == {job_id(there / "steps" / name) for name in JOBS}
    place.start("study_here", *command, f"out={here}").finish()
    for folder in (here, there):
        assert {name: _state(folder / "steps" / name) for name in ("before_pairs", *JOBS)} == dict.fromkeys(
            ("before_pairs", *JOBS), "done"
        )
    assert (there / "study.csv").read_bytes() == (here / "study.csv").read_bytes()


def _state(step: Path) -> str:
    status = read_status(step)
    assert status is not None
    return status.state
