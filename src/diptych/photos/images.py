"""Image files to uint8 RGB pixels: decoding whatever lies on disk, and a backbone's resizing and cropping.

Shape letters: H height, W width, S the backbone's input size. Nothing is normalised here: the backbone does that on
its own device, and a uint8 batch is a quarter of the bytes that workers have to hand over.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from diptych.contracts.models import ImageSpec
from diptych.photos.photo_transform import PhotoTransform
from diptych.photos.picture import Picture
from diptych.photos.picture_data import read_bytes
from diptych.photos.prepared_cache import PreparedCache

DECODERS = ("fast", "exact")


def _check_decoder(decoder: str) -> None:
    if decoder not in DECODERS:
        raise ValueError(f"decoder {decoder!r} is unknown: choose one of {', '.join(DECODERS)}")


def read_image(path: str | Path, decoder: str = "fast") -> Tensor:
    """Pixels (3, H, W), uint8, RGB, upright (EXIF orientation applied), whatever the file is.

    `decoder="fast"` decodes 8-bit gray and colour JPEGs with torchvision and everything else with Pillow; `"exact"`
    decodes everything with Pillow. Both are libjpeg-turbo underneath and agree to the bit where the versions do.

    Colours follow Pillow's `convert("RGB")`, as in the published preprocessing of CLIP and its descendants: alpha is
    dropped, not composited on a colour of our choice; CMYK is converted without a colour profile. There is one
    exception: Pillow clips 16-bit gray at 255, which leaves a white picture, and here it is scaled. Of an animation
    the first frame is read.

    Metadata, and what lies behind a JPEG's end, are not decoded: damage in them does not matter. The memory behind the
    result may be channels-last. Raises ValueError (`UnreadablePicture`) naming the file and what is wrong with it:
    missing, no regular file, of more than 256 MiB, empty, not an image, truncated, damaged, or larger than Pillow's
    limit `2 * Image.MAX_IMAGE_PIXELS`. What cannot be seen is a JPEG whose data stops early but was closed with a
    proper end marker.
    """
    _check_decoder(decoder)
    return decode_image(read_bytes(path), path, decoder)


def decode_image(data: bytes, name: str | Path, decoder: str = "fast") -> Tensor:
    """What `read_image` gives for a file of these bytes; errors call it `name`."""
    _check_decoder(decoder)
    picture = Picture(data, name)
    if decoder == "fast" and picture.jpeg is not None:
        picture.check_whole()
        try:
            pixels = decode_jpeg(torch.frombuffer(bytearray(picture.jpeg), dtype=torch.uint8), mode=ImageReadMode.RGB)
        except RuntimeError:
            pass  # damaged, or arithmetic coding and the like: Pillow decides, and says it better
        else:
            return _upright(pixels, picture.orientation)
    return transforms.pil_to_tensor(picture.rgb())


def _upright(pixels: Tensor, orientation: int) -> Tensor:
    """Pixels turned and mirrored as EXIF asks."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation)
    return pixels.flip(flips) if flips else pixels


class ImageReader:
    """Image file to pixels (3, S, S), uint8: decoded, padded, resized and cropped as `spec` says.

    - `decoder="fast"`: torchvision's JPEG decoder and antialiased uint8 resize; on photographs less than 0.1 grey
      level (mean absolute difference) from `"exact"`, which is Pillow followed by torchvision's Resize and CenterCrop
      on a PIL image, as in CLIP's published preprocessing, for reproduction. Unlike the published code both convert
      to RGB before they resize, not after: resized palette images are nearest-neighbour pictures.
    - `cache_dir`: None, or a folder in which prepared pixels are kept (see `PreparedCache`); results are the same.

    Construction does no I/O; readers can be pickled and copied into workers. Raises ValueError for a setting it does
    not know, and as `read_image` does.
    """

    def __init__(self, spec: ImageSpec, decoder: str = "fast", cache_dir: str | Path | None = None) -> None:
        _check_decoder(decoder)
        self.spec = spec
        self.decoder = decoder
        self._transform = PhotoTransform(spec, with_pillow=decoder == "exact")
        self._cache = None if cache_dir is None else PreparedCache(cache_dir, spec, decoder)

    def __call__(self, path: str | Path) -> Tensor:
        """Prepared pixels (3, S, S) of the file, uint8, contiguous."""
        if self._cache is None:
            return self._prepare(path)
        return self._cache.load_or_prepare(path, self._prepare)

    def decode(self, data: bytes, name: str) -> Tensor:
        """What calling the reader on a file of these bytes gives, never from the cache; errors call it `name`."""
        return self._transformed(decode_image(data, name, self.decoder), name)

    def _prepare(self, path: str | Path) -> Tensor:
        return self._transformed(read_image(path, self.decoder), path)

    def _transformed(self, pixels: Tensor, name: str | Path) -> Tensor:
        try:
            return self._transform(pixels)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from None
