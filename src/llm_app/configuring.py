"""`llm-app config …` and `badges import`: the configuration as a file, while no server owns the data directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from llm_adapters.files.badges_csv import parse_badges
from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.web.api.configuration import Configuration, read_configuration, write_configuration
from llm_adapters.web.api.exact import Malformed, Wrong, load
from llm_app.clock import SystemClock
from llm_app.faults import WrongInput
from llm_core import (
    AuditEntry,
    Badge,
    BadgeRecord,
    Fault,
    NotSaved,
    Record,
    Site,
    SiteError,
    check,
    normalise,
)

BY = "command line"


async def exported(database: Database) -> str:
    """The whole configuration as JSON text, without a secret."""
    return json.dumps(write_configuration(await _present(database)), indent=2, ensure_ascii=False)


async def imported(database: Database, text: bytes) -> int:
    """Replace what the document names, all of it or nothing; gives the number of users that it could not bring.

    A user without a password of their own cannot sign in, and a document holds none: users stay as they are.
    """
    before = await _present(database)
    wanted = read(text, before, database.path.parent)
    old = {normalise(badge.badge_id): badge for badge in before.badges}
    new = {normalise(badge.badge_id): badge for badge in wanted.badges}
    records: list[Record] = [wanted.site]
    records += [BadgeRecord(key, None) for key in old.keys() - new.keys()]
    records += [BadgeRecord(key, badge) for key, badge in new.items() if old.get(key) != badge]
    records.append(AuditEntry(SystemClock().utc(), BY, "configuration", repr(before.site), repr(wanted.site)))
    await SqliteStore(database).commit(records)
    known = {user.name for user in before.users}
    return sum(user.name not in known for user in wanted.users)


def read(text: bytes, base: Configuration | None = None, data: Path | None = None) -> Configuration:
    """The configuration that a document stands for. Raises `WrongInput` with a line for every fault."""
    try:
        wanted = read_configuration(load(text), base or Configuration.of(Site()), Catalogue(data))
        check(wanted.site)
    except (Malformed, Wrong, SiteError) as error:
        raise WrongInput("\n".join(map(_line, error.faults)) or str(error)) from error
    return wanted


async def badges_imported(database: Database, file: Path) -> int:
    """Add or renew the badges of a CSV file, all or none; gives their number."""
    store = SqliteStore(database)
    known = {normalise(badge.badge_id): badge for badge in (await store.load()).badges}
    outcome = parse_badges(read_file(file), known)
    if isinstance(outcome, NotSaved):
        raise WrongInput("\n".join(f"{file}: {_line(fault)}" for fault in outcome.faults))
    await store.commit([_record(badge) for badge in outcome])
    return len(outcome)


def read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WrongInput(f"cannot read {file}: {error.strerror}") from error


async def _present(database: Database) -> Configuration:
    stored = await SqliteStore(database).load()
    return Configuration.of(stored.site or Site(), stored.badges, await SqliteAccounts(database).users())


def _record(badge: Badge) -> BadgeRecord:
    return BadgeRecord(normalise(badge.badge_id), badge)


_line: Callable[[Fault], str] = "{0.pointer} {0.text}".format
