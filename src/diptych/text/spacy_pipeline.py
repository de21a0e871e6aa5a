"""Loading a spaCy pipeline without the parts that are not needed."""

from __future__ import annotations

from functools import cache
from typing import Any

from diptych.extras import require
from diptych.storage.model_files import locate_model

_UPSTREAM = ("tok2vec", "transformer", "curated_transformer")


@cache  # several parts of a program ask the same model
def load_pipeline(model: str, without: tuple[str, ...]) -> Any:
    """The pipeline `model`, an installed one's name, a folder, or `package:NAME/PATH`, without the parts named in
    `without`, and without a tok2vec or transformer that no other part listens to.

    Raises:
        ValueError: spaCy or the model is not there.
    """
    require("spacy")
    import spacy

    try:
        pipeline = spacy.load(locate_model(model), exclude=list(without))
    except OSError as error:
        raise ValueError(
            f"the spaCy model {model!r} cannot be loaded ({error}); install it with python -m spacy download"
            f" {model if model.isidentifier() else 'en_core_web_sm'}, or name a folder or package:NAME/PATH"
        ) from None
    for name in set(_UPSTREAM) & set(pipeline.pipe_names):
        if not getattr(pipeline.get_pipe(name), "listening_components", True):
            pipeline.remove_pipe(name)  # the parts that are left have their own
    return pipeline
