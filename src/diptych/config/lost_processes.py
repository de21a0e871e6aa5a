"""What to say when a process that worked for a command is gone, or could not get what it wanted of the machine."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

from diptych.parallel.job import lost_companion

_WORKER = "DataLoader worker"
_NO_MEMORY = re.compile("DefaultCPUAllocator: (can't allocate memory|not enough memory)|Cannot allocate memory")
_MANY_FILES = re.compile("received 0 items of ancdata|Too many open files")
_LOWER = "lower the number of processes (data.num_workers, num_workers or workers) or the batch size"


def lost_process(error: BaseException) -> str | None:
    """One sentence about the process that was lost, or the limit that was met; None where the error is another one."""
    for one in _chain(error):
        text = str(one)
        if isinstance(one, RuntimeError) and _WORKER in text and "shared memory" in text:
            return f"a process that loads data has found no room in /dev/shm: {_LOWER}, or enlarge /dev/shm"
        if isinstance(one, BrokenProcessPool) or (isinstance(one, RuntimeError) and _WORKER in text):
            return (
                "a process that helped this one was killed from outside, which is mostly the system when memory has"
                f" run out: {_LOWER}"
            )
        if (lost := lost_companion(one)) is not None:
            return lost
        if isinstance(one, MemoryError) or (isinstance(one, OSError | RuntimeError) and _NO_MEMORY.search(text)):
            return f"memory has run out ({text.splitlines()[0][:200] if text else 'no more is given'}): {_LOWER}"
        if isinstance(one, BlockingIOError) and one.errno == errno.EAGAIN and one.filename is None:
            return f"the system starts no further process: raise the limit (ulimit -u), or {_LOWER}"
        if isinstance(one, OSError | RuntimeError) and _MANY_FILES.search(text):
            return f"too many files are open at once: raise the limit (ulimit -n 65536), or {_LOWER}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those behind it."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
