"""How many requests a server is sent at a time: fewer when it says that they are too many, slowly more again."""

from __future__ import annotations

import asyncio
import time


class RequestPace:
    """`async with pace:` holds one of at most `most` places, for as long as a request is in flight.

    A refusal halves the places and keeps everyone out for a while; requests that were on their way before the last
    halving do not halve again. As many answers as there are places add one. Belongs to one event loop.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._in_flight = 0
        self._opens_at = 0.0  # on the monotonic clock
        self._halved_at = 0.0
        self._changed = asyncio.Event()

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return int(self._allowed)

    async def __aenter__(self) -> None:
        while True:
            pause = self._opens_at - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._in_flight < self.allowed:
                self._in_flight += 1
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    async def __aexit__(self, *_: object) -> None:
        self._in_flight -= 1
        self._changed.set()

    def answered(self) -> None:
        """To be called with every answer."""
        self._allowed = min(self._allowed + 1 / self._allowed, self._most)
        self._changed.set()

    def refused(self, sent_at: float, wait_s: float) -> None:
        """To be called when the server said that it is asked too much: no request is sent for `wait_s` seconds.
        `sent_at` is when the request was sent, on the monotonic clock.
        """
        now = time.monotonic()
        self._opens_at = max(self._opens_at, now + wait_s)
        if sent_at >= self._halved_at:
            self._allowed = max(self._allowed / 2, 1.0)
            self._halved_at = now
