"""What goes wrong with retrieval in a way that its numbers give away: found in the record, and said in words.

A signature is no verdict: it says where to look first. All thresholds stand here, each with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Right answers near the top, but not on it. Published systems that rank well have a recall at 1 of about half that at
# 10 (CIRR's test server: CLIP4CIR 38.5 and 81.9, Baldrati et al. 2022); answers in random order among the first ten
# have a tenth. Below a third the order, not the search, is what loses.
FIRST_OF_TEN = 1 / 3
# Below which recall at 10 is too low to speak of answers that are found and only ordered wrongly.
FOUND_AMONG_TEN = 0.5
# A reference that stays in the ranking can take the first place only from the answer. Texts that are followed push it
# down; where it leads for a quarter of the queries, much of what recall at 1 lacks is lost to it.
REFERENCE_FIRST = 0.25
# Verification moves nothing up without confidence, so that nothing should get worse: more than one in a hundred does
# not come from a chance resemblance.
MOVED_DOWN = 0.01
# From here on what is called the verified order is for the most part that of the embeddings.
FELL_BACK = 0.5
# A picture that is missing here and there is the data's; one pair in a hundred changes the numbers.
UNREADABLE = 0.01
# Encoders that agree on the first article of nine in ten queries bring the ensemble one ranking at twice the cost.
SAME_FIRST = 0.9
# What is said of a difference in recall is said from one point on, and of two queries at least: less is noise.
POINT, QUERIES = 0.01, 2
# An answer that one encoder has among its first ten should be among the ensemble's; five points are one in twenty lost.
LOST_IN_FUSION = 0.05

_USELESS = {
    "image_only": "the reference image alone does as well, so the text hardly counts",
    "text_only": "the text alone does as well, so the reference image hardly counts",
    "sum": "the sum of both embeddings does as well, so the composer has learned nothing beyond it",
}


def retrieval_signatures(record: Mapping[str, Any]) -> list[str]:
    """Of composed image retrieval: what the content of an evaluation's metrics.json gives away, a sentence each.

    With several evaluation sets it speaks of their means. Empty where answers are hidden.
    """
    metrics, found = record["metrics"], list[str]()
    if left_out := (record.get("protocol") or {}).get("left_out"):
        found.append(f"Left out, as the data has too few images for its K: {', '.join(left_out)}.")
    if (record.get("counts") or {}).get("lists_with_an_answer") == 0:
        found.append("No list holds any accepted answer: are its ids those of this data?")
    first, ten = metrics.get("recall_at_1"), metrics.get("recall_at_10")
    if first is not None and ten is not None:
        found += _ordered_wrongly("the target", first, ten)
    leading, scored = (record.get("counts") or {}).get("reference_first"), record["queries"]["scored"]
    if leading is not None and leading >= max(QUERIES, REFERENCE_FIRST * scored):
        found.append(
            f"The reference image itself comes first for {_share(leading, scored)}: the model hardly follows the"
            " text, or it was not trained with references as negatives."
        )
    primary = (record.get("protocol") or {}).get("primary_metric", "recall_at_1")
    value = metrics.get(primary)
    interval = (record.get("intervals") or {}).get(primary)
    if value is None:
        return found
    least = value if interval is None or None in interval else interval[0]
    for name, meaning in _USELESS.items():
        other = metrics.get(f"{name}/{primary}")
        if other is not None and other >= least and other > 0:  # where both find nothing there is nothing to tell
            found.append(f"{primary} is {_percent(value)}, and {_percent(other)} with {name}: {meaning}.")
    return found


def said_of_few_articles(left_out: Sequence[str]) -> str:
    """Which metrics of articles are not there, and why."""
    return f"Left out, as there are too few articles for its K: {', '.join(left_out)}."


def article_signatures(record: Mapping[str, Any]) -> list[str]:
    """Of the retrieval of articles by photo: what metrics.json of the stage `compare_rankings` gives away, likewise."""
    metrics, num_answered = record["metrics"], record["answered"]
    found = [said_of_few_articles(record["left_out"])] if record.get("left_out") else []
    found += _of_verification(record["verification"], num_answered) if record["verification"] else []
    last = metrics.get("verified") or {}
    if "recall_at_1" in last and "recall_at_10" in last:
        found += _ordered_wrongly("the right article", last["recall_at_1"], last["recall_at_10"])
    for pair, values in record["overlap"].items():
        same = values.get("overlap_at_1")
        if same is not None and same >= SAME_FIRST:
            found.append(
                f"{pair} have the same first article for {_percent(same)} of the queries: one hardly adds to the other."
            )
    return found + list(_of_fusion(metrics, record["encoders"], num_answered))


def _of_verification(counts: Mapping[str, Any], num_answered: int) -> Iterator[str]:
    orders, queries = counts["orders"], counts["queries"]
    down, lost = orders.get("worse", 0), counts.get("first_lost", 0)
    if num_answered and down > MOVED_DOWN * num_answered:
        yield (
            f"Verification moved {down:,} right answers down, {lost:,} of them from the first place, and"
            f" {orders.get('better', 0):,} up: raise policy.min_confidence or policy.min_inliers."
        )
    fell_back = counts.get("fell_back")
    if fell_back is not None and queries and fell_back >= FELL_BACK * queries:
        yield (
            f"Verification fell back to the order of the embeddings for {_share(fell_back, queries)}: it found too"
            " little to go by (abstract or heavily cropped photos, or thresholds that are too high)."
        )
    pairs, unreadable = sum(counts["outcomes"].values()), counts["outcomes"].get("unreadable", 0)
    if unreadable > UNREADABLE * pairs:
        yield f"{_share(unreadable, pairs, 'pairs')} could not be compared: one of the pictures is missing or damaged."


def _of_fusion(metrics: Mapping[str, Mapping[str, float]], encoders: Sequence[str], num_answered: int) -> Iterator[str]:
    if "ensemble" not in metrics or len(encoders) < 2:
        return
    least = max(POINT, QUERIES / num_answered)
    own = metrics["ensemble"]
    if "recall_at_1" in own:
        for name in encoders:
            other = metrics[f"without {name}"]["recall_at_1"]
            if _at_least(other - own["recall_at_1"], least):
                yield _better("The ensemble", f"without {name}", own["recall_at_1"], other)
        best = max(encoders, key=lambda name: metrics[name]["recall_at_1"])
        other = metrics[best]["recall_at_1"]
        if _at_least(other - own["recall_at_1"], least):
            yield _better("The ensemble", f"that {best} has alone", own["recall_at_1"], other)
    key = "recall_at_10"
    if key in own and _at_least(metrics["union"][key] - own[key], max(LOST_IN_FUSION, least)):
        yield (
            f"Some encoder has the right article among its first ten for {_percent(metrics['union'][key])} of the"
            f" queries, the ensemble for {_percent(own[key])}: fusion loses the rest."
        )


def _better(subject: str, how: str, own: float, other: float) -> str:
    return f"{subject} has a recall at 1 of {_percent(own)}, below the {_percent(other)} {how}."


def _at_least(difference: float, least: float) -> bool:
    return difference >= least - 1e-9  # the difference of two shares, neither of them exact


def _ordered_wrongly(answer: str, first: float, ten: float) -> list[str]:
    if ten < FOUND_AMONG_TEN or first >= FIRST_OF_TEN * ten:
        return []
    return [
        f"{answer.capitalize()} is among the first ten for {_percent(ten)} of the queries, and first for"
        f" {_percent(first)} only: it is found, and ordered wrongly."
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _share(part: int, whole: int, name: str = "queries") -> str:
    return f"{part:,} of {whole:,} {name} ({_percent(part / whole)})"
