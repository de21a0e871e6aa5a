"""Folders of stages are known again, those of earlier versions too, and what is set aside comes back unfinished."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from diptych.stages.running.manifest import as_begun, open_folder

PROMPT = {"_target_": "diptych.annotation.prompt.AnnotationPrompt", "text": "describe"}
SOURCE = {"root": "data"}
# Settings as they lie in manifests of version 0.1, and as this version's configs give them.
EARLIER = {
    "embed": (
        {
            "_target_": "diptych.stages.embed_photos.EmbedPhotos",
            "source": {"_target_": "diptych.data.openevents.OpenEvents", **SOURCE},
            "encoder": {"_target_": "diptych.trained_encoder.TrainedEncoder", "checkpoint": "a.ckpt"},
        },
        {
            "_target_": "diptych.stages.news.embed_photos.EmbedPhotos",
            "source": {"_target_": "diptych.data.news.openevents.OpenEvents", **SOURCE},
            "encoder": {"_target_": "diptych.config.trained_encoder.TrainedEncoder", "checkpoint": "a.ckpt"},
        },
    ),
    "embed_by_clip": (
        {
            "_target_": "diptych.stages.embed_photos.EmbedPhotos",
            "encoder": {
                "_target_": "diptych.models.backbones.clip_encoder.CLIPEncoder",
                "backbone": {"name": "ViT-B-32"},
            },
        },
        {
            "_target_": "diptych.stages.news.embed_photos.EmbedPhotos",
            "encoder": {
                "_target_": "diptych.models.backbones.clip_encoder.CLIPEncoder",
                "backbone": {"name": "ViT-B-32"},
                "dtype": "float32",
            },
        },
    ),
    "describe_reference": (
        {
            "_target_": "diptych.stages.describe_reference.DescribeReference",
            "asking": {"_target_": "diptych.stages.asking.Asking", "model": "m"},
            "prompt": PROMPT,
            "domain": "hotel",
            "max_objects": 10,
        },
        {
            "_target_": "diptych.stages.annotation.describe_reference.DescribeReference",
            "asking": {"_target_": "diptych.stages.annotation.asking.Asking", "model": "m"},
            "task": {
                "_target_": "diptych.annotation.task.AnnotationTask",
                "prompt": PROMPT,
                "domain": "hotel",
                "max_objects": 10,
            },
        },
    ),
    "verify_sentences": (
        {"_target_": "diptych.stages.verify_sentences.VerifySentences", "prompt": PROMPT},
        {
            "_target_": "diptych.stages.annotation.verify_sentences.VerifySentences",
            "task": {"_target_": "diptych.annotation.task.VerificationTask", "prompt": PROMPT},
        },
    ),
    "describe": (
        {
            "_target_": "diptych.stages.describe_by_server.DescribeByServer",
            "captioner": {"client": {"_target_": "diptych.models.vlm_client.VLMClient", "model": "m"}},
        },
        {
            "_target_": "diptych.stages.news.describe.Describe",
            "captioner": {"client": {"_target_": "diptych.models.server.vlm_client.VLMClient", "model": "m"}},
        },
    ),
    "write_captions": (
        {
            "_target_": "diptych.commands.news_captioning.WriteCaptions",
            "replacements": {"length": None, "generation": {"_target_": "diptych.Settings", "num_beams": 1}},
        },
        {
            "_target_": "diptych.commands.news_captioning.WriteCaptions",
            "replacements": {
                **dict.fromkeys(("claim_checker", "prompt", "evidence", "length", "drafts", "metrics")),
                "generation": {"_target_": "diptych.Settings", "num_beams": 1, "names": "any"},
            },
            "server": None,
        },
    ),
}


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "input/records.jsonl"
    path.parent.mkdir()
    path.write_text("{}\n")
    (path.parent / "manifest.json").write_text('{"key": "4711"}')
    return path


def begun(folder: Path, settings: Any, path: Path) -> dict[str, Any]:
    """What version 0.1 wrote when a stage began, by the rule that it had: key and hashes are counted out here."""
    inputs = [hashlib.sha256(path.read_bytes() + b"4711").hexdigest()[:16]]
    key = hashlib.sha256(json.dumps([settings, inputs], sort_keys=True).encode()).hexdigest()[:16]
    content = {"stage": folder.name, "key": key, "settings": settings, "inputs": inputs}
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "records.jsonl").write_text("kept\n")
    return content


@pytest.mark.parametrize("name", EARLIER)
def test_what_an_earlier_version_began_goes_on(tmp_path, input_file, name):
    earlier, present = EARLIER[name]
    content = begun(tmp_path / name, earlier, input_file)
    before = (tmp_path / name / "manifest.json").read_bytes()
    manifest = open_folder(tmp_path / name, name, present, [input_file])
    assert manifest.content == content  # with the key that the stages behind it know
    assert (tmp_path / name / "manifest.json").read_bytes() == before
    assert (tmp_path / name / "records.jsonl").read_text() == "kept\n"
    manifest.begin()
    manifest.complete(["a"], 1, {})
    assert open_folder(tmp_path / name, name, present, [input_file]).complete_with(["a"])


@pytest.mark.parametrize("name", EARLIER)
def test_what_was_set_aside_by_an_earlier_version_comes_back(tmp_path, input_file, name):
    earlier, present = EARLIER[name]
    content = begun(tmp_path / f"{name}.0011223344556677", earlier, input_file)
    assert open_folder(tmp_path / name, name, present, [input_file]).content == content
    assert (tmp_path / name / "records.jsonl").read_text() == "kept\n"


def test_other_settings_of_an_earlier_version_are_set_aside(tmp_path, input_file, caplog):
    earlier, present = EARLIER["describe_reference"]
    content = begun(tmp_path / "stage", earlier, input_file)
    other = {**present, "task": {**present["task"], "domain": "fashion"}}
    with caplog.at_level("INFO"):
        manifest = open_folder(tmp_path / "stage", "stage", other, [input_file])
    assert manifest.content["key"] != content["key"] and not (tmp_path / "stage/records.jsonl").exists()
    assert "stage: other settings (task); what was made before is kept in" in caplog.text
    assert (tmp_path / f"stage.{content['key']}/records.jsonl").read_text() == "kept\n"


def test_an_automatic_type_is_that_which_the_folder_was_begun_with(tmp_path, input_file):
    """On another machine it would be another one, and all embeddings be made again."""

    def settings(dtype, target="A", **other):
        encoder = {"_target_": target, "dtype": dtype, "size": 2, "backbone": {"_target_": "C", "name": "c"}}
        return {"_target_": "Stage", "dtype": "float16", "encoder": encoder | other}

    folder = tmp_path / "stage"
    assert as_begun(settings("auto"), folder) == settings("auto")
    begun(folder, settings("bfloat16"), input_file)
    assert as_begun(settings("auto"), folder) == settings("bfloat16")
    assert as_begun(settings("float32"), folder) == settings("float32")
    assert as_begun(settings("auto", "B"), folder) == settings("auto", "B")
    unsaid = settings("auto")
    del unsaid["encoder"]["dtype"]
    assert as_begun(unsaid, folder) == settings("bfloat16")
    for other in ({"size": 3}, {"backbone": {"_target_": "C", "name": "d"}}):  # which is set aside anyway
        assert as_begun(settings("auto", **other), folder) == settings("auto", **other)
    assert as_begun(settings("auto", batch_size=8), folder) == settings("bfloat16", batch_size=8)
    open_folder(folder, "stage", settings("float32"), [input_file])
    assert not (folder / "records.jsonl").exists()  # those of the other type are set aside


def test_another_input_of_an_earlier_version_starts_anew(tmp_path, input_file):
    earlier, present = EARLIER["embed"]
    begun(tmp_path / "stage", earlier, input_file)
    input_file.write_text("{} \n")
    open_folder(tmp_path / "stage", "stage", present, [input_file])
    assert not (tmp_path / "stage/records.jsonl").exists()


def test_the_key_is_that_of_version_0_1(tmp_path, input_file):
    """Of settings that have not changed."""
    settings = {"power": 2, "deep": {"number": 1, "width": [1, 2]}}
    content = begun(tmp_path / "by_hand", settings, input_file)
    runtime = {**settings, "num_workers": 3, "deep": {**settings["deep"], "timeout_s": 5}}
    manifest = open_folder(tmp_path / "stage", "by_hand", runtime, [input_file], ("num_workers", "deep.timeout_s"))
    assert manifest.content == content
