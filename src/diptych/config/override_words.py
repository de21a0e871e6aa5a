"""Overrides as words of a command line, whatever is in their values: the one place that quotes them.

Hydra reads `key=value` by a grammar of its own, in which brackets, commas, `=`, `#`, letters with accents and much more
mean something or nothing; a shell has another. What starts a command, or prints one for people to type, writes its
words here; and what people have typed is made what they mean.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")  # Hydra reads it as it stands, and so does a shell
_OTHER_THAN_TEXT = ("true", "false", "null", "inf", "nan")
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][+-]?\d[\d_]*)?|[+-]?(inf|nan)", re.IGNORECASE)
# Keys, or their last parts, whose values are names and paths: a number there is a text, too.
_TEXTS = """
    base_captions base_url cache candidates captions category checkpoint ckpt config_dir data data_dir embeddings
    ensemble evaluation_source evidence_source experiment feature_cache file folder gallery
    gallery_images groups images images_root init_from input join_run ledger model monitor name out
    output pairs partition path pipeline predictions prepared pretrained project protocol queries
    query_images references resume retrieval reviews root sentences shards split storage study
    submission targets test_set texts validation_split work_dir
"""
_NUMBERS = re.compile(r"(.*\.)?(corruption\.base_captions|size\.\w+)|prices\..*")  # all the same: shares, sizes, USD
_CAN_BE_OFF = ("cache", "feature_cache", "ledger")  # a folder called `false` is not what somebody means there


def override(key: str, value: object) -> str:
    """The word that sets `key` to this text, or to the text of this path; in quotes where Hydra would read anything
    else without.
    """
    text = str(value)
    return f"{key}={text if _PLAIN.fullmatch(text) and text.lower() not in _OTHER_THAN_TEXT else quoted(text)}"


def quoted(text: str) -> str:
    """The text in quotes, as a value for Hydra; `${` in it is no interpolation."""
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", literal)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", escaped) + "'"


def unquoted(value: str) -> str:
    """The text that a value means which Hydra does not read itself: one in quotes without them."""
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    quote = value[0]
    inner = re.sub(r"(\\+)\Z", lambda found: found[1][: len(found[1]) // 2], value[1:-1])
    bare = re.sub(rf"(\\+){quote}", lambda found: found[1][: len(found[1]) // 2] + quote, inner)
    return re.sub(r"(\\+)\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", bare)


def as_meant(word: str) -> str:
    """An override as people type it, as what Hydra reads as they mean it: `~/` is the home folder, and where a name or
    a path is wanted `2024`, `1e5` and `true` are texts; so is `null` as the name of a run.
    """
    key, equals, value = word.partition("=")
    if not equals:
        return word
    if value != with_home(value):
        return f"{key}={with_home(value)}" if key.startswith("-") else override(key, with_home(value))
    name = re.split(r"[.@]", key)[-1].lstrip("+~")
    off = value.lower() in ("true", "false") and name not in _CAN_BE_OFF
    none = value.lower() == "null" and key.lstrip("+") == "name"
    return f"{key}={quoted(value)}" if is_text(key) and (off or none or _NUMBER.fullmatch(value)) else word


def is_text(key: str) -> bool:
    """Whether what is set by `key` is a name or a path, not a number."""
    name = re.split(r"[.@]", key)[-1].lstrip("+~")
    return name in _TEXTS.split() and not _NUMBERS.fullmatch(key.lstrip("+~"))


def with_home(path: str) -> str:
    """The path, its `~` at the beginning replaced by the home folder, as a shell does."""
    return str(Path(path).expanduser()) if path == "~" or path.startswith("~/") else path


def in_shell(*words: str) -> str:
    """The words as people type them into a shell: Hydra's quotes in double ones where a shell leaves all in them
    alone.
    """
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words
    )
