"""Write the market set to disk: stalls on eight days, in the layout of `triplet_sets`.

python -m diptych.synthetic.market.generate out=OUT seed=0     # the whole set: about 6,000 + 500 + 500 triplets
python -m diptych.synthetic.market.generate sheet=docs/images/market.png    # a contact sheet instead
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from diptych.config.arguments import run
from diptych.synthetic.canvas import Array
from diptych.synthetic.command_line import run_generator
from diptych.synthetic.market.drawing import draw_stall, sample_photograph
from diptych.synthetic.market.language import describe_changes
from diptych.synthetic.market.scene import sample_stall, scene_from_json
from diptych.synthetic.triplet_sets import TripletSetSettings, World, draw_contact_sheet, generate_set

MARKET = World(
    "market", "stall", "day", 1, sample_stall, describe_changes, sample_photograph, draw_stall, scene_from_json
)


@dataclass(frozen=True, slots=True)
class MarketSettings(TripletSetSettings):
    """What decides the bytes of the set."""

    world: ClassVar[World] = MARKET
    seed: int = 0
    num_train_stalls: int = 1500
    num_val_stalls: int = 84
    num_test_stalls: int = 84
    triplets_per_train_stall: int = 4
    triplets_per_eval_stall: int = 6


def generate_market(
    root: Path, settings: MarketSettings | None = None, num_workers: int | None = None, show_progress: bool = False
) -> Path:
    """As `generate_set`, with the default settings unless others are given."""
    return generate_set(root, settings or MarketSettings(), num_workers, show_progress)


def draw_sheet(seed: int) -> Array:
    """The contact sheet of a set: a row for each of the first training stalls."""
    return draw_contact_sheet(MarketSettings(seed=seed))


_DEFAULTS = MarketSettings()


def command(
    *,
    out: Annotated[Path | None, "the folder to write the set into"] = None,
    sheet: Annotated[Path | None, "a PNG file for a contact sheet"] = None,
    workers: Annotated[int | None, "processes; one a processor unless given"] = None,
    seed: Annotated[int, "of all random numbers"] = 0,
    num_train_stalls: Annotated[int, "stalls to train on"] = _DEFAULTS.num_train_stalls,
    num_val_stalls: Annotated[int, "stalls to validate with"] = _DEFAULTS.num_val_stalls,
    num_test_stalls: Annotated[int, "stalls to test with"] = _DEFAULTS.num_test_stalls,
    triplets_per_train_stall: Annotated[int, "of each stall to train on"] = _DEFAULTS.triplets_per_train_stall,
    triplets_per_eval_stall: Annotated[int, "of each other stall"] = _DEFAULTS.triplets_per_eval_stall,
) -> None:
    """Draws the market set in Hotel-CIR's layout, or a contact sheet of it, or both."""
    settings = MarketSettings(
        seed, num_train_stalls, num_val_stalls, num_test_stalls, triplets_per_train_stall, triplets_per_eval_stall
    )
    run_generator("market", out, sheet, workers, settings, generate_market, draw_sheet)


if __name__ == "__main__":
    sys.exit(run(command, "python -m diptych.synthetic.market.generate", sys.argv[1:]))
