"""An exported folder on its way to the Hub of Hugging Face. Nothing is sent that was not asked for."""

from __future__ import annotations

import re
from glob import escape
from pathlib import Path

from huggingface_hub import HfApi, get_token

from diptych.models.onnx_embedders import GALLERY, QUERY
from diptych.parallel.plain_checkpoints import DESCRIPTION, check_file, description
from diptych.report.model_card import CARD

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_OURS = [
    f"{name}{end}" for name in (GALLERY, QUERY) for end in ("", ".data")
]  # of an earlier export, that this one may not have


def check_repository(name: str) -> None:
    """ValueError unless the Hub may have a repository of this name."""
    if not _REPOSITORY.fullmatch(name) or ".." in name or "--" in name or name.endswith(".git"):
        raise ValueError(f"push={name}: expected USER/NAME, of letters, digits, dots, dashes and underscores")


def send(folder: Path, repository: str) -> str:
    """Sends the export in the folder to the Hub, as one commit; where there is no token it sends nothing. Returns what
    was done: the files with their sizes and, if nothing was sent, the card. A repository that is not there is made,
    private. Files that others have put into the folder stay here.

    Raises:
        ValueError: a file is not as it was exported, or the Hub did not take it; names the folder and the repository.
    """
    said = description(folder)
    for name in said["files"]:
        check_file(folder, name, said)
    names = [DESCRIPTION, *said["files"], *([CARD] if (folder / CARD).is_file() else [])]
    names = list(dict.fromkeys(names))
    lines = [f"{(folder / name).stat().st_size:>15,} bytes  {name}" for name in names]
    if get_token() is None:
        card = (folder / CARD).read_text(encoding="utf-8") if CARD in names else "(there is no card)\n"
        return "\n".join(
            [
                f"dry run: nothing was sent to {repository}, for want of a token (HF_TOKEN, or `hf auth login`)."
                " It would be",
                *lines,
                f"with this card, {CARD}:",
                "",
                card,
            ]
        )
    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[escape(name) for name in names],
            delete_patterns=_OURS,
            commit_message="Export of a Diptych model",
        )
    except Exception as error:  # the client and what it stands on each raise their own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"push={repository}: the Hub did not take {folder}: {reason}. The folder is whole; to send it:"
            f" diptych export ckpt={folder} push={repository}"
        ) from error
    return "\n".join([f"sent to {repository}, {commit.commit_url}:", *lines])
