"""One step: every fact is taken, nothing is changed in place, and no promise rests on a disk that fails."""

from __future__ import annotations

from datetime import date, timedelta
from typing import get_args

import attrs
import pytest

import llm_core
from llm_core import (
    SITE,
    AccessRule,
    Badge,
    BadgePresented,
    BadgeScanStarted,
    BadgeScanStopped,
    BadgesEdited,
    Capabilities,
    CapabilitiesFound,
    CapSource,
    Ceiling,
    ClockStepped,
    CommissionTold,
    ConfigurationRead,
    ConfigurationReplaced,
    ConnectorCapped,
    CpoAnswered,
    CpoCacheCleared,
    Event,
    ExternalLimit,
    LimitConfirmed,
    LimitHeard,
    LimitPut,
    LimitRefused,
    LimitUnanswered,
    LimitWithdrawn,
    LocalList,
    LocalListTold,
    MeterSampled,
    MeterSetup,
    MeterValuesReceived,
    Mode,
    Note,
    Order,
    OrderEnded,
    PerPhase,
    Progress,
    PutAccess,
    Reply,
    ReportKind,
    Request,
    Save,
    SetUpDone,
    Site,
    SiteEdited,
    Started,
    StartRequested,
    State,
    Station,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    StationOrdered,
    StationReported,
    StationScanStarted,
    StationScanStopped,
    StationTurnedAway,
    Status,
    StatusChanged,
    StopRequested,
    StorageFailed,
    StorageHealed,
    Supply,
    Tick,
    TurnedAwayFor,
    UplinkReported,
    UplinkState,
    Verdict,
    Wish,
    WishPut,
    step,
)
from unit.strategies import NOON, now

EVENTS: tuple[Event, ...] = (
    Tick(),
    MeterSampled(SITE, (1_000, 2_000, 3_000), 1, 1),
    StationConnected("A"),
    StationDisconnected("A"),
    StationTurnedAway("A", "10.0.0.9", TurnedAwayFor.WRONG_KEY),
    StationBooted("A", "V"),
    CapabilitiesFound("A", Capabilities(step_ma=100)),
    StationClockRead("A", 5),
    StatusChanged("A", 1, Status.PREPARING),
    BadgePresented("A", "unknown"),
    StartRequested("A", 1, "04a1", 1_000, NOON),
    StopRequested("A", 1, 2_000, NOON),
    MeterValuesReceived("A", 1, register_wh=1_500),
    LimitConfirmed("A", 1, 1),
    LimitRefused("A", 1, 1),
    LimitUnanswered("A", 1, 1),
    SiteEdited("ann", PutAccess(AccessRule.CPO)),
    StationOrdered("ann", "A", Order.RESET, request=1),
    OrderEnded("ann", "A", Order.RESET, done=True, outcome="Accepted"),
    StationReported("A", ReportKind.FIRMWARE, "Installed"),
    ConfigurationRead("A", {"HeartbeatInterval": "60"}),
    BadgesEdited("ann", (Badge("ff"),)),
    ConfigurationReplaced("ann", Site()),
    LocalListTold(LocalList("A", 7)),
    CommissionTold("A", 1, "ann", Progress.DONE),
    StationScanStarted("ann"),
    StationScanStopped("ann"),
    BadgeScanStarted("ann"),
    BadgeScanStopped("ann"),
    LimitPut("ann", ExternalLimit(limit_ma=PerPhase.same(20_000))),
    LimitHeard("1"),
    LimitWithdrawn("ann", "1"),
    ConnectorCapped("A", 1, CapSource.CPO, 10_000),
    UplinkReported("A", UplinkState.ACCEPTED),
    CpoAnswered("A", "04a1", Verdict.BLOCKED),
    CpoCacheCleared(),
    WishPut("ann", 1, Wish(energy_wh=20_000)),
    SetUpDone(),
    ClockStepped(1_000),
    StorageFailed("full"),
    StorageHealed(),
)


def scene() -> State:
    """A station that is charging, and a meter."""
    supply = Supply(Mode.DYNAMIC, fallback_ma=PerPhase.same(16_000))
    site = Site(supply=supply, stations=(Station("A"),), meters=(MeterSetup(SITE, "x", "h"),))
    state = State(site=site, badges={"04a1": Badge("04a1")}, storage_failing="full")
    for event in (StorageHealed(), StationConnected("A"), StartRequested("A", 1, "04a1", 1_000, NOON), Tick()):
        state = step(state, event, now(-1)).state
    return state


def test_the_facts_below_are_all_there_are() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_same_fact_at_the_same_instant_has_the_same_outcome_and_the_past_stays(event: Event) -> None:
    state, same = scene(), scene()
    assert step(state, event, now()) == step(state, event, now())
    assert state == same


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_request_is_answered_once_and_no_fact_is(event: Event) -> None:
    replies = [effect for effect in step(scene(), event, now()).effects if isinstance(effect, Reply)]
    assert len(replies) == isinstance(event, Request)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_saves_come_before_all_that_rests_on_them(event: Event) -> None:
    kinds = [isinstance(effect, Save) for effect in step(scene(), event, now()).effects]
    assert kinds == sorted(kinds, reverse=True)


def test_each_fact_reaches_the_room_that_knows_what_to_do() -> None:
    def known(event: Event) -> State:
        return step(scene(), event, now()).state

    assert known(Tick()).ticked_ms == now().monotonic_ms
    assert known(MeterSampled(SITE, (1_000, 2_000, 3_000), 1, 1)).meters[SITE].taken_ms == 1
    assert not known(StationDisconnected("A")).stations["A"].online
    assert known(StationConnected("S")).stations["S"].online
    assert known(StationBooted("A", "V")).stations["A"].vendor == "V"
    assert known(CapabilitiesFound("A", Capabilities(step_ma=100))).stations["A"].capabilities.step_ma == 100
    assert known(StationClockRead("A", 5)).stations["A"].clock_ahead_ms == 5
    assert known(StatusChanged("A", 1, Status.CHARGING)).connectors["A", 1].status is Status.CHARGING
    assert known(BadgePresented("A", "unknown")).refusals[0].id_tag == "unknown"
    assert known(StartRequested("A", 1, "04a1", 9, NOON)).next_transaction_id == 3
    assert known(StopRequested("A", 1, 2_000, NOON)).recent[1].energy_wh == 1_000
    session = known(MeterValuesReceived("A", 1, register_wh=1_500)).connectors["A", 1].session
    assert session is not None
    assert session.energy_wh == 500
    assert known(SiteEdited("ann", PutAccess(AccessRule.CPO))).site.access is AccessRule.CPO
    assert "ff" in known(BadgesEdited("ann", (Badge("ff"),))).badges
    assert known(UplinkReported("A", UplinkState.PENDING)).uplink["A"].state is UplinkState.PENDING
    assert known(CpoAnswered("A", "04a1", Verdict.BLOCKED)).cpo_verdicts["04a1"].verdict is Verdict.BLOCKED
    assert known(CpoCacheCleared()).cpo_verdicts == {}
    assert known(ClockStepped(1_000)).leases_from_ms == now().monotonic_ms


@pytest.mark.parametrize("answer", [LimitConfirmed, LimitRefused, LimitUnanswered])
def test_each_answer_to_a_command_ends_its_wait(answer: type[LimitConfirmed]) -> None:
    state = scene()
    seq = state.connectors["A", 1].ledger.in_flight
    assert seq is not None
    assert step(state, answer("A", 1, seq), now()).state.connectors["A", 1].ledger.in_flight is None


def test_the_factory_state_ends_when_somebody_has_set_a_password() -> None:
    assert scene().factory
    assert not step(scene(), SetUpDone(), now()).state.factory


def test_the_disk_fails_until_it_is_healed() -> None:
    failing = step(scene(), StorageFailed("full"), now()).state
    assert failing.storage_failing == "full"
    assert step(failing, StorageHealed(), now()).state.storage_failing is None


def test_while_the_disk_fails_a_fact_promises_nothing_and_a_request_still_must() -> None:
    failing = step(scene(), StorageFailed("full"), now()).state
    fact = step(failing, StatusChanged("A", 2, Status.AVAILABLE), now())
    assert fact.effects == (Note(Ceiling("A", 2, 16_000)),)
    assert ("A", 2) in fact.state.connectors
    request = step(failing, StopRequested("A", 1, 2_000, NOON), now())
    assert isinstance(request.effects[0], Save)


def test_the_latest_instant_is_remembered_so_that_a_clock_that_falls_back_opens_nothing() -> None:
    state = attrs.evolve(scene(), badges={"04a1": Badge("04a1", expires_on=date(2026, 3, 14))})
    state = step(state, Tick(), now(2 * 86_400)).state
    assert state.latest_utc == NOON + timedelta(days=2)
    fallen = step(state, StartRequested("A", 1, "04a1", 5_000, NOON + timedelta(seconds=60)), now(60))
    assert fallen.state.latest_utc == NOON + timedelta(days=2)
    assert fallen.effects[-1] == Reply(0, Started(2, Verdict.EXPIRED))


def test_step_is_what_the_library_offers() -> None:
    assert llm_core.step is step
