"""A folder of images, with sub-folders, as something whose pictures can be embedded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from diptych.contracts.retrieval import GalleryImage
from diptych.data.annotations import first_repeated
from diptych.storage.json_files import read_json
from diptych.storage.json_values import encodable
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")


class ImageFolder:
    """The images below `root`, whatever the depth; hidden files and folders are left out. Ids are their paths relative
    to it, in one spelling (`safe_relative`). What leads out of the folder, is no regular file or has a name that is no
    text is passed over with a warning: pictures of the folder may be sent to a server.

    `groups` tells which images show look-alikes: `folder` (those of one sub-folder), the path of a JSON object from
    image ids to labels, or None.
    """

    def __init__(self, root: str | Path, groups: str | None = None) -> None:
        self.root, self.groups = Path(root), groups

    def gallery(self) -> Sequence[GalleryImage]:
        """Every image, sorted by id.

        Raises:
            ValueError: there is no such folder, or no image in it; or the names of two differ in nothing but the
                Unicode form, or one cannot be an id.
        """
        if not self.root.is_dir():
            raise ValueError(f"{self.root} is no folder; name the one that holds the images")
        real, found, passed = self.root.resolve(), {}, []
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root).as_posix()
            hidden = any(part.startswith(".") for part in name.split("/"))
            if hidden or path.suffix.lower() not in SUFFIXES or path.is_dir():
                continue
            inside = not path.is_symlink() or (path.exists() and path.resolve().is_relative_to(real))
            if path.is_file() and inside and encodable(name) == name:
                found[name] = path
            else:
                passed.append(name)
        if passed:
            log.warning(
                "%s: %d entries are passed over, first %r: links that lead out of the folder or nowhere, pipes, names"
                " that are no text; copy the images into it",
                self.root,
                len(passed),
                min(passed),
            )
        if not found:
            raise ValueError(f"{self.root} holds no image ({', '.join(SUFFIXES)})")
        images = [GalleryImage(image_id, found[name]) for name, image_id in self._ids(found, str(self.root)).items()]
        return sorted(images, key=lambda image: image.image_id)

    def group_of(self, image_ids: Sequence[str]) -> dict[str, str]:
        """The label of each image; empty for all where there are no groups.

        Raises:
            ValueError: the file of labels is missing or no object of texts, or has none for an image.
        """
        if self.groups is None:
            return dict.fromkeys(image_ids, "")
        if self.groups == "folder":
            return {image: image.rpartition("/")[0] or "." for image in image_ids}
        labels = read_json(Path(self.groups), "`groups` is `folder`, or names a JSON file of image ids and labels")
        if not isinstance(labels, dict) or not all(isinstance(label, str) and label for label in labels.values()):
            raise ValueError(f"{self.groups} must hold a JSON object from image ids to labels, which are texts")
        ids = self._ids(labels, self.groups)
        spelt = {ids[name]: label for name, label in labels.items()}
        unlabelled = [image for image in image_ids if image not in spelt]
        if unlabelled:
            raise ValueError(
                f"{self.groups} has no label for {len(unlabelled)} of {len(image_ids)} images, first {unlabelled[0]!r};"
                f" it has one for {next(iter(labels), None)!r}, for example"
            )
        return {image: spelt[image] for image in image_ids}

    @staticmethod
    def _ids(names: Iterable[str], where: str) -> dict[str, str]:
        """The id of each name; ValueError where two have one, or one is no name of an image."""
        try:
            ids = {name: safe_relative(name) for name in names}
        except ValueError as error:
            raise ValueError(f"{where}: {error}; rename it") from None
        if (repeated := first_repeated(ids.values())) is not None:
            raise ValueError(f"{where} names {repeated!r} twice, in two spellings or forms of Unicode; rename one")
        return ids
