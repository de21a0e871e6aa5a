from __future__ import annotations

import json
from functools import partial

import lightning as L
import pytest

from diptych.contracts.news import Candidate, NewsQuery
from diptych.data.news.retrieval_file import write_retrieval
from diptych.index.rank_fusion import ReciprocalRank, WeightedScores
from diptych.metrics.captions.complementarity import Complementarity
from diptych.results.signatures import article_signatures
from diptych.stages.news.compare_rankings import CompareRankings
from diptych.stages.running.runner import PipelineRunner, StageRun

ANSWERS = {"one": "a", "two": "a", "three": "c"}
FUSION = ReciprocalRank(depth=3)
RANKED = {  # by encoder, the articles of each query; `three` has no embedding of the second encoder
    "x": {"one": "abc", "two": "bac", "three": "abc"},
    "y": {"one": "abd", "two": "abc"},
    "z": {"one": "bad", "two": "cab", "three": "cab"},
}


class Source:
    def __init__(self, answers, num_articles=10):
        self.answers, self.num_articles = answers, num_articles

    def articles(self):
        return range(self.num_articles)

    def queries(self, split):
        assert split == "test"
        return [NewsQuery(name, article_id=answer) for name, answer in self.answers.items()]


def candidates(articles):
    return tuple(Candidate(f"photo {name}", name, 1 - place / 10) for place, name in enumerate(articles))


def files(tmp_path, counts=None, names=("x", "y", "z")):
    """The rankings, their fusion, and a verification that took `two` from its first place."""
    ranked = {name: {query: candidates(of) for query, of in RANKED[name].items()} for name in names}
    ensemble = {
        query: FUSION.fuse([of[query] for of in ranked.values()])
        for query in ("one", "two", "three")
        if all(query in of for of in ranked.values())
    }
    verified = {query: of if query == "one" else [of[1], of[0], *of[2:]] for query, of in ensemble.items()}
    paths = {f"retrieve_images_{name}": write_retrieval(tmp_path / f"{name}.json", of) for name, of in ranked.items()}
    counts = counts or {"queries": 2, "moved": 1, "fell_back": 1, "outcomes": {"verified": 5, "unreadable": 1}}
    (tmp_path / "verification.json").write_text(json.dumps(counts))
    fused = [write_retrieval(tmp_path / f"{name}.json", of) for name, of in (("all", ensemble), ("after", verified))]
    return paths, *fused, tmp_path / "verification.json"


def run(tmp_path, stage):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    run = StageRun("compare_rankings", stage, tmp_path / "compare_rankings", {})
    PipelineRunner(trainer, tmp_path, show_progress=False).run([run])
    return json.loads((run.folder / "metrics.json").read_text())


def stage(paths, answers=ANSWERS, fusion=FUSION, num_articles=10):
    signatures = partial(article_signatures)
    return CompareRankings(*paths, fusion, Source(answers, num_articles), "test", Complementarity(), signatures)


def test_what_each_encoder_adds(tmp_path):
    found = run(tmp_path, stage(files(tmp_path)))
    assert (found["queries"], found["answered"], found["encoders"]) == (3, 3, ["x", "y", "z"])
    assert list(found["overlap"]) == ["x + y", "x + z", "y + z"]
    assert found["overlap"]["x + y"] == {
        "overlap_at_1": pytest.approx(1 / 3),
        "overlap_at_5": pytest.approx((2 / 3 + 1 + 0) / 3),
        "overlap_at_10": pytest.approx((2 / 3 + 1 + 0) / 3),
    }
    metrics = found["metrics"]
    assert set(metrics) == {"x", "y", "z", "ensemble", "verified", "without x", "without y", "without z", "union"}
    assert [metrics[name]["recall_at_1"] for name in "xyz"] == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    assert metrics["union"]["recall_at_1"] == 1.0
    assert metrics["without y"]["recall_at_10"] == 1.0, "only the query that y lacks is not in the ensemble"
    assert metrics["ensemble"]["recall_at_10"] == pytest.approx(2 / 3)
    assert found["verification"]["fell_back"] == 1
    assert found["verification"]["orders"] == {"kept": 1, "worse": 1}
    assert (found["verification"]["first_won"], found["verification"]["first_lost"]) == (0, 1)
    assert found["signatures"][0].startswith("Verification moved 1 right answers down, 1 of them from the first place")
    lines = (tmp_path / "compare_rankings/records.jsonl").read_text().splitlines()
    assert [json.loads(line)["query_id"] for line in lines] == list(ANSWERS)


def test_metrics_of_more_articles_than_there_are_are_left_out_and_said(tmp_path):
    found = run(tmp_path, stage(files(tmp_path), num_articles=9))
    assert found["left_out"] == ["recall_at_10"]
    assert "Left out, as there are too few articles for its K: recall_at_10." in found["signatures"]
    assert all("recall_at_5" in of and "recall_at_10" not in of for of in found["metrics"].values())


def test_the_ensemble_without_one_is_that_of_the_others(tmp_path):
    """With weights too: those of the others, raised to the same sum."""
    fusion = WeightedScores(weights=[2, 1, 1], depth=3)
    made = stage(files(tmp_path), fusion=fusion)
    records = {record["query_id"]: record["ranks"] for record in made.process(["one", "two"])}
    others = WeightedScores(weights=[2, 2], depth=3)
    for query, ranks in records.items():
        articles = [hit.article_id for hit in others.fuse([candidates(RANKED[name][query]) for name in "yz"])]
        assert ranks["without x"] == articles.index(ANSWERS[query]) + 1


def test_without_answers_it_says_how_often_the_order_was_changed(tmp_path):
    found = run(tmp_path, stage(files(tmp_path), dict.fromkeys(ANSWERS)))
    assert found["answered"] == 0 and found["metrics"] == {} and found["overlap"]["x + y"]["overlap_at_1"] > 0
    assert found["verification"]["orders"] == {"kept": 1, "changed": 1} and "first_won" not in found["verification"]


def test_a_verification_that_is_off_has_made_nothing_of_the_order(tmp_path):
    off = {"queries": 2, "moved": 0, "fell_back": 0, "outcomes": {"verified": 0, "unreadable": 0}}
    assert run(tmp_path, stage(files(tmp_path, off)))["verification"] is None


def test_one_encoder_alone_is_compared_with_nothing(tmp_path):
    found = run(tmp_path, stage(files(tmp_path, names=("x",))))
    assert found["overlap"] == {} and "without x" not in found["metrics"]
    assert found["metrics"]["union"]["recall_at_1"] == found["metrics"]["x"]["recall_at_1"]


def test_there_must_be_a_ranking(tmp_path):
    with pytest.raises(ValueError, match="no encoder's ranking"):
        CompareRankings({}, "a", "b", "c", FUSION, Source({}), "test", Complementarity())
