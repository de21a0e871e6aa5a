"""What a way has cost, from a ledger that others use too."""

from __future__ import annotations

import pytest

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.spending import spending
from diptych.contracts.pipelines import Answer, Question


def test_only_the_ways_model_and_stages_count(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        for key, stage, model in (("a", "one_stage", "m"), ("b", "one_stage", "n"), ("c", "verify_sentences", "m")):
            ledger.plan([Question(key, stage, key, list, 10, 1000)], model, 0.5)
            ledger.claim(key)
            ledger.answered(key, Answer("x", "stop", {"prompt_tokens": 2_000_000, "completion_tokens": 100_000}, 1.0))
    prices = Prices({"m": {"input": 2.0, "output": 10.0}})
    found = spending(path, ["one_stage"], "m", prices, 10)
    assert found == {
        "input_tokens": 2_000_000,
        "output_tokens": 100_000,
        "usd": pytest.approx(0.5 * (4.0 + 1.0)),
        "triplets": 10,
        "per_triplet": {"input_tokens": 200_000, "output_tokens": 10_000, "usd": pytest.approx(0.25)},
    }
    unpriced = spending(path, ["one_stage"], "n", prices, 10)
    assert unpriced["usd"] is None and unpriced["per_triplet"]["usd"] is None and unpriced["input_tokens"] == 2_000_000
    with pytest.raises(ValueError, match="no charge for m in write_modifications"):
        spending(path, ["write_modifications"], "m", prices, 10)
    with pytest.raises(ValueError, match="absent.sqlite is not there"):
        spending(tmp_path / "absent.sqlite", ["one_stage"], "m", prices, 10)
    assert not (tmp_path / "absent.sqlite").exists()
