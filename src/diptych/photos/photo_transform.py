"""Decoded photos of any size to the pixels that an encoder takes.

Shape letters: B batch, H height, W width, S the encoder's input size. Photos stay uint8 until they are on the device of
the model: a quarter of the bytes that workers hand over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms import InterpolationMode

from diptych.contracts.models import ImageSpec
from diptych.parallel.devices import sent

RESIZES = ("shortest", "squash")
_MAX_RESIZED_PIXELS = 2**27  # 400 MB; only a picture of hundreds of pixels by one, scaled up, comes near it


@dataclass(frozen=True)
class PhotoTransform:
    """uint8 pixels (3, H, W) to uint8 pixels (3, S, S): padded, resized (antialiased) and cropped as `spec` says.

    `with_pillow` resizes a PIL image, as CLIP's published preprocessing does, instead of a tensor; on photographs the
    two differ by less than 0.1 grey level (mean absolute difference).

    Raises:
        ValueError: `spec` names an unknown way to resize or interpolate; a picture is so narrow that its short side
            cannot be brought to S in reasonable memory.
    """

    spec: ImageSpec
    with_pillow: bool = False

    def __post_init__(self) -> None:
        if self.spec.resize not in RESIZES:
            raise ValueError(f"ImageSpec.resize {self.spec.resize!r} is unknown: choose one of {', '.join(RESIZES)}")
        if self.spec.target_pad is not None and self.spec.target_pad < 1:
            raise ValueError(
                f"ImageSpec.target_pad is {self.spec.target_pad}: a ratio of long to short side is at least 1"
            )
        InterpolationMode(self.spec.interpolation)  # its own ValueError names the bad value

    def __call__(self, pixels: Tensor) -> Tensor:
        """The prepared pixels, contiguous."""
        spec = self.spec
        if spec.target_pad is not None:
            pixels = target_pad(pixels, spec.target_pad)
        height, width = pixels.shape[-2:]
        size, long, short = spec.size, max(height, width), min(height, width)
        squash = spec.resize == "squash"
        if not squash and size * size * long > _MAX_RESIZED_PIXELS * short:
            raise ValueError(f"a picture of {width} x {height} is too narrow to be resized to {size} pixels")
        # In channels-last memory, as decoders leave it, torchvision's uint8 kernel is three times faster.
        pixels = pixels[None].contiguous(memory_format=torch.channels_last)[0]
        picture = transforms.to_pil_image(pixels) if self.with_pillow else pixels
        target = [size, size] if squash else [size]
        picture = transforms.resize(picture, target, InterpolationMode(spec.interpolation), antialias=True)
        picture = transforms.center_crop(picture, [size, size])
        return transforms.pil_to_tensor(picture).contiguous() if self.with_pillow else picture.contiguous()


def normalise(pixels: Tensor, spec: ImageSpec) -> Tensor:
    """uint8 pixels (B, 3, S, S) to float32 with the mean and deviation of `spec`, on the device of the pixels."""
    mean, std = (sent(torch.tensor(values).view(3, 1, 1), pixels.device) for values in (spec.mean, spec.std))
    return (pixels.float() / 255 - mean) / std


def target_pad(pixels: Tensor, ratio: float) -> Tensor:
    """Black bars that bring the sides of pixels (3, H, W) to at most about `ratio` to 1; unchanged if they are already.

    The rule of CLIP4Cir and SEARLE, rounding down included: each of the two bars has `int((long / ratio - side) / 2)`
    pixels, so the ratio can exceed the bound by the pixel that was rounded away.
    """
    height, width = pixels.shape[-2:]
    if max(width, height) / min(width, height) < ratio:
        return pixels
    scaled = max(width, height) / ratio
    columns = max(int((scaled - width) / 2), 0)
    rows = max(int((scaled - height) / 2), 0)
    # On four dimensions pad() keeps the channels-last layout.
    return torch.nn.functional.pad(pixels[None], (columns, columns, rows, rows))[0]
