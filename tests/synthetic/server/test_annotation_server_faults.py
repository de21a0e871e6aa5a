"""Every fault of the test server, as the real client meets it."""

from __future__ import annotations

import itertools
import json

import openai
import pytest
from asking import OBJECTS, ask, data_url

from diptych.synthetic.server.faults import CONTENT, TRANSPORT, Faults

pytestmark = pytest.mark.processes


def test_rate_limits_say_how_long_to_wait(serve):
    server, client = serve(faults={"rate_limit": 1.0}, retry_after_s=0.25)
    with pytest.raises(openai.RateLimitError) as error:
        ask(client, "?")
    assert error.value.response.headers["retry-after"] == "0.25" and error.value.code == "rate_limit_exceeded"
    assert server.count()["total"] == {"started": 1, "answered": 0, "distinct": 1}
    assert server.count()["faults"] == {"rate_limit": 1}


def test_errors_resets_lost_replies_and_hangs(serve):
    for fault, kind in (
        ("server_error", openai.InternalServerError),
        ("reset", openai.APIConnectionError),
        ("lost_reply", openai.APIConnectionError),
        ("hang", openai.APITimeoutError),
    ):
        server, client = serve(faults={fault: 1.0})
        client = client.with_options(timeout=0.3) if fault == "hang" else client
        with pytest.raises(kind):
            ask(client, "?")
        assert server.count()["total"]["answered"] == (fault == "lost_reply")
        with pytest.raises(kind):
            client.files.list()


def test_a_hanging_connection_is_reset_in_the_end(serve):
    _, client = serve(faults={"hang": 1.0}, hang_s=0.1)
    with pytest.raises(openai.APIConnectionError):
        ask(client, "?")


@pytest.mark.parametrize("fault", CONTENT)
def test_spoilt_answers(serve, folder, pairs, fault):
    server, client = serve(scenes=folder, faults={fault: 1.0})
    choice = ask(client, "?", data_url(pairs[0][0]), form=OBJECTS).choices[0]
    text = choice.message.content
    assert choice.finish_reason == {"cut": "length", "content_filter": "content_filter"}.get(fault, "stop")
    if fault in ("fenced", "prose"):
        with pytest.raises(ValueError):
            json.loads(text)
        assert "objects" in json.loads(text[text.index("{") : text.rindex("}") + 1])
    elif fault == "cut":
        assert text.startswith('{"objects"') and not text.endswith("}]}")
    elif fault == "wrong_schema":
        assert "descriptors" not in json.dumps(json.loads(text))
    elif fault == "refusal":
        assert text is None and "sorry" in choice.message.refusal
    else:
        assert text == ("" if fault != "refusal_in_words" else "I'm sorry, but I can't help with that request.")
    assert server.count()["faults"] == {fault: 1} and server.count()["total"]["answered"] == 1


def test_rate_limits_come_in_bursts():
    faults = Faults({"rate_limit": 0.1})
    drawn = [faults.draw(str(number).encode(), TRANSPORT) for number in range(2000)]
    bursts = [len(list(run)) for fault, run in itertools.groupby(drawn[:-4]) if fault]
    assert min(bursts) == 4 and sum(bursts) / 2000 == pytest.approx(0.1, abs=0.03)


def test_rates_hold_and_what_is_asked_again_succeeds():
    faults = Faults({"any": 0.26, "batch_failed": 0.5})
    drawn = [faults.draw(str(number).encode(), TRANSPORT + CONTENT) for number in range(4000)]
    for name in TRANSPORT + CONTENT:
        assert drawn.count(name) / 4000 == pytest.approx(0.02, abs=0.01)
    assert faults.count["rate_limit"] == drawn.count("rate_limit")
    again = Faults({"cut": 0.9})
    assert "" in [again.draw(b"one question", CONTENT) for _ in range(100)]
    other = Faults({"cut": 0.9})
    assert [Faults({"cut": 0.5}, seed).draw(b"a", CONTENT) for seed in range(9)].count("cut") in range(2, 8)
    assert [other.draw(b"b", CONTENT) for _ in range(9)] == [again.draw(b"b", CONTENT) for _ in range(9)]


@pytest.mark.parametrize("rates", [{"cuts": 0.1}, {"cut": 0.6, "empty": 0.6}, {"hang": -0.1}])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(ValueError, match=r"no such fault: cuts|at most 1 together"):
        Faults(rates)
