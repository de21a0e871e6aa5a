import json

import cv2
import lightning as L
import numpy as np
import pytest
import torch

from diptych.contracts.pipelines import Failure
from diptych.data.news.openevents import OpenEvents
from diptych.index.embedding_store import open_embeddings
from diptych.models.backbones.beit3 import BEiT3, BEiT3Sizes
from diptych.models.backbones.beit3_encoder import BEiT3Encoder
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.stages.news.embed_photos import EmbedPhotos
from diptych.stages.running.prediction import predict
from diptych.stages.running.runner import PipelineRunner, StageRun

PHOTOS = [f"{number:016x}" for number in range(11)]
QUERIES = [f"{number:016x}" for number in range(0xC0, 0xC3)]
BROKEN = PHOTOS[6]


@pytest.fixture(params=["beit3", "clip"])
def encoder(request, tmp_path, tiny_backbone):
    """Small random models with real transforms; always the same weights."""
    if request.param == "clip":
        return lambda: CLIPEncoder(tiny_backbone())
    torch.manual_seed(0)
    weights = BEiT3(BEiT3Sizes(16, 24, 2, 4, 8, 3, 70, 30)).state_dict()
    torch.save({key: torch.randn_like(value) * 0.5 for key, value in weights.items()}, tmp_path / "tiny.pth")
    return lambda: BEiT3Encoder(tmp_path / "tiny.pth", image_size=24, num_heads=4)


def write_source(root, num_photos=11):
    """An article for each photo; one photo is unreadable, one query photo is absent."""
    rng = np.random.default_rng(0)
    photos, queries = root / "Database/database_images", root / "Track 1 - Public Set/query_images"
    photos.mkdir(parents=True, exist_ok=True)
    queries.mkdir(parents=True, exist_ok=True)
    for name in (*PHOTOS, *QUERIES):
        path = (photos if name in PHOTOS else queries) / f"{name}.jpg"
        picture = rng.integers(0, 256, (rng.integers(3, 9), rng.integers(3, 9), 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(picture, (60, 40)))
    (photos / f"{BROKEN}.jpg").write_bytes(b"\xff\xd8 nothing")
    (queries / f"{QUERIES[1]}.jpg").unlink()
    article = {"url": "", "date": "", "title": "t", "content": "c"}
    database = {f"a{name[1:]}": {**article, "images": [name]} for name in PHOTOS[:num_photos]}
    (root / "Database/database.json").write_text(json.dumps(database))
    (root / "Track 1 - Public Set/query.csv").write_text("\n".join(["query_id", *QUERIES]) + "\n")
    return OpenEvents(root)


class Recording(EmbedPhotos):
    """Remembers what its model has seen; with `stop_at` breaks off at that batch."""

    def __init__(self, *arguments, stop_at=None, **settings):
        super().__init__(*arguments, num_workers=0, batch_size=4, **settings)
        self.batches, self.stop_at = [], stop_at

    @property
    def seen(self):
        return [name for batch in self.batches for name in batch]

    def predict(self, model, ids, batch):
        if len(self.batches) == self.stop_at:
            raise KeyError("broken off")
        self.batches.append(list(ids))
        assert len(batch) == self.batch_size  # filled up: other shapes may be summed in another order
        return super().predict(model, ids, batch)


def trainer():
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def run(folder, stage):
    step = StageRun("embed", stage, folder / "embed", {})
    return PipelineRunner(trainer(), folder, show_progress=False).run([step])["embed"]


def content(folder):
    files = [path for path in (folder / "embed").iterdir() if path.is_file() and path.name != "times.json"]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "openevents")


def test_photos_of_the_database_and_of_a_split(source, encoder, tmp_path):
    counts = run(tmp_path / "gallery", Recording(source, encoder()))
    assert counts.describe() == "10 done, 1 failed: unreadable 1"
    stored = open_embeddings(tmp_path / "gallery/embed")
    assert stored.ids == [name for name in PHOTOS if name != BROKEN] and stored.vectors.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(stored.vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    (failure,) = (tmp_path / "gallery/embed/failures.jsonl").read_text().splitlines()
    failure = json.loads(failure)
    assert (failure["image_id"], failure["reason"]) == (BROKEN, "unreadable") and f"{BROKEN}.jpg" in failure["message"]
    counts = run(tmp_path / "queries", Recording(source, encoder(), "test"))
    assert counts.failed == {"unreadable": 1}
    assert open_embeddings(tmp_path / "queries/embed").ids == [QUERIES[0], QUERIES[2]]


def test_embeddings_are_the_encoders_own(source, encoder, tmp_path):
    from diptych.photos.images import read_image

    run(tmp_path, Recording(source, encoder(), dtype="float32"))
    model = encoder()
    model.load()
    stored = open_embeddings(tmp_path / "embed")
    for name, row in zip(stored.ids, stored.vectors, strict=True):
        alone = model.embed_images(model.transform(read_image(source.database_image_path(name)))[None])[0]
        np.testing.assert_allclose(row, alone.detach().numpy(), rtol=0, atol=1e-6)


def test_an_interrupted_stage_goes_on_with_the_same_bytes(source, encoder, tmp_path):
    run(tmp_path / "whole", Recording(source, encoder(), dtype="float32"))
    with pytest.raises(KeyError, match="broken off"):
        run(tmp_path / "half", Recording(source, encoder(), dtype="float32", stop_at=1))
    stage = Recording(source, encoder(), dtype="float32")
    counts = run(tmp_path / "half", stage)
    assert counts.kept == 4 and stage.seen == [name for name in PHOTOS[4:] if name != BROKEN]
    assert content(tmp_path / "half") == content(tmp_path / "whole")


def test_two_processes_make_the_same_bytes(source, encoder, tmp_path):
    run(tmp_path / "whole", Recording(source, encoder(), dtype="float32"))
    stage = Recording(source, encoder(), dtype="float32")
    ids = stage.ids()
    for part in (0, 1):
        sink = stage.open_sink(tmp_path / "two/embed", part)

        def keep(results, sink=sink):
            sink.append(result for result in results if not isinstance(result, Failure))

        predict(trainer(), stage, ids[part::2], keep)
    stage.open_sink(tmp_path / "two/embed", None).finish(ids)
    assert stage.batches[0] == PHOTOS[0:8:2][:3]  # 6 is unreadable: a batch with a gap
    whole, two = (open_embeddings(tmp_path / name / "embed") for name in ("whole", "two"))
    assert two.ids == whole.ids and two.vectors.tobytes() == whole.vectors.tobytes()
    for name in ("embeddings.npy", "ids.jsonl", "embeddings.json"):
        assert content(tmp_path / "two")[name] == content(tmp_path / "whole")[name]


def test_added_photos_alone_are_embedded(encoder, tmp_path):
    root = tmp_path / "openevents"
    run(tmp_path / "grown", Recording(write_source(root, 6), encoder(), dtype="float32"))
    stage = Recording(write_source(root), encoder(), dtype="float32")
    counts = run(tmp_path / "grown", stage)
    assert counts.kept == 6 and stage.seen == PHOTOS[7:]
    run(tmp_path / "at_once", Recording(write_source(root), encoder(), dtype="float32"))
    assert content(tmp_path / "grown") == content(tmp_path / "at_once")
    fewer = Recording(write_source(root, 3), encoder(), dtype="float32")
    assert run(tmp_path / "grown", fewer).kept == 3 and fewer.seen == []
    assert open_embeddings(tmp_path / "grown/embed").ids == PHOTOS[:3]


def test_a_batch_of_unreadable_photos_alone(source, encoder, tmp_path):
    for name in PHOTOS[:4]:
        source.database_image_path(name).write_bytes(b"")
    counts = run(tmp_path, Recording(source, encoder()))
    assert (counts.done, counts.failed) == (6, {"unreadable": 5})
