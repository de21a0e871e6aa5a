"""Training augmentations on uint8 pixels (3, H, W), drawn from a given generator.

Every augmentation is a callable `augment(pixels, generator) -> pixels` of the same shape; equal generators give equal
pictures. There is no mirroring: a text that says "left" or "to the right of the bed" would become a lie.

One that has `num_random` also works on many pictures (N, 3, H, W) on a GPU: `of_batch(pixels, random) -> pixels` takes
for each what `torch.rand(num_random)` of its generator has given, `random` (N, num_random) on the host. The result is
the same up to the rounding of grey levels, and the host waits for nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode

from diptych.parallel.devices import sent

Augmentation = Callable[[Tensor, Generator], Tensor]


class BatchAugmentation(Protocol):
    """An augmentation that also works on many pictures at once; `num_random` is None where a part of it does not."""

    num_random: int | None

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """One picture (3, H, W)."""

    def of_batch(self, pixels: Tensor, random: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), each with its numbers (N, num_random), which are on the host."""


class RandomCropResize:
    """A random window of the picture, scaled back to the picture's size; the aspect ratio stays.

    `scale` bounds the share of the picture's area that the window keeps. Keep it mild: what is cropped away may be
    what the text talks about.
    """

    num_random = 3

    def __init__(self, scale: tuple[float, float] = (0.8, 1.0)) -> None:
        low, high = scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"scale is {tuple(scale)}: two shares of the area are wanted, 0 < low <= high <= 1")
        self.low, self.high = low, high

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The window, resized to the shape of `pixels`."""
        window = self._window(pixels, torch.rand(self.num_random, generator=generator))
        return _resized(window, *pixels.shape[-2:]).contiguous()

    def of_batch(self, pixels: Tensor, random: Tensor) -> Tensor:
        """The same of many pictures: windows of equal size are resized together, some 25 sizes at 224 pixels.

        First their width, then their height: so torch does it on a CPU, where it rounds in between.
        """
        height, width = pixels.shape[-2:]
        by_size = defaultdict(list)
        for number, (picture, drawn) in enumerate(zip(pixels, random, strict=True)):
            window = self._window(picture, drawn)
            by_size[window.shape].append((number, window))
        stacks = [torch.stack([window for _, window in alike]) for alike in by_size.values()]
        resized = [_resized(_resized(stack, stack.shape[-2], width), height, width) for stack in stacks]
        order = torch.tensor([number for alike in by_size.values() for number, _ in alike])
        return torch.cat(resized)[sent(order.argsort(), pixels.device)]

    def _window(self, pixels: Tensor, random: Tensor) -> Tensor:
        """A view of the part of the picture that the numbers choose."""
        area, top, left = random.tolist()
        side = math.sqrt(self.low + (self.high - self.low) * area)
        height, width = pixels.shape[-2:]
        rows, columns = max(round(height * side), 1), max(round(width * side), 1)
        # The numbers are below 1, so every start from 0 to the last one that fits is equally likely.
        top, left = int(top * (height - rows + 1)), int(left * (width - columns + 1))
        return pixels[:, top : top + rows, left : left + columns]


class ColorJitter:
    """Brightness and contrast multiplied by random factors from [1 - x, 1 + x]; hue and saturation stay.

    Texts name colours, so colours must not change. Contrast scales around the picture's mean.
    """

    num_random = 2

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2) -> None:
        for name, value in (("brightness", brightness), ("contrast", contrast)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}: a value from 0 up to, not including, 1 is wanted")
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The picture with its grey levels scaled, rounded and clamped to 0..255."""
        return self.of_batch(pixels[None], torch.rand(1, self.num_random, generator=generator))[0]

    def of_batch(self, pixels: Tensor, random: Tensor) -> Tensor:
        """The same of many pictures."""
        # In double precision, which is what is multiplied by a float32 number on the host.
        first, second = (2 * random.double() - 1).T
        brightness, contrast = 1 + self.brightness * first, 1 + self.contrast * second
        factors = torch.stack([brightness, brightness * contrast, 1 - contrast]).float()
        brightness, scale, pull = sent(factors, pixels.device)[..., None, None, None]
        values = pixels.float()
        mean = values.mean(dim=(1, 2, 3), keepdim=True) * brightness
        return values.mul_(scale).add_(mean * pull).round_().clamp_(0, 255).to(torch.uint8)


class AugmentationSequence:
    """Augmentations one after the other, from one generator."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        self.augmentations = tuple(augmentations)
        counts = [num_random(augment) for augment in self.augmentations]
        self.num_random = None if None in counts else sum(count or 0 for count in counts)

    def __call__(self, pixels: Tensor, generator: Generator) -> Tensor:
        """The picture after all of them."""
        for augment in self.augmentations:
            pixels = augment(pixels, generator)
        return pixels

    def of_batch(self, pixels: Tensor, random: Tensor) -> Tensor:
        """Many pictures after all of them."""
        parts = random.split([num_random(augment) or 0 for augment in self.augmentations], dim=1)
        for augment, numbers in zip(self.augmentations, parts, strict=True):
            pixels = cast(BatchAugmentation, augment).of_batch(pixels, numbers)
        return pixels


def num_random(augmentation: Augmentation | None) -> int | None:
    """How many numbers an augmentation takes for a picture, 0 for none; None if it only works on single pictures."""
    return 0 if augmentation is None else getattr(augmentation, "num_random", None)


def _resized(windows: Tensor, height: int, width: int) -> Tensor:
    return transforms.resize(windows, [height, width], InterpolationMode.BICUBIC, antialias=True)
