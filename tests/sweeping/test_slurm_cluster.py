"""What SLURM is told, with stand-ins for its commands; tests/slurm has the real one."""

from __future__ import annotations

import json
import os
import stat

import pytest

from diptych.storage.run_status import change_status, read_status
from diptych.sweeping import slurm_cluster
from diptych.sweeping.cluster import Run
from diptych.sweeping.slurm_cluster import JobOfRun, SlurmCluster

SBATCH = """#!/bin/sh
cp "$1" "$SLURM_STANDIN/script"
echo "7|$(sed -n 's/#SBATCH --job-name=//p' "$1")|PENDING|Resources" >> "$SLURM_STANDIN/queue"
echo Submitted batch job 7
"""
# The job leaves the queue after three questions.
SQUEUE = """#!/bin/sh
echo asked >> "$SLURM_STANDIN/asked"
[ $(wc -l < "$SLURM_STANDIN/asked") -ge 3 ] && rm -f "$SLURM_STANDIN/queue"
cat "$SLURM_STANDIN/queue" 2> /dev/null; exit 0
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with stand-ins for sbatch, srun and squeue, first on the PATH; polls take no time."""
    place = tmp_path / "slurm"
    place.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": "#!/bin/sh\n"}.items():
        (place / name).write_text(text)
        (place / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STANDIN", str(place))
    monkeypatch.setattr(slurm_cluster, "_POLL_SECONDS", 0.01)
    return place


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "sweep" / "4"
    change_status(folder, overrides=("seed=1",))
    return Run(folder, ("python", "train.py", f"resume={folder}"))


def test_one_job_per_run_one_task_per_gpu(slurm, run):
    cluster = SlurmCluster(
        nodes=2, gpus_per_node=8, partition="gpu", time_min=90, sbatch={"account": "vision"}, setup=["module load cuda"]
    )
    said = cluster.execute(run)
    assert said == f"its SLURM job 7 is gone: see {run.folder / 'slurm'}"
    script = (slurm / "script").read_text()
    for line in (
        *("--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu", "--time=90"),
        *("--account=vision", "--signal=USR1@120"),
    ):
        assert f"#SBATCH {line}\n" in script
    assert "#SBATCH --job-name=diptych-sweep-4-" in script
    srun = next(line for line in script.splitlines() if line.startswith("srun"))
    assert "--cpus-per-task=8" in srun and "--kill-on-bad-exit=1" in srun
    assert script.index("export SUBMITIT_PREEMPT_SIGNAL=USR1") < script.index("module load cuda") < script.index("srun")
    assert json.loads((run.folder / "job.json").read_text()) == {"job_id": "7"}
    assert len((slurm / "asked").read_text().split()) == 3


def test_a_job_that_is_still_there_is_not_submitted_again(slurm, run):
    (run.folder / "job.json").write_text('{"job_id": "7"}')
    (slurm / "queue").write_text("7|any|RUNNING|None\n")
    SlurmCluster().execute(run)
    assert not (slurm / "script").exists()


def test_a_job_that_was_submitted_but_not_noted_is_found_by_its_name(slurm, run):
    name = slurm_cluster._job_name(run.folder)
    (slurm / "queue").write_text(f"8|another|RUNNING|None\n9|{name}|RUNNING|None\n")
    SlurmCluster().execute(run)
    assert not (slurm / "script").exists()
    assert json.loads((run.folder / "job.json").read_text()) == {"job_id": "9"}


def test_why_a_job_cannot_start_is_said_once(slurm, run, caplog):
    (run.folder / "job.json").write_text('{"job_id": "7"}')
    (slurm / "queue").write_text("7|any|PENDING|PartitionTimeLimit\n")
    (slurm / "squeue").write_text((slurm / "squeue").read_text().replace("-ge 3", "-ge 6"))
    SlurmCluster().execute(run)
    assert caplog.text.count("SLURM lets job 7 wait: PartitionTimeLimit") == 1


def test_a_job_that_is_gone_is(slurm, run):
    (run.folder / "job.json").write_text('{"job_id": "6"}')
    change_status(run.folder, state="failed", error="of the job before")
    SlurmCluster().execute(run)
    assert (slurm / "script").exists()
    assert read_status(run.folder).state == "waiting"


def test_runs_get_as_many_devices_as_tasks():
    assert SlurmCluster(2, 8).overrides({}) == ["trainer=ddp", "trainer.devices=8", "trainer.num_nodes=2"]
    assert SlurmCluster(1, 8).overrides({"trainer": "fsdp"}) == ["trainer.devices=8", "trainer.num_nodes=1"]
    assert SlurmCluster(1, 1).overrides({}) == ["trainer.devices=1", "trainer.num_nodes=1"]
    on_cpus = SlurmCluster(gpus_per_node=0, tasks_per_node=2)
    assert on_cpus.overrides({}) == ["trainer=ddp_cpu", "trainer.devices=2", "trainer.num_nodes=1"]
    with pytest.raises(ValueError, match="trainer.devices=4: cluster=slurm sets it"):
        on_cpus.overrides({"trainer.devices": "4"})
    with pytest.raises(ValueError, match="one task drives one GPU"):
        SlurmCluster(gpus_per_node=8, tasks_per_node=1)


def test_without_slurm_it_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is no sbatch on this machine"):
        SlurmCluster().execute(run)


def test_a_queue_that_does_not_answer_is_asked_again(slurm, run, caplog):
    answer = (slurm / "squeue").read_text()
    broken = "[ -f $SLURM_STANDIN/broken ] || { touch $SLURM_STANDIN/broken; echo no controller >&2; exit 1; }\n"
    (slurm / "squeue").write_text(answer.replace("#!/bin/sh\n", f"#!/bin/sh\n{broken}"))
    SlurmCluster().execute(run)
    assert "squeue: no controller" in caplog.text
    assert len((slurm / "asked").read_text().split()) == 3


@pytest.mark.parametrize("program", [["train.py"], ["-m", "shown"]])
def test_a_task_becomes_the_command(program, tmp_path, monkeypatch):
    for name in ("train.py", "shown.py"):
        (tmp_path / name).write_text("import json, sys\njson.dump(sys.argv[1:], open('told', 'w'))\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setattr("sys.argv", ["submitit"])
    with pytest.raises(SystemExit) as ended:
        JobOfRun(("python", *program, "resume=x"))()
    assert ended.value.code == 3
    assert json.loads((tmp_path / "told").read_text()) == ["resume=x", "hydra.job.name=task_3"]
    assert JobOfRun(("python",)).checkpoint().function.command == ("python",)
