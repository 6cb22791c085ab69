"""Reservations and reports of stations on the disk: there after a restart, within bounds."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from test_sqlite_store import opened

from llm_adapters.sqlite import station_records
from llm_core import (
    Commission,
    Finding,
    LocalList,
    OutOfUse,
    Progress,
    ReportKind,
    Reservation,
    ReservationRecord,
    StationReport,
    Trial,
    Tried,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_reservations_and_reports_are_there_after_a_restart(tmp_path: Path) -> None:
    kept = Reservation(7, "A", 1, "A1:B2", NOON + timedelta(hours=1))
    over = Reservation(8, "A", 2, "C3", NOON)
    reports = tuple(
        StationReport(NOON + timedelta(minutes=n), "A", ReportKind.SECURITY, f"Event{n}", "half \ud800")
        for n in range(3)
    )

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ReservationRecord("A", 7, kept), ReservationRecord("A", 8, over), *reports])
            await store.commit([ReservationRecord("A", 8, None)])
        async with opened(tmp_path) as store:
            stored = await store.load()
            assert stored.reservations == (kept,)
            assert [(report.at, report.status) for report in stored.reports] == [(r.at, r.status) for r in reports]

    asyncio.run(scenario())


def test_a_reservation_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ReservationRecord("A", 7, Reservation(7, "A", 1, "A1", NOON))])
        with sqlite3.connect(tmp_path / "llm.db") as connection:
            connection.execute("UPDATE reservations SET document = '{'")
        connection.close()
        async with opened(tmp_path) as store:
            assert (await store.load()).reservations == ()

    asyncio.run(scenario())


def test_reports_are_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            many = [StationReport(NOON, "A", ReportKind.LOG, f"{n}") for n in range(station_records.REPORTS_KEPT + 10)]
            await store.commit(many)
            loaded = (await store.load()).reports
            assert len(loaded) == station_records.REPORTS_LOADED
            assert loaded[-1].status == f"{len(many) - 1}"
        connection = sqlite3.connect(tmp_path / "llm.db")
        (count,) = connection.execute("SELECT count(*) FROM station_reports").fetchone()
        connection.close()
        assert count == station_records.REPORTS_KEPT

    asyncio.run(scenario())


def test_a_commissioning_test_and_the_list_of_a_station_are_there_after_a_restart(tmp_path: Path) -> None:
    tried = (Tried(Trial.AMPS, Finding.YES, "Accepted"), Tried(Trial.OBEYS, Finding.SKIPPED))
    kept = Commission("A", 1, "ann", NOON, Progress.DONE, None, tried, "V / M / 1")

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([attrs.evolve(kept, progress=Progress.BROKEN_OFF), kept, LocalList("A", 7, "d", 2, 3)])
            await store.commit([OutOfUse("A", frozenset({1})), OutOfUse("A", frozenset({0, 2})), OutOfUse("B")])
        async with opened(tmp_path) as store:
            stored = await store.load()
            assert (stored.commissions, stored.local_lists) == ((kept,), (LocalList("A", 7, "d", 2, 3),))
            assert stored.out_of_use == (OutOfUse("A", frozenset({0, 2})), OutOfUse("B"))
        with sqlite3.connect(tmp_path / "llm.db") as connection:
            connection.execute("UPDATE commissions SET document = '{'")
        connection.close()
        async with opened(tmp_path) as store:
            assert (await store.load()).commissions == ()

    asyncio.run(scenario())
