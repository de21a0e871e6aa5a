"""The prompts of a vision-language embedder: instruction, picture and text as its authors put them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch

from diptych.contracts.models import ImageSpec, TextTokens
from diptych.models.backbones.vlm_facts import PLACEHOLDER, facts_of
from diptych.models.fuser.chat_tokenizer import load_tokenizer
from diptych.models.plain_text import PlainTexts

SIDES = ("right", "left")


class VLMPreprocessing:
    """Pictures of `image_size` pixels square, and prompts made by `template`; reads the tokenizer when it is asked.

    `name` is a model of the hub, a folder, or `package:NAME/PATH`; `family` one of `qwen2_vl`, `qwen2_5_vl`,
    `qwen3_vl`. Pictures are squashed to a square, so that all have the same number of tokens: the published processors
    keep their shape.

    `template` has `{instruction}`, `{text}`, and the picture as `<|image_pad|>`, once each. A query has `instruction`;
    a picture of the gallery `target_instruction` and no text. A text alone has the query's prompt without the picture,
    and without what frames it. Control tokens in a text from outside are text.

    `max_text_tokens` bounds a text, which loses its end: what follows it in the template stays, since the last token
    is the one that is read. `padding_side` changes no embedding.

    Raises:
        ValueError: a setting is unknown, the template lacks a part, or the size is no multiple of a token's pixels.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(
        self,
        name: str,
        family: str,
        template: str,
        instruction: str,
        target_instruction: str,
        image_size: int = 448,
        max_text_tokens: int = 512,
        padding_side: str = "right",
    ) -> None:
        facts = facts_of(family)
        if image_size % facts.token_side:
            raise ValueError(
                f"image_size={image_size} is no multiple of {facts.token_side}: pixels a side of a {family} token"
            )
        for part in ("{instruction}", "{text}", PLACEHOLDER):
            if template.count(part) != 1:
                raise ValueError(f"template must hold {part} once, and holds it {template.count(part)} times")
        if template.index(PLACEHOLDER) > template.index("{text}"):
            raise ValueError(f"template must have the picture ({PLACEHOLDER}) in front of the {{text}}")
        if max_text_tokens < 1:
            raise ValueError(f"max_text_tokens={max_text_tokens} must be at least 1")
        if padding_side not in SIDES:
            raise ValueError(f"padding_side={padding_side!r} is not one of {', '.join(SIDES)}")
        self.name, self.family, self.template = name, family, template
        self.instruction, self.target_instruction = instruction, target_instruction
        self.max_text_tokens, self.padding_side = max_text_tokens, padding_side
        self.image = ImageSpec(image_size, facts.mean, facts.std, resize="squash")
        self.grid = image_size // facts.token_side

    @property
    def num_image_tokens(self) -> int:
        """How many tokens of the language model a picture is."""
        return self.grid**2

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Prompts of queries with these texts: ids (B, L) and the mask of real tokens.

        Raises:
            ValueError: the tokenizer cannot be read, or does not know pictures.
        """
        limit = len(self._ids("", self.instruction)) + self.max_text_tokens
        rows = self._encoded(texts, self.instruction)
        long = [len(row) > limit for row in rows]
        rows = [
            row[: limit - self._tail_length] + row[len(row) - self._tail_length :] if cut else row
            for row, cut in zip(rows, long, strict=True)
        ]
        return self._padded([self._with_pictures(row) for row in rows], sum(long))

    def tokenize_target(self) -> TextTokens:
        """The prompt of a picture of the gallery: ids (1, L)."""
        return self._padded([self._with_pictures(self._ids("", self.target_instruction))], 0)

    @cached_property
    def image_token(self) -> int:
        """The id of a picture's token in a prompt."""
        found = self._tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        if found is None or found == self._tokenizer.unk_token_id:
            raise ValueError(f"{self.name}: its tokenizer does not know {PLACEHOLDER}; name a vision-language model")
        return int(found)

    @cached_property
    def frame_tokens(self) -> tuple[int, ...]:
        """Ids of what begins and ends a picture in a prompt, where the tokenizer has them."""
        ids = self._tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|vision_end|>"])
        return tuple(found for found in ids if found is not None and found != self._tokenizer.unk_token_id)

    def _ids(self, text: str, instruction: str) -> list[int]:
        return self._encoded([text], instruction)[0]

    def _encoded(self, texts: Sequence[str], instruction: str) -> list[list[int]]:
        head, tail = self.template.replace("{instruction}", instruction).split("{text}")
        return self._texts.encode_framed(head + self._texts.hide(text) + tail for text in texts)

    def _with_pictures(self, ids: list[int]) -> list[int]:
        place = ids.index(self.image_token)
        return ids[:place] + [self.image_token] * self.num_image_tokens + ids[place + 1 :]

    def _padded(self, rows: Sequence[list[int]], num_truncated: int) -> TextTokens:
        length = max(map(len, rows), default=1)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for number, row in enumerate(rows):
            part = slice(0, len(row)) if self.padding_side == "right" else slice(length - len(row), length)
            ids[number, part], mask[number, part] = torch.tensor(row), True
        return TextTokens(ids, mask, num_truncated)

    @cached_property
    def _tail_length(self) -> int:
        """Tokens behind the text, by themselves: control tokens and line ends merge with no word."""
        return len(self._texts.encode_framed([self.template.split("{text}")[1]])[0])

    @cached_property
    def _texts(self) -> PlainTexts:
        return PlainTexts(self._tokenizer)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.name)
