"""A pair's sentences to its training texts: the last step before the export, and one without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from diptych.annotation.combine import Combiner, TextFilter, TokenLimit, leave_sentences
from diptych.contracts.models import Preprocessing
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_pairs import read_pairs
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordLog


class Combine(RecordStage):
    """For every pair of `pairs` the texts that its record in `sentences` (`{"pair_id", "sentences"}`) gives.

    `combiner` makes permutations, or one text of all; None leaves the sentences as they are. Texts of more than
    `max_tokens` tokens of `preprocessing`, and those that one of the `filters` (None: switched off) refuses, are
    dropped and counted by reason. A pair fails as `no_sentences` where an earlier stage has none, and as `no_texts`
    where all were dropped.
    """

    record_key = "pair_id"
    runtime_settings = ("pairs", "sentences")  # what they hold decides, not where they lie

    def __init__(
        self,
        pairs: str | Path,
        sentences: str | Path,
        preprocessing: Preprocessing,
        combiner: Combiner | None,
        filters: Mapping[str, TextFilter | None] | None = None,
        max_tokens: int = 77,
        images_root: str | Path | None = None,
    ) -> None:
        self.pairs, self.sentences = Path(pairs), Path(sentences)
        self.combiner, self.images_root = combiner, images_root
        self.tokens = TokenLimit(preprocessing, max_tokens)
        self.filters = [item for item in (filters or {}).values() if item is not None]

    def input_files(self) -> Sequence[Path]:
        """Pairs and sentences."""
        return [self.pairs, self.sentences]

    @cached_property
    def _pair_ids(self) -> list[str]:
        return [pair.pair_id for pair in read_pairs(self.pairs, self.images_root).pairs]

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return self._pair_ids

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """`{"pair_id", "sentences", "texts", "parts", "dropped"}` for each pair: `parts` holds for each text the
        positions of its sentences, `dropped` how many texts went for which reason.
        """
        records = RecordLog(self.sentences, self.record_key).read({"sentences": [str]})
        for pair_id in ids:
            sentences = records.get(pair_id, {}).get("sentences", [])
            if not sentences:
                message = f"{self.sentences} has no sentence for the pair; the failures.jsonl beside it says why"
                yield Failure(pair_id, "no_sentences", message)
                continue
            if self.combiner is None:
                found = leave_sentences(sentences, self.tokens, self.filters)
            else:
                found = self.combiner.combine(pair_id, sentences, self.tokens, self.filters)
            if not found.texts:
                reasons = ", ".join(f"{reason} {count}" for reason, count in found.dropped.items())
                yield Failure(pair_id, "no_texts", f"all texts of the pair were dropped: {reasons}")
                continue
            yield {
                "pair_id": pair_id,
                "sentences": list(sentences),
                "texts": list(found.texts),
                "parts": [list(parts) for parts in found.parts],
                "dropped": dict(found.dropped),
            }
