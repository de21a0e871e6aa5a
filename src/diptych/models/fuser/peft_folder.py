"""An adapter as PEFT saves it, of whose making it may be, for a model that has LoRA on all its linear layers.

Hu et al. 2021 (LoRA); Kalajdzievski 2023 (arXiv 2312.03732) for the scale alpha / sqrt(rank).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from diptych.storage.model_files import locate_model
from diptych.storage.weights_files import ADAPTER, ADAPTER_WEIGHTS, description

_NO_LORA_ALONE = {  # what of an adapter's settings asks for more than LoRA's product, and for what
    "use_dora": "magnitudes beside the product (DoRA)",
    "rank_pattern": "other ranks in some layers",
    "alpha_pattern": "other scales in some layers",
    "modules_to_save": "whole layers beside the product",
    "trainable_token_indices": "embeddings of its own",
    "layer_replication": "layers twice",
    "lora_bias": "biases beside the product",
    "alora_invocation_tokens": "a product behind some tokens alone (aLoRA)",
}
# Ways to begin that leave other weights in the base model.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


class Adapted(Protocol):
    """What takes an adapter: `QLoRAFuser`."""

    name: str
    rank: int
    alpha: float

    def adapter_state_dict(self) -> Mapping[str, Tensor]:
        """The adapter's weights under PEFT's names."""

    def load_adapter_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Puts all of them in."""


@dataclass(frozen=True)
class PeftFolder:
    """What an adapter's folder says: its base model, its rank, and the alpha with which its scale is alpha / rank."""

    path: Path
    base: str | None
    rank: int
    alpha: float

    @classmethod
    def read(cls, path: Path) -> PeftFolder:
        """The folder, or the one that a file of it lies in.

        Raises:
            ValueError: it is damaged, or the adapter is more than LoRA's product on linear layers; names the setting.
        """
        folder = path if path.is_dir() else path.parent
        if path.is_file() and path.name not in (ADAPTER, ADAPTER_WEIGHTS):
            raise ValueError(f"{path}: of an adapter's folder {ADAPTER_WEIGHTS} is read; call the file so, or link it")
        place = folder / ADAPTER
        if not place.is_file():
            raise ValueError(
                f"{folder}: there is no {ADAPTER} beside the adapter's weights, which names its base model"
            )
        found = description(place)
        _check_kind(found, place)
        rank, alpha, base = found.get("r"), found.get("lora_alpha"), found.get("base_model_name_or_path")
        if type(rank) is not int or rank < 1 or isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise ValueError(f"{place}: r is {rank!r:.80} and lora_alpha {alpha!r:.80}; want numbers, r at least 1")
        scaled = float(alpha) * (math.sqrt(rank) if found.get("use_rslora") else 1)
        return cls(folder, base if isinstance(base, str) and base else None, rank, scaled)

    def check_base(self, name: str) -> None:
        """ValueError unless the adapter's base model is the one of this name: the same hub's model or place, or one of
        both a folder that is called as the hub's model is.
        """
        if self.base is None:
            raise ValueError(
                f"{self.path / ADAPTER} does not say which model the adapter is of: write it there,"
                f' "base_model_name_or_path": "{name}"'
            )
        if self.base != name and not _same_place(self.base, name) and not _named_alike(self.base, name):
            raise ValueError(
                f"{self.path}: an adapter of {self.base}, and system.model.name is {name}: set"
                f" system.model.name={self.base}, or, if this is the same model, what {ADAPTER} says"
            )

    def load_into(self, model: Adapted) -> list[str]:
        """Puts the adapter into a model whose own is fresh. Layers of the model that it leaves out keep theirs, which
        changes nothing before it is trained. Returns the kinds of layers that it has.

        Raises:
            ValueError: it is of another base model, rank or scale, its file cannot be read, or it has tensors that the
                model has not, or of other shapes; names the keys that say it.
        """
        self.check_base(model.name)
        if self.rank != model.rank or not math.isclose(self.alpha, model.alpha):
            raise ValueError(
                f"{self.path}: an adapter of rank {self.rank} and alpha {self.alpha:.17g}, and system.model has rank"
                f" {model.rank} and alpha {model.alpha:.17g}: set system.model.rank={self.rank}"
                f" system.model.alpha={self.alpha:.17g}"
            )
        own, found = model.adapter_state_dict(), self._weights()
        unknown = sorted(found.keys() - own.keys())
        if unknown or not found:
            raise ValueError(
                f"{self.path}: {len(unknown)} of its {len(found)} tensors are of no linear layer of {model.name}"
                f" ({', '.join(unknown[:2])}): only adapters of those are read (no output layer, no embeddings)"
            )
        other = [name for name, tensor in found.items() if tensor.shape != own[name].shape]
        if other:
            raise ValueError(
                f"{self.path}: {len(other)} of its tensors have other shapes than in {model.name}, for example"
                f" {other[0]}: {tuple(found[other[0]].shape)}, not {tuple(own[other[0]].shape)}; it is of another model"
            )
        model.load_adapter_state_dict({**own, **found})
        return sorted({name.split(".lora_")[0].rsplit(".", 1)[-1] for name in found})

    def _weights(self) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path / ADAPTER_WEIGHTS
        if not file.is_file():
            raise ValueError(f"{self.path}: it has no {ADAPTER_WEIGHTS}; save the adapter as safetensors")
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read ({error}); take a copy of it") from error


def _check_kind(found: Mapping[str, Any], place: Path) -> None:
    if found.get("peft_type") != "LORA":
        raise ValueError(f"{place}: an adapter of the type {found.get('peft_type')!r:.80}; only LORA is read")
    asked = next((key for key in _NO_LORA_ALONE if found.get(key)), None)
    if asked:
        raise ValueError(
            f"{place}: {asked} asks for {_NO_LORA_ALONE[asked]}, which is not read: merge the adapter into its base"
            " model (merge_and_unload), and name the folder, system.model.name=FOLDER"
        )
    if found.get("bias", "none") != "none":
        raise ValueError(f"{place}: bias={found['bias']!r:.80}: only adapters without biases of their own are read")
    begun = str(found.get("init_lora_weights")).lower()
    if begun.startswith(_CHANGE_THE_BASE):
        raise ValueError(
            f"{place}: init_lora_weights={begun!r:.80} has changed the base model's weights: merge the adapter into it,"
            " and name the folder, system.model.name=FOLDER"
        )


def _same_place(one: str, other: str) -> bool:
    try:
        paths = [Path(locate_model(name)) for name in (one, other)]
    except ValueError:  # a package that is not installed
        return False
    return all(path.exists() for path in paths) and paths[0].resolve() == paths[1].resolve()


def _named_alike(one: str, other: str) -> bool:
    """Whether one is a name of the hub, and the other a folder that is called so, or the hub's own copy of it."""
    for hub, place in ((one, other), (other, one)):
        if hub.count("/") == 1 and not Path(hub).exists() and Path(place).is_dir():
            copied = f"models--{hub.replace('/', '--')}"
            return Path(place).absolute().name == hub.split("/")[1] or copied in Path(place).absolute().parts
    return False
