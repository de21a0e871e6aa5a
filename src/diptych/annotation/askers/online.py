"""Questions to a server, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.vlm_client import Request, VLMClient


class OnlineAsker:
    """Asks the server of `client`, at the full price. Construction does no I/O."""

    price_factor = 1.0

    def __init__(self, client: VLMClient) -> None:
        self.client = client

    @property
    def model(self) -> str:
        """The model that answers."""
        return self.client.model

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """The answers by key, or why there is none, as they come; each is in the ledger before it is given.

        `questions` is taken from as soon as a request may be sent, and each is claimed then; what cannot be claimed
        is left out. Interrupted, it gives up what is on its way: the ledger counts that as charged.

        Raises:
            ValueError: as `VLMClient.results_together`; what has an answer by then is given before.
        """
        asked: dict[str, Question] = {}

        def requests() -> Iterator[Request]:
            for question in questions:
                if ledger.claim(question.key):
                    asked[question.key] = question
                    form, num_logprobs = question.response_format, question.num_logprobs
                    yield Request(question.key, question.messages, question.max_tokens, form, num_logprobs)

        unpaid = False
        try:
            with closing(self.client.results_together(requests())) as together:
                for results in together:
                    settled = [(key, _named(result, asked.pop(key))) for key, result in results]
                    ledger.settle(settled)
                    yield from settled
        except ServerFailure:
            unpaid = True  # all that is left was refused
            raise
        finally:
            ledger.release(asked, unpaid)


def _named(result: Answer | Failure, question: Question) -> Answer | Failure:
    """The result, a failure with the record's id."""
    return replace(result, record_id=question.record_id) if isinstance(result, Failure) else result
