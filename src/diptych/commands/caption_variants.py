"""What captions are written beside the model's own, and what is done with its own before they are scored once more.

An ablation asks for `untuned` (the base model with the same prompts), `annotated_article` (in place of the retrieved
one) or `whole_article` (in place of chosen chunks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diptych.contracts.news import CaptionData
from diptych.data.news.fusion_cache import FusionData, PreparedQuery
from diptych.systems.post_processing import append_base_caption_words, repair_prompt_echo


@dataclass(frozen=True)
class Variant:
    """Captions that the model, or without `tuned` its base model, writes from the `data` of a split."""

    data: Callable[[CaptionData, str], FusionData]
    tuned: bool = True


def _retrieved(datamodule: CaptionData, split: str) -> FusionData:
    return datamodule.split_data(split, None)


def _annotated_article(datamodule: CaptionData, split: str) -> FusionData:
    return datamodule.split_data(split, "annotated")


def _whole_article(datamodule: CaptionData, split: str) -> FusionData:
    return datamodule.split_data(split, None, whole_article=True)


def _append_base_words(caption: str, query: PreparedQuery) -> str:
    return append_base_caption_words(caption, query.base_caption)


def _without_prompt_echo(caption: str, query: PreparedQuery) -> str:
    return repair_prompt_echo(caption)


MODEL = Variant(_retrieved)
ABLATIONS = {
    "evidence": {"annotated_article": Variant(_annotated_article), "whole_article": Variant(_whole_article)},
    "untuned": {"untuned": Variant(_retrieved, tuned=False)},
}
STEPS: dict[str, Callable[[str, PreparedQuery], str]] = {
    "repair_prompt_echo": _without_prompt_echo,
    "append_base_caption_words": _append_base_words,
}


def ablation_variants(ablation: str | Sequence[str] | None) -> dict[str, Variant]:
    """The captions that are written beside the model's own.

    Raises:
        ValueError: an ablation is not known.
    """
    names = [ablation] if isinstance(ablation, str) else list(ablation or [])
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise ValueError(f"ablation={unknown[0]} is not one of {', '.join(ABLATIONS)}")
    return {name: variant for ablation in names for name, variant in ABLATIONS[ablation].items()}
