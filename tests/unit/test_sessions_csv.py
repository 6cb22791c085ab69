"""The session spreadsheet is what the manual shows, and what an accountant can add up."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.files.sessions_csv import write_sessions
from llm_core import Badge, Session, SessionState, Site, State, Station, StationState, System, normalise

MANUAL = "transactionId,evcsId,evcsName,startDateTransaction,stopDateTransaction,badgeId,badgeName,energyChargedKwh"

CLOSED = Session(
    transaction_id=2,
    station_id="a0:02:4a:e0:a4:10",
    connector=1,
    id_tag="04-4EE958",
    started_at=datetime(2022, 11, 7, 10, 23, tzinfo=UTC),
    meter_start_wh=1_000,
    register_wh=14_550,
    energy_wh=13_550,
    charging_ms=3_600_999,
    idle_ms=60_000,
    stopped_at=datetime(2022, 11, 7, 11, 24, tzinfo=UTC),
    meter_stop_wh=14_550,
    stop_reason="Local",
    state=SessionState.CLOSED,
)
OPEN = attrs.evolve(
    CLOSED, transaction_id=3, stopped_at=None, meter_stop_wh=None, stop_reason=None, state=SessionState.OPEN
)
BADGE = Badge("04-4ee958", comment="Müller")


def state(*badges: Badge, station: Station | None = None, zone: str = "Europe/Amsterdam") -> State:
    return State(
        site=Site(system=System(time_zone=zone), stations=(station,) if station is not None else ()),
        badges={normalise(badge.badge_id): badge for badge in badges},
    )


async def each(sessions: list[Session]) -> AsyncIterator[Session]:
    for session in sessions:
        yield session


def written(*sessions: Session, known: State | None = None, decimal_comma: bool = False) -> str:
    async def run() -> str:
        chunks = write_sessions(each(list(sessions)), known or state(), decimal_comma=decimal_comma)
        return "".join([chunk async for chunk in chunks])

    return asyncio.run(run())


def rows(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_the_manuals_eight_columns_come_first() -> None:
    assert written().startswith(MANUAL + ",")


def test_a_session_is_told_in_the_manuals_words() -> None:
    station = Station("a0:02:4a:e0:a4:10", name="Bay 2")
    line = written(CLOSED, known=state(BADGE, station=station)).splitlines()[1]
    assert line.startswith("2,a0:02:4a:e0:a4:10,Bay 2,07.11.2022 11:23,07.11.2022 12:24,04-4ee958,Müller,13.550,")


def test_what_an_accountant_asks_for_follows() -> None:
    known = attrs.evolve(state(), stations={CLOSED.station_id: StationState(serial="SN-1")})
    row = rows(written(CLOSED, known=known))[0]
    assert row["serialNumber"] == "SN-1"
    assert (row["meterStartWh"], row["meterStopWh"]) == ("1000", "14550")
    assert (row["stopReason"], row["state"], row["connector"]) == ("Local", "closed", "1")
    assert (row["chargingSeconds"], row["idleSeconds"]) == ("3600", "60")


@pytest.mark.parametrize(
    ("station_id", "serial", "expected"),
    [
        ("a0:02:4a:e0:a4:10", "", "a0:02:4a:e0:a4:10"),
        ("ST1", "A0024AE0A410", "A0024AE0A410"),
        ("ST1", "SN-1", ""),
        ("a0:02-4a:e0:a4:10", "", ""),
    ],
)
def test_a_mac_address_is_shown_where_the_station_goes_by_one(station_id: str, serial: str, expected: str) -> None:
    session = attrs.evolve(CLOSED, station_id=station_id)
    known = attrs.evolve(state(), stations={station_id: StationState(serial=serial)})
    assert rows(written(session, known=known))[0]["macAddress"] == expected


def test_an_open_session_has_an_empty_stop_and_never_1970() -> None:
    row = rows(written(OPEN))[0]
    assert row["stopDateTransaction"] == row["meterStopWh"] == row["stopReason"] == ""
    assert row["state"] == "open"
    assert "1970" not in written(OPEN)


def test_a_name_is_never_missing() -> None:
    assert rows(written(CLOSED))[0]["evcsName"] == CLOSED.station_id


def test_a_session_without_a_tag_has_no_badge() -> None:
    row = rows(written(attrs.evolve(CLOSED, id_tag=None), known=state(BADGE)))[0]
    assert row["badgeId"] == row["badgeName"] == ""


def test_a_tag_that_is_no_badge_is_shown_as_presented() -> None:
    assert rows(written(CLOSED))[0]["badgeId"] == "04-4EE958"


def test_a_comma_for_decimals_brings_semicolons_between_fields() -> None:
    row = rows(written(CLOSED, decimal_comma=True), delimiter=";")[0]
    assert row["energyChargedKwh"] == "13,550"


@given(st.integers(min_value=0, max_value=10**15))
def test_energy_is_exact_to_the_watt_hour(energy_wh: int) -> None:
    shown = rows(written(attrs.evolve(CLOSED, energy_wh=energy_wh)))[0]["energyChargedKwh"]
    assert Fraction(shown) * 1000 == energy_wh
    assert len(shown.partition(".")[2]) == 3


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "29.03.2026 01:59"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "29.03.2026 03:00"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "25.10.2026 02:30"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "25.10.2026 02:30"),
    ],
)
def test_local_time_follows_daylight_saving(utc: datetime, local: str) -> None:
    assert rows(written(attrs.evolve(CLOSED, started_at=utc)))[0]["startDateTransaction"] == local


def test_times_are_those_of_the_site_and_not_of_this_machine() -> None:
    row = rows(written(CLOSED, known=state(zone="Asia/Kathmandu")))[0]
    assert row["startDateTransaction"] == "07.11.2022 16:08"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_cell_starts_a_formula(start: str) -> None:
    attack = f"{start}HYPERLINK(1)"
    station = Station(CLOSED.station_id, name=attack)
    known = attrs.evolve(
        state(Badge(attack, comment=attack), station=station),
        stations={CLOSED.station_id: StationState(serial=attack)},
    )
    row = rows(written(attrs.evolve(CLOSED, id_tag=attack, stop_reason=attack), known=known))[0]
    cells = [row[name] for name in ("evcsName", "badgeId", "badgeName", "serialNumber", "stopReason")]
    assert cells == [f"'{attack}"] * len(cells)


@given(st.text(max_size=30), st.booleans())
def test_any_name_comes_back_in_its_own_cell(name: str, decimal_comma: bool) -> None:
    station = Station(CLOSED.station_id, name=name)
    text = written(CLOSED, OPEN, known=state(station=station), decimal_comma=decimal_comma)
    read = rows(text, delimiter=";" if decimal_comma else ",")
    assert [row["transactionId"] for row in read] == ["2", "3"]
    assert {row["evcsName"].removeprefix("'") for row in read} == {(name or CLOSED.station_id).removeprefix("'")}


def test_many_sessions_are_written_in_pieces_while_they_are_read() -> None:
    async def run() -> tuple[int, int]:
        drawn = 0

        async def source() -> AsyncIterator[Session]:
            nonlocal drawn
            for number in range(10_000):
                drawn += 1
                yield attrs.evolve(CLOSED, transaction_id=number)

        chunks = write_sessions(source(), state())
        first = await anext(chunks)
        drawn_before = drawn
        return drawn_before, len(first) + sum([len(chunk) async for chunk in chunks])

    drawn_at_first, total = asyncio.run(run())
    assert drawn_at_first < 1_000
    assert total > 10_000 * 80
