"""What a model's settings claim of its size, held against what its files have: a stranger's config.json may ask for
terabytes, or for a thousand million layers, before a single weight is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diptych.storage.json_files import read_json

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "width", "hidden_dim", "embedding_size")
_MOST_LAYERS = 10_000
_FREE_BYTES = 2**31  # as TensorBudget has it
_BYTES_OF_WEIGHT = 0.25  # the least that quantised weights take, with room: nobody's model is refused for a guess


def check_claims(folder: Path, name: str) -> None:
    """Holds the folder's config.json to its files.

    Raises:
        ValueError: it describes a model that is far larger than the weights beside it, or with more than 10,000 layers.
    """
    path = folder / "config.json"
    if not path.is_file():
        return
    held = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in _WEIGHTS and file.is_file())
    most = 4 * held + _FREE_BYTES
    for settings in _sections(read_json(path)):
        numbers = {key: value for key, value in settings.items() if type(value) is int and value > 0}
        layers = max((value for key, value in numbers.items() if _counts_layers(key)), default=1)
        width = max((numbers[key] for key in _WIDTHS if key in numbers), default=1)
        inner = max(width, numbers.get("intermediate_size", 1))
        claimed = _BYTES_OF_WEIGHT * width * (layers * inner + numbers.get("vocab_size", 0))
        if layers > _MOST_LAYERS or claimed > most:
            raise ValueError(
                f"{name}: {path} describes a model that is far larger than the weights beside it ({layers:,} layers of"
                f" width {width:,}; {held:,} bytes of weights); nothing was loaded"
            )


def _counts_layers(key: str) -> bool:
    return key in ("depth", "n_layer") or key.endswith("layers")


def _sections(value: Any) -> Iterator[Mapping[str, Any]]:
    """The settings and the sections within them."""
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _sections(part)
