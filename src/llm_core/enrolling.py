"""Enrolling badges by holding them to a station: a search at chosen stations, for a limited time.

What is found is a pending badge: it opens nothing until somebody gives it a group or activates it. The search has an
end in the state, so that nobody can forget to close it.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from llm_core.authorisation import LONGEST_TAG, Badge, BadgeState, normalise
from llm_core.effects import AuditEntry, BadgeRecord, Effect, NotSaved, Reply, Save, Saved
from llm_core.events import BadgeScanStarted, BadgeScanStopped
from llm_core.problem import Fault
from llm_core.quantities import Now
from llm_core.state import BadgeScan, FoundBadge, State

Result = tuple[State, tuple[Effect, ...]]

SHORTEST_S, LONGEST_S = 10, 900
MOST_FOUND = 200  # more is no stack of cards but somebody playing


def scan_started(state: State, event: BadgeScanStarted, now: Now) -> Result:
    """A new search; one that runs is replaced, and what it found stays among the badges."""
    faults = tuple(_faults(state, event))
    if faults:
        return state, (Reply(event.request, NotSaved(faults)),)
    scan = BadgeScan(event.by, event.stations, now.monotonic_ms + event.duration_s * 1000)
    where = "all stations" if event.stations is None else ", ".join(sorted(event.stations))
    audit = AuditEntry(now.utc, event.by, "badge scan", "", f"{where}, {event.duration_s} s")
    return attrs.evolve(state, badge_scan=scan), (Save(audit), Reply(event.request, Saved()))


def _faults(state: State, event: BadgeScanStarted) -> Iterator[Fault]:
    if not SHORTEST_S <= event.duration_s <= LONGEST_S:
        yield Fault("/duration_s", f"must lie between {SHORTEST_S} and {LONGEST_S} seconds")
    if event.stations is not None and not event.stations:
        yield Fault("/stations", "names no station")
    for index, station_id in enumerate(sorted(event.stations or ())):
        if state.site.station(station_id) is None:
            yield Fault(f"/stations/{index}", f"there is no station “{station_id}”")


def scan_stopped(state: State, event: BadgeScanStopped, now: Now) -> Result:
    """The search ends now; what it found stays to be seen."""
    reply = Reply(event.request, Saved())
    scan = state.badge_scan
    if scan is None or not scan.is_open(now.monotonic_ms):
        return state, (reply,)
    return attrs.evolve(state, badge_scan=attrs.evolve(scan, until_ms=now.monotonic_ms)), (reply,)


def scanned(state: State, station_id: str, id_tag: str, now: Now) -> Result:
    """Take in a badge that is held to a station while a search runs there; an unknown one becomes a pending badge."""
    scan = state.badge_scan
    if scan is None or not scan.is_open(now.monotonic_ms) or not _is_wanted(state, scan, station_id, id_tag):
        return state, ()
    known = state.badge(id_tag)
    found = FoundBadge(id_tag, station_id, now.utc, known is not None)
    state = attrs.evolve(state, badge_scan=attrs.evolve(scan, found=(*scan.found, found)))
    if known is not None:
        return state, ()
    key, badge = normalise(id_tag), Badge(id_tag, state=BadgeState.PENDING)
    audit = AuditEntry(now.utc, scan.by, "badge", "", f"{badge!r} found at {station_id}")
    return attrs.evolve(state, badges={**state.badges, key: badge}), (Save(BadgeRecord(key, badge)), Save(audit))


def _is_wanted(state: State, scan: BadgeScan, station_id: str, id_tag: str) -> bool:
    key = normalise(id_tag)
    here = state.site.station(station_id) is not None and (scan.stations is None or station_id in scan.stations)
    fits = bool(key) and len(id_tag) <= LONGEST_TAG and len(scan.found) < MOST_FOUND
    return here and fits and all(normalise(found.id_tag) != key for found in scan.found)
