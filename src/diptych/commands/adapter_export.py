"""A trained adapter for other programs: a PEFT folder, or a whole model with the adapter merged into its weights.

    python -m diptych.export ckpt=runs/fuser_openevents/latest out=FOLDER [merge=true] [dtype=bfloat16]

The PEFT folder loads with `PeftModel.from_pretrained` and in vLLM; no base model is read to write it. Merging loads the
base model in 16 bits, whatever it was quantised to while the adapter was trained, and compares the merged model's
logits with the adapter's before the folder gets its name.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from diptych.config import checking, resolvers
from diptych.config.plain_config import plain_section
from diptych.config.strangers import one_sentence
from diptych.config.trained import build_within, check_rank, config_of
from diptych.extras import require
from diptych.models.fuser.chat_tokenizer import load_tokenizer
from diptych.parallel import checkpoints
from diptych.parallel.private_parts import set_saved_attention
from diptych.storage.model_files import is_gguf, locate_model
from diptych.storage.whole import whole_folder

if TYPE_CHECKING:  # with peft, which may not be installed
    from diptych.models.fuser.qlora_fuser import QLoRAFuser

log = logging.getLogger(__name__)

_NOTHING = "{} holds neither a retrieval model nor an adapter of a captioning model; only those are exported"
_PROBE = "The first cars drove across the new bridge on Friday, 18 September 2020, and the mayor cut the ribbon."
# Of the logits' length. Rounding a weight to bfloat16 moves it by up to 0.4 %; a merge that went wrong by far more.
_TOLERANCE = 0.03


def export_adapter(checkpoint: dict[str, Any], path: Path, out: Path, merge: bool, dtype: str) -> None:
    """Writes the adapter of the checkpoint, which was read from `path`, to the new folder `out`.

    Raises:
        ValueError: the checkpoint is not one of the captioning system, or a merged model's logits are not the
            adapter's; or peft is not installed.
    """
    require("peft")
    weights = checkpoints.weights_of(checkpoint, path)
    adapter = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    changes = {"quantization": "none", "dtype": dtype} if merge else {}
    fuser = _fuser(checkpoint, path, changes)
    if any(".lora_" not in name for name in adapter) or not adapter:
        raise ValueError(f"{path}: its weights are those of no adapter")
    check_rank(fuser, adapter, path)
    with whole_folder(out) as temporary:
        if merge:
            _write_merged(temporary, fuser, adapter)
        else:
            _write_adapter(temporary, fuser, adapter)


def _fuser(checkpoint: dict[str, Any], path: Path, changes: Mapping[str, Any]) -> QLoRAFuser:
    """The checkpoint's model with these changes, which has read nothing; ValueError unless its adapter is PEFT's."""
    resolvers.register_resolvers()
    model = OmegaConf.select(config_of(checkpoint, path), "system.model")
    if not OmegaConf.is_dict(model) or "_target_" not in model:
        raise ValueError(_NOTHING.format(path))
    with one_sentence(f"{path}: its config"):
        settings = {**plain_section(model), **changes}
    fuser = checking.locate_trusted("system.model", str(settings["_target_"]))
    if getattr(fuser, "adapter_format", None) != "peft":
        raise ValueError(_NOTHING.format(path))
    checking.check_arguments("system.model", settings, fuser)
    built: QLoRAFuser = build_within({}, OmegaConf.create({"system": {"model": settings}}).system.model, path)
    return built


def _write_adapter(folder: Path, fuser: QLoRAFuser, adapter: Mapping[str, Tensor]) -> None:
    from peft import LoraConfig

    # Not "all-linear", as it was trained: other programs want the layers by name.
    layers = sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in adapter})
    config = LoraConfig(
        base_model_name_or_path=locate_model(fuser.name),
        r=fuser.rank,
        lora_alpha=fuser.alpha,
        lora_dropout=fuser.dropout,
        target_modules=layers,
        bias="none",
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    save_file({name: tensor.contiguous() for name, tensor in adapter.items()}, folder / "adapter_model.safetensors")
    shutil.copymode(folder / "adapter_config.json", folder / "adapter_model.safetensors")  # safetensors hides its files
    log.info("%d tensors of rank %d on %s", len(adapter), fuser.rank, ", ".join(layers))


def _write_merged(folder: Path, fuser: QLoRAFuser, adapter: Mapping[str, Tensor]) -> None:
    fuser.load()
    fuser.load_adapter_state_dict(adapter)
    fuser.eval()
    tokenizer = load_tokenizer(fuser.name)
    ids = torch.tensor([tokenizer.encode(_PROBE)], device=next(fuser.model.parameters()).device)
    expected = _logits(fuser.model, ids)
    merged = fuser.model.merge_and_unload()
    difference = float((_logits(merged, ids) - expected).norm() / expected.norm())
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"the merged model's logits differ from the adapter's by {difference:.2%} of their length, more than"
            f" {_TOLERANCE:.0%}; nothing was written. dtype=float32 shows whether it is rounding"
        )
    if is_gguf(fuser.name):
        del merged.config.quantization_config  # the weights are plain now
    set_saved_attention(merged.config, "sdpa")
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    log.info("merged in %s; logits differ from the adapter's by %.3f %%", fuser.dtype, 100 * difference)


@torch.inference_mode()
def _logits(model: nn.Module, ids: Tensor) -> Tensor:
    return model(input_ids=ids).logits.float()
