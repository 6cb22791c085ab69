"""One SQLite file and the one thread that touches it.

Theory of operation. The file is in WAL mode with synchronous=FULL: a `write` that returned is on the disk. All
access goes through one thread, so a slow disk delays its caller and never the event loop. The connection is kept
for good, on purpose: after a failed fsync the lost transaction may still lie in the log, and reopening would
recover it and show what was never promised. The next write that works overwrites it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from llm_adapters.sqlite.disk import connect, in_transaction, migrate, take_snapshot
from llm_adapters.sqlite.recovery import Recovery, recover_if_damaged, snapshots, stamp, taken_at
from llm_core import Clock, StoreError

T = TypeVar("T")
FILE_NAME = "llm.db"
LOOK_EVERY_S = 3600
SNAPSHOTS_KEPT = 2  # the older one in case the newer was taken of a file already damaged
log = logging.getLogger(__name__)


class Database:
    """The open database; `recovery` tells what had to be done to open it, None when it was sound.

    Every method raises `StoreError` for what the disk refuses, and nothing else.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        thread: ThreadPoolExecutor,
        connection: sqlite3.Connection,
        recovery: Recovery | None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.recovery = recovery
        self._thread = thread
        self._connection = connection
        self._closed = False

    @classmethod
    async def open(cls, directory: Path, clock: Clock, *, repair: bool = True) -> Database:
        """Open or create `llm.db` in `directory`, migrated. `repair` checks it first and sets a damaged one aside:
        the server does; a command beside a running server must not take the file away from it."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        path = directory / FILE_NAME

        def prepare() -> tuple[sqlite3.Connection, Recovery | None]:
            directory.mkdir(parents=True, exist_ok=True)
            recovery = recover_if_damaged(path, clock.utc()) if repair else None
            connection = connect(path)
            migrate(connection, path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # room in the log would hide a full disk from `probe`
            return connection, recovery

        try:
            connection, recovery = await _in(thread, prepare)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        if recovery is not None:
            log.error("Damaged database set aside as %s: %s", recovery.set_aside, recovery.reason)
        return cls(path, clock, thread, connection, recovery)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` on what is committed."""
        return await self._run(lambda: work(self._connection))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work`, all of it on the disk; after an error nothing of it is visible."""
        return await self._run(lambda: in_transaction(self._connection, work))

    async def snapshot(self) -> Path:
        """A complete copy beside the database, without holding up anyone's commit; the oldest ones go."""
        target = self.path.with_name(f"{self.path.name}.daily-{stamp(self.clock.utc())}")

        def copy() -> None:
            take_snapshot(self.path, target)
            for old in snapshots(self.path)[SNAPSHOTS_KEPT:]:
                old.unlink()

        await _in(None, copy)
        return target

    async def close(self) -> None:
        """Finish what was queued, then close the file; a second time does nothing."""
        if not self._closed:
            self._closed = True
            await _in(self._thread, self._connection.close)
            self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError("the database is closed")
        return await _in(self._thread, work)


async def _in(thread: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:  # a number or a text that no column holds
        raise StoreError(str(error)) from error


async def snapshot_daily(database: Database) -> None:
    """Keep a snapshot younger than a day, until cancelled; a failing disk is tried again within the hour."""
    while True:
        try:
            await snapshot_if_due(database)
        except StoreError as error:
            log.error("No snapshot of the database: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)


async def snapshot_if_due(database: Database) -> Path | None:
    """Take a snapshot unless the newest one is of the last 24 hours (one of the future counts as none)."""
    newest = next(iter(snapshots(database.path)), None)
    if newest is not None and timedelta() <= database.clock.utc() - taken_at(newest) < timedelta(days=1):
        return None
    return await database.snapshot()
