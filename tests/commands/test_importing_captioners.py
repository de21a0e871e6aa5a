"""Adapters that PEFT itself has written, and merged models, become runs whose logits are those of PEFT's model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from diptych.commands.main import run
from diptych.config.trained import load_first_weights
from diptych.models.fuser.peft_folder import PeftFolder
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from diptych.parallel import checkpoints

pytestmark = pytest.mark.slow

IDS = torch.tensor([[5, 9, 2, 40, 7]])
SETTINGS = {"quantization": "none", "dropout": 0.0, "recompute": 0, "dtype": "float32"}


def save_adapter(base: Path, folder: Path, targets=("q_proj", "down_proj"), **settings) -> torch.Tensor:
    """An adapter of rank 3 on these layers, as `save_pretrained` leaves it; its logits."""
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(
        **{"r": 3, "lora_alpha": 12, "target_modules": list(targets), "task_type": "CAUSAL_LM"} | settings
    )
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    adapted.save_pretrained(folder)
    return logits(adapted.eval())


@torch.inference_mode()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


def edit(folder: Path, **changes) -> None:
    place = folder / "adapter_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def read_into(folder: Path, base: Path, rank: int = 3, alpha: float = 12) -> QLoRAFuser:
    fuser = QLoRAFuser(str(base), rank=rank, alpha=alpha, **SETTINGS)
    fuser.load("cpu")
    PeftFolder.read(folder).load_into(fuser)
    return fuser.eval()


@pytest.mark.parametrize("targets", [("q_proj", "down_proj"), ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj")])
def test_an_adapter_of_pefts_own_gives_pefts_logits(targets, tiny_chat_model, tmp_path):
    expected = save_adapter(tiny_chat_model, tmp_path / "adapter", targets)
    plain = logits(AutoModelForCausalLM.from_pretrained(tiny_chat_model, dtype=torch.float32))
    assert (expected - plain).abs().max() > 0.01
    found = logits(read_into(tmp_path / "adapter", tiny_chat_model).model)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_its_scale_by_the_root_of_the_rank_is_kept(tiny_chat_model, tmp_path):
    expected = save_adapter(tiny_chat_model, tmp_path / "adapter", use_rslora=True)
    found = logits(read_into(tmp_path / "adapter", tiny_chat_model, alpha=12 * 3**0.5).model)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"base_model_name_or_path": "meta/Other"},
            r"an adapter of meta/Other, and .*set system.model.name=meta/Other",
        ),
        ({"base_model_name_or_path": None}, "does not say which model the adapter is of"),
        ({"r": 4}, "rank 4 and alpha 12, .*set system.model.rank=4 system.model.alpha=12"),
        ({"lora_alpha": 6}, "set system.model.rank=3 system.model.alpha=6"),
        ({"r": "x"}, "r is 'x'"),
        ({"use_dora": True}, r"use_dora asks for magnitudes .*\(merge_and_unload\)"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save asks for whole layers"),
        ({"rank_pattern": {"q_proj": 2}}, "other ranks in some layers"),
        ({"alora_invocation_tokens": [1, 2]}, "a product behind some tokens alone"),
        ({"init_lora_weights": "lora_ga"}, "has changed the base model's weights"),
        ({"use_rslora": True}, "set system.model.rank=3 system.model.alpha=20.7846096908265"),
        ({"bias": "all"}, "bias='all'"),
        ({"init_lora_weights": "pissa_niter_4"}, "has changed the base model's weights"),
        ({"peft_type": "IA3"}, "an adapter of the type 'IA3'; only LORA is read"),
    ],
)
def test_what_is_not_this_models_adapter_is_refused(changes, message, tiny_chat_model, tmp_path):
    save_adapter(tiny_chat_model, tmp_path / "adapter")
    edit(tmp_path / "adapter", **changes)
    with pytest.raises(ValueError, match=message) as refused:
        read_into(tmp_path / "adapter", tiny_chat_model)
    assert len(str(refused.value)) < 700


def test_another_file_of_the_folder_is_not_taken_for_the_adapter(tiny_chat_model, tmp_path):
    save_adapter(tiny_chat_model, tmp_path / "adapter")
    other = tmp_path / "adapter/epoch1.safetensors"
    other.write_bytes((tmp_path / "adapter/adapter_model.safetensors").read_bytes())
    with pytest.raises(
        ValueError, match=r"epoch1\.safetensors: of an adapter's folder adapter_model\.safetensors is read"
    ):
        read_into(other, tiny_chat_model)


def test_tensors_of_other_layers_and_shapes_are_refused_by_name(tiny_chat_model, tmp_path):
    save_adapter(tiny_chat_model, tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    weights = load_file(file)
    name = next(iter(weights))
    save_file({**weights, name: torch.zeros(3, 7)}, file)
    with pytest.raises(ValueError, match=r"1 of its tensors have other shapes .*\(3, 7\), not \(3, "):
        read_into(tmp_path / "adapter", tiny_chat_model)
    save_file({**weights, "base_model.model.lm_head.lora_A.weight": torch.zeros(3, 7)}, file)
    with pytest.raises(ValueError, match=r"1 of its .* tensors are of no linear layer .*lm_head.*no output layer"):
        read_into(tmp_path / "adapter", tiny_chat_model)
    file.unlink()
    with pytest.raises(ValueError, match="has no adapter_model.safetensors"):
        read_into(tmp_path / "adapter", tiny_chat_model)


def test_a_base_model_may_be_the_hubs_or_a_folder_of_its_name(tmp_path):
    (tmp_path / "Tiny-1B").mkdir()
    copied = tmp_path / "models--maker--Tiny-1B/snapshots/abc"
    copied.mkdir(parents=True)
    for base, name, same in [
        ("maker/Tiny-1B", "maker/Tiny-1B", True),
        ("maker/Tiny-1B", str(tmp_path / "Tiny-1B"), True),
        (str(copied), "maker/Tiny-1B", True),
        (str(tmp_path / "Tiny-1B"), str(tmp_path / "models--maker--Tiny-1B/../Tiny-1B"), True),
        ("other/Tiny-1B", "maker/Tiny-1B", False),
        ("maker/Tiny-2B", str(tmp_path / "Tiny-1B"), False),
    ]:
        folder = PeftFolder(tmp_path, base, 1, 1.0)
        if same:
            folder.check_base(name)
        else:
            with pytest.raises(ValueError, match="an adapter of"):
                folder.check_base(name)


WORDS = ["experiment=fuser_newsroom", *(f"system.model.{key}={value}" for key, value in SETTINGS.items())]


def imported_logits(folder: Path) -> torch.Tensor:
    """Those of the model that the run's checkpoint describes, as every command builds it."""
    path = folder / "checkpoints/best.ckpt"
    checkpoint = checkpoints.load(path)
    model = OmegaConf.create(checkpoints.config_text(checkpoint)).system.model
    assert model == OmegaConf.load(folder / "config.yaml").system.model
    settings = {key: value for key, value in model.items() if key not in ("_target_", "alpha_over_rank")}
    fuser = QLoRAFuser(**settings)
    fuser.load("cpu")
    state = checkpoints.weights_of(checkpoint, path)
    fuser.load_adapter_state_dict({name.removeprefix("model."): tensor for name, tensor in state.items()})
    return logits(fuser.eval().model)


def test_an_adapter_becomes_a_run(tiny_chat_model, tmp_path, capsys):
    expected = save_adapter(tiny_chat_model, tmp_path / "adapter")
    words = [*WORDS, f"adapter={tmp_path / 'adapter'}", f"out={tmp_path / 'run'}"]
    assert run("import", words) == 2 and "set system.model.name=" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run("import", [*words, f"system.model.name={tiny_chat_model}"]) == 0
    torch.testing.assert_close(imported_logits(tmp_path / "run"), expected, rtol=0, atol=1e-5)
    assert run("import", words) == 2 and "exists; name a folder that does not" in capsys.readouterr().err


def test_a_merged_model_becomes_a_run(tiny_chat_model, tmp_path):
    expected = save_adapter(tiny_chat_model, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_chat_model, dtype=torch.float32)
    PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tiny_chat_model).save_pretrained(tmp_path / "merged")
    assert run("import", [*WORDS, f"model={tmp_path / 'merged'}", f"out={tmp_path / 'run'}"]) == 0
    torch.testing.assert_close(imported_logits(tmp_path / "run"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out=x"], "say what to import: one of adapter=FOLDER, model=FOLDER, good4cir=FILE"),
        (["out=x", "model=a", "adapter=b"], "say what to import"),
        (["out=x", "adapter=b"], "say which experiment's prompt and evidence"),
        (["out=x", "good4cir=b", "experiment=cir_rooms"], "experiment=cir_rooms is of adapter= and model="),
        (["out=x", "model=a", "experiment=fuser_newsroom", "heads=3"], "are of good4cir=FILE"),
    ],
)
def test_what_cannot_be_imported_is_said(words, message, capsys):
    assert run("import", words) == 2 and message in capsys.readouterr().err


def test_a_training_starts_from_an_adapter(tiny_chat_model, tmp_path):
    expected = save_adapter(tiny_chat_model, tmp_path / "adapter")
    fuser = QLoRAFuser(str(tiny_chat_model), rank=3, alpha=12, **SETTINGS)
    fuser.load("cpu")

    class System:
        model = fuser

    load_first_weights(System(), OmegaConf.create({"init_from": str(tmp_path / "adapter")}))
    torch.testing.assert_close(logits(fuser.eval().model), expected, rtol=0, atol=1e-5)
