"""English words of short instructions to change a picture: verbs by what they do, colours by their family.

They are what readers of such sentences have in common; each knows further words of its own subject.
"""

from __future__ import annotations

from collections.abc import Mapping

ADD_VERBS = ("add", "include", "introduce", "install")
REMOVE_VERBS = ("remove", "delete", "discard", "eliminate", "omit")
REPLACE_VERBS = ("exchange", "replace", "substitute", "swap")
CHANGE_VERBS = (
    "alter", "change", "convert", "enlarge", "make", "move", "paint", "recolor", "recolour", "relocate", "repaint",
    "shift", "shrink", "switch", "transform", "turn", "update",
)  # fmt: skip
COLOURS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "burgundy"),
    "yellow": ("yellow", "golden", "mustard"),
    "green": ("green", "olive", "emerald"),
    "blue": ("blue", "navy", "azure"),
    "purple": ("purple", "violet", "lilac", "lavender"),
    "white": ("white", "ivory"),
    "brown": ("brown", "tan"),
    **{name: (name,) for name in ("black", "grey", "gray", "pink", "orange", "beige", "teal")},
}
