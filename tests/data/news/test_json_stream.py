from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from diptych.data.news import json_stream
from diptych.data.news.json_stream import stream_members

PATH = Path("database.json")
CONTENT = {
    "0000": {"title": 'braces }{][ and "quotes" and \\ and \\"', "images": ["a", "b"], "none": None},
    "12e4": {"title": "größer 新聞 😀\n\t", "deep": [[{"x": [1.5, -2e9, True]}]]},
    "": [],
    "number": 1234567,
    "text": "",
}


def members(text: str | bytes, **settings) -> list:
    data = text if isinstance(text, bytes) else text.encode()
    return list(stream_members(io.BytesIO(data), PATH, **settings))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_equals_the_whole_parsed_at_once(monkeypatch, chunk, indent):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    for ascii_only in (True, False):
        text = json.dumps(CONTENT, indent=indent, ensure_ascii=ascii_only)
        assert [(key, value) for key, value, _ in members(text)] == list(CONTENT.items())
        assert [(key, value) for key, value, _ in members(b"\xef\xbb\xbf" + text.encode())] == list(CONTENT.items())


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
def test_lines_count_line_breaks_within_strings_too(monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    text = '\n{"a": "raw\nbreak\x01",\n\n"b"\n:1, "c": {\n"d":\n2}, "e": 3\n}\n\n'
    assert members(text) == [("a", "raw\nbreak\ufffd", 2), ("b", 1, 5), ("c", {"d": 2}, 6), ("e", 3, 8)]


def test_texts_and_keys_can_be_written():
    text = '{"\\ud83d": {"a\\u0000": ["\\ude00", "\\ud83d\\ude00\f"]}}'
    assert members(text) == [("\ufffd", {"a\ufffd": ["\ufffd", "\U0001f600 "]}, 1)]


def test_an_object_without_members_and_repeated_keys():
    assert members(" {\n} ") == []
    assert [member.value for member in members('{"a": 1, "a": 2}')] == [1, 2]


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a JSON object of ids to records, found the end"),
        ("[1]", r"expected a JSON object of ids to records, found '\['"),
        ('{"a": 1', r"line 1: expected ',' or '}' after the value of 'a', found the end of the file: is it cut off"),
        ('{"a": 1,\n"b": {"c": "d', "line 2: the value of 'b' is not valid JSON .Unterminated string"),
        ('{"a": 1,\n"b": {"c": 1\n"d": 2}}', "line 3: the value of 'b' is not valid JSON .Expecting ',' delimiter"),
        ('{"a": 1\n"b": 2}', "line 2: expected ',' or '}' after the value of 'a', found '\"'"),
        ('{"a" 1}', "line 1: expected ':' after the key 'a'"),
        ('{"a": 1,\n}', "line 2: a key is not valid JSON"),
        ("{1: 2}", "expected a key in double quotes, found 1"),
        ('{"a": 1}\n{', "line 2: expected the end of the file after the object, found '{'"),
        ('{"a": ' + "[" * 100_000, r"line 1: the value of 'a' is no record \(nested more than 100 times\)"),
        ('{"a": ' + "[" * 101 + "]" * 101 + "}", r"line 1: the value of 'a' is no record \(nested more than 100"),
        (r'{"a": {"\ud83d": 1, "\ud83e": 2}}', "line 1: the value of 'a' is no record .the keys .* differ only in"),
        ('{"a": ' + "9" * 10_000 + "}", "line 1: the value of 'a' is no"),
        (b'{"a": "ok",\n"b": "\xff"}', r"line 2: not UTF-8 text \(byte 0xff\)"),
        (b'{"a": "ok",\n"b": "\xc3', "line 2: not UTF-8 text"),
    ],
)
def test_what_is_wrong_and_where(monkeypatch, chunk, text, message):
    if len(text) > 5_000 and chunk == 1:
        pytest.skip("long texts in one piece only")
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    with pytest.raises(ValueError, match=message):
        members(text)


def test_a_missing_quote_does_not_pull_the_whole_file_into_memory(monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 100)

    class Counted(io.BytesIO):
        num_read = 0

        def read(self, size):
            self.num_read += size
            return super().read(size)

    file = Counted(b'{"a": "' + b"x" * 100_000)
    with pytest.raises(ValueError, match="'a' is not valid JSON .Unterminated.*or longer than 1,000 characters"):
        list(stream_members(file, PATH, longest=1_000))
    assert file.num_read < 5_000
