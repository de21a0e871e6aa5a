"""Sentence embeddings by any sentence-transformers model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from diptych.extras import require
from diptych.models.plain_text import broken_up, control_signs
from diptych.storage.model_files import load_model


class SentenceTransformerEncoder:
    """A SentenceEncoder that loads its model when it is first used.

    `name` is a model of the hub, a folder, or `package:NAME/PATH`; `device` None takes the GPU if there is one. Texts
    longer than the model reads (128 tokens for the default) lose their end; control tokens in them are text. Objects
    can be pickled: the model is then loaded again.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(
        self,
        name: str = "sentence-transformers/all-MiniLM-L12-v2",
        batch_size: int = 64,
        device: str | None = None,
        show_progress: bool = False,
    ) -> None:
        self.name = name
        self.batch_size = batch_size
        self.device = device
        self.show_progress = show_progress
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised float32 embeddings (N, E), in the order of the texts.

        Raises:
            ValueError: sentence-transformers is not installed, or the model cannot be loaded or downloaded.
        """
        if self._model is None:
            self._model = _load(self.name, self.device)
        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension()), np.float32)
        signs = control_signs(self._model.tokenizer)
        embeddings = self._model.encode(
            [broken_up(text, signs) for text in texts],
            batch_size=self.batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=self.show_progress,
        )
        return np.asarray(embeddings, np.float32)


def _load(name: str, device: str | None) -> Any:
    require("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    advice = "name a folder that holds a sentence encoder, or package:NAME/PATH"
    return load_model(SentenceTransformer, name, "sentence encoder", advice, device=device)
