"""How well untrue texts were told from true ones, on a run that fits on paper."""

from __future__ import annotations

import pytest

from diptych.commands.noise_measuring import MeasureNoise
from diptych.storage.json_files import read_json, write_json_lines

#         query, weight, loss, margin
JUDGED = [("a", 0.1, 2.0, -0.3), ("b", 0.2, 0.5, -0.4), ("c", 0.4, 1.0, 0.0), ("d", 0.9, 3.0, 0.2)]
UNTRUE = ["a", "c", "e"]  # e was never judged


@pytest.fixture
def run(tmp_path):
    lines = [
        {"query_id": name, "text": "t", "draws": 2, "loss": loss, "margin": margin, "weight": weight}
        for name, weight, loss, margin in JUDGED
    ]
    write_json_lines(tmp_path / "triplet_weights.jsonl", lines)
    write_json_lines(tmp_path / "untruths.jsonl", [{"source": "rooms", "query_id": one, "text": "t"} for one in UNTRUE])
    return tmp_path


@pytest.mark.parametrize(
    ("by", "order", "precision", "recall", "average_precision"),
    [
        ("weight", "abcde", 2 / 3, 2 / 3, (1 + 2 / 3 + 3 / 5) / 3),
        ("loss", "dacbe", 2 / 3, 2 / 3, (1 / 2 + 2 / 3 + 3 / 5) / 3),
        ("margin", "bacde", 2 / 3, 2 / 3, (1 / 2 + 2 / 3 + 3 / 5) / 3),
    ],
)
def test_the_doubted_are_held_against_the_untrue(run, by, order, precision, recall, average_precision):
    stage = MeasureNoise(run, by, "noise", run / "out")
    assert "".join(name[0] for name in stage._ordered) == order
    assert list(stage.process(stage.ids())) == [{"query_id": by, "judged": 4, "doubted": 3, "untrue": 3}]
    stage.write_output(run, [])
    metrics = read_json(run / "out/metrics.json")["metrics"]
    expected = {"precision": precision, "recall": recall, "average_precision": average_precision}
    assert metrics == pytest.approx({**expected, "doubted": 3 / 5, "untrue": 3 / 5})


def test_a_run_that_weighed_nothing_says_what_to_do(run):
    with pytest.raises(ValueError, match="by=size is not one of weight, loss, margin"):
        MeasureNoise(run, "size", "noise", run)
    (run / "triplet_weights.jsonl").rename(run / "kept")
    with pytest.raises(ValueError, match=r"triplet_weights\.jsonl.*train with system/noise=mixture"):
        MeasureNoise(run, "weight", "noise", run).ids()
    (run / "kept").rename(run / "triplet_weights.jsonl")
    (run / "untruths.jsonl").unlink()
    with pytest.raises(ValueError, match=r"untruths\.jsonl.*train with data\.corruption\.untrue"):
        MeasureNoise(run, "weight", "noise", run).ids()
