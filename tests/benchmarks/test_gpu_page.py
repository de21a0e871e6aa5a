"""The section of docs/measured.md that is made of `gpu.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "benchmarks") not in sys.path:
    sys.path.append(str(ROOT / "benchmarks"))  # last: no file there may hide another module

import gpu_page  # noqa: E402

CHECK = {"name": "loss", "status": "held", "value": 1.5e-5, "limit": 1e-4, "why": ""}
PART = {
    "part": 3,
    "name": "cir",
    "status": "done",
    "seconds": 9.0,
    "rows": [{"what": "batch 64", "ms": 12.3456, "peak_gib": None}, {"what": "batch 256", "triplets/s": 12345.6}],
    "checks": [CHECK, {**CHECK, "name": "gradients", "status": "FAILED", "value": 0.5}],
    "notes": ["no waits"],
    "missing": ["nvJPEG: not built"],
}
FOUND = {"machine": ["a card"], "rehearsal": False, "tiny": False, "failed": [], "parts": [PART]}


def test_tables_have_a_column_for_every_name_and_say_what_failed():
    assert (
        gpu_page.section(FOUND)
        == """\
- a card

### Training step of retrieval, ViT-B/32, 224 pixels, bf16

| what | ms | peak_gib | triplets/s |
| --- | --- | --- | --- |
| batch 64 | 12.35 | - | - |
| batch 256 | - | - | 12,346 |

| must hold | found | at most |  |
| --- | --- | --- | --- |
| loss | 1.5e-05 | 0.0001 | held |
| gradients | 0.5 | 0.0001 | **FAILED** |

- no waits
- missing: nvJPEG: not built"""
    )


def test_a_page_is_renewed_between_its_marks_and_nowhere_else():
    page = f"before\n{gpu_page.START}\nold\n{gpu_page.END}\nafter\n"
    assert gpu_page.renewed(page, None) == f"before\n{gpu_page.START}\n{gpu_page.NOTHING}\n{gpu_page.END}\nafter\n"
    with pytest.raises(ValueError, match="start"):
        gpu_page.renewed("no marks", None)


def test_the_page_claims_nothing_that_was_not_measured():
    page = gpu_page.PAGE.read_text()
    assert page == gpu_page.renewed(page, None) or gpu_page.NOTHING not in page


@pytest.mark.parametrize("what", ["rehearsal", "tiny"])
def test_rehearsals_are_no_measurements(what):
    with pytest.raises(ValueError, match="rehearsal"):
        gpu_page.section({**FOUND, what: True})
