"""A trained retrieval model in Python: index pictures, then search them with a picture, a text, or both.

Shape letters: G images of the index, E embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from diptych.api.gallery import Gallery, Images, gallery_images, gallery_of
from diptych.api.indexing import GrowingIndex
from diptych.api.picture_batches import picture_batches
from diptych.config.inference import chosen_device, computing_in, resolved_precision
from diptych.config.trained_encoder import TrainedEncoder
from diptych.contracts.retrieval import GalleryImage
from diptych.contracts.search import SearchResult
from diptych.index.exact_index import ExactIndex
from diptych.parallel import checkpoints

log = logging.getLogger(__name__)

_SHOWN = 10


def load_retriever(
    checkpoint: str | Path, device: str | torch.device | None = None, *, precision: str = "auto"
) -> Retriever:
    """The retrieval model of a checkpoint that `train.py` wrote, ready to index images and to search them.

    `checkpoint` is the file, a run's folder, whose best checkpoint is taken, or a folder of `diptych export`; it needs
    nothing beside it, and runs no code of its own.

    - `device` is torch's name of one (`cuda:1`); None takes the GPU if there is one.
    - `precision` is `32-true`, `bf16-mixed`, `16-mixed` or `auto`: as `trainer.precision`, and `auto` is what
      `evaluate.py` takes.

        retriever = diptych.load_retriever("runs/cir_rooms/latest")
        retriever.index("photos")
        for result in retriever.search(image="chair.jpg", text="the same chair in green", k=5):
            print(result.image_id, result.score)

    Raises:
        ValueError: the checkpoint is missing, damaged, not of a retrieval system, or names classes that a checkpoint
            may not name; or the device or the precision cannot be used.
    """
    encoder = TrainedEncoder(checkpoint)
    found = chosen_device(device)
    computing_in(precision, found)
    encoder.load(found)
    return Retriever(encoder.to(found), found, precision)


class Retriever:
    """Finds images by what they show: as a given picture does, as a text says, or as the picture changed by the text.

    Made by `load_retriever`. It holds one index at a time, which `index` makes or `load` reads. Scores and order are
    those of `evaluate.py` on the same checkpoint: of its `model`, and of its baselines `image_only` and `text_only`
    where a picture or a text is given alone. `len` is the number of images in the index.
    """

    def __init__(self, encoder: TrainedEncoder, device: torch.device, precision: str) -> None:
        self.checkpoint, self.device, self.precision = encoder.checkpoint, device, precision
        assert encoder.model is not None  # it was loaded
        self._model, self._reader = encoder.model, encoder.reader
        self._gallery: Gallery | None = None

    def __len__(self) -> int:
        return 0 if self._gallery is None else len(self._gallery.images)

    @property
    def images(self) -> Sequence[GalleryImage]:
        """The images of the index, each with its `image_id` and `path`, in the order in which they were given."""
        return () if self._gallery is None else self._gallery.images

    @property
    def searches_halves(self) -> bool:
        """Whether a picture or a text alone can be searched with, too."""
        return bool(self._model.backbone.embedding_dim)

    def reads_whole(self, text: str) -> bool:
        """Whether the model reads all of a text; of a longer one it leaves out the end."""
        return not self._model.backbone.preprocessing.tokenize([text]).num_truncated

    def __repr__(self) -> str:
        return f"Retriever({str(self.checkpoint)!r}, device={str(self.device)!r}, {len(self)} images)"

    def index(
        self,
        images: Images,
        *,
        batch_size: int = 64,
        num_workers: int | None = None,
        on_missing: Literal["error", "drop"] = "error",
        keep: str | Path | None = None,
        show_progress: bool = True,
    ) -> dict[str, str]:
        """Embeds these images, in place of those indexed before; returns why some could not be read, by id.

        `images` is a folder (with its sub-folders; ids are paths relative to it), some files (ids are their paths as
        given), or files by id. They are decoded by `num_workers` processes (None: one a processor, at most eight) and
        embedded `batch_size` at a time. `on_missing` says what an image does that is missing or cannot be decoded:
        `error` refuses all, `drop` leaves it out; either names it. `keep` is a file for the index, as `save` writes it:
        images that it has, and whose files were not changed since, are not embedded again; it is brought up to date
        every minute and in the end, so that what was embedded is not lost.

            retriever.index({"a": "photos/1.jpg", "b": "photos/2.png"}, on_missing="drop")
            retriever.index("photos", keep="photos.index")

        Raises:
            ValueError: there are no images, an id occurs twice, images cannot be read, `keep` is no index, or
                `on_missing` is neither. The index is then as before.
        """
        if on_missing not in ("error", "drop"):
            raise ValueError(f"on_missing={on_missing!r} is not one of error, drop")
        place, precision = None if keep is None else Path(keep), resolved_precision(self.precision)
        growing = GrowingIndex(gallery_images(images), self._weights, self._name, precision, place)
        missing = growing.missing
        batches = picture_batches([growing.images[each] for each in missing], self._reader, batch_size, num_workers)
        unreadable: dict[str, str] = {}
        for batch in track(batches, "Indexing", console=Console(stderr=True), disable=not (show_progress and missing)):
            unreadable |= {growing.images[missing[each]].image_id: why for each, why in batch.unreadable.items()}
            if batch.pixels is not None:
                with self._computing():
                    embedded = self._model.embed_gallery(batch.pixels.to(self.device))
                growing.put([missing[each] for each in batch.positions], embedded)
        drop = on_missing == "drop" and len(unreadable) < len(growing.images)
        growing.write(0 if drop else len(unreadable))
        _complain(unreadable, len(growing.images), drop)
        self._gallery = growing.gallery()
        return unreadable

    def search(
        self,
        image: str | Path | None = None,
        text: str | None = None,
        k: int = 10,
        *,
        exclude: Collection[str] = (),
    ) -> list[SearchResult]:
        """The first `k` images of the index, best first (all, if it holds fewer); equal scores in the index's order.

        With `image`, a file, and `text`: images like the picture, changed as the text says. With one of them: images
        like the picture, or as the text says, by the backbone alone. `exclude` holds ids that are not to be found, such
        as that of the picture itself; others in it change nothing.

            retriever.search(text="a bed with red cushions")
            retriever.search(image="bed.jpg", text="make the cushions red", k=3, exclude=["bed.jpg"])

        Raises:
            ValueError: nothing is indexed, neither is given, or one alone to a model that compares composed queries
                only; the text is blank, `k` is below 1, or the picture cannot be read.
        """
        if self._gallery is None:
            raise ValueError("nothing is indexed yet: call index(images) or load(path) first")
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        left_out = {exclude} if isinstance(exclude, str) else set(exclude)
        name, query = self._query(image, text)
        vectors = self._gallery.vectors["model" if name == "model" else "baseline"]
        positions, scores = ExactIndex().search(query, vectors, k + len(left_out))
        ranked = zip((self._gallery.images[position] for position in positions[0]), scores[0].tolist(), strict=True)
        found = [SearchResult(each.image_id, each.path, score) for each, score in ranked]
        return [result for result in found if result.image_id not in left_out][:k]

    def save(self, path: str | Path) -> None:
        """Writes the index into one file, in one step: images' ids and paths, and their embeddings (4 bytes a number,
        2 kB an image at a width of 512). A file that is there is replaced.

        Raises:
            ValueError: nothing is indexed. `OSError` where the disk does not take it.
        """
        if self._gallery is None:
            raise ValueError("nothing is indexed yet: there is no index to save")
        self._gallery.write(Path(path))

    def load(self, path: str | Path) -> None:
        """Takes an index that `save` wrote, in place of the present one. The images themselves are not looked at.

        Raises:
            ValueError: the file is missing or damaged, or was made with other weights than this retriever's; names
                both.
        """
        self._gallery = gallery_of(Path(path), self._weights, self._name)
        if self._gallery.missing:
            log.warning("%s was not finished: %d images are not in it", path, self._gallery.missing)

    def _query(self, image: str | Path | None, text: str | None) -> tuple[str, Tensor]:
        """The name of the query's embedding among the model's, and the embedding (1, E)."""
        if image is None and text is None:
            raise ValueError("say what to search for: image=, text=, or both")
        if text is not None and not text.strip():
            raise ValueError("the text is blank; leave it out to search with the picture alone")
        name = "text_only" if image is None else "image_only" if text is None else "model"
        if name != "model" and not self.searches_halves:
            raise ValueError("this model has no space of pictures and texts alone: search with image= and text=")
        pixels = None if image is None else self._reader(image)[None].to(self.device)
        tokens = None if text is None else self._model.backbone.preprocessing.tokenize([text]).to(self.device)
        if tokens is not None and tokens.num_truncated:
            log.warning("the text is longer than the model reads; it has lost its end: %.80r...", text)
        with self._computing():
            return name, self._model.embed_queries(pixels, tokens)[name].float().cpu()

    @property
    def _name(self) -> str:
        return str(self.checkpoint.resolve())  # `latest` names another run tomorrow

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), computing_in(self.precision, self.device):
            yield

    @cached_property
    def _weights(self) -> str:
        """Stands for all that decides the embeddings of images: the weights, an activation that is not the one of
        their kind, and how pictures are read.
        """
        activation = getattr(self._model.backbone, "activation", None)
        how = f"{self._reader.spec} {self._reader.decoder}{'' if activation is None else f' {activation}'}".encode()
        state = {**self._model.state_dict(), "pictures": torch.frombuffer(bytearray(how), dtype=torch.uint8)}
        return checkpoints.fingerprint(state)


def _complain(unreadable: dict[str, str], num_images: int, drop: bool) -> None:
    """Names images that cannot be read: in a warning where they are to be left out, else in a ValueError."""
    if not unreadable:
        return
    reasons = "; ".join(f"{image_id}: {reason}" for image_id, reason in list(unreadable.items())[:_SHOWN])
    more = f"; and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
    message = f"{len(unreadable)} of {num_images} images cannot be read: {reasons}{more}"
    if not drop:
        raise ValueError(f"{message}. on_missing='drop' leaves them out, if others are left")
    log.warning("%s. They are not in the index.", message)
