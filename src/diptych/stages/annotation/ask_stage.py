"""Stages whose records a model writes: from records to questions, from answers to records, each paid for once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from diptych.annotation.answers import InvalidAnswer, response_format
from diptych.annotation.budget import Budget
from diptych.annotation.cost import Estimate, num_text_tokens
from diptych.annotation.images import content_hash
from diptych.annotation.ledger.ledger import Ledger, Tokens
from diptych.annotation.prompt import AnnotationPrompt
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.data.pairs.image_pairs import Pairs, read_pairs
from diptych.stages.annotation.ask_estimate import estimate
from diptych.stages.annotation.asking import Asking
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.key import key_of

_CHUNK = 2000  # questions planned and looked up together
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0  # between looks at what other processes are asking
_hash_of_image = lru_cache(maxsize=200_000)(content_hash)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a record's question is made of: `values` fill the prompt, `images` come behind it. `context` is for the
    stage that reads the answer.
    """

    record_id: str
    values: Mapping[str, Any]
    images: tuple[str, ...] = ()
    context: Any = None


@dataclass(frozen=True, slots=True)
class _Try:
    """The question of an inquiry, the `number`-th, 1-based."""

    inquiry: Inquiry
    number: int
    question: Question


class AskStage(RecordStage):
    """Asks a model one question for each pair, or image, of the file `pairs`. A subclass says what, in `inquiries`, and
    reads the answer, in `read`; `domain` and `max_objects` are for its prompt, `images_root` is where paths begin.

    What the ledger has an answer to is not asked; equal questions of several records are asked once. What another
    living process asks is waited for. A record fails for the reasons of the asker, and those of `InvalidAnswer` when
    every try was useless; the answers stay in the ledger.
    """

    record_key = "pair_id"
    name: str  # of the stage in the ledger
    form: type[BaseModel]  # what is answered with
    expected_tokens = 400  # an answer's usual length, for estimates
    runtime_settings: tuple[str, ...] = (
        *("pairs", "images_root", "references", "targets"),  # paths of input files, whose content counts
        *("asking.asker", "asking.ledger", "asking.prices", "asking.max_tokens", "asking.max_tries"),
        *("asking.max_cost_usd", "asking.retry_failures"),
    )

    def __init__(
        self,
        asking: Asking,
        prompt: AnnotationPrompt,
        pairs: str | Path,
        domain: str,
        max_objects: int,
        images_root: str | Path | None = None,
    ) -> None:
        if max_objects < 1:
            raise ValueError(f"max_objects={max_objects}: want at least 1")
        self.asking, self.prompt, self.domain, self.max_objects = asking, prompt, domain, max_objects
        self.pairs, self.images_root = Path(pairs), images_root
        self.input_files: Sequence[Path] = [self.pairs]
        self._format = response_format(self.form)

    @cached_property
    def _pairs(self) -> Pairs:
        return read_pairs(self.pairs, self.images_root)

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return [pair.pair_id for pair in self._pairs.pairs]

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The inquiry of each of these records, or why nothing can be asked. With `assumed`, for an estimate, earlier
        stages' records that are not there yet are made up.
        """
        raise NotImplementedError

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The record of an answer. Raises InvalidAnswer."""
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """What is yet to be asked, first tries only. Sends nothing, and writes nothing."""
        assumed = not all(path.exists() for path in self.input_files)
        tries = self._first_tries(self.ids(), assumed=True)
        questions = (one if isinstance(one, Failure) else (one.question, one.inquiry.images) for one in tries)
        return estimate(questions, self.asking, self.expected_tokens, assumed)

    # ------------------------------------------------------------------------------------------------ asking

    def process(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any] | Failure]:
        """The records or failures, in any order.

        Raises:
            ValueError: the money is used up, or the server refuses what all questions have in common.
        """
        asking = self.asking
        with Ledger(asking.ledger) as ledger:
            if asking.retry_failures:
                ledger.forget_failures(self.name)
            budget = Budget(ledger, asking.prices, asking.max_cost_usd)
            waiting: dict[str, list[_Try]] = {}
            yield from self._settle(self._first_tries(ids), ledger, waiting)
            wait_s = _SHORTEST_WAIT_S
            while waiting:
                unaffordable: list[_Try] = []
                again: list[_Try] = []
                heads = self._affordable([tries[0] for tries in waiting.values()], budget, ledger, unaffordable)
                num_results = 0
                for key, result in asking.asker.ask(heads, ledger):
                    num_results += 1
                    yield from self._outcomes(waiting.pop(key), result, ledger, again)
                yield from self._settle(again, ledger, waiting)
                if num_results:
                    wait_s = _SHORTEST_WAIT_S
                    continue
                left = [one for tries in waiting.values() for one in tries]
                waiting.clear()
                num_left = len(left)
                yield from self._settle(left, ledger, waiting)
                if sum(map(len, waiting.values())) < num_left:
                    continue
                if len(unaffordable) == len(waiting):
                    raise budget.exhausted(self._tokens(unaffordable[0].question))
                time.sleep(wait_s)  # the rest is asked by another process
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _first_tries(self, ids: Sequence[str], assumed: bool = False) -> Iterator[_Try | Failure]:
        for inquiry in self.inquiries(ids, assumed):
            yield inquiry if isinstance(inquiry, Failure) else self._first_try(inquiry)

    def _settle(
        self, tries: Iterable[_Try | Failure], ledger: Ledger, waiting: dict[str, list[_Try]]
    ) -> Iterator[Mapping[str, Any] | Failure]:
        """Plans the questions; gives the results of those that need not be asked, puts the others into `waiting`."""
        coming = iter(tries)
        while chunk := list(islice(coming, _CHUNK)):
            again: list[_Try] = []
            yield from (one for one in chunk if isinstance(one, Failure))
            planned = [one for one in chunk if isinstance(one, _Try)]
            ledger.plan((one.question for one in planned), self.asking.model, self.asking.asker.price_factor)
            settled = ledger.settled([one.question.key for one in planned])
            for one in planned:
                if one.question.key in settled:
                    yield from self._outcomes([one], settled[one.question.key], ledger, again)
                else:
                    waiting.setdefault(one.question.key, []).append(one)
            if again:
                yield from self._settle(again, ledger, waiting)

    def _outcomes(
        self, tries: Sequence[_Try], result: Answer | Failure, ledger: Ledger, again: list[_Try]
    ) -> Iterator[Mapping[str, Any] | Failure]:
        """What becomes of the records that asked one question: records, failures, or further tries in `again`."""
        for one in tries:
            if isinstance(result, Failure):
                yield replace(result, record_id=one.inquiry.record_id)
                continue
            try:
                record = self.read(one.inquiry, result)
            except InvalidAnswer as error:
                ledger.invalid(one.question.key, str(error))
                if one.number < self.asking.max_tries:
                    again.append(self._next_try(one, result, str(error)))
                    continue
                message = f"{one.number} answers were of no use, the last: {error} (ledger key {one.question.key})"
                yield Failure(one.inquiry.record_id, error.reason, message)
            else:
                yield record

    def _affordable(
        self, tries: Sequence[_Try], budget: Budget, ledger: Ledger, unaffordable: list[_Try]
    ) -> Iterator[Question]:
        """The questions, as long as there is money; what lies in a batch at the server has been paid for already."""
        for one in tries:
            allowed = not unaffordable and budget.allows(self._tokens(one.question))
            if allowed or ledger.batch_of(one.question.key) is not None:
                yield one.question
            else:
                unaffordable.append(one)

    # ------------------------------------------------------------------------------------------------ questions

    def _first_try(self, inquiry: Inquiry) -> _Try | Failure:
        asking, form = self.asking, self.asking.picture_form
        text = self._text(inquiry)
        num_tokens = num_text_tokens(text)
        try:
            images = [[_hash_of_image(image), form.max_side, form.detail] for image in inquiry.images]
            for image in inquiry.images:
                num_tokens += asking.prices.num_image_tokens(asking.model, image, form)
        except ValueError as error:
            return Failure(inquiry.record_id, "unreadable", str(error))
        key = _question_key([self.name, asking.model, text, images, self._format])
        messages = partial(self._messages, inquiry)
        question = Question(key, self.name, inquiry.record_id, messages, asking.max_tokens, num_tokens, self._format)
        return _Try(inquiry, 1, question)

    def _next_try(self, last: _Try, answer: Answer, complaint: str) -> _Try:
        """Asks again, with the answer shown and what is wrong with it. The key is one more than the last: what was
        answered to that stands in the ledger.
        """
        question = Question(
            _question_key([last.question.key, "again"]),
            self.name,
            last.inquiry.record_id,
            partial(self._messages, last.inquiry, answer.text, complaint),
            2 * last.question.max_tokens,
            last.question.num_input_tokens + num_text_tokens(answer.text) + num_text_tokens(complaint),
            self._format,
        )
        return _Try(last.inquiry, last.number + 1, question)

    def _messages(self, inquiry: Inquiry, answer: str = "", complaint: str = "") -> list[dict[str, Any]]:
        pictures = [self.asking.picture_form.message_part(image) for image in inquiry.images]
        text = self._text(inquiry)
        messages = [{"role": "user", "content": [{"type": "text", "text": text}, *pictures] if pictures else text}]
        if complaint:
            shown = [{"role": "assistant", "content": answer}] if answer.strip() else []
            messages += [*shown, {"role": "user", "content": complaint}]
        return messages

    def _text(self, inquiry: Inquiry) -> str:
        return self.prompt.render(domain=self.domain, max_objects=self.max_objects, **inquiry.values)

    def _tokens(self, question: Question) -> Tokens:
        return Tokens(self.asking.model, self.asking.asker.price_factor, question.num_input_tokens, question.max_tokens)


def _question_key(content: Any) -> str:
    return key_of(content, length=64, ascii_only=False)
