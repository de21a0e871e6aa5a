"""M-CIRR: CIRR's pairs with texts of several changes each (TEMA, ACL 2026). They lie in a CIRR folder.

Image ids and the six look-alikes are CIRR's.
"""

from __future__ import annotations

from pathlib import Path

from diptych.data.annotations import Record, load_records
from diptych.data.triplets.fine_cirr import FineCIRR


class MCIRR(FineCIRR):
    """M-CIRR on disk, as a `TripletSource`. Files are JSON lists as CIRR's, with the text under `mmt`; protocol and
    splits are Fine-CIRR's, as in the published evaluation.

    The published code reads no `pairid` of these files: a record without one is called `m_cirr-<position in the file>`.
    """

    name = "m_cirr"
    docs_page = "docs/m_cirr.md"
    _title = "M-CIRR"
    _text_key = "mmt"
    _file_name = "cap.rc2.{split}.mmt.json"
    _folders = ("mmt_captions", "captions")

    def _read(self, path: Path) -> list[Record]:
        return load_records(path, self.docs_page, identified_by="pairid")

    def _query_id(self, record: Record, position: int) -> str:
        return super()._query_id(record, position) if "pairid" in record else f"{self.name}-{position}"
