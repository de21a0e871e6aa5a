"""What the vision-language models of each family read: the sizes of patches, and what pictures are normalised by.

Read off transformers' processors of these families: Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (arXiv 2502.13923) and
Qwen3-VL (https://github.com/QwenLM/Qwen3-VL).
"""

from __future__ import annotations

from dataclasses import dataclass

Numbers = tuple[float, float, float]

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)

# How pictures are written in a prompt, in all three families.
PLACEHOLDER = "<|image_pad|>"
# The patches of a picture are those of a film of two equal frames.
TEMPORAL_PATCH = 2


@dataclass(frozen=True)
class VLMFacts:
    """`model_class` is transformers' class. A picture is cut into patches of `patch` pixels a side, of which `merge` by
    `merge` become one token of the language model. `mean` and `std` normalise pixels from 0 to 1.
    """

    model_class: str
    patch: int
    merge: int
    mean: Numbers
    std: Numbers

    @property
    def token_side(self) -> int:
        """Pixels a side of what becomes one token."""
        return self.patch * self.merge


FAMILIES = {
    "qwen2_vl": VLMFacts("Qwen2VLForConditionalGeneration", 14, 2, _CLIP_MEAN, _CLIP_STD),
    "qwen2_5_vl": VLMFacts("Qwen2_5_VLForConditionalGeneration", 14, 2, _CLIP_MEAN, _CLIP_STD),
    "qwen3_vl": VLMFacts("Qwen3VLForConditionalGeneration", 16, 2, _HALF, _HALF),
}


def facts_of(family: str) -> VLMFacts:
    """The facts of a family by its name; ValueError for one that is not known."""
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} is not one of {', '.join(FAMILIES)}")
    return FAMILIES[family]
