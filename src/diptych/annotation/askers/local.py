"""Questions to a vision-language model in this process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch

from diptych.annotation.askers.in_turn import ask_in_turn, picture_of
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.chat_template import check_template, with_one_picture
from diptych.models.fuser.generation import DTYPES, ending_tokens
from diptych.models.plain_text import broken_up, control_signs
from diptych.storage.json_values import encodable
from diptych.storage.model_files import load_model


class LocalAsker:
    """Asks `model`, an image-text-to-text model of transformers with a chat template: a name of the hub, a folder, or
    `package:NAME/PATH`. It answers without chance, one question after the other, and is not told the answer's schema.

    The weights are loaded with the first question. Remote pictures are fetched.

    Raises:
        ValueError: a setting is unknown; when asked, the model cannot be loaded, or has no chat template.
    """

    price_factor = 0.0

    model_names: ClassVar[Mapping[str, str]] = {"model": "hub"}  # see config/model_names.py

    def __init__(self, model: str, dtype: str = "bfloat16", device: str = "auto") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")
        self.model, self.dtype, self.device = model, dtype, device
        self._loaded: tuple[Any, Any] | None = None

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """The answers by key, or why there is none, in order; each is in the ledger before it is given. What cannot be
        claimed is left out.
        """
        return ask_in_turn(questions, ledger, self._result)

    @torch.inference_mode()
    def _result(self, question: Question) -> Answer | Failure:
        processor, model = self._load()
        try:
            signs = control_signs(processor.tokenizer)
            messages = [_with_pictures(message, signs) for message in question.messages()]
        except ValueError as error:
            return Failure(question.record_id, "unreadable", str(error))
        started = time.monotonic()
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(model.device, model.dtype)
        ends = ending_tokens(model, processor.tokenizer)
        (output,) = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=question.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=processor.tokenizer.pad_token_id or processor.tokenizer.eos_token_id,
        )
        start = inputs["input_ids"].shape[1]
        written = output[start:].tolist()
        text = encodable(processor.tokenizer.decode(written, skip_special_tokens=True))
        usage = {"prompt_tokens": start, "completion_tokens": len(written), "total_tokens": start + len(written)}
        return Answer(text, "stop" if ends.intersection(written) else "length", usage, time.monotonic() - started)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
            advice = "name an image-text-to-text model of the hub or a folder that holds one"
            load = AutoModelForImageTextToText.from_pretrained
            try:
                processor = load_model(AutoProcessor.from_pretrained, self.model, "processor", advice)
                model: torch.nn.Module = load_model(load, self.model, "model", advice, dtype=DTYPES[self.dtype])
            except ValueError as error:
                raise ValueError(f"model={self.model} cannot be loaded: {error}") from error
            if not getattr(processor, "chat_template", None):
                raise ValueError(f"model={self.model} has no chat template; take a chat model")
            check_template(self.model, with_one_picture(processor))
            self._loaded = processor, model.to(device).eval().requires_grad_(False)
        return self._loaded


def _with_pictures(message: Mapping[str, Any], signs: Sequence[str]) -> dict[str, Any]:
    """A chat message in the form of transformers: a list of parts, with the pictures themselves, and without control
    tokens in its texts.
    """
    content = message["content"]
    parts: Sequence[Mapping[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {
        "role": message["role"],
        "content": [
            {"type": "image", "image": picture_of(part["image_url"]["url"])}
            if part["type"] == "image_url"
            else {"type": "text", "text": broken_up(part["text"], signs)}
            for part in parts
        ],
    }
