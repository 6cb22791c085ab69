"""Sessions as a spreadsheet: the manual's eight columns first, then what an accountant asks for.

Everything is exact: kilowatt-hours are cut from integer watt-hours, local times come from the site's time zone with
its daylight saving. An open session has an empty stop. No cell can start a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from llm_core import Session, State

COLUMNS = (
    "transactionId",
    "evcsId",
    "evcsName",
    "startDateTransaction",
    "stopDateTransaction",
    "badgeId",
    "badgeName",
    "energyChargedKwh",
    "serialNumber",
    "macAddress",
    "connector",
    "meterStartWh",
    "meterStopWh",
    "stopReason",
    "state",
    "chargingSeconds",
    "idleSeconds",
)
_ROWS_PER_CHUNK = 100
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")


async def write_sessions(
    sessions: AsyncIterator[Session], state: State, *, decimal_comma: bool = False
) -> AsyncIterator[str]:
    """The header and one line per session, as chunks of text in constant memory.

    Names, badges and the time zone are those of `state`. With `decimal_comma` fields are separated by `;`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";" if decimal_comma else ",")
    zone = ZoneInfo(state.site.system.time_zone)
    writer.writerow(COLUMNS)
    rows = 0
    async for session in sessions:
        writer.writerow(_row(state.latest(session), state, zone, "," if decimal_comma else "."))
        rows += 1
        if rows % _ROWS_PER_CHUNK == 0:
            yield _drained(text)
    yield _drained(text)


def _drained(text: io.StringIO) -> str:
    chunk = text.getvalue()
    text.seek(0)
    text.truncate()
    return chunk


def _row(session: Session, state: State, zone: tzinfo, mark: str) -> tuple[str, ...]:
    station = state.site.station(session.station_id)
    known = state.stations.get(session.station_id)
    badge = state.badge(session.id_tag)
    serial = known.serial if known is not None else ""
    return (
        str(session.transaction_id),
        _inert(session.station_id),
        _inert((station.name if station is not None else "") or session.station_id),
        _local(session.started_at, zone),
        _local(session.stopped_at, zone) if session.stopped_at is not None else "",
        _inert(badge.badge_id if badge is not None else session.id_tag or ""),
        _inert(badge.comment if badge is not None else ""),
        f"{session.energy_wh // 1000}{mark}{session.energy_wh % 1000:03}",
        _inert(serial),
        _mac(session.station_id, serial),
        str(session.connector),
        str(session.meter_start_wh),
        str(session.meter_stop_wh) if session.meter_stop_wh is not None else "",
        _inert(session.stop_reason or ""),
        session.state,
        str(session.charging_ms // 1000),
        str(session.idle_ms // 1000),
    )


def _local(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).strftime("%d.%m.%Y %H:%M")


def _mac(*candidates: str) -> str:
    """The first that has the form of a MAC address: many stations use theirs as id or serial number."""
    return next((candidate for candidate in candidates if _MAC.fullmatch(candidate)), "")


def _inert(text: str) -> str:
    """`text` that no spreadsheet takes for a formula; half a character (a lone surrogate) becomes a `?`."""
    whole = text.encode(errors="replace").decode()
    return f"'{whole}" if whole.startswith(_FORMULA) else whole
