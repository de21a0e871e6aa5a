"""Decoded photos of any size to the pixels that a photo encoder takes.

Shape letters: B batch, H height, W width, S the encoder's input size. Photos stay uint8 until they are on the device of
the model: a quarter of the bytes that workers hand over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms import InterpolationMode

from diptych.contracts import ImageSpec

_MAX_RESIZED_PIXELS = 2**27  # 400 MB; only a picture of hundreds of pixels by one, scaled up, comes near it


@dataclass(frozen=True)
class PhotoTransform:
    """uint8 pixels (3, H, W) to uint8 pixels (3, S, S): padded, resized (antialiased) and cropped as `spec` says.

    The same picture as reading the file with the same `spec`. Raises ValueError for a picture so narrow that its short
    side cannot be brought to S in reasonable memory.
    """

    spec: ImageSpec

    def __call__(self, pixels: Tensor) -> Tensor:
        """The prepared pixels, contiguous."""
        spec = self.spec
        if spec.target_pad is not None:
            pixels = _pad_to_ratio(pixels, spec.target_pad)
        height, width = pixels.shape[-2:]
        size, long, short = spec.size, max(height, width), min(height, width)
        squash = spec.resize == "squash"
        if not squash and size * size * long > _MAX_RESIZED_PIXELS * short:
            raise ValueError(f"a picture of {width} x {height} is too narrow to be resized to {size} pixels")
        # In channels-last memory, as decoders leave it, torchvision's uint8 kernel is three times faster.
        pixels = pixels[None].contiguous(memory_format=torch.channels_last)[0]
        target = [size, size] if squash else [size]
        pixels = transforms.resize(pixels, target, InterpolationMode(spec.interpolation), antialias=True)
        return transforms.center_crop(pixels, [size, size]).contiguous()


def normalise(pixels: Tensor, spec: ImageSpec) -> Tensor:
    """uint8 pixels (B, 3, S, S) to float32 with the mean and deviation of `spec`, on the device of the pixels."""
    mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (pixels.float() / 255 - mean) / std


def _pad_to_ratio(pixels: Tensor, ratio: float) -> Tensor:
    """Two black bars that bring long to short side down to about `ratio`, each rounded down to whole pixels."""
    height, width = pixels.shape[-2:]
    long = max(height, width)
    if long < ratio * min(height, width):
        return pixels
    left, top = (max(int((long / ratio - side) / 2), 0) for side in (width, height))
    return torch.nn.functional.pad(pixels, (left, left, top, top))
