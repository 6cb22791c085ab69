"""A backup is one complete file, checked; a restore trusts nothing that may have changed since."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from llm_adapters.sqlite.disk import BUSY_TIMEOUT_S, create_private, move_durably, version_of
from llm_adapters.sqlite.recovery import damage_of, prepare, set_aside
from llm_adapters.sqlite.schema import MIGRATIONS
from llm_core import StoreError


class UnfitBackup(StoreError):
    """The file is at fault: it could never take the place of the database."""


def back_up(database: Path, target: Path) -> None:
    """A copy of what is committed at one instant, while others read and write; on the disk and sound when it returns.

    The log of the database is part of it, which a plain copy of the file would miss. Raises `StoreError`.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_private(partial)
        with (
            closing(sqlite3.connect(f"file:{_quoted(database)}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as source,
            closing(sqlite3.connect(partial)) as copy,
        ):
            source.backup(copy)
        if damage := damage_of(partial):
            raise StoreError(f"the database is damaged: {damage}")
        with closing(sqlite3.connect(partial)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever opens it
        move_durably(partial, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(str(error)) from error
    finally:
        _remove(partial)


def refuse_unfit(backup: Path) -> None:
    """Raise `UnfitBackup` where this file could not take the place of the database; nothing is changed."""
    try:
        with closing(sqlite3.connect(f"file:{_quoted(backup)}?mode=ro", uri=True)) as source:
            _refuse_other(source, backup)
        damage = damage_of(backup)
    except (sqlite3.Error, OSError) as error:
        raise UnfitBackup(f"{backup.name} cannot be restored: {error}") from error
    if damage:
        raise UnfitBackup(f"{backup.name} is damaged: {damage}")


def restore(backup: Path, database: Path, utc: datetime) -> Path | None:
    """The backup in the database's place, after it was checked; the present one is set aside and its name returned.

    Nobody may use the database meanwhile. Limits that stations may hold are doubted, browsers sign in again, and no
    transaction id is given twice. Raises `StoreError`, and nothing is changed: `UnfitBackup` where it is
    the file's fault.
    """
    checked = database.with_name(f"{database.name}.restoring")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        _remove(checked)
        create_private(checked)
        with closing(sqlite3.connect(f"file:{_quoted(backup)}?mode=ro", uri=True)) as source:
            _refuse_other(source, backup)
            with closing(sqlite3.connect(checked)) as copy:
                source.backup(copy)
        if damage := damage_of(checked):
            raise UnfitBackup(f"{backup} is damaged: {damage}")
        aside = database.with_name(f"{database.name}.replaced-{utc:%Y%m%dT%H%M%SZ}")
        prepared = prepare(database, checked, f"restored from {backup.name}", aside.name, utc)
        there = database.exists()
        set_aside(database, aside)
        move_durably(prepared, database)
        return aside if there else None
    except (sqlite3.Error, OSError) as error:
        told = f"{backup} cannot be restored: {error}"
        is_unfit = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        raise (UnfitBackup(told) if is_unfit else StoreError(told)) from error
    finally:
        _remove(checked)


def _refuse_other(source: sqlite3.Connection, backup: Path) -> None:
    """Refuse what is no database of ours, or one of a newer release."""
    version = version_of(source)
    tables = {name for (name,) in source.execute("SELECT name FROM sqlite_master")}
    if not {"facts", "sessions", "users"} <= tables or version < 1:
        raise UnfitBackup(f"{backup} is no backup of a load manager")
    if version > len(MIGRATIONS):
        raise UnfitBackup(f"{backup} was made by a newer release (its version is {version}, ours is {len(MIGRATIONS)})")


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _remove(path: Path) -> None:
    for part in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))):
        with suppress(OSError):  # whatever was wrong with it has been told
            part.unlink(missing_ok=True)


def erase(directory: Path, names: tuple[str, ...]) -> None:
    """Remove these files and everything whose name begins with one of them followed by a dot or a dash."""
    for path in sorted(directory.iterdir()):
        if any(path.name == name or path.name.startswith((f"{name}.", f"{name}-")) for name in names) and (
            path.is_file() or path.is_symlink()
        ):
            path.unlink()
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
