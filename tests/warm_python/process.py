"""The warm process: it has imported the libraries, and every command that it is asked for becomes a fork of it.

python process.py SOCKET STAND_IN WATCHED_PID      serves until it is told to end, or the watched process is gone

A fork gets what a new process would have: the asker's arguments, folder, environment and open files, a session of its
own, fresh random states, and none of Diptych's modules; it ends as Python ends. See stand_in.py for the asker's side.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import types
from pathlib import Path
from typing import Any

# Third-party modules only, nothing of Diptych: a command imports the code that is tested itself.
LIBRARIES = (
    "torch",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "torch.utils.data",
    "torchvision.transforms.v2.functional",
    "lightning",
    "lightning.pytorch.strategies",
    "lightning.pytorch.loggers",
    "hydra",
    "hydra._internal.hydra",
    "hydra.core.plugins",
    "open_clip",
    "cv2",
    "faiss",
    "PIL.Image",
    "pandas",
    "transformers",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.bert.modeling_bert",
    "peft",
    "bitsandbytes",
    "sentence_transformers",
    "openai",
    "aiohttp",
    "optuna",
    "submitit",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "rich.progress",
    "webdataset",
    "sqlite3",
)
# What libraries read while they are imported: a command that wants another value of one is started for real.
READ_AT_IMPORT = ("PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "TORCH_", "PYTORCH_", "CUDA_", "HF_", "TRANS")


class Jobs:
    """The running commands of a server and what each has open here."""

    def __init__(self) -> None:
        self.by_file: dict[int, tuple[int, socket.socket, list[int]]] = {}  # pid and connection, by pidfd

    def add(self, pid: int, connection: socket.socket, alive: int) -> int:
        watched = os.pidfd_open(pid)
        self.by_file[watched] = (pid, connection, [watched, alive])
        return watched

    def end(self, watched: int) -> None:
        """Tells the asker how the command ended."""
        pid, connection, files = self.by_file.pop(watched)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # the asker was killed
            connection.sendall(b"%d\n" % code)
        connection.close()
        for file in files:
            os.close(file)

    def forget(self) -> None:
        """In a fork: closes what belongs to the others."""
        for _, connection, files in self.by_file.values():
            connection.close()
            for file in files:
                os.close(file)

    def kill(self) -> None:
        for pid, _, _ in self.by_file.values():
            os.kill(pid, signal.SIGKILL)


def serve(address: str, parent: int) -> dict[str, Any]:
    """Returns in the forks only: what each of them is to be."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(128)
    own, watched_parent = variables(os.environ), os.pidfd_open(parent)
    warm_up()
    after = variables(os.environ)  # with what the libraries have set: an asker that imported them has it, too
    jobs, poll = Jobs(), select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(watched_parent, select.POLLIN)
    alive: dict[int, int] = {}  # pids by the pipe that says that the asker lives
    while True:
        for file, _ in poll.poll():
            if file == watched_parent:
                jobs.kill()
                os._exit(0)
            if file in alive:  # where the kernel has not done it: see `die_with`
                os.kill(alive.pop(file), signal.SIGKILL)
                poll.unregister(file)
            elif file in jobs.by_file:
                poll.unregister(file)
                of_job = jobs.by_file[file][2][1]
                if alive.pop(of_job, None):
                    poll.unregister(of_job)
                jobs.end(file)
            elif file == listener.fileno():
                connection, _ = listener.accept()
                job = receive(connection)
                if job is None:
                    connection.close()
                    continue
                if not same_variables(variables(job["environment"]), own, after):
                    print("other variables:", job["words"], variables(job["environment"]), file=sys.stderr)  # noqa: T201
                    connection.sendall(b"start it for real\n")
                    connection.close()
                    for received in job["files"]:
                        os.close(received)
                    continue
                child = os.fork()
                if child == 0:
                    jobs.forget()
                    for mine in (listener, connection):
                        mine.close()
                    os.close(watched_parent)
                    return job
                for received in job["files"][1:]:
                    os.close(received)
                alive[job["files"][0]] = child
                poll.register(job["files"][0], select.POLLHUP)
                poll.register(jobs.add(child, connection, job["files"][0]), select.POLLIN)
                connection.sendall(b"%d\n" % child)


def same_variables(asked: dict[str, str], own: dict[str, str], after: dict[str, str]) -> bool:
    """Whether each is as it was before the libraries were imported, or as they have left it."""
    return all(asked.get(name) in (own.get(name), after.get(name)) for name in {*asked, *own})


def variables(environment: Any) -> dict[str, str]:
    """What READ_AT_IMPORT names."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """What an asker wants, with the files it sent: first the pipe that says that it lives. None if it is gone."""
    try:
        head, files, _, _ = socket.recv_fds(connection, 8, 250)
        size, data = int.from_bytes(head, "big"), b""
        while len(data) < size:
            data += connection.recv(size - len(data)) or b"\n" * size
        return json.loads(data) | {"files": files}
    except (OSError, ValueError):
        return None


def warm_up() -> None:
    """Imports, and starts no thread: a fork has only the thread that forked."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:  # then the command that needs it imports it, or says that it is missing
            continue
    gc.collect()
    gc.freeze()  # else the forks' garbage collector would copy every page


def become(job: dict[str, Any], stand_in: str) -> None:
    """Makes this fork the process that was asked for, up to its first line."""
    os.setsid()
    alive, *files = (fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1000) for file in job["files"])
    for file in job["files"]:
        os.close(file)
    for number in {0, 1, 2} - set(job["numbers"]):
        os.close(number)
    for file, number in zip(files, job["numbers"], strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    die_with(alive)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    random.seed()
    forget_the_warm_process()
    if job["environment"].get("WARM_PYTHON_CHILDREN") != "real":
        sys.executable = stand_in  # what this command starts is warm too


def die_with(alive: int) -> None:
    """A SIGKILL of the stand-in cannot be passed on by it: the kernel does, when the stand-in's end of the pipe
    closes, before anybody can see that the stand-in has died.
    """
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([alive], [], [], 0)[0]:  # it died before that
        os.kill(os.getpid(), signal.SIGKILL)


def forget_the_warm_process() -> None:
    """Sets anew what libraries have taken from the environment or from chance when they were imported."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if rank_zero := sys.modules.get("lightning.fabric.utilities.rank_zero"):
        rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0
    for name in [name for name in sys.modules if name.split(".")[0] in ("diptych", "hydra_plugins")]:
        del sys.modules[name]


def run(words: list[str]) -> None:
    """What `python words...` does."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    first, *rest = words
    if first == "-c":
        code, *rest = rest
        sys.argv[:], sys.path[0] = ["-c", *rest], ""
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif first == "-m":
        name, *rest = rest
        sys.argv[:], sys.path[0] = ["-m", *rest], str(Path.cwd())
        runpy._run_module_as_main(name)
    else:
        sys.argv[:], sys.path[0] = words, str(Path(first).resolve().parent)
        main.__dict__["__file__"] = first
        exec(compile(Path(first).read_bytes(), first, "exec"), main.__dict__)


def end_as_python_does(words: list[str]) -> None:
    """Runs the command and ends: exit status, traceback, exit functions, but without taking the modules apart, which
    would cost a second and at which some libraries that the command may not have wanted complain.
    """
    code = 0
    try:
        run(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)  # noqa: T201
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads
            code = code or 120
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    asked = serve(sys.argv[1], int(sys.argv[3]))
    become(asked, sys.argv[2])
    end_as_python_does(asked["words"])
