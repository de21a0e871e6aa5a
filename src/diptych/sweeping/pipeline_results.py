"""What a pipeline has measured, in the form of an evaluation, out of the files that its stages left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.results.record import METRICS
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count

AUDIT = "audit_triplets/audit.json"  # in the folder of a pipeline that audits annotations
AGREEMENT = "work/verify_sentences/agreement.json"  # of one whose second model judges them
_WAYS = "compare_ways/ways.json"  # of one that says how varied they are


def result_of_pipeline(folder: Path) -> dict[str, Any] | None:
    """What the stages of a pipeline left in their folders: the captions' evaluation, else how well articles were found,
    else how true annotations are, or how varied, in the form of an evaluation; None where nothing was measured.
    """
    captions = read_json(folder / "caption" / METRICS, missing_ok=True)
    shape = {"split": str, "queries": Count, "metrics": {"articles": {str: (float, None)}, str: {str: (float, None)}}}
    found = read_json(folder / "articles" / METRICS, missing_ok=True, shape=shape)
    if captions is not None:
        return captions
    if found is None:
        return _of_audit(folder) or _of_agreement(folder) or _of_ways(folder)
    values = {f"{name}/{key}": value for name, of in found["metrics"].items() for key, value in of.items()}
    values |= {key: values.pop(f"articles/{key}") for key in found["metrics"]["articles"]}
    queries = {"scored": found["queries"], "expected": found["queries"]}
    data = found.get("data", "articles")
    return {"data": data, "split": found["split"], "queries": queries, "lines": {}, "metrics": values}


def _of_audit(folder: Path) -> dict[str, Any] | None:
    """The rates of an audit of annotations, those of each way behind its name, in the form of an evaluation."""
    shape = {"pairs": Count, "not_audited": Count, "ways": {str: {str: {"rate": (float, None)}}}}
    found = read_json(folder / AUDIT, missing_ok=True, shape=shape)
    if found is None:
        return None
    values = {f"{way}/{name}": one["rate"] for way, rates in found["ways"].items() for name, one in rates.items()}
    about = {key.split("/")[-1]: {"unit": "fraction", "better": "lower"} for key in values}
    about |= {"sentences_right": {"unit": "fraction", "better": "higher"}}
    queries = {"scored": found["pairs"], "expected": found["pairs"] + found["not_audited"]}
    return {"data": "pairs", "split": "audited", "queries": queries, "lines": {}, "metrics": values, "about": about}


def _of_agreement(folder: Path) -> dict[str, Any] | None:
    """What a second model says of annotations: `sentences_refused`, the share that does not hold, as an evaluation."""
    shape = {"sentences": Count, "unverified": Count, "share": (float, None)}
    found = read_json(folder / AGREEMENT, missing_ok=True, shape=shape)
    if found is None or found["share"] is None:
        return None
    about = {"sentences_refused": {"unit": "fraction", "better": "lower"}}
    queries = {"scored": found["sentences"], "expected": found["sentences"] + found["unverified"]}
    values = {"sentences_refused": 1 - found["share"]}
    return {"data": "pairs", "split": "verified", "queries": queries, "lines": {}, "metrics": values, "about": about}


def _of_ways(folder: Path) -> dict[str, Any] | None:
    """How varied the sentences of each way are, and what a pair cost, behind its name, in the form of an evaluation."""
    number = (float, None)
    diversity = {"distinct_1": number, "distinct_2": number, "self_bleu_4": number, "words": {"mean": float}}
    cost = ({"per_triplet": {"usd": number}}, None)
    shape = {"ways": {str: {"pairs": Count, "common_pairs": Count, "diversity": diversity, "cost": cost}}}
    found = read_json(folder / _WAYS, missing_ok=True, shape=shape)
    if not found or not found["ways"]:
        return None
    values: dict[str, float | None] = {}
    for way, one in found["ways"].items():
        of = one["diversity"]
        values |= {f"{way}/{name}": of[name] for name in ("distinct_1", "distinct_2", "self_bleu_4")}
        values |= {f"{way}/mean_words": of["words"]["mean"]}
        values |= {f"{way}/usd": one["cost"] and one["cost"]["per_triplet"]["usd"]}
    better = {"distinct_1": "higher", "distinct_2": "higher", "self_bleu_4": "lower", "usd": "lower"}
    about: dict[str, dict[str, str | None]] = {name: {"unit": "score", "better": of} for name, of in better.items()}
    about |= {"mean_words": {"unit": "score", "better": None}}
    scored = {"scored": one["common_pairs"], "expected": one["pairs"]}
    return {"data": "pairs", "split": "sentences", "queries": scored, "lines": {}, "metrics": values, "about": about}
