"""Annotation by one question with both images: what the three stages are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from diptych.annotation.answers import Modifications, parse
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.questions import Inquiry


class OneStage(AskStage):
    """The sentences that say how each pair's target differs from its reference, from a look at both.

    Records are `{"pair_id", "sentences"}`. Fails as AskStage, and as `unreadable` where a file is no image.
    """

    name = "one_stage"
    form = Modifications
    expected_tokens = 150

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt, with the reference and then the target."""
        pairs = self.pairs
        return (Inquiry(name, {}, (pairs[name].reference_image, pairs[name].target_image)) for name in ids)

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The sentences of the answer."""
        return {"pair_id": inquiry.record_id, "sentences": parse(Modifications, answer).sentences}
