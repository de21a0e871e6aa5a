"""Short names of config groups on the command line of pipelines and evaluations.

The groups of one pipeline lie together in `conf/search` and `conf/annotation`; people type `policy=off`, not
`search/policy=off`, and may type either. The same holds for what an evaluation puts in the place of a checkpoint's own
settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Sections of which keys may be set although no config names them: see `command_line.with_open_sections`.
_SECTIONS = ("generation", "claim_checker", "prompt", "evidence", "length", "drafts", "metrics")
OPEN_SECTIONS = {"evaluate": ("data", *_SECTIONS), "pipeline": _SECTIONS}

_GROUPS = {
    **{name: f"search/{name}" for name in ("encoder", "index", "fusion", "policy")},
    **{name: f"annotation/{name}" for name in ("asker", "combine", "fetch", "agreement", "layout")},
    "prompt/annotation": "annotation/prompt",
}
_OF_CHECKPOINTS = {
    "generation": "system/generation@generation",
    "evidence": "data/evidence@evidence",
    "length": "data/length@length",
    "drafts": "data/drafts@drafts",
    "metrics": "system/metrics@metrics",
}
_OF_EVALUATIONS = {**_OF_CHECKPOINTS, "caption_metrics": "system/metrics@caption_metrics"}
_CHOICE = re.compile(r"([+~]*)([a-z_/]+)(?=[=@]|$)")


def with_full_names(words: Sequence[str]) -> list[str]:
    """The overrides with the groups' full names: `+encoder@encoders.a=b` becomes `+search/encoder@encoders.a=b`.
    Settings (`policy.max_side=640`), flags and all other groups stay as they are.
    """
    return _renamed(words, _GROUPS | _OF_CHECKPOINTS)


def with_names_of_evaluations(words: Sequence[str]) -> list[str]:
    """The same for `evaluate`: `generation=greedy` becomes `system/generation@generation=greedy`."""
    return _renamed(words, _OF_EVALUATIONS)


def _renamed(words: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    return [
        _CHOICE.sub(lambda found: found[1] + groups.get(found[2], found[2]), word, count=1)
        if _CHOICE.match(word)
        else word
        for word in words
    ]


FULL_NAMES = {"pipeline": with_full_names, "evaluate": with_names_of_evaluations}  # by command
