"""What stations tell of themselves beside charging: firmware, uploads, security events, configuration keys."""

from __future__ import annotations

import attrs

from llm_core.effects import Effect, Note
from llm_core.orders import ConfigurationRead, StationReport, StationReported
from llm_core.presence import with_station
from llm_core.quantities import Now
from llm_core.sessions import believed
from llm_core.state import State

REPORTS = 50  # kept in sight for each station; the store has more
KEYS = 300
_SECRET = ("authorizationkey", "password", "secret", "token", "pin")


def reported(state: State, event: StationReported, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """Kept and shown, for adopted stations: a stranger fills no list. The same again at once is no news."""
    if state.site.station(event.station_id) is None:
        return state, ()
    report = StationReport(believed(event.at, now) or now.utc, event.station_id, event.kind, event.status, event.detail)
    known = state.reports.get(event.station_id, ())
    last = next((old for old in reversed(known) if old.kind is event.kind), None)
    if last is not None and attrs.evolve(last, at=report.at) == report and (last.at == report.at or event.at is None):
        return state, ()
    reports = {**state.reports, event.station_id: (*known, report)[-REPORTS:]}
    return attrs.evolve(state, reports=reports), (Note(report),)


def shown_value(key: str, value: str) -> str:
    """The value of a configuration key, or a mark in its place where the key may hold a secret."""
    return "…" if value and any(word in key.lower() for word in _SECRET) else value


def configuration_read(state: State, event: ConfigurationRead) -> State:
    """The keys in sight, newest values; a value that may be a secret is not kept."""
    known = state.stations.get(event.station_id)
    if known is None:
        return state
    told = {key: shown_value(key, value) for key, value in event.values.items()}
    kept = dict(list({**known.configuration, **told}.items())[:KEYS])
    return with_station(state, event.station_id, attrs.evolve(known, configuration=kept))
