"""Shows which tokens of training examples carry loss."""

from __future__ import annotations

from typing import Any

import lightning as L

from diptych.contracts.news import FusionBatch
from diptych.parallel.distributed import rank
from diptych.text.printable import printable

_NO_LOSS = -100


class ShowLabels(L.Callback):
    """Prints the first `num_examples` of the first batch as the model reads them, with the tokens that carry loss
    between `[[` and `]]`. Raises ValueError for a batch that has no tokens to show.
    """

    def __init__(self, num_examples: int = 2) -> None:
        self.num_examples = num_examples

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Prints, with the first batch."""
        if batch_idx or rank():
            return
        if not isinstance(batch, FusionBatch):
            raise ValueError("debug=labels shows which tokens of a caption carry loss: of experiments that caption")
        tokenizer = trainer.datamodule.tokenizer  # type: ignore[attr-defined]  # set out of mypy's sight
        for query_id, text in zip(batch.query_ids, shown(batch, tokenizer, self.num_examples), strict=False):
            print(printable(f"{query_id}:\n{text}\n"))  # noqa: T201  # what it was asked for


def shown(batch: FusionBatch, tokenizer: Any, num_examples: int) -> list[str]:
    """The first examples of a batch in row order as text, runs of tokens that carry loss between `[[` and `]]`."""
    texts: list[str] = []
    for row in range(len(batch.segments)):
        for segment in range(1, int(batch.segments[row].max()) + 1):
            inside = batch.segments[row] == segment
            tokens = batch.input_ids[row].cpu()[inside].tolist()
            carries = (batch.labels[row][inside] != _NO_LOSS).tolist()
            texts.append(_marked(tokens, carries, tokenizer))
            if len(texts) == num_examples:
                return texts
    return texts


def _marked(tokens: list[int], carries: list[bool], tokenizer: Any) -> str:
    parts, start = [], 0
    for end in range(1, len(tokens) + 1):
        if end == len(tokens) or carries[end] != carries[start]:
            text = tokenizer.decode(tokens[start:end])
            parts.append(f"[[{text}]]" if carries[start] else text)
            start = end
    return "".join(parts)
