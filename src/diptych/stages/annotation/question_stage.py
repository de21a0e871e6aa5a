"""Stages whose records a model writes: from records to questions, from answers to records, each paid for once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from diptych.annotation.answers import response_format
from diptych.annotation.cost import Estimate
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.task import Wording
from diptych.contracts.pipelines import Answer, Failure, Result
from diptych.stages.annotation.ask_estimate import estimate
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.question_run import QuestionRun
from diptych.stages.annotation.questions import Inquiry, QuestionMaker, Try
from diptych.stages.running.record_stage import RecordStage


class QuestionStage(RecordStage):
    """Asks a model. A subclass says what, in `inquiries`, and reads the answer, in `read`.

    What the ledger has an answer to is not asked; equal questions of several records are asked once. What another
    living process asks is waited for. A record fails for the reasons of the asker, and those of `InvalidAnswer` when
    every try was useless; the answers stay in the ledger.
    """

    name: str  # of the stage in the ledger
    form: type[BaseModel]  # what is answered with
    expected_tokens = 400  # an answer's usual length, for estimates
    num_logprobs = 0  # that are asked for in each place of an answer
    runtime_settings: tuple[str, ...] = (
        *("asking.asker", "asking.ledger", "asking.prices", "asking.max_tokens", "asking.max_tries"),
        *("asking.max_cost_usd", "asking.retry_failures", "asking.earlier_ledger"),
    )

    def __init__(self, asking: Asking, wording: Wording) -> None:
        self.asking = asking
        self._questions = QuestionMaker(self.name, asking, wording, response_format(self.form), self.num_logprobs)

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The inquiries of these records, or why nothing can be asked. With `assumed`, for an estimate, earlier
        stages' records that are not there yet are made up.
        """
        raise NotImplementedError

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The record of an answer. Raises InvalidAnswer."""
        raise NotImplementedError

    def first_tries(self, ids: Sequence[str], assumed: bool = False) -> Iterator[Try | Failure]:
        """The first question of each inquiry, or why there is none."""
        for inquiry in self.inquiries(ids, assumed):
            yield inquiry if isinstance(inquiry, Failure) else self._questions.first(inquiry)

    def estimate(self) -> Estimate:
        """What is yet to be asked, first tries only. Sends nothing, and writes nothing."""
        assumed = not all(path.exists() for path in self.input_files())
        tries = self.first_tries(self.ids(), assumed=True)
        questions = (one if isinstance(one, Failure) else (one.question, one.inquiry.images) for one in tries)
        return estimate(questions, self.asking, self.expected_tokens, assumed)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The records or failures, in any order.

        Raises:
            MoneyUsedUp: the money is.
            ValueError: the server refuses what all questions have in common.
        """
        with Ledger(self.asking.ledger) as ledger:
            if self.asking.earlier_ledger is not None:
                ledger.take_answers(self.asking.earlier_ledger, self.name)
            if self.asking.retry_failures:
                ledger.forget_failures(self.name)
            yield from QuestionRun(self._questions, ledger, self.read).results(self.first_tries(ids))
