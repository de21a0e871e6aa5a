"""A file of triplets in the place of a dataset's name: `data=photos/triplets.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.config.override_words import override, unquoted, with_home

_ENDINGS = (".csv", ".tsv", ".jsonl", ".json")


def with_data_files(words: Sequence[str]) -> list[str]:
    """The overrides, in which `data=FILE` has become the triplets of that file, as `data=own_data` reads them: its
    folder is the root, and the file the table of all splits. Names of datasets stay as they are.
    """
    return [part for word in words for part in _as_table(word)]


def _as_table(word: str) -> list[str]:
    key, _, value = word.partition("=")
    name = with_home(unquoted(value))
    if key != "data" or not name.endswith(_ENDINGS):
        return [word]
    path = Path(name)
    own = [override("data.root", path.parent.absolute()), override("data.sources.own_data.table", path.name)]
    return ["data=own_data", *own]
