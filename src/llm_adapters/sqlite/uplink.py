"""The ports `UplinkQueue` and `UplinkSecrets` on the database: what the CPO has yet to hear, and the keys to it.

Starts and stops come in with the store's commits (`outbox`). The book of transactions outlives the queue: it knows the
CPO's own number of each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime

from llm_adapters.sqlite.columns import storable
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.outbox import take
from llm_adapters.sqlite.store import append_audit
from llm_core import AuditEntry, Queued, QueueLengths, UplinkKind, UplinkMessage

KEPT_TRANSACTIONS = 100_000
SELECT = """SELECT q.id, q.message_id, q.station_id, q.kind, q.transaction_id, q.connector, q.id_tag, q.meter_wh,
    q.at, q.reason, q.said, t.cpo_id, q.refusal FROM uplink_queue q
    LEFT JOIN uplink_transactions t ON t.transaction_id = q.transaction_id"""
Row = tuple[object, ...]


class SqliteUplink:
    """Durable and in order per station (ports `UplinkQueue` and `UplinkSecrets`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # The queue

    async def waiting(self, station_id: str, most: int) -> tuple[Queued, ...]:
        return await self._select("WHERE q.station_id = ? AND q.refusal = '' ORDER BY q.id LIMIT ?", station_id, most)

    async def refused(self, station_id: str, most: int) -> tuple[Queued, ...]:
        return await self._select(
            "WHERE q.station_id = ? AND q.refusal <> '' ORDER BY q.id DESC LIMIT ?", station_id, most
        )

    async def lengths(self, station_id: str) -> QueueLengths:
        def count(connection: sqlite3.Connection) -> QueueLengths:
            station = storable(station_id)
            waiting, refused = connection.execute(
                """SELECT coalesce(sum(refusal = ''), 0), coalesce(sum(refusal <> ''), 0)
                    FROM uplink_queue WHERE station_id = ?""",
                (station,),
            ).fetchone()
            (doubtful,) = connection.execute(
                "SELECT count(*) FROM uplink_transactions WHERE station_id = ? AND doubtful = 1", (station,)
            ).fetchone()
            return QueueLengths(waiting, refused, doubtful)

        return await self._database.read(count)

    async def put(self, messages: Iterable[UplinkMessage]) -> None:
        batch = tuple(messages)

        def work(connection: sqlite3.Connection) -> None:
            for message in batch:
                take(connection, message)

        await self._database.write(work)

    async def delivered(self, numbers: Iterable[int]) -> None:
        batch = [(number,) for number in numbers]
        await self._database.write(lambda connection: connection.executemany(_DELETE, batch))

    async def started(self, number: int, cpo_transaction_id: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                """UPDATE uplink_transactions SET cpo_id = ?
                    WHERE transaction_id = (SELECT transaction_id FROM uplink_queue WHERE id = ?)""",
                (str(cpo_transaction_id), number),
            )
            connection.execute(_DELETE, (number,))
            connection.execute(
                "DELETE FROM uplink_transactions WHERE stopped = 1 AND transaction_id <="
                " (SELECT max(transaction_id) FROM uplink_transactions) - ?"
                " AND transaction_id NOT IN (SELECT transaction_id FROM uplink_queue)",
                (KEPT_TRANSACTIONS,),
            )

        await self._database.write(work)

    async def sending(self, number: int) -> None:
        await self._database.write(
            lambda connection: connection.execute(
                """UPDATE uplink_transactions SET doubtful = doubtful OR sent, sent = 1
                    WHERE transaction_id = (SELECT transaction_id FROM uplink_queue WHERE id = ?)""",
                (number,),
            )
        )

    async def not_taken(self, number: int) -> None:
        await self._database.write(
            lambda connection: connection.execute(
                """UPDATE uplink_transactions SET sent = 0
                    WHERE transaction_id = (SELECT transaction_id FROM uplink_queue WHERE id = ?)""",
                (number,),
            )
        )

    async def refuse(self, number: int, reason: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT kind, transaction_id FROM uplink_queue WHERE id = ?", (number,)).fetchone()
            if row is None:
                return
            kind, transaction_id = row
            where, key = ("transaction_id", transaction_id) if kind == UplinkKind.START else ("id", number)
            connection.execute(
                f"UPDATE uplink_queue SET refusal = ? WHERE refusal = '' AND {where} = ?", (storable(reason), key)
            )

        await self._database.write(work)

    async def retry_refused(self, station_id: str) -> None:
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE uplink_queue SET refusal = '' WHERE station_id = ?", (storable(station_id),)
            )
        )

    async def cpo_transaction(self, transaction_id: int) -> int | None:
        return await self._number("SELECT cpo_id FROM uplink_transactions WHERE transaction_id = ?", transaction_id)

    async def own_transaction(self, station_id: str, cpo_transaction_id: int) -> int | None:
        return await self._number(
            "SELECT max(transaction_id) FROM uplink_transactions WHERE station_id = ? AND cpo_id = ?",
            storable(station_id),
            str(cpo_transaction_id),
        )

    # Facts about stations

    async def note(self, station_id: str, name: str, value: str | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if value is None:
                connection.execute(
                    "DELETE FROM uplink_notes WHERE station_id = ? AND name = ?", (storable(station_id), storable(name))
                )
            else:
                connection.execute(
                    "INSERT OR REPLACE INTO uplink_notes VALUES (?, ?, ?)",
                    (storable(station_id), storable(name), storable(value)),
                )

        await self._database.write(work)

    async def notes(self, station_id: str) -> Mapping[str, str]:
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT name, value FROM uplink_notes WHERE station_id = ?", (storable(station_id),)
            ).fetchall()
        )
        return {str(name): str(value) for name, value in rows}

    # Secrets

    async def secret(self, station_id: str, name: str) -> str | None:
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT value FROM uplink_secrets WHERE station_id = ? AND name = ?", (storable(station_id), name)
            ).fetchone()
        )
        return None if row is None else str(row[0])

    async def names(self) -> frozenset[tuple[str, str]]:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT station_id, name FROM uplink_secrets").fetchall()
        )
        return frozenset((str(station_id), str(name)) for station_id, name in rows)

    async def keep(self, secrets: Mapping[tuple[str, str], str | None], by: str) -> None:
        at = self._database.clock.utc()

        def work(connection: sqlite3.Connection) -> None:
            for (station_id, name), value in secrets.items():
                key = (storable(station_id), storable(name))
                if value is None:
                    connection.execute("DELETE FROM uplink_secrets WHERE station_id = ? AND name = ?", key)
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO uplink_secrets VALUES (?, ?, ?)", (*key, storable(value))
                    )
                entry = AuditEntry(at, by, "uplink secret", "", f"{station_id} {name}: {'set' if value else 'removed'}")
                append_audit(connection, entry)

        if secrets:
            await self._database.write(work)

    async def _select(self, rest: str, station_id: str, most: int) -> tuple[Queued, ...]:
        rows = await self._database.read(
            lambda connection: connection.execute(f"{SELECT} {rest}", (storable(station_id), most)).fetchall()
        )
        return tuple(_queued(row) for row in rows)

    async def _number(self, query: str, *values: object) -> int | None:
        row = await self._database.read(lambda connection: connection.execute(query, values).fetchone())
        return None if row is None or row[0] is None else int(row[0])


_DELETE = "DELETE FROM uplink_queue WHERE id = ?"


def _queued(row: Row) -> Queued:
    number, message_id, station_id, kind, transaction_id, connector, id_tag, meter_wh, at, reason, said, cpo, no = row
    message = UplinkMessage(
        str(station_id),
        UplinkKind(str(kind)),
        int(str(transaction_id)),
        int(str(connector)),
        None if id_tag is None else str(id_tag),
        None if meter_wh is None else int(str(meter_wh)),
        None if at is None else datetime.fromisoformat(str(at)),
        str(reason),
        str(said),
    )
    return Queued(int(str(number)), str(message_id), message, None if cpo is None else int(str(cpo)), str(no))
