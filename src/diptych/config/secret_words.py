"""Keys and passwords on a command line: settings are written into files, pages and logs, so these are none."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from diptych.config.override_words import unquoted
from diptych.models.server.server_settings import check_no_secret

_NAMES = re.compile(
    r"(?:^|_)(?:api_?key|secret(?:_key)?|password|passwd|credentials?|authorization|(?:access|auth|api|hf|bearer)_token)$",
    re.IGNORECASE,
)
_KEYS = re.compile(r"\b(?:sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,})")
_VARIABLES = re.compile(r".*(?:API_KEY|_TOKEN)")  # of the environment
_SHORTEST = 16  # characters of a variable that are looked for in a word


def refuse_secrets(words: Sequence[str]) -> None:
    """ValueError where an override holds a key or a password, before anything is written. Its message names the setting
    and not the value.
    """
    held = {value for name, value in os.environ.items() if _VARIABLES.fullmatch(name) and len(value) >= _SHORTEST}
    for word in words:
        key, _, value = word.partition("=")
        value, name = unquoted(value), re.split(r"[.@]", key.lstrip("+~"))[-1]
        if _KEYS.search(word) or any(secret in word for secret in held):
            shown = "one of the settings" if _KEYS.search(key) or any(secret in key for secret in held) else key
            raise ValueError(f"{shown} holds a key, {_ADVICE}")
        if _NAMES.search(name) and value.lower() not in ("", "null"):
            raise ValueError(f"{key} is to hold a key or a password, {_ADVICE}")
        try:
            check_no_secret(
                value if name == "base_url" else None,
                value if name == "api_key_env" and value.lower() != "null" else None,
            )
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None


_ADVICE = (
    "and settings are written into files: put it into an environment variable, such as OPENAI_API_KEY, and its name"
    " into api_key_env. (Your shell has kept what you typed in its history)"
)
