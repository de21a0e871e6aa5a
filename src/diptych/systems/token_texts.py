"""The text that each token of a language model's tokenizer adds, and tokens by their text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from diptych.contracts.news import TextTokenizer
from diptych.text.name_words import is_word_sign

_REPLACEMENT = "\ufffd"  # stands for bytes that are no whole sign


class TokenTexts:
    """The tokens of a tokenizer of transformers.

    `texts` holds by id what a token adds to a text: None where that is no whole sign, or nothing is known of it; empty
    for control tokens, which no text shows. `parts` are the bytes of tokens that are no whole sign. `of_text` and
    `of_bytes` are the ids of both, by what they are; `of_word` those of texts that begin with a word and go on behind
    its end, by that word.

    Raises:
        ValueError: the tokenizer does not list its tokens.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        own: Any = tokenizer
        if not callable(getattr(own, "convert_ids_to_tokens", None)):
            raise ValueError(f"{type(tokenizer).__name__} does not list its tokens, as transformers' tokenizers do")
        ids = range(len(own))
        pieces, control = own.convert_ids_to_tokens(list(ids)), set(own.all_special_ids)
        (anchor,) = own.encode("a", add_special_tokens=False)[-1:]  # some tokenizers drop a text's first blank
        before = own.decode([anchor])
        self.texts: list[str | None] = []
        self.of_text: dict[str, list[int]] = {}
        self.of_word: dict[str, list[int]] = {}
        self.parts: dict[int, bytes] = {}
        self.of_bytes: dict[bytes, list[int]] = {}
        read_bytes = _Bytes(own)
        for number in ids:
            text: str | None = "" if number in control else own.decode([anchor, number]).removeprefix(before)
            if text and _REPLACEMENT in text:
                if part := read_bytes(pieces[number]):
                    self.parts[number] = part
                    self.of_bytes.setdefault(part, []).append(number)
                text = None
            self.texts.append(text)
            if text:
                self.of_text.setdefault(text, []).append(number)
                if word := _first_word(text):
                    self.of_word.setdefault(word, []).append(number)

        self.can_spell = lru_cache(maxsize=2**16)(self._can_spell)

    def _can_spell(self, text: str) -> bool:
        """Whether tokens can write the text, each of them whole signs, or a part of one."""
        if all(sign in self.of_text for sign in text):
            return True
        reached = {0}
        for end in range(1, len(text) + 1):
            as_parts = end - 1 in reached and self.can_spell_part(text[end - 1].encode())
            if as_parts or any(text[start:end] in self.of_text for start in reached):
                reached.add(end)
        return len(text) in reached

    def can_spell_part(self, part: bytes) -> bool:
        """Whether tokens that are parts of signs can write these bytes."""
        reached = {0}
        for end in range(1, len(part) + 1):
            if any(part[start:end] in self.of_bytes for start in reached):
                reached.add(end)
        return len(part) in reached


def _first_word(text: str) -> str:
    """The word that a text begins with, where there is more behind it; empty where there is none."""
    end = next((place for place, sign in enumerate(text) if not is_word_sign(sign)), 0)
    return text[:end]


class _Bytes:
    """The bytes of a piece as byte-level BPE writes them, or byte fallback; None where it is of another kind."""

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._is_byte_level = "ByteLevel" in repr(getattr(backend, "decoder", None))
        self._byte_of = _byte_alphabet()

    def __call__(self, piece: str) -> bytes | None:
        if self._is_byte_level and all(sign in self._byte_of for sign in piece):
            return bytes(self._byte_of[sign] for sign in piece)
        if len(piece) == len("<0x0A>") and piece.startswith("<0x") and piece.endswith(">"):
            return bytes.fromhex(piece[3:5])
        return None


def _byte_alphabet() -> dict[str, int]:
    """How byte-level BPE shows bytes: visible ones of Latin-1 as they are, the others from U+0100 on, in their order
    (Radford et al. 2019, GPT-2).
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}
