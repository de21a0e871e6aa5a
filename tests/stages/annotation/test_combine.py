import json

import lightning as L
import pytest
import torch
from torch import nn

from diptych.annotation.combine import SentenceCombiner
from diptych.annotation.filters import Agreement, ForbiddenPhrases
from diptych.contracts.pipelines import Failure
from diptych.stages.annotation.combine import Combine
from diptych.stages.annotation.filter_by_agreement import FilterByAgreement
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.storage.record_log import RecordLog

SENTENCES = {
    "a": ["Add a vase.", "Remove the clock.", "Make the rug blue."],
    "b": ["Add a lamp as shown.", "Remove the chair."],
    "c": ["Do as shown."],
}


@pytest.fixture
def inputs(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"pair_id": p, "reference_image": f"https://x/{p}1", "target_image": f"https://x/{p}2"} for p in "abcd"]
    pairs.write_text("\n".join(map(json.dumps, lines)))
    sentences = tmp_path / "records.jsonl"
    RecordLog(sentences, "pair_id").write({"pair_id": p, "sentences": s} for p, s in SENTENCES.items())
    return pairs, sentences


def results(stage, ids=None):
    return {
        (found.record_id if isinstance(found, Failure) else found["pair_id"]): found
        for found in stage.process(ids or stage.ids())
    }


def test_every_pair_gets_texts_or_a_reason(inputs, tiny_preprocessing):
    filters = {"forbidden": ForbiddenPhrases(["as shown"]), "length": None}
    stage = Combine(*inputs, tiny_preprocessing, SentenceCombiner(limit=4), filters)
    assert stage.ids() == ["a", "b", "c", "d"]
    found = results(stage)
    assert list(found["a"]) == ["pair_id", "sentences", "texts", "parts", "dropped"]
    assert len(found["a"]["texts"]) == len(found["a"]["parts"]) == 4
    assert found["a"]["dropped"] == {"over_limit": 11}
    assert (found["b"]["texts"], found["b"]["parts"]) == (["Remove the chair."], [[1]])
    assert found["b"]["dropped"] == {"forbidden": 3}
    assert (found["c"].reason, found["d"].reason) == ("no_texts", "no_sentences")
    assert "forbidden 1" in found["c"].message


def test_the_order_of_the_pairs_changes_nothing(inputs, tiny_preprocessing):
    stage = Combine(*inputs, tiny_preprocessing, SentenceCombiner())
    assert results(stage, ["b", "a"])["a"] == results(stage)["a"]


def test_switched_off_it_leaves_the_sentences(inputs, tiny_preprocessing):
    assert results(Combine(*inputs, tiny_preprocessing, None))["a"]["texts"] == SENTENCES["a"]


# ------------------------------------------------------------------------------------------------ agreement


class Brightness(nn.Module):
    """Bright pictures and the word `bright` lie in one direction, dark ones in the other."""

    transform = staticmethod(lambda pixels: pixels[:1, :1, :1].float() / 255)

    def load(self):
        self.loaded = True

    def embed_images(self, inputs):
        light = inputs.flatten(1)
        return nn.functional.normalize(torch.cat([light, 1 - light], dim=1))

    def embed_texts(self, texts):
        return torch.tensor([[1.0, 0.0] if "bright" in text else [0.0, 1.0] for text in texts])


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    for name, light in (("dark", 0), ("dim", 2), ("bright", 255)):
        Image.new("RGB", (8, 8), (light,) * 3).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    targets = {"a": "bright", "b": "dim", "c": "broken", "d": "bright", "e": "bright"}
    lines = [{"pair_id": p, "reference_image": "dark.png", "target_image": f"{t}.png"} for p, t in targets.items()]
    lines[3]["target_image"], lines[4]["target_image"] = "https://x/1", "https://x/2"
    lines += [{"pair_id": "f", "reference_image": "dim.png", "target_image": "bright.png"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    texts = ["make it bright", "make it dark"]
    record = {"sentences": texts, "texts": texts, "parts": [[0], [1]], "dropped": {"too_long": 1}}
    records = [{"pair_id": p, **record} for p in "abcd"]
    records.append({"pair_id": "f", **record, "texts": texts[1:], "parts": [[1]]})
    RecordLog(tmp_path / "records.jsonl", "pair_id").write(records)
    return tmp_path


def test_texts_that_fit_the_reference_better_are_dropped(pictures):
    stage = FilterByAgreement(
        pictures / "pairs.jsonl",
        pictures / "records.jsonl",
        Brightness(),
        Agreement(margin=0.5, max_image_similarity=0.99),
        batch_size=2,
        num_workers=0,
    )
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    run = StageRun("filter", stage, pictures / "work" / "filter", {})
    (counts,) = PipelineRunner(trainer, pictures / "work", show_progress=False).run([run]).values()
    (record,) = RecordLog(pictures / "work/filter/records.jsonl", "pair_id").read().values()
    assert record["pair_id"] == "a"
    assert (record["texts"], record["parts"]) == (["make it bright"], [[0]])
    assert record["dropped"] == {"disagrees": 1, "too_long": 1}
    assert counts.failed == {"near_identical": 1, "unreadable": 1, "remote_image": 1, "no_texts": 1, "disagrees": 1}
