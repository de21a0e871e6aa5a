"""What the annotations behind an arm came to."""

import pytest
from instant_steps import make_ledger

from diptych.studying.arm_spending import spent


def folder(place, name, number, model="m"):
    (place / name).mkdir()
    make_ledger(place / name, number)
    if model != "m":
        (place / name / "config.yaml").write_text(f"prices: {{models: {{{model}: {{input: 1.0, output: 1.0}}}}}}\n")
    return place / name


def test_all_ledgers_are_summed_up_each_once(tmp_path):
    first, second = folder(tmp_path, "first", 3), folder(tmp_path, "second", 4)
    found = spent([first, tmp_path / "train", second, first])
    assert found == {
        "annotated": 5,
        "requests": 7,
        "input_tokens": 700,
        "output_tokens": 140,
        "cost_usd": pytest.approx(840 / 1e6),
    }


def test_without_a_price_there_is_no_cost_and_without_a_ledger_nothing(tmp_path):
    assert "cost_usd" not in spent([folder(tmp_path, "first", 3), folder(tmp_path, "second", 1, model="other")])
    assert spent([tmp_path]) == {}
    (tmp_path / "first/config.yaml").write_text("name: x\n")
    with pytest.raises(ValueError, match=r"first/config.yaml has no key 'prices'"):
        spent([tmp_path / "first"])
