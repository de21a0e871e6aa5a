"""An audit's numbers in the form of an evaluation's: rates with what they are shares of, and a value for each pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diptych.annotation.audit import RATES

Record = Mapping[str, Any]

# By the metric's name the rate of `RATES` that it is: what is said is hallucinated or wrong, what changed is missed.
SCORED = {"hallucinated": "claims_hallucinated", "wrong": "claims_wrong", "missed": "changes_missed"}
_CLAIMS = "claims_per_pair"


def audit_metrics(
    records: Sequence[Record], summaries: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """What `metrics.json` says of an audit's records: the rates of `SCORED` by way and the number of claims, as
    `<way>/<metric>`, or under the metric's name alone where there is one way. `shares` has their two counts.
    `summaries` are the rates of each way, whose intervals are repeated.
    """
    metrics: dict[str, float | None] = {}
    intervals: dict[str, list[float]] = {}
    shares: dict[str, dict[str, int]] = {}
    for way, summary in summaries.items():
        before = "" if len(summaries) == 1 else f"{way}/"
        for name, rate in SCORED.items():
            part, whole = (sum(record["ways"][way]["counts"][count] for record in records) for count in RATES[rate])
            metrics[before + name] = part / whole if whole else None
            shares[before + name] = {"part": part, "of": whole}
            if summary[rate]["interval"] is not None:
                intervals[before + name] = summary[rate]["interval"]
        num_claims = sum(record["ways"][way]["counts"]["claims"] for record in records)
        metrics[before + _CLAIMS] = num_claims / len(records) if records else None
    about: dict[str, Any] = {name: {"unit": "fraction", "better": "lower"} for name in SCORED}
    about[_CLAIMS] = {"unit": "count", "better": None}
    return {"metrics": metrics, "intervals": intervals, "shares": shares, "about": about}


def pair_scores(records: Sequence[Record], ways: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line for each way and pair, as `scores.jsonl` has them: `set` (the way, where there are several), `query_id`
    (the pair) and the pair's value of each metric that the way has.

    A rate is a share of sums, not a mean over pairs. So the value of a pair with `part` of `whole` is
    `rate + (part - rate * whole) / mean`, where `mean` is that of `whole` over all pairs: their mean is the rate, and
    whoever draws pairs again sees the rate vary as a share of sums does, to first order (the linearised ratio; Cochran,
    Sampling Techniques, 1977, section 6.3). A pair about which nothing is claimed has the rate itself.
    """
    for way in ways:
        columns: dict[str, list[float]] = {}
        for name, rate in SCORED.items():
            counts = [[record["ways"][way]["counts"][count] for count in RATES[rate]] for record in records]
            total, num = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
            if num:
                share, mean = total / num, num / len(counts)
                columns[name] = [share + (part - share * whole) / mean for part, whole in counts]
        columns[_CLAIMS] = [float(record["ways"][way]["counts"]["claims"]) for record in records]
        for place, record in enumerate(records):
            named = {"set": way} if len(ways) > 1 else {}
            yield {**named, "query_id": record["pair_id"], **{name: of[place] for name, of in columns.items()}}
