"""What stands behind a set of triplets, as Markdown: model, prompts, counts by stage and reason, how varied the texts
are, cost, audit, examples.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diptych.annotation.audit import planted_line
from diptych.annotation.audit_breakdown import HEADINGS, breakdown_rows
from diptych.annotation.cost import Prices
from diptych.annotation.descriptor_consistency import descriptor_rows
from diptych.annotation.diversity import diversity_rows, text_diversity
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.ways_table import ways_rows
from diptych.config.override_words import in_shell, override
from diptych.contracts.models import Preprocessing
from diptych.report.rendering import write_page
from diptych.storage.json_files import as_written, read_json
from diptych.storage.json_shapes import Count, Finite, Shape
from diptych.storage.key import key_of
from diptych.storage.record_log import RecordLog

CARD = "DATA_CARD.md"
_NUM_EXAMPLES = 5
_ADVICE = "run the pipeline again"
_MANIFEST = {"settings?": dict, "done?": Count, "failed?": {str: Count}}
_TRIPLET = {"reference_image": str, "target_image": str, "modification_texts": [str]}
_RATE = {"rate": (Finite, None), "interval": ([Finite], None), "of": Count}
_SUMMARY = {
    **dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), Count),
    "not_exported": {str: Count},
    "dropped_texts": {str: Count},
    "reviews": {"decisions": Count},
}


def write_data_card(out: Path, prices: Prices, preprocessing: Preprocessing | None = None) -> Path:
    """Writes `out/DATA_CARD.md` from what annotate_triplets left in `out`, and returns its path.

    The same run gives the same bytes. Of a model without a price only the tokens are given. With `preprocessing` the
    texts' lengths are given in its tokens, too.

    Raises:
        ValueError: the set is not exported yet, or a file is damaged; names it.
    """
    summary = read_json(out / "summary.json", _ADVICE, missing_ok=True, shape=_SUMMARY)
    if summary is None:
        words = in_shell("pipeline=annotate_triplets", override("out", out))
        raise ValueError(f"{out / 'summary.json'} is not there: run {words} to its end")
    stages = [path for path in sorted((out / "work").glob("*/manifest.json")) if "." not in path.parent.name]
    manifests = {path.parent.name: read_json(path, _ADVICE, shape=_MANIFEST) for path in stages}  # none set aside
    path = out / CARD
    write_page(
        path,
        "data_card.md.jinja",
        name=out.name,
        summary=summary,
        models=_models(manifests),
        counts=_counts(manifests),
        diversity=_diversity(_triplets(out), preprocessing),
        cost=_cost(out / "ledger.sqlite", prices),
        audits=_of_stages(out, "audit.json", {"pairs": Count, "ways": {str: {str: _RATE}}}, _audit),
        comparisons=_of_stages(out, "ways.json", {"ways": {str: dict}}, _ways),
        agreements=_of_stages(out, "agreement.json", {"model": str, "sentences": Count}, _agreement),
        examples=_examples(_triplets(out)),
    )
    return path


def _of_stages(
    out: Path, name: str, shape: Shape, shown: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """What the card shows of the stages' files of this name and shape."""
    found = []
    for path in sorted((out / "work").glob(f"*/{name}")):
        with as_written(path, _ADVICE):
            found.append(shown(read_json(path, _ADVICE, shape=shape)))
    return found


def _models(manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Of each stage that asks: its model, the fingerprint of its prompt, and the domain."""
    rows: list[tuple[str, ...]] = []
    for name, manifest in manifests.items():
        settings = manifest.get("settings") or {}
        task = settings.get("task", settings)  # in manifests of version 0.1 the task's settings lie with the others
        if isinstance(task, dict) and "prompt" in task:
            asking = settings.get("asking")
            model = asking.get("model", "") if isinstance(asking, dict) else ""
            rows.append((name, str(model), key_of(task["prompt"]), str(task.get("domain", ""))))
    return rows


def _counts(manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """How many records of each stage are done, and how many failed for which reason."""
    rows = []
    for name, manifest in manifests.items():
        done = "not finished" if manifest.get("done") is None else f"{manifest['done']:,}"
        failed = manifest.get("failed") or {}
        rows.append((name, done, ", ".join(f"{why} {count:,}" for why, count in failed.items())))
    return rows


def _cost(path: Path, prices: Prices) -> dict[str, Any] | None:
    """Tokens and USD by stage, and in all where every stage has a price."""
    if not path.exists():
        return None
    rows, total, unpriced = [], 0.0, []
    with Ledger(path) as ledger:
        for stage in ledger.counts():
            usage = ledger.usage(stage)
            try:
                cost = prices.cost_usd(ledger.spent(stage))
                total += cost
                words = f"{cost:,.2f}"
            except ValueError:
                words = "no price"
                unpriced.append(stage)
            rows.append((stage, *(f"{usage[name]:,}" for name in ("requests", "input_tokens", "output_tokens")), words))
    return {"rows": rows, "total": total, "unpriced": unpriced}


def _diversity(path: Path, preprocessing: Preprocessing | None) -> list[list[str]]:
    texts = [record["modification_texts"] for record in RecordLog(path).read(_TRIPLET).values()]
    return diversity_rows({"": text_diversity(texts, preprocessing=preprocessing)}) if any(texts) else []


def _audit(audit: Mapping[str, Any]) -> dict[str, Any]:
    """A row for each rate, a column for each way of annotating; the same for each breakdown that there is."""
    names = list(audit["ways"])
    rows = [
        (rate.replace("_", " "), *(_share(audit["ways"][name][rate]) for name in names))
        for rate in audit["ways"][names[0]]
    ]
    parts = [
        [(heading, *map(_share, entries)) for heading, entries in breakdown_rows(audit, name)]
        for name in HEADINGS
        if name in audit
    ]
    described = audit.get("descriptors", {})
    descriptors = [(heading, *map(_share, entries)) for heading, entries in descriptor_rows(described)]
    return {
        "pairs": audit["pairs"],
        "columns": ["", *names],
        "rows": rows,
        "parts": parts,
        "described": ["", *described],
        "descriptors": descriptors if described else [],
        **_planted(audit),
    }


def _ways(content: Mapping[str, Any]) -> dict[str, Any]:
    """Quality, diversity and cost, a column for each way of annotating."""
    rows = ways_rows(content) if content["ways"] else []
    return {"columns": ["", *content["ways"]], "rows": rows, **_planted(content)}


def _planted(content: Mapping[str, Any]) -> dict[str, str]:
    return {"planted": planted_line(content["planted"]) if content.get("planted") else ""}


def _agreement(found: Mapping[str, Any]) -> dict[str, str]:
    share = _share({"rate": found["share"], "interval": found["interval"], "of": found["sentences"]})
    return {"model": found["model"], "share": share}


def _share(entry: Mapping[str, Any]) -> str:
    if entry["rate"] is None:
        return "none"
    low, high = entry["interval"]
    return f"{100 * entry['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {entry['of']:,}"


def _triplets(out: Path) -> Path:
    """The file of triplets; of sets in another layout the records of the export, which have the same form."""
    path = out / "train.jsonl"
    return path if path.exists() else out / "work/export/records.jsonl"


def _examples(path: Path) -> list[dict[str, Any]]:
    """A few of the triplets, spread over the file."""
    records = [record for record in RecordLog(path).read(_TRIPLET).values() if record["modification_texts"]]
    return records[:: max(1, len(records) // _NUM_EXAMPLES)][:_NUM_EXAMPLES]


if __name__ == "__main__":
    # Prices come from the configuration, which no report reads: the command's old name leads to its room.
    runpy.run_module("diptych.commands.data_card", run_name="__main__")
