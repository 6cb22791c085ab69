"""What a station's clock shows, told from the stamps of its messages.

A message may have waited in the station for hours, so a stamp can be old without the clock being slow. What comes out
of a queue comes faster than it went in; a clock that is really off says so at its own pace. Therefore a stamp is taken
at once only where it agrees within 10 s, with what is known of this clock or else with ours; any other must be
confirmed by a second one, at least 2 s later, that lies as far off within 1.5 s.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

AGREES_MS = 10_000
JITTER_MS = 1_500
APART_MS = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen
class StationTime:
    """A station's clock against our monotonic one; a value, unknown until `heard`."""

    offset_ms: int | None = None  # its UTC since 1970 less our monotonic time
    is_sure: bool = False  # a stamp of this link bears it out: while there was none, the clock may have been set
    _doubted: tuple[int, int] | None = None  # an offset that waits to be confirmed, and when it was heard

    def heard(self, stamp: datetime, utc: datetime, monotonic_ms: int) -> StationTime:
        """What is known after a message with `stamp` came in at `utc` and `monotonic_ms` of ours."""
        offset_ms = _ms(stamp) - monotonic_ms
        if self.offset_ms is None:
            if abs(offset_ms - (_ms(utc) - monotonic_ms)) <= AGREES_MS:
                return StationTime(offset_ms, is_sure=True)
        elif -JITTER_MS <= offset_ms - self.offset_ms <= AGREES_MS:
            later_ms = max(offset_ms, self.offset_ms)  # whole seconds are cut: the later is the truer
            return StationTime(later_ms, is_sure=True)
        return self._doubting(offset_ms, monotonic_ms)

    def on_a_new_link(self) -> StationTime:
        """What was known, until a stamp of the new link bears it out or another takes its place."""
        return StationTime(self.offset_ms)

    def utc(self, monotonic_ms: int) -> datetime | None:
        """The time its clock shows now."""
        return None if self.offset_ms is None else _EPOCH + timedelta(milliseconds=self.offset_ms + monotonic_ms)

    def ahead_ms(self, utc: datetime, monotonic_ms: int) -> int | None:
        """How far it is ahead of our UTC, negative behind."""
        return None if self.offset_ms is None else self.offset_ms + monotonic_ms - _ms(utc)

    def _doubting(self, offset_ms: int, monotonic_ms: int) -> StationTime:
        if self._doubted is not None and abs(offset_ms - self._doubted[0]) <= JITTER_MS:
            if monotonic_ms - self._doubted[1] >= APART_MS:
                return StationTime(offset_ms, is_sure=True)
            return self
        return attrs.evolve(self, doubted=(offset_ms, monotonic_ms))


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
