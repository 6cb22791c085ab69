"""A session as a row, and back; what SQL reads and writes of it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

import attrs

from llm_adapters.sqlite.columns import storable, utc_text
from llm_core import Session, SessionState, normalise

T = TypeVar("T")
Row = tuple[object, ...]
COLUMNS = tuple(field.name for field in attrs.fields(Session))
SELECT = f"SELECT {', '.join(COLUMNS)} FROM sessions"
# What never changes while a session lives is not written again: its indexes stay untouched, and so does the card.
_CONSTANT = ("transaction_id", "station_id", "connector", "id_tag", "badge_key", "started_at", "meter_start_wh")
_WRITTEN = (*COLUMNS, "badge_key")
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_WRITTEN)}) VALUES ({', '.join('?' * len(_WRITTEN))})"
    " ON CONFLICT (transaction_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _WRITTEN if name not in _CONSTANT)
)
log = logging.getLogger(__name__)


def upsert(connection: sqlite3.Connection, session: Session) -> None:
    key = normalise(session.id_tag) if session.id_tag is not None else None
    connection.execute(_UPSERT, (*map(_column, attrs.astuple(session)), _column(key)))


def session_of(row: Row) -> Session:
    """The session of a row of `SELECT`. Raises ValueError or TypeError when it cannot be one."""
    columns = dict(zip(COLUMNS, row, strict=True))
    columns["started_at"] = datetime.fromisoformat(str(columns["started_at"]))
    for name in ("stopped_at", "register_at"):
        if columns[name] is not None:
            columns[name] = datetime.fromisoformat(str(columns[name]))
    columns["state"] = SessionState(str(columns["state"]))
    columns["flagged"] = bool(columns["flagged"])
    columns["integrated"] = bool(columns["integrated"])
    return Session(**columns)  # type: ignore[arg-type]


def readable(rows: Iterable[Row], read: Callable[[Row], T]) -> Iterator[T]:
    """What can be read; a row that cannot is logged and left out."""
    for row in rows:
        try:
            yield read(row)
        except (ValueError, TypeError) as error:
            log.error("A stored row cannot be read and is left out: %s", error)


def _column(value: object) -> object:
    match value:
        case datetime():
            return utc_text(value)
        case SessionState():
            return value.value
        case str():
            return storable(value)
        case _:
            return value
