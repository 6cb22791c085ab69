"""Pages of sessions out of a million of them, in milliseconds.

What is asked for goes to an index. A text is looked up among the stations and badges there are, which are few, and
never in every session; where what fits is rare its rows are fetched and sorted, and where it is common the newest
rows are read until the page is full.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

import attrs

from llm_adapters.sqlite.columns import storable, utc_text
from llm_adapters.sqlite.session_rows import SELECT, Row, readable, session_of
from llm_core import SessionFilter, SessionPage, SessionState, normalise

RARE = 20_000  # so many rows are fetched and sorted within a few hundredths of a second
DISTINCT = """WITH RECURSIVE seen(value) AS (
    SELECT min({column}) FROM sessions
    UNION ALL SELECT (SELECT min({column}) FROM sessions WHERE {column} > value) FROM seen WHERE value IS NOT NULL
) SELECT value FROM seen WHERE value IS NOT NULL"""


@attrs.frozen
class Where:
    """A condition and its values."""

    sql: str
    values: tuple[object, ...]

    def __and__(self, other: Where) -> Where:
        return Where(f"{self.sql} AND {other.sql}", (*self.values, *other.values))


def found_page(
    connection: sqlite3.Connection, from_utc: datetime, to_utc: datetime, wanted: SessionFilter, limit: int, skip: int
) -> SessionPage:
    """The sessions that started in [from, to) and are meant, newest first: `limit` of them after the first `skip`."""
    where = condition(connection, started_from(from_utc), to_utc, wanted)
    if where is None:
        return SessionPage((), 0, 0)
    total, energy_wh = connection.execute(
        f"SELECT count(*), coalesce(sum(energy_wh), 0) FROM sessions WHERE {where.sql}", where.values
    ).fetchone()
    by_start = "+" if total <= RARE else ""  # a plus keeps SQLite from walking along the starts
    rows = connection.execute(
        f"{SELECT} WHERE {where.sql} ORDER BY {by_start}started_at DESC, transaction_id DESC LIMIT ? OFFSET ?",
        (*where.values, limit, skip),
    ).fetchall()
    return SessionPage(tuple(readable(rows, session_of)), total, energy_wh)


def found_batch(
    connection: sqlite3.Connection, after: tuple[str, int], to_utc: datetime, wanted: SessionFilter, limit: int
) -> list[Row]:
    """The next rows behind the place `after` (start and number), oldest first. One lower bound alone, so that SQLite
    begins there and nowhere before."""
    where = condition(connection, Where("(started_at, transaction_id) > (?, ?)", after), to_utc, wanted)
    if where is None:
        return []
    return connection.execute(
        f"{SELECT} WHERE {where.sql} ORDER BY started_at, transaction_id LIMIT ?", (*where.values, limit)
    ).fetchall()


def started_from(from_utc: datetime) -> Where:
    return Where("started_at >= ?", (utc_text(from_utc),))


def condition(connection: sqlite3.Connection, behind: Where, to_utc: datetime, wanted: SessionFilter) -> Where | None:
    """What SQL asks of a row that is meant; None where there can be none."""
    where = behind & Where("started_at < ?", (utc_text(to_utc),))
    if wanted.station_id is not None:
        where &= Where("station_id = ?", (storable(wanted.station_id),))
    if wanted.badges is not None:
        where &= _among("badge_key", wanted.badges)
    if wanted.state is SessionState.CLOSED:
        where &= Where("state = 'closed'", ())
    elif wanted.state is not None:
        where &= Where("state = ? AND state <> 'closed'", (wanted.state.value,))
    if wanted.text:
        holds = _text(connection, wanted)
        return where & holds if holds is not None else None
    return where


def _text(connection: sqlite3.Connection, wanted: SessionFilter) -> Where | None:
    folded, key = wanted.text.casefold(), normalise(wanted.text)
    stations = {name for name in _distinct(connection, "station_id") if folded in name.casefold()}
    badges = {name for name in _distinct(connection, "badge_key") if key and key in name}
    parts = [_among("station_id", stations | wanted.text_stations), _among("badge_key", badges | wanted.text_badges)]
    if wanted.text.isascii() and wanted.text.isdecimal() and len(wanted.text) < 18:
        parts.append(Where("transaction_id = ?", (int(wanted.text),)))
    parts = [part for part in parts if part.values]
    if not parts:
        return None
    return Where(
        f"({' OR '.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values)
    )


def _distinct(connection: sqlite3.Connection, column: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(DISTINCT.format(column=column))]


def _among(column: str, names: frozenset[str] | set[str]) -> Where:
    return Where(f"{column} IN ({', '.join('?' * len(names))})", tuple(storable(name) for name in sorted(names)))
