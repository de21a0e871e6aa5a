"""Texts and pairs that an image-text encoder does not agree with are left out; runs on the trainer's devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from diptych.annotation.filters import Agreement
from diptych.contracts.models import PhotoEncoder
from diptych.contracts.pipelines import Failure, Result, SharedWork
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.photos.images import read_image
from diptych.stages.news.embed_photos import filled_up
from diptych.stages.running.prediction import Prediction
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordLog


class FilterByAgreement(RecordStage):
    """The records of `texts` (those of the combine stage), of each text only what `agreement` lets pass.

    What it drops is added to the record's `dropped`. A pair fails as `near_identical`, as `disagrees` where no text is
    left, as `unreadable`, as `remote_image` (a URL is not looked at), or as `no_texts` where an earlier stage has none.
    """

    record_key = "pair_id"
    runtime_settings = ("pairs", "texts", "num_workers")

    def __init__(
        self,
        pairs: str | Path,
        texts: str | Path,
        encoder: PhotoEncoder,
        agreement: Agreement,
        images_root: str | Path | None = None,
        batch_size: int = 32,
        num_workers: int = 8,
    ) -> None:
        self.pairs, self.texts = Path(pairs), Path(texts)
        self.encoder, self.agreement, self.images_root = encoder, agreement, images_root
        self.batch_size, self.num_workers = batch_size, num_workers

    def input_files(self) -> Sequence[Path]:
        """Pairs and texts."""
        return [self.pairs, self.texts]

    @cached_property
    def _records(self) -> dict[str, dict[str, Any]]:
        return RecordLog(self.texts, self.record_key).read()

    @cached_property
    def _pairs(self) -> dict[str, ImagePair]:
        return {pair.pair_id: pair for pair in read_pairs(self.pairs, self.images_root).pairs}

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return list(self._pairs)

    def shared_work(self) -> SharedWork:
        """The encoder compares."""
        return Prediction(self)

    def reader(self) -> PairReader:
        """Decodes and transforms in worker processes."""
        with_texts = {name: pair for name, pair in self._pairs.items() if name in self._records}
        return PairReader(with_texts, self.encoder.transform, self.batch_size)

    def load_model(self) -> PhotoEncoder:
        """The encoder with its weights."""
        self.encoder.load()
        return self.encoder

    def predict(self, model: PhotoEncoder, ids: Sequence[str], batch: Any) -> Sequence[Result]:
        """The record of each pair with the texts that are left, or why there is none."""
        references, targets = model.embed_images(batch).float().unflatten(0, (2, -1))
        pairs = zip(ids, references, targets, strict=False)  # the batch is filled up
        return [self._filtered(model, self._records[name], *embeddings) for name, *embeddings in pairs]

    def _filtered(
        self, model: PhotoEncoder, record: Mapping[str, Any], reference: torch.Tensor, target: torch.Tensor
    ) -> Mapping[str, Any] | Failure:
        name, texts = record[self.record_key], record["texts"]
        if self.agreement.near_identical(reference, target):
            similarity = f"the images' similarity is {float(reference @ target):.3f}"
            return Failure(name, Agreement.NEAR_IDENTICAL, f"{similarity}, above {self.agreement.max_image_similarity}")
        agreeing = self.agreement.agreeing(model, texts, reference, target)
        if not any(agreeing):
            return Failure(name, Agreement.DISAGREES, "every text is nearer to the reference than to the target")
        kept = [number for number, agrees in enumerate(agreeing) if agrees]
        dropped = dict(record["dropped"])
        if len(kept) < len(texts):
            dropped[Agreement.DISAGREES] = len(texts) - len(kept)
        chosen = {key: [record[key][number] for number in kept] for key in ("texts", "parts")}
        return {**record, **chosen, "dropped": dict(sorted(dropped.items()))}


class PairReader:
    """A RecordReader: pairs to two transformed photos."""

    def __init__(
        self, pairs: Mapping[str, ImagePair], transform: Callable[[torch.Tensor], Any], batch_size: int
    ) -> None:
        self.pairs, self.transform, self.batch_size = pairs, transform, batch_size

    def read(self, record_id: str) -> Any:
        """Reference and target, or why one of them cannot be read."""
        if record_id not in self.pairs:
            return Failure(record_id, "no_texts", "the pair has no text; see why in the failures.jsonl of combine")
        pair = self.pairs[record_id]
        images = (pair.reference_image, pair.target_image)
        remote = next((image for image in images if is_remote(image)), None)
        if remote is not None:
            return Failure(record_id, "remote_image", f"{remote} is a URL, which is not looked at; set fetch=on")
        try:
            return tuple(self.transform(read_image(image)) for image in images)
        except ValueError as error:
            return Failure(record_id, "unreadable", str(error))

    def collate(self, items: Sequence[Any]) -> Any:
        """All references, then all targets, stacked and filled up to the batch size."""
        pairs = filled_up(items, self.batch_size)
        return default_collate([photo for photos in zip(*pairs, strict=True) for photo in photos])
