"""Samples that an earlier evaluation wrote, for another choice among them: choices cost seconds, samples minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.record_log import RecordLog
from diptych.systems.caption_generation import GenerationSettings

_RECORD = {"query_id": str, "candidates?": [{"caption": str}]}


def take_candidates(sampled: Path, output: Path, settings: GenerationSettings) -> None:
    """Puts the first `num_candidates` samples of every record in the file `sampled` into `output`, where a generator
    with these settings then finds all written, and chooses; nothing if `output` is there. That both are of one model,
    prompts and way of sampling, the generator checks.

    Raises:
        ValueError: there is no such file, or it has too few samples of a photo to choose among.
    """
    if output.exists():
        return
    number = settings.num_candidates
    if number < 2:
        raise ValueError("candidates: name how many are chosen among, generation.num_candidates=N, 2 or more")
    advice = "name the folder of an evaluation of captions with generation.num_candidates=N"
    made_with = read_json(sampled.with_suffix(".settings.json"), advice, shape={"settings": {"num_candidates": Count}})
    records = list(RecordLog(sampled).read(_RECORD).values())
    if few := next((record for record in records if len(record.get("candidates", ())) < number), None):
        raise ValueError(
            f"candidates: {sampled} has {len(few.get('candidates', ()))} samples of photo {few['query_id']!r}, and"
            f" generation.num_candidates={number} asks for more: {advice}"
        )
    own = {key: value for key, value in made_with["settings"].items() if key not in ("choice", "consensus")}
    own |= {"num_candidates": number, "consensus": settings.consensus}
    own |= {} if settings.choice == GenerationSettings.choice else {"choice": settings.choice}
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output.with_suffix(".settings.json"), {**made_with, "settings": own})
    RecordLog(output).write([_with_first(record, number) for record in records])


def _with_first(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {**record, "candidates": record["candidates"][:number]}
