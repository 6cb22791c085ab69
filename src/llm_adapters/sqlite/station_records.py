"""What is kept of stations beside sessions and limits: orders that last, and what they reported."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from llm_adapters.sqlite.columns import storable, utc_text
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_core import Commission, LocalList, OutOfUse, ReportKind, Reservation, ReservationRecord, StationReport

Kept = TypeVar("Kept", Commission, LocalList, OutOfUse)
REPORTS_KEPT = 5_000
REPORTS_LOADED = 500
log = logging.getLogger(__name__)


def save_reservation(connection: sqlite3.Connection, record: ReservationRecord) -> None:
    if record.reservation is None:
        connection.execute(
            "DELETE FROM reservations WHERE station_id = ? AND number = ?", (storable(record.station_id), record.number)
        )
    else:
        row = (storable(record.station_id), record.number, to_json(record.reservation))
        connection.execute("INSERT OR REPLACE INTO reservations VALUES (?, ?, ?)", row)


def save_report(connection: sqlite3.Connection, report: StationReport) -> None:
    texts = (storable(report.station_id), report.kind.value, storable(report.status), storable(report.detail))
    added = connection.execute(
        "INSERT INTO station_reports (at, station_id, kind, status, detail) VALUES (?, ?, ?, ?, ?)",
        (utc_text(report.at), *texts),
    ).lastrowid
    connection.execute("DELETE FROM station_reports WHERE id <= ?", ((added or 0) - REPORTS_KEPT,))


def reservations(connection: sqlite3.Connection) -> Iterator[Reservation]:
    for (document,) in connection.execute("SELECT document FROM reservations ORDER BY station_id, number"):
        try:
            yield from_json(str(document), Reservation)
        except UnreadableError as error:
            log.error("A stored reservation cannot be read and is left out: %s", error)


def reports(connection: sqlite3.Connection) -> tuple[StationReport, ...]:
    """The newest, in the order in which they came."""
    rows = connection.execute(
        "SELECT at, station_id, kind, status, detail FROM station_reports ORDER BY id DESC LIMIT ?", (REPORTS_LOADED,)
    ).fetchall()
    return tuple(
        StationReport(datetime.fromisoformat(at), station_id, ReportKind(kind), status, detail)
        for at, station_id, kind, status, detail in reversed(rows)
    )


_TABLES: dict[type[Commission | LocalList | OutOfUse], str] = {
    Commission: "commissions",
    LocalList: "local_lists",
    OutOfUse: "out_of_use",
}


def save_of_station(connection: sqlite3.Connection, record: Commission | LocalList | OutOfUse) -> None:
    """The last one of its kind for each station."""
    row = (storable(record.station_id), to_json(record))
    connection.execute(f"INSERT OR REPLACE INTO {_TABLES[type(record)]} VALUES (?, ?)", row)


def of_stations(connection: sqlite3.Connection, kind: type[Kept]) -> Iterator[Kept]:
    for (document,) in connection.execute(f"SELECT document FROM {_TABLES[kind]} ORDER BY station_id"):
        try:
            yield from_json(str(document), kind)
        except UnreadableError as error:
            log.error("A stored %s cannot be read and is left out: %s", kind.__name__, error)
