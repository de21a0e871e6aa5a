"""Verdicts, each with a sentence that can be read without its table."""

from __future__ import annotations

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import format_difference, format_value, label
from diptych.studying.hypotheses import ALPHA, REFUTED, SUPPORTED, UNDECIDED, Comparison, Hypothesis, Verdict

_ROUNDED = 1e-9
_ASKED = {
    "higher": "at least {} more was asked",
    "lower": "at least {} less was asked",
    "same": "a difference within {} was asked",
    "not_lower": "a loss below {} was asked",
    "not_higher": "a rise below {} was asked",
}


def verdict_on(hypothesis: Hypothesis, comparison: Comparison | None, reason: str, meaning: MetricMeaning) -> Verdict:
    """The verdict that a comparison gives; undecided for the `reason` where there is none.

    `higher`: supported where the adjusted p is below .05 and the difference is `least` or more, refuted where the whole
    interval is below `least`. `same`: supported where the interval lies within `least` on both sides, refuted where it
    lies outside. `not_lower`: supported where the interval lies above -`least`, refuted where it lies below. `lower`
    and `not_higher` are `higher` and `not_lower` with the sign turned.
    """
    head = f"{hypothesis.arm} against {hypothesis.control}: {label(hypothesis.metric, meaning)}"
    if comparison is None:
        return Verdict(hypothesis, None, UNDECIDED, f"{head}: {UNDECIDED}, since {reason}")
    means = f"{format_value(meaning, comparison.control_mean)} -> {format_value(meaning, comparison.arm_mean)}"
    found = f"{head} {means}, {format_difference(meaning, comparison.difference)}"
    if comparison.interval is None or comparison.adjusted_p is None or comparison.smallest_seen is None:
        seeds = "one seed was run" if comparison.num_seeds == 1 else "all seeds gave the same"
        return Verdict(
            hypothesis, comparison, UNDECIDED, f"{found}: {UNDECIDED}, since there are no values per query and {seeds}"
        )
    least = hypothesis.least * (abs(comparison.control_mean) if hypothesis.relative else 1.0)
    if hypothesis.relative and comparison.control_mean == 0:
        why = "least is a part of the control's mean, which is 0"
        return Verdict(hypothesis, comparison, UNDECIDED, f"{found}: {UNDECIDED}, since {why}")
    word = _word(hypothesis.direction, comparison.difference, comparison.interval, comparison.adjusted_p, least)
    low, high = (format_difference(meaning, bound) for bound in comparison.interval)
    p = comparison.adjusted_p
    because = _ASKED[hypothesis.direction].format(format_value(meaning, least))
    if word == UNDECIDED:
        because += f"; {format_value(meaning, comparison.smallest_seen)} is the smallest difference that could be seen"
    if comparison.num_seeds == 1:
        because += "; over queries only, seeds were not varied"
    elif comparison.num_queries == 0:
        because += "; over seeds only"
    shown_p = f"adjusted p {p:.3f}" if p >= 0.001 else "adjusted p < 0.001"
    return Verdict(hypothesis, comparison, word, f"{found} [{low}, {high}], {shown_p}: {word} ({because})")


def _word(direction: str, difference: float, interval: tuple[float, float], adjusted_p: float, least: float) -> str:
    low, high = interval
    if direction in ("lower", "not_higher"):
        difference, low, high = -difference, -high, -low
    if direction in ("higher", "lower"):
        supported = adjusted_p < ALPHA and difference >= least - _ROUNDED and difference > 0
        refuted = high < least
    elif direction == "same":
        supported = -least < low and high < least
        refuted = high < -least or low > least
    else:
        supported, refuted = low > -least, high < -least
    return SUPPORTED if supported else REFUTED if refuted else UNDECIDED
