"""What stands behind a set of triplets, as Markdown: model, prompts, counts by stage and reason, cost, examples.

python -m diptych.report.data_card my_triplets
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.config.folder import CONFIG_FOLDER
from diptych.storage.record_log import RecordLog, write_file

CARD = "DATA_CARD.md"
_NUM_EXAMPLES = 5


def write_data_card(out: Path, prices: Prices) -> Path:
    """Writes `out/DATA_CARD.md` from what annotate_triplets left in `out`, and returns its path.

    The same run gives the same bytes. Of a model without a price only the tokens are given.

    Raises:
        ValueError: the set is not exported yet, or a file is damaged; names it.
    """
    summary = _read_json(out / "summary.json")
    if summary is None:
        raise ValueError(f"{out / 'summary.json'} is not there: run pipeline=annotate_triplets out={out} to its end")
    manifests = {path.parent.name: _read_json(path) or {} for path in sorted((out / "work").glob("*/manifest.json"))}
    manifests = {name: content for name, content in manifests.items() if "." not in name}  # not those set aside
    parts = [
        f"# Triplets in `{out.name}`",
        f"{summary['triplets']:,} triplets with {summary['texts']:,} texts over {summary['images']:,} images, from"
        f" {summary['pairs']:,} pairs (and {summary['duplicate_pairs']:,} duplicates that were left out).",
        "The texts were written by a model, and not all of them hold; see the audit, if one was made.",
        _models(manifests),
        _stages(manifests, summary),
        _cost(out / "ledger.sqlite", prices),
        _quality(out / "work"),
        _examples(out / "train.jsonl"),
    ]
    path = out / CARD
    write_file(path, ("\n\n".join(part for part in parts if part) + "\n").encode())
    return path


def _models(manifests: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, manifest in manifests.items():
        settings = manifest.get("settings", {})
        if "prompt" in settings:
            prompt = json.dumps(settings["prompt"], sort_keys=True).encode()
            model, domain = settings.get("asking", {}).get("model", ""), settings.get("domain", "")
            rows.append([name, model, hashlib.sha256(prompt).hexdigest()[:16], domain])
    return _section("Models and prompts", ["stage", "model", "prompt (SHA-256)", "domain"], rows)


def _stages(manifests: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{content['done']:,}" if "done" in content else "not finished", _reasons(content.get("failed", {}))]
        for name, content in manifests.items()
    ]
    lines = [
        f"Pairs that were not exported: {_reasons(summary['not_exported']) or 'none'}.",
        f"Texts that were dropped: {_reasons(summary['dropped_texts']) or 'none'}.",
        f"Decisions of a review: {summary['reviews']['decisions']:,}.",
    ]
    return _section("Counts", ["stage", "done", "failed"], rows) + "\n\n" + "\n".join(f"- {line}" for line in lines)


def _cost(path: Path, prices: Prices) -> str:
    if not path.exists():
        return ""
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
            rows.append([stage, *(f"{usage[name]:,}" for name in ("requests", "input_tokens", "output_tokens")), words])
    table = _section("Cost", ["stage", "requests", "input tokens", "output tokens", "USD"], rows)
    if unpriced:
        return f"{table}\n\nWhat it cost in all is not known: the configuration has no price for {', '.join(unpriced)}."
    return f"{table}\n\nIn all {total:,.2f} USD, by the prices in the configuration."


def _quality(work: Path) -> str:
    parts = []
    for path in sorted(work.glob("*/audit.json")):
        audit = _read_json(path) or {}
        names = list(audit["ways"])
        rates = [
            [rate.replace("_", " "), *(_share(audit["ways"][name][rate]) for name in names)]
            for rate in audit["ways"][names[0]]
        ]
        parts.append(_section(f"Audit of {audit['pairs']:,} pairs with known scenes", ["", *names], rates))
    for path in sorted(work.glob("*/agreement.json")):
        found = _read_json(path) or {}
        share = _share({"rate": found["share"], "interval": found["interval"], "of": found["sentences"]})
        parts.append(f"## Verification\n\nA second model, {found['model']}, holds true: {share} sentences.")
    return "\n\n".join(parts)


def _share(entry: Mapping[str, Any]) -> str:
    if entry["rate"] is None:
        return "none"
    low, high = entry["interval"]
    return f"{100 * entry['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {entry['of']:,}"


def _examples(path: Path) -> str:
    records = list(RecordLog(path).read().values())
    chosen = records[:: max(1, len(records) // _NUM_EXAMPLES)][:_NUM_EXAMPLES]
    lines = [
        f"- `{record['reference_image']}` to `{record['target_image']}`: {record['modification_texts'][0]}"
        for record in chosen
    ]
    return "## Examples\n\n" + "\n".join(lines) if lines else ""


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def _section(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [list(columns), ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return f"## {heading}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); run the pipeline again") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the data card of a set that annotate_triplets made.")
    parser.add_argument("out", type=Path, help="the folder of the set")
    parser.add_argument("--prices", type=Path, default=CONFIG_FOLDER / "prices.yaml", help="table of prices")
    options = parser.parse_args(arguments)
    try:
        prices = Prices(yaml.safe_load(options.prices.read_text(encoding="utf-8"))["models"])
        print(write_data_card(options.out, prices))  # noqa: T201
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
