"""A history for web tests, of waves that anybody can work out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta

from llm_core import (
    PHASES,
    MeterSampled,
    MeterSetup,
    MeterTest,
    PerPhase,
    Place,
    Slice,
    Span,
    StoreError,
    check_meter,
)

LENGTHS = {Span.MINUTE: timedelta(minutes=1), Span.QUARTER: timedelta(minutes=15), Span.DAY: timedelta(days=1)}
LIMIT_MA = PerPhase.same(50_000)


class WaveHistory:
    """A building of 10 A on L1, 5 A on L2 and L3, and cars that take 8 A more in every second hour of UTC.

    Nothing was measured between 3 and 4 o'clock, and nothing at all is known between 4 and 5.
    """

    async def record(self, slices: Iterable[Slice], day_of: Callable[[datetime], datetime]) -> None:
        raise StoreError(f"{day_of} of {slices}: this history is finished")

    async def slices(self, place: Place, span: Span, from_utc: datetime, to_utc: datetime) -> AsyncIterator[Slice]:
        length = LENGTHS[span]
        at = datetime.fromtimestamp(-(-from_utc.timestamp() // length.total_seconds()) * length.total_seconds(), UTC)
        while at < to_utc:
            if at.hour != 4 or span is Span.DAY:
                yield wave(place, at, length)
            at += length


def wave(place: Place, at: datetime, length: timedelta) -> Slice:
    cars_ma = PerPhase.same(8_000 if at.hour % 2 else 0)
    if length == LENGTHS[Span.DAY]:
        cars_ma = PerPhase.same(4_000)
    total_ma = None if place.is_station or at.hour == 3 else PerPhase(10_000, 5_000, 5_000) + cars_ma
    hours = length.total_seconds() / 3600
    return Slice(
        place=place,
        at=at,
        total_ma=total_ma,
        cars_ma=cars_ma,
        limit_ma=LIMIT_MA if not place.is_station else cars_ma,
        peak_ma=total_ma if total_ma is not None else cars_ma,
        power_w=None if total_ma is None else sum(total_ma) * 23 // 100,
        energy_wh=None if total_ma is None else round(sum(total_ma) * 0.23 * hours),
        cars_wh=round(sum(cars_ma) * 0.23 * hours),
    )


async def silent_meter(setup: MeterSetup) -> MeterTest:
    """A test of a meter that never answers, except at the host `good`."""
    if setup.host == "good":
        sample = MeterSampled("site", (10_250, -2_000, 0), 1, 1, (230_100, 231_000, 229_000), 1_900, 5_000, 7, 50_010)
        return check_meter([sample], setup, PHASES, identified=True)
    return check_meter([], setup, PHASES, silent_because="no connection")
