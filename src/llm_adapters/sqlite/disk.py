"""The file itself: how it is opened, written, brought up to date and copied. Everything here blocks."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from llm_adapters.sqlite.schema import MIGRATIONS
from llm_core import StoreError

T = TypeVar("T")
BUSY_TIMEOUT_S = 2.0  # a command on the controller holds the lock for milliseconds
SWITCH_RETRY_S = 0.02
LARGEST_WAL_BYTES = 16 * 1024 * 1024


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return; creates the file when there is none."""
    if not path.exists():
        create_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # One damaged letter must not hide its row.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        if _switch_to_wal(connection) != "wal":
            raise StoreError(f"{path.parent}: this file system cannot hold a write-ahead log")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {LARGEST_WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> str:
    """The journal mode afterwards. SQLite does not wait by itself for another process that creates the same file."""
    for _ in range(round(BUSY_TIMEOUT_S / SWITCH_RETRY_S)):
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(SWITCH_RETRY_S)
    raise StoreError("another process holds the database")


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """All of `work` or nothing of it. IMMEDIATE, so that a second process is waited for and never half-way refused."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")  # the disk failed even while it was rolled back
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> Path | None:
    """Bring the tables up to date, all steps or none; the snapshot that was taken before, if there was anything."""
    newest = len(migrations)
    found = version_of(connection)
    if found > newest:
        raise StoreError(f"{path} was made by a newer release (its version is {found}, ours is {newest})")
    if found == newest:
        return None
    before = path.with_name(f"{path.name}.before-v{newest}") if found else None
    if before is not None:
        take_snapshot(path, before)

    def apply(connection: sqlite3.Connection) -> None:
        for statements in migrations[version_of(connection) :]:  # read again: another process may have been faster
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("UPDATE facts SET value = ? WHERE name = 'schema'", (newest,))

    in_transaction(connection, apply)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # the tables are in the main file from the first day
    return before


def take_snapshot(path: Path, target: Path) -> None:
    """A complete copy of what is committed, in one file and on the disk, while others read and write."""
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        create_private(partial)
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as source:
            source.execute("VACUUM INTO ?", (str(partial),))
        move_durably(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def create_private(path: Path) -> None:
    """An empty file that nobody else on the machine reads: it is to hold password hashes."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def move_durably(source: Path, target: Path) -> None:
    """`target` is the complete `source` or what it was before, whenever the power goes."""
    descriptor = os.open(source, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
