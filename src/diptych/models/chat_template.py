"""The chat template of a model's folder is a small program of a stranger's: it is tried before it is used."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_TRIED = ("", "a", "Two men shake hands. " * 200)
_CPU_S, _BYTES, _CHARACTERS = 5, 2**29, 2**22  # an honest one takes milliseconds, and adds a few lines to a message
_WALL_S = 120.0  # for a machine that is busy
_TOO_MUCH = 3


def check_template(name: str, render: Callable[[str], str]) -> None:
    """Renders a few messages in a process of their own, which ends at a bound.

    Raises:
        ValueError: that takes more than a few seconds or half a gigabyte, gives texts of millions of characters, or
            fails; `name` is that of the model.
    """
    child = os.fork()
    if child == 0:
        os._exit(_try_here(render))
    status = _status_of(child)
    if status:
        with _in_one_sentence(name):
            raise ValueError(f"it takes more than {_CPU_S} s, {_BYTES / 2**30} GB or {_CHARACTERS:,} characters")
    with _in_one_sentence(name):
        for message in _TRIED:
            render(message)


def rendered(name: str, render: Callable[[str], str], message: str) -> str:
    """What a template that was tried makes of a message; ValueError as `check_template`."""
    with _in_one_sentence(name):
        text = render(message)
        if len(text) > _CHARACTERS + 10 * len(message):
            raise ValueError(f"it makes {len(text):,} characters of {len(message):,}")
        return text


def with_one_picture(processor: Any) -> Callable[[str], str]:
    """How a transformers processor renders a picture and a text behind it, as `check_template` wants it."""

    def render(message: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": message}]
        text: str = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return text

    return render


@contextmanager
def _in_one_sentence(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # templates raise what they like
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise ValueError(
            f"{name}: its chat template (chat_template.jinja or tokenizer_config.json) cannot be rendered"
            f" ({reason}); take another model"
        ) from error


def _try_here(render: Callable[[str], str]) -> int:
    """In the child: 0, or that it was too much. Errors are the parent's to find."""
    try:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S + 1))
        with suppress(OSError):  # where the system does not say what a process has
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + _BYTES, held + _BYTES))
        too_long = any(len(render(message)) > _CHARACTERS for message in _TRIED)
        return _TOO_MUCH if too_long else 0
    except MemoryError:
        return _TOO_MUCH
    except BaseException:
        return 0


def _status_of(child: int) -> int:
    started = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - started > _WALL_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
