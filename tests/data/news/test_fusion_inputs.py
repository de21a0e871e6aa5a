import json
from pathlib import Path

import pytest

from diptych.contracts.news import Article, NewsQuery, NewsSource
from diptych.data.news.fusion_inputs import FusionInputs


class Articles(dict):
    def __init__(self, source, articles):
        super().__init__(articles)
        self.source = source


class Source(NewsSource):
    name, docs_page, splits = "tiny", "docs/tiny.md", ("train",)

    def __init__(self, folder: Path, hidden: bool = False) -> None:
        self.root, self.hidden = folder, hidden
        if not (folder / "database.json").exists():
            (folder / "database.json").write_text("{}")
        full, blank = Article("a", "", "T", "Text.", ""), Article("b", "", "T", " \n", "")
        self._articles = Articles(folder / "database.json", {"a": full, "b": blank})

    def articles(self, show_progress=True):
        return self._articles

    def queries(self, split):
        if self.hidden:
            return [NewsQuery("q1"), NewsQuery("q2"), NewsQuery("q3")]
        return [NewsQuery("q1", ("c",), "a"), NewsQuery("q2", ("c",), "gone"), NewsQuery("q3", ("c",))]

    def answers_hidden(self, split):
        return self.hidden


@pytest.fixture
def inputs(tmp_path):
    """Candidates: the blank article for q1, the whole one twice for q2, none for q3."""

    def candidate(image_id, article_id):
        return {"image_id": image_id, "article_id": article_id, "score": 1.0}

    found = {"q1": [candidate("i1", "b")], "q2": [candidate("i2", "a"), candidate("i3", "a")], "q3": []}
    records = [{"query_id": query_id, "results": results} for query_id, results in found.items()]
    (tmp_path / "train.json").write_text(json.dumps(records))
    (tmp_path / "base.csv").write_text("query_id,caption\nq1,a man\nq2,\nq3,a dog\n")

    def build(retrieval=str(tmp_path / "{split}.json"), base=str(tmp_path / "base.csv"), share=0.5, seed=0, **source):
        return FusionInputs(Source(tmp_path, **source), retrieval, base, share, seed)

    return build


def read(inputs, evidence_source):
    reader = inputs.reader("train", evidence_source)
    return [reader(query) for query in inputs.source.queries("train")]


def ids(found):
    return [item.article.article_id if item.article else None for item in found]


def test_what_is_missing_is_named_and_nothing_is_dropped(inputs):
    annotated, retrieved = read(inputs(), "annotated"), read(inputs(), "retrieved")
    assert ids(annotated) == ["a", None, None] and ids(retrieved) == ["b", "a", None]
    assert [item.gaps for item in annotated] == [(), ("article_not_in_database", "no_base_caption"), ("no_article",)]
    assert [item.gaps for item in retrieved] == [("empty_article",), ("no_base_caption",), ("no_article",)]
    assert [item.base_caption for item in retrieved] == ["a man", "", "a dog"]


def test_a_mix_is_drawn_by_seed_and_id(inputs):
    assert ids(read(inputs(share=1.0), "mixed")) == ids(read(inputs(), "annotated"))
    assert ids(read(inputs(share=0.0), "mixed")) == ids(read(inputs(), "retrieved"))
    mixes = {tuple(ids(read(inputs(seed=seed), "mixed"))) for seed in range(20)}
    assert len(mixes) > 1 and ids(read(inputs(seed=3), "mixed")) == ids(read(inputs(seed=3), "mixed"))


def test_without_base_captions_none_is_missed(inputs):
    assert [item.gaps for item in read(inputs(base=None), "retrieved")] == [("empty_article",), (), ("no_article",)]


def test_base_captions_of_the_set_itself_stand_in_for_a_file(inputs, monkeypatch):
    monkeypatch.setattr(Source, "base_captions", lambda self, split: {"q1": "a bridge"})
    found = read(inputs(base=None), "retrieved")
    assert [item.base_caption for item in found] == ["a bridge", "", ""]
    assert [item.gaps[-1] for item in found] == ["empty_article", "no_base_caption", "no_base_caption"]
    assert read(inputs(), "retrieved")[0].base_caption == "a man"


def test_articles_in_files_of_their_own_count_as_well(inputs, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("one")
    monkeypatch.setattr(Source, "article_files", lambda self: [tmp_path / "a.txt"])
    before = inputs().settings("train", "annotated")
    (tmp_path / "a.txt").write_text("another")
    assert inputs().settings("train", "annotated") != before


def test_settings_change_with_the_files_and_only_with_what_matters(inputs, tmp_path):
    before = inputs().settings("train", "retrieved")
    assert before == inputs(seed=5, share=0.1).settings("train", "retrieved")  # not mixed
    assert inputs(seed=5).settings("train", "mixed") != inputs(seed=6).settings("train", "mixed")
    (tmp_path / "base.csv").write_text("query_id,caption\nq1,another\nq2,\nq3,a dog\n")
    assert inputs().settings("train", "retrieved") != before


def test_hidden_annotations_and_absent_files_are_refused(inputs, tmp_path):
    with pytest.raises(ValueError, match="has no annotated articles; set evaluation_source=retrieved"):
        read(inputs(hidden=True), "annotated")
    with pytest.raises(ValueError, match=r"data\.retrieval names no file"):
        read(inputs(retrieval=None), "retrieved")
    (tmp_path / "train.json").write_text('[{"query_id": "q1", "results": []}]')
    with pytest.raises(ValueError, match=r"train\.json: 2 photos of tiny train are not in it: q2, q3"):
        read(inputs(), "retrieved")
