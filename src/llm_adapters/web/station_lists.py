"""The stations as lists: who waits to be adopted, who is in use, and the search for new ones."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from llm_adapters.web.desk import Desk
from llm_adapters.web.words import Words
from llm_core import Presence, State, found_stations, overview

SCAN_S = 180


def station_lists(desk: Desk, words: Words) -> dict[str, Any]:
    """What the stations' templates show, from one snapshot of the state."""
    utc, state = desk.clock.utc(), desk.inbox.state
    seen = overview(state, desk.clock.monotonic_ms())
    adopted = [station for station in seen.stations if station.presence is not Presence.PENDING]
    order = {station_id: place for place, station_id in enumerate(found_stations(state))}
    waiting = [station for station in seen.stations if station.presence is Presence.PENDING]
    return {
        "pending": sorted(waiting, key=lambda station: order.get(station.id, len(order))),
        "stations": [(s, state.site.station(s.id), words.status(s, None), words.seen_since(s, utc)) for s in adopted],
        "clusters": {cluster.id: cluster.name for cluster in state.site.clusters},
        **_search(state, desk.clock.monotonic_ms()),
        "neighbours": desk.neighbours(),
        "nameless": nameless(desk.station_url),
        "with_id": with_id(desk.station_url),
    }


def nameless(station_url: str) -> str:
    """What a station seems to be called that was given this address and adds no id of its own."""
    return urlsplit(station_url).path.rstrip("/").rpartition("/")[2]


def with_id(station_url: str) -> str:
    """The address as it is typed into a station that adds no id of its own."""
    return f"{station_url.rstrip('/')}/BAY-1"


def _search(state: State, now_ms: int) -> dict[str, Any]:
    """The search that runs, or the last one: who has called since it began."""
    scan = state.station_scan
    if scan is None:
        return {"scanning": False, "scan_left": 0, "newly": frozenset(), "searched": False}
    newly = {
        station_id for station_id, known in state.stations.items() if known.online and known.since_ms >= scan.since_ms
    }
    left_s = max(0, -((now_ms - scan.until_ms) // 1000))
    return {"scanning": scan.is_open(now_ms), "scan_left": left_s, "newly": newly, "searched": True}
