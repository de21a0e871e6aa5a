"""Of several captions sampled for a photo the one that agrees most with the others (minimum Bayes risk decoding).

Shape letters: Q queries, N candidates of each, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from diptych.contracts.news import SentenceEncoder
from diptych.metrics.captions.cider import cider

Closeness = Callable[[Sequence[Sequence[str]]], np.ndarray]
_DECIMALS = 9  # equal captions are summed up in different orders: what differs beyond is rounding


def choose(candidates: Sequence[Sequence[str]], closeness: Closeness) -> list[int]:
    """For each query the number of the candidate that is closest on average to the query's others; of equals the first.

    `closeness` gives these averages (Q, N). Empty candidates are close to none.

    Raises:
        ValueError: queries have different numbers of candidates, or less than two.
    """
    chosen: list[int] = averages(candidates, closeness).argmax(-1).tolist()
    return chosen


def averages(candidates: Sequence[Sequence[str]], closeness: Closeness) -> np.ndarray:
    """How close each candidate is on average to the query's others (Q, N), rounded so that equal captions are equal.

    Raises:
        ValueError: queries have different numbers of candidates, or less than two.
    """
    numbers = {len(of_query) for of_query in candidates}
    if len(numbers) != 1 or min(numbers) < 2:
        raise ValueError(
            f"every query needs the same number of candidates, at least 2; found {sorted(numbers) or 'no query'}"
        )
    rounded: np.ndarray = np.round(closeness(candidates), _DECIMALS)
    return rounded


def cider_closeness(candidates: Sequence[Sequence[str]]) -> np.ndarray:
    """Each candidate's mean CIDEr (Q, N) with the query's other candidates as references.

    Document frequencies are counted over all candidates of the queries.

    Raises:
        ValueError: there are fewer than two queries, of which CIDEr is not defined.
    """
    number = len(candidates[0])
    columns = []
    for index in range(number):
        own = [of_query[index] for of_query in candidates]
        # The references must be the same each time, or the document frequencies differ. So the candidate is among them,
        # once and twice, which gives what it adds itself (not 10 where a caption has fewer than four words).
        once = number * cider(own, candidates)[1]
        twice = (number + 1) * cider(own, [[*of_query, of_query[index]] for of_query in candidates])[1]
        columns.append((once - (twice - once)) / (number - 1))
    return np.stack(columns, axis=-1)


class EmbeddingCloseness:
    """Each candidate's mean cosine (Q, N) with the query's other candidates."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder

    def __call__(self, candidates: Sequence[Sequence[str]]) -> np.ndarray:
        """One call of the encoder for all distinct candidates."""
        distinct = sorted({caption for of_query in candidates for caption in of_query if caption})
        position = {caption: row for row, caption in enumerate(distinct)}
        if not distinct:
            return np.zeros((len(candidates), len(candidates[0])))
        embeddings = np.asarray(self._encoder.encode(distinct), dtype=np.float64)
        embeddings = np.concatenate([embeddings, np.zeros_like(embeddings[:1])])  # the empty caption
        rows = [[position.get(caption, len(distinct)) for caption in of_query] for of_query in candidates]
        vectors = embeddings[np.array(rows)]
        similarity = np.einsum("qne,qme->qnm", vectors, vectors)
        own = np.einsum("qnn->qn", similarity)
        mean: np.ndarray = (similarity.sum(-1) - own) / (similarity.shape[-1] - 1)
        return mean
