"""What a small split leaves of its protocol, from the records on disk to the numbers and what is said of them."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from diptych.commands.doctor import examine
from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.data.triplets.evaluation_data import evaluation_set
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.metrics.retrieval.map_at_k import MeanAveragePrecisionAtK
from diptych.metrics.retrieval.measuring import summary
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.metrics.retrieval.recall_subset_at_k import RecallSubsetAtK
from diptych.ranking.fitted_protocol import check_primary, fitted, said_of_left_out
from diptych.results.results import retrieval_record
from diptych.systems.retrieval_evaluation import evaluate_set

PAGE = Path(__file__).parents[2] / "docs/own_data.md"
METRICS = {"recall": RecallAtK(), "subset": RecallSubsetAtK(), "map": MeanAveragePrecisionAtK()}
CIRR = EvaluationProtocol(
    *("cirr", 1, "all", True, "{caption}", "one"),
    recall_ks=(1, 5, 10, 50),
    subset_ks=(1, 2, 3),
    primary_metric="average",
    average_of=("recall_at_5", "recall_subset_at_1"),
    aspect_metrics=("recall_at_1", "recall_at_10"),
)
PLAIN = [Query("1", "a", "x", "b", ("b",))]


def grouped(*sizes: int) -> list[Query]:
    return [Query(str(n), "0", "x", "1", ("1",), tuple(map(str, range(size)))) for n, size in enumerate(sizes)]


def test_a_protocol_that_fits_is_left_as_it_is():
    assert fitted(CIRR, grouped(6, 6), 50) is CIRR
    assert said_of_left_out(CIRR, 50) == ""
    check_primary(CIRR, 50)


def test_what_does_not_fit_is_left_out_and_named():
    left = fitted(CIRR, grouped(6, 3), 9)
    assert (left.recall_ks, left.subset_ks, left.aspect_metrics) == ((1, 5), (1, 2), ("recall_at_1",))
    assert left.left_out == ("recall_at_10", "recall_at_50", "recall_subset_at_3")
    assert left.average_of == CIRR.average_of
    check_primary(left, 9)
    assert "left out recall_at_10, recall_at_50, recall_subset_at_3" in said_of_left_out(left, 9)


def test_what_a_protocol_is_judged_by_must_fit():
    left = fitted(CIRR, grouped(6), 4)
    assert left.average_of == () and "average" in left.left_out
    with pytest.raises(ValueError, match="average is what this protocol is judged by: it needs a split with more"):
        check_primary(left, 4)
    check_primary(replace(left, answers_hidden=True), 4)


def write(folder: Path, records: list[dict]) -> TripletJSONL:
    folder.mkdir(exist_ok=True)
    (folder / "val.jsonl").write_text("\n".join(map(json.dumps, records)))
    source = TripletJSONL(folder, name=folder.name)
    for image in source.gallery("val"):
        image.path.parent.mkdir(exist_ok=True)
        image.path.write_bytes(b"x")
    return source


def measured(source: TripletJSONL, *, hits: bool = True):
    evaluation = evaluation_set(source, "val", "error")
    place = {image.image_id: n for n, image in enumerate(evaluation.gallery)}
    gallery = torch.eye(len(place))
    named = [query.target_image if hits else query.reference_image for query in evaluation.queries]
    rows = {"queries/model": gallery[[place[name] for name in named]], "gallery/model": gallery}
    return evaluate_set(evaluation, rows, METRICS, baselines=True)


def test_the_example_of_the_page_can_be_scored(tmp_path, caplog):
    """Four pictures: what docs/own_data.md shows."""
    records = [json.loads(line) for line in re.findall(r'^\{"query_id".*\}$', PAGE.read_text(), re.MULTILINE)]
    assert len(records) == 2
    source = write(tmp_path / "own", records)
    with caplog.at_level(logging.WARNING):
        result = measured(source)
    assert [record.message for record in caplog.records if "left out" in record.message] == [
        "own: own_val v1: left out recall_at_5, recall_at_10, recall_at_50, map_at_5, map_at_10, map_at_25, map_at_50: "
        "their K is larger than the gallery (4 images), or than a group of look-alikes, where everything is found"
    ]
    assert result.metrics == {"recall_at_1": 1.0}
    record = retrieval_record([result], data=["own"], split="val")
    assert record.content()["protocol"]["left_out"][0] == "recall_at_5"
    assert record.signatures[0].startswith("Left out, as the data has too few images for its K: recall_at_5, ")
    (report,) = examine(source, ["val"], workers=1)
    assert any("left out recall_at_5" in note for note in report.notes)


def test_a_protocol_that_fits_says_nothing_of_it():
    assert "left_out" not in (retrieval_record([_result(CIRR)], data=["x"], split="val").content()["protocol"])


def _result(protocol):
    from diptych.metrics.retrieval.measuring import SetResult

    return SetResult("x", protocol, PLAIN, (), [])


def test_the_doctor_and_the_setup_refuse_what_cannot_be_judged(tmp_path):
    class Judged(TripletJSONL):
        def protocol(self, split):
            return replace(super().protocol(split), primary_metric="recall_at_10")

    line = {"query_id": "1", "reference_image": "i/a.png", "modification_texts": "x", "target_image": "i/b.png"}
    source = write(tmp_path / "own", [line])
    source.__class__ = Judged
    with pytest.raises(ValueError, match="recall_at_10 is what this protocol is judged by"):
        evaluation_set(source, "val", "error")
    (report,) = examine(source, ["val"], workers=1)
    assert not report.healthy and "recall_at_10 is what this protocol is judged by" in report.next_step


def test_of_several_sets_a_small_one_takes_nothing_from_the_others(tmp_path):
    def records(number):
        images = [f"i/{n}.png" for n in range(number)]
        return [
            {"query_id": str(n), "reference_image": a, "modification_texts": "x", "target_image": b}
            for n, (a, b) in enumerate(pairwise(images))
        ]

    results = [measured(write(tmp_path / name, records(number))) for name, number in (("small", 6), ("large", 12))]
    found = summary(results)
    assert {"recall_at_1", "recall_at_5", "large/recall_at_10"} <= found.keys()
    assert "recall_at_10" not in found and "small/recall_at_10" not in found
    content = retrieval_record(results, data=["small", "large"], split="val").content()
    assert content["protocol"]["left_out"] == ["small/recall_at_10", "small/recall_at_50", "large/recall_at_50"]
