"""Readings that come faster than anybody can use them: each is answered, of many the newest counts.

A station reports every few seconds. One that pours out its offline queue, or has gone mad, must not take the control
loop's time from the others. So a burst is taken whole, and so are ten readings a second; beyond that the newest of each
connector and transaction is held for a tenth of a second, or until the station says something else, because what comes
after a reading may depend on it. A register only rises, so nothing is lost from a session by leaving out its middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

Payload: TypeAlias = dict[str, Any]

BURST = 50
A_SECOND = 10.0
MOST_HELD = 32


class Thinning:
    """Hands MeterValues to `take`, at once or as the newest of several."""

    def __init__(self, take: Callable[[Payload], None]) -> None:
        self._take = take
        self._credit = float(BURST)
        self._since = asyncio.get_running_loop().time()
        self._held: dict[tuple[int, str], Payload] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.thinned = 0

    def offer(self, connector: int, payload: Payload) -> None:
        """A message about this connector; raises what `take` raises if it is taken at once."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._credit = min(self._credit + (now - self._since) * A_SECOND, BURST)
        self._since = now
        if self._credit >= 1 and not self._held:
            self._credit -= 1
            self._take(payload)
            return
        if len(self._held) >= MOST_HELD:
            self.flush()
        key = connector, str(payload.get("transactionId"))[:32]
        self.thinned += key in self._held
        self._held.pop(key, None)
        self._held[key] = payload
        if self._timer is None:
            self._timer = loop.call_later(1 / A_SECOND, self.flush)

    def flush(self) -> None:
        """Take what is held, in the order it came."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, {}
        self._credit -= len(held)
        for payload in held.values():
            self._take(payload)
