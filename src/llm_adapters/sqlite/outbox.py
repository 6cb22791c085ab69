"""How messages for the CPO come into its queue: within the commit of what they tell about, and once.

The book of transactions remembers which starts and stops were taken, so that a repeated one is none.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from llm_adapters.sqlite.columns import storable, utc_text
from llm_core import CpoVerdict, UplinkKind, UplinkMessage

MOST_METER_VALUES = 50_000  # of one station; beyond that every second of the oldest half goes


def take(connection: sqlite3.Connection, message: UplinkMessage) -> None:
    """Put a message in the queue: a start once, a stop once and after a start, meter values of what was started."""
    station, number = storable(message.station_id), message.transaction_id
    if message.kind is UplinkKind.START:
        taken = connection.execute(
            "INSERT OR IGNORE INTO uplink_transactions (transaction_id, station_id) VALUES (?, ?)", (number, station)
        )
    elif message.kind is UplinkKind.STOP:
        taken = connection.execute(
            "UPDATE uplink_transactions SET stopped = 1 WHERE transaction_id = ? AND station_id = ? AND stopped = 0",
            (number, station),
        )
    else:
        taken = connection.execute(
            """INSERT INTO uplink_queue (message_id, station_id, kind, transaction_id, connector, at, said)
                SELECT lower(hex(randomblob(9))), ?, 'meter', ?, ?, ?, ? WHERE ? = 0 OR EXISTS
                (SELECT 1 FROM uplink_transactions WHERE transaction_id = ? AND station_id = ?)""",
            (station, number, message.connector, _at(message.at), message.said, number, number, station),
        )
        if taken.rowcount and (taken.lastrowid or 0) % 1_000 == 0:
            _thin(connection, station)
        return
    if taken.rowcount:
        connection.execute(
            """INSERT INTO uplink_queue
                (message_id, station_id, kind, transaction_id, connector, id_tag, meter_wh, at, reason, said)
                VALUES (lower(hex(randomblob(9))), ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                station,
                message.kind.value,
                number,
                message.connector,
                None if message.id_tag is None else storable(message.id_tag),
                message.meter_wh,
                _at(message.at),
                storable(message.reason),
                storable(message.said),
            ),
        )


def remember(connection: sqlite3.Connection, verdict: CpoVerdict) -> None:
    """What the CPO last said of a badge, the last in the order of their saying."""
    key = storable(verdict.id_tag)
    connection.execute("DELETE FROM cpo_verdicts WHERE id_tag = ?", (key,))
    if verdict.verdict is not None:
        connection.execute(
            "INSERT INTO cpo_verdicts (id_tag, verdict, expires_at) VALUES (?, ?, ?)",
            (key, verdict.verdict.value, _at(verdict.expires_at)),
        )


def _thin(connection: sqlite3.Connection, station: str) -> None:
    """Too many readings of one station: every second of its oldest half goes, starts and stops never."""
    (count,) = connection.execute(
        "SELECT count(*) FROM uplink_queue WHERE station_id = ? AND kind = 'meter'", (station,)
    ).fetchone()
    if count > MOST_METER_VALUES:
        connection.execute(
            """DELETE FROM uplink_queue WHERE id IN (SELECT id FROM
                (SELECT id, row_number() OVER (ORDER BY id) AS place FROM uplink_queue
                WHERE station_id = ? AND kind = 'meter' AND refusal = '') WHERE place <= ? AND place % 2 = 0)""",
            (station, count // 2),
        )


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)
