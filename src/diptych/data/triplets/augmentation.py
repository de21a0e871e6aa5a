"""Training augmentations on uint8 pixels (3, H, W), drawn from a given generator.

Every augmentation is a callable `augment(pixels, generator) -> pixels` of the same shape; equal generators give equal
pictures. There is no mirroring: a text that says "left" or "to the right of the bed" would become a lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode

Augmentation = Callable[[Tensor, Generator], Tensor]


class RandomCropResize:
    """A random window of the picture, scaled back to the picture's size; the aspect ratio stays.

    `scale` bounds the share of the picture's area that the window keeps. Keep it mild: what is cropped away may be
    what the text talks about.
    """

    def __init__(self, scale: tuple[float, float] = (0.8, 1.0)) -> None:
        low, high = scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"scale is {tuple(scale)}: two shares of the area are wanted, 0 < low <= high <= 1")
        self.low, self.high = low, high

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The window, resized to the shape of `pixels`."""
        area, top, left = torch.rand(3, generator=generator).tolist()
        side = math.sqrt(self.low + (self.high - self.low) * area)
        height, width = pixels.shape[-2:]
        rows, columns = max(round(height * side), 1), max(round(width * side), 1)
        # rand() is below 1, so every start from 0 to the last one that fits is equally likely.
        top, left = int(top * (height - rows + 1)), int(left * (width - columns + 1))
        window = pixels[:, top : top + rows, left : left + columns]
        return transforms.resize(window, [height, width], InterpolationMode.BICUBIC, antialias=True).contiguous()


class ColorJitter:
    """Brightness and contrast multiplied by random factors from [1 - x, 1 + x]; hue and saturation stay.

    Texts name colours, so colours must not change. Contrast scales around the picture's mean.
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2) -> None:
        for name, value in (("brightness", brightness), ("contrast", contrast)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}: a value from 0 up to, not including, 1 is wanted")
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The picture with its grey levels scaled, rounded and clamped to 0..255."""
        first, second = (2 * torch.rand(2, generator=generator) - 1).tolist()
        brightness, contrast = 1 + self.brightness * first, 1 + self.contrast * second
        values = pixels.float()
        mean = values.mean() * brightness
        return values.mul_(brightness * contrast).add_(mean * (1 - contrast)).round_().clamp_(0, 255).to(torch.uint8)


class AugmentationSequence:
    """Augmentations one after the other, from one generator."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        self.augmentations = tuple(augmentations)

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The picture after all of them."""
        for augment in self.augmentations:
            pixels = augment(pixels, generator)
        return pixels
