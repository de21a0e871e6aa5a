"""The ledger in one process, in several, and after kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

import patience
from diptych.annotation.ledger import ledger_file
from diptych.annotation.ledger.ledger import Ledger, Tokens
from diptych.contracts.pipelines import Answer, Failure, Question
from warm_python import warm

ANSWER = Answer("a lamp", "stop", {"prompt_tokens": 90, "completion_tokens": 4}, 0.5)


def question(key: str, stage: str = "describe", max_tokens: int = 50) -> Question:
    return Question(key, stage, f"record of {key}", list, max_tokens, 100)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "deep" / "ledger.sqlite") as opened:
        opened.plan([question(key) for key in "abcd"], "m")
        yield opened


def test_construction_and_questions_about_nothing_make_no_file(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.settled(["a"]) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_way_of_a_question(ledger):
    assert ledger.counts() == {"describe": {"pending": 4}} and ledger.settled("abcd") == {}
    assert ledger.claim("a") and not ledger.claim("a")
    assert ledger.counts() == {"describe": {"pending": 3, "sent": 1}}
    ledger.answered("a", ANSWER)
    assert not ledger.claim("a") and ledger.settled("abcd") == {"a": ANSWER}
    ledger.claim("b")
    ledger.failed("b", Failure("record of b", "timeout", "no answer"))
    ledger.claim("c")
    ledger.answered("c", ANSWER)
    ledger.invalid("c", "no JSON")
    assert ledger.counts() == {"describe": {"done": 1, "failed": 1, "invalid": 1, "pending": 1}}
    assert ledger.settled("abcd") == {"a": ANSWER, "b": Failure("record of b", "timeout", "no answer"), "c": ANSWER}
    assert not ledger.claim("b")
    ledger.forget_failures("another stage")
    assert not ledger.claim("b")
    ledger.forget_failures("describe")
    assert ledger.claim("b") and not ledger.claim("c")


def test_planning_again_changes_nothing_that_was_asked(ledger):
    ledger.claim("a")
    ledger.answered("a", ANSWER)
    ledger.claim("b")
    ledger.plan([question(key, max_tokens=99) for key in "abce"], "m", 0.5)
    assert ledger.counts() == {"describe": {"done": 1, "pending": 3, "sent": 1}}
    assert ledger.in_flight() == [Tokens("m", 1.0, 100, 50)]
    ledger.claim("c")  # was pending: has the new limit and price
    assert sorted(ledger.in_flight(), key=str) == [Tokens("m", 0.5, 100, 99), Tokens("m", 1.0, 100, 50)]


def test_logprobs_come_back_as_they_were_and_are_no_counts(ledger, tmp_path):
    sure = Answer("yes", "stop", {"prompt_tokens": 9, "logprobs": 3}, 0.5, ({"yes": -0.1, "no": -2.5}, {".": 0.0}))
    bare = Answer("yes", "stop", {"prompt_tokens": 9, "logprobs": 3}, 0.5)
    for key, answer in (("a", sure), ("b", bare)):
        ledger.claim(key)
        ledger.answered(key, answer)
    found = ledger.settled("ab")
    assert found["b"] == bare
    assert found["a"].logprobs == sure.logprobs and [*found["a"].logprobs[0]] == ["yes", "no"]
    assert found["a"].usage == {"prompt_tokens": 9}


def test_the_first_answer_stays_and_is_charged_once(ledger):
    ledger.claim("a")
    ledger.answered("a", ANSWER)
    ledger.answered("a", Answer("another", "stop", {"prompt_tokens": 1, "completion_tokens": 1}, 0.1))
    ledger.failed("a", Failure("", "timeout", ""))
    assert ledger.settled("a") == {"a": ANSWER}
    assert ledger.usage("describe") == {"requests": 1, "input_tokens": 90, "output_tokens": 4, "lost": 0}
    assert ledger.spent() == [Tokens("m", 1.0, 90, 4)] == ledger.spent("describe") and ledger.in_flight() == []


def test_an_answer_without_counts_is_charged_by_the_estimate(ledger):
    ledger.claim("a")
    ledger.answered("a", Answer("1234567", "stop", {}, 0.5))
    assert ledger.spent() == [Tokens("m", 1.0, 100, 3)]


def test_spent_follows_what_other_processes_add(ledger):
    with Ledger(ledger.path) as other:
        assert other.spent() == []
        for key in "ab":
            ledger.claim(key)
            ledger.answered(key, ANSWER)
            assert other.spent() == ledger.spent()


def test_a_question_that_is_not_planned(ledger):
    with pytest.raises(ValueError, match="'?zz'? is not planned"):
        ledger.claim("zz")


def test_of_two_only_one_claims(ledger):
    with Ledger(ledger.path) as other:
        assert ledger.claim("a") and not other.claim("a") and other.claim("b") and not ledger.claim("b")
        ledger.release("ab", unpaid=True)
        assert other.claim("a") and not ledger.claim("b")
        assert ledger.spent() == []
        other.release("a")  # may have cost something
        assert other.usage("describe")["lost"] == 1 and ledger.spent() == [Tokens("m", 1.0, 100, 50)]


def test_what_a_closed_ledger_had_sent_is_asked_again_and_counts_as_paid(ledger):
    other = Ledger(ledger.path)
    assert other.claim("a")
    other.close()
    assert ledger.claim("a")
    assert ledger.usage("describe") == {"requests": 1, "input_tokens": 100, "output_tokens": 50, "lost": 1}
    assert other.claim("b") and not other.claim("a")  # opens again


def test_a_silent_process_is_given_up(ledger, monkeypatch):
    with Ledger(ledger.path) as other:
        other.claim("a")
        monkeypatch.setattr(ledger_file, "_DEAD_AFTER_S", -1.0)
        assert not ledger.claim("a")  # it can be seen to live
        monkeypatch.setattr(ledger_file.socket, "gethostname", lambda: "another container")
        assert ledger.claim("a")


CLAIM_AND_DIE = """
import os, signal, sys
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer
ledger = Ledger(sys.argv[1])
ledger.claim("a")
ledger.claim("b")
ledger.answered("b", Answer("kept", "stop", {}, 0.1))
ledger.claim("c")
ledger.batches.open("c", "file-1")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
def test_a_kill_loses_only_what_was_on_its_way(ledger):
    result = subprocess.run([warm.python(), "-c", CLAIM_AND_DIE, str(ledger.path)], timeout=patience.SECONDS)
    assert result.returncode == -signal.SIGKILL
    assert ledger.claim("a")  # at once: its process is gone from this machine
    assert ledger.settled("abcd") == {"b": Answer("kept", "stop", {}, 0.1)}
    assert not ledger.claim("b")
    assert not ledger.claim("c")  # the batch may be with the server
    (batch,) = ledger.batches.unfinished()
    assert (batch.batch_id, batch.input_file_id, batch.owner_lives) == (None, "file-1", False)
    ledger.batches.close(batch.token, "lost")
    assert ledger.claim("c") and ledger.batches.unfinished() == []


def _claim_all(path: str, keys: list[str], start) -> list[str]:
    start.wait()
    with Ledger(path) as ledger:
        return [key for key in keys if ledger.claim(key)]


def _work(path: str, keys: list[str], start, results) -> None:
    results.put(_claim_all(path, keys, start))


def test_processes_share_the_work(tmp_path):
    keys = [f"k{number}" for number in range(300)]
    path = str(tmp_path / "ledger.sqlite")
    with Ledger(path) as ledger:
        ledger.plan(map(question, keys), "m")
    context = get_context("fork")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_work, args=(path, keys, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    claimed = [results.get(timeout=patience.SECONDS) for _ in processes]
    for process in processes:
        process.join()
    # A process that is done gives up what it claimed and did not answer; so the last may find some again.
    assert set().union(*claimed) == set(keys)


def test_the_way_of_a_batch(ledger):
    for key in "abc":
        ledger.claim(key)
    token = ledger.batches.open("abc", "file-1")
    assert ledger.batches.of("a") == token and ledger.batches.of("d") is None
    ledger.batches.name(token, "batch_7")
    (batch,) = ledger.batches.unfinished()
    assert (batch.token, batch.batch_id, batch.input_file_id, batch.owner_lives) == (token, "batch_7", "file-1", True)
    ledger.release("abc")  # what is in a batch is not given up
    ledger.answered("a", ANSWER)
    ledger.failed("b", Failure("record of b", "server_error", "500"))
    ledger.batches.close(token, "expired")
    assert ledger.batches.unfinished() == []
    assert ledger.counts() == {"describe": {"done": 1, "failed": 1, "pending": 2}}
    assert ledger.claim("c") and ledger.batches.of("c") is None


def test_a_batch_takes_only_what_is_claimed(ledger):
    ledger.claim("a")
    with pytest.raises(ValueError, match="question b is not claimed by this process"):
        ledger.batches.open("ab", "file-1")
    assert ledger.batches.unfinished() == [] and ledger.batches.of("a") is None


def test_settings_of_the_file(ledger):
    connection = sqlite3.connect(ledger.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    ledger.claim("a")
    assert ledger._file.open().execute("PRAGMA synchronous").fetchone() == (1,)
    ledger.answered("a", ANSWER)
    assert ledger._file.open().execute("PRAGMA synchronous").fetchone() == (2,)


def test_many_results_in_one_write(ledger):
    for key in "abc":
        ledger.claim(key)
    ledger.settle(
        [("a", ANSWER), ("b", Failure("record of b", "timeout", "late")), ("a", Answer("2nd", "stop", {}, 1.0))]
    )
    assert ledger.counts() == {"describe": {"done": 1, "failed": 1, "pending": 1, "sent": 1}}
    assert ledger.settled("a") == {"a": ANSWER} and ledger.spent() == [Tokens("m", 1.0, 90, 4)]


def test_a_file_that_is_no_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("something else, long enough to be no database header at all" * 20)
    with pytest.raises(ValueError, match=r"ledger.sqlite cannot be used as a ledger"):
        Ledger(path).counts()


def test_a_process_number_given_again_is_another_process():
    assert ledger_file._started(os.getpid()) == ledger_file._started(os.getpid())
    assert ledger_file._started(2**22 - 1) is None


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 1e9])
def test_a_clock_that_is_set_takes_nothing_from_a_living_process(ledger, monkeypatch, jump_s):
    with Ledger(ledger.path) as other:
        other.claim("a")
        token = other.batches.open("a", "")
        other.claim("b")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump_s)
        assert not ledger.claim("b") and ledger.usage("describe")["lost"] == 0
        (batch,) = ledger.batches.unfinished()
        assert batch.token == token and batch.owner_lives


@pytest.mark.hostile("limits")
def test_a_full_disk_is_one_sentence_and_the_ledger_goes_on(ledger):
    ledger.claim("a")
    connection = ledger._file.open()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"ledger.sqlite cannot be written; make room on the disk .*goes on$"
        ) as caught:
            ledger.answered("a", Answer("x" * 100_000, "stop", {}, 0.1))
        assert caught.value.__cause__ is None
    assert ledger.counts()["describe"]["sent"] == 1
    connection.execute("PRAGMA max_page_count = 1000000")
    ledger.answered("a", ANSWER)
    assert ledger.settled("a") == {"a": ANSWER}


FULL_DISK = """
import resource, signal, sys
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Ledger(sys.argv[1]) as ledger:
    ledger.claim("a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    try:
        ledger.answered("a", Answer("x" * 1_000_000, "stop", {}, 0.1))
    except ValueError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.answered("a", Answer("kept", "stop", {}, 0.1))
"""


@pytest.mark.processes
@pytest.mark.hostile("limits")
def test_a_file_that_cannot_grow(ledger):
    command = [warm.python(), "-c", FULL_DISK, str(ledger.path)]
    result = subprocess.run(command, timeout=patience.SECONDS, capture_output=True, text=True)
    assert result.returncode == 0 and "make room on the disk" in result.stdout and not result.stderr
    assert ledger.settled("a") == {"a": Answer("kept", "stop", {}, 0.1)}


@pytest.mark.hostile("annotation")
def test_no_text_is_too_odd_to_be_kept(ledger):
    half = "a\ud83d\0"
    question = Question("odd", "describe", half, list, 5, 5)
    ledger.plan([question], "m")
    ledger.claim("odd")
    ledger.answered("odd", Answer(half, half, {"prompt_tokens": 1}, 0.1))
    assert ledger.settled(["odd"]) == {"odd": Answer("a\ufffd\ufffd", "a\ufffd\ufffd", {"prompt_tokens": 1}, 0.1)}
    ledger.invalid("odd", half)
    ledger.failed("a", Failure(half, half, half))
    assert ledger.settled("a")["a"].message == "a\ufffd\ufffd"


def test_answers_of_an_earlier_ledger_are_taken_over_and_charged_there_alone(ledger, tmp_path):
    for key in "ab":
        ledger.claim(key)
        ledger.answered(key, ANSWER)
    ledger.invalid("b", "no list")
    ledger.failed("c", Failure("record of c", "timeout", "none"))
    ledger.plan([question("x", stage="another")], "m")
    ledger.answered("x", ANSWER)
    with Ledger(tmp_path / "later.sqlite") as later:
        later.plan([question("a")], "m")
        later.answered("a", Answer("a chair", "stop", {}, 0.1))
        for _ in range(2):
            later.take_answers(ledger.path, "describe")
        assert {key: one.text for key, one in later.settled("abcdx").items()} == {"a": "a chair", "b": ANSWER.text}
        assert later.counts() == {"describe": {"done": 1, "invalid": 1}}
        assert later.usage("describe")["requests"] == 1  # its own
    with Ledger(tmp_path / "later.sqlite") as again:  # every row has its checksum
        assert len(again.settled("ab")) == 2
        with pytest.raises(ValueError, match=r"none.sqlite: there is no ledger to take answers from"):
            again.take_answers(tmp_path / "none.sqlite", "describe")
