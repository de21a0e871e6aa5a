"""The noun phrases of modification texts, as tokens of a batch."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from diptych.contracts.models import Preprocessing, TextTokens
from diptych.contracts.retrieval import ConceptTokens, PhraseFinder

_CHUNK = 1000  # texts that are read between two steps of the progress bar


class _Placed(NamedTuple):
    """A phrase, and from which of its text's tokens to before which it stands."""

    phrase: str
    start: int
    stop: int


class ConceptReader:
    """Gives a batch the noun phrases of its texts. What `remember` has read is not read again, in workers neither;
    texts that are not known beforehand, those in shards, are read whenever they come.

    Raises:
        ValueError: the tokenizer does not put one token before and one after a text, and the finder's.
    """

    def __init__(self, finder: PhraseFinder, preprocessing: Preprocessing) -> None:
        if int(preprocessing.tokenize([""]).mask.sum()) != 2:
            raise ValueError(
                "phrases cannot be found among this backbone's tokens: its tokenizer does not mark where a text starts "
                "and ends, as CLIP's does; leave concept_consistency out of system/auxiliary_losses"
            )
        finder.load()
        self.finder, self.preprocessing = finder, preprocessing
        self._known: dict[str, list[_Placed]] = {}

    def remember(self, texts: Sequence[str]) -> None:
        """Reads texts beforehand, with a progress bar."""
        starts = range(0, len(texts), _CHUNK)
        for start in track(starts, "noun phrases", console=Console(stderr=True), disable=len(starts) < 2):
            self._known |= self._read(texts[start : start + _CHUNK])

    def __call__(self, texts: Sequence[str], width: int) -> ConceptTokens:
        """The phrases of a batch's texts, which are `width` tokens long with their pads. Left out are phrases whose
        tokens are not among those of their text, because it was cut.
        """
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = ChainMap(self._read(unknown), self._known)
        placed = [(row, one) for row, text in enumerate(texts) for one in found[text]]
        alone = self._tokenized([one.phrase for _, one in placed])
        lengths = alone.mask.sum(dim=1)
        return ConceptTokens(
            alone.input_ids,
            alone.mask,
            torch.tensor([row for row, _ in placed], dtype=torch.long),
            _between(torch.tensor([one[1:] for _, one in placed], dtype=torch.long).view(-1, 2), width),
            _between(torch.stack([torch.ones_like(lengths), lengths - 1], dim=1), alone.mask.shape[1]),
        )

    def _read(self, texts: Sequence[str]) -> dict[str, list[_Placed]]:
        """The phrases of each text, those whose tokens stand in it."""
        if not texts:
            return {}
        found = self.finder.phrases(texts)
        cores = iter(_ids(self._tokenized([phrase for part in found for phrase in part])))
        read = {}
        for text, ids, part in zip(texts, _ids(self.preprocessing.tokenize(texts)), found, strict=True):
            placed = []
            for phrase in part:
                core = next(cores)[1:-1]
                start = _first_place(core, ids)
                if start is not None:
                    placed.append(_Placed(phrase, start, start + len(core)))
            read[text] = placed
        return read

    def _tokenized(self, phrases: Sequence[str]) -> TextTokens:
        """The tokens of phrases; of none at all, no rows."""
        tokens = self.preprocessing.tokenize(phrases or [""])
        return TextTokens(tokens.input_ids[: len(phrases)], tokens.mask[: len(phrases)])


def _ids(tokens: TextTokens) -> list[list[int]]:
    """The real tokens of each text."""
    return [row[mask].tolist() for row, mask in zip(tokens.input_ids, tokens.mask, strict=True)]


def _first_place(part: Sequence[int], whole: Sequence[int]) -> int | None:
    """Where the first of the consecutive tokens stands; None for no tokens, or if they are not there."""
    places = range(len(whole) - len(part) + 1) if part else ()
    return next((place for place in places if whole[place : place + len(part)] == part), None)


def _between(spans: Tensor, width: int) -> Tensor:
    """True from the first to before the last of `spans` (N, 2): (N, width)."""
    places = torch.arange(width)
    return (places >= spans[:, :1]) & (places < spans[:, 1:])
