"""BEiT-3's tokenizer: a sentencepiece model under the numbering of XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from diptych.contracts.models import TextTokens
from diptych.extras import require
from diptych.storage.json_values import encodable

START, PAD, END, UNKNOWN = 0, 1, 2, 3
_MAX_LENGTH = 64  # of the retrieval models, start and end included
_SHIFT = 1  # a piece's id is sentencepiece's plus 1, for PAD has none there
_PROBE = "a dog on the beach"


class BEiT3Tokenizer:
    """Texts to token ids as the BEiT-3 retrieval models read them: start, pieces, end; case is kept.

    `path` is the file `beit3.spm`; `vocabulary` the number of rows of the model's text embedding, which this tokenizer
    must fill exactly: sentencepiece's pieces, the padding and the mask token (64,010 in the published files).

    Raises:
        ValueError: sentencepiece is not installed, the file is absent or no sentencepiece model, its first pieces are
            not the unknown, start and end tokens, its size is another, or it does not know plain English words.
    """

    def __init__(self, path: str | Path, vocabulary: int) -> None:
        require("sentencepiece")
        from sentencepiece import SentencePieceProcessor

        if not Path(path).is_file():
            raise ValueError(f"{path}: there is no such tokenizer file; it is published as beit3.spm")
        try:
            self._pieces = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{path} is no sentencepiece model, or damaged ({error}); fetch it again") from error
        special = (self._pieces.unk_id(), self._pieces.bos_id(), self._pieces.eos_id())
        if special != (0, 1, 2):
            raise ValueError(
                f"{path}: its unknown, start and end pieces have the ids {special}; beit3.spm's have (0, 1, 2)"
            )
        size = self._pieces.get_piece_size() + 2
        if size != vocabulary:
            raise ValueError(
                f"{path} makes a vocabulary of {size}, the model's text embedding has {vocabulary} rows: they do not "
                "belong together"
            )
        if UNKNOWN in self._encode(_PROBE):
            raise ValueError(f"{path} has unknown pieces in {_PROBE!r}: it is not BEiT-3's tokenizer")

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Token ids (B, L), padded on the right to the longest text of the batch, with the mask of real tokens.

        A text of more than 64 tokens is cut before its end token and counted in `num_truncated`.
        """
        pieces = [self._encode(text) for text in texts]
        rows = [[START, *row[: _MAX_LENGTH - 2], END] for row in pieces]
        ids = torch.full((len(rows), max(map(len, rows), default=0)), PAD)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        return TextTokens(ids, mask, num_truncated=sum(len(row) > _MAX_LENGTH - 2 for row in pieces))

    def _encode(self, text: str) -> list[int]:
        unknown = self._pieces.unk_id()
        return [UNKNOWN if piece == unknown else piece + _SHIFT for piece in self._pieces.encode(encodable(text))]
