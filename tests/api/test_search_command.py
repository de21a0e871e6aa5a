"""`diptych search`: the folder is indexed once, the table is the retriever's, and mistakes are answered in a line."""

from __future__ import annotations

import re

import pytest
from PIL import Image

import diptych
from diptych.commands.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Four pictures of one colour each; indexes go into a folder of the test's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "green"), ("c.png", "blue"), ("d.png", "white")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "data"))
    return folder


def search(*words: str) -> int:
    return main(["search", *words, "device=cpu"])


def test_the_table_is_what_the_retriever_finds(rooms_run, photos, tmp_path, capsys):
    picture = photos / "b.png"
    asked = [f"ckpt={rooms_run}", f"images={photos}", f"image={picture}", "text=make it red", "k=2"]
    assert search(*asked, f"out={tmp_path / 'out'}") == 0
    said = capsys.readouterr().out
    retriever = diptych.load_retriever(rooms_run, "cpu")
    retriever.index(photos, show_progress=False)
    both = retriever.search(picture, "make it red", k=2, exclude=["b.png"])
    alone = [retriever.search(*half, k=9, exclude=["b.png"]) for half in ((picture, None), (None, "make it red"))]
    rows = re.findall(r"^ +(\d) +(-?[\d.]+) +(\d) +(\d)  (.+)$", said, re.MULTILINE)
    places = [{each.image_id: str(place) for place, each in enumerate(those, 1)} for those in alone]
    expected = [
        (str(place), f"{each.score:.4f}", *(of[each.image_id] for of in places), each.image_id)
        for place, each in enumerate(both, 1)
    ]
    assert rows == expected
    assert "b.png: the picture itself" in said
    page = (tmp_path / "out/search.html").read_text()
    assert page.count("<article>") == 3 and "make it red" in page and page.count('class="result"') == 6
    with Image.open(tmp_path / "out/search.jpg") as sheet:
        assert sheet.width > 1000
    assert len(list((tmp_path / "data/searched").iterdir())) == 1


def test_a_text_alone_in_an_index_alone(rooms_run, photos, tmp_path, capsys):
    index = tmp_path / "photos.index"
    assert search(f"ckpt={rooms_run}", f"images={photos}", f"index={index}") == 0
    assert "score" not in capsys.readouterr().out
    assert search(f"ckpt={rooms_run}", f"index={index}", "text=red", f"out={tmp_path / 'out'}") == 0
    said = capsys.readouterr().out
    assert "place by" not in said and "4 images" in said
    assert (tmp_path / "out/search.html").read_text().count("<article>") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("say what to search: images=FOLDER", ["text=red"]),
        ("say what to search for", ["index=photos.index"]),
        ("image=absent.png: there is no such file", ["images=photos", "image=absent.png"]),
        ("k=0 must be at least 1", ["images=photos", "text=red", "k=0"]),
    ],
)
def test_mistakes_are_answered_before_anything_is_loaded(message, words, capsys):
    assert search("ckpt=absent.ckpt", *words) == 2
    assert message in capsys.readouterr().err
