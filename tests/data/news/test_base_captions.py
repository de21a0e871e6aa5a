import pytest

from diptych.data.news.base_captions import read_base_captions


def test_csv_and_json_lines_say_the_same(tmp_path):
    (tmp_path / "a.csv").write_text('query_id,matched_image_id,caption\n12e4567890123456,x,"A man,\na horse"\nb,y,\n')
    (tmp_path / "a.jsonl").write_text(
        '{"query_id": "12e4567890123456", "caption": "A man,\\na horse"}\n{"query_id": "b", "caption": " "}\n'
    )
    expected = {"12e4567890123456": "A man,\na horse", "b": ""}
    assert read_base_captions(tmp_path / "a.csv") == read_base_captions(str(tmp_path / "a.jsonl")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query_id,caption\na,x\na,y\n", "line 3: query 'a' occurs twice"),
        ("query_id,text\na,x\n", "line 2: key 'caption' is missing"),
        ("query_id,caption\n,x\n", "line 2: key 'query_id' is blank"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_base_captions(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="is not there"):
        read_base_captions(tmp_path / "absent.csv")
