"""Sweeps of `cluster=slurm` on a real SLURM: jobs are preempted, reach their limit, lose their driver; the weights are
those of runs that nobody disturbed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from loopback_cluster import LoopbackCluster
from sweep_runs import RUN, STEPS, TWO_NODES, TWO_TASKS, Place, assert_same_run, continued_at, job_id, losses, table

from diptych.storage.run_status import read_status

log = logging.getLogger(__name__)

DISTURBED_FROM = 20  # steps done before anything happens to a run
OWN = {"overrides", "starts", "seconds", "device_hours", "checkpoint"}  # columns in which equal sweeps differ


def test_preempted_requeued_and_undisturbed_runs_end_as_if_nothing_had_happened(
    slurm: LoopbackCluster, place: Place, undisturbed: Path
) -> None:
    sweep = place.folder / "disturbed"
    jobs_before = set(slurm.job_ids())
    words = ["-m", *RUN, *TWO_TASKS, "trainer=ddp_cpu", "seed=1,2,3", f"hydra.sweep.dir={sweep}"]
    driver = place.train("disturbed_sweep", *words)
    runs = [sweep / str(number) for number in range(3)]
    waiting, restarts = list(runs), dict.fromkeys(runs, 0)
    for command in (
        ["scontrol", "requeue"],  # a preemption: SIGCONT and SIGTERM, then the same job again
        ["scancel", "--signal=USR1"],  # what SLURM sends before the time limit
    ):
        driver.until(lambda: any(map(underway, waiting)), "run in its middle")
        run = next(filter(underway, waiting))
        log.info("run %s has done %d of %d steps: %s", run.name, len(losses(run)), STEPS, " ".join(command))
        slurm.client(*command, job_id(run))
        waiting.remove(run)
        restarts[run] = 1
    driver.finish()

    for run in runs:
        assert_same_run(run, undisturbed / run.name)
        assert slurm.job(job_id(run))["Restarts"] == str(restarts[run])
        assert read_status(run).starts == 1 + restarts[run]
        steps = continued_at(run)
        assert len(steps) == restarts[run] and all(DISTURBED_FROM <= step < STEPS for step in steps)
        log.info("run %s, job %s, went on at steps %s", run.name, job_id(run), steps)
    assert set(slurm.job_ids()) - jobs_before == {job_id(run) for run in runs}, "a run was submitted twice"
    assert_same_tables(sweep, undisturbed)


def test_a_sweep_whose_driver_was_killed_is_gone_on_with_and_submits_nothing_twice(
    slurm: LoopbackCluster, place: Place, undisturbed: Path
) -> None:
    """Jobs outlive the driver. The next one waits for them and starts none that is there or done. Each run has one
    task on each of two nodes; the third waits for the first two.
    """
    sweep = place.folder / "orphaned"
    jobs_before = set(slurm.job_ids())
    words = ["-m", *RUN, *TWO_NODES, "seed=1,2,3", f"hydra.sweep.dir={sweep}"]
    driver = place.train("orphaned_sweep", *words)
    runs = [sweep / str(number) for number in range(3)]
    driver.until(lambda: any(map(underway, runs)), "run in its middle")
    driver.process.kill()
    driver.process.wait()
    states = [slurm.job(job_id(run))["JobState"] for run in runs]
    log.info("the driver was killed while its jobs were %s", ", ".join(states))
    assert sorted(states) == ["PENDING", "RUNNING", "RUNNING"]
    place.train("resumed_sweep", "-m", f"sweep.resume={sweep}").finish()

    for run in runs:
        assert_same_run(run, undisturbed / run.name)
    assert set(slurm.job_ids()) - jobs_before == {job_id(run) for run in runs}, "a run was submitted twice"
    assert [read_status(run).starts for run in runs] == [1, 1, 1]
    assert_same_tables(sweep, undisturbed)


def underway(run: Path) -> bool:
    return len(losses(run)) >= DISTURBED_FROM


def assert_same_tables(sweep: Path, other: Path) -> None:
    """All rows are there, done, with the same measurements."""
    one, two = ([{key: row[key] for key in row.keys() - OWN} for row in table(folder)] for folder in (sweep, other))
    assert [row["state"] for row in one] == ["done"] * 3
    assert all(row["recall_at_1"] for row in one)
    assert one == two
