"""Parts of scoring a checkpoint's captions; whole runs are in test_train_captions."""

from __future__ import annotations

from diptych.commands.caption_scoring import checked_claims
from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.length import Length

ITEMS = [CaptionItem("a", "x"), CaptionItem("b", "y")]


class Claiming(Length):
    """Some metric that looks for claims, whatever its name in the config."""

    def claims(self, items):
        """One for each item, by its text."""
        return [[(item.caption, True)] for item in items]


def test_claims_come_from_the_metric_that_looks_for_them():
    found = checked_claims({"length": Length(), "any_name": Claiming()}, ITEMS)
    assert found == [[("x", True)], [("y", True)]]
    assert checked_claims({"unsupported_entity_rate": Length()}, ITEMS) is None
