"""Short names of config groups on the command line of pipelines.

The groups of one pipeline lie together in `conf/search` and `conf/annotation`; people type `policy=off`, not
`search/policy=off`, and may type either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_GROUPS = {
    **{name: f"search/{name}" for name in ("encoder", "index", "fusion", "policy")},
    **{name: f"annotation/{name}" for name in ("asker", "combine", "fetch", "agreement")},
    "prompt/annotation": "annotation/prompt",
}
_CHOICE = re.compile(r"([+~]*)([a-z_/]+)(?=[=@]|$)")


def with_full_names(words: Sequence[str]) -> list[str]:
    """The overrides with the groups' full names: `+encoder@encoders.a=b` becomes `+search/encoder@encoders.a=b`.
    Settings (`policy.max_side=640`), flags and all other groups stay as they are.
    """
    return [
        _CHOICE.sub(lambda found: found[1] + _GROUPS.get(found[2], found[2]), word, count=1)
        if _CHOICE.match(word)
        else word
        for word in words
    ]
