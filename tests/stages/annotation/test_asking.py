"""2,500 pairs through the stage that asks without pictures and the batch interface, a thousand requests a batch."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest

from diptych.annotation.askers.batch import BatchAsker
from diptych.annotation.cost import Prices
from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.prompt import AnnotationPrompt
from diptych.annotation.task import AnnotationTask
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.write_modifications import WriteModifications
from diptych.stages.running.runner import PipelineRunner, StageCounts, StageRun
from diptych.storage.record_log import RecordLog
from diptych.synthetic.rooms.scene import KINDS
from diptych.synthetic.scenes import Item
from diptych.synthetic.server.rooms_language import describe_item
from diptych.synthetic.server.server import AnnotationServer, ServerSettings

pytestmark = pytest.mark.slow

NUM_PAIRS = 2500
CHANGED, KEPT = ("walls", "blanket", "curtains"), ("floor", "headboard", "pillows", "lamp", "chair")


def write_descriptions(folder: Path) -> None:
    """Pairs of images that nobody looks at, and descriptions in which three objects change their colour."""
    rng = random.Random(0)
    pairs, references, targets = [], [], []
    for number in range(NUM_PAIRS):
        before, after = [], []
        for kind in (*CHANGED, *KEPT):
            values = {
                name: rng.choice(KINDS[kind].values(name))
                for name in ("colour", "pattern", "place", "count")
                if KINDS[kind].values(name)
            }
            item = Item(**values)
            before.append(describe_item(kind, item, rng))
            if kind in CHANGED:
                other = rng.choice([colour for colour in KINDS[kind].colours if colour != item.colour])
                after.append({**describe_item(kind, replace(item, colour=other), rng), "name": before[-1]["name"]})
            else:
                after.append(before[-1])
        image = f"https://example.org/{number}.jpg"
        pairs.append({"pair_id": f"p{number}", "reference_image": image, "target_image": "https://example.org/t.jpg"})
        references.append({"image": image, "objects": before})
        targets.append({"pair_id": f"p{number}", "objects": after})
    for name, records in (("pairs", pairs), ("references", references), ("targets", targets)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def run(folder: Path, asker: BatchAsker) -> StageCounts:
    asking = Asking(asker, str(folder / "ledger.sqlite"), Prices({}), asker.model, PictureForm())
    prompt = AnnotationPrompt("Before: {reference}\nAfter: {target}\nWhat has changed?")
    task = AnnotationTask(prompt, folder / "pairs.jsonl", "hotel", 12)
    stage = WriteModifications(asking, task, folder / "references.jsonl", folder / "targets.jsonl")
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    runner = PipelineRunner(trainer, folder, show_progress=False)
    return runner.run([StageRun("write_modifications", stage, folder / "stage", {})])["write_modifications"]


def test_all_answers_of_batches_of_a_thousand_are_collected(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    write_descriptions(tmp_path)
    with AnnotationServer(ServerSettings(batch_s=0.2)) as server:
        asker = BatchAsker("m", server.base_url, max_requests=1000, poll_s=0.1, max_tries=1)
        counts = run(tmp_path, asker)
        count = server.count()
        batches = server._batches.batches()
    assert (counts.done, counts.failed) == (NUM_PAIRS, {})
    assert count["started"] == count["distinct"] == {"batch/write_modifications": NUM_PAIRS}
    assert sorted(batch["request_counts"]["completed"] for batch in batches) == [500, 1000, 1000]
    records = RecordLog(tmp_path / "stage/records.jsonl", "pair_id").read()
    assert list(records) == [f"p{number}" for number in range(NUM_PAIRS)]
    assert all(len(record["sentences"]) >= 3 for record in records.values())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"write_modifications": {"done": NUM_PAIRS}} and not ledger.batches.unfinished()
