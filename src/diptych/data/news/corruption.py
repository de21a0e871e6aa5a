"""Evidence and base captions that are made untrue, for studies of what that costs: a known share, the truth kept."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from diptych.contracts.news import Article, NewsQuery, NewsSource
from diptych.data.news.fusion_preparation import FusionInput

ANOTHER_ARTICLE, ANOTHER_PHOTO, NONE = "another_article", "another_photo", "none"  # need no knowledge of facts
EVIDENCE, BASE_CAPTION = "evidence", "base_caption"


@dataclass(frozen=True)
class NewsCorruption:
    """Makes the share `evidence` of the photos' articles untrue before evidence is chosen from them, and the share
    `base_captions` of what is said to be seen, on the `splits`. References are never touched, nor is what metrics know.

    `evidence_kinds` are drawn from with equal chance, another one where a kind does not apply. None: those that the
    source can tell by its facts, or `another_article`, that of another photo. `base_caption_kinds` likewise: its own,
    or `another_photo`; `none`, which must be asked for, leaves the caption away. What is not there is not made untrue.

    Which photos, and how, depends on `seed` and the photo's id alone: those of a smaller share are among those of a
    larger one.

    Raises:
        ValueError: a share is none, a list of kinds is empty, or the splits are none of the three.
    """

    evidence: float = 0.0
    base_captions: float = 0.0
    evidence_kinds: Sequence[str] | None = None
    base_caption_kinds: Sequence[str] | None = None
    splits: Sequence[str] = ("train",)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("evidence", "base_captions"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.corruption.{name}={getattr(self, name)} must be between 0 and 1")
        for name in ("evidence_kinds", "base_caption_kinds"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise ValueError(f"data.corruption.{name} is empty: name some, or null for the source's own")
        if not self.splits or set(self.splits) - {"train", "val", "test"}:
            raise ValueError(f"data.corruption.splits={list(self.splits)} must name some of train, val, test")

    def touches(self, split: str) -> bool:
        """Whether anything of the split is made untrue."""
        return split in self.splits and bool(self.evidence or self.base_captions)

    def kinds(self, part: str, source: NewsSource) -> tuple[str, ...]:
        """The kinds for evidence or base captions of a source; ValueError for one that it does not know."""
        asked, own, general = {
            EVIDENCE: (self.evidence_kinds, source.untrue_article_kinds, (ANOTHER_ARTICLE,)),
            BASE_CAPTION: (self.base_caption_kinds, source.untrue_caption_kinds, (ANOTHER_PHOTO, NONE)),
        }[part]
        if unknown := [kind for kind in asked or () if kind not in (*own, *general)]:
            known = ", ".join((*own, *general))
            raise ValueError(f"data.corruption.{part}_kinds names {unknown[0]!r}; {source.name} knows {known}")
        return tuple(asked or own or general[:1])

    def settings(self, source: NewsSource) -> dict[str, Any]:
        """What decides the corrupted inputs, as JSON can hold it."""
        kinds = {f"{part}_kinds": list(self.kinds(part, source)) for part in (EVIDENCE, BASE_CAPTION)}
        return {"evidence": self.evidence, "base_captions": self.base_captions, "seed": self.seed, **kinds}


class CorruptedInputs:
    """Corrupts the inputs of a split's photos; see `NewsCorruption`."""

    def __init__(self, corruption: NewsCorruption, source: NewsSource, split: str, captions: Mapping[str, str]) -> None:
        self._source, self._split, self._captions = source, split, captions
        self._shares = {EVIDENCE: corruption.evidence, BASE_CAPTION: corruption.base_captions}
        self._kinds = {part: corruption.kinds(part, source) for part in self._shares}
        self._seed = corruption.seed

    def __call__(self, item: FusionInput) -> tuple[FusionInput, list[dict[str, Any]]]:
        """The input as training or evaluation is given it, and what was made untrue in it, with what was true.

        Raises:
            ValueError: none of the kinds applies to it.
        """
        untruths = []
        if item.article is not None and item.query.query_id in self._chosen[EVIDENCE]:
            kind, (article, swaps) = self._told(EVIDENCE, item)
            about = {"article_id": item.article.article_id, "told_article_id": article.article_id, "swaps": swaps}
            untruths.append({"query_id": item.query.query_id, "part": EVIDENCE, "kind": kind, **about})
            item = replace(item, article=article)
        if item.base_caption and item.query.query_id in self._chosen[BASE_CAPTION]:
            kind, text = self._told(BASE_CAPTION, item)
            about = {"text": text, "true_text": item.base_caption}
            untruths.append({"query_id": item.query.query_id, "part": BASE_CAPTION, "kind": kind, **about})
            item = replace(item, base_caption=text)
        return item, untruths

    @cached_property
    def _queries(self) -> Sequence[NewsQuery]:
        return self._source.queries(self._split)

    @cached_property
    def _chosen(self) -> dict[str, frozenset[str]]:
        chosen = {}
        for part, share in self._shares.items():
            drawn = sorted((self._rng(part, query.query_id).random(), query.query_id) for query in self._queries)
            chosen[part] = frozenset(name for _, name in drawn[: round(share * len(drawn))])
        return chosen

    def _rng(self, part: str, query_id: str) -> random.Random:
        return random.Random(f"{self._seed}/{part}/{query_id}")

    def _told(self, part: str, item: FusionInput) -> tuple[str, Any]:
        """A kind and what it tells; ValueError where no kind applies."""
        rng = self._rng(part, item.query.query_id)
        rng.random()  # which decided that it is one of the chosen
        tell = self._article if part == EVIDENCE else self._base_caption
        for kind in rng.sample(self._kinds[part], len(self._kinds[part])):
            told = tell(kind, item, rng)
            if told is not None:
                return kind, told
        raise ValueError(
            f"data.corruption: the {part.replace('_', ' ')} of {item.query.query_id} cannot be made untrue in the ways"
            f" {', '.join(self._kinds[part])}: {self._source.name} {self._split} has nothing else to tell; name others"
        )

    def _article(self, kind: str, item: FusionInput, rng: random.Random) -> tuple[Article, dict[str, str]] | None:
        assert item.article is not None  # what is not there is not asked for
        if kind != ANOTHER_ARTICLE:
            return self._source.untrue_article(item.article, kind, rng)
        articles, own = self._source.articles(), {item.article.article_id, item.query.article_id}
        others = [query.article_id for query in self._queries if query.article_id not in own]
        known = [article_id for article_id in others if article_id is not None and article_id in articles]
        return (articles[rng.choice(known)], {}) if known else None

    def _base_caption(self, kind: str, item: FusionInput, rng: random.Random) -> str | None:
        if kind == NONE:
            return ""
        if kind != ANOTHER_PHOTO:
            return self._source.untrue_base_caption(self._split, item.query.query_id, kind, rng)
        texts = (self._captions[query.query_id] for query in self._queries)
        others = [text for text in texts if text and text != item.base_caption]
        return rng.choice(others) if others else None
