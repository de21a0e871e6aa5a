"""A file of triplets in the place of a dataset's name: `data=photos/triplets.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.config.override_words import override, unquoted, with_home

_ENDINGS = (".csv", ".tsv", ".jsonl", ".json")


def with_data_files(words: Sequence[str]) -> list[str]:
    """The overrides, in which `data=FILE` has become the triplets of that file, as `data=own_data` reads them: its
    folder is the root, and the file the table of all splits. Names of datasets stay as they are.

    Raises:
        ValueError: a word names several of which one is a file.
    """
    return [part for word in words for part in _as_table(word)]


def _as_table(word: str) -> list[str]:
    key, _, value = word.partition("=")
    name = with_home(unquoted(value))
    if key.lstrip("+") != "data" or not name.rstrip("]").lower().endswith(_ENDINGS):
        return [word]
    if name == value and ("," in name or name.startswith("[")) and not Path(name).is_file():
        raise ValueError(
            f"{word}: of files one at a time can be named; call the command once for each, or join them in one table"
            " (a comma in a file's name: \"data='a,b.csv'\")"
        )
    path = Path(name)
    own = [override("data.root", path.parent.absolute()), override("data.sources.own_data.table", path.name)]
    return ["data=own_data", *own]
