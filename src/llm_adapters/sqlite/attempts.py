"""How long somebody who guessed wrong has to wait: longer each time, and never for ever."""

from __future__ import annotations

from collections import OrderedDict

FREE = 5
LONGEST_S = 300
FORGOTTEN_MS = 60 * 60 * 1000
MOST_KEPT = 10_000

Key = tuple[str, str]  # account, address: nobody locks out an administrator who sits elsewhere


class Attempts:
    """Attempts without success per account and address, in memory and bounded. Times are monotonic."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Key, tuple[int, int]] = OrderedDict()  # how many, when the last

    def wait_s(self, key: Key, now_ms: int) -> int:
        """Seconds until the next attempt is allowed; 0: now."""
        count, last_ms = self._failed.get(key, (0, now_ms))
        if count < FREE:
            return 0
        delay_s = min(LONGEST_S, 1 << min(count - FREE + 1, 20))
        return max(0, -((now_ms - last_ms) // 1000 - delay_s))

    def begin(self, key: Key, now_ms: int) -> None:
        """Count an attempt before its outcome is known, so that a hundred at once are not a hundred free ones."""
        count, last_ms = self._failed.pop(key, (0, now_ms))
        self._failed[key] = (1 if now_ms - last_ms > FORGOTTEN_MS else count + 1, now_ms)
        if len(self._failed) > MOST_KEPT:
            self._failed.popitem(last=False)

    def succeed(self, key: Key) -> None:
        self._failed.pop(key, None)
