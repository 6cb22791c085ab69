"""The one place where time is read."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's clocks: monotonic for ages and deadlines, UTC for stamps. Implements the port `Clock`."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def utc(self) -> datetime:
        return datetime.now(UTC)


def set_machine_clock(wanted: datetime) -> bool:
    """Set the machine's UTC clock; False where this process may not."""
    try:
        time.clock_settime(time.CLOCK_REALTIME, wanted.timestamp())
    except OSError:
        return False
    return True


class LoopClock:
    """A clock that follows the running event loop, so that virtual time is time. Implements the port `Clock`."""

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch
        self._loop = asyncio.get_running_loop()
        self.stepped = timedelta(0)  # how far the UTC clock was set wrong on purpose

    def monotonic_ms(self) -> int:
        return round(self._loop.time() * 1000)

    def utc(self) -> datetime:
        return self._epoch + timedelta(milliseconds=self.monotonic_ms()) + self.stepped
