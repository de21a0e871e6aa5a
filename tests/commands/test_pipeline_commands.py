"""Pipelines as users type them: whole, killed in each stage and started again, on two processes, one stage alone."""

from __future__ import annotations

import json
import os
import signal

import pytest

from diptych.data.news.retrieval_file import read_retrieval
from diptych.synthetic.newsroom.source import Newsroom
from forked_commands import ForkedCommands
from tiny_runs import TINY_NEWS_SIZES, TINY_RETRIEVAL
from tiny_sets import TINY_NEWS, tiny_set
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes

ENCODERS = ("colour_layout", "oriented_gradients")
STAGES = [
    *(f"{step}_{encoder}" for step in ("embed_gallery", "embed_queries", "retrieve_images") for encoder in ENCODERS),
    *("ensemble", "verify_geometry", "articles", "compare_rankings", "describe"),
]
WORDS = ["pipeline=news_retrieval", "data=newsroom", *TINY_NEWS_SIZES, *TINY_RETRIEVAL]

# `die` is [stage, number of records]: when the stage has kept so many, its process is killed; with null in the place of
# the number, when it is about to write its output.
PREPARATION = """
def arm(stage, number):
    run, keep, state = runner.PipelineRunner._run, runner._keep, {"kept": 0, "stage": None}
    def kill(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)
    def watched_run(self, of):
        state["stage"] = of.name
        if of.name == stage and number is None:
            of.stage.write_output = kill
        return run(self, of)
    def watched_keep(results, sink, failed):
        if state["stage"] != stage or number is None:
            return keep(results, sink, failed)
        left = number - state["kept"]
        keep(results[:left], sink, failed)
        state["kept"] += len(results)
        if len(results) >= left:
            kill()
    runner.PipelineRunner._run, runner._keep = watched_run, watched_keep
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with the tiny set, one of its query photos broken."""
    folder = tmp_path_factory.mktemp("place")
    source = Newsroom(tiny_set("newsroom", folder / "data/newsroom"), TINY_NEWS)
    broken = source.queries("test")[1].query_id
    source.image_path("test", broken).write_bytes(b"\xff\xd8 nothing")
    return folder, source, broken


@pytest.fixture(scope="module")
def environment(place):
    places = {"DIPTYCH_RUNS": str(place[0] / "runs"), "DIPTYCH_DATA": str(place[0] / "data")}
    return os.environ | places | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def run(place, environment):
    """`run(*words, die=None)`: the exit code and the output of the command with these words."""
    commands = ForkedCommands(place[0], environment, PREPARATION)
    return lambda *words, die=None: commands.together(words, die=die)[0]


def own_places(folder):
    return [f"work_dir={folder}/work", f"data.cache={folder}/cache"]


@pytest.fixture(scope="module")
def whole(place):
    """A run that nothing disturbed, and what it said."""
    output = WorkingFolder(place[0]).run("diptych.pipeline", *WORDS, *own_places(place[0] / "whole"), real=True)
    return place[0] / "whole", output


def content(folder):
    """Everything under the folders of the stages but locks, logs and times, by path; messages name the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".hydra" not in path.parts and path.suffix not in (".lock", ".log")
        if path.name not in (".lockstep.json", "times.json")
        and path.suffix != ".crc"
        and path.relative_to(folder).parts[:2] != ("work", "report")
    }


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_from_photos_to_articles_and_base_captions(place, whole):
    _, source, broken = place
    folder, output = whole
    work, queries = folder / "work", [query.query_id for query in source.queries("test")]
    assert all((work / name).is_dir() for name in STAGES if "gallery" not in name)
    assert {path.name for path in (folder / "cache/gallery").iterdir() if path.is_dir()} == set(ENCODERS)
    assert "embed_gallery_colour_layout: 32 done, none failed" in output
    assert "embed_queries_colour_layout: 3 done, 1 failed: unreadable 1" in output
    assert "retrieve_images_colour_layout: 3 done, 1 failed: no_embedding 1" in output
    assert "articles: 4 done, none failed" in output and f"everything is in {work}" in output
    (failure,) = records(work / "embed_queries_colour_layout/failures.jsonl")
    assert (failure["query_id"], failure["reason"]) == (broken, "unreadable")
    found = read_retrieval(work / "articles/retrieval.json", source.articles())
    assert list(found) == queries and found[broken] == ()
    assert all(1 < len(found[query]) <= 10 for query in queries if query != broken)
    for candidates in found.values():
        articles = [candidate.article_id for candidate in candidates]
        assert None not in articles and len(set(articles)) == len(articles)
    record = json.loads((work / "articles/metrics.json").read_text())
    assert (record["split"], record["queries"], record["no_candidates"]) == ("test", 4, 1)
    assert list(record["metrics"]) == [*(f"retrieve_images_{encoder}" for encoder in ENCODERS), "ensemble", "articles"]
    assert record["metrics"]["articles"]["recall_at_10"] == 0.75
    captions = (work / "describe/base_captions.csv").read_text().splitlines()
    assert captions[0] == "query_id,matched_image_id,caption" and len(captions) == 5


def test_the_same_command_again_changes_nothing(place, whole, run):
    folder, _ = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*") if ".hydra" not in path.parts}
    code, output = run(*WORDS, *own_places(folder))
    assert code == 0 and "articles: 4 done (4 kept), none failed" in output
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_killed_in_each_stage_it_ends_with_the_same_files(place, whole, run):
    folder = place[0] / "killed"
    words = [*WORDS, *own_places(folder)]
    kills = [(name, 13 if "gallery" in name else 2) for name in STAGES]  # in the middle of a batch
    before_output = ("embed_queries_colour_layout", "retrieve_images_colour_layout", "verify_geometry", "articles")
    kills += [(name, None) for name in before_output]
    kills.sort(key=lambda kill: STAGES.index(kill[0]))
    for name, number in kills:
        code, output = run(*words, die=[name, number])
        assert code == -signal.SIGKILL, (name, number, output[-2000:])
        stage = folder / "work" / name
        if "gallery" in name:
            stage = folder / "cache/gallery" / name.removeprefix("embed_gallery_")
        if number is not None:
            written = [*stage.glob("records.jsonl"), *stage.glob("parts/*.ids.jsonl")]
            assert written, name
            for path in written:  # lines that were being written
                path.open("a").write('{"query_id": "ha' if path.name == "records.jsonl" else '"ha')
        assert not any((folder / "work" / later).exists() for later in STAGES[STAGES.index(name) + 1 :])
    code, output = run(*words)
    assert code == 0, output[-2000:]
    first, second = content(whole[0]), content(folder)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_two_processes_embed_as_one(place, whole):
    folder = place[0] / "two"
    words = [word for word in WORDS if not word.startswith("trainer=")]
    two = ["trainer=ddp_cpu", "trainer.devices=2"]
    output = WorkingFolder(place[0]).run("diptych.pipeline", *words, *two, *own_places(folder))
    assert output.count("everything is in") == 1  # one process speaks
    assert output.count("embed_gallery_colour_layout: 32 done, none failed") == 1
    first, second = content(whole[0]), content(folder)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_ensemble_alone(place, whole, run):
    inputs = ",".join(f"{whole[0]}/work/retrieve_images_{encoder}/retrieval.json" for encoder in ENCODERS)
    code, output = run("pipeline=ensemble", f"inputs=[{inputs}]", "output=out/fused.json", "trainer=cpu")
    assert code == 0, output[-2000:]
    fused = place[0] / "out/fused.json"
    assert fused.read_bytes() == (whole[0] / "work/ensemble/retrieval.json").read_bytes()
    code, output = run(
        "pipeline=ensemble", f"inputs=[{inputs}]", "output=out/fused.json", "fusion=reciprocal_rank", "trainer=cpu"
    )
    assert code == 0 and "ensemble: other settings (fusion); what was made before is kept in" in output
    assert fused.read_bytes() != (whole[0] / "work/ensemble/retrieval.json").read_bytes()


def test_verification_alone(place, whole, run):
    _, source, broken = place
    work = whole[0] / "work"
    query = next(query.query_id for query in source.queries("test") if query.query_id != broken)
    pictures = [
        f"query_images={json.dumps(str(source.image_path('test', query).parent))}",  # a blank is in it
        f"gallery_images={source.database_image_path('x').parent}",
    ]
    words = ["pipeline=verify_geometry", f"input={work}/ensemble/retrieval.json", *pictures, "trainer=cpu"]
    code, output = run(*words, "output=out/verified.json", "policy=verified", "+stages.verify_geometry.num_workers=1")
    assert code == 0, output[-2000:]
    assert (place[0] / "out/verified.json").read_bytes() == (work / "verify_geometry/retrieval.json").read_bytes()
    code, output = run(*words, "output=out/off.json", "policy=off")
    assert code == 0, output[-2000:]
    assert read_retrieval(place[0] / "out/off.json") == read_retrieval(work / "ensemble/retrieval.json")


def test_mistakes_are_answered_in_one_message(run):
    for words, message in (
        (["pipeline=ensemble"], "error: pipeline=ensemble needs inputs=..., output=..."),
        (["pipeline=news_retrieva"], "news_retrieval"),
        (["pipeline=ensemble", "inputs=[gone.json]", "output=out.json", "trainer=cpu"], "gone.json"),
        (["pipeline=news_retrieval", "data=newsroom", "policy.min_inlier=3"], "Did you mean 'policy.min_inliers'"),
    ):
        code, output = run(*words)
        assert code == 1 and message in output and "Traceback" not in output, output
