"""The report of a retrieval run, read back: of real stages on drawn pictures."""

from __future__ import annotations

import json
import logging
import re
from html import unescape
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import pytest

from diptych.contracts.news import Article, Candidate, NewsQuery
from diptych.data.news.retrieval_file import write_retrieval
from diptych.index.rank_fusion import ReciprocalRank
from diptych.metrics.captions.article_retrieval import ArticleRetrieval
from diptych.metrics.captions.complementarity import Complementarity
from diptych.report.retrieval_report import write_retrieval_report
from diptych.results.signatures import article_signatures
from diptych.stages.news.articles import Articles
from diptych.stages.news.compare_rankings import CompareRankings
from diptych.stages.news.verify_geometry import VerifyGeometry
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.verification.features import Sift
from diptych.verification.verified_policy import VerifiedPolicy

POLICY = VerifiedPolicy(detector=Sift(num_features=300), depth=3)
EVIL = "<script>alert(1)</script>"
TITLES = {0: "Bridge opens", 2: f"Flood in {EVIL}"}


class Photos:
    """A NewsSource of photos in two folders; its queries are `right`, `third` and `broken`."""

    name = f"photos {EVIL}"

    def __init__(self, root: Path, answers: dict[str, str | None]) -> None:
        self.root, self.answers = root, answers

    def articles(self):
        return {f"a{number}": Article(f"a{number}", "", TITLES.get(number, ""), "", "") for number in range(20)}

    def queries(self, split):
        return [NewsQuery(name, article_id=answer) for name, answer in self.answers.items()]

    def image_path(self, split, query_id):
        return self.root / "queries" / f"{query_id}.jpg"

    def database_image_path(self, image_id):
        if image_id == "outside":
            raise ValueError("a path that leads outside the data")
        return self.root / "gallery" / f"{image_id}.jpg"


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    canvas = np.full((180, 240, 3), 128, np.uint8)
    for _ in range(60):
        corners = rng.uniform(0, (240, 180)) + rng.normal(0, 14, (4, 2))
        cv2.fillPoly(canvas, [np.int32(corners)], tuple(int(value) for value in rng.integers(0, 256, 3)), cv2.LINE_AA)
    return canvas


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "queries").mkdir()
    (folder / "gallery").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"gallery/g{number}.jpg"), draw(number))
    cv2.imwrite(str(folder / "queries/right.jpg"), draw(0)[10:170, 15:220])
    cv2.imwrite(str(folder / "queries/third.jpg"), draw(2)[5:160, 5:200])
    (folder / "queries/broken.jpg").write_bytes(b"\xff\xd8 nothing")
    first, second, third = (Candidate(f"g{number}", f"a{number}", 0.9 - number / 10) for number in range(3))
    retrieval = {"right": (first, second, third), "third": (second, first, third), "broken": (first, second)}
    write_retrieval(folder / "ensemble.json", retrieval)
    write_retrieval(folder / "other.json", retrieval | {"third": (third, first)})
    return folder


def run_stages(pictures, work, answers, policy=POLICY, verified=True, compared=False):
    """Verification and articles, and the comparison of rankings, run as the pipeline runs them."""
    source = Photos(pictures, answers)
    before, after = pictures / "ensemble.json", work / "verify_geometry/retrieval.json"
    verify = VerifyGeometry(before, policy, source=source, split="test", num_workers=1)
    metric = ArticleRetrieval()
    articles = Articles(after if verified else before, source, "test", metric=metric, compare={"ensemble": before})
    runs = [StageRun("verify_geometry", verify, work / "verify_geometry", {"input": str(before)})] if verified else []
    runs.append(StageRun("articles", articles, work / "articles", {}))
    if verified and compared:
        found = {f"retrieve_images_{name}": pictures / f"{name}.json" for name in ("ensemble", "other")}
        counts = work / "verify_geometry/verification.json"
        of_all = (found, before, after, counts, ReciprocalRank(), source, "test", Complementarity(), article_signatures)
        runs.append(StageRun("compare_rankings", CompareRankings(*of_all), work / "compare_rankings", {}))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    PipelineRunner(trainer, work, show_progress=False).run(runs)
    return runs, source


ANSWERS = {"right": "a0", "third": "a2", "broken": "a1"}


def cards_on(page):
    """Of every query on the page: its text, and what its pictures are said to show."""
    cards = {}
    for body in re.findall(r"<article>(.*?)</article>", page, re.DOTALL):
        text = unescape(re.sub(r"<[^>]+>", " ", body))
        pictures = [unescape(words) for words in re.findall(r'(?:alt|aria-label)="([^"]+: [^"]+|matches[^"]+)"', body)]
        cards[re.search(r"Query (\S+)", text)[1]] = (" ".join(text.split()), pictures)
    return cards


def test_a_run_with_verification(pictures, tmp_path, caplog):
    runs, source = run_stages(pictures, tmp_path / "work", ANSWERS)
    with caplog.at_level(logging.WARNING):
        page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    assert page.count("<script>") == 1 and EVIL not in page and "http" not in page.replace("http-equiv", "")
    cards = cards_on(page)
    assert list(cards) == ["third", "broken", "right"], "moved, wrong, others"
    text, shown = cards["third"]
    assert "right article at rank 1" in text and "before verification at rank 3" in text
    assert shown == [
        *("query photo: third", "1: g1", "2: g0", "3 right: g2"),
        *("query photo: third", "1 right: g2", "2: g1", "3: g0"),
        "matches of query third and its first candidate",
    ]
    assert page.count('<figure class="target">') == 4
    text, shown = cards["broken"]
    assert "right article at rank 2" in text and "unreadable" in text and "before" not in text
    assert shown == ["no picture, query photo: broken", "1: g0", "2 right: g1"]
    assert re.search(r"1 right 0\.900 \d+ inliers g0 article a0 Bridge opens", cards["right"][0])
    assert f"article a2: Flood in {EVIL}" in cards["third"][0] and f"g2 article a2 Flood in {EVIL}" in cards["third"][0]
    assert "article a1 " in cards["broken"][0], "an article without a title"
    assert 'class="better"' in page and page.count('class="matches"') == 2
    assert "1 photos of the report are grey tiles" in caplog.text and "broken.jpg" in caplog.text


def test_the_numbers(pictures, tmp_path):
    runs, source = run_stages(pictures, tmp_path / "work", ANSWERS)
    manifest = tmp_path / "work/articles/manifest.json"
    content = json.loads(manifest.read_text()) | {"done": 1500, "failed": {"unreadable": 2, "<empty>": 1}}
    manifest.write_text(json.dumps(content))
    (tmp_path / "work/articles/times.json").unlink()  # as version 0.1 has left it
    (tmp_path / "work/verify_geometry/times.json").write_text('{"records": 3, "seconds": 1234.5}')
    page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    rows = [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>([^<]*)<", row)]
        for row in re.findall("<tr>(.*?)</tr>", page)
    ]
    assert ["ranking", "recall at 1", "recall at 10", "average precision"] in rows
    assert ["ensemble", "0.3333", "1.0000", "0.6111"] in rows and ["articles", "0.6667", "1.0000", "0.8333"] in rows
    assert ["stage", "done", "failed", "reasons", "seconds", "seconds per record"] in rows
    assert ["verify_geometry", "3", "0", "", "1,234.5", "411.50"] in rows
    assert ["articles", "1,500", "3", "unreadable 2, <empty> 1", "", ""] in rows
    facts = dict(re.findall("<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
    assert (
        facts["queries"] == "3" and facts["of these with another order"] == "1" and facts["of these unreadable"] == "2"
    )
    again = write_retrieval_report(tmp_path / "report", runs, source, "test")
    assert again.read_text() == page and [path.name for path in again.parent.iterdir()] == ["index.html"]


def test_what_the_encoders_and_verification_add(pictures, tmp_path):
    runs, source = run_stages(pictures, tmp_path / "work", ANSWERS, compared=True)
    manifest = tmp_path / "work/verify_geometry/manifest.json"
    made_with = {"settings": {"policy": {"_target_": "diptych.verification.verified_policy.VerifiedPolicy"}}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | made_with))
    for name, seconds in (("verify_geometry", 0.75), ("embed_queries_x", 0.3), ("embed_queries_y", 0.6)):
        (tmp_path / "work" / name).mkdir(exist_ok=True)
        (tmp_path / "work" / name / "times.json").write_text(json.dumps({"records": 3, "seconds": seconds}))
    runs += [StageRun(name, None, tmp_path / "work" / name, {}) for name in ("embed_queries_x", "embed_queries_y")]
    page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    assert "3 of 3 queries shown; 0.5500 s per query; verification fell back for 1 of 3 (33.3 %)" in page
    facts = dict(re.findall("<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
    assert unescape(facts["seconds per query"]) == (
        "0.5500 in all: embedding 0.3000 (x 0.1000, y 0.2000); verification 0.2500 (verified)"
    )
    assert unescape(facts["verification (verified)"]) == (
        "order kept 66.7 %; changed for the better 33.3 %; fell back to the embeddings' order 33.3 %"
    )
    assert (
        facts["right articles brought to the first place"] == "1"
        and facts["changed for the better"] == "1 of 3 (33.3 %)"
    )
    rows = [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>([^<]*)<", row)]
        for row in re.findall("<tr>(.*?)</tr>", page)
    ]
    assert ["encoders", "overlap at 1", "overlap at 5", "overlap at 10"] in rows
    assert ["ensemble + other", "0.6667", "0.8889", "0.8889"] in rows
    assert ["union", "0.6667", "1.0000", "1.0000", ""] in rows
    assert ["verified", "0.6667", "1.0000", "1.0000", "0.8333"] in rows
    said = page[page.index("What the numbers show") :]
    assert "2 of 8 pairs (25.0 %) could not be compared" in said[: said.index("</ul>")]
    assert page.index('id="summary"') < page.index('id="metrics"') < page.index('id="encoders"')


@pytest.mark.parametrize("verified", [False, True])
def test_without_verification_the_order_is_shown_once(pictures, tmp_path, verified):
    runs, source = run_stages(pictures, tmp_path / "work", ANSWERS, policy=None, verified=verified)
    page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    cards = cards_on(page)
    assert cards["third"][1] == ["query photo: third", "1: g1", "2: g0", "3 right: g2"]
    assert "inliers" not in page and "before" not in cards["third"][0] and "Moved by" not in page
    assert "Geometric verification" not in page


def test_hidden_answers_frame_nothing(pictures, tmp_path):
    runs, source = run_stages(pictures, tmp_path / "work", dict.fromkeys(ANSWERS))
    page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    cards = cards_on(page)
    assert list(cards) == ["third", "right", "broken"]
    assert "answer not known" in cards["third"][0] and '"target"' not in page and "Metrics" not in page


def test_what_is_not_there_is_a_grey_tile_or_left_out(pictures, tmp_path):
    source = Photos(pictures, {f"q{EVIL}": "a1", "empty": "a2", "not run": None})
    folder = tmp_path / "articles"
    write_retrieval(folder / "retrieval.json", {f"q{EVIL}": [Candidate("outside", f"a{EVIL}", 1.0)], "empty": []})
    runs = [StageRun("articles", None, folder, {})]
    page = write_retrieval_report(tmp_path / "report", runs, source, "test").read_text()
    assert EVIL not in page and page.count('class="missing"') == 3 and "no candidates" in page
    assert "right article not found" in page and "2 of 2 queries shown" in page and "Metrics" not in page
    page = write_retrieval_report(tmp_path / "report", [], source, "test").read_text()
    assert "No query has candidates" in page
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json:1: not JSON .*; remove its folder"):
        write_retrieval_report(tmp_path / "report", runs, source, "test")
