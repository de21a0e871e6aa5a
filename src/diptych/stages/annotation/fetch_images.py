"""Remote images to files, before anything is asked about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from diptych.annotation.fetching import FetchFailure, ImageFetcher
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_pairs import Pairs, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.stages.running.record_stage import RecordStage

FETCHED = "fetched"  # the folder of a set's images by URL


class FetchImages(RecordStage):
    """Fetches the remote images of `pairs` into `out/fetched`, each URL once. Its records are pairs that name files,
    and can be read as such, with `out` as `images_root`. `private` is that of `ImageFetcher`.

    A pair fails for the reasons of `FetchFailure`.
    """

    record_key = "pair_id"
    runtime_settings = ("out", "private")

    def __init__(
        self, pairs: str | Path, out: str | Path, images_root: str | Path | None = None, private: bool = False
    ) -> None:
        self.pairs, self.out, self.images_root, self.private = Path(pairs), Path(out), images_root, private

    def input_files(self) -> Sequence[Path]:
        """`pairs`."""
        return [self.pairs]

    @cached_property
    def _pairs(self) -> Pairs:
        return read_pairs(self.pairs, self.images_root)

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return [pair.pair_id for pair in self._pairs.pairs]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The pairs in the order of the ids, each as soon as its images are there."""
        wanted = set(ids)
        pairs = [pair for pair in self._pairs.pairs if pair.pair_id in wanted]
        images = dict.fromkeys(image for pair in pairs for image in (pair.reference_image, pair.target_image))
        coming = ImageFetcher(self.out / FETCHED, private=self.private).fetch_all(filter(is_remote, images))
        found: dict[str, Path | FetchFailure] = {}
        for pair in pairs:
            named = {}
            for key in ("reference_image", "target_image"):
                image = getattr(pair, key)
                while is_remote(image) and image not in found:
                    url, found[url] = next(coming)
                named[key] = found.get(image, image)
            failure = next((file for file in named.values() if isinstance(file, FetchFailure)), None)
            if failure is not None:
                yield Failure(pair.pair_id, failure.reason, str(failure))
                continue
            shown = {key: f"{FETCHED}/{file.name}" if isinstance(file, Path) else file for key, file in named.items()}
            yield {"pair_id": pair.pair_id, **shown, **({"group": pair.group} if pair.group else {})}
