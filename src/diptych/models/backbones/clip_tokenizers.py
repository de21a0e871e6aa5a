"""open_clip's tokenizers, and transformers' CLIPTokenizer; each is made once in a process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import open_clip
from open_clip.tokenizer import SimpleTokenizer

from diptych.models.backbones.clip_architecture import registered
from diptych.models.plain_text import PlainTexts, plain_open_clip

CLEANINGS = ("lower", "whitespace", "canonicalize")


@functools.cache
def open_clip_tokenizer(registered_name: str | None, clean: str | None) -> Any:
    """That of a registered model; without a name CLIP's own, which cleans texts by `clean`."""
    if registered_name is None:
        return SimpleTokenizer(**({"clean": clean} if clean else {}))
    from_hub = registered(registered_name)["text_cfg"].get("hf_tokenizer_name")
    return open_clip.get_tokenizer(registered_name, **({"trust_remote_code": False} if from_hub else {}))


def cleaning(text: Mapping[str, Any]) -> str | None:
    """How the texts of an architecture that is given are cleaned; None: as CLIP's. ValueError for other tokenizers."""
    settings = dict(text.get("tokenizer_kwargs") or {})
    clean = settings.pop("clean", None)
    if text.get("hf_tokenizer_name") or settings or clean not in (None, *CLEANINGS):
        raise ValueError(
            "architecture: of text_cfg's tokenizer only tokenizer_kwargs.clean can be set, one of "
            f"{', '.join(CLEANINGS)}; other tokenizers are those of open_clip's models by name"
        )
    return clean


@functools.cache
def plain_tokenizer(registered_name: str | None, clean: str | None) -> Any:
    """The same, to which no text is a special token."""
    return plain_open_clip(open_clip_tokenizer(registered_name, clean))


@functools.cache
def transformers_tokenizer() -> Callable[[str], list[int]]:
    """transformers' CLIPTokenizer, made of the vocabulary that open_clip brings; gives ids without start and end."""
    from transformers import CLIPTokenizer

    own = SimpleTokenizer()
    names = {own.sot_token_id: "<|startoftext|>", own.eot_token_id: "<|endoftext|>"}
    vocabulary = {names.get(number, token): number for token, number in own.encoder.items()}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=list(own.bpe_ranks))
    backend = PlainTexts(tokenizer).blind
    # One text at a time: threads of its own for many would warn when a loader's worker is forked.
    return lambda text: backend.encode(text, add_special_tokens=False).ids
