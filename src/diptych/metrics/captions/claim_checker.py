"""What captions claim and the evidence does not state, counted for the choice among candidates."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.contracts.news import CheckedClaim
from diptych.metrics.captions.unsupported_entity_rate import check_claims
from diptych.text.named_entities import EntityRecognizer


class EntityClaimChecker:
    """A `ClaimChecker` that counts as `UnsupportedEntityRate` does: the entities that the recogniser finds in a caption
    and its other numbers in digits, every mention, looked up by the rules of `entity_matching`.
    """

    def __init__(self, recognizer: EntityRecognizer) -> None:
        self.recognizer = recognizer
        self.name = recognizer.model

    def unsupported(self, captions: Sequence[str], evidence: Sequence[str]) -> list[tuple[int, int]]:
        """Of each caption, how many of its claims its evidence does not state, and how many claims it makes.

        Raises:
            ValueError: the numbers of captions and evidence differ, or as the recogniser.
        """
        found = self.recognizer.entities(captions)
        checked = [check_claims(*one) for one in zip(captions, found, evidence, strict=True)]
        return [(sum(not stated for _, stated in of_one), len(of_one)) for of_one in checked]

    def checked_claims(self, caption: str, evidence: str) -> list[CheckedClaim]:
        """The claims of one caption, in their order, each with whether its evidence states it.

        Raises:
            ValueError: as the recogniser.
        """
        (entities,) = self.recognizer.entities([caption])
        return [
            CheckedClaim(claim.text, claim.start, claim.end, claim.is_quantity, stated)
            for claim, stated in check_claims(caption, entities, evidence)
        ]
