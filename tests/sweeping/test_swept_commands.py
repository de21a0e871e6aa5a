"""Evaluations and pipelines as sweeps: what trainings have, `-m` gives them too."""

import csv
import json
import signal

import pytest

from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_NEWS_SIZES, TINY_RETRIEVAL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with tiny data and a trained run, `runs/trained/latest`."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("rooms", "newsroom"):
        tiny_set(name, folder / "data" / name)
    place = WorkingFolder(folder)
    words = [*TINY_MODEL, *TINY_RUN, *TINY_ROOMS_SIZES, "evaluate_at_end=false", "name=trained"]
    place.run("train.py", "experiment=cir_rooms", *words)
    return place


def rows(sweep):
    return list(csv.DictReader((sweep / "sweep.csv").open()))


def test_evaluations_are_runs_of_a_sweep_with_a_table(place):
    sweep = place.folder / "evaluations"
    words = ["ckpt=runs/trained/latest", "split=test,val", "trainer=cpu"]
    output = place.run("evaluate.py", "-m", *words, f"hydra.sweep.dir={sweep}")
    first, second = rows(sweep)
    assert (first["state"], second["state"]) == ("done", "done")
    assert "split=test" in first["overrides"] and "split=val" in second["overrides"]
    place.run("evaluate.py", "ckpt=runs/trained/latest", "split=val", "trainer=cpu", "hydra.run.dir=alone")
    alone = json.loads((place.folder / "alone/metrics.json").read_text())
    assert json.loads((sweep / "1/metrics.json").read_text())["metrics"] == alone["metrics"]
    assert not (place.folder / "alone/status.json").exists()
    assert "recall_at_1" in output
    again = place.run("evaluate.py", "-m", f"sweep.resume={sweep}")
    assert again.count("is done already") == 2


def test_an_evaluation_that_fails_stops_no_other_and_the_sweep_goes_on_with_it(place):
    sweep = place.folder / "failing"
    words = ["ckpt=runs/trained/latest,runs/later", "trainer=cpu", "cluster=parallel", f"hydra.sweep.dir={sweep}"]
    output = place.run("evaluate.py", "-m", *words, status=1)
    assert "1: failed: ended with status 1: see " in output
    assert f"Resume them: python evaluate.py -m sweep.resume={sweep}" in output
    assert [read_status(sweep / str(number)).state for number in range(2)] == ["done", "failed"]
    (place.folder / "runs/later").symlink_to(place.folder / "runs/trained/latest")
    place.run("evaluate.py", "-m", f"sweep.resume={sweep}")
    assert [read_status(sweep / str(number)).starts for number in range(2)] == [
        1,
        1,
    ]  # it was never at work the first time
    assert len({row["recall_at_1"] for row in rows(sweep)}) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ckpt=runs/trained/latest", "+unknown=1,2"], "unknown key 'unknown'"),
        (["ckpt=runs/trained/latest", "resume=a,b"], "each run of a sweep has a folder of its own"),
    ],
)
def test_a_mistake_is_found_before_any_run_starts(place, words, message):
    sweep = place.folder / "mistaken"
    output = place.run("evaluate.py", "-m", *words, f"hydra.sweep.dir={sweep}", status=1)
    assert message in output
    assert not list(sweep.glob("*/metrics.json"))


def test_a_pipeline_is_swept_killed_and_resumed(place):
    sweep, alone = place.folder / "pipelines", place.folder / "pipeline_alone"
    words = ["pipeline=news_retrieval", "data=newsroom", *TINY_NEWS_SIZES, *TINY_RETRIEVAL]
    swept = ["-m", *words, "policy=off,published", f"hydra.sweep.dir={sweep}"]
    begun = lambda: list((sweep / "1").glob("*/manifest.json"))  # noqa: E731
    place.interrupt(signal.SIGKILL, begun, sweep, "diptych.pipeline", *swept)
    output = place.run("diptych.pipeline", "-m", f"sweep.resume={sweep}")
    assert "run 0 is done already" in output
    assert [row["state"] for row in rows(sweep)] == ["done", "done"]
    place.run("diptych.pipeline", *words, "policy=published", f"work_dir={alone}")
    for name in ("articles/metrics.json", "articles/retrieval.json"):
        assert (sweep / "1" / name).read_bytes() == (alone / name).read_bytes()
    metrics = json.loads((alone / "articles/metrics.json").read_text())["metrics"]["articles"]
    assert float(rows(sweep)[1]["recall_at_1"]) == metrics["recall_at_1"]


def test_a_pipeline_with_one_output_file_has_one_in_each_folder(place):
    for name, images in (("one", ["a", "b"]), ("two", ["b", "a"])):
        results = [{"image_id": image, "article_id": image, "score": 1 - n / 10} for n, image in enumerate(images)]
        (place.folder / f"{name}.json").write_text(json.dumps([{"query_id": "q", "results": results}]))
    sweep = place.folder / "ensembles"
    words = ["pipeline=ensemble", "inputs=[one.json,two.json]", "output=best/out.json"]
    place.run("diptych.pipeline", "-m", *words, "fusion=top_two,reciprocal_rank", f"hydra.sweep.dir={sweep}")
    assert (sweep / "0/out.json").read_text() != (sweep / "1/out.json").read_text()
    assert "work_dir" not in rows(sweep)[0]["overrides"]
