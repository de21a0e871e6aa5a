"""Models for a machine without a network: stand-ins of the hub, since the tests have none."""

from __future__ import annotations

import hashlib
import json

import pytest

from diptych.commands.fetching import fetch_models, models_of
from diptych.commands.main import main
from diptych.config.model_needs import HUB, OPEN_CLIP, SPACY, ModelNeed
from diptych.storage.model_files import FETCH, load_model
from diptych.text.spacy_pipeline import load_pipeline

NEEDS = [
    ModelNeed(HUB, "org/language-model", ("system.model.name", "data.preparation.tokenizer.name")),
    ModelNeed(OPEN_CLIP, "ViT-B-32/openai", ("system.model.backbone.name",)),
    ModelNeed(SPACY, "en_core_web_sm", ("data.preparation.facts.model",)),
]


class StandIn:
    """Fetches a file of each model; those in `down` cannot be fetched."""

    def __init__(self, *down):
        self.down, self.asked = down, []

    def __call__(self, name, out):
        self.asked.append(name)
        if name in self.down:
            raise ConnectionError("no route to host\nsecond line")
        path = out / "hub" / name.replace("/", "--") / "weights"
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
        return "abc123", [path]


def ways(stand_in):
    return dict.fromkeys((HUB, OPEN_CLIP, SPACY), stand_in)


def test_everything_is_fetched_once_and_the_manifest_says_what_it_is(tmp_path):
    stand_in = StandIn()
    said = fetch_models(NEEDS, tmp_path / "models", ways(stand_in))
    assert stand_in.asked == [need.name for need in NEEDS]
    manifest = json.loads((tmp_path / "models/manifest.json").read_text())
    first = manifest["models"][0]
    assert (first["name"], first["kind"], first["revision"]) == ("org/language-model", "hub", "abc123")
    assert first["keys"] == ["system.model.name", "data.preparation.tokenizer.name"]
    sha256 = hashlib.sha256(b"org/language-model").hexdigest()
    assert first["files"] == [{"path": "hub/org--language-model/weights", "bytes": 18, "sha256": sha256}]
    assert f"HF_HOME={tmp_path / 'models'} HF_HUB_OFFLINE=1 PYTHONPATH={tmp_path / 'models/spacy'}" in said
    fetch_models(NEEDS, tmp_path / "models", ways(stand_in))
    assert len(stand_in.asked) == 3


def test_what_is_gone_or_cut_short_is_fetched_again(tmp_path):
    stand_in = StandIn()
    fetch_models(NEEDS[:1], tmp_path, ways(stand_in))
    (tmp_path / "hub/org--language-model/weights").write_bytes(b"cut")
    (tmp_path / "hub/org--language-model").rename(tmp_path / "away")
    fetch_models(NEEDS[:1], tmp_path, ways(stand_in))
    assert len(stand_in.asked) == 2
    assert len(json.loads((tmp_path / "manifest.json").read_text())["models"]) == 1


def test_one_that_cannot_be_fetched_is_one_line_and_the_next_call_goes_on(tmp_path):
    with pytest.raises(
        ValueError, match=r"ViT-B-32/openai \(system.model.backbone.name\) cannot be .*: no route to host\."
    ):
        fetch_models(NEEDS, tmp_path, ways(StandIn("ViT-B-32/openai")))
    after = StandIn()
    fetch_models(NEEDS, tmp_path, ways(after))
    assert after.asked == ["ViT-B-32/openai", "en_core_web_sm"]


def test_a_command_that_was_killed_in_its_first_model_goes_on(tmp_path):
    class Killed(StandIn):
        def __call__(self, name, out):
            (out / "hub").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_models(NEEDS, tmp_path / "models", ways(Killed()))
    assert "models" in str(fetch_models(NEEDS, tmp_path / "models", ways(StandIn())))


@pytest.mark.parametrize("content", ['{"format": 1}', '{"format": 9, "models": []}', '{"format": 1, "models": [{}]}'])
def test_a_folder_of_something_else_is_left_alone(content, tmp_path):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="name another folder"):
        fetch_models(NEEDS, tmp_path, ways(StandIn()))
    (tmp_path / "manifest.json").rename(tmp_path / "mine.txt")
    with pytest.raises(ValueError, match="is not empty and has no manifest.json"):
        fetch_models(NEEDS, tmp_path, ways(StandIn()))


def test_what_an_experiment_and_a_pipeline_name(tmp_path):
    (clip,) = models_of(["experiment=cir_cirr"], "train")
    assert (clip.kind, clip.name) == (OPEN_CLIP, "ViT-B-32/openai")
    assert models_of(["experiment=cir_rooms"], "train") == []  # packages, and a model from scratch
    weights = tmp_path / "weights.pt"
    weights.touch()
    assert models_of(["experiment=cir_cirr", f"system.model.backbone.pretrained={weights}"], "train") == []
    news = models_of(["pipeline=news_retrieval", "data=openevents"], "pipeline")
    assert [need.name for need in news if "encoder" in need.keys[0]] == ["google/siglip2-so400m-patch14-384"]


@pytest.mark.models
def test_a_captioner_wants_its_language_model_and_its_tokenizer_once():
    needs = {need.name: need for need in models_of(["experiment=fuser_openevents"], "train")}
    named = needs["deepseek-ai/DeepSeek-R1-0528-Qwen3-8B"]
    assert named.keys == ("system.model.name", "data.preparation.tokenizer.name")
    assert needs["en_core_web_sm"].kind == SPACY


def test_the_command_says_what_it_would_fetch_and_wants_to_know_for_what(tmp_path, capsys):
    assert main(["fetch", "experiment=cir_cirr", f"out={tmp_path / 'models'}", "dry_run=true"]) == 0
    assert capsys.readouterr().out == "open_clip ViT-B-32/openai, for system.model.backbone.name\n"
    assert not (tmp_path / "models").exists()
    assert main(["fetch", f"out={tmp_path}"]) == 2
    assert "say whose models: experiment=NAME" in capsys.readouterr().err


def test_what_cannot_be_downloaded_names_the_command(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("We couldn't connect to the hub")

    with pytest.raises(ValueError, match="cannot be downloaded") as caught:
        load_model(offline, "org/model", "tokenizer", "name a folder")
    assert FETCH in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no such model is installed") as caught:
        load_pipeline("en_core_web_xxl", ())
    assert FETCH in str(caught.value)


def test_clip_weights_that_cannot_be_downloaded_name_the_command(monkeypatch):
    from diptych.models.backbones import clip

    def offline(entry):
        raise OSError("Please check your connection")

    monkeypatch.setattr(clip, "download_pretrained", offline)
    backbone = clip.CLIPBackbone.__new__(clip.CLIPBackbone)
    object.__setattr__(backbone, "name", "ViT-B-32")
    object.__setattr__(backbone, "pretrained", "openai")
    with pytest.raises(ValueError, match="cannot be downloaded .Please check your connection.") as caught:
        backbone.load_pretrained()
    assert FETCH in str(caught.value)
