"""Fine-CIRR: CIRR's pairs with texts of several changes each (FineCIR, 2025). They lie in a CIRR folder.

Image ids, query ids and the six look-alikes are CIRR's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from diptych.contracts.retrieval import EvaluationProtocol
from diptych.data.annotations import Record, check_split, load_json_lines
from diptych.data.triplets.cirr import CIRR


class FineCIRR(CIRR):
    """Fine-CIRR on disk, as a `TripletSource`. Files have a line for each record, and the text under `finemt`.

    Gallery, exclusion and metrics are CIRR's official ones, as in the published evaluation.
    """

    name = "fine_cirr"
    docs_page = "docs/fine_cirr.md"
    splits = ("train", "val")
    published_counts = MappingProxyType({})
    submission_format = None
    _title = "Fine-CIRR"
    _text_key = "finemt"
    _file_name = "cirr.fine.{split}.jsonl"
    _folders: tuple[str, ...] = ("finemt_captions", "captions")  # the first as the README has it, the second the code

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)

    def protocol(self, split: str) -> EvaluationProtocol:
        """CIRR's, under the name `<set>_<split>`: on other texts, so not comparable with CIRR's numbers."""
        of_cirr = super().protocol(split)
        return replace(
            of_cirr,
            name=f"{self.name}_{split}",
            text_template=f"{{{self._text_key}}}",
            caption_joining="one text a query, as written",
        )

    def _captions_file(self, split: str) -> Path:
        annotations, name = self._files.annotations(), self._file_name.format(split=split)
        files = [annotations / folder / name for folder in self._folders]
        return next((file for file in files if file.is_file()), files[0])

    def _read(self, path: Path) -> list[Record]:
        return load_json_lines(path, self.docs_page, identified_by="pairid")

    def _check(self, split: str) -> str:
        return check_split(split, self.splits, self._title)
