"""What test servers answered to the files of a study's evaluations: the place where people write it down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diptych.config.checking import suggest
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Finite
from diptych.studying.plan import Study

FILE = "server_answers.json"  # in the study's folder
_ADVICE = 'it holds what the servers answered, {"arm": {"seed": {"cirr/recall_at_1": 0.3}}}, recall as a fraction'

Answers = Mapping[str, Mapping[int, Mapping[str, float]]]  # by arm, seed and metric


def read_server_answers(folder: Path, study: Study) -> Answers:
    """The answers of `server_answers.json` in the study's folder; none where there is no such file.

    Raises:
        ValueError: it is damaged, or names an arm, a seed or a metric that the study does not have.
    """
    path = folder / FILE
    found = read_json(path, _ADVICE, missing_ok=True, shape={str: {str: {str: Finite}}}) or {}
    arms = [arm.name for arm in study.arms]
    metrics = list(dict.fromkeys([*study.metrics, *(one.metric for one in study.hypotheses)]))
    answers: dict[str, dict[int, Mapping[str, float]]] = {}
    for arm, by_seed in found.items():
        _require(arm, arms, f"{path}: there is no arm")
        for seed, values in by_seed.items():
            _require(seed, [str(one) for one in study.seeds], f"{path}: {arm} was not run with seed")
            for metric in values:
                _require(metric, metrics, f"{path}: {arm}, seed {seed}: the study does not show")
            answers.setdefault(arm, {})[int(seed)] = values
    return answers


def _require(name: str, known: list[str], wrong: str) -> None:
    if name not in known:
        raise ValueError(f"{wrong} {name!r}, only {', '.join(known)}.{suggest(name, known)}")
