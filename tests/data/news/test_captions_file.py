"""One reader of caption files: CSV, JSON lines and one JSON object."""

import pytest

from diptych.data.news.captions_file import read_captions, read_captions_of_all


def test_all_forms_of_file_say_the_same(tmp_path):
    (tmp_path / "a.json").write_text('{"12e4567890123456": "A man,\\na horse", "b": " "}')
    (tmp_path / "a.jsonl").write_text(
        '{"query_id": "12e4567890123456", "caption": "A man,\\na horse", "cider": 0.5}\n\n'
        '{"query_id": "b", "caption": " "}\n'
    )
    (tmp_path / "a.csv").write_text('query_id,matched_image_id,caption\n12e4567890123456,x,"A man,\na horse"\nb,y, \n')
    for name in ("a.json", "a.jsonl", "a.csv"):
        assert read_captions(tmp_path / name) == {"12e4567890123456": "A man,\na horse", "b": " "}, name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"a": "x",\n oops}', r"a\.json:2: not JSON"),
        ("a.json", '["a"]', "expected one JSON object"),
        ("a.json", '{"a": 3}', "expected one JSON object"),
        ("a.json", '{"a": "x", "b": null}', "query 'b': its caption must be a text, found null"),
        ("a.json", '{"a": "x", "a": "y"}', r"a\.json: query 'a' occurs twice"),
        ("a.jsonl", '{"query_id": "a", "caption": "x"}\n{"query_id": "b"}\n', r"a\.jsonl:2: .*'caption' is missing"),
        ("a.jsonl", '{"query_id": "a", "caption": 3}\n', r"a\.jsonl:1.*'caption' must be a string"),
        ("a.jsonl", '{"query_id": "a", "caption": "x"}\n{"query_id": "a", "caption": "y"}\n', r":2.*'a' occurs twice"),
        ("a.jsonl", '{"query_id": " ", "caption": "x"}\n', r"a\.jsonl:1: key 'query_id' is blank"),
        ("a.csv", "query_id,caption\na,x\na,y\n", "line 3: query 'a' occurs twice"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_captions(tmp_path / name)
    with pytest.raises(ValueError, match="is not there"):
        read_captions(tmp_path / f"absent.{name}")


def test_several_files_are_one_where_no_query_is_in_two(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "one", "b": "two"}')
    (tmp_path / "b.jsonl").write_text('{"query_id": "c", "caption": "three"}\n')
    assert read_captions_of_all([tmp_path / "a.json", tmp_path / "b.jsonl"]) == {"a": "one", "b": "two", "c": "three"}
    (tmp_path / "c.json").write_text('{"d": "four", "b": "five"}')
    with pytest.raises(ValueError, match=r"c\.json: query 'b' has a caption in .*a\.json, .*b\.jsonl already"):
        read_captions_of_all([tmp_path / name for name in ("a.json", "b.jsonl", "c.json")])
