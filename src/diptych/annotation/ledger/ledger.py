"""What was asked of models and what they answered: an SQLite file that several processes share, and that a kill at any
moment leaves whole.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from diptych.annotation.ledger.ledger_batches import Batches
from diptych.annotation.ledger.ledger_file import LedgerFile
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.storage.json_values import encodable, json_value

_CHUNK = 500  # keys in one statement
_PLAN_CHUNK = 20_000  # rows in one transaction
_LOGPROBS = "logprobs"  # in the column of the usage: beside its counts, of answers that have some


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one model at one price factor: of answers (and of requests whose answer was lost), or in flight."""

    model: str
    price_factor: float
    num_input_tokens: int
    num_output_tokens: int


class Ledger:
    """The ledger at `path`, made on first use with its folder. Construction does no I/O.

    A row is a question by its key, in one of five states: `pending`; `sent` (by an owner, perhaps in a batch); `done`;
    `invalid` (answered, but of no use); `failed` (no answer). What a method has changed survives a kill when it
    returns, and all but a claim a failure of the machine. Processes on one machine may share a ledger; a network folder
    will not do. Threads may share an instance.

    What was sent and then lost with its process counts as charged in full, by the estimate, when it is asked again;
    a failed question counts nothing. `batches` are those that questions were sent in.

    A context manager that closes it. What this process has sent alone is then abandoned; a later call opens it again.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = LedgerFile(path)
        self.path, self.batches = self._file.path, Batches(self._file)
        self._charged: dict[tuple[str, float], list[int]] = defaultdict(lambda: [0, 0])
        self._charges_read = 0

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; later calls open it again. What this process has sent alone is then abandoned."""
        self._file.close()

    # ------------------------------------------------------------------------------------------------ questions

    def plan(self, questions: Iterable[Question], model: str, price_factor: float = 1.0) -> None:
        """Adds questions as `pending`; of those that are there, only the limits and prices change, and only while they
        are pending. `questions` is taken from piece by piece.
        """
        rows = (
            (one.key, one.stage, encodable(one.record_id), model, one.num_input_tokens, one.max_tokens, price_factor)
            for one in questions
        )
        while chunk := list(islice(rows, _PLAN_CHUNK)):
            with self._file.writing() as connection:
                connection.executemany(
                    "INSERT INTO questions(key, stage, record_id, model, num_input_tokens, max_tokens, price_factor)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET max_tokens = excluded.max_tokens,"
                    " price_factor = excluded.price_factor WHERE state = 'pending'"
                    " AND (max_tokens, price_factor) != (excluded.max_tokens, excluded.price_factor)",
                    chunk,
                )

    def claim(self, key: str) -> bool:
        """Whether this process is the one to ask the question now, which is then `sent`. Of several that try, one gets
        it. False for what has an answer or has failed, for what is in an open batch, and for what a living process has.

        Raises:
            ValueError: the question is not planned.
        """
        self._file.beat_from_now_on()
        # A claim that is lost with the machine leaves the question `pending`, rightly.
        with self._file.writing(synchronous="NORMAL") as connection:
            row = connection.execute("SELECT state, owner, batch FROM questions WHERE key = ?", (key,)).fetchone()
            if row is None:
                raise ValueError(f"{self.path}: question {key} is not planned; call plan() first")
            state, owner, batch = row
            if state == "sent" and batch is None and not self._file.lives(owner):
                self._charge_lost([key])
            elif state != "pending":
                return False
            connection.execute(
                "UPDATE questions SET state = 'sent', owner = ?, batch = NULL WHERE key = ?", (self._file.owner, key)
            )
        return True

    def release(self, keys: Iterable[str], unpaid: bool = False) -> None:
        """Makes `pending` again what this process has sent alone and gave up; `unpaid` where it surely cost nothing."""
        with self._file.writing() as connection:
            for chunk in _chunks(keys):
                own = f"state = 'sent' AND batch IS NULL AND owner = ? AND key IN ({_places(chunk)})"
                rows = connection.execute(f"SELECT key FROM questions WHERE {own}", (self._file.owner, *chunk))
                found = [key for (key,) in rows]
                if not unpaid:
                    self._charge_lost(found)
                connection.executemany(
                    "UPDATE questions SET state = 'pending' WHERE key = ?", [(key,) for key in found]
                )

    def settled(self, keys: Iterable[str]) -> dict[str, Answer | Failure]:
        """Those of the questions that need not be asked: the answers, invalid ones too, and the failures."""
        results: dict[str, Answer | Failure] = {}
        if not self.path.exists():
            return results
        for chunk in _chunks(keys):
            for key, record_id, state, text, finish_reason, usage, latency_s, reason, message in self._file.read(
                "SELECT key, record_id, state, text, finish_reason, usage, latency_s, reason, message FROM questions"
                f" WHERE state IN ('done', 'invalid', 'failed') AND key IN ({_places(chunk)})",
                chunk,
            ):
                if state == "failed":
                    results[key] = Failure(record_id, reason, message)
                else:
                    counts = json_value(usage)
                    logprobs = counts.pop(_LOGPROBS) if isinstance(counts.get(_LOGPROBS), list) else ()
                    results[key] = Answer(text, finish_reason, counts, latency_s, tuple(logprobs))
        return results

    def answered(self, key: str, answer: Answer) -> None:
        """The question is `done`, and what the server counted is charged; where it counted nothing, the estimate of the
        question and a token for every three bytes of the answer. An answer that is there already stays.
        """
        self.settle([(key, answer)])

    def failed(self, key: str, failure: Failure) -> None:
        """There is no answer, and why; it is not asked again before `forget_failures`."""
        self.settle([(key, failure)])

    def settle(self, results: Iterable[tuple[str, Answer | Failure]]) -> None:
        """`answered` and `failed` for many, in one write: to reach the disk takes as long for one as for a hundred."""
        with self._file.writing() as connection:
            for key, result in results:
                if isinstance(result, Failure):
                    connection.execute(
                        "UPDATE questions SET state = 'failed', reason = ?, message = ? WHERE key = ?"
                        " AND state IN ('pending', 'sent')",
                        (encodable(result.reason), encodable(result.message), key),
                    )
                    continue
                beside = {_LOGPROBS: [dict(place) for place in result.logprobs]} if result.logprobs else {}
                text, usage = encodable(result.text), json.dumps({**result.usage, **beside})
                changed = connection.execute(
                    "UPDATE questions SET state = 'done', text = ?, finish_reason = ?, usage = ?, latency_s = ?,"
                    " reason = NULL, message = NULL WHERE key = ? AND state NOT IN ('done', 'invalid')",
                    (text, encodable(result.finish_reason), usage, result.latency_s, key),
                ).rowcount
                num_input = result.usage.get("prompt_tokens")
                num_output = result.usage.get("completion_tokens", -(-len(text.encode()) // 3))
                if changed:
                    connection.execute(
                        "INSERT INTO charges(stage, model, price_factor, num_input_tokens, num_output_tokens, lost)"
                        " SELECT stage, model, price_factor, coalesce(?, num_input_tokens), ?, 0 FROM questions"
                        " WHERE key = ?",
                        (num_input, num_output, key),
                    )

    def invalid(self, key: str, message: str) -> None:
        """The answer is of no use; it is kept, with the reason."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE questions SET state = 'invalid', message = ? WHERE key = ? AND state = 'done'",
                (encodable(message), key),
            )

    def forget_failures(self, stage: str) -> None:
        """What failed in the stage may be asked again."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE questions SET state = 'pending', reason = NULL, message = NULL, batch = NULL"
                " WHERE stage = ? AND state = 'failed'",
                (stage,),
            )

    def take_answers(self, path: str | Path, stage: str) -> None:
        """Takes over the stage's answers from another ledger, the useless ones too; they are charged there, not here.
        What is on this one already stays.

        Raises:
            ValueError: there is no such ledger, or it is damaged.
        """
        if not Path(path).is_file():
            raise ValueError(f"{path}: there is no ledger to take answers from")
        columns = "key, stage, record_id, model, num_input_tokens, max_tokens, price_factor, state, text,"
        columns += " finish_reason, usage, latency_s, message"
        other = LedgerFile(path)
        try:
            rows = other.read(
                f"SELECT {columns} FROM questions WHERE stage = ? AND state IN ('done', 'invalid') ORDER BY key",
                (stage,),
            )
        finally:
            other.close()
        with self._file.writing() as connection:
            connection.executemany(
                f"INSERT INTO questions({columns}) VALUES ({_places(columns.split(','))}) ON CONFLICT(key) DO NOTHING",
                rows,
            )

    # ------------------------------------------------------------------------------------------------ counts

    def counts(self) -> dict[str, dict[str, int]]:
        """How many questions of each stage are in each state; states without any are left out."""
        counts: dict[str, dict[str, int]] = {}
        for stage, state, number in self._file.read(
            "SELECT stage, state, count(*) FROM questions GROUP BY stage, state ORDER BY stage, state"
        ):
            counts.setdefault(stage, {})[state] = number
        return counts

    def usage(self, stage: str) -> dict[str, int]:
        """`requests`, `input_tokens` and `output_tokens` that the stage was charged, and `lost`: how many of these
        requests' answers were lost with a process.
        """
        ((requests, num_input, num_output, lost),) = self._file.read(
            "SELECT count(*), total(num_input_tokens), total(num_output_tokens), total(lost) FROM charges"
            " WHERE stage = ?",
            (stage,),
        )
        return {
            "requests": requests,
            "input_tokens": int(num_input),
            "output_tokens": int(num_output),
            "lost": int(lost),
        }

    def spent(self, stage: str | None = None) -> list[Tokens]:
        """What was charged, in all stages or one."""
        if stage is not None:
            rows = self._file.read(
                "SELECT model, price_factor, sum(num_input_tokens), sum(num_output_tokens) FROM charges"
                " WHERE stage = ? GROUP BY model, price_factor",
                (stage,),
            )
            return [Tokens(*row) for row in rows]
        with self._file.lock:  # charges are only added: what was read before need not be read again
            for number, model, factor, num_input, num_output in self._file.read(
                "SELECT id, model, price_factor, num_input_tokens, num_output_tokens FROM charges WHERE id > ?",
                (self._charges_read,),
            ):
                self._charged[model, factor][0] += num_input
                self._charged[model, factor][1] += num_output
                self._charges_read = number
            return [Tokens(*of, *sums) for of, sums in self._charged.items()]

    def in_flight(self) -> list[Tokens]:
        """What is sent and not answered, at its most: the estimates of the questions and the limits of the answers."""
        rows = self._file.read(
            "SELECT model, price_factor, sum(num_input_tokens), sum(max_tokens) FROM questions WHERE state = 'sent'"
            " GROUP BY model, price_factor"
        )
        return [Tokens(*row) for row in rows]

    def _charge_lost(self, keys: Iterable[str]) -> None:
        self._file.open().executemany(
            "INSERT INTO charges(stage, model, price_factor, num_input_tokens, num_output_tokens, lost)"
            " SELECT stage, model, price_factor, num_input_tokens, max_tokens, 1 FROM questions WHERE key = ?",
            [(key,) for key in keys],
        )


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _places(chunk: Sequence[str]) -> str:
    return ",".join("?" * len(chunk))
