"""Captions that a model wrote, trained on in the place of the references: those whose claims are all supported."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.news import NewsQuery
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.data.news.prompt import evidence_text
from diptych.storage.json_files import read_json_lines
from diptych.storage.json_shapes import Count

log = logging.getLogger(__name__)

_ADVICE = (
    "name the predictions.jsonl of an evaluation with split=train generation.num_candidates=N generation.choice=support"
)
_RECORD = {"caption": str, "evidence": str, "unsupported_claims": Count, "claims": Count}


class WrittenCaptions:
    """The captions in the `predictions.jsonl` of an evaluation that chose by support. Kept are those that make claims,
    all of which their evidence states; `path` is `data.captions`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def settings(self) -> Mapping[str, Any]:
        """What the kept captions are; ValueError where the file cannot be read."""
        listed = "\n".join(f"{query_id!r}: {record['caption']!r}" for query_id, record in sorted(self._kept.items()))
        return {"kept": hashlib.sha256(listed.encode(errors="surrogatepass")).hexdigest()}

    def of(self, queries: Sequence[NewsQuery]) -> list[NewsQuery]:
        """The queries whose caption is kept, with it as their only reference; how many these are is logged.

        Raises:
            ValueError: the file cannot be read, is not of captions chosen by support, or keeps none of these queries.
        """
        kept = [
            replace(query, reference_captions=(self._kept[query.query_id]["caption"],))
            for query in queries
            if query.query_id in self._kept
        ]
        if not kept:
            raise ValueError(f"data.captions={self.path}: no caption of these photos is supported by its evidence")
        log.info(
            "%d of %d photos are trained on, with the captions of %s whose claims are all supported",
            *(len(kept), len(queries), self.path),
        )
        return kept

    def check_evidence(self, prepared: Sequence[PreparedQuery]) -> None:
        """ValueError for a photo whose prompt says something else of the article than the one that its caption was
        written from. Base captions, wording and length of the prompt are not compared.
        """
        for query in prepared:
            if evidence_text(query.evidence) != self._kept[query.query_id]["evidence"]:
                raise ValueError(
                    f"data.captions={self.path}: the caption of photo {query.query_id!r} was written from other"
                    " evidence than it would be trained with: set data.evidence_source to the evaluation's"
                    " (retrieved, unless it said otherwise), and prompt and selection of evidence likewise"
                )

    @cached_property
    def _kept(self) -> dict[str, Mapping[str, Any]]:
        records = read_json_lines(self.path, "query_id", _ADVICE, shape=_RECORD)
        return {
            query_id: record
            for query_id, record in records.items()
            if record["caption"].strip() and record["claims"] > 0 and not record["unsupported_claims"]
        }
