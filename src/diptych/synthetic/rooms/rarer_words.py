"""Sentences about rooms in less usual words, as other annotators choose them: some of these a reader of such sentences
knows, others it has never met.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

_RARER: Mapping[str, tuple[str, ...]] = {
    "walls": ("wall surfaces", "wall", "wainscoting"),
    "floor": ("flooring", "ground", "parquet"),
    "flooring": ("floorboards", "parquet"),
    "curtains": ("drapery", "window hangings", "blinds"),
    "drapes": ("drapery", "window hangings"),
    "headboard": ("bedhead", "top end of the bed"),
    "blanket": ("comforter", "quilt", "bedclothes"),
    "bedspread": ("coverlet", "bedclothes"),
    "duvet": ("comforter", "eiderdown"),
    "pillows": ("cushions", "headrests"),
    "pillow": ("cushion", "headrest"),
    "pictures": ("prints", "artworks", "canvases"),
    "paintings": ("artworks", "canvases"),
    "rug": ("mat", "runner", "kilim"),
    "lamp": ("light", "lampstand", "luminaire"),
    "plant": ("houseplant", "shrub", "greenery"),
    "chair": ("armchair", "seat", "fauteuil"),
    "armchair": ("chair", "recliner"),
    "suitcase": ("luggage", "travel bag", "trolley case"),
    "red": ("crimson", "scarlet", "vermilion"),
    "yellow": ("golden", "mustard", "lemon"),
    "green": ("emerald", "olive", "moss"),
    "blue": ("navy", "azure", "cobalt"),
    "purple": ("violet", "lilac", "plum"),
    "white": ("ivory", "cream", "snowy"),
    "brown": ("chocolate", "chestnut", "hazel"),
    "plain": ("unpatterned", "solid", "uni"),
    "striped": ("stripy", "pinstriped", "banded"),
    "checked": ("plaid", "tartan", "gingham"),
    "chequered": ("plaid", "gingham"),
    "dotted": ("polka-dot", "speckled"),
    "spotted": ("polka-dot", "speckled"),
    "small": ("tiny", "compact"),
    "little": ("tiny", "petite"),
    "large": ("huge", "sizeable"),
    "big": ("huge", "bulky"),
}
_WORD = re.compile(r"\b(?:" + "|".join(_RARER) + r")\b")


def in_rarer_words(sentence: str, share: float, rng: random.Random) -> str:
    """The sentence with each noun, colour, pattern and size exchanged, with a chance of `share`, for a rarer word that
    means the same.
    """
    return _WORD.sub(lambda word: rng.choice(_RARER[word[0]]) if rng.random() < share else word[0], sentence)
