"""`diptych fetch`: the pretrained models of an experiment in one folder, for machines without a network.

The folder is a home of the hub's (HF_HOME), with spaCy's packages beside it:

    hub/            models of Hugging Face, and open_clip's weights, as its library keeps them
    spacy/          models of spaCy, as packages that PYTHONPATH finds
    manifest.json   each model's name, kind, revision, size and files with their SHA-256
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from diptych.config import short_names
from diptych.config.command_line import composed
from diptych.config.model_needs import HUB, OPEN_CLIP, SPACY, ModelNeed, model_needs
from diptych.config.stage_configs import stage_configs, stage_settings
from diptych.storage.checksums import sha256_of_file
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.room import size_in_words

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_FORMAT = 1
_FILE = {"path": str, "bytes": Count, "sha256": str}
_MODEL = {"name": str, "kind": str, "revision": str, "bytes": Count, "files": [_FILE]}
_SHAPE = {"format": Count, "models": [_MODEL]}
# Of a repository, what no part of Diptych reads: the same weights for other libraries.
_NOT_READ = ("*.onnx*", "onnx/*", "openvino/*", "*.msgpack", "*.h5", "*.ot", "*.tflite", "coreml/*", "*.gguf")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")  # not where the same weights are there as safetensors

# Fetches a model of one kind into the folder; returns its revision, and the files that it consists of.
Fetcher = Callable[[str, Path], tuple[str, Sequence[Path]]]


def models_of(overrides: Sequence[str], config_name: str) -> list[ModelNeed]:
    """What an experiment, or a pipeline (`config_name`), with these overrides wants from a network."""
    if config_name == "train":
        return model_needs(composed("train", overrides), ("system", "data"))
    config = composed("pipeline", short_names.with_full_names(overrides), as_run=True)
    stages = {one.name: stage_settings(config, one) for one in stage_configs(config)}
    return model_needs(OmegaConf.create({"stages": stages}), ("stages",))


def fetch_models(needs: Sequence[ModelNeed], out: Path, fetchers: Mapping[str, Fetcher] | None = None) -> str:
    """Fetches what is not in the folder yet, one model after the other; its manifest is written after each, so that a
    killed command goes on. Returns what to type where there is no network.

    Raises:
        ValueError: a model cannot be fetched; those before it are there.
    """
    ways = FETCHERS if fetchers is None else fetchers
    known = _read_manifest(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MANIFEST, {"format": _FORMAT, "models": list(known.values())})  # the folder is ours from here on
    for need in needs:
        entry = known.get((need.kind, need.name))
        if entry is not None and _is_whole(out, entry):
            log.info("%s is there (%s)", need.name, size_in_words(entry["bytes"]))
        else:
            log.info("fetching %s, for %s", need.name, ", ".join(need.keys))
            try:
                revision, files = ways[need.kind](need.name, out)
            except Exception as error:  # each library raises its own kinds
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ValueError(
                    f"{need.name} ({need.keys[0]}) cannot be fetched: {reason}. A file or folder of your own is named"
                    f" by {need.keys[0]}=PATH; the same command goes on with the rest"
                ) from error
            known[need.kind, need.name] = _entry(need, revision, files, out)
        known[need.kind, need.name]["keys"] = list(need.keys)
        write_json(out / MANIFEST, {"format": _FORMAT, "models": list(known.values())})
    return _how_to_use(out, [known[need.kind, need.name] for need in needs])


def _read_manifest(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    path = out / MANIFEST
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty and has no {MANIFEST}: name another folder")
        return {}
    held = read_json(path, "name another folder", shape=_SHAPE)
    if held["format"] != _FORMAT:
        raise ValueError(f"{path}: format {held['format']} is not {_FORMAT}; name another folder")
    return {(entry["kind"], entry["name"]): entry for entry in held["models"]}


def _is_whole(out: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the files of a model are there, each of its size."""
    paths = [(out / str(file["path"]), file["bytes"]) for file in entry["files"]]
    return bool(paths) and all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _entry(need: ModelNeed, revision: str, files: Sequence[Path], out: Path) -> dict[str, Any]:
    listed = [
        {"path": str(path.relative_to(out)), "bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for path in sorted(files)
    ]
    if not listed:
        raise ValueError(f"{need.name}: nothing was fetched")
    size = sum(path.stat().st_size for path in files)
    return {"name": need.name, "kind": need.kind, "revision": revision, "bytes": size, "files": listed}


def _how_to_use(out: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return "nothing is needed from a network"
    total = size_in_words(sum(entry["bytes"] for entry in entries))
    folder = out.absolute()
    exports = [f"HF_HOME={folder}", "HF_HUB_OFFLINE=1"]
    if any(entry["kind"] == SPACY for entry in entries):
        exports.append(f"PYTHONPATH={folder / 'spacy'}:$PYTHONPATH")
    return f"{len(entries)} models, {total}, in {out}; where there is no network:\n  export {' '.join(exports)}"


def fetch_from_hub(name: str, out: Path) -> tuple[str, Sequence[Path]]:
    """A repository's present revision, in the formats that are read here."""
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi()
    about = api.model_info(name)
    names = [file.rfilename for file in about.siblings or ()]
    ignored = [*_NOT_READ, *(_PICKLES if any(file.endswith(".safetensors") for file in names) else ())]
    cache = out / "hub"
    folder = Path(snapshot_download(name, revision=about.sha, cache_dir=cache, ignore_patterns=ignored))
    _keep_branch(folder, about.sha)
    return str(about.sha), [path for path in folder.rglob("*") if path.is_file()]


def _keep_branch(folder: Path, revision: str | None) -> None:
    """Names the revision `main` in the cache, as a download of the branch does: it is asked for by that name."""
    from diptych.storage.whole import write_text

    write_text(folder.parents[1] / "refs" / "main", str(revision))


def fetch_open_clip(name: str, out: Path) -> tuple[str, Sequence[Path]]:
    """Weights of open_clip's registry, `ARCHITECTURE/TAG`; the hub's where they are there."""
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    architecture, _, tag = name.partition("/")
    entry = get_pretrained_cfg(architecture, tag)
    if not entry:
        raise ValueError(f"open_clip's registry has no {architecture} with weights {tag}")
    on_hub = bool(entry.get("hf_hub"))
    path = Path(download_pretrained(entry, cache_dir=str(out / ("hub" if on_hub else "open_clip"))))
    if not on_hub:
        log.warning("%s is kept as a file: name it, system.model.backbone.pretrained=%s", name, path)
    return path.parent.name if on_hub else str(entry.get("url")), [path]


def fetch_spacy(name: str, out: Path) -> tuple[str, Sequence[Path]]:
    """A package of spaCy's, of the version that goes with the installed spaCy."""
    target = out / "spacy"
    command = [sys.executable, "-m", "spacy", "download", name, "--no-deps", "--target", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError((done.stderr.strip() or done.stdout.strip() or "spacy download failed").splitlines()[-1])
    versions = sorted(path.name for path in target.glob(f"{name}-*.dist-info"))
    files = [path for part in (name, *versions) for path in (target / part).rglob("*") if path.is_file()]
    return versions[-1].removesuffix(".dist-info").rpartition("-")[2] if versions else "unknown", files


FETCHERS: Mapping[str, Fetcher] = {HUB: fetch_from_hub, OPEN_CLIP: fetch_open_clip, SPACY: fetch_spacy}
