"""What a way of annotating has cost, from the ledger that its questions stand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger

LEDGER = "ledger.sqlite"


def spending(ledger: Path, stages: Sequence[str], model: str, prices: Prices, num_triplets: int) -> dict[str, Any]:
    """`{"input_tokens", "output_tokens", "usd"}` that the `stages` were charged for questions to the model, and the
    same for each of `num_triplets` under `per_triplet`.

    Everything counts that the ledger has of them: other prompts and other pairs too, and what was asked again. `usd` is
    None where `prices` has none for the model.

    Raises:
        ValueError: the ledger is not there, cannot be read, or has no charge of this kind; names it.
    """
    if not ledger.is_file():
        raise ValueError(f"{ledger} is not there; ledgers={{WAY: FILE}} says where the way's questions stand")
    with Ledger(ledger) as book:
        spent = [tokens for stage in stages for tokens in book.spent(stage) if tokens.model == model]
    if not spent:
        raise ValueError(f"{ledger} has no charge for {model} in {', '.join(stages)}; name another with ledgers=")
    priced = all(tokens.price_factor == 0 or prices.of(tokens.model) for tokens in spent)
    totals = {
        "input_tokens": sum(tokens.num_input_tokens for tokens in spent),
        "output_tokens": sum(tokens.num_output_tokens for tokens in spent),
        "usd": prices.cost_usd(spent) if priced else None,
    }
    each = {name: None if total is None else total / num_triplets for name, total in totals.items()}
    return {**totals, "triplets": num_triplets, "per_triplet": each}
