"""Loading a spaCy pipeline without the parts that are not needed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from diptych.extras import require
from diptych.storage.model_files import locate_model

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
        " folder or package:NAME/PATH"
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
