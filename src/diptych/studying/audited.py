"""The values per pair behind the rates of an audit of annotations."""

from __future__ import annotations

from pathlib import Path

from diptych.annotation.audit import RATES
from diptych.storage.json_shapes import Count
from diptych.storage.record_log import RecordLog
from diptych.sweeping.run_records import AUDIT

_SHAPE = {"pair_id": str, "ways": {str: {"counts": {str: Count}}}}


def audited_pairs(folder: Path, metric: str) -> dict[str, float] | None:
    """By pair a value of the metric, `<way>/<rate>`, of which the rate is the mean; None of what is no such rate.

    A rate is a ratio of two sums over pairs, which have claims of different numbers. A pair's value is the rate plus
    what the pair adds to it to first order (the linearised ratio: Cochran, Sampling Techniques, 1977, section 6.3), so
    that means of drawn pairs spread as the ratio does.
    """
    way, _, rate = metric.rpartition("/")
    if rate not in RATES or not (folder / AUDIT).is_file():
        return None
    records = RecordLog((folder / AUDIT).parent / "records.jsonl", "pair_id").read(_SHAPE)
    counts = {pair: record["ways"][way]["counts"] for pair, record in records.items() if way in record["ways"]}
    part, whole = RATES[rate]
    total = sum(of[whole] for of in counts.values())
    if not total:
        return None
    value = sum(of[part] for of in counts.values()) / total
    return {pair: value + (of[part] - value * of[whole]) * len(counts) / total for pair, of in counts.items()}
