"""What commissioning tests have shown: kept for each model and firmware, and believed where it is the worse news.

A test that disproves an ability takes it away whatever a station says of itself, also at the next station of the same
model and firmware. One that proves an ability adds only what nobody else could know: that limits outlive a restart.
"""

from __future__ import annotations

import attrs

from llm_core.commissions import Commission, CommissionTold, Finding, Progress, Trial
from llm_core.effects import AuditEntry, Effect, Save
from llm_core.events import Capabilities
from llm_core.quantities import Now
from llm_core.state import State, StationState

_WHOLE_AMPS_MA = 1_000


def commission_told(state: State, event: CommissionTold, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """How far the test is; once it is over it is kept and audited, and what it showed counts from now on."""
    station = state.site.station(event.station_id)
    if station is None:
        return state, ()
    before = state.commissions.get(event.station_id)
    goes_on = before is not None and before.progress is Progress.RUNNING
    commission = Commission(
        event.station_id,
        event.connector,
        event.by,
        before.at if before is not None and goes_on else now.utc,
        event.progress,
        event.trying,
        event.tried,
        model_of(state.stations.get(event.station_id, StationState())),
        event.why,
    )
    state = attrs.evolve(state, commissions={**state.commissions, event.station_id: commission})
    if event.progress is Progress.RUNNING:
        return state, ()
    state = _with_learned(state, event.station_id)
    told = ", ".join(f"{tried.trial.value} {tried.finding.value}" for tried in event.tried)
    audit = AuditEntry(now.utc, event.by, "commission", event.station_id, told or event.why)
    return state, (Save(commission), Save(audit))


def model_of(known: StationState) -> str:
    """What a test tells about: maker, model and firmware; empty where the station does not say."""
    return " / ".join((known.vendor, known.model, known.firmware)) if known.model else ""


def lesson(state: State, station_id: str) -> Commission | None:
    """The test that speaks for this station: its own, else the last one of its model and firmware."""
    model = model_of(state.stations.get(station_id, StationState()))
    done = [c for c in state.commissions.values() if c.progress is Progress.DONE and model and c.model == model]
    own = [commission for commission in done if commission.station_id == station_id]
    return max(own or done, key=lambda commission: commission.at, default=None)


def learned(state: State, station_id: str, told: Capabilities) -> Capabilities:
    """The capabilities as told, less what a test has disproved."""
    test = lesson(state, station_id)
    if test is None:
        return told
    refuses = test.found(Trial.AMPS) is test.found(Trial.WATTS) is Finding.NO
    whole = not told.in_watts and test.found(Trial.DECIMALS) is Finding.NO
    kept = test.found(Trial.KEEPS_PROFILES)
    return attrs.evolve(
        told,
        takes_limits=told.takes_limits and not refuses,
        step_ma=max(told.step_ma, _WHOLE_AMPS_MA) if whole else told.step_ma,
        decays=told.decays and Finding.NO not in (test.found(Trial.FALLS_BACK), test.found(Trial.SECOND_PERIOD)),
        keeps_profiles=kept is Finding.YES or (told.keeps_profiles and kept is not Finding.NO),
        forgets=has_forgotten(test),
    )


def has_forgotten(test: Commission) -> bool:
    """Whether a cut link or a restart left the station without the limits that it should have kept to."""
    return test.progress is Progress.DONE and Finding.NO in (
        test.found(Trial.FALLS_BACK),
        test.found(Trial.KEEPS_PROFILES),
    )


def _with_learned(state: State, station_id: str) -> State:
    known = state.stations.get(station_id)
    if known is None:
        return state
    after = attrs.evolve(known, capabilities=learned(state, station_id, known.capabilities))
    return attrs.evolve(state, stations={**state.stations, station_id: after})
