"""From the file of an evaluation to the same file in another order, asked of the loopback server about drawn rooms."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from diptych.commands.pipeline import prepare_config, print_estimates, stage_runs
from diptych.stages.running import runner
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.rooms.source import Rooms
from diptych.synthetic.server.rooms_answers import Untruth
from diptych.synthetic.server.server import AnnotationServer, ServerSettings
from tiny_runs import compose_pipeline, run_evaluate, run_pipeline_with

pytestmark = pytest.mark.processes

SIZES = {"num_train_hotels": 1, "num_val_hotels": 4, "num_test_hotels": 1}
K, MARGIN = 5, 0.1


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return Rooms(generate_rooms(tmp_path_factory.mktemp("data") / "rooms", RoomsSettings(**SIZES), num_workers=1))


@pytest.fixture(scope="module")
def server(rooms):
    with AnnotationServer(ServerSettings(scenes=rooms.root)) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def data_words(rooms):
    sizes = [f"data.sources.rooms.settings.{name}={number}" for name, number in SIZES.items()]
    return ["data=rooms", "split=val", f"data.root={rooms.root}", *sizes]


@pytest.fixture
def rerank(rooms, server, tmp_path):
    """`rerank(*words)` runs the pipeline into `tmp_path/out` and gives the lines and the report that it leaves."""

    def run(*words, out="out", asked=server):
        names = [f"predictions={tmp_path / 'predictions.jsonl'}", f"out={tmp_path / out}", "model=gpt-4o"]
        asking = [f"base_url={asked.base_url}", "asker.client.api_key_env=null", f"k={K}", f"margin={MARGIN}"]
        run_pipeline_with("pipeline=rerank", "trainer=cpu", *data_words(rooms), *names, *asking, *words)
        return of_folder(tmp_path / out)

    return run


def of_folder(out):
    report = json.loads((out / "work/rerank/reranking.json").read_text())
    return (out / "predictions.jsonl").read_bytes().splitlines(), report


@pytest.fixture
def predictions(rooms, tmp_path):
    """A ranking by chance, every third query of it sure; the target is among the first, or further behind."""
    names = [image.image_id for image in rooms.gallery("val")]
    lines = []
    for number, query in enumerate(rooms.queries("val")):
        rng = random.Random(number)
        others = [name for name in names if name not in (query.target_image, query.reference_image)]
        ids = [query.reference_image, *rng.sample(others, 8)]
        ids.insert(rng.choice([0, 1, 3, 4, 7]), query.target_image)
        scores = sorted((round(rng.uniform(0, 0.09), 6) for _ in ids), reverse=True)
        scores[0] += 0.5 * (number % 3 == 0)
        rank = ids.index(query.target_image) + 1
        lines.append({"query_id": query.query_id, "ranked_ids": ids, "scores": scores, "target_rank": rank})
    return written(tmp_path / "predictions.jsonl", lines)


def written(path: Path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def test_a_perfect_verifier_puts_first_what_it_is_asked_about(rooms, rerank, predictions, tmp_path):
    new, report = rerank()
    old = (tmp_path / "predictions.jsonl").read_bytes().splitlines()
    found = 0
    for number, (line, query) in enumerate(zip(predictions, rooms.queries("val"), strict=True)):
        after = json.loads(new[number])
        if number % 3 == 0:
            assert new[number] == old[number]
        elif query.target_image in line["ranked_ids"][:K]:
            assert after["ranked_ids"][0] == query.target_image and after["target_rank"] == 1
            assert sorted(after["ranked_ids"]) == sorted(line["ranked_ids"])
            found += line["ranked_ids"][0] != query.target_image
        assert after["ranked_ids"][K:] == line["ranked_ids"][K:] and after["scores"][K:] == line["scores"][K:]
        assert after["scores"] == sorted(after["scores"], reverse=True)
    assert report["queries"] == 24 and report["doubtful"] == report["asked"] == 16 and report["answers"] == 80
    assert report["up"] == found > 4 and report["bare"] == 0 and not report["not_asked"]
    assert report["requests"] <= 80 and report["cost_usd"] > 0
    path = f"predictions={tmp_path / 'out/predictions.jsonl'}"
    scored = run_evaluate(tmp_path / "scored", path, *data_words(rooms))
    first = [json.loads(line)["target_rank"] == 1 for line in new]
    assert scored["metrics"]["recall_at_1"] == pytest.approx(sum(first) / 24)


def test_weight_0_changes_no_byte(rerank, predictions, tmp_path):
    new, report = rerank("weight=0")
    assert new == (tmp_path / "predictions.jsonl").read_bytes().splitlines()
    assert report["changed"] == 0 and report["asked"] == 16


def test_where_nothing_is_in_doubt_nobody_is_asked(rerank, predictions, tmp_path):
    new, report = rerank("margin=0")
    assert new == (tmp_path / "predictions.jsonl").read_bytes().splitlines()
    assert report["doubtful"] == report["requests"] == 0


def test_stopped_and_started_again_it_ends_with_the_same_bytes(rerank, predictions, server, monkeypatch, tmp_path):
    class Stop(BaseException):
        pass

    keep, left = runner._keep, [12]

    def stop(results, sink, failed):
        keep(results, sink, failed)
        left[0] -= len(results)
        if left[0] <= 0:
            raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(runner, "_keep", stop)
        rerank(out="stopped")
    assert not (tmp_path / "stopped/predictions.jsonl").exists()
    assert rerank(out="stopped")[0] == rerank(out="whole")[0]


def test_without_money_the_rest_stays_as_it_is_and_that_is_said(rerank, predictions, caplog, tmp_path):
    new, report = rerank("max_cost_usd=0.05", "concurrency=1")
    failures = [json.loads(line) for line in (tmp_path / "out/work/verify_candidates/failures.jsonl").open()]
    assert 0 < report["asked"] < 16 and report["not_asked"] == {"unaffordable": 16 - report["asked"]}
    assert report["doubtful"] == 16 and report["cost_usd"] <= 0.05
    assert "queries in doubt stay as they are: max_cost_usd=0.05 would be passed" in caplog.text
    old = dict(
        zip([line["query_id"] for line in predictions], (tmp_path / "predictions.jsonl").open("rb"), strict=True)
    )
    by_query = {json.loads(line)["query_id"]: line for line in new}
    for failure in failures:
        assert by_query[failure["query_id"]] == old[failure["query_id"]].rstrip(b"\n")
    assert rerank("retry_failures=true")[0] == rerank(out="whole")[0]


def test_a_reference_that_the_protocol_takes_out_is_not_asked_about(rooms, rerank, predictions, tmp_path):
    new, _ = rerank("data.sources.rooms.exclude_reference=true", "margin=null")
    references = {query.query_id: query.reference_image for query in rooms.queries("val")}
    for line in (tmp_path / "out/work/verify_candidates/records.jsonl").open():
        record = json.loads(line)
        assert len(record["candidates"]) == K and references[record["query_id"]] not in record["candidates"]
    for line, before in zip(map(json.loads, new), predictions, strict=True):
        place = before["ranked_ids"].index(references[line["query_id"]])
        assert line["ranked_ids"][place] == references[line["query_id"]]


def test_an_unsure_verifier_says_so_by_its_logprobs(rooms, rerank, predictions, tmp_path):
    with AnnotationServer(ServerSettings(scenes=rooms.root, untruth=Untruth(candidates=0.25))) as unsure:
        _, report = rerank("margin=null", asked=unsure)
    targets = {query.query_id: query.target_image for query in rooms.queries("val")}
    wrong = total = 0
    for line in (tmp_path / "out/work/verify_candidates/records.jsonl").open():
        record = json.loads(line)
        for name, probability in record["candidates"].items():
            assert probability == pytest.approx(0.25) or probability == pytest.approx(0.75)
            wrong += (probability > 0.5) != (name == targets[record["query_id"]])
            total += 1
    assert total == 24 * K and 0.1 < wrong / total < 0.4 and report["bare"] == 0


def test_a_server_without_logprobs_gives_bare_verdicts(rooms, rerank, predictions):
    with AnnotationServer(ServerSettings(scenes=rooms.root, logprobs=False)) as bare:
        lines, report = rerank(asked=bare)
    assert report["bare"] == report["answers"] == 80
    sure = rerank(out="other")[0]  # its probabilities are those of logprobs, 0 and 1 to nine digits; scores have six
    for of_bare, of_sure in zip(map(json.loads, lines), map(json.loads, sure), strict=True):
        assert of_bare["ranked_ids"] == of_sure["ranked_ids"]
        assert of_bare["scores"] == pytest.approx(of_sure["scores"], abs=1.1e-6)


def test_what_it_would_cost_is_said_before_anything_is_asked(rooms, server, predictions, capsys, tmp_path):
    words = [f"predictions={tmp_path / 'predictions.jsonl'}", f"out={tmp_path / 'out'}", "model=gpt-4o", f"k={K}"]
    asked = server.count()["total"]["started"]
    print_estimates(stage_runs(prepare_config(compose_pipeline("pipeline=rerank", *data_words(rooms), *words))))
    said = capsys.readouterr().out
    assert "verify_candidates" in said and "nothing was sent" in said
    assert server.count()["total"]["started"] == asked and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_id": "other"}, r"'other' is no query of rooms val \(there is 'hotel-"),
        ({"scores": []}, "has not one score for each of its ranked_ids"),
        ({"scores": [0.1] + [0.2] * 9}, "do not fall from the first to the last"),
        ({"ranked_ids": ["a.jpg"] * 10}, "'a.jpg' is no image of the gallery of rooms val"),
        ({"set": "rooms"}, r"its lines are of several sets \(rooms\); evaluate on one at a time"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(rerank, predictions, tmp_path, change, message):
    written(tmp_path / "predictions.jsonl", [*predictions[:1], {**predictions[1], **change}])
    with pytest.raises(ValueError, match=rf"predictions\.jsonl.*{message}"):
        rerank()


@pytest.mark.parametrize(
    ("words", "message"), [("k=1", r"k=1, .*want at least 2"), ("margin=-1", "margin=-1"), ("weight=2", "weight=2")]
)
def test_settings_that_make_no_sense_are_refused(rerank, predictions, words, message):
    with pytest.raises(ValueError, match=message):
        rerank(words)
