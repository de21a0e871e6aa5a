"""The papers' tables as studies: refused with the pages to read where data is missing, and run on tiny data."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from annotation_runs import KEY, serving
from diptych.config.folder import CONFIG_FOLDER
from diptych.storage.run_status import read_status
from diptych.studying.reading import study_files
from tiny_runs import TINY_CAPTIONS, TINY_MODEL, TINY_RUN
from tiny_sets import make_data
from working_folder import WorkingFolder

pytestmark = [pytest.mark.processes, pytest.mark.slow]

# Each takes half a minute and more: two of them, unless all are asked for.
SOME = ("good4cir_hallucination", "beyond_vision_captions")
EVERY = os.environ.get("DIPTYCH_TESTS_TABLES") == "all"
TABLES = [name for name in study_files(None) if name.startswith(("good4cir_", "beyond_vision_"))]
CPU = ["trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false"]
VAL = "data.sources.openevents.val_share=0.5"  # a twentieth of so few articles is none
# Left out, for the time that they take: each differs from one that stays in a word.
LEFT_OUT = {
    "good4cir_table": [
        f"{mix}{of}" for mix in ("cirr_r", "hotel", "cirr_hotel", "cirr_r_hotel") for of in ("", "_val")
    ],
    "good4cir_diversity": ["cheaper"],
    "beyond_vision_rank": ["r16", "r64", "r512"],
    "beyond_vision_chunks": ["k3", "window2", "window4", "stride2"],
    "beyond_vision_prompts": ["no_ratio", "no_five_ws", "ratio_50_50", "short"],
    "beyond_vision_base_captioner": ["qwen3_vl"],
}
# Encoders and captioners of the newsroom in the place of the published models.
SMALL_MODELS = {
    "news_models=published": "news_models=newsroom",
    "beit3_f30k/retrieval": "colour_layout/retrieval",
    "beit3_coco/retrieval": "oriented_gradients/retrieval",
    "siglip/retrieval": "colour_layout/retrieval",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with all sets, tiny."""
    folder = tmp_path_factory.mktemp("tables")
    make_data(folder / "data")
    circo = shutil.copytree(Path(__file__).parents[1] / "assets/circo", folder / "data/circo")
    (circo / "COCO2017_unlabeled/unlabeled2017").mkdir()
    for number in range(11, 17):
        path = circo / f"COCO2017_unlabeled/unlabeled2017/{number:012d}.jpg"
        Image.new("RGB", (40, 32), (10 * number, 90, 200 - 10 * number)).save(path)
    return WorkingFolder(folder)


@pytest.fixture
def tiny_words(place, tiny_chat_model, tiny_sentence_model):
    """What is added to the words of a step of this kind, so that it is done in a moment."""
    no_steps = [[word for word in of if "max_steps" not in word] for of in (TINY_RUN, TINY_CAPTIONS)]
    models = [
        f"system.model.name={tiny_chat_model}",
        f"data.preparation.selector.encoder.encoder.name={tiny_sentence_model}",
    ]

    def words(kind, given):
        text = " ".join(given)
        if kind == "train" and "good4cir" in text:
            return [*TINY_MODEL, *no_steps[0]]
        if kind == "train":
            own = [word for word in no_steps[1] if word.split("=")[0] not in text]
            return [*own, *models, VAL]
        if kind == "evaluate" and "cirr" in text:
            return [*CPU, "data.num_workers=0"]
        if kind == "evaluate":
            return [*CPU, VAL]
        if kind == "pipeline" and "openevents" in text:
            return [*CPU, VAL, "num_workers=0"]
        return []

    return words


def tiny_study(name, folder, tiny_words):
    """The study's file with tiny words, in a folder of configs."""
    text = (CONFIG_FOLDER / "study" / f"{name}.yaml").read_text()
    for published, small in SMALL_MODELS.items():
        text = text.replace(published, small)
    content = yaml.safe_load(text)
    for steps in (content.get("before", []), *content["arms"].values()):
        for step in steps:
            ((kind, words),) = ((key, of) for key, of in step.items() if key != "as")
            words = [word for word in words if not word.startswith(("captioner=", "describe.retrieval"))]
            words = [re.sub(r"caption_metrics=.*", "caption_metrics=[cider,length]", word) for word in words]
            step[kind] = [*words, *tiny_words(kind, words)]
    content["name"] = f"tiny_{name}"  # Hydra takes the package's of that name before that of a folder
    path = folder / "conf/study" / f"tiny_{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))


def run(name, place, *words):
    """Runs it; what it ended as, and its folder."""
    out = place.folder / name
    left_out = [f"arms.{arm}=null" for arm in LEFT_OUT.get(name, ())]
    words = [f"tiny_{name}", "--config-dir=conf", "quick=true", f"out={out}", *left_out, *words]
    place.run("diptych", "study", *words)
    return json.loads((out / "study.json").read_text()), out


@pytest.mark.parametrize("name", TABLES if EVERY else SOME)
def test_a_table_is_run_on_tiny_data(name, place, tiny_words):
    tiny_study(name, place.folder, tiny_words)
    if name in ("good4cir_hallucination", "good4cir_diversity"):
        with serving(place.folder / "data") as server:
            place.environment |= {"OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
            found, out = run(name, place, "data=hotel_cir", f"base_url={server.base_url}")
    else:
        found, out = run(name, place)
    assert found["not_done"] == {}
    statuses = {path.name: read_status(path) for path in (out / "steps").iterdir() if path.name != "latest"}
    assert {status.state for status in statuses.values()} == {"done"}
    trained = {
        name: status.step for name, status in statuses.items() if (out / "steps" / name / "checkpoints").is_dir()
    }
    assert all(step == (1 if "early" in name or "untuned" in name else 2) for name, step in trained.items())
    measured = {metric for of_arm in found["values"].values() for metric in of_arm}
    assert measured & {"hotel_cir/recall_at_1", "sentences_refused", "sentences/distinct_2", "cider", "recall_at_1"}
    if name == "good4cir_table":
        files = [path.name for path in (out / "steps/cirr_0_evaluate/submission").iterdir()]
        assert {"cirr_test1.recall.json", "cirr_test1.recall_subset.json"} <= set(files) and len(files) == 3
        assert "circo/map_at_5" in found["values"]["cirr_val"] and "circo/map_at_5" not in found["values"]["cirr"]
