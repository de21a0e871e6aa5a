"""The noun phrases of modification texts, as tokens of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from diptych.contracts.models import Preprocessing, TextTokens
from diptych.contracts.retrieval import ConceptTokens, PhraseFinder

_CHUNK = 1000  # texts that are read between two steps of the progress bar


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
        self._known: dict[str, tuple[str, ...]] = {}

    def remember(self, texts: Sequence[str]) -> None:
        """Reads texts beforehand, with a progress bar."""
        starts = range(0, len(texts), _CHUNK)
        for start in track(starts, "noun phrases", console=Console(stderr=True), disable=len(starts) < 2):
            chunk = texts[start : start + _CHUNK]
            self._known.update(zip(chunk, self.finder.phrases(chunk), strict=True))

    def __call__(self, texts: Sequence[str], width: int) -> ConceptTokens:
        """The phrases of a batch's texts, which are `width` tokens long with their pads. Left out are phrases whose
        tokens are not among those of their text, because it was cut.
        """
        rows, spans, phrases = [], [], []
        whole, found = self.preprocessing.tokenize(texts), self._phrases(texts)
        alone = self._tokenized([phrase for part in found for phrase in part])
        words = iter(_ids(alone))
        for row, (ids, part) in enumerate(zip(_ids(whole), found, strict=True)):
            for phrase in part:
                core = next(words)[1:-1]
                start = _first_place(core, ids)
                if start is not None:
                    rows.append(row)
                    spans.append((start, start + len(core)))
                    phrases.append(phrase)
        alone = self._tokenized(phrases)
        lengths = alone.mask.sum(dim=1)
        return ConceptTokens(
            alone.input_ids,
            alone.mask,
            torch.tensor(rows, dtype=torch.long),
            _between(torch.tensor(spans, dtype=torch.long).view(-1, 2), width),
            _between(torch.stack([torch.ones_like(lengths), lengths - 1], dim=1), alone.mask.shape[1]),
        )

    def _phrases(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        unknown = list(dict.fromkeys(text for text in texts if text not in self._known))
        known = self._known
        if unknown:
            known = {**{text: known[text] for text in texts if text in known}}
            known.update(zip(unknown, self.finder.phrases(unknown), strict=True))
        return [known[text] for text in texts]

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
