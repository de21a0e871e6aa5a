"""The section on GPUs of docs/measured.md, out of what `benchmarks/gpu.py` wrote.

`python benchmarks/gpu_page.py runs/bench_gpu/gpu.json` writes it anew; without a file the page says that nothing was
measured on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_parts.bench import HELD, shown

PAGE = Path(__file__).resolve().parents[1] / "docs/measured.md"
START, END = "<!-- gpu.json: start -->", "<!-- gpu.json: end -->"
NOTHING = (
    "Nothing was measured on a GPU yet. `make bench-gpu` does it, on one card in eight minutes; see [gpus.md](gpus.md)."
)
TITLES = {
    "ceilings": "What the card reaches at best",
    "right": "Right",
    "resume": "Resuming",
    "cir": "Training step of retrieval, ViT-B/32, 224 pixels, bf16",
    "input": "How pictures come to the model",
    "fuser": "Training step of the fuser, Qwen3-8B's sizes, rank 256",
    "generation": "Captions token by token, prompts of 3,000 tokens",
    "evaluation": "Embedding and ranking",
    "group": "A group of one process",
}


def section(found: Mapping[str, Any] | None) -> str:
    """The section's Markdown, of the content of gpu.json.

    Raises:
        ValueError: it is of a rehearsal or of tiny sizes, which measure nothing.
    """
    if found is None:
        return NOTHING
    if found["rehearsal"] or found["tiny"]:
        raise ValueError(
            "gpu.json is of a rehearsal, or of tiny sizes: run benchmarks/gpu.py without --rehearse and --tiny"
        )
    lines = [*(f"- {line}" for line in found["machine"]), ""]
    if found["failed"]:
        lines += ["**Lines that must hold and did not:**", "", *(f"- {line}" for line in found["failed"]), ""]
    for part in found["parts"]:
        lines += [f"### {TITLES[part['name']]}", "", *_part(part)]
    return "\n".join(lines).rstrip()


def _part(part: Mapping[str, Any]) -> list[str]:
    lines = [] if part["status"] == "done" else [f"{part['status']}.", ""]
    if part["rows"]:
        lines += [*_table(part["rows"]), ""]
    if part["checks"]:
        rows = [
            {"must hold": one["name"], "found": one["value"], "at most": one["limit"], "": _verdict(one)}
            for one in part["checks"]
        ]
        lines += [*_table(rows), ""]
    told = [*part["notes"], *(f"missing: {what}" for what in part["missing"])]
    return lines + ([*(f"- {line}" for line in told), ""] if told else [])


def _verdict(check: Mapping[str, Any]) -> str:
    return check["status"] if check["status"] == HELD else f"**{check['status']}** {check['why']}".rstrip()


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([shown(row.get(name)) for name in names] for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines]


def renewed(page: str, found: Mapping[str, Any] | None) -> str:
    """The page with its section made anew.

    Raises:
        ValueError: the page lacks the two marks, or as `section`.
    """
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have the lines {START} and {END} once")
    before, after = page.split(START)[0], page.split(END)[1]
    return f"{before}{START}\n{section(found)}\n{END}{after}"


def main() -> None:
    """Writes the section into docs/measured.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="gpu.json; without it nothing was measured")
    options = parser.parse_args()
    found = None if options.file is None else json.loads(options.file.read_text())
    PAGE.write_text(renewed(PAGE.read_text(), found))
    print(f"{PAGE.name}: {'nothing measured' if found is None else options.file}")


if __name__ == "__main__":
    main()
