"""Files and batches of the test server, through the real client."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import openai
import pytest

import patience

pytestmark = pytest.mark.processes


def upload(client: openai.OpenAI, ids: list[str], **body: Any) -> Any:
    lines = []
    for custom_id in ids:
        messages = [{"role": "user", "content": f"How is {custom_id}?"}]
        request = {"model": "m", "messages": messages, **body}
        lines.append({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": request})
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return client.files.create(file=("questions.jsonl", content), purpose="batch")


def start_batch(client: openai.OpenAI, file_id: str, **more: Any) -> Any:
    return client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h", **more
    )


def finish(client: openai.OpenAI, batch: Any) -> tuple[Any, list[str]]:
    states = [batch.status]

    def ended() -> bool:
        states.append(client.batches.retrieve(batch.id).status)
        return states[-1] in ("completed", "failed", "expired", "cancelled")

    patience.wait_until(ended)
    return client.batches.retrieve(batch.id), [state for state, _ in groupby(states)]


def lines_of(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    return {line["custom_id"]: line for line in lines}


def test_files(serve):
    _, client = serve()
    content = b'{"a": 1}\r\n--\xff\r\n'
    file = client.files.create(file=("some name.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "some name.jsonl", "batch")
    assert client.files.content(file.id).read() == content
    other = upload(client, ["a"])
    assert [one.id for one in client.files.list()] == [other.id, file.id]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match=file.id):
        client.files.retrieve(file.id)
    assert upload(client, ["a"]).id not in (file.id, other.id)


def test_a_batch_answers_every_request(serve):
    server, client = serve()
    ids = [f"q{number}" for number in range(100)]
    batch = start_batch(client, upload(client, ids).id, metadata={"token": "abc"})
    batch, states = finish(client, batch)
    assert states[0] == "validating" and states[-1] == "completed" and batch.metadata == {"token": "abc"}
    assert (batch.request_counts.total, batch.request_counts.completed) == (100, 100)
    assert batch.error_file_id is None and batch.errors is None
    lines = lines_of(client, batch.output_file_id)
    assert sorted(lines) == sorted(ids) and list(lines) != ids
    assert lines["q7"]["response"]["body"]["choices"][0]["message"]["content"] == "Your question has 3 words."
    assert server.count()["answered"] == {"batch/other": 100}


def test_batches_are_listed_in_pages_newest_first(serve):
    _, client = serve(batch_s=0.0)
    file = upload(client, ["a"])
    ids = [start_batch(client, file.id).id for _ in range(7)]
    assert [batch.id for batch in client.batches.list(limit=3)] == ids[::-1]
    assert [batch.id for batch in client.batches.list(limit=3).data] == ids[:3:-1]


@pytest.mark.parametrize("state", ["expired", "cancelled"])
def test_batches_that_end_early_keep_what_they_have(serve, state):
    _, client = serve(faults={f"batch_{state}": 1.0})
    batch, _ = finish(client, start_batch(client, upload(client, [str(n) for n in range(100)]).id))
    assert batch.status == state
    done, undone = (lines_of(client, name) for name in (batch.output_file_id, batch.error_file_id))
    assert len(done) + len(undone) == 100 and 30 < len(done) < 70 and not set(done) & set(undone)
    assert {line["error"]["code"] for line in undone.values()} == {f"batch_{state}"}


def test_cancelling(serve):
    _, client = serve(batch_s=5.0, batch_answered=0.0)
    batch = start_batch(client, upload(client, ["a", "b"]).id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch, _ = finish(client, batch)
    assert batch.status == "cancelled" and batch.output_file_id is None
    assert list(lines_of(client, batch.error_file_id)) == ["b", "a"]
    with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
        client.batches.cancel(batch.id)


def test_partly_failed_batches_and_those_without_any_answer(serve):
    for answered in (0.5, 0.0):
        _, client = serve(faults={"batch_partly_failed": 1.0}, batch_answered=answered)
        batch, _ = finish(client, start_batch(client, upload(client, [str(n) for n in range(60)]).id))
        assert batch.status == "completed" and (batch.output_file_id is None) == (answered == 0.0)
        done, failed = (lines_of(client, name) for name in (batch.output_file_id, batch.error_file_id))
        assert len(done) + len(failed) == 60 == batch.request_counts.completed + batch.request_counts.failed
        assert {line["response"]["status_code"] for line in failed.values()} == {500}


def test_failed_batches_say_why(serve):
    _, client = serve(faults={"batch_failed": 1.0})
    batch, _ = finish(client, start_batch(client, upload(client, ["a"]).id))
    assert batch.status == "failed" and batch.errors.data[0].code == "token_limit_exceeded"
    assert batch.output_file_id is None and batch.error_file_id is None
    _, client = serve()
    batch, _ = finish(client, start_batch(client, upload(client, ["a", "b", "a"]).id))
    assert [(error.code, error.line) for error in batch.errors.data] == [("duplicate_custom_id", 3)]
    file = client.files.create(file=("x", b"[]\nnothing\n"), purpose="batch")
    batch, _ = finish(client, start_batch(client, file.id))
    assert [error.code for error in batch.errors.data] == ["invalid_json_line"] * 2
    with pytest.raises(openai.NotFoundError):
        start_batch(client, "file-none")


def test_faults_in_the_lines_of_a_batch(serve):
    _, client = serve(faults={"cut": 0.3, "batch_partly_failed": 0.0})
    ids = [str(number) for number in range(100)]
    batch, _ = finish(client, start_batch(client, upload(client, ids).id))
    reasons = [
        line["response"]["body"]["choices"][0]["finish_reason"]
        for line in lines_of(client, batch.output_file_id).values()
    ]
    assert 10 < reasons.count("length") < 50 and len(reasons) == 100
    _, client = serve()
    batch, _ = finish(client, start_batch(client, upload(client, ["a"], stream=True).id))
    assert lines_of(client, batch.error_file_id)["a"]["response"]["status_code"] == 400


def test_a_fault_hits_an_upload_by_what_it_says_and_not_by_how_its_form_is_divided(serve):
    def outcomes(ids: list[str]) -> list[str]:
        _, client = serve(faults={"server_error": 0.5})
        seen = []
        for _ in range(12):
            try:
                upload(client, ids)
                seen.append("stored")
            except openai.InternalServerError:
                seen.append("error")
        return seen

    assert outcomes(["a"]) == outcomes(["a"])  # the client draws a new boundary each time
    assert set(outcomes(["a"])) == {"stored", "error"} and outcomes(["a"]) != outcomes(["b"])
