"""The port `History`: a file of its own beside the records, because what it holds may be lost and is written often.

Theory of operation. All slices lie in one table in the order of span, time and place, so that a minute's rows are
neighbours: a commit touches a page or two, and a disk that wears out is spared. A quarter is made when it is over, from
its minutes, and its day anew from the quarters; what was missed (a restart) is made up at the next one. Minutes are
kept for a month, quarters for 13 months, days for ever; the pages of what went are used again. The file is in WAL
mode with synchronous=NORMAL: a power cut may cost the last minutes, never the file. One that is damaged is set aside.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from llm_adapters.sqlite.columns import storable
from llm_adapters.sqlite.disk import connect, in_transaction
from llm_core import PerPhase, Place, Slice, Span, StoreError

T = TypeVar("T")
Day = Callable[[datetime], datetime]
Row = tuple[object, ...]
FILE_NAME = "history.db"
VERSION = 1
KEPT = {Span.MINUTE: timedelta(days=31), Span.QUARTER: timedelta(days=400)}
CODES = {Span.MINUTE: 0, Span.QUARTER: 1, Span.DAY: 2}
QUARTER_MIN = 15
BATCH = 2_000
VALUES = (
    *(f"{name}_{phase}" for name in ("total", "cars", "lim", "peak") for phase in ("l1", "l2", "l3")),
    "power_w",
    "energy_wh",
    "cars_wh",
)
SCHEMA = (
    "CREATE TABLE places (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    f"""CREATE TABLE slices (span INTEGER NOT NULL, at INTEGER NOT NULL, place INTEGER NOT NULL,
    {", ".join(f"{name} INTEGER" for name in VALUES)}, PRIMARY KEY (span, at, place)) WITHOUT ROWID""",
    f"PRAGMA user_version = {VERSION}",
)
INSERT = (
    f"INSERT INTO slices (span, at, place, {', '.join(VALUES)}) VALUES ({', '.join('?' * (len(VALUES) + 3))})"
    " ON CONFLICT DO UPDATE SET cars_wh = cars_wh + excluded.cars_wh,"  # the rest of a minute in which we restarted
    " energy_wh = coalesce(energy_wh + excluded.energy_wh, energy_wh, excluded.energy_wh)"
)
MEANS = ", ".join(
    f"{'max' if name.startswith('peak') else 'sum' if name.endswith('wh') else 'avg'}({name})" for name in VALUES
)
ROLL_UP = (
    f"INSERT OR REPLACE INTO slices (span, at, place, {', '.join(VALUES)}) SELECT ?, ?, place, "
    + ", ".join(f"CAST(round({mean}) AS INTEGER)" for mean in MEANS.split(", "))
    + " FROM slices WHERE span = ? AND at >= ? AND at < ? GROUP BY place"
)
log = logging.getLogger(__name__)


class SqliteHistory:
    """The slices of a data directory. `close` waits for what was queued."""

    def __init__(self, thread: ThreadPoolExecutor, connection: sqlite3.Connection) -> None:
        self._thread = thread
        self._connection = connection
        self._places = {str(name): int(id_) for id_, name in connection.execute("SELECT id, name FROM places")}
        self._quarter: int | None = None  # the one that goes on

    @classmethod
    async def open(cls, directory: Path) -> SqliteHistory:
        """Open or create the file; one that cannot be read is set aside. Raises `StoreError`."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        try:
            return await _in(thread, lambda: cls(thread, _connection(directory / FILE_NAME)))
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def record(self, slices: Iterable[Slice], day_of: Day) -> None:
        """Keep the slices of a minute, in one transaction; with the last of a quarter, make that and its day."""
        rows = tuple(slices)
        await _in(self._thread, lambda: self._record(rows, day_of))

    async def slices(self, place: Place, span: Span, from_utc: datetime, to_utc: datetime) -> AsyncIterator[Slice]:
        """The slices of a place that begin in [from, to), oldest first."""
        after, end = _minutes(from_utc) - 1, _minutes(to_utc)
        place_id = self._places.get(_name(place))

        def batch() -> list[Row]:
            return self._connection.execute(
                f"SELECT at, {', '.join(VALUES)} FROM slices WHERE span = ? AND at > ? AND at < ? AND place = ?"
                " ORDER BY at LIMIT ?",
                (CODES[span], after, end, place_id, BATCH),
            ).fetchall()

        while place_id is not None and (rows := await _in(self._thread, batch)):
            for row in rows:
                yield _slice(place, row)
            after = int(str(rows[-1][0]))

    async def close(self) -> None:
        await _in(self._thread, self._connection.close)
        self._thread.shutdown()

    def _record(self, slices: tuple[Slice, ...], day_of: Day) -> None:
        known = dict(self._places)
        try:
            in_transaction(self._connection, lambda connection: self._write(connection, slices, day_of))
        except BaseException:
            self._places, self._quarter = known, None
            raise

    def _write(self, connection: sqlite3.Connection, slices: tuple[Slice, ...], day_of: Day) -> None:
        connection.executemany(INSERT, [self._row(connection, slice_) for slice_ in slices])
        newest = max((_minutes(slice_.at) for slice_ in slices), default=0)
        quarter = newest - newest % QUARTER_MIN
        if quarter != self._quarter:
            _make_quarters(connection, quarter, day_of)
            _forget(connection, newest)
            self._quarter = quarter

    def _row(self, connection: sqlite3.Connection, slice_: Slice) -> Row:
        name = _name(slice_.place)
        if name not in self._places:
            added = connection.execute("INSERT INTO places (name) VALUES (?)", (name,)).lastrowid
            self._places[name] = int(added or 0)
        total = tuple(slice_.total_ma) if slice_.total_ma is not None else (None, None, None)
        return (
            CODES[Span.MINUTE],
            _minutes(slice_.at),
            self._places[name],
            *total,
            *slice_.cars_ma,
            *slice_.limit_ma,
            *slice_.peak_ma,
            slice_.power_w,
            slice_.energy_wh,
            slice_.cars_wh,
        )


def _make_quarters(connection: sqlite3.Connection, until: int, day_of: Day) -> None:
    """Every quarter before `until` that has minutes and was not made yet, and the days that they belong to."""
    (made,) = connection.execute("SELECT max(at) FROM slices WHERE span = ?", (CODES[Span.QUARTER],)).fetchone()
    missing = connection.execute(
        "SELECT DISTINCT at / ? * ? FROM slices WHERE span = ? AND at >= ? AND at < ?",
        (QUARTER_MIN, QUARTER_MIN, CODES[Span.MINUTE], -1 if made is None else made + QUARTER_MIN, until),
    ).fetchall()
    for (quarter,) in missing:
        end = quarter + QUARTER_MIN
        connection.execute(ROLL_UP, (CODES[Span.QUARTER], quarter, CODES[Span.MINUTE], quarter, end))
    for day in {day_of(_instant(quarter)) for (quarter,) in missing}:
        next_day = day_of(day + timedelta(hours=36))
        first, end = _minutes(day), _minutes(next_day)
        connection.execute(ROLL_UP, (CODES[Span.DAY], first, CODES[Span.QUARTER], first, end))


def _forget(connection: sqlite3.Connection, newest: int) -> None:
    for span, kept in KEPT.items():
        oldest = newest - int(kept.total_seconds()) // 60
        connection.execute("DELETE FROM slices WHERE span = ? AND at < ?", (CODES[span], oldest))


def _connection(path: Path) -> sqlite3.Connection:
    try:
        return _opened(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = path.with_name(f"{path.name}.damaged")
        log.error("The history cannot be read (%s): it is set aside as %s", error, aside)
        path.replace(aside)
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        return _opened(path)


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreError(f"{path} was made by a newer release")
        if version == 0:
            in_transaction(connection, lambda c: [c.execute(statement) for statement in SCHEMA])
        connection.execute("SELECT count(*) FROM places").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _name(place: Place) -> str:
    return f"{'station' if place.is_station else 'node'}:{storable(place.id)}"


def _slice(place: Place, row: Row) -> Slice:
    at, *values = row
    numbers = [None if value is None else int(str(value)) for value in values]
    total, cars, limit, peak = (numbers[index : index + 3] for index in range(0, 12, 3))
    return Slice(
        place,
        _instant(int(str(at))),
        None if None in total else _per_phase(total),
        _per_phase(cars),
        _per_phase(limit),
        _per_phase(peak),
        numbers[12],
        numbers[13],
        numbers[14] or 0,
    )


def _per_phase(values: list[int | None]) -> PerPhase:
    return PerPhase(*(value or 0 for value in values))


def _minutes(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _instant(minutes: int) -> datetime:
    return datetime.fromtimestamp(minutes * 60, UTC)


async def _in(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
        raise StoreError(str(error)) from error
