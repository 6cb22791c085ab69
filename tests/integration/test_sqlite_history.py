"""History on the disk: what was recorded is found again, in longer slices too, in bounded space."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import pytest

from llm_adapters.sqlite.history import FILE_NAME, SqliteHistory
from llm_core import PerPhase, Place, Slice, Span, StoreError

HOME = ZoneInfo("Europe/Amsterdam")
SITE, STATION = Place("site"), Place("ST1", is_station=True)
START = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def day_of(moment: datetime) -> datetime:
    return moment.astimezone(HOME).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def minute(at: datetime, amps: int, place: Place = SITE) -> Slice:
    total_ma = PerPhase.same(amps * 1_000)
    return Slice(place, at, total_ma, total_ma, PerPhase.same(50_000), total_ma, amps * 690, amps * 11, amps * 10)


def run(folder: Path, scenario: Callable[[SqliteHistory], Awaitable[None]]) -> None:
    async def whole() -> None:
        history = await SqliteHistory.open(folder)
        try:
            await scenario(history)
        finally:
            await history.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


async def found(history: SqliteHistory, span: Span, place: Place = SITE) -> list[Slice]:
    return [slice_ async for slice_ in history.slices(place, span, *EVER)]


async def filled(history: SqliteHistory, first: datetime, minutes: int, amps: Callable[[int], int]) -> None:
    for number in range(minutes):
        await history.record([minute(first + timedelta(minutes=number), amps(number))], day_of)


def test_a_minute_is_found_again_as_it_was_with_what_was_not_measured(tmp_path: Path) -> None:
    measured = minute(START, 7)
    unknown = attrs.evolve(measured, place=STATION, total_ma=None, power_w=None, energy_wh=None)

    async def scenario(history: SqliteHistory) -> None:
        await history.record([measured, unknown], day_of)
        assert await found(history, Span.MINUTE) == [measured]
        assert await found(history, Span.MINUTE, STATION) == [unknown]
        assert await found(history, Span.MINUTE, Place("ST1")) == []

    run(tmp_path, scenario)
    run(tmp_path, lambda history: _is_found(history, measured))


async def _is_found(history: SqliteHistory, slice_: Slice) -> None:
    assert await found(history, Span.MINUTE, slice_.place) == [slice_]


def test_a_quarter_is_the_mean_of_its_minutes_their_highest_peak_and_the_sum_of_their_energy(tmp_path: Path) -> None:
    async def scenario(history: SqliteHistory) -> None:
        await filled(history, START, 16, lambda number: number)
        (quarter,) = await found(history, Span.QUARTER)
        assert quarter.at == START
        assert quarter.total_ma == quarter.cars_ma == PerPhase.same(7_000)
        assert quarter.peak_ma == PerPhase.same(14_000)
        assert (quarter.power_w, quarter.energy_wh, quarter.cars_wh) == (7 * 690, 105 * 11, 105 * 10)

    run(tmp_path, scenario)


def test_what_was_not_measured_for_a_while_is_left_out_of_the_mean_and_never_counted_as_nothing(tmp_path: Path) -> None:
    async def scenario(history: SqliteHistory) -> None:
        blind = attrs.evolve(minute(START, 5), total_ma=None, power_w=None, energy_wh=None)
        seeing = minute(START + timedelta(minutes=1), 9)
        await history.record([blind], day_of)
        await history.record([seeing], day_of)
        await history.record([minute(START + timedelta(minutes=15), 1)], day_of)
        (quarter,) = await found(history, Span.QUARTER)
        assert quarter.total_ma == PerPhase.same(9_000)
        assert quarter.cars_ma == PerPhase.same(7_000)
        assert quarter.energy_wh == 99

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("midnight", "hours"),
    [
        (datetime(2026, 3, 2, 23, tzinfo=UTC), 24),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23),  # the clock goes forward
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25),  # and back
    ],
)
def test_a_day_is_a_day_at_the_site_however_long(tmp_path: Path, midnight: datetime, hours: int) -> None:
    async def scenario(history: SqliteHistory) -> None:
        for quarter in range(-2, hours * 4 + 2):
            await history.record([minute(midnight + timedelta(minutes=15 * quarter), 4)], day_of)
        before, day, after = await found(history, Span.DAY)
        assert day.at == midnight
        assert day.energy_wh == hours * 4 * 44
        assert before.energy_wh == 2 * 44
        assert after.at == midnight + timedelta(hours=hours)

    run(tmp_path, scenario)


def test_what_a_restart_left_undone_is_made_up(tmp_path: Path) -> None:
    run(tmp_path, lambda history: filled(history, START, 20, lambda _: 3))

    async def scenario(history: SqliteHistory) -> None:
        await filled(history, START + timedelta(hours=26), 1, lambda _: 5)
        quarters = await found(history, Span.QUARTER)
        assert [quarter.at for quarter in quarters] == [START, START + timedelta(minutes=15)]
        assert [day.energy_wh for day in await found(history, Span.DAY)] == [20 * 33]

    run(tmp_path, scenario)


def test_the_two_halves_of_a_minute_in_which_we_restarted_lose_no_energy(tmp_path: Path) -> None:
    async def scenario(history: SqliteHistory) -> None:
        await history.record([minute(START, 2)], day_of)
        await history.record([minute(START, 3)], day_of)
        (only,) = await found(history, Span.MINUTE)
        assert (only.energy_wh, only.cars_wh) == (55, 50)

    run(tmp_path, scenario)


def test_minutes_go_after_a_month_and_quarters_after_thirteen_and_days_stay(tmp_path: Path) -> None:
    async def scenario(history: SqliteHistory) -> None:
        await filled(history, START, 16, lambda _: 1)
        await filled(history, START + timedelta(days=40), 16, lambda _: 2)
        assert [slice_.cars_wh for slice_ in await found(history, Span.MINUTE)] == [20] * 16
        assert len(await found(history, Span.QUARTER)) == 3
        await filled(history, START + timedelta(days=500), 16, lambda _: 3)
        assert len(await found(history, Span.QUARTER)) == 1
        assert len(await found(history, Span.DAY)) == 3

    run(tmp_path, scenario)


def test_a_long_answer_comes_in_order_and_whole(tmp_path: Path) -> None:
    async def scenario(history: SqliteHistory) -> None:
        await history.record([minute(START + timedelta(minutes=n), n % 50) for n in range(4_500)], day_of)
        slices = await found(history, Span.MINUTE)
        assert [slice_.at for slice_ in slices] == [START + timedelta(minutes=n) for n in range(4_500)]
        part = history.slices(SITE, Span.MINUTE, START + timedelta(minutes=2), START + timedelta(minutes=5))
        assert [slice_.cars_wh async for slice_ in part] == [20, 30, 40]

    run(tmp_path, scenario)


def test_a_name_that_no_column_holds_is_kept_and_a_number_that_none_holds_is_an_error(tmp_path: Path) -> None:
    odd = Place("half \ud83d", is_station=True)

    async def scenario(history: SqliteHistory) -> None:
        await history.record([minute(START, 1, odd)], day_of)
        assert len(await found(history, Span.MINUTE, odd)) == 1
        new = minute(START, 1, Place("new"))
        with pytest.raises(StoreError):
            await history.record([new, attrs.evolve(new, cars_wh=2**70)], day_of)
        assert await found(history, Span.MINUTE, Place("new")) == []
        await history.record([new], day_of)
        assert await found(history, Span.MINUTE, Place("new")) == [new]

    run(tmp_path, scenario)


@pytest.mark.parametrize("damage", [b"this is no database, and it is long enough to be looked at" * 80, b""])
def test_a_file_that_cannot_be_read_is_set_aside_and_history_begins_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(damage)
    run(tmp_path, lambda history: filled(history, START, 1, lambda _: 1))
    assert [path.read_bytes() for path in tmp_path.glob("*.damaged")] == ([damage] if damage else [])


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, lambda history: filled(history, START, 1, lambda _: 1))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer"):
        run(tmp_path, lambda history: filled(history, START, 1, lambda _: 1))
