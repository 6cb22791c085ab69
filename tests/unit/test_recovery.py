"""Start-up from what the store gave back: nothing is forgotten that a station may hold, nothing believed twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llm_core import (
    Badge,
    Commission,
    CpoVerdict,
    Finding,
    LocalList,
    OutOfUse,
    PerPhase,
    Progress,
    RefusedStart,
    ReportKind,
    Reservation,
    Save,
    Session,
    SessionState,
    Site,
    State,
    Station,
    StationReport,
    StationState,
    Stored,
    Supply,
    Trial,
    Tried,
    Verdict,
    close_session,
    open_session,
    recover,
)
from llm_core.recovery import SETTLED_MS
from unit.strategies import NOON, now

A = Station("A", max_ma=32_000)
SITE = Site(supply=Supply(static_max_ma=PerPhase.same(63_000)), stations=(A, Station("B", connectors=2)))
START_MS = now().monotonic_ms


def session(transaction_id: int, station: str = "A", connector: int = 1, *, minutes: int = 0) -> Session:
    return open_session(transaction_id, station, connector, "04a1", NOON - timedelta(minutes=60 - minutes), 1_000)


def recovered(stored: Stored) -> tuple[State, list[Session]]:
    state, effects = recover(stored, now(), factory=False)
    saved = [effect.record for effect in effects if isinstance(effect, Save) and isinstance(effect.record, Session)]
    assert len(saved) == len(effects)
    return state, saved


def held_ma(state: State, key: tuple[str, int], after_ms: int = 0, *, decays: bool = True) -> int:
    return state.connectors[key].ledger.held_ma(START_MS + after_ms, decays)


def test_an_empty_store_is_the_factory_state() -> None:
    state, effects = recover(Stored(), now(), factory=True)
    assert (state.site, state.factory, state.next_transaction_id, effects) == (Site(), True, 1, ())
    assert not state.connectors
    assert not state.stations


def test_a_connector_may_hold_its_last_ceiling_until_every_lease_has_run_out() -> None:
    state, _ = recovered(Stored(SITE, ceilings={("A", 1): 20_000}))
    assert held_ma(state, ("A", 1), SETTLED_MS - 1) == 20_000
    assert held_ma(state, ("A", 1), SETTLED_MS) == A.min_ma
    assert state.connectors["A", 1].ceiling_ma == 20_000
    assert state.connectors["A", 1].offered_ma == 0


def test_one_that_cannot_fall_back_holds_it_for_ever() -> None:
    state, _ = recovered(Stored(SITE, ceilings={("A", 1): 20_000}))
    assert held_ma(state, ("A", 1), 10**9, decays=False) == 20_000


@pytest.mark.parametrize(
    ("station", "then_ma"),
    [
        (Station("A", fallback_ma=0), 0),
        (Station("A", fallback_ma=10_000), 10_000),
        (Station("A", fallback_ma=0, start_alone_ma=8_000), 8_000),
        (Station("A", min_ma=7_000), 7_000),
        (Station("A", fallback_ma=16_000), 12_000),  # a lease never rises when it runs out
    ],
)
def test_it_falls_back_to_what_its_station_is_set_to(station: Station, then_ma: int) -> None:
    state, _ = recovered(Stored(Site(stations=(station,)), ceilings={("A", 1): 12_000}))
    assert held_ma(state, ("A", 1), SETTLED_MS) == then_ma


@pytest.mark.parametrize(("left_ma", "then_ma"), [(0, 0), (9_000, 9_000), (12_000, 12_000), (None, 6_000)])
def test_it_is_left_with_what_was_promised_to_the_disk_where_that_is_known(left_ma: int | None, then_ma: int) -> None:
    known = {} if left_ma is None else {("A", 1): left_ma}
    state, _ = recovered(Stored(SITE, ceilings={("A", 1): 12_000}, left_alone=known))
    assert state.connectors["A", 1].ledger.left_alone_ma() == then_ma
    assert state.connectors["A", 1].ceiling_left_ma == then_ma


@pytest.mark.parametrize("ceilings", [{}, {("A", 1): 20_000}])
def test_a_doubtful_row_counts_with_the_maximum_for_ever(ceilings: dict[tuple[str, int], int]) -> None:
    state, _ = recovered(Stored(SITE, ceilings=ceilings, doubtful=frozenset({("A", 1)})))
    assert held_ma(state, ("A", 1), 10**9) == A.max_ma
    assert state.connectors["A", 1].ceiling_ma == A.max_ma


def test_rows_of_stations_that_are_gone_count_for_nothing() -> None:
    state, _ = recovered(Stored(SITE, ceilings={("gone", 1): 20_000}, doubtful=frozenset({("gone", 2)})))
    assert not state.connectors
    assert "gone" not in state.stations


def test_every_station_is_offline_until_it_calls_and_has_been_met_where_it_may_hold_something() -> None:
    state, _ = recovered(Stored(SITE, ceilings={("A", 1): 20_000}))
    assert state.stations == {
        "A": StationState(met=True, since_ms=START_MS),
        "B": StationState(met=False, since_ms=START_MS),
    }


def test_an_open_session_goes_on_under_its_number() -> None:
    state, ended = recovered(Stored(SITE, open_sessions=(session(4),), ceilings={("A", 1): 9_000}))
    assert state.connectors["A", 1].session == session(4)
    assert state.connectors["A", 1].session_ms == START_MS
    assert ended == []


def test_an_open_session_goes_on_even_where_no_ceiling_is_known() -> None:
    state, ended = recovered(Stored(SITE, open_sessions=(session(4),)))
    assert state.connectors["A", 1].session == session(4)
    assert held_ma(state, ("A", 1), 10**9) == A.max_ma
    assert ended == []


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_on_a_connector_the_newer_goes_on_and_the_older_has_ended(order: int) -> None:
    older, newer = session(9, minutes=1), session(4, minutes=2)
    state, ended = recovered(Stored(SITE, open_sessions=(older, newer)[::order]))
    assert state.connectors["A", 1].session == newer
    assert [(s.transaction_id, s.state, s.stop_reason) for s in ended] == [(9, SessionState.INTERRUPTED, "Superseded")]
    assert state.recent == {9: ended[0]}


def test_a_session_of_a_station_that_is_gone_has_ended() -> None:
    state, ended = recovered(Stored(SITE, open_sessions=(session(4, "gone"),)))
    assert [(s.transaction_id, s.stop_reason) for s in ended] == [(4, "StationRemoved")]
    assert state.recent == {4: ended[0]}


def test_ended_sessions_wait_for_their_late_messages() -> None:
    closed = close_session(session(3), NOON, 2_000, "Local")
    state, _ = recovered(Stored(SITE, recent_sessions=(closed,)))
    assert state.recent == {3: closed}


@pytest.mark.parametrize(
    ("stored", "next_id"),
    [
        (Stored(SITE, last_transaction_id=41), 42),
        (Stored(SITE, open_sessions=(session(50),), last_transaction_id=41), 51),
        (Stored(SITE, recent_sessions=(session(60),), last_transaction_id=41), 61),
    ],
)
def test_no_number_is_given_out_twice(stored: Stored, next_id: int) -> None:
    assert recovered(stored)[0].next_transaction_id == next_id


def test_badges_are_found_in_any_spelling_and_the_latest_instant_is_remembered() -> None:
    badge = Badge("04:A1:B2")
    state, _ = recovered(Stored(SITE, badges=(badge,), latest_utc=NOON))
    assert state.badges == {"04a1b2": badge}
    assert state.latest_utc == NOON


def test_a_refused_attempt_can_still_be_enrolled_after_a_restart() -> None:
    refused = RefusedStart(NOON, "A", "04a1", Verdict.INVALID)
    assert recovered(Stored(SITE, refusals=(refused,)))[0].refusals == (refused,)


def test_reservations_and_what_stations_reported_outlive_a_restart() -> None:
    reservation = Reservation(7, "A", 1, "a1b2", now(3_600).utc)
    told = [StationReport(now(n).utc, "AB"[n % 2], ReportKind.SECURITY, f"Event{n}") for n in range(3)]
    test = Commission("A", 1, "ann", NOON, Progress.DONE, model="V / M / 1")
    held = LocalList("A", 7, "d", 2, 3)
    site = Site(stations=(Station("A"),))
    stored = Stored(
        site=site, reservations=(reservation,), reports=tuple(told), commissions=(test,), local_lists=(held,)
    )
    state, _ = recover(stored, now(), factory=False)
    assert state.reservations == {("A", 7): reservation}
    assert state.commissions == {"A": test}
    assert state.local_lists == {"A": held}
    assert state.reports == {"A": (told[0], told[2]), "B": (told[1],)}


def test_what_a_test_has_disproved_is_known_before_the_station_is_heard_again() -> None:
    """Of the others what they last held is reserved; who forgets its limits may give its maximum."""
    lost = Commission("A", 1, "ann", NOON, Progress.DONE, tried=(Tried(Trial.KEEPS_PROFILES, Finding.NO),))
    site = Site(stations=(Station("A"), Station("B")))
    state, _ = recover(Stored(site, commissions=(lost,)), now(), factory=False)
    assert {key: known.capabilities.forgets for key, known in state.stations.items()} == {"A": True, "B": False}


def test_what_people_took_out_of_use_stays_so_over_a_restart() -> None:
    kept = (OutOfUse("A", frozenset({0, 2})), OutOfUse("GONE", frozenset({1})))
    state, _ = recover(Stored(site=Site(stations=(Station("A"), Station("B"))), out_of_use=kept), now(), factory=False)
    assert {name: known.inoperative for name, known in state.stations.items()} == {"A": {0, 2}, "B": frozenset()}


def test_what_the_operator_said_of_badges_is_known_again() -> None:
    said = CpoVerdict("04a1", Verdict.ACCEPTED)
    state, _ = recovered(Stored(cpo_verdicts=(said,)))
    assert state.cpo_verdicts == {"04a1": said}
