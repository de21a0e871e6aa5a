"""Questions to a model through the OpenAI Batch API: half the price, answers within a day, and no request lost.

A batch stands in the ledger before it is created and carries the ledger's token in its metadata, so that one whose
creation was cut off by a kill is found again at the server. Whoever runs next collects what earlier runs have sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from diptych.annotation.askers.batch_run import BatchRun
from diptych.annotation.askers.batch_server import BatchServer
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.extras import require
from diptych.models.server.server_settings import check_server, read_key
from diptych.models.server.taken_parameters import (
    TakenParameters,
    logprobs_of,
    put_otherwise,
    taken_parameters,
)


class BatchAsker:
    """Asks `model` behind `base_url` (OpenAI's own by default) in batches of at most `max_requests` and `max_bytes`.

    The key is read from the environment variable `api_key_env` when it is first needed, and is in no error or log; None
    for servers that want none. Batches are looked after every `poll_s` seconds. What a batch that expired, failed, was
    cancelled or left requests out did not answer is sent again, in `max_tries` batches at most in one run. A batch is
    given up (and cancelled) when it has not ended `longest_wait_s` after it was first seen. Interrupted, the batches
    run on, and the next run collects them. `temperature` None leaves it to the server. A batch in which every line is
    refused for a parameter is sent again without it, or with its other name (`put_otherwise`), as are all further ones.

    Construction does no I/O.

    Raises:
        ValueError: a setting makes no sense.
    """

    price_factor = 0.5
    longest_wait_s = 26 * 3600.0  # the window of 24 hours, and time to finish

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        max_requests: int = 50_000,
        max_bytes: int = 190_000_000,
        poll_s: float = 60.0,
        max_tries: int = 3,
        temperature: float | None = 0.0,
    ) -> None:
        if max_requests < 1 or max_bytes < 1 or poll_s < 0 or max_tries < 1:
            raise ValueError(
                f"max_requests={max_requests}, max_bytes={max_bytes}, poll_s={poll_s}, max_tries={max_tries}:"
                " want at least 1, 1, 0 and 1"
            )
        check_server(base_url, api_key_env)
        self.model, self.base_url, self.api_key_env = model, base_url, api_key_env
        self.max_requests, self.max_bytes = max_requests, max_bytes
        self.poll_s, self.max_tries, self.temperature = poll_s, max_tries, temperature
        self.opened: set[str] = set()  # tokens of the batches that this process has created or taken over

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """Keys with answers, or why there is none, as batches end. Each is in the ledger before it is given out.

        `questions` are planned in the ledger. Those that are settled, or that another living process has, are left out.

        Raises:
            ServerFailure: the server refuses what all requests have in common, or cannot be reached any more.
            ValueError: the key is not set, the package openai is not installed, or a batch is not the server's.
        """
        with self._connect() as client:
            yield from BatchRun(self, BatchServer(client, self.poll_s), ledger).results(questions)

    def body(self, question: Question) -> dict[str, Any]:
        """The chat completion that a question asks for, put so that the server takes it. Raises ValueError where its
        pictures cannot be read.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(question.messages())}
        body["max_tokens"] = question.max_tokens
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if question.response_format is not None:
            body["response_format"] = dict(question.response_format)
        body |= logprobs_of(question.num_logprobs)
        return put_otherwise(body, self.known.changed)

    @property
    def known(self) -> TakenParameters:
        """What the server has shown to take."""
        return taken_parameters(self.base_url, self.model)

    def _connect(self) -> Any:
        require("openai")
        from diptych.annotation.askers.batch_client import open_client

        return open_client(self.base_url, read_key(self.api_key_env) or "none")
