"""What the annotations behind an arm came to: how many pairs, how much was asked, and its price."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.spending import LEDGER
from diptych.contracts.retrieval import MetricMeaning
from diptych.stages.annotation.export_triplets import SUMMARY
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count, Finite, fault_of
from diptych.storage.yaml_files import read_yaml

_COUNT = MetricMeaning("count", "lower")
SPENT = {
    "annotated": MetricMeaning("count", None),
    "requests": _COUNT,
    "input_tokens": _COUNT,
    "output_tokens": _COUNT,
    "cost_usd": MetricMeaning("score", "lower"),
}


def spent(folders: Iterable[Path]) -> dict[str, float]:
    """Of the steps in these folders that annotated: `annotated`, the pairs that have texts; `requests` and tokens on
    their ledgers; and `cost_usd` by the prices of their configs, which is left out where a model has none. Empty where
    no step annotated.

    A ledger counts for the step in whose folder it lies.

    Raises:
        ValueError: a ledger is damaged, or the step's config has no prices.
    """
    found = dict.fromkeys(SPENT, 0.0)
    priced, ledgers = True, [folder / LEDGER for folder in dict.fromkeys(folders) if (folder / LEDGER).is_file()]
    for path in ledgers:
        summary = read_json(path.parent / SUMMARY, missing_ok=True, shape={"triplets": Count}) or {"triplets": 0}
        found["annotated"] += summary["triplets"]
        with Ledger(path) as ledger:
            for stage in ledger.counts():
                for name, number in ledger.usage(stage).items():
                    if name in found:
                        found[name] += number
            tokens = ledger.spent()
        config, shape = read_yaml(path.parent / "config.yaml"), {"prices": {"models": {str: {str: Finite}}}}
        if (fault := fault_of(config, shape, str(path.parent / "config.yaml"))) is not None:
            raise ValueError(fault)
        prices = Prices(config["prices"]["models"])
        priced &= all(one.price_factor == 0 or prices.of(one.model) is not None for one in tokens)
        if priced:
            found["cost_usd"] += prices.cost_usd(tokens)
    return {name: number for name, number in found.items() if ledgers and (priced or name != "cost_usd")}
