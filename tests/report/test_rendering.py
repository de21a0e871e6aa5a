"""Pages are made of templates alone, and no text, however hostile, becomes a part of them."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import jinja2
import pytest
from ranked_rooms import make_query, make_ranking, make_result

from diptych import report
from diptych.contracts.news import Article, Candidate, Chunk, Evidence, KeyFacts, NewsQuery
from diptych.contracts.retrieval import Query
from diptych.data.news.retrieval_file import write_retrieval
from diptych.report.annotation_review import write_review
from diptych.report.caption_cards import CaptionCard, EntitySpan
from diptych.report.caption_page import write_caption_report
from diptych.report.rendering import environment, write_page
from diptych.report.retrieval_report import write_retrieval_report
from diptych.report.write import write_report
from diptych.stages.running.runner import StageRun
from diptych.storage.json_values import encodable
from diptych.storage.record_log import RecordLog
from page_parts import HOSTILE, Parts

FOLDER = Path(report.__path__[0])


def evaluation(folder: Path, text: str) -> Path:
    query = Query(f"q{text}", f"r{text}", text, f"t{text}", (f"t{text}", f"o{text}"), aspects=(text, "changes_2"))
    ranking = make_ranking(0, [f"r{text}", f"o{text}", "other"], 7)
    ranked = [ranking.__class__(query.query_id, ranking.ranked_ids, ranking.scores, 7, (7,), 1)]
    names = dict.fromkeys(("experiment", "data", "split", "checkpoint"), text)
    metrics = {"recall_at_1": 0.5, f"recall_at_1/{text}": 0.5, "sum/recall_at_1": 0.2}
    protocol = make_result()["protocol"] | {"name": text, "gallery": text, "text_template": text}
    result = make_result(metrics=metrics, versions={text: text}, protocol=protocol, **names)
    return write_report(folder, result, ranked, [query], lambda name: Path(name))


def hidden_answers(folder: Path, text: str) -> Path:
    query = make_query(0, target=None, text=text)
    return write_report(folder, make_result(metrics={}), [make_ranking(0, [text], None)], [query], {})


def captions(folder: Path, text: str) -> Path:
    article = Article(f"a{text}", text, text, f"first {text}. Then {text}", text)
    facts = KeyFacts(people=(text,), places=(text, "b"))
    card = CaptionCard(
        query_id=text,
        image_path=None,
        fused_caption=f"Ann {text}",
        base_caption=text,
        reference_captions=(text, text),
        article=article,
        evidence=Evidence(article.article_id, chunks=(Chunk(0, 8, 0.5),), facts=facts),
        entities=(EntitySpan(0, 3, text, True), EntitySpan(4, 8, text, False)),
        metrics={"cider": 0.5, text: None},
        stop_reason=text,
        prompt_tokens=5,
    )
    record = {"experiment": text, "data": [text], "split": text, "queries": {"scored": 1, "expected": 1}}
    variant = text.replace("/", "")  # a bar ends a part of a metric's name
    record |= {"metrics": {"cider": 1.0, f"{variant}/cider": 0.5}, "lines": {text: text}, text: {text: [text]}}
    return write_caption_report(folder, record, [card])


class Photos:
    """A NewsSource without any photo."""

    def __init__(self, text: str) -> None:
        self.name = text

    def queries(self, split):
        return [NewsQuery(self.name, article_id=self.name)]

    def articles(self):
        return {self.name: Article(self.name, self.name, self.name, "", "")}

    def image_path(self, split, query_id):
        raise ValueError("none")

    def database_image_path(self, image_id):
        raise ValueError("none")


def articles(folder: Path, text: str) -> Path:
    first, second = Candidate(f"1{text}", text, 0.5), Candidate(f"2{text}", f"other {text}", 0.4)
    before, stage, last = folder / "before.json", folder / "verify_geometry", folder / "articles"
    write_retrieval(before, {text: [second, first]})
    write_retrieval(stage / "retrieval.json", {text: [first, second]})
    result = {"image_id": first.image_id, "verification": {"outcome": text, "inliers": None}}
    RecordLog(stage / "records.jsonl").write([{"query_id": text, "results": [result]}])
    (stage / "verification.json").write_text(json.dumps({"queries": 1, "moved": 1, "outcomes": {text: 2}}))
    last.mkdir()
    metrics = {"queries": 1, "split": text, "metrics": {text: {text: 0.5}}}
    (last / "metrics.json").write_text(json.dumps(metrics))
    (last / "manifest.json").write_text(json.dumps({"done": 1, "failed": {text: 1}}))
    runs = [StageRun("verify_geometry", None, stage, {"input": str(before)}), StageRun("articles", None, last, {})]
    return write_retrieval_report(folder, runs, Photos(text), text)


def review(folder: Path, text: str) -> Path:
    pairs, work = folder / "pairs.json", folder / "work"
    folder.mkdir()
    reference, target = f"https://x.example/1{text}", f"https://x.example/2{text}"
    pairs.write_text(json.dumps([{"pair_id": text, "reference_image": reference, "target_image": target}]))
    known, new = {"name": "rug", "descriptors": ["a", text]}, {"name": text, "descriptors": [text]}
    RecordLog(work / "describe_reference" / "records.jsonl", "image").write([{"image": reference, "objects": [known]}])
    RecordLog(work / "describe_target" / "records.jsonl", "pair_id").write(
        [{"pair_id": text, "objects": [{"name": "rug", "descriptors": ["a"]}, new]}]
    )
    RecordLog(work / "one_stage" / "records.jsonl", "pair_id").write([{"pair_id": text, "sentences": [text]}])
    RecordLog(work / "verify_sentences" / "records.jsonl", "sentence_id").write(
        [{"sentence_id": "s", "pair_id": text, "sentence": text, "holds": True}]
    )
    decisions = [{"pair_id": text, "sentence": sentence, "accepted": False} for sentence in (text, f"old {text}")]
    (folder / "reviews.jsonl").write_text("".join(f"{json.dumps(decision)}\n" for decision in decisions))
    return write_review(folder, pairs)


PAGES = [evaluation, hidden_answers, captions, articles, review]


@pytest.mark.parametrize("page", PAGES)
def test_hostile_text_is_shown_and_changes_no_tag(page, tmp_path):
    plain = Parts(page(tmp_path / "plain", "plain words").read_text(encoding="utf-8"))
    assert len(plain.tags) > 20
    for number, text in enumerate(HOSTILE):
        content = page(tmp_path / str(number), text).read_text(encoding="utf-8")
        parts = Parts(content)
        assert parts.tags == plain.tags, text
        assert parts.scripts[-1] == plain.scripts[-1] and len(parts.scripts) == len(plain.scripts)
        assert sum(text in shown for shown in parts.texts) >= 5, text


@pytest.mark.parametrize("page", [evaluation, hidden_answers, captions])
def test_what_a_browser_swallows_is_seen_and_half_a_character_stops_no_report(page, tmp_path):
    logging.disable()  # what is logged goes from an xdist worker to the main process, which half a character stops
    content = page(tmp_path, "nul \x00 bell \x07 half \ud83d").read_text(encoding="utf-8")
    logging.disable(logging.NOTSET)
    assert "nul � bell � half ?" in content
    assert not set(content) & {"\x00", "\x07", "\ud83d"}


def test_decisions_of_other_pages_and_the_names_of_this_one_are_saved_as_they_are(tmp_path):
    """Of the review page: what it embeds for its script is JSON that ends no script."""
    for number, text in enumerate([*HOSTILE, "bell \x07"]):
        parts = Parts(review(tmp_path / str(number), text).read_text(encoding="utf-8"))
        (others,) = (script for script in parts.scripts if script.startswith("["))
        read = encodable(text)  # as the pair's own id is read
        assert json.loads(others) == [{"pair_id": read, "sentence": f"old {read}", "accepted": False}]
        assert "<" not in others
        assert parts.texts.count(read) >= 3, "data-pair twice and data-sentence"


def test_no_tag_stands_in_code_and_no_template_turns_escaping_off():
    for path in FOLDER.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        constants = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
        texts = [value.replace("/<template>", "") for value in constants if isinstance(value, str)]
        assert not [text for text in texts if re.search(r"</?[a-z]\w*[ />]|<!", text)], path
        assert not re.search(r"\bescape\b", code) and ("Markup" not in code or path.name == "rendering.py"), path
    for path in FOLDER.glob("templates/*"):
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text(encoding="utf-8")), path


def test_every_template_is_whole_and_every_file_is_used():
    names = environment().list_templates()
    for name in names:
        if name.endswith(".jinja"):
            environment().get_template(name)
    house = FOLDER.parent  # studies have their templates here, too
    texts = [path.read_text(encoding="utf-8") for path in house.rglob("*") if path.suffix in (".py", ".jinja")]
    assert [name for name in names if not any(f'"{name}"' in text for text in texts)] == []


def test_a_template_without_its_content_is_an_error(tmp_path):
    with pytest.raises(jinja2.UndefinedError, match="'lead' is undefined"):
        write_page(tmp_path / "page.html", "review.html.jinja", title="x")
    assert list(tmp_path.iterdir()) == []
