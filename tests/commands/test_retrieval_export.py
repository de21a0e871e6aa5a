"""An exported retrieval model is the checkpoint's: to the bit in torch, to 1e-4 in ONNX, and its card says no more than
was measured.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import diptych
from diptych.commands import hub
from diptych.commands.export import export
from diptych.commands.main import run
from diptych.config.trained_encoder import TrainedEncoder
from diptych.parallel import checkpoints
from diptych.parallel.plain_checkpoints import DESCRIPTION, WEIGHTS
from diptych.storage.checksums import sha256_of_file
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train
from tiny_sets import tiny_set

pytestmark = pytest.mark.slow

EXACT = {"device": "cpu", "precision": "32-true"}


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> Path:
    """A folder with the tiny rooms, `data`, and a run that has evaluated its best checkpoint, `runs/rooms/first`."""
    folder = tmp_path_factory.mktemp("exported")
    tiny_set("rooms", folder / "data/rooms")
    words = ["experiment=cir_rooms", f"data_dir={folder / 'data'}", *TINY_ROOMS_SIZES, *TINY_MODEL, *TINY_RUN]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train.py"])
        run_train(folder / "runs/rooms/first", *words)
    return folder


@pytest.fixture(scope="session")
def trained(work) -> Path:
    return work / "runs/rooms/first"


@pytest.fixture(scope="session")
def exported(work, trained) -> Path:
    export(trained, work / "folder", licence="mit")
    return work / "folder"


def pictures(work: Path) -> list[Path]:
    return sorted((work / "data/rooms/images/val_test").rglob("*.jpg"))[:6]


def header_of(folder: Path):
    return ModelCard.load(folder / "README.md").data


# ------------------------------------------------------------------------------------------------ the same model


def test_embeddings_are_the_checkpoint_s_to_the_bit(work, trained, exported):
    paths, texts = pictures(work), ["a red lamp", "two more chairs, please", "darker", "no bed", "a", "wood"]
    encoders = [TrainedEncoder(trained), TrainedEncoder(exported)]
    for encoder in encoders:
        encoder.load(torch.device("cpu"))
    queries = [encoder.embed_queries(paths, texts) for encoder in encoders]
    images = [encoder.embed_images(torch.stack([encoder.reader(path) for path in paths])) for encoder in encoders]
    assert torch.equal(*queries) and torch.equal(*images)
    assert queries[0].std(dim=0).max() > 1e-3  # there is something to be equal about


def test_a_retriever_finds_the_same(work, trained, exported):
    found = []
    for checkpoint in (trained, exported):
        retriever = diptych.load_retriever(checkpoint, **EXACT)
        retriever.index(pictures(work), show_progress=False)
        found.append(retriever.search(pictures(work)[0], "with a red lamp", k=6))
    assert found[0] == found[1]


def test_an_evaluation_of_the_folder_has_the_numbers_of_the_run(work, trained, exported, tmp_path):
    words = [f"data_dir={work / 'data'}", "split=val", "trainer=cpu", "trainer.precision=32-true"]
    of_run, of_folder = (run_evaluate(tmp_path / each.name, f"ckpt={each}", *words) for each in (trained, exported))
    same = ("metrics", "intervals", "gallery", "queries", "protocol", "step", "seed", "experiment")
    assert {name: of_run[name] for name in same} == {name: of_folder[name] for name in same}


def test_search_takes_the_folder(work, exported, tmp_path, capsys):
    words = [f"ckpt={exported}", f"images={pictures(work)[0].parent}", f"index={tmp_path / 'index'}", "text=a lamp"]
    assert run("search", [*words, "k=2", "device=cpu"]) == 0
    assert "score by text" in capsys.readouterr().out


def test_the_folder_holds_plain_files_and_no_paths_of_the_writer(work, exported):
    assert {path.name for path in exported.iterdir()} == {WEIGHTS, DESCRIPTION, "README.md"}
    assert len({path.stat().st_mode for path in exported.iterdir()}) == 1  # who may read one may read all
    said = json.loads((exported / DESCRIPTION).read_text())
    assert said["files"] == {WEIGHTS: sha256_of_file(exported / WEIGHTS)}
    assert {"callbacks", "logger", "cluster", "hydra"}.isdisjoint(said["config"])
    assert str(work) not in (exported / DESCRIPTION).read_text() + (exported / "README.md").read_text()


def test_a_folder_is_exported_again_as_it_is(exported, tmp_path):
    export(exported, tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (exported / WEIGHTS).read_bytes()
    assert (tmp_path / "again" / DESCRIPTION).read_bytes() == (exported / DESCRIPTION).read_bytes()


# --------------------------------------------------------------------------------------------------- the card


def test_the_card_has_the_numbers_of_the_run_and_no_others(trained, exported):
    record = json.loads((trained / "metrics.json").read_text())
    own = {key: value for key, value in record["metrics"].items() if "/" not in key and value is not None}
    (result,) = header_of(exported).to_dict()["model-index"][0]["results"]
    assert {each["type"]: each["value"] for each in result["metrics"]} == own
    bounds = {each["type"]: each["args"]["interval_95"] for each in result["metrics"] if "args" in each}
    assert bounds == {key: record["intervals"][key] for key in own if key in record["intervals"]} != {}
    assert result["dataset"]["split"] == "val" and result["dataset"]["args"] == {
        "protocol": record["protocol"]["line"],
        "queries": record["queries"],
        "gallery": record["gallery"],
    }
    text = (exported / "README.md").read_text()
    recall = 100 * own["recall_at_1"]
    low, high = (100 * bound for bound in record["intervals"]["recall_at_1"])
    assert f"| recall_at_1 (%) | {recall:.2f} | [{low:.1f}, {high:.1f}] |" in text
    assert f"scored {record['queries']['scored']}/{record['queries']['expected']}" in text


def test_the_card_s_header_is_the_hub_s(exported):
    header = header_of(exported)
    assert (header.license, header.library_name, header.datasets) == ("mit", "diptych", ["rooms"])
    assert "composed-image-retrieval" in header.tags


def test_without_numbers_the_card_claims_none(trained, tmp_path):
    alone = shutil.copy(trained / "checkpoints/best.ckpt", tmp_path / "alone.ckpt")
    export(alone, tmp_path / "out")
    header, text = header_of(tmp_path / "out"), (tmp_path / "out/README.md").read_text()
    assert header.eval_results is None and header.license == "unknown"
    assert "Nothing is claimed." in text and "recall" not in text and "Not stated" in text


def test_evaluations_that_are_named_are_shown_and_those_of_another_model_refused(work, trained, tmp_path):
    words = [f"data_dir={work / 'data'}", "trainer=cpu", "trainer.precision=32-true"]
    record = run_evaluate(tmp_path / "test", f"ckpt={trained}", *words)
    export(trained, tmp_path / "out", metrics=[tmp_path / "test", trained / "metrics.json"])
    results = header_of(tmp_path / "out").to_dict()["model-index"][0]["results"]
    assert [each["dataset"]["split"] for each in results] == ["test", "val"]
    assert results[0]["dataset"]["args"]["gallery"] == record["gallery"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "metrics.json").write_text(json.dumps({**record, "step": 1}))
    with pytest.raises(ValueError, match=r"other.metrics\.json: these numbers are of another model .* step 1 there"):
        export(trained, tmp_path / "refused", metrics=[other])
    assert not (tmp_path / "refused").exists()


def test_numbers_of_the_run_that_are_of_another_checkpoint_are_left_out_and_said(trained, tmp_path, caplog):
    moved = tmp_path / "run"
    shutil.copytree(trained, moved)
    record = json.loads((moved / "metrics.json").read_text())
    (moved / "metrics.json").write_text(json.dumps({**record, "step": 1}))
    export(moved, tmp_path / "out")
    assert header_of(tmp_path / "out").eval_results is None
    assert "metrics.json is left out" in caplog.text


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "copied")


def described_anew(folder: Path, **changes) -> None:
    said = json.loads((folder / DESCRIPTION).read_text())
    said["files"][WEIGHTS] = sha256_of_file(folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps({**said, **changes}))


@pytest.mark.hostile("further doors")
def test_a_bit_that_turned_is_refused(copied):
    data = bytearray((copied / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (copied / WEIGHTS).write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors is not the file that was exported: its SHA-256"):
        diptych.load_retriever(copied, **EXACT)


@pytest.mark.hostile("further doors")
def test_weights_of_another_shape_are_refused(copied):
    weights = load_file(copied / WEIGHTS)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 2)
    save_file({**weights, name: torch.cat([weights[name]] * 2)}, copied / WEIGHTS)
    described_anew(copied)
    with pytest.raises(ValueError, match="the weights have other shapes than this model"):
        diptych.load_retriever(copied, **EXACT)


@pytest.mark.hostile("further doors")
@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (WEIGHTS, None, "model.safetensors is not there"),
        (WEIGHTS, b"\x80\x04cos\nsystem\n", "cannot be read as safetensors"),
        (DESCRIPTION, b"{", "diptych.json:1: not JSON"),
        (DESCRIPTION, b'{"format": 3, "files": {}}', "has no key 'config'"),
        (DESCRIPTION, b'{"format": 99, "files": {}, "config": {}}', "is not the file that was exported"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(copied, capsys, name, damage, said):
    (copied / name).unlink() if damage is None else (copied / name).write_bytes(damage)
    if name == WEIGHTS and damage:
        described_anew(copied)
    assert run("search", [f"ckpt={copied}", f"images={copied}", "text=a", "device=cpu"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.hostile("further doors")
def test_a_config_that_names_what_a_stranger_s_may_not_is_refused(copied):
    config = json.loads((copied / DESCRIPTION).read_text())["config"]
    config["system"]["model"]["_target_"] = "subprocess.Popen"
    described_anew(copied, config=config)
    with pytest.raises(ValueError, match=r"subprocess\.Popen"):
        diptych.load_retriever(copied, **EXACT)


def test_a_folder_with_things_in_it_is_not_written_to(trained, exported, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="own exists; name a folder that does not$"):
        export(trained, tmp_path / "own")
    with pytest.raises(ValueError, match=f"to send what was exported there: ckpt={exported} push=USER/NAME"):
        export(trained, exported)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    export(trained, tmp_path / "empty")
    assert (tmp_path / "empty" / WEIGHTS).is_file()


def test_what_fails_leaves_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "fingerprint", lambda weights: str(id(weights)))
    with pytest.raises(ValueError, match="the weights are others when they are read back"):
        export(trained, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named(trained, tmp_path, capsys):
    for words, said in {
        ("merge=true",): "merge: ",
        ("dtype=float16",): "dtype: ",
        ("license=My own licence!",): "license=My own licence!: expected an identifier",
        ("push=somebody",): "push=somebody: expected USER/NAME",
        ("push=some/../body",): "expected USER/NAME",
        (f"metrics={tmp_path / 'gone'}",): "gone is not there",
    }.items():
        assert run("export", [f"ckpt={trained}", f"out={tmp_path / 'x'}", *words]) == 2
        assert said in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert run("export", [f"ckpt={trained}"]) == 2 and "out=FOLDER is missing" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- ONNX

with_onnx = pytest.mark.skipif(
    not (find_spec("onnxscript") and find_spec("onnxruntime")),
    reason="onnxscript and onnxruntime are not installed: pip install 'diptych[onnx]'",
)


@pytest.fixture(scope="session")
def with_files(work, trained) -> Path:
    export(trained, work / "with_onnx", onnx=True)
    return work / "with_onnx"


def in_onnxruntime(folder: Path, name: str, **inputs: torch.Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    return session.run(None, {key: tensor.numpy() for key, tensor in inputs.items()})[0]


@with_onnx
@pytest.mark.parametrize("number", [1, 2, 6])
def test_onnx_embeddings_are_torch_s(work, trained, with_files, number):
    """Also for batches of sizes, and texts of lengths, that the export did not try."""
    encoder = TrainedEncoder(trained)
    encoder.load(torch.device("cpu"))
    paths = pictures(work)[:number]
    texts = ["a", "x " * 100, "two more chairs, please", "darker", "no bed", "the floor is now of wood"][:number]
    pixels = torch.stack([encoder.reader(path) for path in paths])
    tokens = encoder.model.backbone.preprocessing.tokenize(texts)
    images = in_onnxruntime(with_files, "gallery.onnx", pixels=pixels)
    queries = in_onnxruntime(with_files, "query.onnx", pixels=pixels, input_ids=tokens.input_ids, mask=tokens.mask)
    np.testing.assert_allclose(images, encoder.embed_images(pixels).numpy(), atol=1e-4)
    np.testing.assert_allclose(queries, encoder.embed_queries(paths, texts).numpy(), atol=1e-4)


@with_onnx
def test_the_card_tells_how_the_onnx_files_are_called(with_files):
    text, said = (with_files / "README.md").read_text(), json.loads((with_files / DESCRIPTION).read_text())
    assert {"gallery.onnx", "query.onnx", WEIGHTS} == said["files"].keys()
    assert "(B, 3, 32, 32)" in text and "`make it red` is the tokens 49406, " in text
    assert "onnx" in header_of(with_files).tags


@with_onnx
def test_onnx_files_with_other_embeddings_are_not_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.models.onnx_embedders.TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"gallery\.onnx: its embeddings in onnxruntime differ from torch's"):
        export(trained, tmp_path / "out", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_a_vision_language_model_is_refused_by_name(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.commands.retrieval_export.check_onnx", lambda: None)
    path = tmp_path / "vlm.ckpt"
    checkpoint = checkpoints.load(trained / "checkpoints/best.ckpt")
    config = OmegaConf.create(checkpoints.config_text(checkpoint))
    config.system.model._target_ = "diptych.models.composers.vlm_composer.VLMComposer"
    checkpoint[checkpoints.KEY]["config"] = OmegaConf.to_yaml(config)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"holds a VLMComposer, which cannot be written as ONNX: it reads pictures"):
        export(path, tmp_path / "out", onnx=True)


# ----------------------------------------------------------------------------------------------------- the Hub


class Hub:
    """Stands for the Hub's client: nothing of these tests reaches a network."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault, self.asked = fault, []

    def __call__(self) -> Hub:
        return self

    def create_repo(self, name, **settings):
        self.asked.append(("create_repo", name, settings))
        if self.fault:
            raise self.fault

    def upload_folder(self, **settings):
        self.asked.append(("upload_folder", settings))
        return huggingface_hub.CommitInfo(
            commit_url="https://huggingface.co/me/rooms/commit/1", commit_message="", commit_description="", oid="1"
        )


@pytest.fixture
def stand_in(monkeypatch) -> Hub:
    client = Hub()
    monkeypatch.setattr(hub, "HfApi", client)
    return client


def test_without_a_token_push_is_a_dry_run(trained, tmp_path, monkeypatch, capsys, stand_in):
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert run("export", [f"ckpt={trained}", f"out={tmp_path / 'out'}", "push=me/rooms"]) == 0
    said = capsys.readouterr().out
    size = (tmp_path / "out" / WEIGHTS).stat().st_size
    assert "dry run: nothing was sent to me/rooms" in said and f"{size:,} bytes  {WEIGHTS}" in said
    assert (tmp_path / "out/README.md").read_text() in said
    assert stand_in.asked == []


def test_without_push_nothing_is_sent_whatever_token_there_is(trained, tmp_path, monkeypatch, capsys, stand_in):
    monkeypatch.setattr(hub, "get_token", lambda: "hf_secret")
    assert run("export", [f"ckpt={trained}", f"out={tmp_path / 'out'}"]) == 0
    assert "nothing was sent" in capsys.readouterr().out
    assert stand_in.asked == []


def test_with_a_token_the_files_of_the_export_are_sent_and_no_others(copied, monkeypatch, capsys, stand_in):
    monkeypatch.setattr(hub, "get_token", lambda: "hf_secret")
    (copied / "notes.txt").write_text("private")
    (copied / "README.md").write_text("---\nlicense: mit\n---\nMy own words.\n")
    assert run("export", [f"ckpt={copied}", "push=me/rooms"]) == 0
    (_, name, settings), (_, upload) = stand_in.asked
    assert name == "me/rooms" and settings == {"private": True, "exist_ok": True}
    assert sorted(upload["allow_patterns"]) == ["README.md", DESCRIPTION, WEIGHTS]
    said = capsys.readouterr().out
    assert "sent to me/rooms, https://huggingface.co/me/rooms/commit/1" in said
    assert "hf_secret" not in said and "notes" not in said


def test_a_hub_that_does_not_take_it_is_quoted(copied, monkeypatch, capsys, stand_in):
    monkeypatch.setattr(hub, "get_token", lambda: "hf_secret")
    stand_in.fault = ConnectionError("no route\nto the Hub")
    assert run("export", [f"ckpt={copied}", "push=me/rooms"]) == 2
    error = capsys.readouterr().err
    assert "the Hub did not take" in error and "no route" in error and f"ckpt={copied} push=me/rooms" in error


def test_a_tampered_folder_is_not_sent(copied, monkeypatch, capsys, stand_in):
    monkeypatch.setattr(hub, "get_token", lambda: "hf_secret")
    with (copied / WEIGHTS).open("ab") as file:
        file.write(b"more")
    assert run("export", [f"ckpt={copied}", "push=me/rooms"]) == 2
    assert "is not the file that was exported" in capsys.readouterr().err and stand_in.asked == []
