"""The batch asker against a server on loopback: several batches, every end of a batch, and kills at every step."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("openai")

import patience
from diptych.annotation.askers.batch import BatchAsker
from diptych.annotation.askers.batch_results import Unanswered, read_line
from diptych.annotation.askers.batch_server import BatchServer, seen_batch
from diptych.annotation.ledger.ledger import Ledger as DurableLedger
from diptych.annotation.ledger.ledger_batches import Batches
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.taken_parameters import taken_parameters

pytestmark = pytest.mark.processes


class Ledger(DurableLedger):
    """Does not wait for the disk: a killed process loses nothing by that, only a killed machine."""

    def _open(self):
        opened = self._connection is not None
        connection = super()._open()
        if not opened:
            connection.execute("PRAGMA synchronous = OFF")
        return connection


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-secret")
    taken_parameters.cache_clear()


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """The server as a process of its own, so that a test may fork; its base URL."""
    quick = [] if any(option.startswith("batch_s=") for option in options) else ["batch_s=0.05"]
    command = [sys.executable, "-m", "diptych.synthetic.server", *quick, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def faultless() -> Iterator[str]:
    with serving() as base_url:
        yield base_url


_EARLIER: dict[str, int] = {}  # requests of earlier tests, by server


@pytest.fixture
def base_url(faultless: str) -> str:
    _EARLIER[faultless] = counted(faultless)["started"].get("batch/other", 0)
    return faultless


def counted(base_url: str) -> dict:
    """How many requests in batches the server has begun and answered."""
    with urllib.request.urlopen(f"{base_url.removesuffix('/v1')}/count") as response:
        return json.load(response)


def num_started(base_url: str) -> int:
    return counted(base_url)["started"]["batch/other"] - _EARLIER.get(base_url, 0)


def questions(number: int, max_tokens: int = 50) -> list[Question]:
    def messages(place: int) -> Callable:
        return lambda: [{"role": "user", "content": " ".join(["word"] * (place % 7)) + f" {place}"}]

    return [
        Question(f"{place:064d}", "describe", f"r{place}", messages(place), max_tokens, 10) for place in range(number)
    ]


def asker(base_url: str, **settings) -> BatchAsker:
    return BatchAsker("tiny", base_url, "TEST_KEY", **{"poll_s": 0.02, **settings})


def ask(base_url: str, ledger: Ledger, asked: list[Question], **settings) -> dict[str, Answer | Failure]:
    ledger.plan(asked, "tiny", 0.5)
    results = list(asker(base_url, **settings).ask(asked, ledger))
    assert len({key for key, _ in results}) == len(results), "each question gets one result"
    return dict(results)


def states(ledger: Ledger) -> dict[str, int]:
    return ledger.counts()["describe"]


# ---------------------------------------------------------------------------------------------------- all that is sent


def test_several_batches_lose_nothing(base_url, tmp_path):
    """The published code keeps only the last 1,000 of these."""
    asked = questions(2500)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = ask(base_url, ledger, asked, max_requests=1000)
        assert num_started(base_url) == 2500
        assert states(ledger) == {"done": 2500} and ledger.batches.unfinished() == []
        assert len({ledger.batches.of(one.key) for one in asked}) == 3
    assert {one.key for one in asked} == results.keys()
    assert results[asked[8].key].text == "Your question has 2 words."
    assert all(answer.finish_reason == "stop" and answer.usage["prompt_tokens"] for answer in results.values())


def test_files_stay_below_their_limit_in_bytes(base_url, tmp_path, monkeypatch):
    sizes = []
    upload = BatchServer.upload

    def noted(self, file):
        file.seek(0)
        sizes.append(len(file.read()))
        return upload(self, file)

    monkeypatch.setattr(BatchServer, "upload", noted)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ask(base_url, ledger, questions(40), max_bytes=3000)) == 40
    assert len(sizes) > 2 and max(sizes) <= 3000


def test_what_cannot_be_sent_fails_alone(base_url, tmp_path):
    def unreadable():
        raise ValueError("a.jpg is no picture")

    good, bad, large = questions(3)
    bad = Question(bad.key, bad.stage, "bad", unreadable, 50, 10)
    large = Question(large.key, large.stage, "large", lambda: [{"role": "user", "content": "w " * 2000}], 50, 10)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = ask(base_url, ledger, [good, bad, large], max_bytes=1000)
        assert states(ledger) == {"done": 1, "failed": 2}
    assert results[bad.key] == Failure("bad", "unreadable", "a.jpg is no picture")
    assert results[large.key].reason == "too_large" and isinstance(results[good.key], Answer)


def test_settled_questions_and_those_of_others_are_left_out(base_url, tmp_path):
    asked = questions(6)
    with Ledger(tmp_path / "l.sqlite") as ledger, Ledger(tmp_path / "l.sqlite") as other:
        ask(base_url, ledger, asked[:2])
        other.plan(asked, "tiny")
        assert other.claim(asked[2].key)
        assert ask(base_url, ledger, asked).keys() == {one.key for one in asked[3:]}
        assert num_started(base_url) == 5


# ---------------------------------------------------------------------------------------------------- ends of batches


@pytest.mark.parametrize("end", ["batch_expired", "batch_cancelled", "batch_partly_failed"])
def test_partial_batches_are_collected_and_the_rest_is_sent_again(tmp_path, end):
    with (
        serving(f"faults={end}=1.0", "batch_answered=0.5") as base_url,
        Ledger(tmp_path / "ledger.sqlite") as ledger,
    ):
        results = ask(base_url, ledger, questions(100), max_tries=3)
        answers = [result for result in results.values() if isinstance(result, Answer)]
        failures = [result for result in results.values() if isinstance(result, Failure)]
        assert counted(base_url)["answered"]["batch/other"] == len(answers), "nothing is asked twice"
        assert states(ledger) == {"done": len(answers), "failed": len(failures)}
        assert ledger.batches.unfinished() == []
    assert len(results) == 100 and 75 <= len(answers) < 100
    expected = {"batch_expired": "batch_expired", "batch_cancelled": "batch_cancelled"}.get(end, "server_error")
    assert {failure.reason for failure in failures} == {expected}
    assert all(failure.record_id.startswith("r") and failure.message for failure in failures)


@pytest.mark.parametrize(("end", "reason"), [("batch_failed", "batch_failed"), ("batch_expired", "batch_expired")])
def test_batches_without_any_answer_come_to_an_end(tmp_path, end, reason):
    """Such a batch has no output file."""
    with (
        serving(f"faults={end}=1.0", "batch_answered=0") as base_url,
        Ledger(tmp_path / "ledger.sqlite") as ledger,
    ):
        results = ask(base_url, ledger, questions(7), max_requests=3, max_tries=2)
        assert states(ledger) == {"failed": 7}
    assert {result.reason for result in results.values()} == {reason}


def _unknown_part() -> list:
    return [{"role": "user", "content": [{"type": "image_url"}]}]


def test_requests_that_the_server_refuses_are_not_sent_again(base_url, tmp_path):
    asked = questions(4)
    refused = Question(
        asked[1].key, "describe", "r1", lambda: [{"role": "user", "content": [{"type": "image_url"}]}], 5, 1
    )
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = ask(base_url, ledger, [asked[0], refused, *asked[2:]])
        assert results[refused.key].reason == "bad_request" and len(results) == 4
        assert num_started(base_url) == 3


def test_a_batch_that_never_ends_is_cancelled_and_sent_again(tmp_path):
    slow = asker("", max_tries=2)
    slow.longest_wait_s = 0.2
    with serving("batch_s=5") as base_url, Ledger(tmp_path / "ledger.sqlite") as ledger:
        slow.base_url = base_url
        asked = questions(2)
        ledger.plan(asked, "tiny")
        results = dict(slow.ask(asked, ledger))
        assert {result.reason for result in results.values()} == {"batch_given_up"}
        assert ledger.batches.unfinished() == []


class FakeServer:
    """Batches as a list of states; each batch ends as the next of them says."""

    key = ""

    def __init__(self, *ends: dict) -> None:
        self.ends, self.files, self.created = list(ends), {}, []

    def upload(self, file) -> str:
        file.seek(0)
        self.files["input"] = file.read()
        return "input"

    def create(self, file_id: str, token: str) -> str:
        self.created.append([json.loads(line)["custom_id"] for line in self.files[file_id].splitlines()])
        return f"batch_{len(self.created)}"

    def batch(self, batch_id: str):
        from openai.types import Batch

        state = self.ends[0] if len(self.ends) == 1 else self.ends.pop(0)
        file_id = state.get("output_file_id")
        found = Batch.construct(id=batch_id, **{**state, "output_file_id": file_id and f"{file_id}-{batch_id}"})
        return seen_batch(found, self.key)

    def lines(self, file_id: str) -> Iterator[bytes] | None:
        kind, _, number = file_id.partition("-batch_")
        keys = self.created[int(number) - 1]
        return (json.dumps(_line(key)).encode() for key in keys) if kind == "all" else None

    def cancel(self, batch_id: str) -> None:
        pass


def _line(key: str) -> dict:
    message = {"message": {"content": "hello"}, "finish_reason": "stop"}
    return {"custom_id": key, "response": {"status_code": 200, "body": {"choices": [message]}}, "error": None}


def run_with(server: FakeServer, ledger: Ledger, number: int = 3, **settings) -> dict[str, Answer | Failure]:
    from diptych.annotation.askers.batch_run import BatchRun

    asked = questions(number)
    ledger.plan(asked, "tiny")
    return dict(BatchRun(asker("http://none", poll_s=0, **settings), server, ledger).results(asked))


def test_an_unknown_word_with_a_file_is_an_end(tmp_path):
    server = FakeServer({"status": "resting"}, {"status": "finished", "output_file_id": "all"})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(server, ledger)
    assert len(server.created) == 1 and all(isinstance(result, Answer) for result in results.values())


def test_a_completed_batch_whose_file_is_gone(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(FakeServer({"status": "completed", "output_file_id": "gone"}), ledger, max_tries=2)
    assert {result.reason for result in results.values()} == {"no_answer"} and len(results) == 3


def test_a_refused_file_costs_only_the_line_it_was_refused_for(tmp_path):
    from openai.types import BatchError

    errors = type("Errors", (), {"data": [BatchError(code="invalid", line=2, message="no such field")]})()
    server = FakeServer({"status": "failed", "errors": errors}, {"status": "completed", "output_file_id": "all"})
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(server, ledger)
    assert [len(batch) for batch in server.created] == [3, 2]
    assert [getattr(result, "reason", "") for _, result in sorted(results.items())] == ["", "bad_request", ""]


def test_a_batch_that_is_refused_for_a_parameter_is_sent_again_without(tmp_path, caplog):
    def said(name: str) -> dict:
        return {"error": {"message": f"'{name}' is not supported with this model.", "param": name, "code": "x"}}

    class Picky(FakeServer):
        def lines(self, file_id: str) -> Iterator[bytes]:
            for line in self.files["input"].splitlines():
                request = json.loads(line)
                self.bodies.append(request["body"])
                refused = next((name for name in ("max_tokens", "temperature") if name in request["body"]), None)
                answer = _line(request["custom_id"])
                if refused is not None:
                    answer["response"] = {"status_code": 400, "body": said(refused)}
                yield json.dumps(answer).encode()

    server = Picky({"status": "completed", "output_file_id": "all"})
    server.bodies = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(server, ledger, max_tries=1)
        assert all(isinstance(result, Answer) for result in results.values())
        assert [len(batch) for batch in server.created] == [3, 3, 3]
        assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
        assert states(ledger) == {"done": 3} and ledger.usage("describe")["requests"] == 3
    assert caplog.text.count("asked otherwise from now on") == 2


def test_a_parameter_that_only_some_lines_are_refused_for_is_their_own_fault(tmp_path):
    class Odd(FakeServer):
        def lines(self, file_id: str) -> Iterator[bytes]:
            first, *others = self.created[-1]
            refusal = {"error": {"message": "unsupported max_tokens", "param": "max_tokens"}}
            body = {"status_code": 400, "body": refusal}
            return (json.dumps(line).encode() for line in ({**_line(first), "response": body}, *map(_line, others)))

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(Odd({"status": "completed", "output_file_id": "all"}), ledger)
    assert sorted(getattr(result, "reason", "") for result in results.values()) == ["", "", "bad_request"]


@pytest.mark.hostile("network")
@pytest.mark.parametrize("packed", [False, True])
def test_the_client_under_openai_is_bounded_and_stays_where_it_is(packed, monkeypatch):
    import gzip
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from diptych.annotation.askers.batch_client import open_client

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("diptych.annotation.askers.batch_client._RETRIES", 0)
    large = gzip.compress(bytes(50 * 2**20)) if packed else bytes(50 * 2**20)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            moved = self.path.endswith("moved")
            self.send_response(307 if moved else 200)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"" if moved else large)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with open_client(f"http://127.0.0.1:{server.server_port}/v1", "sk-secret-of-this") as client:
            batches = BatchServer(client, 0)
            with pytest.raises(ServerFailure, match="more than 16 MiB"):
                batches.batch("large")
            with pytest.raises(ServerFailure, match="says that it is at http://localhost:.*set base_url to it"):
                batches.batch("moved")
            lines = list(batches.lines("file-1"))  # one line, of which the beginning comes
            assert [len(line) for line in lines] == [16 * 2**20]
    finally:
        server.shutdown()
        server.server_close()
    assert "/elsewhere" not in asked


@pytest.mark.hostile("network")
@pytest.mark.parametrize("hanging", ["its name", "its fields", "fields before the fields"])
def test_the_client_under_openai_ends_in_time(hanging, monkeypatch):
    """Until a test is over, the server sends a byte of its answer's fields now and then, or no name is found."""
    import socket
    import threading

    from diptych.annotation.askers import batch_client

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(batch_client, "_RETRIES", 0)
    monkeypatch.setattr(batch_client, "_LONGEST_S", 0.2)
    over, listening = threading.Event(), socket.create_server(("127.0.0.1", 0))
    head, piece = (b"HTTP/1.1 200 OK\r\nX: ", b"x") if hanging == "its fields" else (b"", b"HTTP/1.1 100 On\r\n\r\n")

    def drip() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            connection.sendall(head)
            while not over.wait(0.01):
                connection.sendall(piece)

    threading.Thread(target=drip, daemon=True).start()
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    if hanging == "its name":
        host = "model.example"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(patience.SECONDS))
    try:
        client = batch_client.open_client(f"http://{host}/v1", "sk-secret-of-this")
        with client, pytest.raises(ServerFailure, match="gave no answer in time") as caught:
            BatchServer(client, 0).batch("b")
        assert caught.value.worth_retrying
    finally:
        over.set()
        listening.close()


@pytest.mark.hostile("network")
@pytest.mark.parametrize("wait_s", ["99999", "1e308", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_server_that_asks_to_wait_for_ever_is_not_waited_for(wait_s):
    import openai

    from diptych.annotation.askers.batch_client import _http

    class Batches:
        tries = 0

        def create(self, **_: object) -> None:
            Batches.tries += 1
            request = _http.Request("POST", "http://model.example")
            response = _http.Response(503, headers={"Retry-After": wait_s}, request=request)
            raise openai.InternalServerError("busy", response=response, body=None)

    client = SimpleNamespace(api_key="k", batches=Batches())
    client.with_options = lambda **_: client
    with pytest.raises(ServerFailure, match="503") as caught:
        BatchServer(client, 0).create("file", "token")
    assert Batches.tries == 1 and caught.value.worth_retrying  # there may be a batch: the next run looks


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "name", ["", "..", ".", "a/b", "a?b", "a b", "é", "a\n", "x" * 300, "sk-secret-of-this", None, ["a"]]
)
def test_ids_that_are_none(name):
    files = SimpleNamespace(create=lambda **_: SimpleNamespace(id=name))
    server = BatchServer(SimpleNamespace(api_key="sk-secret-of-this", files=files), 0)
    with contextlib.closing(io.BytesIO()) as file, pytest.raises(ServerFailure, match="an id that is none") as caught:
        server.upload(file)
    assert "sk-secret" not in str(caught.value)


def test_an_account_with_too_much_in_work_waits_for_its_other_batches(tmp_path):
    from openai.types import BatchError

    error = BatchError(code="token_limit_exceeded", message="Enqueued token limit reached")
    full = {"status": "failed", "errors": type("Errors", (), {"data": [error]})()}
    done = {"status": "completed", "output_file_id": "all"}
    server = FakeServer({"status": "in_progress"}, full, {"status": "in_progress"}, done, done)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        results = run_with(server, ledger, 2, max_requests=1, max_tries=1)
    assert all(isinstance(result, Answer) for result in results.values()) and len(results) == 2


# ---------------------------------------------------------------------------------------------------- kills


def killed_at(step: str) -> Callable[[], None]:
    """Makes this process kill itself at a step of a run."""

    def after(owner: type, name: str, times: int = 1, before: bool = False) -> Callable[[], None]:
        def patch() -> None:
            called = getattr(owner, name)
            calls = [0]

            def wrapped(self, *arguments, **named):
                calls[0] += 1
                if before and calls[0] == times:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = called(self, *arguments, **named)
                if calls[0] == times:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            setattr(owner, name, wrapped)

        return patch

    return {
        "claimed": after(Ledger, "claim", 150),
        "opened": after(Batches, "open", 2),
        "uploaded": after(BatchServer, "upload", 2),
        "created, not named": after(BatchServer, "create", 2),
        "named": after(Batches, "name", 3),
        "answer not written": after(Ledger, "answered", 30, before=True),
        "answer written": after(Ledger, "answered", 130),
        "collected, not closed": after(Batches, "close", 1, before=True),
        "closed": after(Batches, "close", 2),
    }[step]


def in_child(work: Callable[[], None]) -> int:
    """How a forked process ended that did the work: 0, or the number of the signal, negative."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


STEPS = (
    "claimed",
    "opened",
    "uploaded",
    "created, not named",
    "named",
    "answer not written",
    "answer written",
    "collected, not closed",
    "closed",
)


def test_killed_at_every_step_nothing_is_asked_twice(base_url, tmp_path):
    asked = questions(250)
    settings = {"max_requests": 100}
    for number, step in enumerate(STEPS, start=1):
        path = tmp_path / f"{number}.sqlite"

        def work(path=path, step=step) -> None:
            killed_at(step)()
            ask(base_url, Ledger(path), asked, **settings)

        assert in_child(work) == -signal.SIGKILL, step
        with Ledger(path) as ledger:
            settled = ledger.settled([one.key for one in asked])
            results = {**settled, **ask(base_url, ledger, asked, **settings)}
            assert states(ledger) == {"done": 250} and ledger.batches.unfinished() == [], step
        assert len(results) == 250 and all(isinstance(result, Answer) for result in results.values()), step
        assert num_started(base_url) == 250 * number, step


def test_interrupted_in_one_process_the_next_call_collects(tmp_path):
    asked = questions(30)
    with serving("batch_s=0.3") as base_url, Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.plan(asked, "tiny")
        one = asker(base_url, max_requests=10)
        results = one.ask(asked, ledger)
        first = [next(results)]
        results.close()
        assert len(ledger.batches.unfinished()) == 3
        rest = list(one.ask([other for other in asked if other.key != first[0][0]], ledger))
        assert len(rest) == 29 and num_started(base_url) == 30


def test_a_batch_whose_creation_broke_off_is_not_created_twice(tmp_path):
    """More than half of all replies are lost: of uploads, creations and looks."""
    asked = questions(5)
    with serving("faults=lost_reply=0.6") as base_url, Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ask(base_url, ledger, asked)) == 5
        assert num_started(base_url) == 5


def test_the_second_of_two_batches_of_one_token_is_cancelled():
    class Batches:
        cancelled = []  # noqa: RUF012

        def list(self, limit: int) -> list:
            metadata = {"diptych_token": "t"}
            return [SimpleNamespace(id=name, metadata=metadata, created_at=at) for name, at in (("b", 2), ("a", 1))]

        def cancel(self, batch_id: str) -> None:
            self.cancelled.append(batch_id)

    assert BatchServer(SimpleNamespace(api_key="k", batches=Batches()), 0).search("t") == "a"
    assert Batches.cancelled == ["b"]


# ---------------------------------------------------------------------------------------------------- errors


def test_the_key_is_in_no_error(tmp_path, monkeypatch):
    with serving("api_key=another") as base_url, Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(ServerFailure, match="refuses the key") as caught:
            ask(base_url, ledger, questions(2))
        assert "sk-secret" not in str(caught.value) + repr(caught.value.__context__)
        assert states(ledger) == {"pending": 2} and ledger.usage("describe")["requests"] == 0
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(ValueError, match="TEST_KEY is not set"):
        next(asker("http://none").ask([], None))


def test_a_batch_of_another_server_is_not_given_up(base_url, tmp_path):
    asked = questions(2)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.plan(asked, "tiny")
        for one in asked:
            ledger.claim(one.key)
        ledger.batches.name(ledger.batches.open([one.key for one in asked], ""), "batch_of_elsewhere")
        ledger.close()
        with pytest.raises(ValueError, match="does not know batch batch_of_elsewhere"):
            ask(base_url, ledger, asked)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="max_requests=0"):
        BatchAsker("tiny", max_requests=0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not json", None),
        ('{"response": {}}', None),
        ('{"custom_id": "k", "response": null, "error": null}', Unanswered("no_answer", "None")),
        (
            '{"custom_id": "k", "error": {"code": "batch_expired", "message": "late"}}',
            Unanswered("batch_expired", "late"),
        ),
        (
            '{"custom_id": "k", "response": {"status_code": 200, "body": {"choices": []}}}',
            Unanswered("server_error", "the answer holds no choice: {'choices': []}"),
        ),
        (
            '{"custom_id": "k", "response": {"status_code": 200, "body": {"choices": [{"finish_reason": "stop",'
            ' "message": {"content": null, "refusal": "I cannot"}}]}}}',
            Answer("I cannot", "refusal", {}, 0.0),
        ),
    ],
)
def test_lines_of_results(line, expected):
    assert read_line(line) == (None if expected is None else ("k", expected))


def test_what_the_server_says_of_a_request_decides_whether_it_is_asked_again():
    def of(status):
        return read_line(json.dumps({"custom_id": "k", "response": {"status_code": status, "body": {}}}))[1]

    assert [type(of(status)) for status in (429, 500, 503, 408)] == [Unanswered] * 4
    assert [type(of(status)) for status in (0, -1, 200.5, "400", None, True, 302, 405, 418, 999)] == [Unanswered] * 10
    assert [of(status).failure.reason for status in (400, 413, 422)] == ["bad_request"] * 3
    assert [of(status).reason for status in (401, 402, 403, 404)] == ["refused_by_server"] * 4
