"""The table of examples reaches an offline wandb run, pictures and all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from diptych.callbacks.retrieval_examples import RetrievalExamples
from diptych.contracts.retrieval import EvaluationProtocol, EvaluationSet, GalleryImage, Query, RankedQuery
from diptych.loggers.wandb_logger import ForgivingWandbLogger

PROTOCOL = EvaluationProtocol("tiny", 1, "three images", False, "{text}", "none", recall_ks=(1,))


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """One query whose target is in the gallery, and one whose answer is hidden."""
    for name, value in (("SILENT", "true"), ("DATA_DIR", str(tmp_path / "sent")), ("CACHE_DIR", str(tmp_path))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    paths = {name: tmp_path / f"{name}.png" for name in "abc"}
    for number, path in enumerate(paths.values()):
        Image.new("RGB", (400, 300), (80 * number, 0, 0)).save(path)
    queries = (Query("q0", "a", "darker", "b", ("b",)), Query("q1", "a", "brighter"))
    gallery = tuple(GalleryImage(name, path) for name, path in paths.items())
    evaluation = EvaluationSet("tiny", queries, gallery, PROTOCOL, {"a": paths["a"]})
    datamodule = SimpleNamespace(validation_split="val", evaluation_sets=lambda split: [evaluation])
    return SimpleNamespace(loggers=[ForgivingWandbLogger(str(tmp_path / "run"))], datamodule=datamodule, global_step=3)


RANKED = [
    RankedQuery("q0", ("b", "c"), (0.9, 0.1), 1, (1,), 1),
    RankedQuery("q1", ("c", "a"), (0.5, 0.4), None, (), 0),
]


@pytest.mark.models
def test_the_table_holds_texts_ranks_and_pictures(trainer, tmp_path):
    (logger,) = trainer.loggers
    RetrievalExamples(num_queries=8, num_results=3).on_validation_end(
        trainer, SimpleNamespace(results=[SimpleNamespace(ranked=RANKED)])
    )
    logger.experiment.finish()
    assert not logger.failed
    (table_file,) = Path(tmp_path / "run").rglob("media/table/examples/*.table.json")
    table = json.loads(table_file.read_text())
    assert table["columns"] == ["query_id", "text", "target_rank", "reference", "target", "1", "2", "3"]
    assert [row[:3] for row in table["data"]] == [["q0", "darker", 1], ["q1", "brighter", None]]
    # The run's own file only names the kind; the pictures go with the table's artifact.
    assert table["data"][0][3:] == ["Image", "Image", "Image", "Image", None]  # only two results
    assert table["data"][1][3:] == ["Image", None, "Image", "Image", None]  # a hidden answer
    sent = [
        Image.open(path)
        for path in (tmp_path / "sent").rglob("*")
        if path.is_file() and path.read_bytes()[:4] == b"\x89PNG"
    ]
    assert {image.size for image in sent} == {(160, 120)} and len(sent) >= 3


def test_without_a_tracker_nothing_is_read(trainer):
    trainer.loggers = []
    trainer.datamodule = None
    RetrievalExamples().on_validation_end(trainer, SimpleNamespace())
