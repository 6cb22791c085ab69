"""Stations come, go, boot and speak: what is known of them is never more than what they showed."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from llm_core import (
    BootAnswer,
    Capabilities,
    CapabilitiesFound,
    Ceiling,
    ClockStepped,
    ConnectorState,
    Effect,
    Event,
    Ledger,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterValuesReceived,
    Note,
    NotStored,
    PerPhase,
    Phase,
    Purpose,
    Reading,
    Reply,
    Save,
    SetLimit,
    Site,
    State,
    Station,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    StationState,
    StationTurnedAway,
    Status,
    StatusChanged,
    StorageFailed,
    StorageHealed,
    Supply,
    Tick,
    TurnedAway,
    TurnedAwayFor,
    open_session,
    step,
)
from llm_core.ledger import FOLLOW_MS, Inherited, sent
from llm_core.presence import (
    CLOCK_DUE_MS,
    HEARTBEAT_S,
    LIVE_MS,
    MOST_CONNECTORS,
    MOST_DEPARTED,
    PENDING_S,
    clocks_doubted,
)
from unit.strategies import NOON, now

L1, L2, L3 = Phase
KEY = ("A", 1)
START_MS = now().monotonic_ms
A = Station("A", max_ma=20_000)


def after(state: State, *events: Event, seconds: int = 0) -> State:
    for event in events:
        state = step(state, event, now(seconds)).state
    return state


def effects(state: State, event: Event) -> tuple[Effect, ...]:
    return step(state, event, now()).effects


def fresh(station: Station = A, *, online: bool = True) -> State:
    state = State(site=Site(supply=Supply(static_max_ma=PerPhase.same(63_000)), stations=(station,)), factory=False)
    return after(state, StationConnected(station.id)) if online else state


def with_connector(state: State, **known: object) -> State:
    changed = attrs.evolve(state.connectors[KEY], **known)  # type: ignore[arg-type]
    return attrs.evolve(state, connectors={**state.connectors, KEY: changed})


def held_ma(state: State, key: tuple[str, int] = KEY) -> int:
    return state.connectors[key].ledger.held_ma(START_MS, decays=True)


def command(seq: int, limit_ma: int, purpose: Purpose = Purpose.TRANSACTION) -> SetLimit:
    return SetLimit(seq, "A", 1, purpose, limit_ma, 0, 120_000, None, 3, lowers=False)


# Links


def test_a_station_that_calls_for_the_first_time_may_hold_its_maximum_and_the_disk_knows() -> None:
    before = fresh(Station("A", max_ma=20_000, connectors=2), online=False)
    event = StationConnected("A", "10.0.0.7", "/ocpp/A")
    assert effects(before, event) == (Save(Ceiling("A", 1, 20_000)), Save(Ceiling("A", 2, 20_000)))
    state = after(before, event)
    assert held_ma(state, ("A", 1)) == held_ma(state, ("A", 2)) == 20_000
    assert state.stations["A"] == StationState(
        online=True, met=True, since_ms=START_MS, accepted=True, address="10.0.0.7", path="/ocpp/A"
    )


def test_one_that_calls_again_is_known_and_what_was_in_flight_may_lie_there() -> None:
    state = fresh()
    books = sent(Ledger(None), command(1, 9_000), START_MS)
    again = after(with_connector(state, ledger=books), StationConnected("A"), seconds=60)
    assert again.connectors[KEY].ledger.in_flight is None
    assert held_ma(again) == 9_000
    assert effects(again, StationConnected("A")) == ()


def test_a_stranger_is_seen_and_has_no_books() -> None:
    state = after(fresh(), StationConnected("S"))
    assert (state.stations["S"].online, state.stations["S"].accepted) == (True, False)
    assert [key for key in state.connectors if key[0] == "S"] == []


def test_a_lost_link_reserves_what_was_in_flight_and_keeps_no_share_for_a_car_that_waits() -> None:
    state = with_connector(
        fresh(), ledger=sent(Ledger(None), command(1, 9_000), START_MS), preparing_ms=START_MS, phases=(L1,)
    )
    lost = after(state, StationDisconnected("A"), seconds=5)
    assert (lost.stations["A"].online, lost.stations["A"].since_ms) == (False, START_MS + 5_000)
    connector = lost.connectors[KEY]
    assert (connector.ledger.in_flight, connector.preparing_ms, connector.phases) == (None, None, None)
    assert held_ma(lost) == 9_000


def test_a_stranger_that_leaves_counts_nothing_and_is_forgotten_after_ten_minutes() -> None:
    state = after(
        fresh(),
        StationConnected("S"),
        StatusChanged("S", 1, Status.CHARGING),
        MeterValuesReceived("S", 1, current_ma=(9_000,)),
    )
    assert ("S", 1) in state.connectors
    assert ("S", 1) in state.strangers
    gone = after(state, StationDisconnected("S"))
    assert (set(gone.connectors), gone.strangers) == ({KEY}, {})
    assert not gone.stations["S"].online
    assert set(after(gone, Tick(), seconds=599).stations) == {"A", "S"}  # it can still be adopted
    assert set(after(gone, Tick(), seconds=600).stations) == {"A"}


def test_a_link_that_nobody_knows_cannot_be_lost() -> None:
    state = fresh()
    assert after(state, StationDisconnected("nobody")) == state


# Boots


def test_a_boot_is_answered_and_what_the_station_is_is_kept() -> None:
    boot = StationBooted("A", "V", "M", "1.2", "007", request=4)
    state = after(fresh(), StationClockRead("A", 500), boot)
    assert effects(fresh(), boot) == (Reply(4, BootAnswer(accepted=True, interval_s=HEARTBEAT_S)),)
    known = state.stations["A"]
    assert (known.vendor, known.model, known.firmware, known.serial) == ("V", "M", "1.2", "007")
    assert known.clock_ahead_ms is None


def test_a_boot_counts_while_the_disk_fails_too_and_is_welcomed_when_it_can_be_written() -> None:
    state = after(with_connector(fresh(), ledger=Ledger(None), ceiling_ma=9_000), StorageFailed("full"))
    boot = StationBooted("A", request=4)
    assert effects(state, boot) == (Note(Ceiling("A", 1, 20_000)), Reply(4, NotStored("full")))
    booted = after(state, boot)
    assert held_ma(booted) == 20_000
    assert effects(booted, boot) == (Reply(4, NotStored("full")),)
    assert effects(after(booted, StorageHealed()), boot) == (Reply(4, BootAnswer(True, HEARTBEAT_S)),)


def test_a_stranger_waits_to_be_adopted() -> None:
    state = after(fresh(), StationConnected("S"))
    assert effects(state, StationBooted("S", request=4)) == (Reply(4, BootAnswer(False, PENDING_S)),)
    assert not after(state, StationBooted("S")).stations["S"].accepted


def test_a_boot_without_a_link_is_believed() -> None:
    assert after(fresh(online=False), StationBooted("A")).stations["A"].online


def test_after_a_boot_the_maximum_may_hold_and_no_reading_tells_anything() -> None:
    state = with_connector(
        fresh(),
        ledger=Ledger(None),
        ceiling_ma=9_000,
        offered_ma=9_000,
        changed_ms=1,
        lowering_ms=1,
        readings=(Reading(1, PerPhase.same(8_000)),),
        mean_ma=PerPhase.same(8_000),
        phases=(L1,),
    )
    assert effects(state, StationBooted("A"))[0] == Save(Ceiling("A", 1, 20_000))
    booted = after(state, StationBooted("A"))
    assert held_ma(booted) == 20_000
    expected = ConnectorState(Ledger(Inherited(20_000, 20_000, None)), ceiling_ma=20_000)
    assert booted.connectors[KEY] == expected


def test_one_that_has_proven_to_keep_its_profiles_keeps_them() -> None:
    proven = after(fresh(), CapabilitiesFound("A", Capabilities(keeps_profiles=True)))
    state = with_connector(proven, ledger=sent(Ledger(None), command(1, 9_000), START_MS))
    assert held_ma(after(state, StationBooted("A"))) == 9_000


def test_a_boot_of_one_station_leaves_the_others_alone() -> None:
    state = after(fresh(), StationConnected("S"), StatusChanged("S", 1, Status.AVAILABLE))
    booted = after(state, StationBooted("A"))
    assert booted.connectors["S", 1] == state.connectors["S", 1]


# Clocks and capabilities


def test_a_stations_clock_is_known_once_it_was_read_and_moves_against_ours() -> None:
    state = after(fresh(), StationConnected("S"), StationClockRead("A", 500))
    stepped = after(state, ClockStepped(86_400_000), seconds=7)
    assert stepped.stations["A"].clock_ahead_ms == 500 - 86_400_000
    assert stepped.stations["S"].clock_ahead_ms is None
    assert stepped.leases_from_ms == START_MS + 7_000


def test_on_a_new_link_what_is_known_of_a_clock_must_be_borne_out_within_30_seconds() -> None:
    """It may have been set while nobody heard it, and by it the station ends its lease."""
    known = after(fresh(), StationClockRead("A", 500))
    again = after(known, StationConnected("A"), seconds=10)
    due_ms = START_MS + 10_000 + CLOCK_DUE_MS
    assert (again.stations["A"].clock_ahead_ms, again.stations["A"].clock_due_ms) == (500, due_ms)
    assert clocks_doubted(again, due_ms - 1) == again
    doubted = clocks_doubted(again, due_ms).stations["A"]
    assert (doubted.clock_ahead_ms, doubted.clock_due_ms) == (None, None)
    heard, boots = after(again, StationClockRead("A", 700)), after(again, StationBooted("A"))
    assert clocks_doubted(heard, due_ms).stations["A"].clock_ahead_ms == 700
    assert boots.stations["A"].clock_due_ms is None
    away = after(again, StationDisconnected("A"))
    assert clocks_doubted(away, due_ms) == away, "while it is away it goes by what was known"
    assert after(fresh(), StationConnected("A")).stations["A"].clock_due_ms is None, "nothing was known"


def test_what_is_said_of_nobody_changes_nothing() -> None:
    state = fresh()
    said: tuple[Event, ...] = (
        StationClockRead("nobody", 5),
        CapabilitiesFound("nobody", Capabilities()),
        StatusChanged("nobody", 1, Status.AVAILABLE),
        MeterValuesReceived("nobody", 1, current_ma=(9_000,)),
        LimitConfirmed("nobody", 1, 1),
    )
    for event in said:
        assert after(state, event) == state


# Statuses


def test_a_connector_not_met_before_is_entered_at_its_maximum() -> None:
    event = StatusChanged("A", 3, Status.AVAILABLE)
    assert effects(fresh(), event) == (Save(Ceiling("A", 3, 20_000)),)
    state = after(fresh(), event)
    assert held_ma(state, ("A", 3)) == 20_000
    assert state.connectors["A", 3].status is Status.AVAILABLE


def test_after_its_status_the_next_call_knows_all_connectors_up_to_it() -> None:
    state = after(fresh(), StatusChanged("A", 3, Status.AVAILABLE), StationConnected("A"))
    assert set(state.connectors) == {("A", 1), ("A", 2), ("A", 3)}


@pytest.mark.parametrize("connector", [-1, 0, MOST_CONNECTORS + 1])
def test_the_station_itself_and_a_flood_of_connectors_are_no_connector(connector: int) -> None:
    state = fresh()
    assert after(state, StatusChanged("A", connector, Status.AVAILABLE)) == state


def test_a_share_is_kept_from_preparing_on_until_the_car_leaves_or_ends() -> None:
    preparing = after(fresh(), StatusChanged("A", 1, Status.PREPARING))
    assert preparing.connectors[KEY].preparing_ms == START_MS
    later = after(preparing, StatusChanged("A", 1, Status.PREPARING), seconds=50)
    assert later.connectors[KEY].preparing_ms == START_MS
    for status in (Status.AVAILABLE, Status.RESERVED, Status.UNAVAILABLE, Status.FINISHING, Status.FAULTED):
        assert after(preparing, StatusChanged("A", 1, status)).connectors[KEY].preparing_ms is None


def test_the_time_of_a_status_is_when_it_changed() -> None:
    state = after(fresh(), StatusChanged("A", 1, Status.CHARGING))
    state = after(state, StatusChanged("A", 1, Status.CHARGING), seconds=9)
    assert state.connectors[KEY].status_ms == START_MS


def test_a_car_that_begins_is_judged_only_after_it_could_follow() -> None:
    state = after(fresh(), StatusChanged("A", 1, Status.CHARGING))
    assert state.connectors[KEY].settled_from_ms == START_MS + FOLLOW_MS


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.RESERVED, Status.UNAVAILABLE])
def test_a_free_connector_forgets_its_car_and_remembers_since_when_its_session_lacks_one(status: Status) -> None:
    charging = with_connector(fresh(), session=open_session(1, "A", 1, "04a1", NOON, 0), phases=(L1,), cap_ma=9_000)
    free = after(charging, StatusChanged("A", 1, status, at=NOON), seconds=3)
    connector = free.connectors[KEY]
    assert (connector.phases, connector.cap_ma, connector.available_ms) == (None, None, START_MS + 3_000)
    other = Status.UNAVAILABLE if status is Status.AVAILABLE else Status.AVAILABLE
    assert after(free, StatusChanged("A", 1, other), seconds=9).connectors[KEY].available_ms == START_MS + 3_000


@pytest.mark.parametrize(
    "status", [Status.PREPARING, Status.CHARGING, Status.SUSPENDED_EV, Status.SUSPENDED_EVSE, Status.FINISHING]
)
def test_a_car_that_is_there_after_all_keeps_its_session(status: Status) -> None:
    free = with_connector(fresh(), session=open_session(1, "A", 1, "04a1", NOON, 0), available_ms=START_MS)
    assert after(free, StatusChanged("A", 1, status)).connectors[KEY].available_ms is None


def test_a_fault_does_not_say_that_the_car_is_there() -> None:
    free = with_connector(fresh(), session=open_session(1, "A", 1, "04a1", NOON, 0), available_ms=START_MS)
    assert after(free, StatusChanged("A", 1, Status.FAULTED)).connectors[KEY].available_ms == START_MS


def test_a_status_from_before_the_session_does_not_say_that_its_car_left() -> None:
    charging = with_connector(fresh(), session=open_session(1, "A", 1, "04a1", NOON, 0))
    early = StatusChanged("A", 1, Status.AVAILABLE, at=NOON - timedelta(seconds=1))
    assert after(charging, early).connectors[KEY].available_ms is None


def test_a_share_is_kept_again_for_a_car_that_still_prepares_when_the_link_is_back() -> None:
    preparing = after(fresh(), StatusChanged("A", 1, Status.PREPARING))
    back = after(preparing, StationDisconnected("A"), StationConnected("A"), seconds=300)
    again = after(back, StatusChanged("A", 1, Status.PREPARING), seconds=301)
    assert (back.connectors[KEY].preparing_ms, again.connectors[KEY].preparing_ms) == (None, START_MS + 301_000)


def test_a_status_out_of_a_queue_does_not_undo_a_newer_one() -> None:
    state = after(fresh(), StatusChanged("A", 1, Status.CHARGING, at=NOON), seconds=200)
    late = StatusChanged("A", 1, Status.AVAILABLE, at=NOON - timedelta(seconds=1))
    assert after(state, late, seconds=200) == state
    live = StatusChanged("A", 1, Status.AVAILABLE, at=NOON + timedelta(seconds=200))
    assert after(state, live, seconds=200).connectors[KEY].status is Status.AVAILABLE


@pytest.mark.parametrize(("ahead_ms", "at_s"), [(0, -30), (3_600_000, 0), (-3_600_000, -3_600)])
def test_a_station_that_puts_its_clock_back_is_still_heard(ahead_ms: int, at_s: int) -> None:
    state = after(fresh(), StationClockRead("A", ahead_ms), StatusChanged("A", 1, Status.CHARGING, at=NOON))
    earlier = StatusChanged("A", 1, Status.AVAILABLE, at=NOON + timedelta(seconds=at_s, milliseconds=-1))
    assert after(state, earlier).connectors[KEY].status is Status.AVAILABLE
    assert after(state, earlier).connectors[KEY].status_at == NOON


def test_a_free_connector_that_says_so_again_lacks_the_car_of_a_session_begun_meanwhile() -> None:
    free = after(fresh(), StatusChanged("A", 1, Status.AVAILABLE))
    ghost = with_connector(free, session=open_session(1, "A", 1, "04a1", NOON, 0))
    again = after(ghost, StatusChanged("A", 1, Status.AVAILABLE, at=NOON + timedelta(seconds=5)), seconds=5)
    assert again.connectors[KEY].available_ms == START_MS + 5_000


def test_a_free_connector_without_a_session_waits_for_nothing() -> None:
    assert after(fresh(), StatusChanged("A", 1, Status.AVAILABLE)).connectors[KEY].available_ms is None


# Readings


@pytest.mark.parametrize(
    ("rotation", "current_ma", "expected"),
    [
        ((L1, L2, L3), (1_000, 2_000, 3_000), PerPhase(1_000, 2_000, 3_000)),
        ((L2, L3, L1), (1_000, 2_000, 3_000), PerPhase(3_000, 1_000, 2_000)),
        ((L3,), (5_000,), PerPhase(0, 0, 5_000)),
        ((L1, L2, L3), (5_000,), PerPhase.same(5_000)),
        ((L1, L2, L3), (1_000, None, 4_000), PerPhase(1_000, 4_000, 4_000)),
        ((L1, L2, L3), (-3_000, 2_000, 0), PerPhase(0, 2_000, 0)),
    ],
)
def test_what_a_station_draws_lands_on_the_phases_of_the_site(
    rotation: tuple[Phase, ...], current_ma: tuple[int | None, ...], expected: PerPhase
) -> None:
    state = after(fresh(attrs.evolve(A, phase_rotation=rotation)), MeterValuesReceived("A", 1, current_ma=current_ma))
    assert state.connectors[KEY].readings[-1].current_ma == expected
    assert state.connectors[KEY].readings[-1].at_ms == START_MS


@pytest.mark.parametrize(
    ("rotation", "current_ma", "spread", "by_phase"),
    [
        ((L1, L2, L3), (9_000, 9_000, 9_000), False, True),
        ((L1, L2, L3), (9_000,), False, False),
        ((L1, L2, L3), (9_000, None, 9_000), False, False),
        ((L2, L3), (9_000, 0), False, True),
        ((L3,), (9_000,), False, True),
        ((L1, L2, L3), (9_000, 9_000, 9_000), True, False),
    ],
)
def test_a_draw_is_told_by_phase_where_each_wired_phase_has_a_value_of_its_own(
    rotation: tuple[Phase, ...], current_ma: tuple[int | None, ...], spread: bool, by_phase: bool
) -> None:
    told = MeterValuesReceived("A", 1, current_ma=current_ma, spread=spread)
    reading = after(fresh(attrs.evolve(A, phase_rotation=rotation)), told).connectors[KEY].readings[-1]
    assert (reading.by_phase, reading.spread) == (by_phase, spread)


@pytest.mark.parametrize("current_ma", [None, (), (None, None, None)])
def test_a_reading_without_a_current_is_none(current_ma: tuple[int | None, ...] | None) -> None:
    assert after(fresh(), MeterValuesReceived("A", 1, current_ma=current_ma)).connectors[KEY].readings == ()


@pytest.mark.parametrize(
    ("ahead_ms", "age_ms", "live"),
    [(0, LIVE_MS, True), (0, LIVE_MS + 1, False), (-3_600_000, 3_600_000, True), (3_600_000, 0, False)],
)
def test_a_reading_out_of_a_queue_tells_nothing_of_now(ahead_ms: int, age_ms: int, live: bool) -> None:
    state = after(fresh(), StationClockRead("A", ahead_ms))
    at = NOON - timedelta(milliseconds=age_ms)
    state = after(state, MeterValuesReceived("A", 1, current_ma=(9_000,), at=at))
    assert bool(state.connectors[KEY].readings) is live


def test_what_a_stranger_draws_may_flow_on_any_phase() -> None:
    """Nobody has said how it is wired."""
    state = after(fresh(), StationConnected("S"), MeterValuesReceived("S", 1, current_ma=(0, 9_000, None)))
    assert state.strangers["S", 1].current_ma == PerPhase.same(9_000)
    one_phase = attrs.evolve(state, site=attrs.evolve(state.site, supply=Supply(phases=1)))
    after_it = after(one_phase, MeterValuesReceived("S", 1, current_ma=(9_000,)))
    assert after_it.strangers["S", 1].current_ma == PerPhase(9_000)
    assert after(state, MeterValuesReceived("S", 1, current_ma=(-500,))).strangers["S", 1].current_ma == PerPhase()


def test_what_a_stranger_draws_is_kept_and_what_an_unknown_connector_says_is_not() -> None:
    state = after(fresh(), StationConnected("S"), MeterValuesReceived("S", 1, current_ma=(9_000,)))
    assert state.strangers["S", 1].current_ma == PerPhase.same(9_000)
    assert after(state, MeterValuesReceived("S", 2, register_wh=5)) == state
    assert after(state, MeterValuesReceived("A", 0, current_ma=(9_000,))) == state


@pytest.mark.parametrize(
    ("transaction_id", "energy_wh"),
    [(7, 500), (None, 500), (-1, 0), (0, 0), (8, 0), (2**63 - 1, 0)],
)
def test_a_register_counts_for_the_session_that_it_names_or_for_the_one_that_is_there(
    transaction_id: int | None, energy_wh: int
) -> None:
    state = with_connector(fresh(), session=open_session(7, "A", 1, "04a1", NOON, 1_000))
    state = after(state, MeterValuesReceived("A", 1, transaction_id, register_wh=1_500))
    session = state.connectors[KEY].session
    assert session is not None
    assert session.energy_wh == energy_wh


def test_a_register_from_before_the_session_is_not_its() -> None:
    state = with_connector(fresh(), session=open_session(7, "A", 1, "04a1", NOON, 1_000))
    late = MeterValuesReceived("A", 1, register_wh=900, at=NOON - timedelta(seconds=1))
    assert after(state, late).connectors[KEY].session == state.connectors[KEY].session


def test_without_a_session_a_register_counts_for_nobody() -> None:
    state = fresh()
    assert after(state, MeterValuesReceived("A", 1, register_wh=900)) == state


# Answers to commands


def commanded(*limits_ma: int) -> State:
    """Limits sent one after the other, each a change of what is offered, none answered."""
    state = with_connector(fresh(), ledger=Ledger(None), settled_from_ms=START_MS + FOLLOW_MS)
    for seq, limit_ma in enumerate(limits_ma, 1):
        books = sent(state.connectors[KEY].ledger, command(seq, limit_ma), START_MS)
        state = with_connector(state, ledger=books, offered_ma=limit_ma, changed_ms=START_MS, lowering_ms=START_MS)
    return state


def test_an_acknowledged_decrease_is_no_longer_waited_for_and_takes_its_time_to_be_followed() -> None:
    state = after(commanded(16_000, 8_000), LimitConfirmed("A", 1, 2), seconds=3)
    connector = state.connectors[KEY]
    assert (connector.lowering_ms, connector.ledger.in_flight) == (None, None)
    assert connector.settled_from_ms == START_MS + 3_000 + FOLLOW_MS
    assert connector.ledger.held_ma(START_MS + 3_000 + FOLLOW_MS, decays=True) == 8_000


def test_the_answer_to_an_older_command_leaves_the_newer_waited_for_from_its_own_beginning() -> None:
    overtaken = commanded(16_000, 8_000)
    ledger = attrs.evolve(overtaken.connectors[KEY].ledger, in_flight_ms=START_MS + 2_000)
    state = after(with_connector(overtaken, ledger=ledger), LimitConfirmed("A", 1, 1), seconds=3)
    connector = state.connectors[KEY]
    assert (connector.lowering_ms, connector.ledger.in_flight) == (START_MS + 2_000, 2)
    assert held_ma(state) == 16_000
    raising = after(with_connector(overtaken, ledger=ledger, lowering_ms=None), LimitConfirmed("A", 1, 1))
    assert raising.connectors[KEY].lowering_ms is None


def test_an_acknowledged_renewal_does_not_start_the_judgement_anew() -> None:
    state = with_connector(commanded(8_000), changed_ms=START_MS - 60_000, settled_from_ms=5)
    assert after(state, LimitConfirmed("A", 1, 1)).connectors[KEY].settled_from_ms == 5


def test_a_refused_limit_is_not_offered() -> None:
    state = after(commanded(8_000), LimitRefused("A", 1, 1))
    assert (state.connectors[KEY].offered_ma, held_ma(state)) == (0, 0)


def test_a_limit_that_nobody_answered_may_be_held() -> None:
    state = after(commanded(8_000), LimitUnanswered("A", 1, 1))
    assert (state.connectors[KEY].offered_ma, held_ma(state)) == (8_000, 8_000)
    assert state.connectors[KEY].ledger.refusals == 1


def test_who_was_refused_under_an_id_is_remembered_and_the_station_keeps_all_it_has() -> None:
    state = after(State(site=Site(stations=(A,))), StationConnected("A", "10.0.0.1", "/A"))
    refused = after(state, StationTurnedAway("A", "10.9.9.9", TurnedAwayFor.WRONG_KEY), seconds=5)
    told = TurnedAway(now(5).utc, "10.9.9.9", TurnedAwayFor.WRONG_KEY)
    assert refused.stations == {"A": attrs.evolve(state.stations["A"], turned_away=told)}
    assert after(refused, StationConnected("A", "10.0.0.1", "/A")).stations["A"].turned_away is None
    assert after(state, StationTurnedAway("nobody", "10.9.9.9", TurnedAwayFor.NO_KEY)).stations == state.stations


def test_of_many_strangers_that_left_the_last_twenty_are_remembered() -> None:
    state = State(site=Site(stations=(A,)))
    for number in range(MOST_DEPARTED + 5):
        name = f"S{number}"
        state = after(state, StationConnected(name), StationDisconnected(name), seconds=number)
    assert set(state.stations) == {f"S{number}" for number in range(5, MOST_DEPARTED + 5)}


# Energy of a station without a register


def test_a_station_without_a_register_is_charged_by_its_currents() -> None:
    state = with_connector(fresh(), session=open_session(5, "A", 1, "tag", NOON, 0), session_ms=START_MS)
    for second in range(10, 3_601, 10):
        state = after(state, MeterValuesReceived("A", 1, 5, (10_000, 10_000, 10_000)), seconds=second)
    session = state.connectors[KEY].session
    assert session is not None
    assert session.integrated
    assert 6_880 <= session.energy_wh <= 6_900  # 10 A x 3 x 230 V for an hour; the first ten seconds are a ramp


def test_a_register_that_is_told_ends_the_reckoning_and_a_reading_from_before_the_session_begins_none() -> None:
    state = with_connector(fresh(), session=open_session(5, "A", 1, "tag", NOON, 0), session_ms=now(5).monotonic_ms)
    state = with_connector(state, readings=(Reading(START_MS, PerPhase.same(30_000)),))
    state = after(state, MeterValuesReceived("A", 1, 5, (10_000, 0, 0)), seconds=65)
    session = state.connectors[KEY].session
    assert session is not None
    assert (session.energy_wh, session.integrated) == (19, True)  # half of 10 A for a minute
    state = after(state, MeterValuesReceived("A", 1, 5, (10_000, 0, 0), 25), seconds=75)
    state = after(state, MeterValuesReceived("A", 1, 5, (10_000, 0, 0)), seconds=135)
    session = state.connectors[KEY].session
    assert session is not None
    assert (session.energy_wh, session.integrated) == (25, False)
