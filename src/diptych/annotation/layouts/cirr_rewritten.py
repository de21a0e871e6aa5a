"""CIRR_R's layout: `rewritten_captions/rewritten_<split>.json`, to be put into a CIRR folder, which has the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.annotation.layouts.layout import FORMS, as_records, check_choice, in_form, location
from diptych.storage.json_files import write_json

_SUFFIX = ".png"  # of every image of CIRR, and what readers cut off


class CIRRRewrittenLayout:
    """Annotated pairs of CIRR as good4cir publishes them and `data=cirr_rewritten` reads them.

    The keys are `query_image_url`, `retrieved_image_url` and `difference_captions`; `pair_id` (CIRR's `pairid`, where
    the pairs are those of `diptych pairs data=cirr`) and `group` beside them trace a record back. `texts` is the
    form of the captions: `list` has all texts of a pair, as good4cir's pipeline writes them; the released reader
    (SLUVisLab/good4cir, evalsrc) takes one string a record, which `each` (a record for each text) and `joined` (all
    sentences of the pair in one string) give.
    """

    copies_images = False

    def __init__(self, split: str = "train", texts: str = "list") -> None:
        self.split, self.texts = check_choice("split", split, ("train", "val", "test")), texts
        check_choice("texts", texts, FORMS)
        self.file = f"rewritten_captions/rewritten_{split}.json"

    def image_name(self, image: str) -> str:
        """CIRR's name of the image: that of its file, without `.png`.

        Raises:
            ValueError: the file is no .png.
        """
        name = location(image).rsplit("/", 1)[-1]
        if not name.endswith(_SUFFIX) or name == _SUFFIX:
            raise ValueError(f"{image} is no image of CIRR, all of which are {_SUFFIX} files")
        return name.removesuffix(_SUFFIX)

    def image_file(self, name: str) -> str:
        """Its file's name; where it lies CIRR's list of images says."""
        return f"{name}{_SUFFIX}"

    def wordings(self, texts: Sequence[str], sentences: Sequence[str]) -> Sequence[str]:
        """The texts, or all sentences in one."""
        return in_form(self.texts, texts, sentences)

    def write(self, path: Path, records: Sequence[Mapping[str, Any]]) -> None:
        """One JSON list."""
        images = [
            {
                "query_image_url": self.image_file(record["reference_image"]),
                "retrieved_image_url": self.image_file(record["target_image"]),
            }
            for record in records
        ]
        content = as_records(self.texts, "difference_captions", records, images)
        write_json(path, content, indent=1, ascii_only=False)
