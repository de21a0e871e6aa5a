"""What goes wrong, how often, and when: a function of the request and of how often it has come."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

TRANSPORT = ("rate_limit", "server_error", "reset", "lost_reply", "hang")
CONTENT = ("cut", "empty", "fenced", "prose", "wrong_schema", "refusal", "refusal_in_words", "content_filter")
BATCH = ("batch_expired", "batch_cancelled", "batch_failed", "batch_partly_failed")
EVERY_REQUEST = "any"
_BURST = 4  # requests that a rate limit refuses one after another


class Faults:
    """`rates` by name, of `TRANSPORT` (any request), `CONTENT` (chat answers) and `BATCH` (ends of batches); `any`
    is spread evenly over `TRANSPORT` and `CONTENT`. A rate of 1 hits always. `count` says what hit, and how often.

    Raises:
        ValueError: a name is unknown, or rates of faults that exclude one another exceed 1 together.
    """

    def __init__(self, rates: Mapping[str, float], seed: int = 0) -> None:
        unknown = sorted(set(rates) - {EVERY_REQUEST, *TRANSPORT, *CONTENT, *BATCH})
        if unknown:
            raise ValueError(
                f"no such fault: {', '.join(unknown)}; there are any, {', '.join(TRANSPORT + CONTENT + BATCH)}"
            )
        share = rates.get(EVERY_REQUEST, 0.0) / len(TRANSPORT + CONTENT)
        self._rates = {name: rates.get(name, 0.0) + share for name in TRANSPORT + CONTENT}
        self._rates |= {name: rates.get(name, 0.0) for name in BATCH}
        for names in (TRANSPORT + CONTENT, BATCH):
            if min(self._rates[name] for name in names) < 0 or sum(self._rates[name] for name in names) > 1 + 1e-9:
                raise ValueError(f"the rates of {', '.join(names)} want to be at least 0, and at most 1 together")
        self._seed = seed
        self._times: Counter[bytes] = Counter()
        self._burst_left = 0
        self.count: Counter[str] = Counter()

    def draw(self, content: bytes, names: tuple[str, ...]) -> str:
        """The fault of `names` that hits a request with this content, or "". Only which requests follow in the burst
        of a rate limit depends on the order in which different requests come.
        """
        time = self._times[content]
        self._times[content] += 1
        if "rate_limit" in names and self._burst_left:
            self._burst_left -= 1
            return self._hit("rate_limit")
        left = chance(self._seed, time, content)
        for name in names:
            rate = self._rates[name]
            if name == "rate_limit":  # so many begin a burst that the share refused becomes the rate
                rate = rate / (_BURST - rate * (_BURST - 1))
            if left < rate:
                self._burst_left = _BURST - 1 if name == "rate_limit" and self._rates[name] < 1 else 0
                return self._hit(name)
            left -= rate
        return ""

    def _hit(self, name: str) -> str:
        self.count[name] += 1
        return name


def chance(*things: object) -> float:
    """A number in [0, 1) that only depends on the things."""
    digest = hashlib.blake2b(repr(things).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
