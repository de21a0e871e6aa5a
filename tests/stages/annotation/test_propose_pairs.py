import json
from pathlib import Path

import hydra
import lightning as L
import numpy as np
import pytest
from PIL import Image

from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.config import folder, resolvers
from diptych.data.pairs.image_folder import ImageFolder
from diptych.data.pairs.image_pairs import read_pairs
from diptych.index.embedding_store import EmbeddingStore
from diptych.index.exact_index import ExactIndex
from diptych.stages.annotation.propose_pairs import ProposePairs
from diptych.stages.running.runner import PipelineRunner
from diptych.storage.record_log import RecordFile

# Angles on a circle, in degrees: 0 and 2 are near-duplicates, 30 apart is similar, 90 apart is not.
ANGLES = {"x/a": 0, "x/b": 2, "x/c": 30, "y/d": 60, "y/e": 150, "z/f": 31}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for name in ANGLES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def embeddings(tmp_path, images):
    rows = {f"{name}.png": np.deg2rad(angle) for name, angle in ANGLES.items()}
    sink = EmbeddingStore(tmp_path / "embedded", "image_id", dtype="float32")
    sink.append(
        {"image_id": name, "embedding": np.array([np.cos(angle), np.sin(angle)], np.float32)}
        for name, angle in rows.items()
    )
    sink.finish(list(rows))
    return tmp_path / "embedded"


def propose(images, embeddings, groups=None, **settings):
    stage = ProposePairs(
        ImageFolder(images, groups), embeddings, ExactIndex(), **{"low": 0.8, "high": 0.99, **settings}
    )
    folder = Path(embeddings).parent / "stage"
    sink = RecordFile(folder, "image_id")
    sink.append(stage.process(stage.ids()))
    sink.finish(stage.ids())
    stage.write_output(folder, [])
    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    names = [(Path(line["reference_image"]).stem, Path(line["target_image"]).stem) for line in lines]
    sink.path.unlink()
    return lines, {"".join(sorted(pair)) for pair in names}, json.loads((folder / "summary.json").read_text())


def test_pairs_lie_in_the_band_and_near_duplicates_in_none(images, embeddings):
    lines, pairs, summary = propose(images, embeddings, per_image=9)
    assert pairs == {"ac", "cd"}  # b is a's duplicate, f is c's
    assert summary == {"images": 6, "near_duplicates": 2, "pairs": 2}
    assert [round(line["similarity"], 3) for line in lines] == [0.866, 0.866]


def test_the_file_is_read_as_pairs(images, embeddings):
    lines, _, _ = propose(images, embeddings)
    pairs = read_pairs(embeddings.parent / "stage/pairs.jsonl").pairs
    assert [pair.pair_id for pair in pairs] == [line["pair_id"] for line in lines]
    assert all(Path(pair.reference_image).is_file() for pair in pairs)
    stage = ProposePairs(ImageFolder(images), embeddings, ExactIndex(), 0.8, 0.99, output=images.parent / "p.jsonl")
    assert stage._pair("x/a.png", "x/c.png", 0.9, images.parent.resolve())["reference_image"] == "images/x/a.png"


def test_groups_keep_pairs_within(images, embeddings, tmp_path):
    lines, pairs, _ = propose(images, embeddings, groups="folder")
    assert pairs == {"ac"}
    assert lines[0]["group"] == "x"
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({f"{name}.png": "one" if name in ("x/a", "x/c") else "two" for name in ANGLES}))
    lines, pairs, _ = propose(images, embeddings, groups=str(labels))
    assert pairs == {"ac", "bf", "df"}
    labels.write_text(json.dumps({"x/a.png": "one"}))
    with pytest.raises(ValueError, match="no label for 5 of 6 images"):
        propose(images, embeddings, groups=str(labels))


def test_an_image_is_in_no_more_pairs_than_allowed_and_the_seed_decides_which(images, embeddings):
    found = {seed: propose(images, embeddings, per_image=1, seed=seed, high=0.9999)[1] for seed in range(12)}
    for pairs in found.values():
        assert all("".join(pairs).count(name) <= 1 for name in "abcdef")
    assert len(set(map(frozenset, found.values()))) > 1
    assert found[3] == propose(images, embeddings, per_image=1, seed=3, high=0.9999)[1]


def test_an_empty_band_says_where_the_similarities_are(images, embeddings):
    with pytest.raises(ValueError, match=r"nearest neighbours' run from 0.0 to 0.9998"):
        propose(images, embeddings, low=0.9999, high=1.0)
    with pytest.raises(ValueError, match="want two cosines"):
        propose(images, embeddings, low=0.9, high=0.8)


def test_images_without_an_embedding_fail(images, embeddings):
    Image.new("RGB", (2, 2)).save(images / "new.png")
    stage = ProposePairs(ImageFolder(images), embeddings, ExactIndex())
    failures = [found for found in stage.process(stage.ids()) if not isinstance(found, dict)]
    assert [(failure.record_id, failure.reason) for failure in failures] == [("new.png", "no_embedding")]


def test_the_pipeline_from_a_folder_to_pairs(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (8, 8, 3))
    (tmp_path / "images").mkdir()
    for number in range(6):
        noise = rng.integers(0, 256, (8, 8, 3))
        pixels = (base * (1 - number / 10) + noise * number / 10).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32), 0).save(tmp_path / f"images/{number}.png")
    resolvers.register_resolvers()
    words = [f"images={tmp_path}/images", f"output={tmp_path}/pairs.jsonl", f"work_dir={tmp_path}/work"]
    words += ["search/encoder=colour_layout", "stages.embed_images.num_workers=0", "stages.propose_pairs.low=0.5"]
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("pipeline", overrides=["pipeline=propose_pairs", "trainer=cpu", *words])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    runs = stage_runs(prepare_config(config))
    counts = PipelineRunner(trainer, tmp_path / "work", show_progress=False).run(runs)
    assert {name: found.done for name, found in counts.items()} == {"embed_images": 6, "propose_pairs": 6}
    assert read_pairs(tmp_path / "pairs.jsonl").pairs
