"""JSON from outside is bounded in depth and digits, and what comes out of it can be written."""

import json
import time

import pytest

from diptych.storage.json_values import DEEPEST, NoJSON, encodable, json_objects, json_value


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
    with pytest.raises(ValueError, match="two keys"):
        json_value(r'{"\ud83d": 1, "\ud83e": 2}')


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
