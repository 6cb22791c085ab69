"""The stations as lists: who waits to be adopted, who is in use."""

from __future__ import annotations

from typing import Any

from llm_adapters.web.desk import Desk
from llm_adapters.web.words import Words
from llm_core import Presence, overview


def station_lists(desk: Desk, words: Words) -> dict[str, Any]:
    """What the stations' templates show, from one snapshot of the state."""
    utc, state = desk.clock.utc(), desk.inbox.state
    seen = overview(state, desk.clock.monotonic_ms())
    adopted = [station for station in seen.stations if station.presence is not Presence.PENDING]
    return {
        "pending": [station for station in seen.stations if station.presence is Presence.PENDING],
        "stations": [(s, state.site.station(s.id), words.status(s, None), words.seen_since(s, utc)) for s in adopted],
        "clusters": {cluster.id: cluster.name for cluster in state.site.clusters},
    }
