"""A checkpoint of the released code, made tiny, becomes a run: same embeddings, and every command opens it."""

from __future__ import annotations

import pathlib
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

import diptych
from diptych.commands.main import run
from diptych.config.trained_encoder import TrainedEncoder
from diptych.models.composers.good4cir import Good4CIRFusion
from released_good4cir import UNWRITTEN, Release, Towers, make_tokenizer, write_checkpoint
from tiny_runs import TINY_MODEL, TINY_RUN, run_evaluate, run_train
from tiny_sets import tiny_set

pytestmark = pytest.mark.slow

TEXTS = ["add a lamp", "They’re red &amp; not blue", "remove the rug " * 40]


@pytest.fixture(scope="module")
def release() -> Release:
    return Release(Towers())


@pytest.fixture(scope="module")
def imported(release, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    checkpoint = write_checkpoint(folder / "released.ckpt", release.state_dict(), optimizer_states=[{"state": {}}])
    assert run("import", [f"good4cir={checkpoint}", f"out={folder / 'run'}", *UNWRITTEN]) == 0
    return folder / "run"


def test_query_and_target_are_those_of_the_release(release, imported, tmp_path):
    encoder = TrainedEncoder(imported)
    encoder.load()
    backbone = encoder.model.backbone
    reference, target = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8)
    embedded = encoder.model.embed_queries(reference, backbone.preprocessing.tokenize(TEXTS))
    towers = Towers()
    mean, std = torch.tensor([0.481, 0.457, 0.408]), torch.tensor([0.268, 0.261, 0.275])  # rounded in the release
    tokens, targets = (
        towers.vision_features((pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))[number]
        for number, pixels in enumerate((reference, target))
    )
    fusion = Good4CIRFusion(32, 16, num_heads=4, num_layers=3)
    fusion.load_state_dict({name: t for name, t in release.state_dict().items() if "encoder" not in name})
    with torch.inference_mode():
        query = fusion(tokens, towers.text_features(make_tokenizer(tmp_path), TEXTS))
    torch.testing.assert_close(embedded["model"], F.normalize(query, dim=-1), rtol=0, atol=1e-5)
    assert (query[0] - query[1]).abs().max() > 1e-2 and embedded.keys() == {"model"}
    gallery = encoder.model.embed_gallery(target)
    torch.testing.assert_close(gallery["model"], F.normalize(targets, dim=-1), rtol=0, atol=1e-5)


def test_it_is_evaluated_like_any_run(imported, tmp_path):
    tiny_set("cirr", tmp_path / "data/cirr")
    words = [f"ckpt={imported}", f"data_dir={tmp_path / 'data'}", "split=val", "trainer=cpu", "data.num_workers=0"]
    written = run_evaluate(tmp_path / "evaluation", *words)
    assert written["experiment"] == "good4cir_imported" and written["data"] == ["cirr"]
    assert 0 <= written["metrics"]["recall_at_10"] <= 1
    assert not [name for name in written["metrics"] if name.startswith(("sum/", "image_only/", "text_only/"))]
    assert (tmp_path / "evaluation/report/index.html").is_file()


def test_it_searches_with_a_picture_and_a_text(imported, tmp_path):
    root = tiny_set("cirr", tmp_path / "cirr") / "img_raw/dev"
    retriever = diptych.load_retriever(imported, "cpu")
    retriever.index(root, num_workers=0, show_progress=False)
    retriever.save(tmp_path / "index")
    retriever.load(tmp_path / "index")
    picture = sorted(root.iterdir())[0]
    assert len(retriever.search(picture, "make it blue", k=3)) == 3
    for alone in ({"image": picture}, {"text": "make it blue"}):
        with pytest.raises(ValueError, match="no space of pictures and texts alone: search with image= and text="):
            retriever.search(**alone)


def fine_tuned(imported, folder, *words):
    tiny_set("cirr", folder / "data/cirr")
    run_train(folder / "run", "experiment=good4cir_cirr", f"data_dir={folder / 'data'}", *TINY_RUN, *words)
    return torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)


def test_it_is_trained_further(imported, tmp_path, monkeypatch):
    """As it is: sizes, heads and activation are the checkpoint's, the recipe is the experiment's."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    words = ["system/model=checkpoint", f"init_from={imported}", "+system.model.backbone.freeze=text"]
    trained = fine_tuned(imported, tmp_path, *words)
    first = torch.load(imported / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert trained["state_dict"].keys() == first.keys()
    for name, tensor in trained["state_dict"].items():  # the warm-up begins at 1e-13
        torch.testing.assert_close(tensor, first[name], rtol=0, atol=1e-6)
    config = OmegaConf.load(tmp_path / "run/config.yaml")
    assert config.system.model.num_heads == 4 and config.system.model.backbone.architecture.embed_dim == 0
    assert config.system.model.backbone.freeze == "text" and config.trainer.accumulate_grad_batches == 1
    with pytest.raises(ValueError, match=r"unknown key '\S+freeeze'.* 'system\.model\.backbone\.freeze'"):
        fine_tuned(imported, tmp_path / "misspelt", *words[:2], "+system.model.backbone.freeeze=text")


def test_what_to_set_is_said_when_another_model_shall_start_from_it(imported, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(ValueError, match=r"system\.model\.num_layers, .*system/model=checkpoint takes the model as it"):
        fine_tuned(imported, tmp_path / "other", *TINY_MODEL, f"init_from={imported}")
    with pytest.raises(ValueError, match="name it, init_from=FOLDER"):
        fine_tuned(imported, tmp_path / "nothing", "system/model=checkpoint")
    first = tmp_path / "first"
    fine_tuned(imported, first, *TINY_MODEL)
    fine_tuned(imported, tmp_path / "heads", *TINY_MODEL, "system.model.num_heads=1", f"init_from={first / 'run'}")
    assert "had other settings: system.model.num_heads=1 (2 there)" in caplog.text


def test_names_of_other_versions_and_wrappers_are_the_same_model(release, imported, tmp_path):
    older = {}
    for name, tensor in release.state_dict().items():
        for part in ("vision", "text"):
            name = name.replace(f"{part}_encoder.model.", f"module.{part}_encoder._orig_mod.model.{part}_model.")
        older[name] = tensor
    older["module.text_encoder._orig_mod.model.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    checkpoint = write_checkpoint(tmp_path / "older.ckpt", older)
    assert (
        run("import", [f"good4cir={checkpoint}", f"out={tmp_path / 'run'}", "data=[cirr,hotel_cir]", *UNWRITTEN]) == 0
    )
    states = [torch.load(folder / "checkpoints/best.ckpt")["state_dict"] for folder in (imported, tmp_path / "run")]
    assert states[0].keys() == states[1].keys()
    unequal = [name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])]
    assert not unequal
    config = (tmp_path / "run/config.yaml").read_text()
    assert "hotel_cir" in config and "hotel_cir" not in (imported / "config.yaml").read_text()


def broken(state, change):
    names = list(state)
    if change == "missing":
        del state["cross_attn_layers.1.k_proj.bias"], state["vision_encoder.model.encoder.layers.1.mlp.fc2.weight"]
    if change == "unknown":
        state["query_projection.weight"] = torch.zeros(2)
    if change == "shape":
        state["attn_pooler.queries"] = torch.zeros(1, 2, 32)
    if change == "no text tower":
        for name in names:
            if name.startswith("text_encoder"):
                del state[name]
    return state


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (
            "missing",
            UNWRITTEN,
            "missing: vision_encoder.model.encoder.layers.1.mlp.fc2.weight, cross_attn_layers.1.k_proj.bias",
        ),
        ("unknown", UNWRITTEN, "unknown: query_projection.weight"),
        ("shape", UNWRITTEN, "of another shape: attn_pooler.queries (1, 2, 32), not (1, 1, 32)"),
        ("no text tower", UNWRITTEN, "it lacks text_encoder.model.embeddings.position_embedding.weight"),
        ("", [], "32 and 16 wide with patches of 8, is none of the release's"),
        ("", [*UNWRITTEN[1:], "vision_heads=3"], "vision_heads=3 does not divide the width 32"),
        ("", [*UNWRITTEN, "heads=5"], "heads=5 does not divide the image tower's width 32"),
        ("", [*UNWRITTEN, "data=cirrr"], "there is no data=cirrr. Did you mean 'cirr'"),
    ],
)
def test_what_does_not_fit_is_named(release, tmp_path, capsys, change, words, message):
    checkpoint = write_checkpoint(tmp_path / "released.ckpt", broken(release.state_dict(), change))
    assert run("import", [f"good4cir={checkpoint}", f"out={tmp_path / 'run'}", *words]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["released.ckpt"]


def test_files_that_are_no_checkpoints_are_refused(tmp_path, capsys):
    class Code:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "ran",)

    def said(name, content=None):
        if content is not None:
            torch.save(content, tmp_path / name)
        assert run("import", [f"good4cir={tmp_path / name}", f"out={tmp_path / 'run'}"]) == 2
        return capsys.readouterr().err

    assert "there is no such file" in said("nowhere")
    assert "hold code that is not run" in said("code", {"state_dict": {}, "hyper_parameters": Code()})
    assert not (tmp_path / "ran").exists()
    assert "no checkpoint of PyTorch Lightning" in said("other", [1, 2])
    (tmp_path / "run").mkdir()
    assert "exists; name a folder that does not" in said("other")
