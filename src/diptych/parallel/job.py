"""The processes of a job end together, within seconds, with the message of the one that failed.

Left to itself, a process that fails waits at its exit for collectives that the others never join, and these wait for
it: a job hangs with all its GPUs until a time limit of half an hour.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from diptych.parallel.private_parts import set_process_observer

log = logging.getLogger(__name__)

# What gloo and NCCL say when the other end of a connection is gone.
_CLOSED = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_END = 2.0  # for another process, from its connection's end to its own
_SECONDS_TO_SAY_IT = 5.0  # for what this process itself has to say about the loss of another
_SECONDS_TO_FOLLOW = 10.0  # for a process to end after the one that has started it, as it does when all is well

_STARTER = "DIPTYCH_STARTED_BY"  # the process that has others started for its job

_started: list[subprocess.Popen] = []


def watch_processes(on_loss: Callable[[str], None] | None = None) -> None:
    """Has the processes that Lightning starts for a job on this machine watched, in the place of its own watch, which
    kills this process without a word: when one fails, `on_loss` is told, all are ended, and this one too, with exit
    status 1. A process that Lightning or torchrun has started watches the one that did: NCCL does not notice its end.
    """
    starter = os.getppid()
    if os.environ.get(_STARTER) == str(starter) or "TORCHELASTIC_RUN_ID" in os.environ:  # a shell may go away
        threading.Thread(target=_wait_for_end_of, args=(starter, on_loss), daemon=True).start()
    os.environ[_STARTER] = str(os.getpid())

    def observe(processes: Sequence[subprocess.Popen]) -> None:
        _started[:] = processes
        threading.Thread(target=_wait_for_loss, args=(on_loss,), daemon=True).start()

    set_process_observer(observe)


def part_of_several() -> bool:
    """Whether this process works with others now. Imports nothing: a process that has not imported torch does not."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return bool(_started)
    return bool(distributed.get_world_size() > 1) or bool(_started)


def leave(status: int) -> None:
    """Ends this process at once, and those that it has started, if it is one of several; else returns. What is said and
    written must have been before.
    """
    if not part_of_several():
        return
    _kill_started()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def lost_companion(error: BaseException) -> str | None:
    """What to say where the error is that of a connection to another process of this job, which is gone."""
    if not (isinstance(error, RuntimeError) and part_of_several() and any(sign in str(error) for sign in _CLOSED)):
        return None
    until = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < until and not any(_codes()):
        time.sleep(0.05)
    lost = next(((number, code) for number, code in enumerate(_codes(), 1) if code), None)
    if lost is not None:
        return end_of_process(*lost)
    return "another process of this job is gone, and this one cannot go on without it; what it said stands above"


def end_of_process(number: int, code: int) -> str:
    """What is said of the process of that number when it has ended with this exit code."""
    if code > 0:
        return f"process {number} of this job has failed; its message stands above"
    name = signal.Signals(-code).name
    why = ", which is mostly the system when memory has run out" if -code == signal.SIGKILL else ""
    return f"process {number} of this job was killed from outside ({name}){why}"


def _wait_for_loss(on_loss: Callable[[str], None] | None) -> None:
    while True:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        codes = _codes()
        if all(code == 0 for code in codes):
            return
        lost = next(((number, code) for number, code in enumerate(codes, 1) if code), None)
        if lost is not None:
            time.sleep(_SECONDS_TO_SAY_IT)
            said = end_of_process(*lost)
            try:
                if on_loss is not None:
                    on_loss(said)
            finally:
                sys.stderr.write(f"\nerror: {said}\n")
                leave(1)


def _wait_for_end_of(starter: int, on_loss: Callable[[str], None] | None) -> None:
    while os.getppid() == starter:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    time.sleep(_SECONDS_TO_FOLLOW)
    said = "the process that has started this one is gone, killed from outside; start the job again, it goes on"
    try:
        if on_loss is not None:
            on_loss(said)
    finally:
        sys.stderr.write(f"\nerror: {said}\n")
        sys.stderr.flush()
        os._exit(1)


def _codes() -> list[int | None]:
    return [process.poll() for process in _started]


def _kill_started() -> None:
    for process in _started:
        if process.poll() is None:
            process.kill()
