"""The recorder on a small living site: what it writes is what flowed, worked out here by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from llm_app.recorder import Recorder
from llm_core import (
    SITE,
    MeterValuesReceived,
    PerPhase,
    Phase,
    Place,
    Slice,
    Span,
    Station,
    StopRequested,
    StoreError,
    System,
)
from unit.small_site import A, Car, SmallSite, dynamic, static

ST = Place("A", is_station=True)
START = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)


class Pages:
    """A history in memory, which can fail."""

    def __init__(self) -> None:
        self.written: list[Slice] = []
        self.fails = False
        self.days: list[datetime] = []

    async def record(self, slices: Iterable[Slice], day_of: Callable[[datetime], datetime]) -> None:
        if self.fails:
            raise StoreError("the disk is full")
        self.written += slices
        self.days += [day_of(slice_.at) for slice_ in slices]

    async def slices(self, place: Place, span: Span, from_utc: datetime, to_utc: datetime) -> AsyncIterator[Slice]:
        for slice_ in self.written:
            if slice_.place == place and from_utc <= slice_.at < to_utc and span is Span.MINUTE:
                yield slice_

    def of(self, place: Place) -> list[Slice]:
        return [slice_ for slice_ in self.written if slice_.place == place]


class SiteClock:
    """UTC that runs with the seconds of a small site."""

    def __init__(self, small: SmallSite) -> None:
        self._small = small

    def monotonic_ms(self) -> int:
        return self._small.second * 1_000

    def utc(self) -> datetime:
        return START + timedelta(seconds=self._small.second)


def recorded(
    small: SmallSite, seconds: int, pages: Pages, *, disturb: dict[int, Callable[[], None]] | None = None
) -> None:
    """Run the site so many seconds with a recorder, which writes what is left at the end."""

    async def whole() -> None:
        recorder = Recorder(pages, SiteClock(small))
        task = asyncio.create_task(recorder.run())
        for second in range(seconds):
            if disturb and second in disturb:
                disturb[second]()
            before = small.state
            small.run(1)
            recorder.look(before, small.state)
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(whole())


def test_a_minute_says_what_the_building_took_what_the_cars_took_and_what_the_limit_was() -> None:
    small, pages = SmallSite(dynamic(40, Station("A"))), Pages()
    small.building(5, 6, 7)
    small.plug("A", Car(most_ma=10 * A, phases=1))
    small.run(60)
    recorded(small, 180, pages)
    site, station = pages.of(Place(SITE))[1], pages.of(ST)[1]
    assert site.at == START + timedelta(minutes=2)
    assert site.total_ma == PerPhase(15 * A, 6 * A, 7 * A) == site.peak_ma
    assert site.cars_ma == station.cars_ma == PerPhase(10 * A, 0, 0)
    assert site.limit_ma == PerPhase.same(40 * A)
    assert site.power_w == 28 * 230
    assert station.power_w == 2_300
    assert station.total_ma is station.energy_wh is None
    assert station.limit_ma[Phase.L1] >= 10 * A


def test_the_mean_is_over_time_and_the_peak_is_the_highest_moment() -> None:
    small, pages = SmallSite(dynamic(40, Station("A"))), Pages()
    recorded(small, 125, pages, disturb={30: lambda: small.building(20), 89: lambda: small.building(0)})
    first, second = pages.of(Place(SITE))[:2]
    assert first.total_ma is not None
    assert second.total_ma is not None
    assert first.total_ma.l1 == pytest.approx(20 * A * 29 / 60, abs=0.7 * A)
    assert second.total_ma.l1 == pytest.approx(20 * A * 30 / 60, abs=0.7 * A)
    assert first.peak_ma == second.peak_ma == PerPhase.same(20 * A)


def test_what_the_meter_does_not_tell_is_unknown_and_not_nothing() -> None:
    small, pages = SmallSite(dynamic(40, Station("A"))), Pages()
    small.building(5)
    small.run(60)

    def fail() -> None:
        small.meter_works = False

    recorded(small, 240, pages, disturb={55: fail})
    assert [slice_.total_ma is None for slice_ in pages.of(Place(SITE))] == [False, False, True, True, True]
    static_pages = Pages()
    recorded(SmallSite(static(40, Station("A"))), 130, static_pages)
    assert {slice_.total_ma for slice_ in static_pages.of(Place(SITE))} == {None}


def test_a_small_load_loses_no_energy_to_rounding() -> None:
    small, pages = SmallSite(dynamic(40)), Pages()
    small.building(0.25, 0, 0)  # 57.5 W: less than a watt-hour in a minute
    small.run(60)
    recorded(small, 3_600, pages)
    slices = pages.of(Place(SITE))
    assert {slice_.energy_wh for slice_ in slices} == {0, 1}
    assert sum(slice_.energy_wh or 0 for slice_ in slices) in (56, 57)


def test_what_is_fed_in_is_no_import() -> None:
    small, pages = SmallSite(dynamic(40)), Pages()
    small.building(-5, -5, -5)
    small.run(60)
    recorded(small, 120, pages)
    slice_ = pages.of(Place(SITE))[1]
    assert slice_.total_ma == PerPhase.same(-5 * A)
    assert (slice_.power_w, slice_.energy_wh) == (-3_450, 0)


def test_the_energy_of_the_cars_is_what_their_sessions_are_charged_with_at_every_node_above() -> None:
    small, pages = SmallSite(static(40, Station("A"), Station("B"))), Pages()
    small.run(60)
    small.plug("A")
    small.post(MeterValuesReceived("A", 1, None, None, 1_000))  # before we looked: not ours

    def reads(wh: int) -> Callable[[], None]:
        return lambda: small.post(MeterValuesReceived("A", 1, None, None, wh)) and None

    def ends() -> None:
        transaction = small.outlets["A"].transaction_id
        assert transaction is not None
        small.post(StopRequested("A", transaction, 1_450))

    def begins_and_ends() -> None:
        small.plug("B")
        small.post(MeterValuesReceived("B", 1, None, None, 70))

    recorded(small, 200, pages, disturb={10: reads(1_100), 70: reads(1_300), 75: ends, 130: begins_and_ends})
    for place in (Place(SITE), Place("default")):
        assert [slice_.cars_wh for slice_ in pages.of(place)] == [100, 350, 70, 0]
    assert [slice_.cars_wh for slice_ in pages.of(ST)] == [100, 350, 0, 0]


def test_a_disk_that_fails_is_told_once_and_costs_only_those_minutes(caplog: pytest.LogCaptureFixture) -> None:
    small, pages = SmallSite(dynamic(40, Station("A"))), Pages()
    pages.fails = True
    recorded(small, 300, pages, disturb={200: lambda: setattr(pages, "fails", False)})
    assert [slice_.at.minute for slice_ in pages.of(Place(SITE))] == [3, 4, 5]
    assert sum("history" in record.message for record in caplog.records) == 1


def test_a_long_pause_counts_as_a_few_seconds_not_as_the_whole() -> None:
    small, pages = SmallSite(dynamic(40)), Pages()
    small.building(1_000 / 230, 0, 0)
    small.run(59)
    recorded(small, 2, pages, disturb={1: lambda: setattr(small, "second", 59 + 1_800)})
    assert sum(slice_.energy_wh or 0 for slice_ in pages.of(Place(SITE))) <= 2


def test_a_day_begins_at_midnight_at_the_site() -> None:
    small, pages = SmallSite(attrs.evolve(dynamic(40), system=System(time_zone="Asia/Kolkata"))), Pages()
    recorded(small, 70, pages)
    assert set(pages.days) == {datetime(2026, 3, 2, 18, 30, tzinfo=UTC)}
