"""What a blind review has found: rates of each way with intervals, preferences, and how far annotators agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from diptych.annotation.blind_marks import EQUAL, MISSES, PREFERENCE, SENTENCE, VERDICTS, BlindReview, Item
from diptych.annotation.rates import difference_table, differences_of, rate_cell, rates_of, text_table

RATES = {
    "sentences_right": ("right", "sentences"),
    "sentences_wrong": ("wrong", "sentences"),
    "sentences_hallucinated": ("hallucinated", "sentences"),
    "texts_that_miss_a_change": ("missed", "texts"),
}
_ABOUT = (SENTENCE, MISSES, PREFERENCE)
_NUM_RESAMPLES = 1000


def cohen_kappa(table: np.ndarray) -> float | None:
    """Agreement of two annotators beyond chance: (p_o - p_e) / (1 - p_e), with the share p_o of items that they mark
    alike, and the share p_e that they would if each marked at random as often as they do.

    `table` (K, K) counts items by the category of the first and of the second annotator. None where there is no item,
    or chance alone would agree on all.

    Source: Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20 (1960).
    """
    total = table.sum()
    if not total:
        return None
    observed = np.trace(table) / total
    expected = float((table.sum(0) * table.sum(1)).sum() / total**2)
    return None if expected >= 1 else float((observed - expected) / (1 - expected))


def sign_test(first: int, second: int) -> float:
    """The two-sided p-value of `first` against `second` choices if both were equally likely, ties left out (Dixon and
    Mood, The Statistical Sign Test, Journal of the American Statistical Association 41, 1946). 1 without any choice.
    """
    number = first + second
    tail = sum(math.comb(number, count) for count in range(min(first, second) + 1)) / 2**number
    return min(1.0, 2 * tail)


def blind_rates(review: BlindReview) -> dict[str, Any]:
    """`annotators` (by name how many of the items they marked), `ways` (by way `RATES` over all annotators, and
    `by_annotator`), `differences` of the second way from the first, `preferences`, `agreement` (by two annotators, and
    by what was asked: the share of equal marks, Cohen's kappa with its interval), and `disagreements`.

    What was not marked counts nowhere. Intervals draw pairs again, of images, with all that was marked about them.
    """
    counts = {name: _counts(review, [name]) for name in review.marks}
    pooled = _counts(review, list(review.marks))
    first, second = review.ways
    by_way = {
        way: {
            **rates_of(pooled[way], RATES),
            "by_annotator": {name: rates_of(of[way], RATES) for name, of in counts.items()},
        }
        for way in review.ways
    }
    return {
        "pairs": len(review.pair_ids),
        "items": len(review.items),
        "annotators": {name: len(marks) for name, marks in review.marks.items()},
        "ways": by_way,
        "differences": {"from": first, "ways": {second: differences_of(pooled[first], pooled[second], RATES)}},
        "preferences": _preferences(review),
        "agreement": [
            {"annotators": [one, other], **{about: _agreement(review, one, other, about) for about in _ABOUT}}
            for one, other in combinations(review.marks, 2)
        ],
        "disagreements": _disagreements(review),
    }


def _counts(review: BlindReview, annotators: Sequence[str]) -> dict[str, list[dict[str, int]]]:
    """By way, for each pair, what `RATES` divide, summed over these annotators."""
    names = sorted({name for pair in RATES.values() for name in pair})
    counts = {way: [dict.fromkeys(names, 0) for _ in review.pair_ids] for way in review.ways}
    for item in review.items:
        if item.way is None:
            continue
        of_pair = counts[item.way][item.place]
        for mark in (review.marks[name].get(item.name) for name in annotators):
            if mark is not None and item.about == SENTENCE:
                of_pair["sentences"] += 1
                of_pair[mark] += 1
            elif mark is not None:
                of_pair["texts"] += 1
                of_pair["missed"] += mark == "yes"
    return counts


def _preferences(review: BlindReview) -> dict[str, Any]:
    """By annotator and over all how often which way was better; a pair counts for the way that more of them prefer."""
    first, second = review.ways
    votes: dict[str, list[str]] = {}
    pairs: Counter[str] = Counter()
    for item in (item for item in review.items if item.about == PREFERENCE):
        marks = {name: marks[item.name] for name, marks in review.marks.items() if item.name in marks}
        for name, mark in marks.items():
            votes.setdefault(name, []).append(mark)
        lead = sum((mark == first) - (mark == second) for mark in marks.values())
        if marks:
            pairs[first if lead > 0 else second if lead < 0 else EQUAL] += 1
    of = {name: {way: found.count(way) for way in (first, second, EQUAL)} for name, found in votes.items()}
    overall = {way: pairs[way] for way in (first, second, EQUAL)}
    return {"by_annotator": of, "pairs": overall, "p": sign_test(pairs[first], pairs[second])}


def _agreement(review: BlindReview, one: str, other: str, about: str) -> dict[str, Any]:
    """Of the items that both have marked. The interval of kappa is the percentile bootstrap's over pairs of images."""
    values = [*VERDICTS] if about == SENTENCE else ["no", "yes"] if about == MISSES else [*review.ways, EQUAL]
    tables = np.zeros((len(review.pair_ids), len(values), len(values)))
    for item in review.items:
        marks = [review.marks[name].get(item.name) for name in (one, other)]
        if item.about == about and None not in marks:
            tables[item.place, values.index(str(marks[0])), values.index(str(marks[1]))] += 1
    whole = tables.sum(0)
    rng = np.random.default_rng(0)
    draws = (tables[rng.integers(len(tables), size=len(tables))].sum(0) for _ in range(_NUM_RESAMPLES))
    kappas = [kappa for kappa in map(cohen_kappa, draws) if kappa is not None]
    number, kappa = int(whole.sum()), cohen_kappa(whole)
    return {
        "items": number,
        "equal": float(np.trace(whole) / number) if number else None,
        "kappa": kappa,
        "interval": None if kappa is None else np.quantile(kappas, [0.025, 0.975]).tolist(),
    }


def _disagreements(review: BlindReview) -> list[dict[str, Any]]:
    found = []
    for item in review.items:
        marks = {name: marks[item.name] for name, marks in review.marks.items() if item.name in marks}
        if len(set(marks.values())) > 1:
            found.append(_disagreement(review, item, marks))
    return found


def _disagreement(review: BlindReview, item: Item, marks: Mapping[str, str]) -> dict[str, Any]:
    known = {"way": item.way, "sentence": item.sentence}
    about = {name: value for name, value in known.items() if value is not None}
    return {"pair_id": review.pair_ids[item.place], "item": item.name, "about": item.about, **about, "marks": marks}


def blind_tables(found: Mapping[str, Any]) -> str:
    """Rates, differences, preferences, agreement and the disagreements, for people to read."""
    of_annotators = (f"{name} marked {number:,} of {found['items']:,}" for name, number in found["annotators"].items())
    rates = [["in percent", *found["ways"]]]
    for name in ("", *found["annotators"]):
        for rate in RATES:
            entries = (way["by_annotator"][name][rate] if name else way[rate] for way in found["ways"].values())
            rates.append([f"{rate.replace('_', ' ')}{f', {name}' if name else ''}", *map(rate_cell, entries)])
    preferences = found["preferences"]
    pairs = ", ".join(f"{way} {number}" for way, number in preferences["pairs"].items())
    parts = [
        f"{found['pairs']:,} pairs; {'; '.join(of_annotators)}",
        text_table(rates),
        difference_table(found["differences"]["from"], found["differences"]["ways"], list(RATES)),
        f"better, by pairs: {pairs}; sign test p = {preferences['p']:.4f}",
        *(_agreement_table(entry) for entry in found["agreement"]),
        *([_disagreement_lines(found["disagreements"])] if found["disagreements"] else []),
    ]
    return "\n\n".join(parts)


def _agreement_table(entry: Mapping[str, Any]) -> str:
    rows = [[" and ".join(entry["annotators"]), "marked by both", "alike", "Cohen's kappa"]]
    for about in _ABOUT:
        of = entry[about]
        alike = "none" if of["equal"] is None else f"{100 * of['equal']:.1f} %"
        kappa = (
            "none" if of["kappa"] is None else f"{of['kappa']:.2f} [{of['interval'][0]:.2f}, {of['interval'][1]:.2f}]"
        )
        rows.append([about, f"{of['items']:,}", alike, kappa])
    return text_table(rows)


def _disagreement_lines(disagreements: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{len(disagreements):,} disagreements:"]
    for one in disagreements:
        marks = ", ".join(f"{name} {mark}" for name, mark in one["marks"].items())
        lines.append(f"  {one['pair_id']} ({one.get('way', 'both')}) {one.get('sentence', one['about'])}: {marks}")
    return "\n".join(lines)
