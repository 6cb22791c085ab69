"""Limits from outside as they are kept: one row for each time that one was set, ended ones for years."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from datetime import datetime

from llm_adapters.sqlite.columns import storable, utc_text
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_core import ExternalLimit, LimitRecord

ENDED_KEPT = 10_000  # evidence for the grid operator
log = logging.getLogger(__name__)


def save_limit(connection: sqlite3.Connection, record: LimitRecord) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO external_limits VALUES (?, ?, ?, ?)",
        (storable(record.limit.id), utc_text(record.set_at), record.ended is not None, to_json(record)),
    )
    connection.execute(
        "DELETE FROM external_limits WHERE rowid IN"
        " (SELECT rowid FROM external_limits WHERE ended ORDER BY set_at DESC LIMIT -1 OFFSET ?)",
        (ENDED_KEPT,),
    )


def present_limits(connection: sqlite3.Connection) -> Iterator[LimitRecord]:
    """Of each limit its newest record, the latest last.

    One that cannot be read and had not ended may have been any: until somebody takes it back nobody charges.
    """
    rows = connection.execute(
        "SELECT id, ended, document, max(set_at) FROM external_limits GROUP BY id ORDER BY max(set_at)"
    ).fetchall()
    for limit_id, ended, document, set_at in rows:
        record = _read(document)
        if record is not None:
            yield record
        elif not ended:
            nothing = ExternalLimit(str(limit_id), limit_w=0, reason="a stored limit that cannot be read")
            yield LimitRecord(nothing, "", datetime.fromisoformat(set_at))


def newest_limits(connection: sqlite3.Connection, most: int) -> tuple[LimitRecord, ...]:
    """What became of every limit, the latest first."""
    rows = connection.execute("SELECT document FROM external_limits ORDER BY set_at DESC LIMIT ?", (most,)).fetchall()
    return tuple(record for (document,) in rows if (record := _read(document)) is not None)


def _read(document: object) -> LimitRecord | None:
    try:
        return from_json(str(document), LimitRecord)
    except UnreadableError as error:
        log.error("A stored limit from outside cannot be read: %s", error)
        return None
