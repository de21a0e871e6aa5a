"""A language model's tokenizer with its chat template: prompts and completions to token ids, always the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from transformers import AutoTokenizer

from diptych.models.chat_template import check_template, rendered
from diptych.models.plain_text import PlainTexts
from diptych.storage.model_files import load_model

THINK_START, THINK_END = "<think>", "</think>"
_NO_THOUGHTS = f"{THINK_START}\n\n{THINK_END}\n\n"


class ChatTokenizer:
    """Renders one user message with the model's chat template and encodes it; reads no weights.

    `name` is a model id, a folder, a GGUF file, or `package:NAME/PATH`. `thinking` is `off` (the answer starts at once:
    a reasoning model's block of thoughts is rendered empty, in training and inference alike) or `on`. A completion is
    what follows the rendered prompt, up to and with the token that ends a turn, so that training text is the inference
    prompt plus the completion, token for token.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(self, name: str, thinking: str = "off") -> None:
        if thinking not in ("off", "on"):
            raise ValueError(f"thinking={thinking!r} is not one of off, on")
        self.name, self.thinking = name, thinking
        self._is_tried = False  # the chat template

    @cached_property
    def hf(self) -> Any:
        """The transformers tokenizer.

        Raises:
            ValueError: it cannot be found, or it has no chat template or no end-of-turn token.
        """
        tokenizer = load_tokenizer(self.name)
        if not tokenizer.chat_template:
            raise ValueError(f"{self.name}: its tokenizer has no chat template; choose an instruction-tuned model")
        if tokenizer.eos_token_id is None:
            raise ValueError(f"{self.name}: its tokenizer names no token that ends a turn (eos_token)")
        return tokenizer

    def render(self, message: str) -> str:
        """The prompt as text: the chat template around one user message, ready for the answer."""
        return self._texts.shown(self._framed(message))

    def encode_prompts(self, messages: Sequence[str]) -> list[list[int]]:
        """Token ids of every rendered prompt; the template brings the special tokens, and no message does."""
        return self._texts.encode_framed(map(self._framed, messages))

    def encode_completions(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every completion, each with the token that ends the turn, once."""
        return [[*ids, self.hf.eos_token_id] for ids in self._texts.encode(text.strip() for text in texts)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of every text by itself."""
        return [len(ids) for ids in self._texts.encode(texts)]

    @cached_property
    def _texts(self) -> PlainTexts:
        return PlainTexts(self.hf)

    def _framed(self, message: str) -> str:
        if not self._is_tried:
            check_template(self.name, self._render)
            self._is_tried = True
        text = rendered(self.name, self._render, self._texts.hide(message))
        return self._without_thoughts(text) if self.thinking == "off" else text

    def _render(self, content: str) -> str:
        text: str = self.hf.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=self.thinking == "on",
        )
        return text

    def _without_thoughts(self, rendered: str) -> str:
        """The prompt with its block of thoughts closed, and empty, where the template knows of thoughts."""
        ending = rendered.rstrip()
        if ending.endswith(THINK_START):
            return ending.removesuffix(THINK_START) + _NO_THOUGHTS
        known = THINK_END in self.hf.chat_template and not ending.endswith(THINK_END)
        return rendered + _NO_THOUGHTS if known else rendered


def load_tokenizer(name: str) -> Any:
    """The transformers tokenizer of a model id, a folder, a GGUF file, or `package:NAME/PATH`.

    Raises:
        ValueError: there is none, with what was tried.
    """
    advice = "name a folder with the model's files, or download it once where there is a network"
    return load_model(AutoTokenizer.from_pretrained, name, "tokenizer", advice)
