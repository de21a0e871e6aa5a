"""The LoRA adapter of a vision-language model (Hu et al. 2021), and checkpoints that hold nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from diptych.extras import require

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_LANGUAGE, _VISION = "language_model.", "visual."


@dataclass(frozen=True)
class Adapter:
    """Low-rank matrices beside the linear layers called `targets` in the language model, and with `vision` beside all
    linear layers of the vision tower. Their product is scaled by alpha / rank.

    Raises:
        ValueError: a number makes no sense, or nothing is to be trained.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: Sequence[str] = ALL_LINEAR
    vision: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"rank={self.rank}, alpha={self.alpha:g}, dropout={self.dropout}: want at least 1, above 0, 0 to 1"
            )
        if not self.targets and not self.vision:
            raise ValueError("targets=[] and vision=false train nothing; set adapter=null to train nothing on purpose")


def add_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Puts fresh matrices, in float32, beside the layers of a model whose weights are frozen.

    Raises:
        ValueError: one of `targets` is no layer of the language model.
    """
    require("peft", "set adapter=null to train nothing")
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    chosen = [
        name
        for name in linear
        if (name.startswith(_LANGUAGE) and name.rpartition(".")[2] in adapter.targets)
        or (name.startswith(_VISION) and adapter.vision)
    ]
    known = sorted({name.rpartition(".")[2] for name in linear if name.startswith(_LANGUAGE)})
    unknown = [target for target in adapter.targets if target not in known]
    if unknown:
        raise ValueError(f"targets: {', '.join(unknown)} is no linear layer of the language model ({', '.join(known)})")
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        bias="none",
        target_modules="|".join(map(re.escape, chosen)),
    )
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if is_of_adapter(name):
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)


def is_of_adapter(name: str) -> bool:
    """Whether a weight of that name is an adapter's."""
    return "lora_" in name


def keep_adapter_alone(module: nn.Module) -> None:
    """Has the module's `state_dict` leave out what is no adapter's, and `load_state_dict` not miss it."""
    module.register_state_dict_post_hook(_leave_out_frozen)
    module.register_load_state_dict_post_hook(_miss_no_frozen)


def _leave_out_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(prefix) and not is_of_adapter(name)]:
        del state[name]


def _miss_no_frozen(module: nn.Module, result: Any) -> None:
    own = tuple(name for name, _ in module.named_parameters() if not is_of_adapter(name))
    own += tuple(name for name, _ in module.named_buffers())
    result.missing_keys[:] = [name for name in result.missing_keys if not name.endswith(own)]
