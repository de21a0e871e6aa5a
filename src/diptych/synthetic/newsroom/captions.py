"""Reference captions in several styles: who, what, when, where, why and the first number, around what is visible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diptych.synthetic.newsroom.events import Event
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.scene import Scene, visible_phrase
from diptych.synthetic.newsroom.texts import read_texts
from diptych.synthetic.newsroom.wording import fill, pick

STYLES: Mapping[str, str] = read_texts("captions")["styles"]


def reference_captions(event: Event, scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """One caption per style, in random order; all tell the same facts."""
    kind = KINDS[event.kind]
    styles = [list(STYLES)[index] for index in rng.permutation(len(STYLES)).tolist()]
    captions = {}
    for style in styles:
        first, second = (pick(rng, quantity.clauses) for quantity in event.quantities[:2])
        slots = event.slots() | {
            "visible": visible_phrase(scene, rng),
            "noun": kind.noun,
            "clause": pick(rng, kind.clauses),
            "main_role": event.main.role,
            "in_charge": kind.in_charge,
            "date": event.date_text,
            "Number": _capital(first),
            "Second": _capital(second),
            "Organisation": _capital(event.organisation),
        }
        captions[style] = _capital(fill(STYLES[style], slots, rng))
    return captions


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
