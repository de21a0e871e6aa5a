"""The review page, from the folder of a small run."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from annotated_pairs import NASTY
from browser import needs_browser, opened, typed_into

from diptych.annotation.reviews import read_reviews
from diptych.commands.main import run
from diptych.report.annotation_review import write_review
from diptych.report.rendering import environment


def test_the_page_shows_what_changed_and_loads_nothing(out):
    page = write_review(out, out.parent / "pairs.json").read_text()
    assert "<del>red</del>, round" in page and "<ins>blue</ins>, round" in page
    assert '<li class="gone"><b>lamp</b>: brass</li>' in page
    assert page.count('src="data:image/jpeg;base64,') == 4 and "second model: no" in page
    assert NASTY not in page and unescape(page).count(NASTY) >= 2, "escaped wherever it stands"
    assert page.count('class="decision"') == 5 and "Pair three" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert write_review(out, out.parent / "pairs.json").read_text() == page


def test_decisions_come_back_and_those_of_other_pages_stay(out):
    decisions = [
        {"pair_id": "one", "sentence": NASTY, "accepted": False},
        {"pair_id": "two", "sentence": None, "accepted": True},
        {"pair_id": "gone", "sentence": "</script>", "accepted": True},
    ]
    (out / "reviews.jsonl").write_text("".join(json.dumps(decision) + "\n" for decision in decisions))
    page = write_review(out, out.parent / "pairs.json", first=1, number=1).read_text()
    assert page.count('data-known="false"') == 1 and 'data-known="true"' not in page
    others = re.search(r'id="others">(.*?)</script>', page).group(1)
    assert json.loads(others) == decisions[1:]


@pytest.mark.processes
@needs_browser
def test_what_the_button_saves_is_what_the_export_reads(out, tmp_path):
    """Clicks in a browser; the page's policy is taken out of this copy, so that the clicks may be scripted."""
    (out / "reviews.jsonl").write_text('{"pair_id": "two", "sentence": null, "accepted": true}\n')
    page = write_review(out, out.parent / "pairs.json").read_text()
    clicks = """<script>
    const press = (place, value) => boxes[place].querySelector(`button[value=${value}]`).click();
    press(0, true); press(0, false); press(1, true); press(2, false); press(4, true); press(4, true);
    const done = document.createElement("pre"); done.id = "saved"; done.textContent = lines();
    document.body.append(done);
    </script>"""
    copy = tmp_path / "copy.html"
    copy.write_text(re.sub(r"<meta http-equiv.*?>", "", page, flags=re.S).replace("</body>", f"{clicks}</body>"))
    shown = {path: opened(path) for path in (out / "review.html", copy)}
    assert "1 of 5 decided" in shown[out / "review.html"], "the page's own script runs under its policy"
    assert "4 of 5 decided" in shown[copy]
    saved = unescape(re.search(r'<pre id="saved">(.*?)</pre>', shown[copy], re.S).group(1))
    (out / "reviews.jsonl").write_text(saved)
    reviews = read_reviews(out / "reviews.jsonl")
    assert dict(reviews.decisions) == {
        ("one", None): False, ("one", "Make the rug blue."): True, ("one", NASTY): False, ("two", None): True,
    }  # fmt: skip


@pytest.mark.processes
@needs_browser
def test_pairs_and_sentences_are_decided_by_keys(out):
    page = write_review(out, out.parent / "pairs.json")
    shown = typed_into(
        page,
        """
        const key = name => document.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
        for (const name of ["a", "n", "a", "r", "p", "p", "r", "n", "n", "a", "a", "a"]) key(name);
        document.title = boxes.map(decisionOf).join(" ") + " " + boxes.indexOf(document.activeElement);
        """,
    )
    # a: nothing has the focus. n a r: the first accepted, the second rejected, on to the third; p p: back to the first;
    # r: it is rejected after all, on to the second; n n: to the fourth; a: on to the fifth, the last; a a: it stays.
    assert "<title>false false  true true 4</title>" in shown and "4 of 5 decided" in shown


def test_nothing_to_review_is_an_error(out, capsys):
    with pytest.raises(ValueError, match="sentences for 2 pairs of .*pairs.json, none from 3 on"):
        write_review(out, out.parent / "pairs.json", first=3)
    assert run("review", [str(out), "--pairs", str(out.parent / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err
    assert run("review", [str(out), "--pairs", str(out.parent / "pairs.json")]) == 0
    assert capsys.readouterr().out.strip() == str(out / "review.html")


def test_no_script_ends_early():
    assert "</" not in environment().loader.get_source(environment(), "review.js")[0]
