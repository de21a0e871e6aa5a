"""JSON from outside is bounded in depth and digits, and what comes out of it can be written."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.storage.json_values import (
    DEEPEST,
    NoJSON,
    encodable,
    encodable_value,
    first_json_value,
    json_objects,
    json_text,
    json_value,
)

_ANY = st.characters() | st.sampled_from('\ud83d\ude00\udfff\0\x1b\x0c\x7f\x85\u2028\u202e\\"b')


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a": ', "}")])
def test_the_deepest_that_is_read(opening, closing):
    json_value(opening * DEEPEST + "1" + closing * DEEPEST)
    for deeper in (DEEPEST + 1, 100_000):
        for pairs in (None, dict):
            with pytest.raises(NoJSON, match=f"nested more than {DEEPEST} times"):
                json_value(opening * deeper + "1" + closing * deeper, pairs)


def test_brackets_in_texts_are_no_nesting():
    values = ["[" * 500, '"[{' * 500, "\\" * 7 + "{" * 200, {"[" * 200: "]"}, "[\\", '\\"' + "[" * 300]
    for ascii_only in (True, False):
        assert json_value(json.dumps(values, ensure_ascii=ascii_only)) == values
    assert len(json_value(json.dumps([[]] * 5000))) == 5000


def test_where_it_is_nested_too_deeply():
    with pytest.raises(NoJSON) as raised:
        json_value('{"a":\n"[[",\n "b": ' + "[" * 200)
    assert (raised.value.line, raised.value.column) == (3, 6 + DEEPEST)


def test_a_number_too_long():
    with pytest.raises(NoJSON, match="4,300 digits"):
        json_value("[1" + "0" * 5000 + "]", dict)


@pytest.mark.parametrize(
    "written, read",
    [
        (r'"a\ud83d"', "a\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\uD83D\uDE00 \uDE00"', "\U0001f600 \ufffd"),
        ('"\ud83d"', "\ufffd"),
        (r'["\\ud83d"]', ["\\ud83d"]),
        (r'{"\ud83d": [{"b": "\ude00"}]}', {"\ufffd": [{"b": "\ufffd"}]}),
    ],
)
def test_halves_of_pairs_are_replaced(written, read):
    for pairs in (None, dict):
        value = json_value(written, pairs)
        assert value == read
        json.dumps(value, ensure_ascii=False).encode()


def test_pairs_see_repeated_keys_and_what_they_say_comes_through():
    def refuse(items):
        raise ValueError(f"{[key for key, _ in items]}")

    with pytest.raises(ValueError, match=r"\['a', 'a'\]") as raised:
        json_value('{"a": 1, "a": 2}', refuse)
    assert not isinstance(raised.value, NoJSON)


def test_keys_that_would_become_one():
    with pytest.raises(NoJSON, match=r"the keys '\\ud83d' and '\\x07' differ only in characters that no file can hold"):
        json_value(r'{"a": {"b": 1, "\ud83d": 1, "\u0007": 2}}')
    with pytest.raises(ValueError, match="the keys"):
        encodable_value({"\0": 1, "\ufffd": 2})


def test_a_byte_order_mark():
    assert json_value(b"\xef\xbb\xbf[1]") == [1]


def test_objects_within_a_text():
    text = 'Sure: {"a": {"b": "line\nbreak \\ud83d"}} and {broken and ' + '{"c":' * 150 + "1" + "}" * 150
    found = json_objects(text)
    assert found[:2] == [{"a": {"b": "line\nbreak \ufffd"}}, {"b": "line\nbreak \ufffd"}]
    assert len(found) == 2 + DEEPEST  # the outer 50 are nested too deeply


@pytest.mark.hostile("annotation")
@pytest.mark.parametrize(
    "text",
    [
        "{" * 10**6,
        '{"' * 10**6,
        '{"a":' * 10**5,
        '[{"a":[' * 10**5,
        "{}" * 10**6,
        '{"a":' * 99 + f'"{"x" * 10**6}"' + "}" * 99,
    ],
    ids=lambda text: text[:8],
)
def test_the_search_for_objects_is_bounded(text):
    """Each of these once took minutes to hours."""
    started = time.process_time()
    assert len(json_objects(text)) < 50_000
    assert time.process_time() - started < 20  # tenths of a second


@pytest.mark.hostile("annotation")
def test_objects_behind_many_brackets_are_found():
    assert json_objects("{" * 5000 + '{"a": [{"b": 1}]}')[-2:] == [{"a": [{"b": 1}]}, {"b": 1}]
    assert json_objects('{"\\ud83d": 1, "\\ud83e": 2} {"a": 1}') == [{"a": 1}]  # two keys that become one


def test_encodable():
    assert encodable("plain é \U0001f600") == "plain é \U0001f600"
    assert encodable("a\ud83db\ude00") == "a\ufffdb\ufffd"
    assert encodable("\ud83d" + "\ude00") == "\U0001f600"


def test_control_characters():
    kept = "a\tb\nc\r\n\u2028\u202e\u200b\ufeff\ue000"
    assert encodable(kept) == kept
    assert encodable("\0\x01\x07\x08\x1b[0m\x7f\x80\x92\x9b") == "\ufffd" * 5 + "[0m" + "\ufffd" * 4
    assert encodable("a\x0bb\x0cc\x1cd\x1fe\x85f") == "a b c d e f"


@pytest.mark.parametrize(
    "text",
    [
        r'"\u0000 \u000B \u001b \b \f \u007f \u0085 \u009B \n"',
        '"\x7f\x85"',
        r'{"\u0000": ["\u0000"]}',
        r'"\u0009\u000a"',
    ],
)
def test_control_characters_in_json_are_those_of_a_text(text):
    assert json_value(text) == json_value(text, dict) == encodable_value(json.loads(text))
    assert first_json_value(f" {text},", 1) == (json_value(text), len(text) + 1)


@given(
    st.recursive(st.text(_ANY), lambda inner: st.lists(inner) | st.dictionaries(st.text(_ANY), inner)), st.booleans()
)
def test_any_value_can_be_written_and_read(value, ascii_only):
    """The writer never fails; what is read is what a reader makes of the value, and stays so."""
    text = json_text(value, ascii_only=ascii_only)
    assert not ascii_only or text.isascii()
    text.encode()
    try:
        expected = encodable_value(value)
    except ValueError:  # two keys become one
        return
    assert json_value(text) == expected == json_value(json.dumps(value))
    assert json_value(json_text(expected, ascii_only=ascii_only)) == expected
