"""The table of rounds, from what the steps left."""

import csv
import json
from types import SimpleNamespace

import pytest
from instant_steps import make_ledger

from diptych.studying.rounds import round_lines, rounds_table, write_rounds


def evaluated(folder, recall, colour):
    folder.mkdir()
    metrics = {"recall_at_1": recall, "recall_at_5": 0.75, "median_rank": 3.0, "recall_at_1/changed_colour": colour}
    (folder / "metrics.json").write_text(json.dumps({"metrics": {**metrics, "text_only/recall_at_1": 0.1}}))
    return folder


@pytest.fixture
def result(tmp_path):
    """A start and a round with 3 and 4 requests a seed; a third arm has failed."""
    runs, arms = {}, []
    for arm, numbers, recall in (("start", [3], (0.2, 0.3)), ("recycled_1", [3, 4], (0.4, 0.5)), ("lost", [], ())):
        steps = {seed: [] for seed in range(len(recall))}
        for seed, found in enumerate(recall):
            for place, number in enumerate(numbers):
                folder = tmp_path / f"{seed}_{place}"
                if not folder.exists():
                    folder.mkdir()
                    make_ledger(folder, number)
                    (folder / "audit_triplets").mkdir()
                    rates = {"claims_wrong": {"rate": 0.1 * number}, "sentences_right": {"rate": 0.9}}
                    audit = {"pairs": 2, "not_audited": 0, "ways": {"said": rates}}
                    (folder / "audit_triplets/audit.json").write_text(json.dumps(audit))
                    (folder / "mine_failures").mkdir()
                    missed = {"reference": 3, "same_group": 1}
                    counts = {"queries": 8, "found": 4, "missed_for": missed, "candidates": 9, "pairs": 5}
                    if place:
                        (folder / "mine_failures/failures.json").write_text(json.dumps(counts))
                steps[seed].append(folder.name)
                runs[folder.name] = SimpleNamespace(folder=folder)
            last = evaluated(tmp_path / f"{arm}_{seed}", found, 0.6)
            runs[last.name] = SimpleNamespace(folder=last)
            steps[seed].append(last.name)
        arms.append(SimpleNamespace(name=arm, steps=steps))
    values = {"start": {}, "recycled_1": {}}
    return SimpleNamespace(study=SimpleNamespace(arms=arms), values=values, runs=runs)


def test_a_round_has_its_price_its_truth_and_what_was_found_and_missed(result):
    start, recycled = round_lines(result)
    assert (start["arm"], start["requests"], start["annotated"]) == ("start", 3, 2)
    assert start["usd_per_point"] != start["usd_per_point"]  # against itself
    assert recycled == {
        "arm": "recycled_1",
        "seeds": 2,
        "annotated": 5,
        "requests": 7,
        "input_tokens": 700,
        "output_tokens": 140,
        "recall_at_1": pytest.approx(0.45),
        "recall_at_5": 0.75,
        "missed/colour": pytest.approx(0.4),
        "claims_wrong": pytest.approx(0.4),
        "training_found": 0.5,  # of its own sentences, and the model before it
        "missed_for_reference": 0.375,
        "missed_for_same_group": 0.125,
        "cost_usd": pytest.approx(840 / 1e6),
        "usd_per_point": pytest.approx(480 / 1e6 / 20),  # four requests more, and 20 points
    }


def test_the_table_is_a_line_for_each_round_and_the_same_to_read(result, tmp_path):
    lines = round_lines(result)
    with write_rounds(tmp_path, lines).open() as file:
        first, second = csv.DictReader(file)
    assert (first["arm"], first["training_found"], second["training_found"]) == ("start", "", "0.5")
    assert list(first)[:4] == ["arm", "seeds", "annotated", "requests"] and list(first)[-1] == "missed/colour"
    table = {row.split()[0]: row.split()[1:] for row in rounds_table(lines).splitlines()}
    assert (table["recall_at_1"], table["requests"], table["cost_usd"]) == (["25.0", "45.0"], ["3", "7"], ["0.00"] * 2)
    assert table["training_found"] == ["50.0"]
