"""One step: a fact comes in, the next state and the effects go out. Nothing here but the switch.

Facts only change what is known, or are answered where a protocol waits; only `Tick` computes limits.
"""

from __future__ import annotations

from typing import assert_never

import attrs

from llm_core.budget import sampled
from llm_core.commissions import CommissionTold
from llm_core.configuration import badges_edited, site_edited
from llm_core.control import tick
from llm_core.copies import changed
from llm_core.cpo import heard, presented, started, stopped
from llm_core.curtailment import limited
from llm_core.effects import Effect, Note, Save
from llm_core.enrolling import scan_started, scan_stopped
from llm_core.events import (
    BadgePresented,
    BadgeScanStarted,
    BadgeScanStopped,
    BadgesEdited,
    CapabilitiesFound,
    ClockStepped,
    ConfigurationReplaced,
    CpoAnswered,
    CpoCacheCleared,
    Event,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterSampled,
    MeterValuesReceived,
    Request,
    SetUpDone,
    SiteEdited,
    StartRequested,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    StationTurnedAway,
    StatusChanged,
    StopRequested,
    StorageFailed,
    StorageHealed,
    Tick,
    UplinkReported,
)
from llm_core.external import ConnectorCapped, LimitHeard, LimitPut, LimitWithdrawn
from llm_core.local_lists import LocalListTold
from llm_core.orders import (
    ConfigurationRead,
    OrderEnded,
    StationOrdered,
    StationReported,
    StationScanStarted,
    StationScanStopped,
)
from llm_core.presence import (
    answered,
    booted,
    clock_read,
    clock_stepped,
    connected,
    disconnected,
    found_capable,
    metered,
    status_changed,
    turned_away,
)
from llm_core.quantities import Now
from llm_core.replacing import configuration_replaced
from llm_core.state import State
from llm_core.station_care import cared
from llm_core.wish import WishPut
from llm_core.yielding import wished


@attrs.frozen
class Step:
    """The outcome of an event: what is known now, and what is to be done, in order."""

    state: State
    effects: tuple[Effect, ...] = ()


def step(state: State, event: Event, now: Now) -> Step:
    """Apply one event. Same state, event and instant give the same outcome; nothing is changed in place."""
    latest_utc = now.utc if state.latest_utc is None else max(state.latest_utc, now.utc)
    outcome = _apply(changed(state, latest_utc=latest_utc), event, now)
    if state.storage_failing is not None and not isinstance(event, Request):
        return attrs.evolve(outcome, effects=tuple(_unpromised(effect) for effect in outcome.effects))
    return outcome


def _unpromised(effect: Effect) -> Effect:
    """While the disk fails a fact is still a fact: what it would have saved is written when the disk is back."""
    return Note(effect.record) if isinstance(effect, Save) else effect


def _apply(state: State, event: Event, now: Now) -> Step:
    match event:
        case Tick():
            return Step(*tick(state, now))
        case MeterSampled():
            return Step(sampled(state, event, now.monotonic_ms))
        case StationConnected():
            return Step(*connected(state, event, now))
        case StationDisconnected():
            return Step(disconnected(state, event.station_id, now))
        case StationTurnedAway():
            return Step(turned_away(state, event, now))
        case StationBooted():
            return Step(*booted(state, event))
        case CapabilitiesFound():
            return Step(found_capable(state, event))
        case StationClockRead():
            return Step(clock_read(state, event.station_id, event.ahead_ms))
        case StatusChanged():
            return Step(*status_changed(state, event, now))
        case BadgePresented():
            return Step(*presented(state, event, now))
        case StartRequested():
            return Step(*started(state, event, now))
        case StopRequested():
            return Step(*stopped(state, event, now))
        case MeterValuesReceived():
            return Step(metered(state, event, now))
        case LimitConfirmed() | LimitRefused() | LimitUnanswered():
            return Step(answered(state, event, now))
        case SiteEdited():
            return Step(*site_edited(state, event, now))
        case ConfigurationReplaced():
            return Step(*configuration_replaced(state, event, now))
        case BadgesEdited():
            return Step(*badges_edited(state, event, now))
        case BadgeScanStarted():
            return Step(*scan_started(state, event, now))
        case BadgeScanStopped():
            return Step(*scan_stopped(state, event, now))
        case LimitPut() | LimitHeard() | LimitWithdrawn() | ConnectorCapped():
            return Step(*limited(state, event, now))
        case UplinkReported() | CpoAnswered() | CpoCacheCleared():
            return Step(*heard(state, event, now))
        case StationOrdered() | OrderEnded() | StationReported() | ConfigurationRead():
            return Step(*cared(state, event, now))
        case StationScanStarted() | StationScanStopped() | CommissionTold() | LocalListTold():
            return Step(*cared(state, event, now))
        case WishPut():
            return Step(*wished(state, event, now))
        case SetUpDone():
            return Step(attrs.evolve(state, factory=False))
        case ClockStepped():
            return Step(clock_stepped(state, event.by_ms, now))
        case StorageFailed():
            return Step(attrs.evolve(state, storage_failing=event.reason))
        case StorageHealed():
            return Step(attrs.evolve(state, storage_failing=None))
        case _:
            assert_never(event)
