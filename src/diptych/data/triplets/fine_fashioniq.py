"""Fine-FashionIQ: FashionIQ's pairs with texts of several changes each (FineCIR, 2025). They lie in a FashionIQ folder.

One source is one category. Image ids are ASINs; `<category>-<position in the file>` is the query id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.data.annotations import Record, load_json_lines
from diptych.data.triplets.fashioniq import FashionIQ


class FineFashionIQ(FashionIQ):
    """One category of Fine-FashionIQ on disk, as a `TripletSource` named after the category. Files have a line for each
    record, and one text under `finemt`.

    As in the published evaluation the gallery is the references and targets of the split, and the query's own reference
    is taken out.
    """

    docs_page = "docs/fine_cirr.md"
    splits = ("train", "val")
    _protocol_name = "fine_fashioniq"
    _text_key = "finemt"

    def __init__(self, root: str | Path, category: str) -> None:
        super().__init__(root, category, protocol="val_split")
        self.published_counts: Mapping[str, tuple[int, int]] = MappingProxyType({})

    def protocol(self, split: str) -> EvaluationProtocol:
        """Named after the set: recall at 1, 10 and 50, and the mean of the last two."""
        return replace(
            super().protocol(split),
            name=self._protocol_name,
            gallery=f"references and targets of the pairs of {self._captions_file(split).name}",
            exclude_reference=True,
            text_template=f"{{{self._text_key}}}",
            caption_joining="one text a query, as written",
            recall_ks=(1, 10, 50),
        )

    def _captions_file(self, split: str) -> Path:
        return self.root / "captions" / f"fiq.fine.{self.name}.{split}.jsonl"

    def _read_pairs(self, split: str, known: dict[str, None]) -> list[tuple[Query, tuple[str, ...]]]:
        records = self._read_records(self._captions_file(split))
        return [self._fine_pair(record, position, known) for position, record in enumerate(records)]

    def _read_records(self, path: Path) -> list[Record]:
        return load_json_lines(path, self.docs_page, identified_by="candidate")

    def _fine_pair(self, record: Record, position: int, known: dict[str, None]) -> tuple[Query, tuple[str, ...]]:
        reference, target = (self._image(record, key, known) for key in ("candidate", "target"))
        text = record.name(self._text_key)
        return Query(f"{self.name}-{position}", reference, text, target, (target,)), (text,)
