"""From query photos to captions and a submission: a tiny fuser behind the stages of retrieval, on the tiny newsroom."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from diptych.commands.export import export
from diptych.commands.news_captioning import fuser_data, without_blanks
from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from diptych.parallel import checkpoints
from diptych.submission.eventa import check_eventa
from diptych.synthetic.newsroom.source import Newsroom
from scripted_server import Server, running
from served_model import writing
from tiny_runs import (
    TINY_NEWS_SIZES,
    TINY_RETRIEVAL,
    WITHOUT_ENTITIES,
    compose_pipeline,
    run_pipeline_with,
    run_train,
    tiny_captions,
)
from tiny_sets import TINY_NEWS, tiny_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the set under `data`; runs go under `runs`."""
    folder = tmp_path_factory.mktemp("captioning")
    tiny_set("newsroom", folder / "data/newsroom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_DATA", str(folder / "data"))
        patch.setenv("DIPTYCH_RUNS", str(folder / "runs"))
        patch.setattr(sys, "argv", ["train.py"])
        yield folder


@pytest.fixture(scope="module")
def fuser(place, tiny_chat_model, tiny_sentence_model):
    """A run of train.py: one step, a random model."""
    tiny = tiny_captions(place / "data", tiny_chat_model, tiny_sentence_model)
    words = [*tiny, *TINY_NEWS_SIZES, *WITHOUT_ENTITIES, "prompt@data.preparation.prompt=event"]
    run_train(place / "runs/fuser", "experiment=fuser_newsroom", *words, "evaluate_at_end=false", "trainer.max_steps=1")
    return place / "runs/fuser"


@pytest.fixture(scope="module")
def words(fuser):
    return ["pipeline=caption_news", "data=newsroom", f"ckpt={fuser}", *TINY_NEWS_SIZES, *TINY_RETRIEVAL]


@pytest.fixture(scope="module")
def work(place, words):
    """The folder of the whole pipeline, which has run once."""
    run_pipeline_with(*words)
    return place / "runs/caption_news/newsroom_test"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_captions_their_scores_and_a_submission(place, fuser, work):
    source = Newsroom(place / "data/newsroom", TINY_NEWS)
    queries = [query.query_id for query in source.queries("test")]
    records = [json.loads(line) for line in (work / "caption/predictions.jsonl").read_text().splitlines()]
    assert [record["query_id"] for record in records] == queries
    retrieved = json.loads((work / "articles/retrieval.json").read_text())
    first = {record["query_id"]: record["results"][0]["article_id"] for record in retrieved}
    assert {record["query_id"]: record["article_id"] for record in records} == first
    found = json.loads((work / "caption/metrics.json").read_text())
    assert (found["experiment"], found["data"], found["split"]) == ("fuser_newsroom", ["newsroom"], "test")
    assert found["queries"] == {"scored": 4, "expected": 4} and str(fuser) in found["checkpoint"]
    metrics = found["metrics"]
    assert {"cider", "bleu_4", "rouge_l", "base_caption/cider", "fact_recall/third_1"} <= set(metrics)
    of_retrieval = json.loads((work / "articles/metrics.json").read_text())["metrics"]["articles"]
    assert {name: metrics[name] for name in ("recall_at_1", "recall_at_10", "average_precision")} == of_retrieval
    assert (work / "caption/report/index.html").is_file()
    verdict = check_eventa(work / "submission/submission.zip", source, "test")
    assert (verdict.violations, verdict.unchecked) == ((), ())


def test_the_same_command_again_generates_nothing(work, words, monkeypatch, caplog):
    before = content(work / "caption") | content(work / "submission") | content(work / "describe")

    def forward(self, *arguments, **settings):
        pytest.fail("the language model was asked again")

    monkeypatch.setattr(Qwen3ForCausalLM, "forward", forward)
    caplog.set_level("INFO")
    run_pipeline_with(*words)
    assert "write_captions: 4 done (4 kept), none failed" in caplog.text
    assert content(work / "caption") | content(work / "submission") | content(work / "describe") == before


@pytest.fixture
def data_of(fuser, words):
    """The data section that the fuser gets with further words on the command line."""
    trained = OmegaConf.create(checkpoints.config_text(checkpoints.load(fuser / "checkpoints/last.ckpt")))

    def compose(*further):
        config = prepare_config(compose_pipeline(*words, *further))
        stage = {run.name: run.stage for run in stage_runs(config)}["write_captions"]
        return OmegaConf.to_container(fuser_data(trained, stage.data_changes()), resolve=False)

    return compose


def changed(first, second, path=""):
    """The dotted names of all leaves that differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        found = {
            key: changed(first.get(key), second.get(key), f"{path}.{key}".lstrip(".")) for key in {**first, **second}
        }
        return {name for names in found.values() for name in names}
    return set() if first == second else {path}


def test_the_fusers_own_settings_hold(data_of, tiny_sentence_model):
    data = data_of()
    assert data["preparation"]["selector"]["top_k"] == 16  # the experiment's, where the pipeline's data says 5
    assert data["preparation"]["selector"]["encoder"]["encoder"]["name"] == str(tiny_sentence_model)
    assert data["preparation"]["max_prompt_tokens"] == 2600


@pytest.mark.parametrize("number", [3, 5, 7])
def test_the_number_of_chunks_is_one_word(data_of, number):
    data = data_of(f"data.preparation.selector.top_k={number}")
    assert data["preparation"]["selector"]["top_k"] == number
    assert changed(data_of(), data) == {"preparation.selector.top_k"}


@pytest.mark.parametrize("prompt", ["no_ratio", "no_example", "no_five_ws"])
def test_the_prompt_is_one_word(data_of, prompt):
    before, after = data_of(), data_of(f"prompt@data.preparation.prompt={prompt}")
    names = changed(before, after)
    assert names and all(name.startswith("preparation.prompt.") for name in names)
    if prompt == "no_ratio":
        assert names == {"preparation.prompt.instructions.ratio"}
        assert after["preparation"]["prompt"]["instructions"]["ratio"] is None


def test_verification_off_is_one_word_and_leaves_the_fuser_alone(data_of, words):
    assert data_of("policy=off") == data_of()
    off = {run.name: run.stage for run in stage_runs(prepare_config(compose_pipeline(*words, "policy=off")))}
    assert off["verify_geometry"].policy is None


def test_another_place_of_the_set_reaches_the_fuser(data_of, tmp_path):
    data = data_of(f"data.sources.newsroom.root={tmp_path}")
    assert data["sources"]["newsroom"]["root"] == str(tmp_path)


def test_other_chunks_are_captioned_anew_and_the_stages_kept(work, words):
    before = {name: content(work / name) for name in ("articles", "describe", "verify_geometry")}
    first = content(work / "caption")
    run_pipeline_with(*words, "data.preparation.selector.top_k=1", "data.preparation.selector.first_sentences=1")
    assert {name: content(work / name) for name in before} == before
    other = content(work / "caption")
    assert other["predictions.jsonl"] != first["predictions.jsonl"]
    (aside,) = (path for path in work.glob("caption.*") if path.is_dir())
    assert content(aside) == first
    run_pipeline_with(*words)  # back again
    assert content(work / "caption")["predictions.jsonl"] == first["predictions.jsonl"]


def test_what_the_checkpoint_holds_is_replaced_as_in_evaluate(work, words):
    """A name replaces the whole, single keys those; the stages before are kept, and the earlier captions too."""
    before = {name: content(work / name) for name in ("articles", "describe", "verify_geometry")}
    first = content(work / "caption")
    dials = ["prompt=short", "evidence.top_k=1", "generation.max_new_tokens=3", "metrics=[length]"]
    run_pipeline_with(*words, *dials)
    assert {name: content(work / name) for name in before} == before
    found = json.loads((work / "caption/metrics.json").read_text())
    assert found["replaced"]["generation"] == {"max_new_tokens": 3} and found["replaced"]["metrics"] == ["length"]
    assert found["replaced"]["evidence"] == {"top_k": 1} and found["replaced_from"]["evidence"] == {"top_k": 16}
    assert list(found["replaced"]["prompt"]["instructions"]) == ["task"]  # nothing of the trained prompt, `event`
    assert "mean_words" in found["metrics"] and "cider" not in found["metrics"]
    records = [json.loads(line) for line in (work / "caption/predictions.jsonl").read_text().splitlines()]
    assert all(record["completion_tokens"] <= 3 for record in records)
    assert "Replaced for this evaluation" in (work / "caption/report/index.html").read_text()
    run_pipeline_with(*words)  # back again
    assert content(work / "caption")["predictions.jsonl"] == first["predictions.jsonl"]


def test_a_server_that_holds_the_merged_fuser_writes_the_same(work, words, fuser, tmp_path, monkeypatch, caplog):
    merged = str(tmp_path / "merged")
    export(fuser, merged, merge=True, dtype="float32")
    greedy = [*words, "generation=greedy", "generation.max_new_tokens=24"]
    run_pipeline_with(*greedy)
    local = {name: (work / "caption" / name).read_bytes() for name in ("predictions.jsonl", "records.jsonl")}
    scores = json.loads((work / "caption/metrics.json").read_text())["metrics"]

    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    step = writing(model, AutoTokenizer.from_pretrained(merged))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(QLoRAFuser, "load", None)  # the base model is not read
    with running(Server([step], [{"id": merged, "max_model_len": 4096}])) as server:
        by_server = ["server=vllm", f"server.model={merged}", f"server.base_url={server.url}"]
        run_pipeline_with(*greedy, *by_server)
        assert {name: (work / "caption" / name).read_bytes() for name in local} == local
        found = json.loads((work / "caption/metrics.json").read_text())
        assert found["metrics"] == scores
        assert found["replaced"]["server"] == {"model": merged, "base_url": server.url}
        for word, message in {
            "server.concurrency=0": r"server\.concurrency=0, .*: want at least 1",
            "server.model=???": r"^server\.model=\.\.\. is missing: what the server calls",
            "ablation=untuned": "ablation=untuned is of the base model, which the server does not hold",
            "trainer.devices=2": "server is asked by one process, and trainer has 2",
        }.items():
            with pytest.raises(ValueError, match=message):
                run_pipeline_with(*greedy, *by_server, word)
    caplog.set_level("INFO")
    run_pipeline_with(*greedy, *by_server, "server.base_url=http://127.0.0.1:9/v1")  # another address is no other model
    assert "write_captions: 4 done (4 kept), none failed" in caplog.text
    monkeypatch.undo()
    run_pipeline_with(*words)  # back again


def test_a_pipeline_that_writes_no_captions_has_none_of_these_dials():
    config = compose_pipeline("pipeline=news_retrieval", "data=newsroom", "generation.num_candidates=8")
    with pytest.raises(ValueError, match="generation: no stage of pipeline=news_retrieval writes captions"):
        prepare_config(config)


def test_the_stage_has_its_manifest_and_its_counts(work):
    manifest = json.loads((work / "caption/manifest.json").read_text())
    assert (manifest["stage"], manifest["done"], manifest["failed"]) == ("write_captions", 4, {})
    predictions = [json.loads(line) for line in (work / "caption/predictions.jsonl").read_text().splitlines()]
    records = [json.loads(line) for line in (work / "caption/records.jsonl").read_text().splitlines()]
    assert records == [{name: record[name] for name in ("query_id", "caption")} for record in predictions]
    assert (work / "report/index.html").is_file()


def test_a_submission_that_is_gone_is_written_again_without_the_model(work, words, monkeypatch):
    path = work / "submission/submission.zip"
    before = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(Qwen3ForCausalLM, "forward", lambda *_, **__: pytest.fail("the language model was asked"))
    run_pipeline_with(*words)
    assert path.read_bytes() == before


def test_an_ablation_that_is_added_writes_only_its_own(work, words, caplog):
    own = (work / "caption/predictions.jsonl").read_bytes()
    caplog.set_level("INFO")
    run_pipeline_with(*words, "ablation=untuned")
    assert "write_captions: 8 done (4 kept), none failed" in caplog.text
    assert (work / "caption/predictions.jsonl").read_bytes() == own
    assert (work / "caption/untuned/predictions.jsonl").is_file()
    assert "untuned/cider" in json.loads((work / "caption/metrics.json").read_text())["metrics"]
    run_pipeline_with(*words)
    assert "untuned/cider" not in json.loads((work / "caption/metrics.json").read_text())["metrics"]


def test_blank_captions_are_replaced_and_counted(caplog):
    captions = without_blanks({"a": "A man.", "b": " \n"}, {"a": "x", "b": "a photo"})
    assert captions == {"a": "A man.", "b": "a photo"}
    assert "1 captions are blank" in caplog.text and ": b" in caplog.text


def test_a_checkpoint_that_is_not_there_is_named(words, tmp_path):
    with pytest.raises(ValueError, match=r"gone"):
        run_pipeline_with(*words, f"ckpt={tmp_path}/gone")
