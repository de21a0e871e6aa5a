import json
from types import SimpleNamespace

import hydra
import lightning as L
import pytest
from PIL import Image

from diptych.annotation import fetching
from diptych.config import building, checking, folder, resolvers
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.stages.annotation import export_triplets
from diptych.stages.annotation.export_triplets import ExportTriplets
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.storage.record_log import RecordLog
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms


@pytest.fixture
def annotated(tmp_path, monkeypatch):
    """Seven pairs: one without texts, one out of reach, one of equal content, one whose file is gone."""
    monkeypatch.setattr(fetching, "_WAITS_S", ())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "photos").mkdir()
    for number, name in enumerate("abcd"):
        Image.new("RGB", (4, 4), (60 * number, 0, 0)).save(tmp_path / f"photos/{name}.png")
    (tmp_path / "photos/copy_of_a.jpeg").write_bytes((tmp_path / "photos/a.png").read_bytes())
    pairs = [
        ("a", "b"),
        ("c", "d"),
        ("b", "c"),
        ("a", "d"),
        ("a", "copy_of_a"),
        ("a", "gone"),
        ("a", "http://127.0.0.1:9/1.png"),
    ]
    names = {"copy_of_a": "copy_of_a.jpeg"}
    lines = [
        {
            "pair_id": f"p{number}",
            "reference_image": f"{reference}.png",
            "target_image": target if "://" in target else names.get(target, f"{target}.png"),
            **({"group": "g"} if number == 0 else {}),
        }
        for number, (reference, target) in enumerate(pairs)
    ]
    (tmp_path / "pairs.json").write_text(json.dumps([*lines, lines[0]]))
    records = [
        {
            "pair_id": f"p{number}",
            "sentences": ["Add a vase.", "Remove the rug."],
            "texts": ["Add a vase.", "Remove the rug. Add a vase.", "Remove the rug."],
            "parts": [[0], [1, 0], [1]],
            "dropped": {"over_limit": 2},
        }
        for number in range(7)
        if number != 2
    ]
    combine = tmp_path / "work/combine"
    RecordLog(combine / "records.jsonl", "pair_id").write(records)
    (combine / "manifest.json").write_text(json.dumps({"key": "k", "done": 6, "failed": {"no_sentences": 1}}))
    return tmp_path


def export(folder, **settings):
    stage = ExportTriplets(
        folder / "pairs.json",
        folder / "work/combine/records.jsonl",
        folder / "out",
        stages={"combine": folder / "work/combine"},
        images_root=folder / "photos",
        **{"private": True, **settings},
    )
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    run = StageRun("export", stage, folder / "work/export", {})
    return next(iter(PipelineRunner(trainer, folder / "work", show_progress=False).run([run]).values()))


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_export_is_read_by_the_triplet_source(annotated):
    counts = export(annotated)
    assert counts.failed == {"identical_images": 1, "no_texts": 1, "unreachable": 1, "unreadable": 1}
    source = TripletJSONL(annotated / "out")
    triplets = source.triplets("train")
    assert [triplet.query_id for triplet in triplets] == ["p0", "p1", "p3"]
    assert triplets[0].modification_texts == ("Add a vase.", "Remove the rug. Add a vase.", "Remove the rug.")
    assert triplets[0].reference_image == triplets[2].reference_image
    for triplet, name in zip(triplets, ("b", "d", "d"), strict=True):
        path = source.image_path("train", triplet.target_image)
        assert path.read_bytes() == (annotated / f"photos/{name}.png").read_bytes()
        assert path.suffix == ".png"
    first = json.loads((annotated / "out/train.jsonl").read_text().splitlines()[0])
    assert list(first) == ["query_id", "reference_image", "modification_texts", "target_image", "group"]


def test_the_summary_counts_everything(annotated):
    export(annotated)
    assert json.loads((annotated / "out/summary.json").read_text()) == {
        "triplets": 3,
        "texts": 9,
        "images": 4,
        "pairs": 7,
        "duplicate_pairs": 1,
        "not_exported": {"identical_images": 1, "no_texts": 1, "unreachable": 1, "unreadable": 1},
        "dropped_texts": {"over_limit": 12},
        "reviews": {"decisions": 0, "unknown": 0},
        "stages": {"combine": {"done": 6, "failed": {"no_sentences": 1}}},
    }


def test_what_reviewers_rejected_is_left_out(annotated, caplog):
    decisions = [
        {"pair_id": "p1", "sentence": None, "accepted": False},
        {"pair_id": "p3", "sentence": "Remove the rug.", "accepted": False},
        {"pair_id": "p0", "sentence": "Add a vase.", "accepted": True},
        {"pair_id": "p0", "sentence": "Add a hat.", "accepted": False},
    ]
    reviews = annotated / "reviews.jsonl"
    reviews.write_text("\n".join(map(json.dumps, decisions)))
    counts = export(annotated, reviews=reviews)
    assert counts.failed["rejected"] == 1
    triplets = TripletJSONL(annotated / "out").triplets("train")
    assert [(triplet.query_id, len(triplet.modification_texts)) for triplet in triplets] == [("p0", 3), ("p3", 1)]
    assert triplets[1].modification_texts == ("Add a vase.",)
    summary = json.loads((annotated / "out/summary.json").read_text())
    assert summary["dropped_texts"] == {"over_limit": 12, "rejected": 5}
    assert summary["reviews"] == {"decisions": 4, "unknown": 1}
    assert "1 decisions are about no sentence" in caplog.text
    reviews.write_text(json.dumps({**decisions[0], "pair_id": "P1"}))
    with pytest.raises(ValueError, match=r"about other pairs, none of .*: 'P1' \(did you mean 'p1'\?\). There is 'p0'"):
        export(annotated, reviews=reviews)
    reviews.write_text("")  # decisions that are taken back count again
    assert "rejected" not in export(annotated, reviews=reviews).failed


def test_again_and_elsewhere_it_is_the_same_bytes(annotated, monkeypatch):
    export(annotated)
    first = content(annotated / "out")
    (annotated / "out/train.jsonl").unlink()
    export(annotated)
    assert content(annotated / "out") == first

    def no_links(*args):
        raise OSError("no links here")

    monkeypatch.setattr(export_triplets.os, "link", no_links)
    (annotated / "out").rename(annotated / "linked")
    export(annotated)
    assert content(annotated / "out") == first


def test_an_image_that_went_between_reading_and_linking_is_named(annotated):
    export(annotated)
    (annotated / "out").rename(annotated / "earlier")
    (annotated / "photos/d.png").unlink()
    with pytest.raises(ValueError, match=r"d.png has gone since"):
        export(annotated)


def test_no_text_at_all_leaves_an_empty_export_and_its_reasons(annotated):
    RecordLog(annotated / "work/combine/records.jsonl", "pair_id").write([])
    assert export(annotated).failed == {"no_texts": 7}
    assert json.loads((annotated / "out/summary.json").read_text())["triplets"] == 0


def test_the_small_experiment_trains_on_the_export_and_is_scored_on_rooms(annotated):
    export(annotated)
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        overrides = [
            "experiment=cir_rooms",
            "data=triplets",
            "data.training.batch_size=3",
            f"data.sources.triplets.root={annotated}/out",
        ]
        overrides.append("data.training.batch_size=3")
        settings = {"num_train_hotels": 2, "num_val_hotels": 2, "num_test_hotels": 2}
        overrides += [f"data.sources.rooms.settings.{name}={value}" for name, value in settings.items()]
        config = hydra.compose("train", overrides=[*overrides, f"data_dir={annotated}"])
    checking.check(config, checking.root_keys("train"))
    generate_rooms(annotated / "rooms", RoomsSettings(**settings), num_workers=1)
    data = building.build_data(config.data)
    assert (data.train_on, data.evaluate_on) == (("triplets",), ("rooms",))
    data.prepare_training()
    triplets = data.training.open(data.training_inputs())(SimpleNamespace(wants=frozenset())).triplets
    assert [triplet.query_id for _, triplet in triplets.records] == ["p0", "p1", "p3"]
    (evaluation,) = data.evaluation_sets("val")
    assert evaluation.name == "rooms" and evaluation.queries
