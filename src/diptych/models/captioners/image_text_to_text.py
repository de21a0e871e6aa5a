"""Captions by any image-text-to-text model of transformers with a chat template: Qwen2.5-VL, Qwen3-VL and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from diptych.extras import require
from diptych.models.captioners.caption import Caption, DecodingSettings
from diptych.models.chat_template import check_template, with_one_picture
from diptych.models.fuser.generation import DTYPES, ending_tokens
from diptych.photos.photo_file import read_photo
from diptych.storage.json_values import encodable
from diptych.storage.model_files import load_model

if TYPE_CHECKING:  # transformers is imported by `load`: every worker that reads photos would pay its seconds
    from transformers import BatchFeature

QUANTIZATIONS = ("int8", "none")


class ImageTextCaptioner(nn.Module):
    """A vision-language model that answers `instruction` for each photo; the answer is the caption.

    `name` is a model of the hub, a folder, or `package:NAME/PATH`. `quantization` is `int8` (LLM.int8) or `none`;
    `dtype` that of what is not quantised. Photos are read with a long side of at most `max_side` pixels, which bounds
    the tokens that an image becomes; null leaves them as they are. A blank caption is tried once more, with
    `DecodingSettings.second_try`.

    Construction checks the settings and reads nothing. Captions depend on the photo alone; batches change no more than
    rounding in the model's precision. Pickled or copied, a captioner leaves its weights behind.

    Raises:
        ValueError: a setting is unknown or makes no sense.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(
        self,
        name: str,
        instruction: str,
        quantization: str = "int8",
        dtype: str = "bfloat16",
        max_side: int | None = 1024,
        decoding: DecodingSettings | None = None,
    ) -> None:
        super().__init__()
        if quantization not in QUANTIZATIONS:
            raise ValueError(f"quantization={quantization!r} is not one of {', '.join(QUANTIZATIONS)}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")
        if not instruction.strip():
            raise ValueError(f"instruction={instruction!r} is blank; say what the caption is to hold")
        if max_side is not None and max_side < 1:
            raise ValueError(f"max_side={max_side}: want at least 1 pixel, or null")
        self.name, self.instruction, self.quantization, self.dtype = name, instruction.strip(), quantization, dtype
        self.max_side, self.decoding = max_side, decoding or DecodingSettings()
        self._model: Any = None
        self._processor: Any = None

    def __getstate__(self) -> dict[str, Any]:
        modules = {name: module for name, module in self._modules.items() if name != "_model"}
        return {**self.__dict__, "_modules": modules, "_model": None, "_processor": None}

    # ------------------------------------------------------------------------------------------------ loading

    def load(self) -> None:
        """Reads processor and weights: int8 ones onto the current GPU if there is one, since they cannot be moved once
        they are quantised, others onto the CPU. Does nothing when they are loaded already.

        Raises:
            ValueError: a file is missing, the settings cannot work on this machine, or the checkpoint cannot be used.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

        if self._model is not None:
            return
        on_gpu = torch.cuda.is_available()
        if self.dtype == "float16" and not on_gpu:
            raise ValueError("dtype=float16 is for GPUs; on the CPU set dtype=float32 or bfloat16")
        if self.quantization == "int8":
            require("bitsandbytes", "set quantization=none")
        placed: dict[str, Any] = {}
        if self.quantization == "int8":
            device = f"cuda:{torch.cuda.current_device()}" if on_gpu else "cpu"
            placed = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": {"": device}}
        advice = "name a captioner of the hub, a folder that holds one, or package:NAME/PATH"
        processor = load_model(AutoProcessor.from_pretrained, self.name, "processor", advice)
        load = AutoModelForImageTextToText.from_pretrained
        model = load_model(load, self.name, "model", advice, dtype=DTYPES[self.dtype], **placed)
        self._check(processor, model)
        processor.tokenizer.padding_side = "left"  # answers begin right behind the prompt, in every row
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        self._processor, self._model = processor, model.eval().requires_grad_(False)

    def _check(self, processor: Any, model: Any) -> None:
        if not getattr(processor, "chat_template", None):
            raise ValueError(f"{self.name} has no chat template, so it is not known how it is asked; take a chat model")
        check_template(self.name, with_one_picture(processor))

    # ------------------------------------------------------------------------------------------------ running

    def read(self, path: str | Path) -> Image.Image:
        """The photo as `describe` takes it; needs no weights.

        Raises:
            ValueError: as `read_photo`.
        """
        return read_photo(path, self.max_side)

    @torch.inference_mode()
    def describe(self, photos: Sequence[Image.Image]) -> list[Caption]:
        """A caption for each photo, written together, in their order; blank where two tries gave nothing.

        Raises:
            ValueError: the weights are not loaded.
        """
        if self._model is None:
            raise ValueError("the captioner's weights are not loaded; call load() first")
        captions = self._answers(photos, self.decoding)
        blank = [place for place, caption in enumerate(captions) if not caption.text]
        if blank:
            again = self._answers([photos[place] for place in blank], self.decoding.second_try())
            for place, caption in zip(blank, again, strict=True):
                captions[place] = caption
        return captions

    def _answers(self, photos: Sequence[Image.Image], decoding: DecodingSettings) -> list[Caption]:
        inputs = self._inputs(photos).to(self._model.device, self._model.dtype)
        writer = self._writer()
        ends = ending_tokens(writer, self._processor.tokenizer)
        outputs = self._model.generate(
            **inputs,
            **decoding.generation_arguments(),
            eos_token_id=sorted(ends),
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        # Decoders give the prompt back in front of the answer; encoder-decoders begin with a start token.
        start = 1 if writer.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return [self._caption(row, ends) for row in outputs[:, start:].cpu()]  # one wait for all rows

    def _caption(self, tokens: Tensor, ends: set[int]) -> Caption:
        text = encodable(self._processor.tokenizer.decode(tokens, skip_special_tokens=True))
        return Caption(" ".join(text.split()), "stop" if ends.intersection(tokens.tolist()) else "length")

    def _writer(self) -> Any:
        """The part of the model whose `generate` writes the text."""
        return self._model

    def _inputs(self, photos: Sequence[Image.Image]) -> BatchFeature:
        """The model's inputs for the instruction with each photo."""
        conversations = [
            [
                {
                    "role": "user",
                    "content": [{"type": "image", "image": photo}, {"type": "text", "text": self.instruction}],
                }
            ]
            for photo in photos
        ]
        return self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
