"""How the stages of a pipeline ask a model: whom, with which limits, and on which ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from diptych.annotation.cost import Prices
from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question


class Asker(Protocol):
    """Who asks a model. Before it sends a question it claims it in the ledger, and leaves out what it cannot claim;
    what it gives is in the ledger.
    """

    model: str
    price_factor: float

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """Results by key, as they come."""


@dataclass(frozen=True)
class Asking:
    """How the stages of a pipeline ask. `model` is the asker's. Answers may have `max_tokens`; a useless one is asked
    for again, with twice the limit and word of what was wrong, up to `max_tries` times in all. Nothing is sent that
    could bring the cost of all on the ledger above `max_cost_usd`. `retry_failures` asks again what had no answer.

    Raises:
        ValueError: a setting makes no sense, or the asker asks another model.
    """

    asker: Asker
    ledger: str
    prices: Prices
    model: str
    picture_form: PictureForm
    max_tokens: int = 1500
    max_tries: int = 3
    max_cost_usd: float | None = None
    retry_failures: bool = False
    earlier_ledger: str | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.max_tries < 1:
            raise ValueError(f"asking.max_tokens={self.max_tokens}, max_tries={self.max_tries}: want at least 1")
        if self.asker.model != self.model:
            raise ValueError(f"the asker asks {self.asker.model!r}, but model={self.model}; set them to one model")
