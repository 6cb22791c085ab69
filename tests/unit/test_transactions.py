"""Badges and transactions as stations send them: repeated, late, out of order, never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from llm_core import (
    AccessRule,
    Authorised,
    Badge,
    BadgePresented,
    BadgeRules,
    BadgeState,
    BadgeType,
    ByteOrder,
    Ceiling,
    Concurrency,
    ConnectorState,
    Effect,
    Event,
    Ledger,
    MeterValuesReceived,
    Note,
    PerPhase,
    RefusedStart,
    Reply,
    Save,
    Session,
    SessionState,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationState,
    Status,
    StatusChanged,
    Stopped,
    StopRemotely,
    StopRequested,
    Supply,
    Tick,
    Verdict,
    step,
)
from llm_core.transactions import ABANDONED_MS, HELD_AGAIN, LIVE, RECENT, REFUSALS
from unit.strategies import NOON, now

ANN, BEA, CHIEF = "04A1B2C3", "04D4E5F6", "04FFFFFF"
SITE = Site(
    supply=Supply(static_max_ma=PerPhase.same(32_000)),
    stations=(Station("A"), Station("B", connectors=2)),
)
ALONE, LEFT, RIGHT = ("A", 1), ("B", 1), ("B", 2)


def scene(site: Site = SITE, **changes: object) -> State:
    """Two stations on line, one with one connector and one with two; Ann, Bea, and the chief who is a super user."""
    known = (Badge(ANN), Badge(BEA), Badge(CHIEF, BadgeType.SUPER))
    state = State(
        site=site,
        factory=False,
        stations=dict.fromkeys(("A", "B"), StationState(online=True, met=True, accepted=True)),
        connectors={key: ConnectorState(Ledger(None)) for key in (ALONE, LEFT, RIGHT)},
        badges={badge.badge_id.lower(): badge for badge in known},
        ticked_ms=now().monotonic_ms,
    )
    return attrs.evolve(state, **changes)  # type: ignore[arg-type]


def start(
    tag: str = ANN, at: datetime | None = NOON, *, wh: int = 1_000, place: tuple[str, int] = ALONE
) -> StartRequested:
    return StartRequested(*place, tag, wh, at, request=1)


def stop(
    transaction_id: int,
    at: datetime | None,
    wh: int | None = 2_000,
    *,
    station: str = "A",
    tag: str | None = None,
) -> StopRequested:
    return StopRequested(station, transaction_id, wh, at, id_tag=tag, request=2)


def after(state: State, event: Event, seconds: int = 0) -> tuple[State, tuple[Effect, ...]]:
    outcome = step(state, event, now(seconds))
    return outcome.state, outcome.effects


def saved(effects: tuple[Effect, ...]) -> list[Session]:
    return [e.record for e in effects if isinstance(e, Save) and isinstance(e.record, Session)]


def answer(effects: tuple[Effect, ...]) -> object:
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return reply.answer


def open_at(state: State, place: tuple[str, int] = ALONE) -> Session:
    session = state.connectors[place].session
    assert session is not None
    return session


# Starts


def test_an_accepted_badge_opens_a_session_that_is_stored_before_the_answer() -> None:
    state, effects = after(scene(), start())
    session = Session(1, "A", 1, ANN, NOON, 1_000, 1_000)
    assert effects == (Save(session), Reply(1, Started(1, Verdict.ACCEPTED)))
    assert open_at(state) == session


def test_the_tag_is_kept_as_it_was_sent() -> None:
    state, _ = after(scene(), start("04:a1:b2:c3"))
    assert open_at(state).id_tag == "04:a1:b2:c3"


def test_a_start_is_judged_without_any_authorize_before_it() -> None:
    state, effects = after(scene(), start("unknown"))
    assert answer(effects) == Started(1, Verdict.INVALID)
    assert state.connectors[ALONE].session is None


@pytest.mark.parametrize(
    ("badge", "verdict"),
    [
        (Badge(ANN, state=BadgeState.INACTIVE), Verdict.BLOCKED),
        (Badge(ANN, stations=frozenset({"B"})), Verdict.BLOCKED),
        (Badge(ANN, expires_on=(NOON - timedelta(days=2)).date()), Verdict.EXPIRED),
    ],
)
def test_a_refused_start_opens_nothing_and_its_number_is_stored_never_to_be_used_again(
    badge: Badge, verdict: Verdict
) -> None:
    state, effects = after(scene(badges={ANN.lower(): badge}), start())
    assert effects == (Save(RefusedStart(NOON, "A", ANN, verdict, 1)), Reply(1, Started(1, verdict)))
    assert all(connector.session is None for connector in state.connectors.values())
    assert state.next_transaction_id == 2


def test_a_refused_start_frees_the_share_that_was_kept_for_the_car() -> None:
    state, _ = after(scene(), StatusChanged("A", 1, Status.PREPARING))
    assert state.connectors[ALONE].preparing_ms is not None
    state, _ = after(state, start("unknown"))
    assert state.connectors[ALONE].preparing_ms is None


def test_a_family_shares_a_badge() -> None:
    state, _ = after(scene(), start(place=LEFT))
    state, effects = after(state, start(place=RIGHT))
    assert answer(effects) == Started(2, Verdict.ACCEPTED)
    assert open_at(state, LEFT).id_tag == open_at(state, RIGHT).id_tag == ANN


def test_a_tag_of_more_than_twenty_characters_is_invalid_even_where_access_is_free() -> None:
    free = scene(attrs.evolve(SITE, access=AccessRule.FREE))
    assert answer(after(free, start("0" * 21))[1]) == Started(1, Verdict.INVALID)
    assert answer(after(free, start("0" * 20))[1]) == Started(1, Verdict.ACCEPTED)


@pytest.mark.parametrize("connector", [-1, 0, 65])
def test_a_start_where_there_can_be_no_connector_is_invalid(connector: int) -> None:
    state, effects = after(scene(), start(place=("A", connector)))
    assert answer(effects) == Started(1, Verdict.INVALID)
    assert ("A", connector) not in state.connectors


@pytest.mark.parametrize("stations", [{}, {"A": StationState()}])
def test_a_start_of_a_station_that_never_called_is_invalid(stations: dict[str, StationState]) -> None:
    state, effects = after(scene(stations=stations), start())
    assert answer(effects) == Started(1, Verdict.INVALID)
    assert state.connectors[ALONE].session is None


def test_a_start_from_a_connector_not_met_before_counts_with_its_maximum() -> None:
    state, effects = after(scene(), start(place=("A", 2)))
    assert effects[0] == Save(Ceiling("A", 2, 16_000))
    assert answer(effects) == Started(1, Verdict.ACCEPTED)
    assert state.connectors["A", 2].ledger.held_ma(0, decays=True) == 16_000


def test_a_stranger_gets_no_session_and_fills_no_list() -> None:
    state, effects = after(scene(), start(place=("Stranger", 1)))
    assert answer(effects) == Started(1, Verdict.INVALID)
    assert state.refusals == ()
    state, effects = after(state, BadgePresented("Stranger", ANN, request=3))
    assert effects == (Reply(3, Authorised(Verdict.INVALID)),)
    assert state.refusals == ()


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), NOON + timedelta(minutes=6), None])
def test_a_stamp_that_cannot_be_gives_way_to_the_receipt_and_flags_the_session(at: datetime | None) -> None:
    state, _ = after(scene(), start(at=at))
    assert open_at(state).started_at == NOON
    assert open_at(state).flagged


def test_an_old_stamp_out_of_a_queue_is_kept() -> None:
    state, _ = after(scene(), start(at=NOON - timedelta(days=3)))
    assert open_at(state).started_at == NOON - timedelta(days=3)
    assert not open_at(state).flagged


def test_a_negative_register_counts_from_zero_and_flags_the_session() -> None:
    state, _ = after(scene(), start(wh=-7))
    assert (open_at(state).meter_start_wh, open_at(state).flagged) == (0, True)


# Repeated starts


def test_a_repeated_start_gives_the_first_answer_again_and_is_stored_again() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, MeterValuesReceived("A", 1, 1, register_wh=1_500), 60)
    again, effects = after(state, start("04:a1:b2:c3"), 3_600)  # hours later, with its first stamp
    assert effects == (Save(open_at(state)), Reply(1, Started(1, Verdict.ACCEPTED)))
    assert attrs.evolve(again, latest_utc=None) == attrs.evolve(state, latest_utc=None)


def test_a_start_repeated_after_its_stop_opens_nothing() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, stop(1, NOON + timedelta(hours=1)), 3_600)
    state, effects = after(state, start(), 3_700)
    assert answer(effects) == Started(1, Verdict.ACCEPTED)
    assert state.connectors[ALONE].session is None


def test_an_old_start_repeated_is_known_beside_one_that_is_alike() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, start(at=NOON + timedelta(seconds=9)), 9)
    state, _ = after(state, MeterValuesReceived("A", 1, 2, register_wh=5), 10)  # a register that fell
    assert answer(after(state, start(), 11)[1]) == Started(1, Verdict.ACCEPTED)


def test_a_repeated_start_without_a_believable_stamp_is_still_the_same() -> None:
    state, _ = after(scene(), start(at=None))
    state, effects = after(state, start(at=None), 300)
    assert answer(effects) == Started(1, Verdict.ACCEPTED)
    assert answer(after(state, start(BEA, at=None), 300)[1]) == Started(2, Verdict.ACCEPTED)


@pytest.mark.parametrize(
    "other",
    [
        start(at=NOON + timedelta(seconds=1)),
        start(BEA),
        start(wh=1_001),
    ],
)
def test_a_start_that_differs_is_another_transaction(other: StartRequested) -> None:
    state, _ = after(scene(), start())
    state, effects = after(state, other, 10)
    assert answer(effects) == Started(2, Verdict.ACCEPTED)
    assert open_at(state).transaction_id == 2


def test_an_alike_start_on_the_other_connector_is_another_transaction() -> None:
    state, _ = after(scene(), start(place=LEFT))
    assert answer(after(state, start(place=RIGHT))[1]) == Started(2, Verdict.ACCEPTED)


def test_a_new_start_ends_the_session_whose_stop_was_lost() -> None:
    state, _ = after(scene(), start())
    state, effects = after(state, start(BEA, NOON + timedelta(hours=1), wh=5_000), 3_600)
    old, new = saved(effects)
    assert (old.transaction_id, old.state, old.stop_reason) == (1, SessionState.INTERRUPTED, "Superseded")
    assert old.stopped_at == NOON + timedelta(hours=1)
    assert new == open_at(state)
    assert new.transaction_id == 2


def test_an_old_start_out_of_a_queue_does_not_end_the_newer_session() -> None:
    state, _ = after(scene(), start(BEA, NOON, wh=5_000))
    state, effects = after(state, start(ANN, NOON - timedelta(hours=2), wh=4_000), 10)
    assert answer(effects) == Started(2, Verdict.ACCEPTED)
    (late,) = saved(effects)
    assert (late.state, late.stopped_at) == (SessionState.INTERRUPTED, NOON)
    assert open_at(state).id_tag == BEA
    state, effects = after(state, stop(2, NOON - timedelta(hours=1), 4_700), 20)
    assert saved(effects)[0].energy_wh == 700
    assert open_at(state).id_tag == BEA


def test_a_live_start_begins_although_the_stations_clock_went_back_a_little() -> None:
    state, _ = after(scene(), start(BEA, NOON + timedelta(minutes=4), wh=5_000))
    state, _ = after(state, start(ANN, NOON + LIVE, wh=5_000), 2 * int(LIVE.total_seconds()))
    assert open_at(state).id_tag == ANN


def test_a_newcomer_takes_its_turn_level_with_whoever_was_served_least() -> None:
    state, _ = after(scene(), start(place=LEFT))
    served = attrs.evolve(state.connectors[LEFT], served_ms=90_000)
    state, _ = after(attrs.evolve(state, connectors={**state.connectors, LEFT: served}), start(BEA, place=RIGHT))
    assert (state.connectors[RIGHT].served_ms, state.connectors[RIGHT].rank) == (90_000, 1)


# Stops


def test_a_stop_closes_the_session_with_the_registers_difference() -> None:
    state, _ = after(scene(), start())
    state, effects = after(state, stop(1, NOON + timedelta(hours=1), 9_000), 3_600)
    (session,) = saved(effects)
    assert (session.state, session.energy_wh, session.flagged) == (SessionState.CLOSED, 8_000, False)
    assert (session.stopped_at, session.meter_stop_wh) == (NOON + timedelta(hours=1), 9_000)
    assert state.connectors[ALONE].session is None
    assert state.recent[1] == session


@pytest.mark.parametrize(("max_ma", "energy_wh"), [(16_000, 20_160), (32_000, 20_000 + 21_160)])
@pytest.mark.parametrize("by_stop", [True, False])
def test_what_the_station_can_deliver_tells_whether_a_register_grew_or_came_back(
    max_ma: int, energy_wh: int, by_stop: bool
) -> None:
    """From 0 to 21 160 Wh within an hour and a half: no station of 16 A."""
    state, _ = after(scene(attrs.evolve(SITE, stations=(Station("A", max_ma=max_ma),))), start(wh=1_000))
    for hours, register_wh in ((5, 21_000), (6, 0), (8.5, 0)):
        at = NOON + timedelta(hours=hours)
        state, _ = after(state, MeterValuesReceived("A", 1, 1, register_wh=register_wh, at=at), int(hours * 3_600))
    at = NOON + timedelta(hours=10)
    if by_stop:
        state, effects = after(state, stop(1, at, 21_160), 36_000)
        assert saved(effects)[0].energy_wh == energy_wh
    else:
        state, _ = after(state, MeterValuesReceived("A", 1, 1, register_wh=21_160, at=at), 36_000)
        assert open_at(state).energy_wh == energy_wh


def test_a_repeated_stop_changes_nothing_and_is_stored_again() -> None:
    state, _ = after(scene(), start())
    state, first = after(state, stop(1, NOON + timedelta(hours=1), 9_000), 3_600)
    again, second = after(state, stop(1, NOON + timedelta(hours=2), 99_000), 7_200)
    assert saved(second) == saved(first)
    assert again.recent == state.recent


def test_a_stop_days_late_keeps_its_stamp_and_frees_no_newer_session() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, start(BEA, NOON + timedelta(hours=3), wh=4_000), 3 * 3_600)
    state, effects = after(state, stop(1, NOON + timedelta(hours=1), 4_000), 3 * 86_400)
    (session,) = saved(effects)
    assert (session.state, session.stopped_at) == (SessionState.CLOSED, NOON + timedelta(hours=1))
    assert session.energy_wh == 3_000
    assert open_at(state).id_tag == BEA


@pytest.mark.parametrize(
    ("ended_s", "ahead_ms", "refusals"), [(60, None, 0), (61, 0, 2), (65, 5_000, 0), (66, 5_000, 2), (55, -5_000, 0)]
)
def test_a_stop_told_late_forgets_that_0_a_was_refused_since(ended_s: int, ahead_ms: int | None, refusals: int) -> None:
    """A transaction that is over takes no limit at all. The stop is stamped by the station's own clock."""
    refused = Ledger(None, zero_refused_ms=now(60).monotonic_ms, zero_refusals=2)
    known = {"A": StationState(online=True, met=True, accepted=True, clock_ahead_ms=ahead_ms)}
    state, _ = after(scene(stations=known, connectors={ALONE: ConnectorState(refused)}), start())
    state, _ = after(state, stop(1, NOON + timedelta(seconds=ended_s)), 120)
    assert state.connectors[ALONE].ledger.zero_refusals == refusals


def test_a_station_cannot_stop_anothers_session() -> None:
    state, _ = after(scene(), start())
    for _ in range(2):  # while it is open, and when it has ended
        unchanged, effects = after(state, stop(1, NOON, station="B"))
        assert not saved(effects)
        assert (unchanged.connectors, unchanged.recent) == (state.connectors, state.recent)
        state, _ = after(state, stop(1, NOON + timedelta(hours=1)), 3_600)


@pytest.mark.parametrize("transaction_id", [-16, -1, 0, 77, 2**63 - 1])
def test_a_stop_of_no_transaction_of_ours_is_answered_as_if_valid(transaction_id: int) -> None:
    state, _ = after(scene(), start())
    unchanged, effects = after(state, stop(transaction_id, NOON))
    assert effects == (Reply(2, Stopped(None)),)
    assert unchanged.connectors == state.connectors


def test_an_older_transaction_of_the_same_number_ends_nothing_of_ours() -> None:
    state, _ = after(scene(), start())
    state, effects = after(state, stop(1, NOON - timedelta(days=1), 900))
    assert not saved(effects)
    assert open_at(state).transaction_id == 1


@pytest.mark.parametrize(
    ("began", "ended", "stop_wh"),
    [
        (NOON, NOON - timedelta(days=1), 1_001),  # a clock that fell back: the register shows that it charged
        (NOON, NOON - timedelta(minutes=4), 1_000),
        (None, NOON - timedelta(days=1), 1_000),  # nobody knows when it began
        (NOON, None, 1_000),
        (NOON, datetime(1970, 1, 1, tzinfo=UTC), 1_000),
    ],
)
def test_a_stop_with_a_doubtful_stamp_still_ends_its_session(
    began: datetime | None, ended: datetime | None, stop_wh: int
) -> None:
    state, _ = after(scene(), start(at=began))
    state, effects = after(state, stop(1, ended, stop_wh), 60)
    (session,) = saved(effects)
    assert session.stopped_at is not None
    assert session.stopped_at >= session.started_at
    assert state.connectors[ALONE].session is None


def test_a_stop_without_a_believable_stamp_ends_at_its_receipt_and_flags_the_session() -> None:
    state, _ = after(scene(), start())
    _, effects = after(state, stop(1, None), 60)
    assert saved(effects)[0].stopped_at == NOON + timedelta(seconds=60)
    assert saved(effects)[0].flagged


@pytest.mark.parametrize(
    ("tag", "verdict"),
    [(None, None), (ANN, Verdict.ACCEPTED), (BEA, Verdict.ACCEPTED), ("unknown", Verdict.INVALID)],
)
def test_the_answer_to_a_stop_tells_what_the_badge_is_worth_from_now_on(
    tag: str | None, verdict: Verdict | None
) -> None:
    state, _ = after(scene(), start())
    assert answer(after(state, stop(1, NOON, tag=tag))[1]) == Stopped(verdict)


def test_a_badge_blocked_meanwhile_is_not_accepted_by_the_answer_to_its_stop() -> None:
    state, _ = after(scene(), start())
    state = attrs.evolve(state, badges={ANN.lower(): Badge(ANN, state=BadgeState.INACTIVE)})
    assert answer(after(state, stop(1, NOON, tag=ANN))[1]) == Stopped(Verdict.BLOCKED)


def test_under_a_cpo_we_say_nothing_of_the_badge_that_stopped() -> None:
    state, _ = after(scene(), start())
    state = attrs.evolve(state, site=attrs.evolve(SITE, access=AccessRule.CPO))
    assert answer(after(state, stop(1, NOON, tag=ANN))[1]) == Stopped(None)


def test_ended_sessions_are_kept_for_late_messages_and_are_bounded() -> None:
    state = scene()
    for number in range(RECENT + 5):
        at = NOON + timedelta(seconds=number)
        state, _ = after(state, start(at=at), number)
        state, _ = after(state, stop(number + 1, at), number)
    assert list(state.recent) == list(range(6, RECENT + 6))


# Sessions whose stop never comes


def test_a_connector_free_for_a_minute_ends_its_session_at_the_last_reading() -> None:
    state, _ = after(scene(), start())
    read_at = NOON + timedelta(seconds=500)
    state, _ = after(state, MeterValuesReceived("A", 1, 1, register_wh=1_400, at=read_at), 500)
    state, _ = after(state, StatusChanged("A", 1, Status.AVAILABLE, at=NOON + timedelta(seconds=600)), 600)
    state, effects = after(state, Tick(), 600 + ABANDONED_MS // 1000 - 1)
    assert not saved(effects)
    state, effects = after(state, Tick(), 600 + ABANDONED_MS // 1000)
    (session,) = saved(effects)
    assert (session.state, session.stop_reason) == (SessionState.INTERRUPTED, "NoStop")
    assert (session.stopped_at, session.meter_stop_wh, session.energy_wh) == (read_at, 1_400, 400)
    assert state.connectors[ALONE].session is None


def test_without_a_reading_it_ends_when_the_connector_was_free() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, StatusChanged("A", 1, Status.AVAILABLE), 600)
    _, effects = after(state, Tick(), 690)
    assert saved(effects)[0].stopped_at == NOON + timedelta(seconds=600)


def test_a_late_stop_completes_what_was_interrupted() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, StatusChanged("A", 1, Status.AVAILABLE), 600)
    state, _ = after(state, Tick(), 690)
    state, effects = after(state, stop(1, NOON + timedelta(seconds=590), 3_000), 7_200)
    (session,) = saved(effects)
    assert (session.state, session.energy_wh) == (SessionState.CLOSED, 2_000)
    assert session.stopped_at == NOON + timedelta(seconds=590)


def test_an_available_from_before_the_session_does_not_end_it() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, StatusChanged("A", 1, Status.AVAILABLE, at=NOON - timedelta(seconds=5)), 5)
    _, effects = after(state, Tick(), 600)
    assert not saved(effects)


@pytest.mark.parametrize(("free_s", "over"), [(-100, True), (-400, False), (None, False)])
def test_a_start_out_of_a_queue_whose_car_has_left_is_no_ghost(free_s: int | None, over: bool) -> None:
    free_at = NOON + timedelta(seconds=free_s) if free_s is not None else None
    state, _ = after(scene(), StatusChanged("A", 1, Status.AVAILABLE, at=free_at))
    state, _ = after(state, start(at=NOON - timedelta(seconds=300)))
    assert (state.connectors[ALONE].available_ms is not None) is over
    _, effects = after(state, Tick(), ABANDONED_MS // 1000)
    assert [session.stop_reason for session in saved(effects)] == (["NoStop"] if over else [])


def test_a_live_start_is_of_a_car_that_is_there_whatever_a_clock_said_before() -> None:
    state, _ = after(scene(), StatusChanged("A", 1, Status.AVAILABLE, at=NOON + timedelta(seconds=30)))
    state, _ = after(state, start(at=NOON))
    assert state.connectors[ALONE].available_ms is None


def test_while_the_disk_fails_no_session_is_given_up() -> None:
    state, _ = after(scene(), start())
    state, _ = after(state, StatusChanged("A", 1, Status.AVAILABLE), 1)
    state, effects = after(attrs.evolve(state, storage_failing="full"), Tick(), 600)
    assert open_at(state).transaction_id == 1
    assert not saved(effects)


# Badges held to a station


def test_a_known_badge_is_accepted_and_leaves_no_trace() -> None:
    state, effects = after(scene(), BadgePresented("A", "04:a1:b2:c3", request=3))
    assert effects == (Reply(3, Authorised(Verdict.ACCEPTED)),)
    assert state.refusals == ()


def test_a_refused_badge_is_kept_to_be_enrolled() -> None:
    state, effects = after(scene(), BadgePresented("A", "New", request=3))
    refusal = RefusedStart(NOON, "A", "New", Verdict.INVALID)
    assert effects == (Note(refusal), Reply(3, Authorised(Verdict.INVALID)))
    assert state.refusals == (refusal,)


def test_a_badge_held_again_and_again_is_noted_once_a_minute_and_takes_one_place() -> None:
    state, notes = scene(), 0
    for second in range(0, 3_600, 5):
        state, effects = after(state, BadgePresented("A", "New" if second % 2 else "n e w"), second)
        assert answer(effects) == Authorised(Verdict.INVALID)
        notes += sum(isinstance(effect, Note) for effect in effects)
    assert notes == 3_600 // int(HELD_AGAIN.total_seconds())
    assert len(state.refusals) == 1


def test_what_became_of_a_badge_meanwhile_is_news_and_so_is_another_station() -> None:
    state, _ = after(scene(), BadgePresented("A", "New"))
    state = attrs.evolve(state, badges={"new": Badge("New", state=BadgeState.PENDING)})
    state, effects = after(state, BadgePresented("A", "New"), 1)
    assert isinstance(effects[0], Note)
    state, effects = after(state, BadgePresented("B", "New"), 2)
    assert isinstance(effects[0], Note)
    assert [(r.station_id, r.verdict) for r in state.refusals] == [("A", Verdict.BLOCKED), ("B", Verdict.BLOCKED)]


def test_the_refusals_in_memory_are_bounded() -> None:
    state = scene()
    for number in range(REFUSALS + 5):
        state, _ = after(state, BadgePresented("A", f"{number}"))
    assert [refusal.id_tag for refusal in state.refusals] == [f"{number}" for number in range(5, REFUSALS + 5)]


def test_a_super_users_badge_stops_anyones_session_where_nothing_can_be_started() -> None:
    state, _ = after(scene(), start())
    _, effects = after(state, BadgePresented("A", CHIEF, request=3))
    assert effects == (Reply(3, Authorised(Verdict.ACCEPTED)), StopRemotely("A", 1))


@pytest.mark.parametrize("tag", [ANN, BEA])
def test_no_other_badge_stops_a_session_by_being_held_there(tag: str) -> None:
    state, _ = after(scene(), start())
    assert after(state, BadgePresented("A", tag, request=3))[1] == (Reply(3, Authorised(Verdict.ACCEPTED)),)


def test_a_super_user_stops_nothing_where_a_session_is_none_of_one_or_the_own() -> None:
    assert len(after(scene(), BadgePresented("A", CHIEF))[1]) == 1
    both, _ = after(after(scene(), start(place=LEFT))[0], start(place=RIGHT))
    assert len(after(both, BadgePresented("B", CHIEF))[1]) == 1
    own, _ = after(scene(), start(CHIEF))
    assert len(after(own, BadgePresented("A", CHIEF))[1]) == 1


def test_where_access_is_free_a_super_users_badge_is_like_any_other() -> None:
    state, _ = after(scene(attrs.evolve(SITE, access=AccessRule.FREE)), start())
    assert len(after(state, BadgePresented("A", CHIEF))[1]) == 1


def test_a_clock_that_fell_back_brings_no_expired_badge_back() -> None:
    expired = Badge(ANN, expires_on=NOON.date())
    state = scene(badges={ANN.lower(): expired}, latest_utc=NOON + timedelta(days=2))
    _, effects = after(state, start())
    assert answer(effects) == Started(1, Verdict.EXPIRED)


# One badge at two connectors


def strict(**changes: object) -> State:
    return scene(attrs.evolve(SITE, badge_rules=BadgeRules(concurrent=Concurrency.REFUSED), **changes))  # type: ignore[arg-type]


def test_a_badge_that_charges_starts_nothing_elsewhere_where_the_rule_is_on() -> None:
    state, _ = after(strict(), start())
    assert answer(after(state, start(ANN, place=LEFT))[1]) == Started(2, Verdict.CONCURRENT)
    assert answer(after(state, BadgePresented("B", ANN, request=3))[1]) == Authorised(Verdict.CONCURRENT)
    assert answer(after(state, start(BEA, place=LEFT))[1]) == Started(2, Verdict.ACCEPTED)


def test_where_it_charges_it_may_be_held_to_stop_and_a_lost_stop_locks_nobody_out() -> None:
    state, _ = after(strict(), start())
    assert answer(after(state, BadgePresented("A", ANN, request=3))[1]) == Authorised(Verdict.ACCEPTED)
    assert answer(after(state, start(at=NOON + timedelta(hours=1), wh=5_000))[1]) == Started(2, Verdict.ACCEPTED)


def test_the_second_connector_of_one_station_is_elsewhere() -> None:
    state, _ = after(strict(), start(place=LEFT))
    assert answer(after(state, start(place=RIGHT))[1]) == Started(2, Verdict.CONCURRENT)


def test_where_access_is_free_nobody_counts_sessions() -> None:
    state, _ = after(strict(access=AccessRule.FREE), start())
    assert answer(after(state, start(place=LEFT))[1]) == Started(2, Verdict.ACCEPTED)


def test_a_badge_told_backwards_charges_as_itself() -> None:
    rules = BadgeRules(Concurrency.REFUSED, ByteOrder.EITHER)
    state, effects = after(scene(attrs.evolve(SITE, badge_rules=rules)), start("C3B2A104"))
    assert answer(effects) == Started(1, Verdict.ACCEPTED)
    assert answer(after(state, start(ANN, place=LEFT))[1]) == Started(2, Verdict.CONCURRENT)


@pytest.mark.parametrize(
    ("status", "stops"),
    [
        (Status.FAULTED, True),
        (Status.UNAVAILABLE, True),
        (Status.RESERVED, True),
        (Status.AVAILABLE, False),
        (Status.PREPARING, False),
    ],
)
def test_a_super_user_stops_the_one_session_of_a_double_station_whose_other_side_is_out(
    status: Status, stops: bool
) -> None:
    state, _ = after(scene(), start(place=LEFT))
    state, _ = after(state, StatusChanged("B", 2, status))
    _, effects = after(state, BadgePresented("B", CHIEF))
    assert (StopRemotely("B", 1) in effects) == stops
