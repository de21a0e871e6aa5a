"""METEOR 1.5 (Denkowski and Lavie, 2014) as COCO's caption evaluation runs it: its authors' Java program, which comes
with the package pycocoevalcap. Nothing of it is written anew here, so without Java and that package it is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.item_checks import require_references
from diptych.metrics.captions.ptb_tokenizer import tokenize


def meteor(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, np.ndarray]:
    """METEOR of the corpus, by its own sums over the items and not as their mean, and of each item (N,). From 0 to 1.

    Raises:
        ValueError: Java or pycocoevalcap is missing, the program stopped, there is nothing to score, or an item has no
            reference.
    """
    require_java()
    if not len(predictions) or len(predictions) != len(references) or not all(references):
        raise ValueError(f"{len(predictions)} predictions, references for {len(references)} items; each needs one")
    from pycocoevalcap.meteor.meteor import Meteor

    hypotheses = {item: [" ".join(tokens)] for item, tokens in enumerate(tokenize(predictions))}
    of_references = iter(tokenize([text for texts in references for text in texts]))
    of_items = {item: [" ".join(next(of_references)) for _ in texts] for item, texts in enumerate(references)}
    program = Meteor()
    try:
        corpus, per_item = program.compute_score(of_items, hypotheses)
    except (OSError, ValueError) as error:
        # A program that ended answers with nothing, which is no number. Its wrapper would wait for its own lock.
        program.lock.release()
        raise ValueError(f"METEOR's program stopped ({error}); it needs 2 GB of memory and a Java that runs") from error
    return corpus, np.array(per_item)


def require_java() -> None:
    """Raises ValueError saying what METEOR needs and is not there."""
    missing = [] if shutil.which("java") else ["a Java runtime (java on the PATH; a JRE from version 8 on)"]
    missing += [] if find_spec("pycocoevalcap") else ["the package pycocoevalcap (pip install pycocoevalcap)"]
    if missing:
        raise ValueError(f"METEOR is a Java program; install {' and '.join(missing)}, or leave meteor out")


class METEOR(CaptionMetric):
    """`meteor` over all captions of all processes. Raises ValueError when built where it cannot run."""

    def __init__(self, local: bool = True) -> None:
        super().__init__(local)
        require_java()

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        require_references(items, "meteor")
        value, per_item = meteor([item.caption for item in items], [item.reference_captions for item in items])
        return CaptionScores({"meteor": value}, {"meteor": per_item})
