"""M-FashionIQ: FashionIQ's pairs with texts of several changes each (TEMA, ACL 2026). They lie in a FashionIQ folder.

One source is one category. Image ids are ASINs; `<category>-<position in the file>` is the query id.
"""

from __future__ import annotations

from pathlib import Path

from diptych.data.annotations import Record, load_records
from diptych.data.triplets.fine_fashioniq import FineFashionIQ


class MFashionIQ(FineFashionIQ):
    """One category of M-FashionIQ on disk, as a `TripletSource` named after the category. Files are JSON lists as
    FashionIQ's, with one text under `mmt`; protocol and splits are Fine-FashionIQ's, as in the published evaluation.
    """

    docs_page = "docs/m_cirr.md"
    _protocol_name = "m_fashioniq"
    _text_key = "mmt"

    def _captions_file(self, split: str) -> Path:
        name = f"cap.{self.name}.{split}.mmt.json"
        files = [self.root / folder / name for folder in ("mmt_captions", "captions")]
        return next((file for file in files if file.is_file()), files[0])

    def _read_records(self, path: Path) -> list[Record]:
        return load_records(path, self.docs_page, identified_by="candidate")
