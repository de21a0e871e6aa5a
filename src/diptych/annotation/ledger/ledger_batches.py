"""The part of the ledger about batches: which were sent, how the server calls them, and what is in each."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from diptych.annotation.ledger.ledger_file import LedgerFile


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose end is not known. `batch_id` is None where the process stopped before the server's answer came
    down; `owner_lives` says whether the process that opened it still runs (this one or another).
    """

    token: str
    batch_id: str | None
    input_file_id: str
    owner_lives: bool


class Batches:
    """Batches of questions in the ledger's file, from before they are sent until they have ended. `Ledger` says what
    survives what.
    """

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def open(self, keys: Iterable[str], input_file_id: str) -> str:
        """Says that questions which this process has claimed are about to be sent as one batch; returns its token.

        Raises:
            ValueError: a question is not this process's, or is in a batch already; then nothing is changed.
        """
        token = secrets.token_hex(8)
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO batches(token, input_file_id, owner) VALUES (?, ?, ?)",
                (token, input_file_id, self._file.owner),
            )
            for key in keys:
                taken = connection.execute(
                    "UPDATE questions SET batch = ? WHERE key = ? AND state = 'sent' AND owner = ? AND batch IS NULL",
                    (token, key, self._file.owner),
                ).rowcount
                if not taken:
                    raise ValueError(
                        f"{self._file.path}: question {key} is not claimed by this process; call claim() first"
                    )
        return token

    def name(self, token: str, batch_id: str) -> None:
        """The server calls the batch so."""
        with self._file.writing() as connection:
            connection.execute("UPDATE batches SET batch_id = ? WHERE token = ?", (batch_id, token))

    def unfinished(self) -> list[OpenBatch]:
        """The batches that are not closed, of all processes, in the order in which they were opened."""
        rows = self._file.read(
            "SELECT token, batch_id, input_file_id, owner FROM batches WHERE state IS NULL ORDER BY rowid"
        )
        return [OpenBatch(token, name, file_id, self._file.lives(owner)) for token, name, file_id, owner in rows]

    def close(self, token: str, state: str) -> None:
        """The batch has come to this end; its questions that have no answer and no failure are `pending` again."""
        with self._file.writing() as connection:
            connection.execute("UPDATE batches SET state = ? WHERE token = ?", (state, token))
            connection.execute(
                "UPDATE questions SET state = 'pending', batch = NULL WHERE batch = ? AND state = 'sent'", (token,)
            )

    def of(self, key: str) -> str | None:
        """The token of the batch that the question is in, or was answered in; None for one that is in none."""
        rows = self._file.read("SELECT batch FROM questions WHERE key = ?", (key,))
        return rows[0][0] if rows else None
