"""Ids in files of answers, held against those that there are: other programs write the same id in other ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TypeVar
from urllib.parse import unquote

from diptych.storage.relative_paths import safe_relative

Value = TypeVar("Value")

_NUMBER = re.compile(r"[1-9][0-9]*|0")
# COCO's file names: 000000212560.jpg is image 212560; and 212560.0, as spreadsheets and data frames write it.
_AS_FILE = re.compile(r"0*([0-9]+)(?:\.0|\.[A-Za-z]{1,5})?")
_SHOWN = 5


class KnownIds:
    """The ids that a file may name. Without `whole` there are others too, which nobody has listed here.

    The same id in another spelling is found where there is no doubt: a path in its one spelling (`safe_relative`), and
    among ids that are all numbers a number with leading zeros, a file's ending or ".0"; and without blanks around.
    """

    def __init__(self, ids: Iterable[str], whole: bool = True) -> None:
        self.ids, self.whole = dict.fromkeys(ids), whole

    def find(self, given: str) -> str | None:
        """The id that is meant; None where there is none."""
        if given in self.ids:
            return given
        bare = _bare(given)
        if bare in self.ids:
            return bare
        number = _AS_FILE.fullmatch(bare) if self._are_numbers else None
        if number:
            spelt = number[1].lstrip("0") or "0"
        elif self._are_numbers:
            return None
        else:
            spelt = _path(bare) if _path(bare) in self.ids else _path(given)
        return spelt if spelt in self.ids or not self.whole else None

    def say(self, unknown: Iterable[str]) -> str:
        """Some of the unknown ids, what may have been meant, and what an id looks like."""
        names = list(dict.fromkeys(unknown))
        shown = ", ".join(self._shown(name) for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        return f"{shown}. There is {next(iter(self.ids), None)!r}, for example"

    def meant(self, given: str) -> str | None:
        """The one id that differs from an unknown one in its folder, ending or capitals alone, if there is one."""
        return self._by_stem.get(_stem(given))

    def _shown(self, name: str) -> str:
        meant = self.meant(name)
        return f"{name!r:.80} (did you mean {meant!r}?)" if meant else f"{name!r:.80}"

    @cached_property
    def _are_numbers(self) -> bool:
        return bool(self.ids) and all(map(_NUMBER.fullmatch, self.ids))

    @cached_property
    def _by_stem(self) -> dict[str, str | None]:
        """Ids by their names without folder, ending and case; None for what several share."""
        found: dict[str, str | None] = {}
        for name in self.ids:
            stem = _stem(name)
            found[stem] = None if stem in found else name
        return found


def with_known_keys(
    given: Mapping[str, Value], query_ids: Iterable[str], what: str, others: bool = False
) -> dict[str, Value]:
    """What a file says of the queries, by their own ids and in its order; with `others` it may speak of further ones.

    Raises:
        ValueError: something in it is of no query, or with `others` everything; or two things are of one query. `what`
            says of what ("predictions").
    """
    known, found, unknown = KnownIds(query_ids), dict[str, Value](), []
    for written, value in given.items():
        query_id = known.find(written)
        if query_id is None:
            unknown.append(written)
        elif query_id in found:
            raise ValueError(f"{what}: query {query_id!r} is there twice, in two spellings")
        else:
            found[query_id] = value
    if unknown and not (others and found):
        raise ValueError(
            f"{len(unknown)} {what} for unknown queries (of {len(known.ids)} queries): {known.say(unknown)}"
        )
    return found


def _path(given: str) -> str:
    try:
        return safe_relative(given)
    except ValueError:
        return given


def _bare(given: str) -> str:
    return given.strip().strip("\ufeff").strip()


def _stem(name: str) -> str:
    plain = unicodedata.normalize("NFKC", unquote(_bare(name).strip("'\"")))
    stem = re.split(r"[/\\]", plain)[-1].partition(".")[0].casefold()
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem
