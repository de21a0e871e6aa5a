"""Brings the questions of a stage to their end: looked up, asked, asked again, or waited for, within the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from diptych.annotation.answers import InvalidAnswer
from diptych.annotation.budget import Budget
from diptych.annotation.ledger.ledger import Ledger, Tokens
from diptych.contracts.pipelines import Answer, Failure, Question, Result
from diptych.stages.annotation.questions import Inquiry, QuestionMaker, Try

_CHUNK = 2000  # questions planned and looked up together
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0  # between looks at what other processes are asking


class Waiting:
    """The tries that wait for an answer, by the key of their question: records that ask the same wait together.

    What is added stays until it is taken, and is taken once. So every record of a run is in here, or has its result, or
    is in the hands of the one who took it.
    """

    def __init__(self) -> None:
        self._tries: dict[str, list[Try]] = {}

    def __len__(self) -> int:
        """How many tries wait."""
        return sum(map(len, self._tries.values()))

    @property
    def questions(self) -> list[Question]:
        """What they wait for, each question once."""
        return [tries[0].question for tries in self._tries.values()]

    def add(self, one: Try) -> None:
        """One more waits."""
        self._tries.setdefault(one.question.key, []).append(one)

    def take(self, key: str) -> list[Try]:
        """Those that wait for this question; they wait no longer."""
        return self._tries.pop(key)

    def take_all(self) -> list[Try]:
        """All of them; none waits any longer."""
        taken = [one for tries in self._tries.values() for one in tries]
        self._tries.clear()
        return taken


class QuestionRun:
    """One pass over tries on an open ledger. `read` makes the record of an answer, or raises InvalidAnswer.

    A round asks what waits, as far as there is money and no other process has it; then looks up again what still waits.
    A round without an answer and without news from other processes ends in a pause, or, where money is all that is
    missing, in an error.
    """

    def __init__(
        self,
        maker: QuestionMaker,
        ledger: Ledger,
        read: Callable[[Inquiry, Answer], Mapping[str, Any]],
    ) -> None:
        self.maker, self.asking, self.ledger, self.read = maker, maker.asking, ledger, read
        self.budget = Budget(ledger, self.asking.prices, self.asking.max_cost_usd)
        self._waiting = Waiting()
        self._unaffordable: list[Question] = []  # of the last round

    def results(self, tries: Iterable[Try | Failure]) -> Iterator[Result]:
        """A record or failure for each of the tries, in any order; failures among them are given back.

        Raises:
            MoneyUsedUp: the money is.
            ValueError: the server refuses what all questions have in common.
        """
        yield from self._look_up(tries)
        wait_s = _SHORTEST_WAIT_S
        while self._waiting:
            answered = yield from self._ask()
            if answered:
                wait_s = _SHORTEST_WAIT_S
                continue
            before = self._waiting.take_all()
            yield from self._look_up(before)
            if len(self._waiting) < len(before):
                continue
            if len(self._unaffordable) == len(self._waiting.questions):
                raise self.budget.exhausted(self._tokens(self._unaffordable[0]))
            time.sleep(wait_s)  # the rest is asked by another process
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _look_up(self, tries: Iterable[Try | Failure]) -> Iterator[Result]:
        """Plans the questions; gives the results of those that the ledger has an answer to, lets the others wait."""
        coming = iter(tries)
        while chunk := list(islice(coming, _CHUNK)):
            yield from (one for one in chunk if isinstance(one, Failure))
            planned = [one for one in chunk if isinstance(one, Try)]
            self.ledger.plan((one.question for one in planned), self.asking.model, self.asking.asker.price_factor)
            settled = self.ledger.settled([one.question.key for one in planned])
            again: list[Try] = []
            for one in planned:
                if one.question.key in settled:
                    again += yield from self._outcomes([one], settled[one.question.key])
                else:
                    self._waiting.add(one)
            yield from self._look_up(again)

    def _ask(self) -> Generator[Result, None, bool]:
        """One round of asking; returns whether anything was answered."""
        self._unaffordable = []
        again: list[Try] = []
        answered = False
        for key, result in self.asking.asker.ask(self._affordable(self._waiting.questions), self.ledger):
            answered = True
            again += yield from self._outcomes(self._waiting.take(key), result)
        yield from self._look_up(again)
        return answered

    def _outcomes(self, tries: Sequence[Try], result: Answer | Failure) -> Generator[Result, None, list[Try]]:
        """What becomes of the records that asked one question; returns the further tries of those whose answer is of
        no use.
        """
        again: list[Try] = []
        for one in tries:
            if isinstance(result, Failure):
                yield replace(result, record_id=one.inquiry.record_id)
                continue
            try:
                record = self.read(one.inquiry, result)
            except InvalidAnswer as error:
                self.ledger.invalid(one.question.key, str(error))
                if one.number < self.asking.max_tries:
                    again.append(self.maker.after(one, result, str(error)))
                    continue
                message = f"{one.number} answers were of no use, the last: {error} (ledger key {one.question.key})"
                yield Failure(one.inquiry.record_id, error.reason, message)
            else:
                yield record
        return again

    def _affordable(self, questions: Sequence[Question]) -> Iterator[Question]:
        """The questions, as long as there is money; what lies in a batch at the server has been paid for already."""
        for question in questions:
            allowed = not self._unaffordable and self.budget.allows(self._tokens(question))
            if allowed or self.ledger.batches.of(question.key) is not None:
                yield question
            else:
                self._unaffordable.append(question)

    def _tokens(self, question: Question) -> Tokens:
        return Tokens(self.asking.model, self.asking.asker.price_factor, question.num_input_tokens, question.max_tokens)
