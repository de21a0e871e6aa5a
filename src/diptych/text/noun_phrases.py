"""Noun phrases of texts, found by a spaCy pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from diptych.text.spacy_pipeline import load_pipeline, read_in_pieces

# spaCy's English noun chunks are read off the parse and the coarse parts of speech: tagger, attribute_ruler and parser.
_NOT_NEEDED = (
    "ner", "entity_ruler", "beam_ner", "senter", "sentencizer", "lemmatizer", "trainable_lemmatizer", "textcat",
    "textcat_multilabel",
)  # fmt: skip


class NounPhrases:
    """The base noun phrases of a text, spaCy's noun chunks, in their order; of those that are equal but for capitals
    only the first, and at most `max_phrases`: the rule of ConText-CIR's corrected release (`src/nps_precompute.py`,
    mvrl/ConText-CIR, cc07007).

    `model` is an installed pipeline's name, a folder, or `package:NAME/PATH`, loaded when it is first used. Objects can
    be pickled: the model is then loaded again.
    """

    model_names: ClassVar[Mapping[str, str]] = {"model": "spacy"}  # see config/model_names.py

    def __init__(self, model: str = "en_core_web_sm", max_phrases: int = 10, batch_size: int = 256) -> None:
        if max_phrases < 1:
            raise ValueError(f"max_phrases={max_phrases} must be 1 or more")
        self.model, self.max_phrases, self.batch_size = model, max_phrases, batch_size
        self._pipeline: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pipeline": None}

    def load(self) -> None:
        """Loads the model.

        Raises:
            ValueError: spaCy or the model is not there, or the model parses nothing.
        """
        if self._pipeline is None:
            pipeline = load_pipeline(self.model, _NOT_NEEDED)
            if "parser" not in pipeline.pipe_names:
                raise ValueError(
                    f"the spaCy model {self.model!r} finds no noun phrases: it has no parser, its parts are "
                    f"{', '.join(pipeline.pipe_names) or 'none'}"
                )
            self._pipeline = pipeline

    def phrases(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The phrases of each text, as they are written there.

        Raises:
            ValueError: as `load`.
        """
        self.load()
        read = read_in_pieces(self._pipeline, texts, self.batch_size)
        return [self._chosen([chunk.text.strip() for _, doc in parts for chunk in doc.noun_chunks]) for parts in read]

    def _chosen(self, chunks: Sequence[str]) -> tuple[str, ...]:
        first = {chunk.lower(): chunk for chunk in reversed(chunks) if chunk}
        in_order = dict.fromkeys(first[chunk.lower()] for chunk in chunks if chunk)
        return tuple(in_order)[: self.max_phrases]
