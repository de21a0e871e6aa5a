"""Pairs of images that are to be annotated: good4cir's published JSON list, or one JSON object a line."""

from __future__ import annotations

import difflib
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from diptych.data.annotations import Record, load_json_lines, load_records, resolve_inside
from diptych.photos.image_urls import is_remote
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

DOCS_PAGE = "docs/annotation.md"
_KEYS = ("pair_id", "reference_image", "target_image", "group")


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A reference and a target, each an http(s) URL or the absolute path of a file, which need not be there. Pairs of
    one `group` show look-alikes; empty where none is known.
    """

    pair_id: str
    reference_image: str
    target_image: str
    group: str = ""


@dataclass(frozen=True)
class Pairs:
    """The pairs of a file in its order, without those that name the same two images as an earlier one, which
    `num_duplicates` counts.
    """

    pairs: tuple[ImagePair, ...]
    num_duplicates: int = 0

    @property
    def images(self) -> tuple[str, ...]:
        """All images, in the order of first use."""
        return tuple(dict.fromkeys(image for pair in self.pairs for image in (pair.reference_image, pair.target_image)))


def read_pairs(path: str | Path, images_root: str | Path | None = None) -> Pairs:
    """The pairs of a `.json` list or a `.jsonl` file: `reference_image` and `target_image`, and if wanted `pair_id`
    and `group`. Keys of other meanings are ignored.

    A relative path begins at `images_root`, by default the folder of the file, and stays inside it; absolute ones are
    taken as they are. Without an id of its own a pair gets the first 16 hex digits of the SHA-256 of its two images as
    they are written, paths in their one spelling, so that its id does not depend on where the files lie.

    Raises:
        ValueError: the file is absent or damaged, a record breaks the rules above, has the same image twice or an id
            that other images have, or of all local images none is there; names file and record.
    """
    path = Path(path)
    root = (path.parent if images_root is None else Path(images_root)).resolve()
    if path.suffix == ".json":
        records = load_records(path, DOCS_PAGE)
    elif path.suffix == ".jsonl":
        records = load_json_lines(path, DOCS_PAGE)
    else:
        raise ValueError(f"{path}: pairs are read from a .json list or a .jsonl file; rename or convert it")
    images_of: dict[str, tuple[str, str]] = {}
    found: dict[tuple[str, str], ImagePair] = {}
    duplicates = 0
    for record in records:
        pair = _pair(record, root)
        images = (pair.reference_image, pair.target_image)
        if images in found:
            duplicates += 1
            continue
        if images_of.setdefault(pair.pair_id, images) != images:
            raise record.error(f"pair_id {pair.pair_id!r} is that of an earlier pair with other images; make it unique")
        found[images] = pair
    if duplicates:
        log.warning("%s: left out %d of %d pairs that occur again", path, duplicates, len(records))
    pairs = Pairs(tuple(found.values()), duplicates)
    local = [image for image in pairs.images if not is_remote(image)]
    if local and not any(Path(image).is_file() for image in local):
        raise ValueError(
            f"{path}: none of its {len(local)} local images is there, first {local[0]}; images_root=FOLDER says where"
            " relative paths begin"
        )
    return pairs


def pair_id_of(reference: str, target: str) -> str:
    """The id of a pair that has none of its own: 16 hex digits of the SHA-256 of its two images as they are written."""
    return hashlib.sha256(f"{reference}\n{target}".encode()).hexdigest()[:16]


def _pair(record: Record, root: Path) -> ImagePair:
    for key in record.data.keys() - set(_KEYS):
        close = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)
        if close:
            raise record.error(f"unknown key {key!r}; did you mean {close[0]!r}?")
    written = _spelling(record, "reference_image"), _spelling(record, "target_image")
    reference, target = (_image(record, key, root) for key in ("reference_image", "target_image"))
    if reference == target:
        raise record.error(f"reference_image and target_image are the same, {written[0]!r}; nothing has changed")
    pair_id = _label(record, "pair_id") or pair_id_of(*written)
    return ImagePair(pair_id, reference, target, _label(record, "group"))


def _label(record: Record, key: str) -> str:
    """A text or whole number; empty where there is none."""
    if key not in record:
        return ""
    if isinstance(record.data[key], int):
        return str(record.integer(key))
    return record.name(key)


def _image(record: Record, key: str, root: Path) -> str:
    image = _spelling(record, key)
    if is_remote(image) or Path(image).is_absolute():
        return image
    try:
        return str(resolve_inside(root, image))
    except ValueError as error:
        raise record.error(f"key {key!r}: {error}; images_root=FOLDER says where paths begin") from None


def _spelling(record: Record, key: str) -> str:
    """The image as it is written, a path in its one spelling: a URL, an absolute path, or a relative one."""
    image = record.name(key).strip()
    if is_remote(image):
        return image
    if "://" in image or image.startswith("data:"):
        raise record.error(f"key {key!r}: {image[:60]!r} is neither a path nor an http(s) URL")
    if Path(image).is_absolute():
        return str(Path(image))  # of `/a//b` and `/a/./b`
    try:
        return safe_relative(image)
    except ValueError as error:
        raise record.error(f"key {key!r}: {error}; images_root=FOLDER says where paths begin") from None
