"""The values per pair behind the rates of an audit of annotations."""

from __future__ import annotations

from pathlib import Path

from diptych.annotation.audit import RATES
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count
from diptych.storage.record_log import RecordLog
from diptych.sweeping.pipeline_results import AGREEMENT, AUDIT

_SHAPE = {"pair_id": str, "ways": {str: {"counts": {str: Count}}}}
_VERDICTS = {"pairs": {str: {"holds": Count, "verified": Count}}}


def audited_pairs(folder: Path, metric: str) -> dict[str, float] | None:
    """By pair a value of the metric, `<way>/<rate>` of an audit or `sentences_refused` of a second model, of which the
    rate is the mean; None of what is no such rate.

    A rate is a ratio of two sums over pairs, which have claims of different numbers. A pair's value is the rate plus
    what the pair adds to it to first order (the linearised ratio: Cochran, Sampling Techniques, 1977, section 6.3), so
    that means of drawn pairs spread as the ratio does.
    """
    counts = _audited(folder, metric) or _refused(folder, metric)
    total = sum(whole for _, whole in counts.values())
    if not total:
        return None
    value = sum(part for part, _ in counts.values()) / total
    return {pair: value + (part - value * whole) * len(counts) / total for pair, (part, whole) in counts.items()}


def _audited(folder: Path, metric: str) -> dict[str, tuple[int, int]]:
    way, _, rate = metric.rpartition("/")
    if rate not in RATES or not (folder / AUDIT).is_file():
        return {}
    records = RecordLog((folder / AUDIT).parent / "records.jsonl", "pair_id").read(_SHAPE)
    part, whole = RATES[rate]
    counts = {pair: record["ways"][way]["counts"] for pair, record in records.items() if way in record["ways"]}
    return {pair: (of[part], of[whole]) for pair, of in counts.items()}


def _refused(folder: Path, metric: str) -> dict[str, tuple[int, int]]:
    if metric != "sentences_refused":
        return {}
    found = read_json(folder / AGREEMENT, missing_ok=True, shape=_VERDICTS) or {"pairs": {}}
    return {pair: (of["verified"] - of["holds"], of["verified"]) for pair, of in found["pairs"].items()}
