"""The rooms with every query in several wordings: what a model owes to the words that it happens to be asked in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.rooms.source import Rooms


class ParaphrasedRooms(Rooms):
    """As `Rooms`, but each query is asked once in every one of the `wordings`, under `<query id>-wording-<number>`: the
    same pictures, and the same words but for the wording. Triplets are said in one of them each.

    Raises:
        ValueError: as `Rooms`, or there are fewer than two wordings.
    """

    name = "rooms_paraphrased"

    def __init__(
        self,
        root: str | Path,
        wordings: Sequence[int],
        settings: RoomsSettings | None = None,
        exclude_reference: bool = False,
        use_distractors: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(root, settings, exclude_reference, use_distractors, name, wordings)
        if len(wordings) < 2:
            raise ValueError(f"wordings={list(wordings)}: paraphrases need two or more")
        self._numbers = tuple(wordings)
        self._alone = [Rooms(root, settings, exclude_reference, use_distractors, name, [one]) for one in wordings]

    def queries(self, split: str) -> list[Query]:
        """Every record in every wording, the wordings of a record one after another."""
        return [
            replace(query, query_id=f"{query.query_id}-wording-{number}")
            for in_all in zip(*(source.queries(split) for source in self._alone), strict=True)
            for number, query in zip(self._numbers, in_all, strict=True)
        ]

    def protocol(self, split: str) -> EvaluationProtocol:
        """As Hotel-CIR's; it names the wordings."""
        said = f"the changes in each of the wordings {', '.join(map(str, self._numbers))}"
        return replace(super().protocol(split), text_template=said)
