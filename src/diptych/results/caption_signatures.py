"""What goes wrong with captions in a way that their numbers give away, in sentences; `signatures` is of retrieval.

What a number is held against stands beside it in the sentence: the reference captions (`reference/...`), where they
were scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from diptych.metrics.captions.cider import SIGMA

# What is as likely on the photo as the words of people has nothing wrong with it that CLIP sees. So "high" is what the
# references have themselves, for the same photos and by the same CLIP: an absolute bound would be one of a model.
_CLIP, _CLIP_OF_REFERENCES = "clip_score", "reference/clip_score"
# "Low" is what needs no model: CIDEr of the article's first sentences, and of the description of the photo that went
# into the prompt, as captions. Its values depend on the number of captions, so an absolute bound would mean nothing.
_NEEDS_NO_MODEL = {"article_lead": "the article's first sentences", "base_caption": "the descriptions of the photos"}
# The writers of the references invented nothing, but knew more than the article, and the checker errs: their own rate
# is what captions without inventions have.
_UNSUPPORTED, _UNSUPPORTED_OF_REFERENCES = "unsupported_entity_rate", "reference/unsupported_entity_rate"
# A quarter: as much as a target length lets a caption exceed it before it is cut (`HARD_STOP` of answer_text).
LENGTH_RATIO = 1.25


def caption_signatures(metrics: Mapping[str, float]) -> list[str]:
    """What the numbers of captions show: a picture described well and the event missed (CLIPScore high and CIDEr low),
    names that the evidence does not hold, captions much longer or shorter than the references. `metrics` are those of a
    metrics.json; nothing is said of what was not measured.
    """
    return [*_picture_without_event(metrics), *_inventions(metrics), *_wrong_length(metrics)]


def _picture_without_event(metrics: Mapping[str, float]) -> list[str]:
    cider, clip, people = (_value(metrics, name) for name in ("cider", _CLIP, _CLIP_OF_REFERENCES))
    beaten = {
        words: _value(metrics, f"{name}/cider")
        for name, words in _NEEDS_NO_MODEL.items()
        if _value(metrics, f"{name}/cider") >= cider
    }
    if not clip >= people or not beaten:
        return []
    others = " and ".join(f"{words} ({value:.3f})" for words, value in beaten.items())
    return [
        f"CLIPScore is high ({clip:.3f}; the reference captions {people:.3f}) and CIDEr low ({cider:.3f}; no worse: "
        f"{others}): the captions tell what can be seen, and not what the article says."
    ]


def _inventions(metrics: Mapping[str, float]) -> list[str]:
    rate, people = _value(metrics, _UNSUPPORTED), _value(metrics, _UNSUPPORTED_OF_REFERENCES)
    if not rate > (0.0 if math.isnan(people) else people):
        return []
    against = "" if math.isnan(people) else f", in the reference captions {100 * people:.1f} %"
    return [
        f"Of the names, dates and numbers in the captions {100 * rate:.1f} % are not in the evidence{against}: the "
        "model invents, or knows them from elsewhere."
    ]


def _wrong_length(metrics: Mapping[str, float]) -> list[str]:
    ratio, words, people = (_value(metrics, name) for name in ("length_ratio", "mean_words", "mean_reference_words"))
    if not (ratio > LENGTH_RATIO or ratio < 1 / LENGTH_RATIO):
        return []
    # CIDEr-D's factor for captions of other lengths (Vedantam et al., CVPR 2015, section 8).
    factor = math.exp(-((words - people) ** 2) / (2 * SIGMA**2))
    return [
        f"Captions are much {'longer' if ratio > 1 else 'shorter'} than the references ({words:.0f} words, the "
        f"references {people:.0f}): CIDEr-D multiplies the score of such a caption by {factor:.2g} for that alone."
    ]


def _value(metrics: Mapping[str, float], name: str) -> float:
    """NaN, which no comparison holds for, where it was not measured."""
    value = metrics.get(name)
    return math.nan if value is None else value
