"""Every experiment trains two steps on tiny data and is evaluated from its checkpoint alone."""

import csv
import json
import sys

import pytest
import torch

from diptych.config import folder
from diptych.parallel import checkpoints
from diptych.storage.run_status import read_status
from tiny_runs import TINY_MARKET_SIZES, TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train
from tiny_sets import make_data

pytestmark = pytest.mark.slow

EXPERIMENTS = sorted(path.stem for path in (folder.CONFIG_FOLDER / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture(scope="module")
def rooms_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "cir_rooms" / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(run, "experiment=cir_rooms", *tiny_rooms(data), *TINY_MODEL, *TINY_RUN)
    return run


def tiny_rooms(data):
    return [f"data_dir={data}", *TINY_ROOMS_SIZES]


GENERATED = {"cir_market": TINY_MARKET_SIZES, "cir_rooms_market": [*TINY_ROOMS_SIZES, *TINY_MARKET_SIZES]}
MIXES = [name for name in EXPERIMENTS if name.startswith("cir_") and name != "cir_rooms"]


@pytest.mark.parametrize("experiment", [name for name in MIXES if name not in ("cir_all", "cir_cirr")])
def test_every_mix_trains_and_is_scored(experiment, data, tmp_path):
    validated = trained(experiment, data, tmp_path / "run", "trainer.max_steps=1")
    assert validated["queries"]["scored"] == validated["queries"]["expected"] > 0


def trained(experiment, data, run, *overrides):
    sizes = GENERATED.get(experiment, [])
    run_train(run, f"experiment={experiment}", f"data_dir={data}", *TINY_MODEL, *TINY_RUN, *sizes, *overrides)
    validated = json.loads((run / "metrics.json").read_text())
    assert validated["experiment"] == experiment
    return validated


@pytest.mark.parametrize("experiment", ["cir_all", "cir_cirr"])  # three sources, and one
def test_a_mix_is_evaluated_from_its_checkpoint(experiment, data, tmp_path):
    validated = trained(experiment, data, tmp_path / "run")
    scored = run_evaluate(
        tmp_path / "eval",
        f"ckpt={tmp_path / 'run'}",
        "split=val",
        f"data_dir={data}",
        "trainer=cpu",
        "trainer.precision=32-true",
    )
    assert scored["metrics"] == validated["metrics"]


def test_a_run_leaves_what_the_design_promises(rooms_run):
    present = {str(path.relative_to(rooms_run)) for path in rooms_run.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "metrics.csv",
        "metrics.json",
        "predictions.jsonl",
        "scores.jsonl",
        "report/index.html",
        "report/sheet.jpg",
    } <= present
    assert (rooms_run.parent / "latest").resolve() == rooms_run.resolve()
    record = json.loads((rooms_run / "metrics.json").read_text())
    assert {
        "experiment",
        "data",
        "split",
        "protocol",
        "checkpoint",
        "seed",
        "world_size",
        "queries",
        "gallery",
        "versions",
        "metrics",
        "intervals",
        "about",
    } <= set(record)
    assert record["about"]["recall_at_1"] == {"unit": "fraction", "better": "higher"}
    assert read_status(rooms_run).objective.mode == "max"  # as the metric said; the config leaves it open
    assert {
        "recall_at_1",
        "image_only/recall_at_1",
        "text_only/recall_at_1",
        "sum/recall_at_1",
        "recall_at_1/changes_1",
        "median_rank",
    } <= set(record["metrics"])
    assert set(record["intervals"]["recall_at_1"]) <= {0.0, 1.0} or len(record["intervals"]["recall_at_1"]) == 2
    lines = [json.loads(line) for line in (rooms_run / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == record["queries"]["expected"]
    assert all(len(set(line["ranked_ids"])) == 50 for line in lines)


def test_the_log_has_a_row_per_step_with_what_one_watches(rooms_run):
    rows = list(csv.DictReader((rooms_run / "metrics.csv").open()))
    train_rows = [row for row in rows if row.get("train/loss")]
    assert [int(row["step"]) for row in train_rows] == [0, 1]
    for name in (
        "train/lr",
        "train/gradient_norm",
        "train/samples_per_second",
        "train/memory_gib",
        "train/negatives_per_query",
        "train/epoch",
        "train/temperature",
    ):
        assert all(float(row[name]) > 0 for row in train_rows), name
    assert any(row.get("val/recall_at_1") for row in rows)


def test_checkpoints_load_without_running_code_and_describe_themselves(rooms_run):
    for name in ("last", "best"):
        checkpoint = torch.load(rooms_run / f"checkpoints/{name}.ckpt", weights_only=True)
        text = checkpoints.config_text(checkpoint)
        assert text == (rooms_run / "config.yaml").read_text()
        assert "${system.model.backbone.preprocessing}" in text  # unresolved


def test_other_data_replaces_the_checkpoints(rooms_run, data, tmp_path):
    record = run_evaluate(
        tmp_path / "e", f"ckpt={rooms_run}", "data=cirr", "split=val", f"data_dir={data}", "data.num_workers=0"
    )
    assert record["data"] == ["cirr"]
    assert "recall_subset_at_1" in record["metrics"] and "average" in record["metrics"]


def test_a_model_of_one_world_is_scored_on_both_by_the_same_kinds_of_change(rooms_run, data, tmp_path):
    words = ["data=[rooms,market]", *TINY_ROOMS_SIZES, *TINY_MARKET_SIZES, "data.num_workers=0"]
    record = run_evaluate(tmp_path / "e", f"ckpt={rooms_run}", "split=val", f"data_dir={data}", *words)
    assert record["data"] == ["rooms", "market"]
    kinds = {world: kinds_of(record["metrics"], f"{world}/recall_at_1/changed_") for world in ("rooms", "market")}
    assert {"colour", "presence"} <= kinds["rooms"]
    assert {"colour", "presence", "count", "goods", "price"} <= kinds["market"]


def test_the_composition_is_audited_and_metrics_of_queries_in_several_wordings_are_asked_for_by_name(
    rooms_run, data, tmp_path
):
    words = [f"ckpt={rooms_run}", f"data_dir={data}", "split=val", "trainer=cpu", "trainer.precision=32-true"]
    names = "metrics=[recall_at_k,reference_rank,distractor_above,paraphrase_spread]"
    words += [*TINY_ROOMS_SIZES, names, "data.num_workers=0", "data.images.cache=null"]
    record, alone = (run_evaluate(tmp_path / name, *words, f"data={name}") for name in ("rooms_paraphrased", "rooms"))
    metrics, lines = record["metrics"], (tmp_path / "rooms_paraphrased/scores.jsonl").read_text().splitlines()
    parts = ("shortcut_image", "shortcut_text", "shortcut_free")
    assert {f"{part}_at_10" for part in parts} | {"composed_at_10", "composition_gap"} <= metrics.keys()
    assert metrics["shortcut_image_at_10"] == metrics["image_only/recall_at_10"]
    assert metrics["shortcut_text_at_10"] == metrics["text_only/recall_at_10"]
    solved = [json.loads(line) for line in lines]
    free = [one["recall_at_1"] for one in solved if one["shortcut_free_at_10"]]
    assert metrics["recall_at_1/shortcut_free"] == pytest.approx(sum(free) / len(free))
    assert metrics["shortcut_inflation_at_1"] == pytest.approx(metrics["recall_at_1"] - sum(free) / len(free))
    assert record["aspect_queries"]["shortcut_free"] == len(free) and len(solved) == record["queries"]["scored"]
    assert {"reference_rank", "reference_above", "distractor_above"} <= metrics.keys() & record["intervals"].keys()
    shares = [metrics[f"paraphrase_{name}_at_10"] for name in ("spread", "all", "none")]
    assert sum(shares) == pytest.approx(1) and len(solved) == 6 * alone["queries"]["scored"]
    assert "paraphrase_spread_at_1" not in alone["metrics"]
    assert any("paraphrase_spread_at_1" in said and "there are no groups" in said for said in alone["signatures"])
    assert "Does the model compose?" in (tmp_path / "rooms_paraphrased/report/index.html").read_text()


def kinds_of(metrics, prefix):
    return {name.removeprefix(prefix) for name in metrics if name.startswith(prefix)}


def test_a_hidden_split_writes_both_submission_files_that_the_validator_accepts(rooms_run, data, tmp_path):
    from diptych.data.triplets.cirr import CIRR
    from diptych.submission.servers import check

    record = run_evaluate(
        tmp_path / "e", f"ckpt={rooms_run}", "data=cirr", "split=test", f"data_dir={data}", "data.num_workers=0"
    )
    assert record["metrics"] == {}
    files = sorted((tmp_path / "e/submission").iterdir())
    assert len(files) == 2
    for file in files:
        assert check(file, CIRR(data / "cirr")).violations == ()


def test_single_settings_of_the_checkpoints_data_can_change(rooms_run, data, tmp_path, monkeypatch):
    record = run_evaluate(
        tmp_path / "e", f"ckpt={rooms_run}", "++data.sources.rooms.exclude_reference=true", f"data_dir={data}"
    )
    assert record["protocol"]["exclude_reference"] is True
    with pytest.raises(ValueError, match="unknown key 'data.batchsize'"):
        run_evaluate(tmp_path / "f", f"ckpt={rooms_run}", "++data.batchsize=2", f"data_dir={data}")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("~metrics.median_rank", "~metrics.median_rank: name those that are to be measured instead"),
        ("caption_metrics=[length]", "caption_metrics are those of a file of captions"),
        ("ablation=evidence", "ablation is of captions, which this checkpoint does not write"),
        ("generation=greedy", "generation: this checkpoint has no system.generator.settings to replace"),
        ("evidence.top_k=3", "evidence: this checkpoint has no data.preparation.selector to replace"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(word, message, rooms_run, data, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_evaluate(tmp_path / "e", f"ckpt={rooms_run}", word, f"data_dir={data}")


def test_a_prediction_file_is_scored_without_a_model(rooms_run, data, tmp_path):
    lines = [json.loads(line) for line in (rooms_run / "predictions.jsonl").read_text().splitlines()]
    (tmp_path / "p.json").write_text(json.dumps({line["query_id"]: line["ranked_ids"] for line in lines}))
    record = run_evaluate(
        tmp_path / "e", f"predictions={tmp_path / 'p.json'}", "data=hotel_cir", "split=val", f"data_dir={data}"
    )
    original = json.loads((rooms_run / "metrics.json").read_text())
    for k in (1, 5, 10, 50):
        assert record["metrics"][f"recall_at_{k}"] == original["metrics"][f"recall_at_{k}"]
    for word in ("prompt=short", "ablation=evidence"):
        with pytest.raises(ValueError, match="says how a checkpoint writes captions: a prediction file has none"):
            run_evaluate(tmp_path / "f", f"predictions={tmp_path / 'p.json'}", "data=hotel_cir", word)


def test_absent_data_is_an_error_before_any_weights_load(tmp_path, monkeypatch):
    from diptych.models.backbones import clip

    monkeypatch.setattr(clip, "build", lambda *_: pytest.fail("the model was built before the data was looked at"))
    with pytest.raises(ValueError) as caught:
        run_train(tmp_path / "run", "experiment=cir_hotel", f"data_dir={tmp_path / 'nothing'}")
    for word in (str(tmp_path / "nothing/hotel_cir"), "docs/hotel_cir.md", "experiment=cir_rooms"):
        assert word in str(caught.value)


def test_a_frozen_backbone_trains_on_its_features_as_on_pictures(data, tmp_path):
    small = ["experiment=cir_rooms", *tiny_rooms(data), *TINY_MODEL, *TINY_RUN]
    frozen = [*small, "system.model.backbone.freeze=all", "system.optimizer.lr=1e-3", "~data.training.augmentation"]
    features = ["data/training=features", f"data.training.feature_cache={tmp_path / 'cache'}"]
    for name, reading in (("pictures", []), ("features", [*features, "data.training.feature_dtype=float32"])):
        run_train(tmp_path / name, *frozen, *reading, "evaluate_at_end=false")
    assert len(list(tmp_path.glob("cache/*/manifest.json"))) == 1
    states = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("pictures", "features")
    ]
    for weight, same in zip(*(state["state_dict"].values() for state in states), strict=True):
        torch.testing.assert_close(weight, same, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="freeze=all"):
        run_train(tmp_path / "trained", *frozen, *features, "system.model.backbone.freeze=none")

    bank = ["system/loss=info_nce_bank", "callbacks.checkpointing.monitor=val/loss"]
    run_train(tmp_path / "bank", *frozen, *features, f"init_from={tmp_path / 'features'}", *bank)
    row = next(row for row in csv.DictReader((tmp_path / "bank/metrics.csv").open()) if row["train/loss"])
    records = json.loads((data / "rooms/captions/hotel_train_data.json").read_text())
    images = {record[name] for record in records for name in ("query_image", "result_image")}
    assert float(row["train/negatives_per_query"]) == len(images) - 1  # cir_rooms has the reference among them
    with pytest.raises(ValueError, match=r"data/training=files reads others .* set data/training=features"):
        run_train(tmp_path / "no_bank", *frozen, *bank)


def test_a_missing_image_stops_the_run_and_drop_marks_it_partial(data, tmp_path):
    make_data(tmp_path / "data")
    root = tmp_path / "data/cirr/img_raw/dev"
    (root / "dev-50-0-img0.png").unlink()
    (root / "dev-51-0-img1.png").write_bytes(b"")
    arguments = ["experiment=cir_cirr", f"data_dir={tmp_path / 'data'}", *TINY_MODEL, *TINY_RUN]
    with pytest.raises(ValueError, match=r"58 of 60 images.*data=cirr.*on_missing=drop"):
        run_train(tmp_path / "run", *arguments)
    run_train(tmp_path / "run", *arguments, "data.images.on_missing=drop")
    record = json.loads((tmp_path / "run/metrics.json").read_text())
    assert record["protocol"]["partial"] == "58/60"
    assert "@partial(58/60)" in record["protocol"]["line"]


def test_a_non_finite_loss_names_the_queries(data, tmp_path):
    with pytest.raises(ValueError, match=r"the loss is nan at step \d; queries of the batch: hotel-\d+"):
        run_train(
            tmp_path / "run",
            "experiment=cir_rooms",
            *tiny_rooms(data),
            *TINY_MODEL,
            *TINY_RUN,
            "trainer.max_steps=5",
            "system.optimizer.lr=1e38",
            "system.scheduler.warmup_steps=0",
        )


def test_resuming_refuses_what_would_be_another_run(rooms_run, data):
    with pytest.raises(ValueError, match=r"system.optimizer.lr=1 would be another run.*init_from="):
        run_train(rooms_run, f"resume={rooms_run}", "system.optimizer.lr=1")


def test_a_truncated_or_foreign_checkpoint_is_refused(rooms_run, tmp_path, data):
    whole = (rooms_run / "checkpoints/last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.ckpt"):
        run_evaluate(tmp_path / "e", f"ckpt={tmp_path / 'cut.ckpt'}", f"data_dir={data}")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt.*not written by Diptych"):
        run_evaluate(tmp_path / "e", f"ckpt={tmp_path / 'other.ckpt'}", f"data_dir={data}")


def test_a_hostile_config_in_a_checkpoint_builds_nothing(rooms_run, tmp_path, data):
    checkpoint = torch.load(rooms_run / "checkpoints/last.ckpt", weights_only=True)
    bad = checkpoint["diptych"]["config"].replace("diptych.losses.info_nce.InfoNCE", "os.system")
    checkpoint["diptych"]["config"] = bad
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match="os.system is not allowed in a checkpoint's config"):
        run_evaluate(tmp_path / "e", f"ckpt={tmp_path / 'bad.ckpt'}", f"data_dir={data}")
