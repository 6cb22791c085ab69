"""A damaged database is set aside, the newest sound snapshot takes its place, and what it says is not all believed.

Never repaired in place. What takes the damaged file's place is prepared completely under another name first, so
that a power cut at any moment leaves either the damaged file, which starts this again, or the prepared one, which
the next start moves into place.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import attrs

from llm_adapters.sqlite.columns import document_crc, utc_text
from llm_adapters.sqlite.disk import connect, in_transaction, migrate, move_durably, version_of
from llm_adapters.sqlite.schema import MIGRATIONS

# ERROR too: what is asked here can only be refused when the tables are not what they were.
DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
STAMP = "%Y%m%dT%H%M%SZ"
SKIPPED_IDS = 100_000  # more transactions than a site starts in the days since its last snapshot
ID_EPOCH_S = 1_700_000_000
LARGEST_ID = 2**30  # transaction ids are 32 bit numbers in OCPP, and there is a life after this recovery


@attrs.frozen
class Recovery:
    """What was found at start and done about it: shown to people, never hidden."""

    reason: str
    set_aside: Path  # the damaged file's new name
    restored: Path | None  # the snapshot that took its place; None: there was none, the configuration is lost


def stamp(utc: datetime) -> str:
    """The instant as part of a file name; such names sort by time."""
    return utc.astimezone(UTC).strftime(STAMP)


def taken_at(snapshot: Path) -> datetime:
    return datetime.strptime(snapshot.name[-len("20260101T000000Z") :], STAMP).replace(tzinfo=UTC)


def snapshots(path: Path) -> list[Path]:
    """The daily snapshots, newest first."""
    return sorted(path.parent.glob(f"{path.name}.daily-{'[0-9]' * 8}T{'[0-9]' * 6}Z"), reverse=True)


def recover_if_damaged(path: Path, utc: datetime) -> Recovery | None:
    """Leave a sound database, or none, at `path`; tell what was done. Errors of the disk are raised, not repaired."""
    prepared = path.with_name(f"{path.name}.prepared")
    aside = path.with_name(f"{path.name}.corrupt-{stamp(utc)}")
    if not path.exists() and prepared.exists():
        set_aside(path, aside)
        move_durably(prepared, path)
    reason = damage_of(path)
    if reason is None:
        return None
    snapshot = next((copy for copy in snapshots(path) if damage_of(copy) is None), None)
    recovery = Recovery(reason, aside, snapshot)
    prepare(path, snapshot, f"database damaged: {reason}", aside.name, utc)
    set_aside(path, aside)
    move_durably(prepared, path)
    return recovery


def damage_of(path: Path) -> str | None:
    """Why this file cannot be trusted, or None. Raises the disk's own errors."""
    if not path.exists():
        return "the database is missing" if snapshots(path) else None
    try:
        with closing(connect(path)) as connection:
            return next(_signs_of_damage(connection, path), None)
    except UnicodeDecodeError as error:  # of SQLite's own message, which cites what it found
        return str(error)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        says_read_only = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
        if code not in DAMAGE_CODES and not says_read_only:
            raise
        return str(error)


def _signs_of_damage(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    for (finding,) in connection.execute("PRAGMA quick_check(1)"):
        if finding != "ok":
            yield str(finding)
    tables = _tables(connection)
    if not tables:
        if snapshots(path):
            yield "the database is empty"
        return
    facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    version = version_of(connection)
    if facts.get("schema") != version or (version <= len(MIGRATIONS) and tables != _tables_of(version)):
        yield "the tables are not those of its version"
    if not all(isinstance(facts.get(name), int) for name in ("factory", "last_transaction_id")):
        yield "what must never be forgotten is missing"
    for document, crc in connection.execute("SELECT document, crc FROM site"):
        if document_crc(document) != crc:
            yield "the configuration does not match its check sum"
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE facts SET value = 0 WHERE name = 'probe'")  # refused by a header that says read-only
    connection.execute("ROLLBACK")


def _tables(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def _tables_of(version: int) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                connection.execute(statement)
        return _tables(connection)


def prepare(path: Path, source: Path | None, what: str, aside: str, utc: datetime) -> Path:
    """A complete database that may take the place of `path`, made of a copy of `source` (None: an empty one)."""
    prepared = path.with_name(f"{path.name}.prepared")
    unfinished = path.with_name(f"{path.name}.prepared.partial")
    for leftover in unfinished.parent.glob(f"{unfinished.name}*"):
        leftover.unlink()
    if source is not None:
        shutil.copyfile(source, unfinished)
    with closing(connect(unfinished)) as connection:
        migrate(connection, unfinished)
        in_transaction(connection, lambda connection: _distrust(connection, what, aside, source, utc))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    move_durably(unfinished, prepared)
    return prepared


def _distrust(connection: sqlite3.Connection, what: str, aside: str, source: Path | None, utc: datetime) -> None:
    """Take back what may have changed since the copy was made.

    Ceilings become doubtful, browsers sign in again, no transaction id is given twice (less than one transaction
    a second ever starts, so the seconds since a fixed day are ahead of every id given), and the factory password
    stays dead: who has a shell on the controller sets a new one.
    """
    ahead = min(int(utc.timestamp()) - ID_EPOCH_S, LARGEST_ID)
    connection.execute("UPDATE ceilings SET limit_ma = NULL")
    connection.execute("DELETE FROM web_sessions")
    connection.execute("UPDATE facts SET value = 0 WHERE name = 'factory'")
    connection.execute(
        "UPDATE facts SET value = max(value + ?, ?) WHERE name = 'last_transaction_id'", (SKIPPED_IDS, ahead)
    )
    restored = "an empty database" if source is None else source.name
    connection.execute(
        "INSERT INTO audit (at, by, what, old, new) VALUES (?, 'controller', ?, ?, ?)",
        (utc_text(utc), what, aside, restored),
    )


def set_aside(path: Path, aside: Path) -> None:
    """The log first of all stays with its database: left behind, it would be replayed onto another one."""
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            move_durably(part, aside.with_name(aside.name + suffix))
