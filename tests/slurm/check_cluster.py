"""The SLURM on loopback does what the checks of sweeps rest on; and one run of two tasks under plain `srun`.

`make test-slurm` names the `check_*.py` files here; `make test` does not collect them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loopback_cluster import NODES, LoopbackCluster, wait_until
from sweep_runs import RUN, TWO_HERE, Place, assert_same_run

from tiny_runs import ROOT


def test_four_tasks_run_on_two_nodes(slurm: LoopbackCluster) -> None:
    shown = slurm.client("srun", "--nodes=2", "--ntasks=4", "bash", "-c", "echo $SLURM_PROCID $SLURMD_NODENAME")
    assert sorted(shown.splitlines()) == [f"{task} {NODES[task // 2]}" for task in range(4)]


def test_a_requeued_job_starts_again_with_its_id(slurm: LoopbackCluster, tmp_path: Path) -> None:
    """It gets SIGTERM and time to end, waits until its credential is no longer valid, and starts from the top."""
    script, output = tmp_path / "job.sh", tmp_path / "output.txt"
    script.write_text(
        "#!/bin/bash\n"
        "trap 'echo told to end; exit' TERM\n"
        'echo "start ${SLURM_RESTART_COUNT:-0}"\n'
        'test -n "$SLURM_RESTART_COUNT" || while true; do sleep 0.1; done\n'
    )
    words = ["--parsable", "--requeue", "--open-mode=append", f"--output={output}", str(script)]
    job_id = slurm.client("sbatch", *words).strip()
    wait_until(lambda: output.exists() and "start 0" in output.read_text(), "start of the job")
    slurm.client("scontrol", "requeue", job_id)
    wait_until(lambda: slurm.job(job_id)["JobState"] == "COMPLETED", "end of the job", explain=slurm.logs)
    assert slurm.job(job_id)["Restarts"] == "1"
    lines = [line for line in output.read_text().splitlines() if "slurmstepd" not in line and line != "Terminated"]
    assert lines == ["start 0", "told to end", "start 1"]


def test_two_tasks_of_srun_train_one_model(slurm: LoopbackCluster, place: Place, undisturbed: Path) -> None:
    """No launcher, no submitit: Lightning takes its ranks from SLURM, and the run is that of two processes here."""
    two_tasks = ["srun", "--nodes=1", "--ntasks-per-node=2"]
    words = [sys.executable, str(ROOT / "train.py"), *RUN, *TWO_HERE, "seed=1", "name=plain"]
    place.start("plain_srun", *two_tasks, *words).finish()
    (run,) = [path for path in (place.folder / "runs/plain").iterdir() if not path.is_symlink()]
    assert_same_run(run, undisturbed / "0")
