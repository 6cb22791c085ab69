"""What can only be done while nothing runs: a restore and a factory reset, asked for on a page.

Theory of operation
-------------------
The page lays an order into the data directory: the backup itself, or an empty file that asks for a reset. Then the
server ends, and the next life begins by carrying the order out, before it opens the database. So a power cut in between
loses nothing: whoever starts next does what was asked for. A backup is checked before the order is laid, and what it
replaces is kept aside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from datetime import datetime
from pathlib import Path

from llm_adapters.sqlite.backup import erase, refuse_unfit, restore
from llm_adapters.sqlite.database import FILE_NAME
from llm_adapters.sqlite.disk import create_private, move_durably
from llm_app.control_socket import NAME as SOCKET_NAME
from llm_app.support import ERASED
from llm_core import StoreError

RESTORE, RESET = "restore.pending", "reset.pending"
ANSWER_S = 1.0  # whoever asked is answered before the server ends
log = logging.getLogger("llm.overhaul")


class Workshop:
    """Takes orders, and has the server end once it has answered."""

    def __init__(self, data: Path, ended: asyncio.Event) -> None:
        self._data = data
        self._ended = ended

    async def restore(self, backup: Path) -> None:
        """Have this backup take the place of everything. Raises `StoreError` where it is no good; nothing changes."""
        await asyncio.to_thread(_lay, backup, self._data / RESTORE)
        self._end("a backup is restored")

    async def reset(self) -> None:
        """Have everything erased. Raises `StoreError` where the disk refuses; nothing changes."""
        await asyncio.to_thread(_lay, None, self._data / RESET)
        self._end("everything is erased")

    def _end(self, why: str) -> None:
        log.warning("The server starts anew: %s.", why)
        asyncio.get_running_loop().call_later(ANSWER_S, self._ended.set)


def carry_out_orders(data: Path, utc: datetime) -> None:
    """Do what was asked for before the server ended; what cannot be done is told in the log, and dropped."""
    backup, reset = data / RESTORE, data / RESET
    if reset.exists():
        erase(data, (RESTORE, FILE_NAME, SOCKET_NAME, *ERASED))
        reset.unlink()
        log.warning("Everything was erased: the controller is as it was delivered.")
    elif backup.exists():
        try:
            aside = restore(backup, data / FILE_NAME, utc)
            log.warning("A backup was restored; what was there before is %s.", aside)
        except StoreError as error:
            log.error("The backup was not restored: %s", error)
        for part in data.glob(f"{RESTORE}*"):  # reading it may have left a log beside it
            part.unlink()


def _lay(backup: Path | None, order: Path) -> None:
    partial = order.with_name(f"{order.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_private(partial)
        if backup is not None:
            refuse_unfit(backup)
            shutil.copyfile(backup, partial)
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
        move_durably(partial, order)
    except OSError as error:
        raise StoreError(str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
