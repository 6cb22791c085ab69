"""The search for stations: a window in which an installer watches who calls.

A station needs no window to call and wait; the window says since when somebody looks, so that what is new can be told
from what waited before, and it has an end in the state.
"""

from __future__ import annotations

import attrs

from llm_core.effects import AuditEntry, Effect, NotSaved, Reply, Save, Saved
from llm_core.orders import StationScan, StationScanStarted, StationScanStopped
from llm_core.problem import Fault
from llm_core.quantities import Now
from llm_core.state import State

SHORTEST_S, LONGEST_S = 10, 3_600

Result = tuple[State, tuple[Effect, ...]]


def station_scan_started(state: State, event: StationScanStarted, now: Now) -> Result:
    """A new window, in place of one that is open."""
    if not SHORTEST_S <= event.duration_s <= LONGEST_S:
        fault = Fault("/duration_s", f"must lie between {SHORTEST_S} and {LONGEST_S} seconds")
        return state, (Reply(event.request, NotSaved((fault,))),)
    scan = StationScan(event.by, now.monotonic_ms, now.monotonic_ms + event.duration_s * 1000)
    audit = AuditEntry(now.utc, event.by, "station scan", "", f"{event.duration_s} s")
    return attrs.evolve(state, station_scan=scan), (Save(audit), Reply(event.request, Saved()))


def station_scan_stopped(state: State, event: StationScanStopped, now: Now) -> Result:
    """The window closes now; who was found goes on waiting."""
    scan = state.station_scan
    if scan is not None and scan.is_open(now.monotonic_ms):
        state = attrs.evolve(state, station_scan=attrs.evolve(scan, until_ms=now.monotonic_ms))
    return state, (Reply(event.request, Saved()),)


def found_stations(state: State) -> tuple[str, ...]:
    """Stations that wait to be adopted, those that called since the last search began first."""
    waiting = [station_id for station_id in state.stations if state.site.station(station_id) is None]
    since_ms = state.station_scan.since_ms if state.station_scan is not None else None
    new = {s for s in waiting if since_ms is not None and state.stations[s].since_ms >= since_ms}
    return tuple(sorted(waiting, key=lambda station_id: (station_id not in new, station_id)))
