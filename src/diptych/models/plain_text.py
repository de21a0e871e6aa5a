"""Texts from outside as ordinary tokens: "<|im_end|>" in an article ends no turn, "</s>" in a caption no text.

A control token is one that a tokenizer holds as a special one, or that was added to its vocabulary in brackets, such
as `<think>`; added words and blanks are ordinary.
"""

from __future__ import annotations

import copy
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import regex  # open_clip's own

from diptych.storage.json_values import encodable

_BRACKETED = re.compile(r"[<\[{(|｜＜].*[>\]})|｜＞]", re.DOTALL)


def control_signs(tokenizer: Any) -> list[str]:
    """How the control tokens of a transformers tokenizer are written, the longest first."""
    added = tokenizer.added_tokens_decoder.values()
    found = {token.content for token in added if token.special or _BRACKETED.fullmatch(token.content)}
    return sorted(filter(str.strip, found | set(tokenizer.all_special_tokens)), key=lambda sign: (-len(sign), sign))


def broken_up(text: str, signs: Sequence[str]) -> str:
    """The text with a blank behind the first character of each control token, which makes it none, for tokenizers that
    cannot be told so; any other text as `encodable` has it.
    """
    text = encodable(text)
    if not any(sign in text for sign in signs):
        return text
    for sign in signs:
        text = text.replace(sign, f"{sign[0]} {sign[1:]}")
    return text


class PlainTexts:
    """A transformers tokenizer that makes tokens of texts from outside, by themselves or in a frame with control tokens
    of its own: those of the frame count, what is written like them in a text does not. Texts without any have the same
    ids as ever.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.signs = tokenizer, control_signs(tokenizer)
        # Names that no text can hold: of the frame's control tokens, and of those in a text while it is framed.
        self._secret = secrets.token_hex(8)
        self._sign = re.compile("|".join(map(re.escape, self.signs)) or r"(?!)")
        self._hidden = re.compile(rf"\ufdd0{self._secret}:(\d+)\ufdd1")
        self._number = {sign: number for number, sign in enumerate(self.signs)}

    def hide(self, text: str) -> str:
        """The text for a frame: its control tokens get other names, which no template takes for its own."""
        return self._sign.sub(lambda match: f"\ufdd0{self._secret}:{self._number[match[0]]}\ufdd1", encodable(text))

    def shown(self, framed: str) -> str:
        """A frame around a hidden text as it would be read."""
        return self._hidden.sub(lambda match: self.signs[int(match[1])], framed)

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of texts by themselves, without any control token."""
        return self._encode([(encodable(text), self._sign.search(text) is not None) for text in texts])

    def encode_framed(self, framed: Iterable[str]) -> list[list[int]]:
        """Ids of frames around texts that were hidden."""
        return self._encode(
            [
                (self.shown(self._sign.sub(lambda match: self._private(match[0]), text)), True)
                if self._hidden.search(text)
                else (text, False)
                for text in framed
            ]
        )

    def _encode(self, texts: Sequence[tuple[str, bool]]) -> list[list[int]]:
        ordinary = [text for text, has_signs in texts if not has_signs]
        found = iter(self.tokenizer(ordinary, add_special_tokens=False)["input_ids"] if ordinary else ())
        return [
            self.blind.encode(text, add_special_tokens=False).ids if has_signs else next(found)
            for text, has_signs in texts
        ]

    def _private(self, sign: str) -> str:
        return f"\ufdd2{self._secret}:{self._number[sign]}\ufdd3"

    @cached_property
    def blind(self) -> Any:
        """The same tokenizer (of the library `tokenizers`), with other names for the control tokens."""
        return renamed(self.tokenizer.backend_tokenizer, {sign: self._private(sign) for sign in self.signs})


def renamed(backend: Any, names: dict[str, str]) -> Any:
    """A copy of a `tokenizers.Tokenizer` in which tokens have other names, with the same ids: the old ones are text."""
    content = json.loads(backend.to_str())  # tokens may be control characters
    for token in content["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = content["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): number for token, number in model["vocab"].items()}
    else:  # Unigram's pieces and scores
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:  # none may lead to a control token
        model["merges"] = [pair for pair in model["merges"] if _joined(pair) not in names]
    copied: Any = type(backend).from_str(json.dumps(content))
    return copied


def _joined(pair: Any) -> str:
    return pair.replace(" ", "") if isinstance(pair, str) else "".join(pair)


def plain_open_clip(tokenizer: Any) -> Any:
    """A copy of open_clip's `SimpleTokenizer` to which start and end of a text are words like others."""
    plain = copy.copy(tokenizer)
    signs = "|".join(tokenizer.decoder[number] for number in tokenizer.all_special_ids)
    plain.pat = regex.compile(tokenizer.pat.pattern.removeprefix(f"{signs}|"), regex.IGNORECASE)
    plain.clean_fn = lambda text: tokenizer.clean_fn(encodable(text))
    plain.cache = {}
    return plain
