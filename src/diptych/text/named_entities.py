"""Named entities of texts, found by a spaCy pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from diptych.text.spacy_pipeline import load_pipeline, read_in_pieces

# What finds no entities; a tok2vec or transformer stays where the entity recogniser listens to it.
_NOT_NEEDED = (
    "tagger", "parser", "senter", "sentencizer", "morphologizer", "attribute_ruler", "lemmatizer",
    "trainable_lemmatizer", "textcat", "textcat_multilabel",
)  # fmt: skip
_FINDS_ENTITIES = ("ner", "entity_ruler", "beam_ner")


@dataclass(frozen=True, slots=True)
class NamedEntity:
    """One mention: `text` is [start:end] of the text it was found in, `label` the pipeline's, such as PERSON or GPE."""

    text: str
    label: str
    start: int
    end: int


class EntityRecognizer:
    """A spaCy pipeline reduced to what finds entities, loaded when it is first used.

    `model` is an installed pipeline's name, a folder, or `package:NAME/PATH`. Objects can be pickled: the model is then
    loaded again.
    """

    model_names: ClassVar[Mapping[str, str]] = {"model": "spacy"}  # see config/model_names.py

    def __init__(self, model: str = "en_core_web_sm", batch_size: int = 64) -> None:
        self.model = model
        self.batch_size = batch_size
        self._pipeline: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pipeline": None}

    def entities(self, texts: Sequence[str]) -> list[tuple[NamedEntity, ...]]:
        """The entities of each text, in the order of the texts and of their positions; equal texts are read once, and
        very long ones in pieces.

        Raises:
            ValueError: the model is not there, or finds no entities.
        """
        if self._pipeline is None:
            self._pipeline = _load(self.model)
        unique = list(dict.fromkeys(texts))
        read = read_in_pieces(self._pipeline, unique, self.batch_size)
        found = {
            text: tuple(
                NamedEntity(span.text, span.label_, start + span.start_char, start + span.end_char)
                for start, doc in parts
                for span in doc.ents
            )
            for text, parts in zip(unique, read, strict=True)
        }
        return [found[text] for text in texts]


def _load(model: str) -> Any:
    pipeline = load_pipeline(model, _NOT_NEEDED)
    if not set(_FINDS_ENTITIES) & set(pipeline.pipe_names):
        raise ValueError(f"the spaCy model {model!r} finds no entities: its parts are {', '.join(pipeline.pipe_names)}")
    return pipeline
