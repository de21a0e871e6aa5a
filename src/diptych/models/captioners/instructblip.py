"""Captions by InstructBLIP (Dai et al. 2023), by default with Vicuna-7B, as the published base captions were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from diptych.models.captioners.caption import DecodingSettings
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner

if TYPE_CHECKING:
    from transformers import BatchFeature, InstructBlipVisionConfig


class InstructBLIPCaptioner(ImageTextCaptioner):
    """InstructBLIP, which reads the instruction twice: for what to look at, and for what to write.

    Arguments and guarantees are those of `ImageTextCaptioner`. Photos are not scaled when they are read: the model's
    own processor brings them to its size in one step, as published.
    """

    def __init__(
        self,
        instruction: str,
        name: str = "Salesforce/instructblip-vicuna-7b",
        quantization: str = "int8",
        dtype: str = "float16",
        decoding: DecodingSettings | None = None,
    ) -> None:
        super().__init__(name, instruction, quantization, dtype, max_side=None, decoding=decoding)

    def _check(self, processor: Any, model: Any) -> None:
        from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

        if not isinstance(model, InstructBlipForConditionalGeneration) or not isinstance(
            processor, InstructBlipProcessor
        ):
            raise ValueError(f"{self.name} is {type(model).__name__}, not InstructBLIP; take ImageTextCaptioner for it")
        expected = model.config.num_query_tokens
        if processor.num_query_tokens != expected:
            raise ValueError(
                f"{self.name}: num_query_tokens is {processor.num_query_tokens} in processor_config.json, but the model"
                f" has {expected}; set it there, or take the checkpoint anew"
            )
        # transformers' types allow the dict that a config may be made from; a made one holds a config
        vision = cast("InstructBlipVisionConfig", model.config.vision_config)
        size, side = processor.image_processor.size, vision.image_size
        if (size["height"], size["width"]) != (side, side):
            raise ValueError(
                f"{self.name}: the processor makes pictures of {size['height']} x {size['width']} pixels, but the model"
                f" reads {side}; the checkpoint's preprocessor_config.json is missing or another model's"
            )

    def _writer(self) -> Any:
        return self._model.language_model

    def _inputs(self, photos: Sequence[Image.Image]) -> BatchFeature:
        return self._processor(images=list(photos), text=[self.instruction] * len(photos), return_tensors="pt")
