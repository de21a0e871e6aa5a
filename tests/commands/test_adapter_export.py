import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from diptych.commands.export import export
from diptych.commands.main import run
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from diptych.parallel import checkpoints

pytestmark = pytest.mark.slow

SETTINGS = {"quantization": "none", "rank": 4, "alpha": 8, "dropout": 0.0, "recompute": 0}


@pytest.fixture
def fuser(tiny_chat_model):
    fuser = QLoRAFuser(str(tiny_chat_model), **SETTINGS, dtype="float32")
    torch.manual_seed(1)
    fuser.load("cpu")
    with torch.no_grad():
        for name, parameter in fuser.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return fuser.eval()


@pytest.fixture
def checkpoint(fuser, tiny_chat_model, tmp_path):
    """A run's folder with the fuser's adapter as its best checkpoint."""
    model = {"_target_": "diptych.models.fuser.qlora_fuser.QLoRAFuser", "name": str(tiny_chat_model), **SETTINGS}
    config = json.dumps({"system": {"model": {**model, "attention": "sdpa", "dtype": "float32"}}})
    state = {f"model.{name}": tensor for name, tensor in fuser.adapter_state_dict().items()}
    path = tmp_path / "run/checkpoints/best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": state, checkpoints.KEY: checkpoints.describe(config)}, path)
    return tmp_path / "run"


@torch.inference_mode()
def logits(model, ids=(5, 9, 2, 40, 7)):
    return model(input_ids=torch.tensor([ids])).logits


def test_the_folder_loads_with_peft_and_says_the_same(fuser, checkpoint, tiny_chat_model, tmp_path):
    out = tmp_path / "adapter"
    export(checkpoint, out)
    base = AutoModelForCausalLM.from_pretrained(tiny_chat_model, dtype=torch.float32)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(base, out).eval()), logits(fuser.model))
    written = json.loads((out / "adapter_config.json").read_text())
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1  # who may read one may read all
    layers = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(written["target_modules"]) == layers
    assert written["base_model_name_or_path"] == str(tiny_chat_model) and written["r"] == 4


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_a_merged_model_needs_no_adapter(fuser, checkpoint, tmp_path, dtype, tolerance):
    out = tmp_path / "merged"
    export(checkpoint, out, merge=True, dtype=dtype)
    merged = AutoModelForCausalLM.from_pretrained(out)
    assert merged.dtype == getattr(torch, dtype)
    torch.testing.assert_close(logits(merged).float(), logits(fuser.model), atol=tolerance, rtol=tolerance)
    assert AutoTokenizer.from_pretrained(out).chat_template


def test_a_merge_that_changes_the_answers_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(ValueError, match="logits differ from the adapter's by .*nothing was written"):
        export(checkpoint, tmp_path / "merged", merge=True)
    assert not (tmp_path / "merged").exists()


def test_mistakes_are_named(checkpoint, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/thesis.tex").write_text("mine")
    assert run("export", [f"ckpt={checkpoint}", f"out={tmp_path / 'there'}"]) == 2
    assert "exists; name a folder that does not" in capsys.readouterr().err
    assert run("export", [f"ckpt={checkpoint}"]) == 2 and "out=FOLDER is missing" in capsys.readouterr().err
    assert run("export", [f"ckpt={checkpoint}", f"out={tmp_path / 'x'}", "onnx=true", "push=me/mine"]) == 2
    assert "onnx, push: " in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert run("export", [f"ckpt={checkpoint}", f"out={tmp_path / 'x'}", "merge=perhaps"]) == 2
    assert "merge=perhaps: expected true or false" in capsys.readouterr().err
    assert run("export", [f"ckpt={checkpoint}", f"out={tmp_path / 'x'}"]) == 0
