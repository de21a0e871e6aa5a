"""The lines of docs/python.md, which the README has too, run as they stand beside two tiny runs."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_lines_run_and_give_what_they_say(work, rooms_run, newsroom_run, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(work)
    names = {}
    exec(lines, names)
    assert len(names["retriever"]) == len(list((work / "data/rooms/images/val_test").rglob("*.jpg"))) > 50
    assert len(names["found"]) == 5 and names["room"] not in names["found"]
    assert (work / "rooms.index").is_file()
    printed = capsys.readouterr().out
    assert names["found"][0].image_id in printed and names["caption"].text in printed
    assert names["caption"].article_title == "Bridge opens"
    assert names["caption"].chunks == ("It was opened on Monday.",)
