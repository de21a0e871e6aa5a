"""The language model below the fuser's adapter: what can be asked of it, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GgufConfig, PreTrainedModel

from diptych.extras import require
from diptych.models.fuser.example_attention import EXAMPLE_ATTENTION
from diptych.models.fuser.generation import DTYPES
from diptych.storage.model_files import is_gguf, load_model

QUANTIZATIONS = ("int8", "nf4", "none")
ATTENTIONS = ("sdpa", "flash_attention_2")


@dataclass(frozen=True)
class BaseModel:
    """A causal language model by its settings, which are `QLoRAFuser`'s; nothing is read before `read`.

    Raises:
        ValueError: a setting is unknown, or two cannot work together.
    """

    name: str
    quantization: str
    attention: str
    dtype: str

    def __post_init__(self) -> None:
        _check_choice("quantization", self.quantization, QUANTIZATIONS)
        _check_choice("attention", self.attention, ATTENTIONS)
        _check_choice("dtype", self.dtype, tuple(DTYPES))
        if is_gguf(self.name) and self.quantization != "none":
            raise ValueError(
                f"quantization={self.quantization} cannot be applied to {self.name}: a GGUF file is quantised already; "
                "set quantization=none, or name the model's unquantised folder"
            )
        if self.attention == "flash_attention_2" and self.dtype == "float32":
            raise ValueError("attention=flash_attention_2 has no float32; set dtype=bfloat16")

    def check_device(self, device: torch.device) -> None:
        """ValueError where the settings cannot work on the device, or want a package that is not there."""
        if self.attention == "flash_attention_2" and (device.type != "cuda" or find_spec("flash_attn") is None):
            raise ValueError(
                f"attention=flash_attention_2 needs CUDA and the package flash-attn (device: {device}); "
                "set attention=sdpa"
            )
        if self.dtype == "float16" and device.type == "cpu":
            raise ValueError("dtype=float16 is for GPUs; on the CPU set dtype=bfloat16 or float32")
        if self.dtype == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
            raise ValueError("dtype=bfloat16: this GPU has no bfloat16; set dtype=float16")
        if self.quantization != "none":
            require("bitsandbytes", "set quantization=none")

    def read(self, device: torch.device) -> PreTrainedModel:
        """The model on `device`, quantised.

        Raises:
            ValueError: it cannot be read, or its attention cannot be kept within examples.
        """
        # Left to itself, transformers keeps a GGUF file's blocks packed, which LoRA cannot be added to.
        gguf = is_gguf(self.name)
        quantization = GgufConfig(dequantize=True) if gguf else quantization_config(self.quantization)
        advice = "name a folder with the model's files, or download it once where there is a network"
        model: PreTrainedModel = load_model(
            AutoModelForCausalLM.from_pretrained,
            self.name,
            "language model",
            advice,
            quantization_config=quantization,
            dtype=DTYPES[self.dtype],
            attn_implementation=EXAMPLE_ATTENTION if self.attention == "sdpa" else self.attention,
            device_map={"": str(device)},
        )
        _check_attention(model, self.name)
        keep_unpacked(model)
        return model


def quantization_config(quantization: str) -> BitsAndBytesConfig | None:
    """How transformers is told of `int8` (LLM.int8, outliers over 6) or `nf4` (double quantisation, bf16 products);
    None for `none`.
    """
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=6.0)
    if quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return None


def keep_unpacked(model: nn.Module) -> None:
    """Has bitsandbytes leave 4-bit weights as they are: on CPUs with AVX512-BF16 it repacks them at the first
    evaluation, and later gradients are wrong.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key}={value!r} is not one of {', '.join(choices)}")


def _check_attention(base: PreTrainedModel, name: str) -> None:
    """Only models whose every layer is softmax attention through transformers' interface keep examples apart."""
    kinds = set(getattr(base.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds or not base.is_backend_compatible():
        raise ValueError(
            f"{name} ({type(base).__name__}) cannot be trained on packed rows: "
            + (f"layers of the kinds {sorted(kinds)} " if kinds else "its attention ")
            + "would let one example see another"
        )
