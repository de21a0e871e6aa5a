"""A folder of images, with sub-folders, as something whose pictures can be embedded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from diptych.contracts.retrieval import GalleryImage
from diptych.data.annotations import first_repeated
from diptych.storage.json_files import read_json
from diptych.storage.relative_paths import safe_relative

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm")


class ImageFolder:
    """The images below `root`, whatever the depth; hidden files and folders are left out. Ids are their paths relative
    to it, in one spelling (`safe_relative`).

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
        found = {
            path.relative_to(self.root).as_posix(): path
            for path in self.root.rglob("*")
            if path.suffix.lower() in SUFFIXES and path.is_file()
        }
        visible = [name for name in found if not any(part.startswith(".") for part in name.split("/"))]
        if not visible:
            raise ValueError(f"{self.root} holds no image ({', '.join(SUFFIXES)})")
        images = [GalleryImage(image_id, found[name]) for name, image_id in self._ids(visible, str(self.root)).items()]
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
