"""The blind page: nothing in it says which way wrote what, and its marks come back from the browser."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from annotated_pairs import NASTY
from browser import needs_browser, opened

from diptych.commands.main import run
from diptych.report.blind_page import write_blind_page
from diptych.report.rendering import environment
from diptych.storage.record_log import RecordLog


@pytest.fixture
def ways(out) -> dict[str, Path]:
    """Two ways with sentences for the pairs one and two; the first of them for the third, too."""
    paths = {"careful": out / "c.jsonl", "hasty": out / "h.jsonl"}
    for name, pairs in (("careful", ("one", "two", "three")), ("hasty", ("one", "two"))):
        records = [{"pair_id": pair, "sentences": [f"{pair} by c.", NASTY][: 1 + (pair == "one")]} for pair in pairs]
        if name == "hasty":
            records = [{"pair_id": pair, "sentences": [f"{pair} by h."]} for pair in pairs]
        RecordLog(paths[name], "pair_id").write(records)
    return paths


def test_the_page_does_not_say_which_is_which_and_the_key_does(out, ways, caplog):
    pairs = out.parent / "pairs.json"
    page, key = write_blind_page(pairs, ways, out / "blind")
    text, content = page.read_text(), json.loads(key.read_text())
    for word in ("careful", "hasty", "c.jsonl", "h.jsonl", '"one"', "a.png"):
        assert word not in text
    assert "1 of 3 pairs lack a local image or sentences of a way: left out" in caplog.text
    assert NASTY not in text and NASTY in unescape(text) and not re.search(r'(src|href)="(?!data:)', text)
    assert text.count('src="data:image/jpeg;base64,') == 4
    for number, pair in enumerate(content["pairs"], start=1):
        assert sorted(pair["ways"].values()) == ["careful", "hasty"]
        for side, way in pair["ways"].items():
            assert pair["sentences"][side][0] == f"{pair['pair_id']} by {way[0]}."
            item = text.index(f'data-item="{number}/{side}/0"')
            assert text[item:].startswith(f'data-item="{number}/{side}/0"><span>{pair["sentences"][side][0]}<')
    assert {pair["ways"]["A"] for pair in content["pairs"]} == {"careful", "hasty"}, (
        "each way is A in half of the pairs"
    )
    assert content["page"] in text
    again = write_blind_page(pairs, ways, out / "again")
    assert [path.read_bytes() for path in again] == [page.read_bytes(), key.read_bytes()]


def test_the_seed_decides_order_and_sides(out, ways):
    seen = set()
    for seed in range(12):
        content = json.loads(write_blind_page(out.parent / "pairs.json", ways, out, seed=seed)[1].read_text())
        seen.add(tuple((pair["pair_id"], pair["ways"]["A"]) for pair in content["pairs"]))
    assert len(seen) == 4


@pytest.mark.processes
@needs_browser
def test_what_the_page_saves_is_what_the_rates_are_made_of(out, ways, tmp_path, capsys):
    """Clicks in a browser; the page's policy is taken out of this copy, so that the clicks may be scripted."""
    page, key = write_blind_page(out.parent / "pairs.json", ways, out / "blind")
    clicks = """<script>
    const named = name => { annotator.value = name; annotator.dispatchEvent(new Event("input")); };
    const press = (item, value) =>
      document.querySelector(`[data-item="${item}"] button[value="${value}"]`).click();
    const told = text => { const note = document.createElement("pre"); note.className = "told";
      note.textContent = text; document.body.append(note); };
    press("1/A/0", "right"); told(document.getElementById("marked").textContent);
    named("Ann"); press("1/A/0", "right"); press("1/A/0", "wrong"); press("1/B/0", "hallucinated");
    press("1/B/missed", "yes"); press("1/B/missed", "yes"); press("2/better", "B");
    named("Bob"); told(content()); press("1/A/0", "right");
    named(" Ann "); told(content()); told(document.getElementById("marked").textContent);
    </script>"""
    copy = tmp_path / "copy.html"
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text(), flags=re.S)
    copy.write_text(text.replace("</body>", f"{clicks}</body>"))
    first, bob, ann, marked = map(unescape, re.findall(r'<pre class="told">(.*?)</pre>', opened(copy), re.S))
    assert first == "Enter your name to begin." and json.loads(bob)["marks"] == {}
    assert marked.startswith("3 of "), "the marks of a name come back from the browser's storage"
    assert json.loads(ann)["marks"] == {"1/A/0": "wrong", "1/B/0": "hallucinated", "2/better": "B"}
    assert "Enter your name to begin." in opened(page), "the page's own script runs under its policy"
    (out / "ann.json").write_text(ann)
    assert run("blind rates", [f"key={key}", f"files=[{out / 'ann.json'}]"]) == 0
    found = json.loads((out / "blind" / "blind_rates.json").read_text())
    ways_of_first = json.loads(key.read_text())["pairs"][0]["ways"]
    assert found["ways"][ways_of_first["A"]]["sentences_wrong"]["rate"] == 1.0
    assert found["ways"][ways_of_first["B"]]["sentences_hallucinated"]["rate"] == 1.0
    assert "Ann marked 3 of" in capsys.readouterr().out


def test_mistakes_are_answered(out, ways, capsys):
    words = [f"pairs={out.parent / 'pairs.json'}", f"out={out / 'blind'}"]
    both = f"ways=[careful={ways['careful']},hasty={ways['hasty']}]"
    assert run("blind page", [*words, both, "number=1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(out / "blind" / name) for name in ("blind.html", "blind_key.json")
    ]
    assert run("blind page", [*words, f"ways=[careful={ways['careful']}]"]) == 2
    assert "a page compares two ways" in capsys.readouterr().err
    assert run("blind page", [*words, f"ways=[{ways['careful']},x=y]"]) == 2
    assert "write two files by name" in capsys.readouterr().err
    assert run("blind page", [*words, f"ways=[careful={ways['careful']},hasty={out / 'absent.jsonl'}]"]) == 2
    assert "no pair of" in capsys.readouterr().err
    assert run("blind rates", ["key=x", "files=[]"]) == 2
    assert "files=[...] names no file" in capsys.readouterr().err


def test_no_script_ends_early():
    assert "</" not in environment().loader.get_source(environment(), "blind.js")[0]
