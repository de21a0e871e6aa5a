"""Loading a spaCy pipeline without the parts that are not needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

from diptych.extras import require
from diptych.storage.model_files import FETCH, locate_model

# spaCy refuses texts of a million characters, and wants a gigabyte for every hundred thousand.
_LONGEST = 100_000
# Where a long text is best cut, the best first: behind a paragraph, a line, a sentence, a word.
_CUTS = tuple(map(re.compile, (r"\n\s*\n", r"[\n\u2028\u2029]", r"(?<=[.!?。])\s", r"\s")))
_UPSTREAM = ("tok2vec", "transformer", "curated_transformer")


@cache  # several parts of a program ask the same model
def load_pipeline(model: str, without: tuple[str, ...]) -> Any:
    """The pipeline `model`, an installed one's name, a folder, or `package:NAME/PATH`, without the parts named in
    `without`, and without a tok2vec or transformer that no other part listens to.

    A package is imported only if it was installed as a model of spaCy: names may come out of a stranger's file.

    Raises:
        ValueError: spaCy or the model is not there, or it is damaged.
    """
    require("spacy")
    import spacy

    located = locate_model(model)
    advice = (
        f"install it with python -m spacy download {model if model.isidentifier() else 'en_core_web_sm'}, or name a"
        f" folder or package:NAME/PATH; {FETCH}"
    )
    if not Path(located).is_dir() and located not in {entry.name for entry in entry_points(group="spacy_models")}:
        raise ValueError(f"the spaCy model {model!r} cannot be loaded (no such model is installed); {advice}")
    try:
        pipeline = spacy.load(Path(located) if Path(located).is_dir() else located, exclude=list(without))
    except Exception as error:  # its parts each have a format of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"the spaCy model {model!r} cannot be loaded ({reason}); {advice}") from error
    for name in set(_UPSTREAM) & set(pipeline.pipe_names):
        if not getattr(pipeline.get_pipe(name), "listening_components", True):
            pipeline.remove_pipe(name)  # the parts that are left have their own
    return pipeline


def read_in_pieces(pipeline: Any, texts: Sequence[str], batch_size: int) -> list[list[tuple[int, Any]]]:
    """What the pipeline finds of each text, of any length: its parts, as spaCy's documents, and where they begin; one
    part of a text of up to 100,000 characters.
    """
    starts = [_starts(text) for text in texts]
    spans = [(text, *span) for text, of_one in zip(texts, starts, strict=True) for span in pairwise(of_one)]
    docs = pipeline.pipe((text[start:end] for text, start, end in spans), batch_size=batch_size)
    return [[(start, next(docs)) for start in of_one[:-1]] for of_one in starts]


def _starts(text: str) -> list[int]:
    """Where the parts of a text begin, and its end."""
    starts = [0]
    while len(text) - starts[-1] > _LONGEST:
        most = starts[-1] + _LONGEST
        # In the second half of what fits: parts are long, and a cut is rarely between the words of a name.
        cuts = (
            max((match.end() for match in cut.finditer(text, most - _LONGEST // 2, most)), default=0) for cut in _CUTS
        )
        starts.append(next(filter(None, cuts), most))
    return [*starts, len(text)]
