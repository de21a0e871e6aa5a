"""A SLURM of its own on this machine's loopback: munged, one slurmctld, a slurmd per node; tried with SLURM 22.05.

`python tests/slurm/loopback_cluster.py` starts one and keeps it until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slurm_packages import require_slurm

log = logging.getLogger(__name__)

NODES = ("127.0.0.1", "127.0.0.2")  # names that resolve on every machine: rank 0's node is found by its name
CPUS_PER_NODE = 2  # whatever the machine has
START_SECONDS = 120.0
STOP_SECONDS = 20.0
REQUEUE_SECONDS = 10  # how long a requeued job waits for its old credential to expire; 120 by default
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_seconds}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
JobRequeue=1
KillWait=30
MinJobAge=86400
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr={name} Port={port} CPUs={cpus} RealMemory={megabytes}"


class LoopbackCluster:
    """Two nodes of two CPUs each, whatever the machine has; memory is not counted. A context manager.

    Its files, keys and ports are its own: a SLURM or munge of the machine is neither used nor disturbed. At the end,
    also after an error, Ctrl-C or SIGTERM, its jobs are cancelled and every process that was started since its
    beginning, by it or below it, is gone; RuntimeError if one is not.

    `environment` is what a client needs, on top of its own: SLURM_CONF.
    """

    def __init__(self) -> None:
        self.folder = Path("/")
        self.environment: dict[str, str] = {}
        self._daemons: list[subprocess.Popen] = []
        self._before: set[int] = set()

    def __enter__(self) -> LoopbackCluster:
        require_slurm()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans become ours, and are found at the end
        self._before = descendants()
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)  # munged's socket must be within everyone's reach
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def client(self, *words: str, timeout: float = 300.0) -> str:
        """What a client prints (`srun`, `scontrol`, ...); RuntimeError with its output if it fails."""
        done = subprocess.run(
            words,
            env=os.environ | self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stdout}")
        return done.stdout

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` says: JobState, Restarts, NodeList, ..."""
        words = self.client("scontrol", "show", "job", job_id, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def job_ids(self) -> list[str]:
        """All jobs that were ever submitted here, ended ones too."""
        lines = self.client("scontrol", "show", "job", "--oneliner").splitlines()
        return [line.split()[0].removeprefix("JobId=") for line in lines if line.startswith("JobId=")]

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        paths = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {path.name}\n" + "\n".join(_last_lines(path)) for path in paths)

    def _start(self) -> None:
        host = socket.gethostname().split(".")[0]
        controller_port, *ports = free_ports(1 + len(NODES))
        megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        nodes = [
            NODE.format(name=name, host=host, port=port, cpus=CPUS_PER_NODE, megabytes=megabytes)
            for name, port in zip(NODES, ports, strict=True)
        ]
        text = CONFIGURATION.format(
            host=host,
            controller_port=controller_port,
            folder=self.folder,
            requeue_seconds=REQUEUE_SECONDS,
            nodes="\n".join(nodes),
        )
        (self.folder / "slurm.conf").write_text(text)
        key, munge_socket = self.folder / "munge.key", self.folder / "munge.socket"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        started = time.monotonic()
        words = [f"--key-file={key}", f"--socket={munge_socket}"]
        words += [f"--{name}-file={self.folder / ('munge.' + name)}" for name in ("pid", "seed")]
        self._daemon("munged", "--foreground", "--num-threads=10", *words)
        self._wait(munge_socket.exists, "munged's socket")
        self._daemon("slurmctld", "-D", "-c")
        for name in NODES:
            self._daemon("slurmd", "-D", "-N", name)
        self._wait(self._idle, "idle nodes")
        seconds = time.monotonic() - started
        log.info("SLURM of %d nodes after %.1f s: SLURM_CONF=%s", len(NODES), seconds, self.environment["SLURM_CONF"])

    def _daemon(self, *words: str) -> None:
        name = "-".join([words[0], *(word for word in words[-1:] if word in NODES)])
        with (self.folder / f"{name}.log").open("wb") as file:
            self._daemons.append(
                subprocess.Popen(
                    words,
                    env=os.environ | self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,  # Ctrl-C is for us: the daemons are stopped in order
                )
            )

    def _idle(self) -> bool:
        command = ["sinfo", "--noheader", "--Node", "--format=%T"]
        answer = subprocess.run(command, env=os.environ | self.environment, text=True, capture_output=True)
        return answer.stdout.split() == ["idle"] * len(NODES)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def there() -> bool:
            dead = [daemon.args[0] for daemon in self._daemons if daemon.poll() is not None]
            if dead:
                raise RuntimeError(f"no {what}: {dead[0]} ended\n{self.logs()}")
            return condition()

        wait_until(there, what, START_SECONDS, self.logs)

    def stop(self) -> None:
        """Cancels the jobs and stops everything that was started; RuntimeError if something is left."""
        if len(self._daemons) > 1:
            with contextlib.suppress(subprocess.TimeoutExpired):
                words = ["scancel", "--user=root"]
                subprocess.run(words, env=os.environ | self.environment, timeout=STOP_SECONDS, capture_output=True)
        for daemon in reversed(self._daemons):  # munged last
            daemon.terminate()
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self._left()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        if left:
            raise RuntimeError(f"processes {sorted(left)} of the SLURM in {self.folder} could not be ended")
        shutil.rmtree(self.folder, ignore_errors=True)
        log.info("SLURM stopped, no process left")

    def _left(self) -> set[int]:
        """Living processes below this one that were not there at the beginning; dead children are laid to rest."""
        left = descendants() - self._before
        for pid in list(left):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    left.discard(pid)
        return left


def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = 300.0, explain: Callable[[], str] = str
) -> None:
    """Returns once the condition holds; RuntimeError, with what `explain` returns, if it takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {what} after {seconds:.0f} s\n{explain()}")
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def descendants() -> set[int]:
    """The ids of all processes below this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, new = set(), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _last_lines(path: Path, number: int = 15) -> list[str]:
    text = path.read_text(errors="replace").replace("\0", "")
    return text.splitlines()[-number:]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.suppress(KeyboardInterrupt), LoopbackCluster():
        signal.pause()
