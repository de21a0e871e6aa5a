"""Captions that were written before, one a photo: what evidence is looked for by a second time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.data.news.captions_file import read_captions
from diptych.text.sentences import split_sentences

_SHOWN = 5


class Drafts:
    """The captions of a file that `read_captions` reads, such as the `predictions.jsonl` of an evaluation. Photos that
    no split asks for may stand in it.

    A draft's sentences are queries of evidence selection beside the photo's own: each may bring in the part of the
    article that it came from, or came near to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def settings(self) -> Mapping[str, Any]:
        """The file's content.

        Raises:
            ValueError: it cannot be read.
        """
        listed = "\n".join(f"{query_id!r}: {caption!r}" for query_id, caption in sorted(self._captions.items()))
        return {"captions": hashlib.sha256(listed.encode(errors="surrogatepass")).hexdigest()}

    def check(self, query_ids: Sequence[str]) -> None:
        """ValueError names photos that have no draft. One may be blank: then the photo's own queries are all."""
        if absent := [query_id for query_id in query_ids if query_id not in self._captions]:
            more = ", ..." if len(absent) > _SHOWN else ""
            raise ValueError(
                f"data.preparation.drafts.path={self.path}: {len(absent)} of {len(query_ids)} photos have no draft in"
                f" it: {', '.join(absent[:_SHOWN])}{more}; write the captions of this split first"
            )

    def queries(self, query_id: str) -> tuple[str, ...]:
        """The sentences of a photo's draft."""
        self.check([query_id])
        caption = self._captions[query_id]
        return tuple(" ".join(caption[start:end].split()) for start, end in split_sentences(caption))

    @cached_property
    def _captions(self) -> dict[str, str]:
        return read_captions(self.path)
