"""What a server may answer to harm: it becomes an answer or a failure, clean, bounded and without the key."""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.annotation.answers import ImageDescription, InvalidAnswer, parse
from diptych.annotation.askers.batch_results import Refused, Unanswered, read_line
from diptych.contracts.pipelines import Answer, Failure
from diptych.models.server import completion
from diptych.models.server.bodies import TooLargeBody, UnreadableBody, unpacked
from diptych.models.server.completion import read_completion
from diptych.models.server.finish_reasons import is_cut, is_filtered
from diptych.models.server.secret_keys import redacted
from diptych.models.server.server_failures import ServerFailure, asked_wait, no_completion, refused_answer
from diptych.models.server.taken_parameters import put_otherwise, refused_parameters
from diptych.storage.json_values import encodable, json_value

KEY = "sk-proj-8Zq4_wX2-vB7tLmN0pRs5yUe/+=1"
BEARER = base64.b64encode(f"Bearer {KEY}".encode()).decode()


# ---------------------------------------------------------------------------------------------------- the key

ECHOES = {
    "plain": KEY,
    "upper case": KEY.upper(),
    "percent": quote(KEY, safe=""),
    "percent, each": "".join(f"%{ord(sign):02X}" for sign in KEY),
    "percent, twice": quote(quote(KEY, safe=""), safe=""),
    "JSON escapes": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "HTML": "".join(f"&#{ord(sign)};" for sign in KEY),
    "HTML, hexadecimal": "".join(f"&#x{ord(sign):x};" for sign in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, for addresses": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 of the header": BEARER,
    "base64 in the middle": base64.b64encode(f"x{KEY}y".encode()).decode(),
    "hexadecimal": KEY.encode().hex(),
    "backwards": KEY[::-1],
    "split by blanks": " ".join(KEY),
    "split by lines": "\n".join(KEY),
    "split in two": f"{KEY[:18]} \n {KEY[18:]}",
    "split by nothing to see": "\u200b".join(KEY),
    "the first half": KEY[:18],
    "the second half": KEY[18:],
}


def holds_the_key(text: str) -> bool:
    """Eight characters of it in a row, in whatever form."""
    letters = "".join(filter(str.isalnum, text.lower()))
    forms = (KEY, KEY[::-1], BEARER[12:-6], KEY.encode().hex())
    plain = ["".join(filter(str.isalnum, form.lower())) for form in forms]
    return any(form[start : start + 10] in letters for form in plain for start in range(len(form) - 9))


@pytest.mark.hostile("network")
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_the_key_is_in_nothing_that_is_kept_or_shown(echo):
    message = {"content": f"You sent {echo}, thanks"}
    body = {"choices": [{"message": message, "finish_reason": f"x{echo}"}], "usage": {echo: 1}}
    text, reason, counts, _ = read_completion(json.loads(json.dumps(body)), KEY)
    assert "***" in text and text.startswith("You sent ") and not holds_the_key(f"{text}|{reason}|{counts}")
    for status in (400, 500, 403, 404, 429, 402, 418):
        said = json.dumps({"error": {"message": f"you sent {echo}", "code": echo, "param": echo}}).encode()
        assert not holds_the_key(str(refused_answer(status, {"location": echo}, said, KEY)))
    assert not holds_the_key(str(refused_answer(307, {"location": f"http://other/{echo}"}, b"", KEY)))
    assert not holds_the_key(str(no_completion(echo.encode(), KEY)))
    for line in (
        {"response": {"status_code": 400, "body": {"error": {"message": echo}}}},
        {"response": {"status_code": echo, "body": echo}},
        {"error": {"code": echo, "message": echo}},
        {"response": {"status_code": 200, "body": body}},
        {"response": {"status_code": 200, "body": {"choices": echo}}},
    ):
        assert not holds_the_key(repr(read_line(json.dumps({"custom_id": "k", **line}), KEY)))


def test_placeholders_are_no_keys():
    text = "any lamp, none of them EMPTY, and a placeholder of ollama"
    for key in ("", "x", "any", "none", "EMPTY", "ollama", "placeholder"):
        assert redacted(text, key) == text
    assert redacted("a lamp of brass", KEY) == "a lamp of brass"
    assert redacted("x" * 10**6 + KEY, KEY) == "***"


@pytest.mark.hostile("network")
@pytest.mark.parametrize("key", ["a1b2", "pass", "Qw-9z!x", "s3cr3t_"])
def test_short_keys_are_hidden_as_words(key):
    for echo in (
        key,
        f"key={key}, x",
        f"({key})",
        quote(f" {key} ", safe=""),
        "".join(f"\\u{ord(sign):04x}" for sign in key),
    ):
        assert key not in redacted(echo, key) and "***" in redacted(echo, key), echo
    assert redacted(f"x{key}y {key[:-1]}", key) == f"x{key}y {key[:-1]}"  # a part of another word


@pytest.mark.hostile("network")
@pytest.mark.parametrize("between", ["\0", "\ufffd", " \u2022 ", "................", "\u3000"])
def test_signs_between_the_keys_characters_do_not_hide_it(between):
    hidden = redacted(encodable(f"Bearer {between.join(KEY)}!"), KEY)
    assert KEY[:12] not in "".join(filter(str.isalnum, hidden))


# ---------------------------------------------------------------------------------------------------- odd answers


def completion_of(content=..., usage=None, reason="stop"):
    message = {} if content is ... else {"content": content}
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": None}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "thinking", "text": "draft"}, {"type": "reasoning_text", "text": "?"}, {"text": "a"}], "a"),
        ([{"text": {"value": "a"}}, {"text": 3}, "b", None], ""),
        ({"text": "a"}, ""), (3, ""), (True, ""), (None, ""), (..., ""), (["a"], ""),
        ("a\0b\x1b[2J\x9bc\x7f\td\ne", "a\ufffdb\ufffd[2J\ufffdc\ufffd\td\ne"),
        ("a \ud83d b", "a \ufffd b"),
    ],
)  # fmt: skip
def test_contents_of_odd_types(content, text):
    assert read_completion(completion_of(content))[0] == text


@pytest.mark.hostile("network")
@pytest.mark.parametrize("count", [10**30, -1, -(10**9), 2**31, True, 1.5, math.nan, math.inf, "9", [9], {"n": 9}])
def test_counts_that_are_none_are_left_out_and_said_once(count, caplog):
    completion._say_that_estimates_count.cache_clear()
    for _ in range(3):
        counts = read_completion(completion_of("a", {"prompt_tokens": count, "completion_tokens": 2}))[2]
        assert counts == {"completion_tokens": 2}
    assert caplog.text.count("the estimates of cost count") == 1


def test_counts_that_a_server_does_not_give(caplog):
    completion._say_that_estimates_count.cache_clear()
    assert read_completion(completion_of("a", {"prompt_tokens": None, "cost": 0.1}))[2] == {}
    assert not caplog.text


# ---------------------------------------------------------------------------------------------------- words of the end


@pytest.mark.parametrize(
    "word", ["length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "maxTokens"]
)
def test_words_for_cut(word):
    assert is_cut(word) and not is_filtered(word)


@pytest.mark.parametrize(
    "word", ["content_filter", "SAFETY", "refusal", "RECITATION", "content-filter", "ContentFilter"]
)
def test_words_for_withheld(word):
    assert is_filtered(word) and not is_cut(word)


@pytest.mark.parametrize("word", ["stop", "eos_token", "STOP", "end_turn", "", "tool_calls", "function_call", "???"])
def test_other_words(word):
    assert not is_filtered(word) and not is_cut(word)


# ---------------------------------------------------------------------------------------------------- parameters


def openai_error(message, param=None, code=None):
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (openai_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use"
                      " 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter"), ("max_tokens",)),
        (openai_error("Unsupported value: 'temperature' does not support 0.0 with this model. Only the default"
                      " (1) value is supported.", "temperature", "unsupported_value"), ("temperature",)),
        (openai_error("x", "temperature", "unsupported_value"), ("temperature",)),
        (openai_error("Unrecognized request argument supplied: response_format"), ("response_format",)),
        (openai_error("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
         ("response_format",)),
        ({"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'temperature')}]", "code": 400},
         ("temperature",)),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs"}]},
         ("max_tokens",)),
        ({"message": "temperature: only 0.6 is allowed for this model"}, ("temperature",)),
        ("unknown field `response_format`", ("response_format",)),
        (openai_error("Unsupported: temperature. Supported: max_tokens"), ("temperature", "max_tokens")),
        # faults of a value, which another name does not help against
        (openai_error("max_tokens is too large: 5000. This model supports at most 4096 completion tokens", "max_tokens",
                      "invalid_value"), ()),
        ({"message": "This model's maximum context length is 2048 tokens. 'max_tokens' or 'max_completion_tokens' is"
                     " too large: unsupported"}, ()),
        (openai_error("Invalid image", "messages", "invalid_image"), ()),
        (openai_error("the temperature of the room"), ()),
        ("", ()), (None, ()), (3, ()), ([], ()), ({"error": {"param": ["temperature"], "code": {}}}, ()),
    ],
)  # fmt: skip
def test_what_a_refusal_says_of_parameters(error, names):
    assert refused_parameters(error) == names
    failure = refused_answer(422, {}, json.dumps(error).encode(), "")
    assert failure.parameters == names


def test_how_a_request_is_put_otherwise():
    body = {"model": "m", "max_tokens": 5, "temperature": 0.0, "response_format": {}}
    everything = frozenset(body) - {"model"}
    assert put_otherwise(body, everything) == {"model": "m", "max_completion_tokens": 5}
    assert put_otherwise(body, frozenset()) == body


# ---------------------------------------------------------------------------------------------------- anything at all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud83d", "\0", KEY])
NAMES = st.text() | st.sampled_from(
    [
        "choices",
        "message",
        "refusal",
        "code",
        "param",
        "response",
        "status_code",
        "body",
        "objects",
        "name",
        "descriptors",
        "content",
        "text",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "finish_reason",
        "error",
    ]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5))
MESSAGES = st.fixed_dictionaries({}, optional={"content": VALUES, "refusal": VALUES})
CHOICES = st.fixed_dictionaries({"message": MESSAGES | VALUES}, optional={"finish_reason": VALUES})
BODIES = VALUES | st.fixed_dictionaries({"choices": st.lists(CHOICES, max_size=2) | VALUES}, optional={"usage": VALUES})
STATUSES = st.integers() | VALUES | st.sampled_from([200, 400, 403, 404, 413, 422, 429, 500])
BYTES = (
    BODIES.map(lambda body: json.dumps(body).encode())
    | st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "replace"))
)


def check_clean(*texts: str) -> None:
    for text in texts:
        text.encode()
        assert "\0" not in text and KEY not in text


def check_answer(answer: Answer) -> None:
    check_clean(answer.text, answer.finish_reason, *answer.usage)
    assert all(type(count) is int and 0 <= count < 2**31 for count in answer.usage.values())
    try:
        found = parse(ImageDescription, answer)
    except InvalidAnswer as error:
        str(error).encode()
    else:
        check_clean(*(text for one in found.objects for text in (one.name, *one.descriptors)))


@pytest.mark.hostile("annotation")
@given(BYTES, st.integers(0, 999))
def test_whatever_a_server_answers(said, status):
    try:
        body = json_value(said)
    except ValueError:
        body = None
    found = read_completion(body, KEY)
    if found is not None:
        check_answer(Answer(found.text, found.finish_reason, found.counts, 0.0, found.logprobs))
        check_clean(*(token for place in found.logprobs for token in place))
    failure = refused_answer(status, {"retry-after": "soon"}, said, KEY)
    assert isinstance(failure, ServerFailure) and len(str(failure)) < 600
    check_clean(str(failure), str(no_completion(said, KEY)))


@pytest.mark.hostile("annotation")
@given(BYTES | st.builds(
    lambda status, body, error: json.dumps(
        {"custom_id": "k", "response": {"status_code": status, "body": body}, "error": error}
    ).encode(), STATUSES, BODIES, VALUES,
))  # fmt: skip
def test_whatever_stands_in_a_line_of_a_batch(line):
    found = read_line(line, KEY)
    result = found[1] if found else None
    assert result is None or isinstance(result, Answer | Failure | Refused | Unanswered)
    if isinstance(result, Answer):
        check_answer(result)
    elif result is not None:
        failure = result.failure if isinstance(result, Refused) else result
        check_clean(failure.reason, failure.message)


@pytest.mark.hostile("network")
@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", "gzip, deflate", "", "br", "GZIP,,identity"]))
def test_whatever_is_packed_however(data, encoding):
    with suppress(UnreadableBody, TooLargeBody):
        assert sum(map(len, unpacked([data[:7], data[7:]], encoding, 10_000))) <= 10_000


@pytest.mark.hostile("network")
@given(st.text())
def test_whatever_a_server_asks_to_wait(said):
    assert 0 <= asked_wait({"retry-after": said}) <= 86_400
