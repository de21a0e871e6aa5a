"""Which adapter captions which photo."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from diptych.contracts.news import Article, NewsQuery
from diptych.contracts.pipelines import Failure
from diptych.stages.news.route_photos import RoutePhotos
from diptych.storage.json_files import write_json

TEXTS = {"fire": "Flames rose.", "blaze": "Smoke rose.", "match": "A goal fell.", "cup": "The goalkeeper dived."}
DIRECTIONS = {"Flames": (1, 0.1), "Smoke": (1, 0.2), "A goal": (0.1, 1), "The goal": (0.3, 1)}
TRAIN = [NewsQuery("t1", ("c",), "fire"), NewsQuery("t2", ("c",), "match"), NewsQuery("t3", ("c",), "fire")]
VAL = [NewsQuery("v1", ("c",), "blaze"), NewsQuery("v2", ("c",), "cup"), NewsQuery("v3", ("c",), None)]
KINDS = {"t1": "warehouse_fire", "t2": "final", "t3": "warehouse_fire", "v1": "warehouse_fire", "v2": "final"}
GROUPS = {"incidents": ["warehouse_fire", "flood"], "crowds": ["final"]}


class ByFirstWord:
    name = "by first word"

    def encode(self, texts):
        bodies = [text.split("\n", 1)[1] for text in texts]
        rows = [next(vector for words, vector in DIRECTIONS.items() if body.startswith(words)) for body in bodies]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def source():
    articles = {name: Article(name, "", "Title", text, "") for name, text in TEXTS.items()}
    queries = {"train": TRAIN, "val": VAL}
    return SimpleNamespace(
        name="news",
        queries=queries.__getitem__,
        articles=lambda: articles,
        kinds_of_event=lambda split: {
            one.query_id: KINDS[one.query_id] for one in queries[split] if one.query_id in KINDS
        },
    )


def run(stage, folder):
    results = list(stage.process(stage.ids()))
    sink = stage.open_sink(folder, None)
    sink.append([result for result in results if not isinstance(result, Failure)])
    sink.finish(stage.ids())
    failures = [result for result in results if isinstance(result, Failure)]
    stage.write_output(folder, failures)
    return {one["query_id"]: one for one in results if not isinstance(one, Failure)}, failures


def listed(folder, name):
    return [json.loads(line)["query_id"] for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_photos_go_to_the_nearest_centre_of_their_kinds(source, tmp_path):
    stage = RoutePhotos(source, ByFirstWord(), ["train", "val"], tmp_path, GROUPS)
    records, failures = run(stage, tmp_path / "stage")
    assert {name: one["route"] for name, one in records.items()} == {
        "t1": "incidents", "t2": "crowds", "t3": "incidents", "v1": "incidents", "v2": "crowds",
    }  # fmt: skip
    assert [(one.record_id, one.reason) for one in failures] == [("v3", "no_article")]
    # cos of the angle between (1, 0.2) and the centre (1, 0.1): known by hand.
    assert records["v1"]["similarity"]["incidents"] == pytest.approx(1.02 / (1.04 * 1.01) ** 0.5, abs=1e-5)
    assert listed(tmp_path, "incidents") == listed(tmp_path, "known_incidents") == ["t1", "t3", "v1"]
    assert listed(tmp_path, "crowds") == ["t2", "v2"]
    summary = json.loads((tmp_path / "routes.json").read_text())
    assert summary["splits"] == {"train": {"known": 3, "routed_so": 3}, "val": {"known": 2, "routed_so": 2}}
    assert summary["routes"]["crowds"] == {"route": 2, "known": 2} and summary["no_article"] == 1


def test_a_retrieved_article_decides_where_it_is_asked_for_and_may_be_wrong(source, tmp_path):
    results = [{"image_id": "i", "article_id": "match", "score": 1.0}]
    write_json(tmp_path / "val.json", [{"query_id": "v1", "results": results}, {"query_id": "v2", "results": []}])
    files = {"retrieval": str(tmp_path / "{split}.json")}
    stage = RoutePhotos(source, ByFirstWord(), ["train", "val"], tmp_path, GROUPS, **files)
    assert list(stage.input_files()) == [tmp_path / "val.json"]
    records, failures = run(stage, tmp_path / "stage")
    assert (records["v1"]["route"], records["v1"]["known"]) == ("crowds", "incidents")
    assert [one.record_id for one in failures] == ["v2", "v3"]  # nothing was found for v2
    assert records["t1"]["route"] == "incidents"  # training photos keep their annotated article
    assert json.loads((tmp_path / "routes.json").read_text())["splits"]["val"] == {"known": 1, "routed_so": 0}


def test_clusters_of_training_articles_stand_in_for_kinds(source, tmp_path):
    source.kinds_of_event = lambda split: {}
    stage = RoutePhotos(source, ByFirstWord(), ["train", "val"], tmp_path, num_clusters=2)
    records, _ = run(stage, tmp_path / "stage")
    assert [records[name]["route"] for name in ("t1", "t3", "v1")] == ["cluster_0"] * 3  # the larger one
    assert [records[name]["route"] for name in ("t2", "v2")] == ["cluster_1"] * 2
    assert records["t2"]["known"] == "cluster_1" and records["v2"]["known"] is None
    assert listed(tmp_path, "known_cluster_0") == ["t1", "t3"]
    again = RoutePhotos(source, ByFirstWord(), ["val"], tmp_path / "again", num_clusters=2)
    assert list(again.process(["v1"])) == [records["v1"]]  # one photo alone, another process


def test_articles_that_the_database_lacks_are_failures_and_no_part_of_a_centre(source, tmp_path, monkeypatch):
    queries = {"train": [*TRAIN, NewsQuery("t4", ("c",), "gone")], "val": [*VAL, NewsQuery("v4", ("c",), "gone")]}
    monkeypatch.setattr(source, "queries", queries.__getitem__)
    for settings in ({"groups": GROUPS}, {"num_clusters": 2}):
        stage = RoutePhotos(source, ByFirstWord(), ["train", "val"], tmp_path, **settings)
        records, failures = run(stage, tmp_path / "_".join(settings))
        assert [one.record_id for one in failures] == ["t4", "v3", "v4"] and records["v1"]["query_id"] == "v1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one of the two"),
        ({"groups": GROUPS, "num_clusters": 2}, "one of the two"),
        ({"groups": {"a": ["flood"]}}, "groups has 1 routes: name two or more"),
        ({"groups": {"a": ["flood"], "b": ["final", "flood"]}}, "the kind 'flood' is in several routes"),
        ({"num_clusters": 1}, "num_clusters=1 must be 2 or more"),
    ],
)
def test_settings_that_make_no_sense(source, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        RoutePhotos(source, ByFirstWord(), ["val"], tmp_path, **settings)


def test_routes_that_no_training_photo_belongs_to_and_sets_without_kinds(source, tmp_path):
    stage = RoutePhotos(source, ByFirstWord(), ["val"], tmp_path, {**GROUPS, "openings": ["ship_launch"]})
    with pytest.raises(ValueError, match=r"no training photo of news is of route 'openings': \['ship_launch'\]"):
        list(stage.process(["v1"]))
    with pytest.raises(ValueError, match="num_clusters=3: there are fewer different training articles"):
        list(RoutePhotos(source, ByFirstWord(), ["val"], tmp_path, num_clusters=3).process(["v1"]))
    source.kinds_of_event = lambda split: {}
    with pytest.raises(ValueError, match="news knows no kinds of event; take num_clusters=N"):
        list(RoutePhotos(source, ByFirstWord(), ["val"], tmp_path, GROUPS).process(["v1"]))
