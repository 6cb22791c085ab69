"""The support bundle: what helps somebody else to find a fault, and nothing that opens a door or names a driver.

Only what is named here goes in. Passwords, hashes, tokens and keys are in tables that are never read; badges get false
ids, the same throughout one bundle, and the comments and addresses of their owners are left out.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib.metadata import distributions, version
from itertools import chain
from pathlib import Path

from llm_adapters.files.journal import PRESENT, PREVIOUS, masked
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.history import FILE_NAME as HISTORY
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.web.api.configuration import Configuration, write_configuration
from llm_adapters.web.api.views import session_json
from llm_app.clock import SystemClock
from llm_core import EVERYTHING, AuditEntry, Now, Session, State, normalise, recover

ERASED = (PRESENT, PREVIOUS, HISTORY)
CHANGES = 1_000
SESSIONS = 500
PERSONAL = ("badge", "badge scan")  # changes whose old and new are about somebody


async def write_bundle(target: Path, data: Path, database: Database) -> None:
    """Write the bundle. Raises OSError when the file cannot be written."""
    store, clock = SqliteStore(database), SystemClock()
    state, _ = recover(await store.load(), Now(clock.monotonic_ms(), clock.utc()), factory=False)
    changes = [entry async for entry in store.audit(CHANGES)]
    everything = (datetime(2000, 1, 1, tzinfo=UTC), clock.utc() + timedelta(days=365))
    page = await store.session_page(*everything, EVERYTHING, SESSIONS, 0)
    refused = await store.refused_starts(SESSIONS)
    mask = Mask(state, chain((s.id_tag for s in page.sessions), (refusal.id_tag for refusal in refused)))
    facts = await database.read(_facts_of)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("about.json", _json({**_about(data, clock.utc()), **facts}))
        bundle.writestr("configuration.json", mask.clean(_json(_configuration(state, mask))))
        bundle.writestr("changes.txt", mask.clean("".join(map(_change, changes))))
        bundle.writestr("sessions.json", mask.clean(_json([_session(s, state, mask) for s in page.sessions])))
        for name in (PREVIOUS, PRESENT):
            if (data / name).exists():
                with (data / name).open(encoding="utf-8", errors="replace") as lines:
                    bundle.writestr(name, "".join(masked(lines)))


class Mask:
    """False ids for badges, the same for one badge wherever it stands."""

    def __init__(self, state: State, tags: Iterable[str | None]) -> None:
        keys = dict.fromkeys(chain(state.badges, (normalise(tag) for tag in tags if tag is not None)))
        self._names = {key: f"badge{number}" for number, key in enumerate((key for key in keys if key), 1)}
        people = chain.from_iterable((b.comment, b.email, b.group or "") for b in state.badges.values())
        words = [_spelt(key) for key in self._names if len(key) > 3]
        words += [re.escape(text) for text in dict.fromkeys(people) if len(text) > 2]
        self._hidden = re.compile("|".join(sorted(words, key=len, reverse=True)), re.IGNORECASE) if words else None

    def badge(self, tag: str) -> str:
        return self._names.get(normalise(tag), "badge")

    def clean(self, text: str) -> str:
        """The text without any id or person that slipped into it."""
        if self._hidden is None:
            return text
        return self._hidden.sub(lambda found: self._names.get(normalise(found[0]), "…"), text)


def _spelt(key: str) -> str:
    """A pattern for a number however it is spelt; not inside a longer word."""
    return r"(?<!\w)" + "[: ]?".join(map(re.escape, key)) + r"(?!\w)"


def _about(data: Path, utc: datetime) -> dict[str, object]:
    disk = shutil.disk_usage(data)
    return {
        "version": version("local-load-manager"),
        "made_at": utc.isoformat(timespec="seconds"),
        "python": sys.version,
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
        "files": {path.name: path.stat().st_size for path in sorted(data.iterdir()) if path.is_file()},
        "packages": dict(sorted((found.name, found.version) for found in distributions())),
    }


def _facts_of(connection: sqlite3.Connection) -> dict[str, object]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        "schema": connection.execute("PRAGMA user_version").fetchone()[0],
        "check": connection.execute("PRAGMA quick_check(1)").fetchone()[0],
        "rows": {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables},
    }


def _configuration(state: State, mask: Mask) -> dict[str, object]:
    """The configuration; of every badge what its rights are, of the users nothing."""
    document: dict[str, object] = dict(write_configuration(Configuration.of(state.site)))
    document["badges"] = [
        {
            "badge_id": mask.badge(badge.badge_id),
            "type": badge.type,
            "state": badge.state,
            "expires_on": badge.expires_on.isoformat() if badge.expires_on is not None else None,
            "stations": sorted(badge.stations) if badge.stations is not None else "all",
        }
        for badge in state.badges.values()
    ]
    return {name: part for name, part in document.items() if name != "users"}


def _change(entry: AuditEntry) -> str:
    about = "" if entry.what in PERSONAL else f"\t{entry.old}\t{entry.new}"
    return f"{entry.at.isoformat(timespec='seconds')}\t{entry.by}\t{entry.what}{about}\n"


def _session(session: Session, state: State, mask: Mask) -> dict[str, object]:
    shown: dict[str, object] = dict(session_json(session, state))
    shown["badge_id"] = mask.badge(session.id_tag) if session.id_tag is not None else None
    return {name: value for name, value in shown.items() if name != "badge_name"}


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
