"""The port `MailBook` on the database: the set-up as a document, and its password apart from it."""

from __future__ import annotations

import sqlite3

from llm_adapters.sqlite.columns import storable
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_adapters.sqlite.store import append_audit
from llm_core import AuditEntry, MailSetup


class SqliteMail:
    """One row; none is the set-up that is off."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def setup(self) -> MailSetup:
        """What is stored; a document that cannot be read counts as off."""
        document = await self._column("document")
        try:
            return from_json(document, MailSetup) if document else MailSetup()
        except UnreadableError:
            return MailSetup()

    async def password(self) -> str:
        return await self._column("password")

    async def sent_month(self) -> str:
        return await self._column("sent_month")

    async def replace(self, setup: MailSetup, password: str | None, by: str) -> None:
        before = await self.setup()

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO mail VALUES (1, '', '', '')")
            connection.execute("UPDATE mail SET document = ?", (to_json(setup),))
            if password is not None:
                connection.execute("UPDATE mail SET password = ?", (storable(password),))
            entry = AuditEntry(self._database.clock.utc(), by, "mail", repr(before), repr(setup))
            append_audit(connection, entry)

        await self._database.write(change)

    async def mark_sent(self, month: str) -> None:
        await self._database.write(lambda connection: connection.execute("UPDATE mail SET sent_month = ?", (month,)))

    async def _column(self, name: str) -> str:
        row = await self._database.read(lambda connection: connection.execute(f"SELECT {name} FROM mail").fetchone())
        return str(row[0]) if row is not None else ""
