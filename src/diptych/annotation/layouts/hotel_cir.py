"""Hotel-CIR's layout: `captions/hotel_<split>_data.json`, and images under two folders of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.annotation.layouts.layout import FORMS, as_records, check_choice, in_form, location
from diptych.storage.json_files import write_json
from diptych.storage.relative_paths import safe_relative

_IMAGE_FOLDERS = {"train": "train", "val": "val_test", "test": "val_test"}


class HotelCIRLayout:
    """Annotated pairs as Hotel-CIR is published and `data=hotel_cir` reads it.

    The keys are `query_image`, `result_image` and `difference`; `pair_id` and `group` beside them trace a record back.
    Images are called by the last three segments of their path or URL, `<folder>/<folder>/<file>`. `texts` is the form
    of `difference`: `list` has all texts of a pair; the released reader (SLUVisLab/good4cir, evalsrc) takes one string
    a record, which `each` (a record for each text) and `joined` (all sentences of the pair in one string) give.
    """

    copies_images = True

    def __init__(self, split: str = "train", texts: str = "list") -> None:
        self.split, self.texts = check_choice("split", split, tuple(_IMAGE_FOLDERS)), texts
        check_choice("texts", texts, FORMS)
        self.file = f"captions/hotel_{split}_data.json"

    def image_name(self, image: str) -> str:
        """The last three segments.

        Raises:
            ValueError: there are fewer, or they are no safe path.
        """
        path = location(image).partition("://")[2 if "://" in image else 0]
        segments = [segment for segment in path.split("/") if segment != "."][-3:]
        if len(segments) < 3 or not all(segments):
            raise ValueError(f"{image} does not end in <folder>/<folder>/<file>, as images of Hotel-CIR are called")
        return safe_relative("/".join(segments))

    def image_file(self, name: str) -> str:
        """`images/train/<name>`, or `images/val_test/<name>`."""
        return f"images/{_IMAGE_FOLDERS[self.split]}/{name}"

    def wordings(self, texts: Sequence[str], sentences: Sequence[str]) -> Sequence[str]:
        """The texts, or all sentences in one."""
        return in_form(self.texts, texts, sentences)

    def write(self, path: Path, records: Sequence[Mapping[str, Any]]) -> None:
        """One JSON list."""
        images = [
            {"query_image": record["reference_image"], "result_image": record["target_image"]} for record in records
        ]
        write_json(path, as_records(self.texts, "difference", records, images), indent=1, ascii_only=False)
