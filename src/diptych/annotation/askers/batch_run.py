"""One run of the batch asker: takes over what earlier runs have sent, sends the rest, collects until all has ended."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any, Protocol

from diptych.annotation.askers.batch_results import Refused, Unanswered, read_line
from diptych.annotation.askers.batch_server import ENDPOINT, BatchServer, SeenBatch
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.ledger.ledger_batches import OpenBatch
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.taken_parameters import TakenParameters

log = logging.getLogger(__name__)

Result = tuple[str, Answer | Failure]

_ENDED = ("completed", "failed", "expired", "cancelled")
_GOING_ON = ("validating", "in_progress", "finalizing", "cancelling")
_GIVEN_UP = "given_up"
_MOST_FAILED_POLLS = 20  # in a row, beyond what the client tries again itself
_TOO_MUCH_IN_WORK = "token_limit_exceeded"  # of the account; goes by as other batches end


class BatchSettings(Protocol):
    """What a run asks of the `BatchAsker`."""

    max_requests: int
    max_bytes: int
    poll_s: float
    max_tries: int
    longest_wait_s: float
    opened: set[str]

    @property
    def known(self) -> TakenParameters:
        """What the server has shown to take."""

    def body(self, question: Question) -> dict[str, Any]:
        """The chat completion that a question asks for; ValueError where its pictures cannot be read."""


@dataclass
class _Batch:
    """A batch that is waited for. `lines` are the keys in the order of its file; empty for one that was taken over.
    `changed` are the parameters that its requests put otherwise, as far as is known.
    """

    token: str
    batch_id: str
    waiting: dict[str, Question] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    changed: frozenset[str] = frozenset()
    seen_at: float = field(default_factory=time.monotonic)


@dataclass
class _InputFile:
    """Requests that are to be one batch."""

    file: IO[bytes]
    questions: dict[str, Question] = field(default_factory=dict)
    num_bytes: int = 0

    def add(self, question: Question, line: bytes) -> None:
        self.file.write(line)
        self.num_bytes += len(line)
        self.questions[question.key] = question


class BatchRun:
    """One call of `BatchAsker.ask`, at an open server."""

    def __init__(self, asker: BatchSettings, server: BatchServer, ledger: Ledger) -> None:
        self._asker, self._server, self._ledger = asker, server, ledger
        self._open: dict[str, _Batch] = {}
        self._held: list[Question] = []  # what the account may not have in work beside what it has
        self._tries: Counter[str] = Counter()
        self._failed_polls = 0
        self._unknown_words: set[str] = set()

    def results(self, questions: Iterable[Question]) -> Iterator[Result]:
        """The results of all questions that this process may ask, as batches end."""
        try:
            yield from self._send(self._left_after_earlier_runs(questions))
            while self._open:
                found = [(batch, self._look(batch)) for batch in list(self._open.values())]
                ended = [(batch, seen) for batch, seen in found if seen is not None]
                again: list[Question] = []
                for batch, seen in ended:
                    yield from self._collect(batch, seen, again)
                if self._held and (again or not self._open or any(not _over_limit(seen) for _, seen in ended)):
                    again, self._held = [*again, *self._held], []
                yield from self._send(again)
                if self._open and not ended:
                    time.sleep(self._asker.poll_s)
        finally:
            if self._open:
                log.info("%d batches continue at the server; the same command collects them", len(self._open))

    # ------------------------------------------------------------------------------------------------ earlier runs

    def _left_after_earlier_runs(self, questions: Iterable[Question]) -> Iterator[Question]:
        """The questions that are in no batch of a run that has stopped; those batches are waited for."""
        stopped = {
            batch.token: batch
            for batch in self._ledger.batches.unfinished()
            if not batch.owner_lives or batch.token in self._asker.opened
        }
        for question in questions:
            token = self._ledger.batches.of(question.key) if stopped else None
            if token in stopped and token not in self._open and not self._take_over(stopped[token]):
                del stopped[token]
            if token in stopped:
                self._open[token].waiting[question.key] = question
            else:
                yield question

    def _take_over(self, batch: OpenBatch) -> bool:
        """Whether the batch of an earlier run is there; if it was never created, its questions are free again."""
        batch_id = batch.batch_id or self._server.search(batch.token)
        if batch_id is None:
            self._ledger.batches.close(batch.token, "never_created")
            return False
        if batch.batch_id is None:
            self._ledger.batches.name(batch.token, batch_id)
        log.info("batch %s of an earlier run is waited for", batch_id)
        self._asker.opened.add(batch.token)
        self._open[batch.token] = _Batch(batch.token, batch_id)
        return True

    # ------------------------------------------------------------------------------------------------ sending

    def _send(self, questions: Iterable[Question]) -> Iterator[Result]:
        """Sends the questions that can be claimed, in as many batches as it takes; gives out what cannot be sent."""
        claimed: list[str] = []
        try:
            with tempfile.TemporaryFile() as file:
                batch = _InputFile(file)
                for question in questions:
                    if not self._ledger.claim(question.key):
                        continue
                    claimed.append(question.key)
                    line = self._line(question)
                    if isinstance(line, Failure):
                        self._ledger.failed(question.key, line)
                        yield question.key, line
                        continue
                    full = len(batch.questions) == self._asker.max_requests
                    if batch.questions and (full or batch.num_bytes + len(line) > self._asker.max_bytes):
                        self._create(batch)
                        file.seek(0)
                        file.truncate()
                        batch, claimed = _InputFile(file), [question.key]
                    batch.add(question, line)
                if batch.questions:
                    self._create(batch)
        finally:  # interrupted: what is in no batch has cost nothing
            self._ledger.release(claimed, unpaid=True)

    def _line(self, question: Question) -> bytes | Failure:
        try:
            body = self._asker.body(question)
        except ValueError as error:
            return Failure(question.record_id, "unreadable", str(error))
        request = {"custom_id": question.key, "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(request, ensure_ascii=False).encode() + b"\n"
        if len(line) > self._asker.max_bytes:
            message = f"the request has {len(line):,} bytes, above max_bytes; send smaller pictures"
            return Failure(question.record_id, "too_large", message)
        return line

    def _create(self, requests: _InputFile) -> None:
        """Makes the batch at the server. It is in the ledger before, and has its name there right after."""
        token = self._ledger.batches.open(requests.questions, "")
        self._asker.opened.add(token)
        file_id = None
        try:
            file_id = self._server.upload(requests.file)
            batch_id = self._server.create(file_id, token)
        except ServerFailure as failure:
            if file_id is None or not failure.worth_retrying:  # there is no batch
                self._ledger.batches.close(token, "not_created")
            raise
        self._ledger.batches.name(token, batch_id)
        log.info("batch %s: %d requests sent", batch_id, len(requests.questions))
        changed = self._asker.known.changed
        self._open[token] = _Batch(token, batch_id, dict(requests.questions), list(requests.questions), changed)

    # ------------------------------------------------------------------------------------------------ collecting

    def _look(self, batch: _Batch) -> SeenBatch | None:
        """The batch as the server has it, once it has ended; None until then."""
        try:
            seen = self._server.batch(batch.batch_id)
        except ServerFailure as failure:
            self._failed_polls += 1
            if not failure.worth_retrying or self._failed_polls > _MOST_FAILED_POLLS:
                raise
            log.warning("batch %s could not be looked after, and is again: %s", batch.batch_id, failure)
            return None
        if seen is None:
            raise ValueError(
                f"the server does not know batch {batch.batch_id}, which was sent, and may be paid: set base_url and"
                f" the key to those it was sent with, or give it up: Ledger(...).batches.close({batch.token!r}, 'lost')"
            )
        self._failed_polls = 0
        if seen.status in _ENDED:
            return seen
        if seen.status not in (*_GOING_ON, *self._unknown_words):
            self._unknown_words.add(seen.status)
            log.warning("batch %s has the unknown state %r; it is waited for", batch.batch_id, seen.status)
        if seen.status not in _GOING_ON and (seen.output_file_id or seen.error_file_id):
            return seen
        if time.monotonic() - batch.seen_at > self._asker.longest_wait_s:
            log.warning("batch %s has not ended in time (%s), and is cancelled", batch.batch_id, seen.status)
            self._server.cancel(batch.batch_id)
            return replace(seen, status=_GIVEN_UP)
        return None

    def _collect(self, batch: _Batch, seen: SeenBatch, again: list[Question]) -> Iterator[Result]:
        """Gives out what an ended batch holds; what may be asked again is added to `again`, or held back."""
        reasons: dict[str, Unanswered] = {}
        refused: dict[str, Refused] = {}
        num_answers = 0
        for key, result in self._lines_of(batch, seen):
            if isinstance(result, Unanswered):
                reasons[key] = result
            elif isinstance(result, Refused):
                refused[key] = result
            else:
                num_answers += isinstance(result, Answer)
                yield from self._settled(batch, key, result)
        put_otherwise = set() if num_answers else self._to_be_put_otherwise(batch, seen, refused)
        for key, result in refused.items():
            if key not in put_otherwise:
                yield from self._settled(batch, key, result.failure)
        wait = _over_limit(seen) and len(self._open) > 1
        for key, question in batch.waiting.items():
            self._tries[key] += not wait and key not in put_otherwise
            if self._tries[key] < self._asker.max_tries:
                (self._held if wait else again).append(question)
                continue
            failure = _failure(question, seen, reasons.get(key))
            self._ledger.failed(key, failure)
            yield key, failure
        left = len(batch.waiting)
        self._ledger.batches.close(batch.token, seen.status)
        del self._open[batch.token]
        if left:
            log.warning("batch %s %s, with %d requests unanswered", batch.batch_id, seen.status, left)

    def _settled(self, batch: _Batch, key: str, result: Answer | Failure) -> Iterator[Result]:
        """Brings a result of the batch into the ledger, and gives it out where it is waited for."""
        question = batch.waiting.pop(key, None)
        if question is None and self._ledger.batches.of(key) != batch.token:
            return  # of no request of this batch
        if isinstance(result, Answer):
            self._ledger.answered(key, result)
        else:
            result = Failure(question.record_id if question else key, result.reason, result.message)
            self._ledger.failed(key, result)
        if question is not None:
            yield key, result

    def _to_be_put_otherwise(self, batch: _Batch, seen: SeenBatch, refused: dict[str, Refused]) -> set[str]:
        """Learns from a batch without any answer what the server does not take; returns which of its requests are to be
        sent again for that. A parameter that the batch did without already is no reason.
        """
        found = set()
        names: set[str] = set()
        for key, refusal in refused.items():
            if new := [name for name in refusal.parameters if name not in batch.changed][:1]:
                found.add(key)
                names.update(new)
        for problem in seen.problems:
            if new := [name for name in problem.parameters if name not in batch.changed][:1]:
                found.update(batch.waiting)
                names.update(new)
        if learnt := self._asker.known.learn(frozenset(names)):
            log.warning("the server takes no %s; it is asked otherwise from now on", ", ".join(sorted(learnt)))
        return found

    def _lines_of(
        self, batch: _Batch, seen: SeenBatch
    ) -> Iterator[tuple[str, Answer | Failure | Refused | Unanswered]]:
        """What the batch's files say, of each request once, and which lines a refused file was refused for."""
        met: set[str] = set()
        unreadable = 0
        for file_id in filter(None, (seen.output_file_id, seen.error_file_id)):
            lines = self._server.lines(file_id)
            if lines is None:
                log.warning("batch %s: its file %s is not at the server", batch.batch_id, file_id)
            for line in lines or ():
                found = read_line(line, self._server.key)
                if found is None:
                    unreadable += bool(line.strip())
                elif found[0] not in met:
                    if not isinstance(found[1], Unanswered):
                        met.add(found[0])
                    yield found
        if unreadable:
            log.warning("batch %s: %d lines of its files cannot be read", batch.batch_id, unreadable)
        for problem in seen.problems:
            place = problem.line
            if place is not None and 0 < place <= len(batch.lines) and batch.lines[place - 1] not in met:
                key = batch.lines[place - 1]
                failure = Failure(key, "bad_request", f"the server cannot use this request: {problem.message}")
                yield key, Refused(failure, problem.parameters)


def _over_limit(seen: SeenBatch) -> bool:
    """Whether a batch failed because the account has too much in work."""
    return seen.status == "failed" and any(problem.code == _TOO_MUCH_IN_WORK for problem in seen.problems)


def _failure(question: Question, seen: SeenBatch, unanswered: Unanswered | None) -> Failure:
    """Why a question has no answer after its last batch."""
    if unanswered is not None:
        return Failure(question.record_id, unanswered.reason, unanswered.message)
    said = "; ".join(problem.message for problem in seen.problems[:3])
    reason = "no_answer" if seen.status == "completed" else f"batch_{seen.status}"
    message = f"the last of its batches, {seen.batch_id}, {seen.status} without it. {said}".strip()
    return Failure(question.record_id, reason, message)
