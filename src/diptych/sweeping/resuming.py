"""`sweep.resume`: the command line that resumes an earlier sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.config.override_words import override, unquoted
from diptych.config.strangers import check_links
from diptych.storage.json_files import read_json
from diptych.sweeping.stranger_words import check_words, texts_of

COMMAND = "command.json"  # in the sweep's folder: the overrides that started it
TRUST = "trust_run=true"
_RESUME = "sweep.resume="
_MAY_CHANGE = ("cluster=", "cluster.", "hydra.")  # where and how the runs are executed, not which


def of_resumed_sweep(words: Sequence[str]) -> list[str]:
    """The overrides themselves, or, if one is `sweep.resume=DIR`, those that started the sweep in DIR, to run it there
    again: what is done is left, the rest resumed. Further overrides may say where: `cluster=local`.

    Whoever made DIR chose those overrides: unless `trust_run=true` is said, they are held to what a stranger's may do,
    and so is each run (`trust_run=false` tells the launcher).

    Raises:
        ValueError: DIR holds no sweep, its overrides do more than that, or a further one would make it another sweep.
    """
    named = [word for word in words if word.startswith(_RESUME)]
    if not named:
        return list(words)
    folder = Path(unquoted(named[-1].removeprefix(_RESUME))).expanduser().resolve()
    path = folder / COMMAND
    if not path.is_file():
        raise ValueError(f"{folder}: there is no sweep to resume here (no {COMMAND})")
    started = read_json(path, "it was not written by a sweep", shape={"words": [str]})["words"]
    meta = (*named, "-m", "--multirun", TRUST)
    further = [word for word in words if word not in meta]
    refused = [word for word in further if not word.startswith(_MAY_CHANGE)]
    if refused:
        raise ValueError(
            f"resuming {folder} with {' '.join(refused)} would be another sweep; only {', '.join(_MAY_CHANGE)}... "
            "may change"
        )
    trusted = TRUST in words
    if not trusted:
        check_links(folder)
    began_with = texts_of(started, str(path)) if trusted else check_words(started, str(path))
    elsewhere = any(word.startswith("cluster=") for word in further)
    replaced = {word.split("=")[0] for word in further} | {"hydra.sweep.dir", "trust_run"}
    kept = [
        word
        for word in began_with
        if word.split("=")[0] not in replaced and not (elsewhere and word.startswith("cluster."))
    ]
    return [*kept, *further, override("hydra.sweep.dir", folder), TRUST if trusted else "trust_run=false"]
