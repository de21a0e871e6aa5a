"""What was asked of models and what they answered: an SQLite file that several processes share, and that a kill at any
moment leaves whole.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from diptych.contracts import Answer, Failure, Question

_BEAT_S, _DEAD_AFTER_S = 5.0, 60.0  # a live process says so this often, and is given up after this long a silence
_BUSY_S = 60.0  # how long a write waits for other processes
_CHUNK = 500  # keys in one statement
_PLAN_CHUNK = 20_000  # rows in one transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions(
    key TEXT PRIMARY KEY, stage TEXT NOT NULL, record_id TEXT NOT NULL, model TEXT NOT NULL,
    num_input_tokens INTEGER NOT NULL, max_tokens INTEGER NOT NULL, price_factor REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', text TEXT, finish_reason TEXT, usage TEXT, latency_s REAL,
    reason TEXT, message TEXT, owner TEXT, batch TEXT);
CREATE INDEX IF NOT EXISTS in_flight ON questions(owner) WHERE state = 'sent';
CREATE INDEX IF NOT EXISTS of_batch ON questions(batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS charges(
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, model TEXT NOT NULL, price_factor REAL NOT NULL,
    num_input_tokens INTEGER NOT NULL, num_output_tokens INTEGER NOT NULL, lost INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owners(owner TEXT PRIMARY KEY, host TEXT, pid INTEGER, started TEXT, beat REAL);
CREATE TABLE IF NOT EXISTS batches(
    token TEXT PRIMARY KEY, input_file_id TEXT NOT NULL, batch_id TEXT, state TEXT, owner TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose end is not known. `batch_id` is None where the process stopped before the server's answer came
    down; `owner_lives` says whether the process that opened it still runs (this one or another).
    """

    token: str
    batch_id: str | None
    input_file_id: str
    owner_lives: bool


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
    a failed question counts nothing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._owner = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._beating: threading.Event | None = None
        self._charged: dict[tuple[str, float], list[int]] = defaultdict(lambda: [0, 0])
        self._charges_read = 0

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ questions

    def plan(self, questions: Iterable[Question], model: str, price_factor: float = 1.0) -> None:
        """Adds questions as `pending`; of those that are there, only the limits and prices change, and only while they
        are pending. `questions` is taken from piece by piece.
        """
        rows = (
            (one.key, one.stage, one.record_id, model, one.num_input_tokens, one.max_tokens, price_factor)
            for one in questions
        )
        while chunk := list(islice(rows, _PLAN_CHUNK)):
            with self._writing() as connection:
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
        self._beat_from_now_on()
        with self._writing(synchronous="NORMAL") as connection:  # lost with the machine it would be `pending`, rightly
            row = connection.execute("SELECT state, owner, batch FROM questions WHERE key = ?", (key,)).fetchone()
            if row is None:
                raise ValueError(f"{self.path}: question {key} is not planned; call plan() first")
            state, owner, batch = row
            if state == "sent" and batch is None and not self._lives(owner):
                self._charge_lost([key])
            elif state != "pending":
                return False
            connection.execute(
                "UPDATE questions SET state = 'sent', owner = ?, batch = NULL WHERE key = ?", (self._owner, key)
            )
        return True

    def release(self, keys: Iterable[str], unpaid: bool = False) -> None:
        """Makes `pending` again what this process has sent alone and gave up; `unpaid` where it surely cost nothing."""
        with self._writing() as connection:
            for chunk in _chunks(keys):
                own = f"state = 'sent' AND batch IS NULL AND owner = ? AND key IN ({_places(chunk)})"
                found = [
                    key
                    for (key,) in connection.execute(f"SELECT key FROM questions WHERE {own}", (self._owner, *chunk))
                ]
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
            for key, record_id, state, text, finish_reason, usage, latency_s, reason, message in self._read(
                "SELECT key, record_id, state, text, finish_reason, usage, latency_s, reason, message FROM questions"
                f" WHERE state IN ('done', 'invalid', 'failed') AND key IN ({_places(chunk)})",
                chunk,
            ):
                if state == "failed":
                    results[key] = Failure(record_id, reason, message)
                else:
                    results[key] = Answer(text, finish_reason, json.loads(usage), latency_s)
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
        with self._writing() as connection:
            for key, result in results:
                if isinstance(result, Failure):
                    connection.execute(
                        "UPDATE questions SET state = 'failed', reason = ?, message = ? WHERE key = ?"
                        " AND state IN ('pending', 'sent')",
                        (result.reason, result.message, key),
                    )
                    continue
                usage = json.dumps(dict(result.usage))
                changed = connection.execute(
                    "UPDATE questions SET state = 'done', text = ?, finish_reason = ?, usage = ?, latency_s = ?,"
                    " reason = NULL, message = NULL WHERE key = ? AND state NOT IN ('done', 'invalid')",
                    (result.text, result.finish_reason, usage, result.latency_s, key),
                ).rowcount
                num_input = result.usage.get("prompt_tokens")
                num_output = result.usage.get("completion_tokens", -(-len(result.text.encode()) // 3))
                if changed:
                    connection.execute(
                        "INSERT INTO charges(stage, model, price_factor, num_input_tokens, num_output_tokens, lost)"
                        " SELECT stage, model, price_factor, coalesce(?, num_input_tokens), ?, 0 FROM questions"
                        " WHERE key = ?",
                        (num_input, num_output, key),
                    )

    def invalid(self, key: str, message: str) -> None:
        """The answer is of no use; it is kept, with the reason."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE questions SET state = 'invalid', message = ? WHERE key = ? AND state = 'done'", (message, key)
            )

    def forget_failures(self, stage: str) -> None:
        """What failed in the stage may be asked again."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE questions SET state = 'pending', reason = NULL, message = NULL, batch = NULL"
                " WHERE stage = ? AND state = 'failed'",
                (stage,),
            )

    # ------------------------------------------------------------------------------------------------ batches

    def open_batch(self, keys: Iterable[str], input_file_id: str) -> str:
        """Says that questions which this process has claimed are about to be sent as one batch; returns its token.

        Raises:
            ValueError: a question is not this process's, or is in a batch already; then nothing is changed.
        """
        token = secrets.token_hex(8)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO batches(token, input_file_id, owner) VALUES (?, ?, ?)", (token, input_file_id, self._owner)
            )
            for key in keys:
                taken = connection.execute(
                    "UPDATE questions SET batch = ? WHERE key = ? AND state = 'sent' AND owner = ? AND batch IS NULL",
                    (token, key, self._owner),
                ).rowcount
                if not taken:
                    raise ValueError(f"{self.path}: question {key} is not claimed by this process; call claim() first")
        return token

    def name_batch(self, token: str, batch_id: str) -> None:
        """The server calls the batch so."""
        with self._writing() as connection:
            connection.execute("UPDATE batches SET batch_id = ? WHERE token = ?", (batch_id, token))

    def open_batches(self) -> list[OpenBatch]:
        """The batches that are not closed, of all processes, in the order in which they were opened."""
        rows = self._read(
            "SELECT token, batch_id, input_file_id, owner FROM batches WHERE state IS NULL ORDER BY rowid"
        )
        return [OpenBatch(token, name, file_id, self._lives(owner)) for token, name, file_id, owner in rows]

    def close_batch(self, token: str, state: str) -> None:
        """The batch has come to this end; its questions that have no answer and no failure are `pending` again."""
        with self._writing() as connection:
            connection.execute("UPDATE batches SET state = ? WHERE token = ?", (state, token))
            connection.execute(
                "UPDATE questions SET state = 'pending', batch = NULL WHERE batch = ? AND state = 'sent'", (token,)
            )

    def batch_of(self, key: str) -> str | None:
        """The token of the batch that the question is in, or was answered in; None for one that is in none."""
        rows = self._read("SELECT batch FROM questions WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    # ------------------------------------------------------------------------------------------------ counts

    def counts(self) -> dict[str, dict[str, int]]:
        """How many questions of each stage are in each state; states without any are left out."""
        counts: dict[str, dict[str, int]] = {}
        for stage, state, number in self._read(
            "SELECT stage, state, count(*) FROM questions GROUP BY stage, state ORDER BY stage, state"
        ):
            counts.setdefault(stage, {})[state] = number
        return counts

    def usage(self, stage: str) -> dict[str, int]:
        """`requests`, `input_tokens` and `output_tokens` that the stage was charged, and `lost`: how many of these
        requests' answers were lost with a process.
        """
        ((requests, num_input, num_output, lost),) = self._read(
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
            rows = self._read(
                "SELECT model, price_factor, sum(num_input_tokens), sum(num_output_tokens) FROM charges"
                " WHERE stage = ? GROUP BY model, price_factor",
                (stage,),
            )
            return [Tokens(*row) for row in rows]
        with self._lock:  # charges are only added: what was read before need not be read again
            for number, model, factor, num_input, num_output in self._read(
                "SELECT id, model, price_factor, num_input_tokens, num_output_tokens FROM charges WHERE id > ?",
                (self._charges_read,),
            ):
                self._charged[model, factor][0] += num_input
                self._charged[model, factor][1] += num_output
                self._charges_read = number
            return [Tokens(*of, *sums) for of, sums in self._charged.items()]

    def in_flight(self) -> list[Tokens]:
        """What is sent and not answered, at its most: the estimates of the questions and the limits of the answers."""
        rows = self._read(
            "SELECT model, price_factor, sum(num_input_tokens), sum(max_tokens) FROM questions WHERE state = 'sent'"
            " GROUP BY model, price_factor"
        )
        return [Tokens(*row) for row in rows]

    # ------------------------------------------------------------------------------------------------ the file

    def close(self) -> None:
        """Closes the file; later calls open it again. What this process has sent alone is then abandoned."""
        with self._lock:
            if self._beating is not None:
                self._beating.set()
                with self._writing() as connection:
                    connection.execute("DELETE FROM owners WHERE owner = ?", (self._owner,))
                self._beating, self._owner = None, secrets.token_hex(8)
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            except sqlite3.DatabaseError as error:
                raise ValueError(f"{self.path} cannot be used as a ledger ({error}); name another file") from None
            self._connection = connection
        return self._connection

    def _read(self, statement: str, values: Sequence[object] = ()) -> list[tuple]:
        with self._lock:
            return self._open().execute(statement, values).fetchall()

    @contextmanager
    def _writing(self, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _charge_lost(self, keys: Iterable[str]) -> None:
        self._open().executemany(
            "INSERT INTO charges(stage, model, price_factor, num_input_tokens, num_output_tokens, lost)"
            " SELECT stage, model, price_factor, num_input_tokens, max_tokens, 1 FROM questions WHERE key = ?",
            [(key,) for key in keys],
        )

    # ------------------------------------------------------------------------------------------------ who lives

    def _lives(self, owner: str | None) -> bool:
        if owner == self._owner:
            return self._beating is not None
        rows = self._read("SELECT host, pid, started, beat FROM owners WHERE owner = ?", (owner,))
        if not rows or time.time() - rows[0][3] > _DEAD_AFTER_S:
            return False
        host, pid, started, _ = rows[0]
        return host != socket.gethostname() or _started(pid) == started

    def _beat_from_now_on(self) -> None:
        with self._lock:
            if self._beating is not None:
                return
            self._beating = threading.Event()
            with self._writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)",
                    (self._owner, socket.gethostname(), os.getpid(), _started(os.getpid()), time.time()),
                )
            threading.Thread(target=self._beat, args=(self._beating,), daemon=True, name="ledger").start()

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(_BEAT_S):
            with self._lock:
                if stopped.is_set():
                    return
                with self._writing() as connection:
                    connection.execute("UPDATE owners SET beat = ? WHERE owner = ?", (time.time(), self._owner))


def _started(pid: int) -> str | None:
    """When the process began, in the kernel's words, since its number may be given again; None when it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no such folder on this system
        return "unknown"
    return None if status[0] in ("Z", "X") else status[19]


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _places(chunk: Sequence[str]) -> str:
    return ",".join("?" * len(chunk))
