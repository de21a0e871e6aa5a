"""From what a record is about to the question that is sent, and to the next one when its answer is of no use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from diptych.annotation.cost import num_text_tokens
from diptych.annotation.images import content_hash
from diptych.annotation.task import Wording
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.stages.annotation.asking import Asking
from diptych.storage.key import key_of

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
class Try:
    """The question of an inquiry, the `number`-th, 1-based."""

    inquiry: Inquiry
    number: int
    question: Question


class QuestionMaker:
    """Makes the questions of the stage `stage`; `form` is the schema of the answers, `num_logprobs` are asked for."""

    def __init__(
        self, stage: str, asking: Asking, task: Wording, form: Mapping[str, Any], num_logprobs: int = 0
    ) -> None:
        self.stage, self.asking, self.task, self.form, self.num_logprobs = stage, asking, task, form, num_logprobs

    def first(self, inquiry: Inquiry) -> Try | Failure:
        """The first question of an inquiry; `unreadable` where an image is none."""
        asking, picture_form = self.asking, self.asking.picture_form
        text = self.task.text(inquiry.values)
        num_tokens = num_text_tokens(text)
        try:
            images = [[_hash_of_image(image), picture_form.max_side, picture_form.detail] for image in inquiry.images]
            for image in inquiry.images:
                num_tokens += asking.prices.num_image_tokens(asking.model, image, picture_form)
        except ValueError as error:
            return Failure(inquiry.record_id, "unreadable", str(error))
        key = _hash([self.stage, asking.model, text, images, self.form])
        messages = partial(self._messages, inquiry)
        limit, num_logprobs = asking.max_tokens, self.num_logprobs
        question = Question(key, self.stage, inquiry.record_id, messages, limit, num_tokens, self.form, num_logprobs)
        return Try(inquiry, 1, question)

    def after(self, last: Try, answer: Answer, complaint: str) -> Try:
        """Asks again, with the answer shown and what is wrong with it. The key is one more than the last: what was
        answered to that stands in the ledger.
        """
        question = Question(
            _hash([last.question.key, "again"]),
            self.stage,
            last.inquiry.record_id,
            partial(self._messages, last.inquiry, answer.text, complaint),
            2 * last.question.max_tokens,
            last.question.num_input_tokens + num_text_tokens(answer.text) + num_text_tokens(complaint),
            self.form,
            self.num_logprobs,
        )
        return Try(last.inquiry, last.number + 1, question)

    def _messages(self, inquiry: Inquiry, answer: str = "", complaint: str = "") -> list[dict[str, Any]]:
        pictures = [self.asking.picture_form.message_part(image) for image in inquiry.images]
        text = self.task.text(inquiry.values)
        content = [{"type": "text", "text": text}, *pictures] if pictures else text
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if complaint:
            shown = [{"role": "assistant", "content": answer}] if answer.strip() else []
            messages += [*shown, {"role": "user", "content": complaint}]
        return messages


def _hash(content: Any) -> str:
    return key_of(content, length=64, ascii_only=False)
