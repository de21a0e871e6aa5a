"""The stages that ask a model, against a small server on the loopback whose answers depend on what it is asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import patience
from diptych.annotation.askers.online import OnlineAsker
from diptych.annotation.cost import Prices
from diptych.annotation.descriptions import reuse
from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.prompt import AnnotationPrompt
from diptych.annotation.task import AnnotationTask
from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server import server_client
from diptych.models.server.vlm_client import VLMClient
from diptych.stages.annotation import question_run, questions
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.describe_reference import DescribeReference
from diptych.stages.annotation.describe_target import DescribeTarget
from diptych.stages.annotation.one_stage import OneStage
from diptych.stages.annotation.write_modifications import WriteModifications

BED = {"name": "bed", "descriptors": ["white linen", "as wide as the window"]}
LAMP = {"name": "lamp", "descriptors": ["tall", "brass"]}
RUG = {"name": "rug", "descriptors": ["round", "blue"]}
SENTENCES = ["Remove the lamp.", "Add a round blue rug.", "Put the bed to the left."]
PRICES = Prices({"m": {"input": 1000.0, "output": 1000.0}})  # a thousandth of a dollar a token


def objects(*found: dict[str, Any]) -> str:
    return json.dumps({"objects": found})


def honest(body: dict[str, Any]) -> str:
    """Stage 1 sees a bed and a lamp, stage 2 a bed and a rug, of another shade in every picture; stage 3 writes."""
    content = body["messages"][0]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    if text.startswith(("write", "both")):
        return json.dumps({"sentences": SENTENCES})
    other = RUG if "like" in text else LAMP
    shade = hashlib.sha256(content[1]["image_url"]["url"].encode()).hexdigest()[:6]
    return objects(BED, {**other, "descriptors": [*other["descriptors"], shade]})


class Server(ThreadingHTTPServer):
    """`reply` makes the answer's text, or (status, body), of a request's body."""

    daemon_threads = True

    def __init__(self, reply: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.lock = reply, threading.Lock()
        self.requests: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(body)
            reply = self.server.reply(body)
        status, answer = reply if isinstance(reply, tuple) else (200, completion(reply))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def completion(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(server_client, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(question_run, "_SHORTEST_WAIT_S", 0.01)
    servers = []

    def start(reply: Callable[[dict[str, Any]], Any] = honest) -> Server:
        servers.append(Server(reply))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs of four pictures; two pairs have one reference."""
    for number, name in enumerate("abcd"):
        Image.new("RGB", (40, 30), (number * 50, 90, 120)).save(tmp_path / f"{name}.png")
    pairs = [("ab", "a.png", "b.png"), ("ac", "a.png", "c.png"), ("db", "d.png", "b.png")]
    lines = [
        json.dumps({"pair_id": name, "reference_image": one, "target_image": two}) + "\n" for name, one, two in pairs
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    return tmp_path


def asking(folder: Path, server: Server, **settings: Any) -> Asking:
    client = VLMClient(
        "m", f"http://127.0.0.1:{server.server_port}/v1", concurrency=4, timeout_s=patience.SECONDS, max_retries=1
    )
    defaults = {"max_tokens": 200, "prices": PRICES, "picture_form": PictureForm(32)}
    return Asking(OnlineAsker(client), str(folder / "ledger.sqlite"), model="m", **{**defaults, **settings})


def stages(folder: Path, server: Server, **settings: Any) -> dict[str, Any]:
    how = asking(folder, server, **settings)
    references, targets = folder / "references.jsonl", folder / "targets.jsonl"
    see = AnnotationPrompt("describe {domain}, {max_objects} objects")
    like = AnnotationPrompt("describe like {reference}")
    write = AnnotationPrompt("write what makes {target} of {reference}")

    def task(prompt: AnnotationPrompt) -> AnnotationTask:
        return AnnotationTask(prompt, folder / "pairs.jsonl", "general", 3)

    return {
        "references": DescribeReference(how, task(see)),
        "targets": DescribeTarget(how, task(like), references),
        "sentences": WriteModifications(how, task(write), references, targets),
        "one_stage": OneStage(how, task(AnnotationPrompt("both"))),
    }


def results(stage: Any) -> dict[str, Any]:
    found = list(stage.process(stage.ids()))
    named = {one.record_id if isinstance(one, Failure) else one[stage.record_key]: one for one in found}
    assert len(named) == len(found) == len(stage.ids()) and set(named) == set(stage.ids())
    return named


def keep(path: Path, found: dict[str, Any]) -> None:
    records = [one for one in found.values() if not isinstance(one, Failure)]
    path.write_text("".join(json.dumps(one) + "\n" for one in records))


def run_three(folder: Path, server: Server, **settings: Any) -> dict[str, dict[str, Any]]:
    found = {}
    for name in ("references", "targets", "sentences"):
        found[name] = results(stages(folder, server, **settings)[name])
        keep(folder / f"{name}.jsonl", found[name])
    return found


def test_three_stages(folder, serve):
    server = serve()
    found = run_three(folder, server)
    a, d = str(folder / "a.png"), str(folder / "d.png")
    assert list(found["references"][a]) == ["image", "objects"] and found["references"].keys() == {a, d}
    assert found["references"][d]["objects"][0] == BED
    assert found["targets"]["ac"]["objects"][0] == BED and found["targets"]["ac"]["reuse"] == 0.4
    assert found["sentences"]["db"] == {"pair_id": "db", "sentences": SENTENCES}
    described, targets, written = server.requests[:2], server.requests[2:5], server.requests[5:]
    assert len(written) == 3
    text, picture = described[0]["messages"][0]["content"]
    assert text["text"] == "describe general, 3 objects" and described[0]["max_tokens"] == 200
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert described[0]["response_format"]["json_schema"]["strict"] is True
    assert json.dumps(BED) in targets[0]["messages"][0]["content"][0]["text"]
    assert isinstance(written[0]["messages"][0]["content"], str)  # no picture is sent
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.counts() == {
            "describe_reference": {"done": 2},
            "describe_target": {"done": 3},
            "write_modifications": {"done": 3},
        }


def test_what_is_answered_is_not_asked_again(folder, serve):
    server = serve()
    found = run_three(folder, server)
    assert run_three(folder, server) == found and len(server.requests) == 8
    (folder / "a.png").rename(folder / "moved.png")
    (folder / "pairs.jsonl").write_text('{"reference_image": "moved.png", "target_image": "b.png"}\n')
    (record,) = results(stages(folder, server)["references"]).values()  # the same picture by another name
    assert record["objects"] == found["references"][str(folder / "a.png")]["objects"] and len(server.requests) == 8
    Image.new("RGB", (40, 30), "red").save(folder / "moved.png")
    results(stages(folder, server)["references"])
    assert len(server.requests) == 8  # within a process a file is read once
    questions._hash_of_image.cache_clear()
    results(stages(folder, server)["references"])
    assert len(server.requests) == 9


def test_one_stage_shows_both_pictures_in_order(folder, serve):
    server = serve()
    assert results(stages(folder, server)["one_stage"])["ab"] == {"pair_id": "ab", "sentences": SENTENCES}
    content = server.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url"]
    form = PictureForm(32)
    shown = {tuple(part["image_url"]["url"] for part in body["messages"][0]["content"][1:]) for body in server.requests}
    pairs = ("ab", "ac", "db")
    assert shown == {
        tuple(form.message_part(str(folder / f"{name}.png"))["image_url"]["url"] for name in pair) for pair in pairs
    }


def test_equal_pictures_are_described_once(folder, serve):
    server = serve()
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    questions._hash_of_image.cache_clear()
    found = results(stages(folder, server)["references"])
    assert len(found) == 2 and len(server.requests) == 1


def test_nothing_is_asked_on_a_missing_input(folder, serve):
    (folder / "a.png").write_bytes(b"no picture")
    server = serve(lambda body: honest(body))
    questions._hash_of_image.cache_clear()
    found = run_three(folder, server)
    assert found["references"][str(folder / "a.png")].reason == "unreadable"
    for name in ("targets", "sentences"):
        reasons = {key: one.reason for key, one in found[name].items() if isinstance(one, Failure)}
        assert reasons == {"ab": "no_reference_description", "ac": "no_reference_description"}
    assert len(server.requests) == 3
    (folder / "targets.jsonl").write_text("")
    assert results(stages(folder, server)["sentences"])["db"].reason == "no_target_description"


def test_descriptions_without_a_difference_give_no_question(folder, serve):
    server = serve(lambda body: objects(BED))
    found = run_three(folder, server)
    assert {one.reason for one in found["sentences"].values()} == {"no_difference"}
    assert len(server.requests) == 4  # the second stage's questions about one target are equal


def test_useless_answers_are_asked_again_with_the_complaint(folder, serve):
    replies = iter(["no idea", (200, completion('{"objects": [{"na', "length")), objects(BED)])
    (folder / "pairs.jsonl").write_text('{"reference_image": "a.png", "target_image": "b.png"}\n')
    server = serve(lambda body: next(replies))
    (record,) = results(stages(folder, server)["references"]).values()
    assert record["objects"] == [BED]
    first, second, third = server.requests
    assert [body["max_tokens"] for body in server.requests] == [200, 400, 800]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][0] == first["messages"][0] and second["messages"][1]["content"] == "no idea"
    assert "no complete JSON object" in second["messages"][2]["content"]
    assert "cut off" in third["messages"][2]["content"]
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"describe_reference": {"done": 1, "invalid": 2}}
    assert results(stages(folder, server)["references"]) and len(server.requests) == 3


def test_after_the_last_try_the_record_fails_and_the_answers_are_kept(folder, serve):
    server = serve(lambda body: "no idea")
    found = results(stages(folder, server)["references"])
    assert {one.reason for one in found.values()} == {"invalid"} and len(server.requests) == 6
    assert "3 answers were of no use" in found[str(folder / "a.png")].message
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"describe_reference": {"invalid": 6}}
    results(stages(folder, server, retry_failures=True)["references"])
    assert len(server.requests) == 6  # they were answered and paid for
    results(stages(folder, server, max_tries=4)["references"])
    assert len(server.requests) == 8


def test_failures_of_the_server_are_kept_until_they_are_to_be_tried_again(folder, serve):
    server = serve(lambda body: (500, {"error": {"message": "down"}}))
    found = results(stages(folder, server)["references"])
    assert {one.reason for one in found.values()} == {"server_error"} and len(server.requests) == 4
    server.reply = honest
    assert results(stages(folder, server)["references"]) == found and len(server.requests) == 4
    found = results(stages(folder, server, retry_failures=True)["references"])
    assert all(one["objects"] for one in found.values()) and len(server.requests) == 6


def test_a_refused_key_stops_everything_and_costs_nothing(folder, serve):
    server = serve(lambda body: (401, {"error": {"message": "bad key sk-secret"}}))
    with pytest.raises(ValueError, match="refuses the key") as caught:
        results(stages(folder, server)["references"])
    assert "sk-secret" not in str(caught.value)
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"describe_reference": {"pending": 2}} and ledger.spent() == []


def test_the_budget_is_not_passed(folder, serve):
    server = serve()
    # A question takes about 280 tokens of the picture and 20 of text, and its answer 200 at the most; it turns out to
    # cost 120. So after one there is money for a second only if the first is paid.
    with pytest.raises(ValueError, match=r"max_cost_usd=0\.55 would be passed: 0\.1200 USD are spent"):
        results(stages(folder, server, max_cost_usd=0.55, max_tokens=200)["references"])
    assert len(server.requests) == 1
    found = results(stages(folder, server, max_cost_usd=0.75)["references"])
    assert len(found) == 2 and len(server.requests) == 2
    with pytest.raises(ValueError, match=r"no price for the model 'm'"):
        results(stages(folder, server, max_cost_usd=9.0, prices=Prices({}))["one_stage"])
    assert len(server.requests) == 2


def test_what_another_process_asks_is_waited_for(folder, serve):
    server = serve()
    (folder / "pairs.jsonl").write_text('{"reference_image": "a.png", "target_image": "b.png"}\n')
    stage = stages(folder, server)["references"]
    (one,) = stage.first_tries(stage.ids())
    with Ledger(folder / "ledger.sqlite") as other:
        other.plan([one.question], "m")
        assert other.claim(one.question.key)
        answer = Answer(objects(RUG), "stop", {}, 0.1)
        timer = threading.Timer(0.3, other.answered, (one.question.key, answer))
        timer.start()
        (record,) = results(stage).values()
        timer.join()
    assert record["objects"] == [RUG] and server.requests == []


def test_what_a_stopped_process_was_asking_is_asked_again(folder, serve):
    server = serve()
    stage = stages(folder, server)["references"]
    run = stage.process(stage.ids())
    next(run)
    run.close()  # in the middle
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert ledger.counts()["describe_reference"].get("sent") is None
    found = results(stages(folder, server)["references"])
    assert len(found) == 2 and len(server.requests) <= 3


def test_estimates_send_nothing_and_make_no_file(folder, serve):
    server = serve()
    own = stages(folder, server)
    first = own["references"].estimate()
    assert (first.requests, first.settled, first.num_image_tokens, first.assumed) == (2, 0, 2 * 255, False)
    assert first.images == {("32 x 24", 255): 2} and first.most_output_tokens == 400
    assert first.most_usd == pytest.approx((first.num_image_tokens + first.num_text_tokens + 400) / 1000)
    later = own["sentences"].estimate()
    assert (later.requests, later.assumed, later.images) == (3, True, {})
    assert later.num_text_tokens > 3 * 2 * 400
    assert own["targets"].estimate().num_image_tokens == 3 * 255
    assert not (folder / "ledger.sqlite").exists() and server.requests == []
    run_three(folder, server)
    again = stages(folder, server)["targets"].estimate()
    assert (again.requests, again.settled, again.most_usd) == (0, 3, 0.0)
    assert "0 requests, 3 answered already" in again.lines("describe_target")[0]
    unknown = stages(folder, server, prices=Prices({}))["one_stage"].estimate()
    assert unknown.usual_usd is None and unknown.num_image_tokens == 6 * 255


def test_settings_that_make_no_sense(folder, serve):
    server = serve()
    with pytest.raises(ValueError, match="max_tries=0"):
        asking(folder, server, max_tries=0)
    with pytest.raises(ValueError, match="max_cost_usd=-1"):
        results(stages(folder, server, max_cost_usd=-1)["references"])
    with pytest.raises(ValueError, match="asks 'm', but model=n"):
        Asking(asking(folder, server).asker, "x", PRICES, "n", PictureForm())


def test_reuse_counts_words_that_occur_again():
    assert reuse([BED, LAMP], [BED, LAMP]) == 1.0 and reuse([BED], [RUG]) == 0.0 and reuse([], [RUG]) is None
    assert reuse([BED, LAMP, RUG], [{"name": "sofa", "descriptors": ["tall", "round"]}]) == pytest.approx(
        1 / 3, abs=1e-4
    )
