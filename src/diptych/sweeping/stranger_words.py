"""Overrides of a stranger's: those of a sweep that is gone on with in its folder."""

from __future__ import annotations

import re
from typing import Any

from diptych.config.folder import CONFIG_FOLDER
from diptych.config.strangers import TRUST_ADVICE

_FLAGS = ("-m", "--multirun")
_MOST_WORDS, _LONGEST = 1000, 10_000
_KEY = re.compile(r"[+~]{0,2}(?P<key>\w[\w.\-/]*)(?:@[\w.\-:]*)?")
_OF_HYDRA = re.compile(
    r"hydra/launcher|hydra\.(?:mode|sweep\.dir|sweeper\.(?:study|trials|at_once|max_failures|sampler\.seed|params\..+))"
)
# Shell lines, arguments of sbatch, hosts that are told a key.
_ACTS = re.compile(r"cluster\.(?:setup|sbatch)(?:\..*)?|(?:.*\.)?base_url")
_NAMES = re.compile(r"[\w.,\-\[\] ]*")  # of configs in a group
_BUILDS = ("_target_", "_args_", "${", "://")


def check_words(words: Any, name: str) -> list[str]:
    """The overrides themselves, of which none builds, runs or asks anything: they choose shipped configs, and set plain
    values. What comes of them is checked again where it is built.

    Raises:
        ValueError: they are no overrides, or one does more; `name` is that of the file that has them.
    """
    texts = texts_of(words, name)
    for word in texts:
        if reason := _refused(word):
            raise ValueError(f"{name}: {word[:200]!r} {reason}; nothing was started.\n{TRUST_ADVICE}")
    return texts


def texts_of(words: Any, name: str) -> list[str]:
    """The overrides themselves; ValueError when they are not some texts."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or len(words) > _MOST_WORDS:
        raise ValueError(f"{name}: expected the overrides of a sweep, a list of texts, as `words`")
    return words


def _refused(word: str) -> str | None:
    if word in _FLAGS:
        return None
    key, _, value = word.partition("=")
    found = _KEY.fullmatch(key)
    if found is None or len(word) > _LONGEST:
        return "is no override that a stranger's sweep may have"
    if any(part in re.sub(r"[\\'\"\s]", "", word) for part in _BUILDS):
        return "may build something, or ask for something outside"
    name = found["key"]
    if name.partition(".")[0].partition("/")[0] == "hydra" and not _OF_HYDRA.fullmatch(name):
        return "changes how commands are run"
    if _ACTS.fullmatch(name) or (name in ("cluster", "hydra") and not _NAMES.fullmatch(value)):
        return "may run commands, or send keys to a host"
    if (CONFIG_FOLDER / name).is_dir() and (not _NAMES.fullmatch(value) or ".." in value):
        return "names no shipped config"
    return None
