"""Files and batches in OpenAI's form: a batch's life, its output and error files, and every end that it may have."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diptych.storage.json_values import json_value
from diptych.synthetic.server.faults import BATCH, Faults, chance

MAX_LINES, MAX_BYTES = 50_000, 200_000_000
ENDPOINT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")
_LINES_AT_A_TIME = 20  # answered before other requests have a turn
_WINDOW_S = 24 * 3600

# The body of a line, its content's digest -> status and response body.
AnswerLine = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class NotFound(ValueError):
    """No file or batch has this id."""


@dataclass(slots=True)
class _Batch:
    """`record` is what clients see."""

    record: dict[str, Any]
    cancelling: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Batches:
    """All files and batches of a server. A batch takes `duration_s` and ends as its fault says, or completed.

    What a batch that expires or is cancelled answers before, and what a partly failed one answers, is the share
    `answered`: all other requests are in its error file. A batch without answers has no output file.
    """

    def __init__(self, answer_line: AnswerLine, faults: Faults, duration_s: float, answered: float) -> None:
        self._answer_line, self._faults = answer_line, faults
        self._duration_s, self._answered = duration_s, answered
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, _Batch] = {}
        self._num_files = 0  # ever: an id is never given twice

    # ---------------------------------------------------------------------------------------------------- files

    def add_file(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Stores a file and returns its record."""
        self._num_files += 1
        record: dict[str, Any] = {
            "id": f"file-{self._num_files:06d}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[record["id"]] = (record, content)
        return record

    def file(self, file_id: str) -> tuple[dict[str, Any], bytes]:
        """A file's record and content. Raises NotFound."""
        if file_id not in self._files:
            raise NotFound(f"No such File object: {file_id}")
        return self._files[file_id]

    def files(self) -> list[dict[str, Any]]:
        """All records, newest first."""
        return [record for record, _ in reversed(self._files.values())]

    def delete_file(self, file_id: str) -> dict[str, Any]:
        """Forgets a file. Raises NotFound."""
        self.file(file_id)
        del self._files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}

    # -------------------------------------------------------------------------------------------------- batches

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Starts a batch. Raises NotFound for its file, and ValueError for an endpoint that is not served."""
        if body.get("endpoint") != ENDPOINT:
            raise ValueError(f"endpoint {body.get('endpoint')!r}: this server has batches for {ENDPOINT} only")
        self.file(str(body.get("input_file_id")))
        now = int(time.time())
        record: dict[str, Any] = {"id": f"batch_{len(self._batches) + 1:06d}", "object": "batch", "endpoint": ENDPOINT}
        record |= dict.fromkeys(("errors", "output_file_id", "error_file_id", "in_progress_at"))
        record |= {f"{state}_at": None for state in ("finalizing", "cancelling", *OVER)}
        record |= {
            "input_file_id": body["input_file_id"],
            "completion_window": body.get("completion_window"),
            "status": "validating",
            "created_at": now,
            "expires_at": now + _WINDOW_S,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": body.get("metadata"),
        }
        batch = self._batches[record["id"]] = _Batch(record)
        batch.task = asyncio.get_running_loop().create_task(self._run(batch))
        return record

    def batch(self, batch_id: str) -> dict[str, Any]:
        """A batch's record as it is now. Raises NotFound."""
        if batch_id not in self._batches:
            raise NotFound(f"No batch found with id '{batch_id}'.")
        return self._batches[batch_id].record

    def batches(self) -> list[dict[str, Any]]:
        """All records, newest first."""
        return [batch.record for batch in reversed(self._batches.values())]

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Asks a batch to stop. Raises NotFound, and ValueError where it is over."""
        record = self.batch(batch_id)
        if record["status"] in OVER:
            raise ValueError(f"Cannot cancel a batch with status '{record['status']}'.")
        _enter(record, "cancelling")
        self._batches[batch_id].cancelling.set()
        return record

    async def _run(self, batch: _Batch) -> None:
        record = batch.record
        _, content = self.file(record["input_file_id"])
        fault = self._faults.draw(content, BATCH)
        cancelled = await _set_within(batch.cancelling, self._duration_s * 0.2)
        requests, errors = _read_lines(content)
        if fault == "batch_failed":
            errors = [_problem("token_limit_exceeded", "Enqueued token limit reached for this organization.", None)]
        if errors:
            record["errors"] = {"object": "list", "data": errors}
            _enter(record, "failed")
            return
        record["request_counts"]["total"] = len(requests)
        if not cancelled:
            _enter(record, "in_progress")
            cancelled = await _set_within(batch.cancelling, self._duration_s * 0.8)
        end = "cancelled" if cancelled else fault.removeprefix("batch_") or "completed"
        lines = await self._answer(record, requests, end)
        if end in ("completed", "partly_failed"):
            _enter(record, "finalizing")
        for name, kept in zip(("output", "error"), lines, strict=True):
            if kept:
                text = "".join(json.dumps(line) + "\n" for line in kept)
                stored = self.add_file(f"{record['id']}_{name}.jsonl", "batch_output", text.encode())
                record[f"{name}_file_id"] = stored["id"]
        _enter(record, "completed" if end == "partly_failed" else end)

    async def _answer(
        self, record: dict[str, Any], requests: list[dict[str, Any]], end: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of the output and of the error file, each in an order of its own, as servers have it."""
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for number, request in enumerate(requests):
            if number % _LINES_AT_A_TIME == 0:
                await asyncio.sleep(0)
            draw = chance(record["id"], request["custom_id"])
            line = {"id": f"batch_req_{record['id'][6:]}_{number:06d}", "custom_id": request["custom_id"]}
            if end in ("expired", "cancelled") and draw >= self._answered:
                message = f"This request could not be executed before the batch was {end}."
                errors.append({**line, "response": None, "error": {"code": f"batch_{end}", "message": message}})
                continue
            if end == "partly_failed" and draw >= self._answered:
                status, body = 500, {"error": {"message": "The server had an error.", "type": "server_error"}}
            else:
                status, body = self._answer_line(request["body"])
            response = {"status_code": status, "request_id": line["id"], "body": body}
            (output if status == 200 else errors).append({**line, "response": response, "error": None})
            record["request_counts"].update(completed=len(output), failed=len(errors))
        record["request_counts"].update(completed=len(output), failed=len(errors))
        return output[::-1], errors[::-1]


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


def _enter(record: dict[str, Any], state: str) -> None:
    record["status"] = state
    record[f"{state}_at"] = int(time.time())


def _problem(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


def _read_lines(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of an input file, and what is wrong with it."""
    lines = content.decode("utf-8").splitlines()
    if not lines or len(lines) > MAX_LINES or len(content) > MAX_BYTES:
        limits = f"a batch has 1 to {MAX_LINES} requests in at most {MAX_BYTES} bytes"
        return [], [_problem("invalid_file", f"{limits}, not {len(lines)} in {len(content)}", None)]
    requests: dict[str, dict[str, Any]] = {}
    errors = []
    for number, line in enumerate(lines, 1):
        try:
            request = json_value(line)
            custom_id, body = request["custom_id"], request["body"]
            if (request["method"], request["url"]) != ("POST", ENDPOINT) or not isinstance(body, dict):
                errors.append(_problem("invalid_request", f"want a POST to {ENDPOINT} with a body", number))
            elif custom_id in requests:
                errors.append(_problem("duplicate_custom_id", f"The custom_id '{custom_id}' is used twice.", number))
            requests[custom_id] = request
        except (ValueError, KeyError, TypeError) as error:
            errors.append(_problem("invalid_json_line", f"This line is no request: {error!r}", number))
    return list(requests.values()), errors
