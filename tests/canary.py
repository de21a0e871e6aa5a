"""What a stranger's file made this process do: what was written where, which hosts were asked, whose code was run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

CODE = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').write_text('')\n"
_WRITES = {"os.mkdir": 0, "os.rename": 1, "os.symlink": 1, "os.link": 1, "os.remove": 0, "os.rmdir": 0}


@dataclass
class Seen:
    """What happened, but for writing below `places`; `folder` is the stranger's."""

    folder: Path
    places: tuple[Path, ...]
    wrote: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec"):
            self.asked.append(f"{event}{arguments}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            if isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._write(arguments[0])
        elif event in _WRITES and isinstance(arguments[_WRITES[event]], str | bytes | os.PathLike):
            self._write(arguments[_WRITES[event]])
        elif event == "exec" and isinstance(arguments[0], CodeType) and self.folder_of(arguments[0]):
            self.ran.append(arguments[0].co_filename)

    def folder_of(self, code: CodeType) -> bool:
        """Whether the code lies in the stranger's folder."""
        return code.co_filename.startswith(str(self.folder))

    def _write(self, path: Any) -> None:
        place = Path(os.fsdecode(path)).absolute()
        known = (*self.places, Path("/dev"), Path("/proc"))
        if not any(place.is_relative_to(one) for one in known) and "__pycache__" not in place.parts:
            self.wrote.append(str(place))


_watching: list[Seen] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for seen in _watching:
        seen.note(event, arguments)


@contextmanager
def watched(folder: Path, *places: Path) -> Iterator[Seen]:
    """What happens in the block; afterwards nothing may have been run or asked, or written outside of the places."""
    if not getattr(sys, "canary", False):
        sys.addaudithook(_hook)  # there to stay
        sys.canary = True  # type: ignore[attr-defined]
    seen = Seen(folder, tuple(path.absolute() for path in places))
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)
    assert (seen.ran, seen.asked, seen.wrote) == ([], [], []), (seen.ran, seen.asked, seen.wrote)
    assert not list(folder.rglob("*.ran"))
