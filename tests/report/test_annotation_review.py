"""The review page and the data card, from the folder of a small run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.reviews import read_reviews
from diptych.contracts.pipelines import Answer, Question
from diptych.report.annotation_review import main, write_review
from diptych.report.data_card import write_data_card
from diptych.report.review_style import SCRIPT
from diptych.storage.record_log import RecordLog

NASTY = 'Put a <b>"blue"</b> rug & a lamp in.'


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two pairs with descriptions and sentences, and a third without."""
    out = tmp_path / "triplets"
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "green")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
    pairs = [("one", "a.png", "b.png"), ("two", "b.png", "c.png"), ("three", "c.png", "a.png")]
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"pair_id": p, "reference_image": r, "target_image": t} for p, r, t in pairs])
    )
    rug, lamp = {"name": "Rug", "descriptors": ["red", "round"]}, {"name": "lamp", "descriptors": ["brass"]}
    work = out / "work"
    RecordLog(work / "describe_reference" / "records.jsonl", "image").write(
        [{"image": str((tmp_path / "a.png").resolve()), "objects": [rug, lamp]}]
    )
    RecordLog(work / "describe_target" / "records.jsonl", "pair_id").write(
        [{"pair_id": "one", "objects": [{"name": "rug", "descriptors": ["blue", "round"]}], "reuse": 0.5}]
    )
    RecordLog(work / "write_modifications" / "records.jsonl", "pair_id").write(
        [{"pair_id": "one", "sentences": ["Make the rug blue.", NASTY]}, {"pair_id": "two", "sentences": ["Add it."]}]
    )
    RecordLog(work / "verify_sentences" / "records.jsonl", "sentence_id").write(
        [{"sentence_id": "one/0", "pair_id": "one", "sentence": "Make the rug blue.", "holds": False}]
    )
    return out


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


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page with")
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
    shown = {path: _opened(path) for path in (out / "review.html", copy)}
    assert "1 of 5 decided" in shown[out / "review.html"], "the page's own script runs under its policy"
    assert "4 of 5 decided" in shown[copy]
    saved = unescape(re.search(r'<pre id="saved">(.*?)</pre>', shown[copy], re.S).group(1))
    (out / "reviews.jsonl").write_text(saved)
    reviews = read_reviews(out / "reviews.jsonl")
    assert dict(reviews.decisions) == {
        ("one", None): False, ("one", "Make the rug blue."): True, ("one", NASTY): False, ("two", None): True,
    }  # fmt: skip


def _opened(path: Path) -> str:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={path}.d"]
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout


def test_nothing_to_review_is_an_error(out, capsys):
    with pytest.raises(ValueError, match="sentences for 2 pairs of .*pairs.json, none from 3 on"):
        write_review(out, out.parent / "pairs.json", first=3)
    with pytest.raises(SystemExit):
        main([str(out), "--pairs", str(out.parent / "absent.json")])
    assert "absent.json" in capsys.readouterr().err
    main([str(out), "--pairs", str(out.parent / "pairs.json")])
    assert capsys.readouterr().out.strip() == str(out / "review.html")


def test_no_script_ends_early():
    assert "</" not in SCRIPT


def test_the_data_card_says_what_stands_behind_the_set(out):
    with pytest.raises(ValueError, match=r"summary\.json is not there"):
        write_data_card(out, Prices({}))
    (out / "train.jsonl").write_text(
        '{"query_id": "one", "reference_image": "images/a.png", "modification_texts": ["Make | it."],'
        ' "target_image": "images/b.png"}\n'
    )
    summary = {"triplets": 1, "texts": 1, "images": 2, "pairs": 3, "duplicate_pairs": 1}
    summary |= {"not_exported": {"no_texts": 2}, "dropped_texts": {}, "reviews": {"decisions": 4, "unknown": 0}}
    (out / "summary.json").write_text(json.dumps(summary))
    manifest = {"settings": {"asking": {"model": "m"}, "prompt": {"text": "See"}, "domain": "hotel"}, "done": 2}
    manifest["failed"] = {"cut": 1}
    (out / "work" / "write_modifications" / "manifest.json").write_text(json.dumps(manifest))
    question = Question("k", "write_modifications", "one", list, 10, 1000)
    with Ledger(out / "ledger.sqlite") as ledger:
        ledger.plan([question], "m", 0.5)
        ledger.claim("k")
        ledger.answered("k", Answer("x", "stop", {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}, 1.0))
    card = write_data_card(out, Prices({"m": {"input": 2.0, "output": 10.0}})).read_text()
    assert "1 triplets with 1 texts over 2 images" in card
    assert re.search(r"\| write_modifications \| m \| [0-9a-f]{16} \| hotel \|", card)
    assert "| write_modifications | 2 | cut 1 |" in card and "no_texts 2" in card
    assert "| write_modifications | 1 | 1,000,000 | 100,000 | 1.50 |" in card and "In all 1.50 USD" in card
    assert "`images/a.png` to `images/b.png`: Make | it." in card
    assert "no price" in write_data_card(out, Prices({})).read_text()
