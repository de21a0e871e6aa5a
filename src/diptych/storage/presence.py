"""What to say where a dataset is missing altogether."""

from __future__ import annotations

from pathlib import Path

RUNS_WITHOUT_DATA = "python train.py experiment=cir_rooms"


def require_folder(folder: Path, title: str, docs_page: str) -> Path:
    """Return `folder` if it is there.

    Raises:
        ValueError: it is not; says where it was looked for, which page tells how to get it, and what runs without.
    """
    if folder.is_dir():
        return folder
    state = "is a file, not a folder" if folder.exists() else "does not exist"
    raise ValueError(
        f"No {title} data: looked in {folder.absolute()}, which {state}. {docs_page} says how to get it and what the"
        f" folder must hold; data.root=PATH points elsewhere. To see Diptych run without it: {RUNS_WITHOUT_DATA}"
    )
