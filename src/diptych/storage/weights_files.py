"""What a file or folder of weights is, told from names: no tensor is read, no code is run, torch is not imported."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from diptych.storage.json_files import read_json

Kind = Literal["checkpoint", "clip", "siglip", "adapter", "language model", "program", "other"]

EXPORTED = "diptych.json"  # which an export of ours has beside its weights
OPEN_CLIP, TRANSFORMERS, ADAPTER = "open_clip_config.json", "config.json", "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)  # as the two libraries call them, the better of two formats first
DESCRIPTIONS = (OPEN_CLIP, TRANSFORMERS, "preprocessor_config.json", "processor_config.json")  # of CLIP weights
USES: dict[Kind, str] = {  # what takes them, for whoever has named them where they are not taken
    "checkpoint": "it is a checkpoint of Diptych's, which names its model itself: ckpt=FILE evaluates it,"
    " init_from=FILE starts a training from it",
    "clip": "it is a CLIP of open_clip's or transformers': evaluate ckpt=IT data=NAME, train init_from=IT, search"
    " ckpt=IT, or system.model.backbone.pretrained=FILE",
    "siglip": "it is a SigLIP of transformers', which is a photo encoder of pipelines (encoder=siglip2) alone",
    "adapter": "it is a PEFT adapter, without the settings that captions need: diptych import adapter=FOLDER"
    " experiment=NAME out=RUN makes a run of it, and train init_from=FOLDER trains it further",
    "language model": "it is a language model, without the settings that captions need: diptych import model=FOLDER"
    " experiment=NAME out=RUN makes a run of it, and train takes system.model.name=FOLDER",
    "program": "it is a program (TorchScript), which is not run; OpenAI's weights are known by name:"
    " system.model.backbone.name=ViT-B-32-quickgelu system.model.backbone.pretrained=openai",
}
_MOST_BYTES = 2**26  # of what lists the tensors; the largest models' lists are a tenth of it
_OURS = "diptych"  # the entry of our checkpoints
_OF_SIGLIP = ("vision_model.head.probe", "logit_bias")


def kind_of(path: Path) -> Kind:
    """What lies at the path:

    - `checkpoint`: written by a training of ours, or a run's folder;
    - `clip`, `siglip`: open_clip's or transformers' (a folder has the description too);
    - `adapter`: PEFT's folder or file;
    - `language model`: a folder of transformers' that is none of these, a merged one for example;
    - `program`: TorchScript, as OpenAI published CLIP;
    - `other`: none of these, damaged, or not there.
    """
    if path.is_dir():
        return _kind_of_folder(path)
    if path.with_name(EXPORTED).is_file() and path.name in WEIGHTS:
        return "checkpoint"
    return "program" if _members(path, "/code/") else _kind_of_names(tensor_shapes(path))


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder of open_clip's or transformers'.

    Raises:
        ValueError: there is none, or it is in several files.
    """
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is not None:
        return found
    pieces = sorted(path.name for path in folder.glob("*.index.json"))
    reason = f"its weights are in several files ({pieces[0]}); save them in one" if pieces else "it has no weights"
    raise ValueError(f"{folder}: {reason}: model.safetensors, for example")


def tensor_shapes(path: Path) -> Mapping[str, tuple[int, ...] | None]:
    """The tensors of a .safetensors file by name, with their shapes. Of what `torch.save` wrote all texts that it
    holds, names of tensors among them, without. Empty where it is neither, or damaged.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return dict.fromkeys(_texts(path))
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile):
        return {}


def _kind_of_folder(folder: Path) -> Kind:
    if (folder / ADAPTER).is_file():
        return "adapter"
    if (folder / OPEN_CLIP).is_file():
        return "clip"
    if (folder / TRANSFORMERS).is_file():
        found = description(folder / TRANSFORMERS).get("model_type")
        kinds: dict[Any, Kind] = {"clip": "clip", "siglip": "siglip", "siglip2": "siglip"}
        return kinds.get(found, "language model") if found else "other"
    if (folder / "checkpoints").is_dir() or (folder / "config.yaml").is_file() or (folder / "skeleton.pt").is_file():
        return "checkpoint"
    return "other"


def description(path: Path) -> dict[str, Any]:
    """The JSON object that describes a model; ValueError where it is none."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object that describes a model")
    return content


def _kind_of_names(names: Collection[str]) -> Kind:
    if _OURS in names and "state_dict" in names:
        return "checkpoint"
    names = {name.removeprefix("module.") for name in names}
    if any(".lora_A." in name for name in names):
        return "adapter"
    if any(name.startswith(("vision_model.", "text_model.")) for name in names):
        return "siglip" if names.intersection(_OF_SIGLIP) else "clip"
    if any(name.startswith("visual.") for name in names):
        return "clip"
    return "language model" if any(name.startswith(("model.layers.", "transformer.h.")) for name in names) else "other"


def _texts(path: Path) -> list[str]:
    """The texts in what torch pickled, in their order; nothing of it is made."""
    place = next(iter(_members(path, "/data.pkl")), None)
    if place is None:
        return []
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(place).file_size > _MOST_BYTES:
            return []
        found = pickletools.genops(archive.read(place))
    return [str(argument) for operation, argument, _ in found if "UNICODE" in operation.name]


def _members(path: Path, part: str) -> list[str]:
    """The names in a zip file with this part."""
    if not path.is_file():
        return []
    try:
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if part in name]
    except Exception:  # a damaged list; zipfile raises many kinds, of which it documents one
        return []
