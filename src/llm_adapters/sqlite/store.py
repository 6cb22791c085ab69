"""The ports `Store` and `Archive` on the database: records in, records out."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import TypeVar, assert_never

from llm_adapters.sqlite import station_records
from llm_adapters.sqlite.columns import ceiling_crc, document_crc, storable, utc_text
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.limit_records import newest_limits, present_limits, save_limit
from llm_adapters.sqlite.outbox import remember, take
from llm_adapters.sqlite.searching import found_batch, found_page
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_adapters.sqlite.session_rows import COLUMNS, SELECT, Row, readable, session_of, upsert
from llm_core import (
    EVERYTHING,
    AuditEntry,
    Badge,
    BadgeRecord,
    Ceiling,
    Commission,
    CpoForgotten,
    CpoVerdict,
    Key,
    LimitRecord,
    LocalList,
    OutOfUse,
    Record,
    RefusedStart,
    ReservationRecord,
    Session,
    SessionFilter,
    SessionPage,
    Site,
    StationReport,
    Stored,
    StoreError,
    UplinkMessage,
    Verdict,
)

T = TypeVar("T")
RECENT_SESSIONS = 1_000
REFUSED_STARTS_KEPT = 1_000
RECENT_REFUSALS = 100
BATCH = 500  # sessions read at once: a few milliseconds in which no commit is held up noticeably
PROBE_BYTES = 64 * 1024  # as much as a busy commit: a full disk must not pass by reusing one free page
LAST_TRANSACTION_ID = """SELECT max(value, (SELECT coalesce(max(transaction_id), 0) FROM sessions))
    FROM facts WHERE name = 'last_transaction_id'"""
SELECT_VERDICTS = "SELECT id_tag, verdict, expires_at FROM cpo_verdicts ORDER BY place"
log = logging.getLogger(__name__)


class SqliteStore:
    """Durable records (ports `Store` and `Archive`). `close` closes the database it was given."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Stored:
        """All that a start-up needs. A session or badge that cannot be read is logged and left out; a
        configuration that cannot be read raises `StoreError`, because nothing safe can be put in its place."""
        return await self._database.read(_load)

    async def commit(self, records: Iterable[Record]) -> None:
        """All of `records` or none, on the disk when it returns; `StoreError` when the disk does not take them."""
        batch = tuple(records)
        await self._database.write(lambda connection: _save_all(connection, batch))

    async def probe(self) -> None:
        """A write as large as a busy commit that leaves nothing behind: returns when the disk works."""
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE facts SET value = ? WHERE name = 'probe'", (os.urandom(PROBE_BYTES),)
            )
        )

    async def close(self) -> None:
        await self._database.close()

    async def sessions(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter = EVERYTHING
    ) -> AsyncIterator[Session]:
        """Sessions that started in [from, to) and are meant, oldest first, in constant memory."""
        after: tuple[str, int] = (utc_text(from_utc), 0)  # the place of the last session given out

        def batch(connection: sqlite3.Connection) -> list[Row]:
            return found_batch(connection, after, to_utc, wanted, BATCH)

        while rows := await self._database.read(batch):
            for session in readable(rows, session_of):
                yield session
            last = dict(zip(COLUMNS, rows[-1], strict=True))
            after = (str(last["started_at"]), int(str(last["transaction_id"])))

    async def session_page(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter, limit: int, skip: int
    ) -> SessionPage:
        """Sessions that started in [from, to) and are meant, newest first, with the number and energy of all."""
        return await self._database.read(
            lambda connection: found_page(connection, from_utc, to_utc, wanted, limit, skip)
        )

    async def audit(self, limit: int, *, skip: int = 0, text: str = "") -> AsyncIterator[AuditEntry]:
        """The newest changes first, at most `limit` after `skip`; only those that hold `text` anywhere."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT at, by, what, old, new FROM audit"
                " WHERE ?1 = '' OR instr(lower(by || char(10) || what || char(10) || old || char(10) || new), ?1)"
                " ORDER BY id DESC LIMIT ?2 OFFSET ?3",
                (storable(text.lower()), limit, skip),
            ).fetchall()
        )
        for at, by, what, old, new in rows:
            yield AuditEntry(datetime.fromisoformat(at), by, what, old, new)

    async def limit_records(self, most: int) -> tuple[LimitRecord, ...]:
        """What became of every limit from outside, the latest first."""
        return await self._database.read(lambda connection: newest_limits(connection, most))

    async def refused_starts(self, limit: int) -> tuple[RefusedStart, ...]:
        """Badges that were not let in, the newest first; the last thousand are kept."""
        rows = await self._database.read(lambda connection: _newest_refusals(connection, limit))
        return tuple(readable(rows, _refused_start))


def _save_all(connection: sqlite3.Connection, records: tuple[Record, ...]) -> None:
    for record in records:
        _save(connection, record)
    instants = [utc_text(instant) for record in records for instant in _instants(record)]
    if instants:
        connection.execute(
            "UPDATE facts SET value = max(coalesce(value, ''), ?) WHERE name = 'latest_utc'", (max(instants),)
        )


def _save(connection: sqlite3.Connection, record: Record) -> None:
    match record:
        case Session():
            upsert(connection, record)
            _never_again(connection, record.transaction_id)
        case Ceiling(station_id, connector, limit_ma, left_ma):
            station = storable(station_id)
            crc = ceiling_crc(station, connector, limit_ma, left_ma)
            connection.execute(
                "INSERT OR REPLACE INTO ceilings (station_id, connector, limit_ma, crc, left_ma)"
                " VALUES (?, ?, ?, ?, ?)",
                (station, connector, limit_ma, crc, left_ma),
            )
        case Site():
            document = to_json(record)
            connection.execute("INSERT OR REPLACE INTO site VALUES (1, ?, ?)", (document, document_crc(document)))
        case BadgeRecord(key, None):
            connection.execute("DELETE FROM badges WHERE key = ?", (storable(key),))
        case BadgeRecord(key, badge):
            connection.execute("INSERT OR REPLACE INTO badges VALUES (?, ?)", (storable(key), to_json(badge)))
        case AuditEntry():
            append_audit(connection, record)
        case RefusedStart(at, station_id, id_tag, verdict, transaction_id):
            _never_again(connection, transaction_id or 0)
            added = connection.execute(
                "INSERT INTO refused_starts (at, station_id, id_tag, verdict, transaction_id) VALUES (?, ?, ?, ?, ?)",
                (utc_text(at), storable(station_id), storable(id_tag), verdict.value, transaction_id),
            ).lastrowid
            connection.execute("DELETE FROM refused_starts WHERE id <= ?", ((added or 0) - REFUSED_STARTS_KEPT,))
        case ReservationRecord():
            station_records.save_reservation(connection, record)
        case Commission() | LocalList() | OutOfUse():
            station_records.save_of_station(connection, record)
        case StationReport():
            station_records.save_report(connection, record)
        case LimitRecord():
            save_limit(connection, record)
        case UplinkMessage():
            take(connection, record)
        case CpoVerdict():
            remember(connection, record)
        case CpoForgotten():
            connection.execute("DELETE FROM cpo_verdicts")
        case _:
            assert_never(record)


def _never_again(connection: sqlite3.Connection, transaction_id: int) -> None:
    connection.execute("UPDATE facts SET value = max(value, ?) WHERE name = 'last_transaction_id'", (transaction_id,))


def append_audit(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    """Add one line to the audit trail, within the transaction of what it tells about."""
    connection.execute(
        "INSERT INTO audit (at, by, what, old, new) VALUES (?, ?, ?, ?, ?)",
        (utc_text(entry.at), *(storable(text) for text in (entry.by, entry.what, entry.old, entry.new))),
    )


def _instants(record: Record) -> Iterator[datetime]:
    match record:
        case Session(started_at=started_at, stopped_at=stopped_at):
            yield started_at
            if stopped_at is not None:
                yield stopped_at
        case AuditEntry(at=at) | RefusedStart(at=at):
            yield at
        case LimitRecord(set_at=set_at, began_at=began_at, ended_at=ended_at):  # its own times may lie ahead
            yield from (at for at in (set_at, began_at, ended_at) if at is not None)
        case Ceiling() | Site() | BadgeRecord() | ReservationRecord() | StationReport() | Commission() | LocalList():
            return
        case OutOfUse() | UplinkMessage() | CpoVerdict() | CpoForgotten():
            return
        case _:
            assert_never(record)


def _load(connection: sqlite3.Connection) -> Stored:
    ended = f"{SELECT} WHERE state <> 'open' ORDER BY transaction_id DESC LIMIT {RECENT_SESSIONS}"
    open_ones = f"{SELECT} WHERE state = 'open' ORDER BY transaction_id"
    badges = connection.execute("SELECT document FROM badges ORDER BY key").fetchall()
    latest = connection.execute("SELECT value FROM facts WHERE name = 'latest_utc' AND value IS NOT NULL").fetchall()
    (last_id,) = connection.execute(LAST_TRANSACTION_ID).fetchone()
    ceilings, left_alone, doubtful = _ceilings(connection)
    return Stored(
        site=_site(connection),
        badges=tuple(readable(badges, lambda row: from_json(str(row[0]), Badge))),
        open_sessions=tuple(readable(connection.execute(open_ones).fetchall(), session_of)),
        recent_sessions=tuple(readable(reversed(connection.execute(ended).fetchall()), session_of)),
        limits=tuple(present_limits(connection)),
        ceilings=ceilings,
        left_alone=left_alone,
        doubtful=doubtful,
        cpo_verdicts=tuple(readable(connection.execute(SELECT_VERDICTS).fetchall(), _verdict)),
        last_transaction_id=last_id,
        latest_utc=next(readable(latest, lambda row: datetime.fromisoformat(str(row[0]))), None),
        refusals=tuple(readable(reversed(_newest_refusals(connection, RECENT_REFUSALS)), _refused_start)),
        reservations=tuple(station_records.reservations(connection)),
        commissions=tuple(station_records.of_stations(connection, Commission)),
        local_lists=tuple(station_records.of_stations(connection, LocalList)),
        out_of_use=tuple(station_records.of_stations(connection, OutOfUse)),
        reports=station_records.reports(connection),
    )


def _newest_refusals(connection: sqlite3.Connection, limit: int) -> list[Row]:
    return connection.execute(
        "SELECT at, station_id, id_tag, verdict, transaction_id FROM refused_starts ORDER BY id DESC LIMIT ?", (limit,)
    ).fetchall()


def _refused_start(row: Row) -> RefusedStart:
    at, station_id, id_tag, verdict, transaction_id = row
    given = transaction_id if isinstance(transaction_id, int) else None
    return RefusedStart(datetime.fromisoformat(str(at)), str(station_id), str(id_tag), Verdict(str(verdict)), given)


def _site(connection: sqlite3.Connection) -> Site | None:
    row = connection.execute("SELECT document FROM site").fetchone()
    try:
        return from_json(row[0], Site) if row else None
    except UnreadableError as error:
        raise StoreError(f"the stored configuration cannot be read: {error}") from error


def _ceilings(connection: sqlite3.Connection) -> tuple[dict[Key, int], dict[Key, int], frozenset[Key]]:
    """Believed is what is a plausible number with the right check sum: too low a ceiling would hide current."""
    believed: dict[Key, int] = {}
    left_alone: dict[Key, int] = {}
    doubtful: set[Key] = set()
    rows = connection.execute("SELECT station_id, connector, limit_ma, left_ma, crc FROM ceilings")
    for station_id, connector, limit_ma, left_ma, crc in rows:
        if not isinstance(station_id, str) or not isinstance(connector, int):
            log.warning("A stored ceiling names no connector: %r/%r", station_id, connector)
            continue
        key = (station_id, connector)
        plausible = isinstance(limit_ma, int) and limit_ma >= 0 and (left_ma is None or isinstance(left_ma, int))
        if not plausible or crc != ceiling_crc(station_id, connector, limit_ma, left_ma):
            doubtful.add(key)
            continue
        believed[key] = limit_ma
        if left_ma is not None:
            left_alone[key] = left_ma
    return believed, left_alone, frozenset(doubtful)


def _verdict(row: Row) -> CpoVerdict:
    expires_at = None if row[2] is None else datetime.fromisoformat(str(row[2]))
    return CpoVerdict(str(row[0]), Verdict(str(row[1])), expires_at)
