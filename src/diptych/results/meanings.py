"""What the numbers of a metrics.json mean: asked of the file, where its metrics said so when they were measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diptych.contracts.retrieval import BASELINES, MetricMeaning

_FRACTION, _SCORE = MetricMeaning("fraction"), MetricMeaning("score")
_WORDS = MetricMeaning("count", better=None)

# The names that Diptych itself writes, for the files of versions that did not say what they mean; and for what only a
# training logs. A metric of one's own is not entered here: it says what it means with its values.
_KNOWN: tuple[tuple[str, MetricMeaning], ...] = (
    (r"\w+_at_\d+|average|average_precision", _FRACTION),
    (r"median_rank\w*", MetricMeaning("count", "lower", "median")),
    (r"entity_(precision|recall|f1)|(evidence|article|fact)_recall", _FRACTION),
    (r"unsupported_entity_rate|empty_caption_share|clip_score_cut_share", MetricMeaning("fraction", "lower")),
    (r"empty_captions", MetricMeaning("count", "lower")),
    (r"(mean|median|mean_reference)_words|claims_per_caption|clip_score_windows", _WORDS),
    (r"length_ratio", MetricMeaning("score", better=None)),
    (r"cider|bleu_\d+|rouge_l|meteor(_[a-z_]+)?|overall|(ref_)?clip_score|clip_score_windowed", _SCORE),
    (r"loss|perplexity", MetricMeaning("score", "lower")),
)


def known_meaning(name: str) -> MetricMeaning | None:
    """How a metric of Diptych's own is to be read, by its plain name; None for another name."""
    return next((meaning for pattern, meaning in _KNOWN if re.fullmatch(pattern, name)), None)


def stored_meaning(meaning: MetricMeaning) -> dict[str, Any]:
    """As metrics.json has it under `about`; the reduction only where it is not the mean."""
    plain = {"unit": meaning.unit, "better": meaning.better}
    return plain if meaning.reduction == "mean" else {**plain, "reduction": meaning.reduction}


class Meanings:
    """How the metrics of one metrics.json are to be read.

    A key is `[<set>/][<baseline>/]<metric>[/<aspect>]`; captions of another kind than the model's (`base_caption`)
    stand where the baseline would.
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        self._about = {name: MetricMeaning(**meaning) for name, meaning in (result.get("about") or {}).items()}
        self._plain = {key for key in result["metrics"] if "/" not in key}
        self._of_captions = "protocol" not in result

    def split(self, key: str) -> tuple[str | None, str | None, str, str | None]:
        """Set, baseline, metric and aspect of a key.

        Raises:
            ValueError: it is not of this form.
        """
        parts = key.split("/")
        position = next((number for number in range(min(3, len(parts))) if self._is_metric(parts[: number + 1])), None)
        if position is None:  # of an earlier version, and under no plain name: captions have no aspects
            position = len(parts) - 1 if self._of_captions else int(len(parts) > 1 and parts[0] in BASELINES)
        before, metric, aspect = parts[:position], parts[position], "/".join(parts[position + 1 :])
        if not metric or (len(parts) > position + 1 and not aspect):
            raise ValueError(f"metric {key!r} is not of the form [<set>/][<baseline>/]<metric>[/<aspect>]")
        baseline = before.pop() if before and (self._of_captions or before[-1] in BASELINES) else None
        return "/".join(before) or None, baseline, metric, aspect or None

    def of(self, key: str) -> MetricMeaning:
        """How the number under a key is to be read: as the file says, as the name is known, or, by default, as a
        fraction of retrieval or a score of captions, of which more is better.
        """
        name = self.split(key.removeprefix("val/"))[2]
        return self._about.get(name) or known_meaning(name) or (_SCORE if self._of_captions else _FRACTION)

    def _is_metric(self, parts: list[str]) -> bool:
        """Whether the last part names a metric, and what stands before it a set and a baseline."""
        *before, name = parts
        known = name in self._about or name in self._plain or (not self._about and known_meaning(name) is not None)
        return known and (len(before) < 2 or before[1] in BASELINES)
