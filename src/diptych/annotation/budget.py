"""The limit on what a pipeline's requests may cost."""

from __future__ import annotations

import time

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger, Tokens

_REFRESH_S = 0.1  # beyond it, what other processes have spent is looked up again


class MoneyUsedUp(ValueError):
    """Nothing more may be sent within the limit; the message says how much was spent, and how to go on."""


class Budget:
    """Whether there is money for one more request: what was spent, by all processes and in all runs on the ledger, with
    all that is in flight, at its most, and the request itself, must stay within `max_cost_usd` (None: no limit).

    Raises:
        ValueError: the limit is below 0.
    """

    def __init__(self, ledger: Ledger, prices: Prices, max_cost_usd: float | None) -> None:
        if max_cost_usd is not None and not max_cost_usd >= 0:
            raise ValueError(f"max_cost_usd={max_cost_usd}: want at least 0, or null for no limit")
        self._ledger, self._prices, self.max_cost_usd = ledger, prices, max_cost_usd
        self._known_usd, self._known_at, self._since_usd = 0.0, float("-inf"), 0.0

    def allows(self, request: Tokens) -> bool:
        """Whether the request may be sent; if so, it is taken to be.

        Raises:
            ValueError: there is a limit, and no price for a model.
        """
        if self.max_cost_usd is None:
            return True
        cost = self._prices.cost_usd([request])
        if cost and (time.monotonic() - self._known_at > _REFRESH_S or not self._fits(cost)):
            self._known_usd = self._prices.cost_usd([*self._ledger.spent(), *self._ledger.in_flight()])
            self._known_at, self._since_usd = time.monotonic(), 0.0
        if not self._fits(cost):
            return False
        self._since_usd += cost
        return True

    def exhausted(self, request: Tokens) -> MoneyUsedUp:
        """What to raise when nothing is in flight and there is no money for the request."""
        spent, cost = self._prices.cost_usd(self._ledger.spent()), self._prices.cost_usd([request])
        return MoneyUsedUp(
            f"max_cost_usd={self.max_cost_usd} would be passed: {spent:.4f} USD are spent, and the next request may"
            f" cost up to {cost:.4f}. All answers are kept; the same command with a higher max_cost_usd resumes"
        )

    def _fits(self, cost: float) -> bool:
        limit = self.max_cost_usd
        return not cost or limit is None or self._known_usd + self._since_usd + cost <= limit
