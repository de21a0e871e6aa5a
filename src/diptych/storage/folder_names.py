"""Names that become folders or files: of evaluation sets, encoders and stages."""

from __future__ import annotations

_LONGEST = 100  # bytes; file systems take 255, and something is often added
_REFUSED = "/\\\0"


def check_folder_name(name: str, what: str) -> str:
    """The name, which is that of one folder in another, whatever it is joined to; `what` it is the name of, for errors.

    Raises:
        ValueError: it is empty, too long, leads elsewhere (`..`, `/tmp`, `a/b`), or holds what cannot be printed.
    """
    if not isinstance(name, str) or not name or name != name.strip() or name.startswith("."):
        reason = "a name begins with a letter, a digit or a sign that is no dot"
    elif any(sign in name for sign in _REFUSED) or not name.isprintable():
        reason = "slashes and signs that cannot be printed have no place in it"
    elif len(name.encode("utf-8", "replace")) > _LONGEST:
        reason = f"it is longer than {_LONGEST} bytes"
    else:
        return name
    raise ValueError(f"{what} {str(name)[:_LONGEST]!r} cannot be the name of a folder: {reason}; choose another")
