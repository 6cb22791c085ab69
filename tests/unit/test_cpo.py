"""Badges and transactions while an operator decides: asked, answered, silent, gone, and told of everything once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

import attrs
import pytest

from llm_core import (
    AccessRule,
    AskCpo,
    Authorised,
    Badge,
    BadgePresented,
    ConnectorState,
    CpoAnswered,
    CpoCacheCleared,
    CpoForgotten,
    CpoVerdict,
    Effect,
    Event,
    Ledger,
    Note,
    OfflinePolicy,
    PerPhase,
    RefusedStart,
    RemoveStation,
    Reply,
    Reservation,
    Save,
    Session,
    SessionState,
    Site,
    SiteEdited,
    Started,
    StartRequested,
    State,
    Station,
    StationState,
    Status,
    StatusChanged,
    StopRemotely,
    StopRequested,
    Supply,
    TellCpo,
    Tick,
    Uplink,
    UplinkKind,
    UplinkMessage,
    UplinkReported,
    UplinkState,
    UplinkStation,
    Verdict,
    step,
)
from llm_core.cpo import DEADLINE_MS, DEAUTHORIZED, MOST_VERDICTS, REFUSED_UNSTOPPED_MS, UNSTOPPED_MS
from unit.strategies import NOON, now

ANN, BEA = "04A1B2C3", "04D4E5F6"
SITE = Site(
    supply=Supply(static_max_ma=PerPhase.same(32_000)),
    stations=(Station("A"), Station("B")),
    access=AccessRule.CPO,
    uplink=Uplink(enabled=True, url="ws://cpo", stations=(UplinkStation("A", "NL-1"),)),
)
K = TypeVar("K")


def scene(offline: OfflinePolicy = OfflinePolicy.CACHED, *, there: bool = True) -> State:
    """Two stations on line, one of them with an operator above it; Ann is a badge of our own."""
    state = State(
        site=attrs.evolve(SITE, uplink=attrs.evolve(SITE.uplink, offline=offline)),
        factory=False,
        stations=dict.fromkeys(("A", "B"), StationState(online=True, met=True, accepted=True)),
        connectors={("A", 1): ConnectorState(Ledger(None)), ("B", 1): ConnectorState(Ledger(None))},
        badges={ANN.lower(): Badge(ANN)},
        ticked_ms=now().monotonic_ms,
    )
    status = UplinkState.ACCEPTED if there else UplinkState.OFFLINE
    return step(state, UplinkReported("A", status, failed=not there), now(-100)).state


def start(tag: str = ANN, *, at: datetime | None = NOON, request: int = 1, wh: int = 1_000) -> StartRequested:
    return StartRequested("A", 1, tag, wh, at, request, '{"idTag":"x"}')


def run(state: State, *events: Event, seconds: int = 0) -> tuple[State, tuple[Effect, ...]]:
    """The state after all events, and the effects of the last."""
    effects: tuple[Effect, ...] = ()
    for event in events:
        outcome = step(state, event, now(seconds))
        state, effects = outcome.state, outcome.effects
    return state, effects


def only(effects: tuple[Effect, ...], kind: type[K]) -> list[K]:
    return [effect for effect in effects if isinstance(effect, kind)]


def saved(effects: tuple[Effect, ...], kind: type[K]) -> list[K]:
    return [save.record for save in only(effects, Save) if isinstance(save.record, kind)]


def says(verdict: Verdict | None, *, ask: int | None = 1, tag: str = ANN, **more: object) -> CpoAnswered:
    return CpoAnswered("A", tag, verdict, ask, **more)  # type: ignore[arg-type]


# Badges


def test_a_badge_waits_for_the_operator_and_gets_its_verdict() -> None:
    state, effects = run(scene(), BadgePresented("A", ANN, 7))
    assert effects == (AskCpo(1, "A", ANN),)
    for verdict in (Verdict.ACCEPTED, Verdict.EXPIRED):
        _, effects = run(state, says(verdict))
        assert only(effects, Reply) == [Reply(7, Authorised(verdict))]


def test_a_refused_badge_is_kept_to_be_enrolled_and_an_accepted_one_is_not() -> None:
    state, _ = run(scene(), BadgePresented("A", ANN, 7))
    refused, effects = run(state, says(Verdict.BLOCKED))
    assert refused.refusals == (RefusedStart(NOON, "A", ANN, Verdict.BLOCKED),)
    assert Note(refused.refusals[0]) in effects
    assert run(state, says(Verdict.ACCEPTED))[0].refusals == ()


@pytest.mark.parametrize(
    "reported",
    [None, UplinkReported("A", UplinkState.CONNECTING), UplinkReported("A", UplinkState.OFFLINE)],
    ids=["not heard of yet", "being dialled", "the station was away"],
)
def test_while_nobody_has_tried_to_reach_the_operator_a_badge_and_a_start_wait_for_it(
    reported: UplinkReported | None,
) -> None:
    state = attrs.evolve(scene(), uplink={})
    state, _ = run(state, *(() if reported is None else (reported,)))
    waiting, effects = run(state, BadgePresented("A", ANN, 7))
    assert effects == (AskCpo(1, "A", ANN),)
    assert only(run(waiting, says(None))[1], Reply) == [Reply(7, Authorised(Verdict.INVALID))]
    assert [ask.transaction_id for ask in only(run(state, start())[1], AskCpo)] == [1]


@pytest.mark.parametrize("state", [UplinkState.CONNECTING, UplinkState.OFFLINE])
def test_once_it_was_tried_in_vain_nobody_waits_while_it_is_tried_again(state: UplinkState) -> None:
    known, _ = run(scene(), UplinkReported("A", state, failed=True))
    assert only(run(known, BadgePresented("A", ANN, 7))[1], Reply) == [Reply(7, Authorised(Verdict.INVALID))]


def test_a_station_that_no_operator_knows_waits_for_none() -> None:
    state = attrs.evolve(scene(OfflinePolicy.LOCAL), uplink={})
    _, effects = run(state, BadgePresented("B", ANN, 7))
    assert only(effects, Reply) == [Reply(7, Authorised(Verdict.ACCEPTED))]


def test_every_badge_is_answered_once() -> None:
    state, _ = run(scene(), BadgePresented("A", ANN, 7), says(Verdict.ACCEPTED))
    assert only(run(state, says(Verdict.ACCEPTED))[1], Reply) == []
    assert state.cpo_asks == {}


@pytest.mark.parametrize("tag", ["", ": :", "x" * 21])
def test_what_is_no_badge_is_refused_without_asking_anyone(tag: str) -> None:
    _, effects = run(scene(), BadgePresented("A", tag, 7))
    assert only(effects, Reply) == [Reply(7, Authorised(Verdict.INVALID))]
    assert only(effects, AskCpo) == []


def test_a_stranger_is_refused_without_asking_anyone() -> None:
    assert run(scene(), BadgePresented("S", ANN, 7))[1] == (Reply(7, Authorised(Verdict.INVALID)),)


def test_without_a_cpo_rule_nobody_is_asked() -> None:
    state = scene()
    state = attrs.evolve(state, site=attrs.evolve(state.site, access=AccessRule.FREE))
    assert run(state, BadgePresented("A", ANN, 7))[1] == (Reply(7, Authorised(Verdict.ACCEPTED)),)
    assert saved(run(state, start())[1], UplinkMessage) == []


# The operator is away


@pytest.mark.parametrize(
    ("policy", "tag", "verdict"),
    [
        (OfflinePolicy.CACHED, ANN, Verdict.INVALID),
        (OfflinePolicy.LOCAL, ANN, Verdict.ACCEPTED),
        (OfflinePolicy.LOCAL, BEA, Verdict.INVALID),
        (OfflinePolicy.REFUSE, ANN, Verdict.INVALID),
    ],
)
def test_who_cannot_be_asked_is_replaced_by_the_offline_policy_at_once(
    policy: OfflinePolicy, tag: str, verdict: Verdict
) -> None:
    state, effects = run(scene(policy, there=False), BadgePresented("A", tag, 7))
    assert only(effects, Reply) == [Reply(7, Authorised(verdict))]
    assert state.cpo_asks == {}
    state, _ = run(scene(policy), BadgePresented("A", tag, 7))
    assert only(run(state, says(None, tag=tag))[1], Reply) == [Reply(7, Authorised(verdict))]


def test_a_station_without_a_place_at_the_operator_keeps_the_offline_policy() -> None:
    _, effects = run(scene(OfflinePolicy.LOCAL), BadgePresented("B", ANN, 7))
    assert only(effects, Reply) == [Reply(7, Authorised(Verdict.ACCEPTED))]


def test_what_the_operator_said_last_counts_while_it_is_away() -> None:
    state, _ = run(
        scene(),
        BadgePresented("A", ANN, 7),
        says(Verdict.ACCEPTED),
        UplinkReported("A", UplinkState.OFFLINE, failed=True),
    )
    assert only(run(state, BadgePresented("A", "04:a1:b2:c3", 8))[1], Reply) == [Reply(8, Authorised(Verdict.ACCEPTED))]
    blocked, _ = run(state, says(Verdict.BLOCKED, ask=None))
    assert only(run(blocked, BadgePresented("A", ANN, 8))[1], Reply) == [Reply(8, Authorised(Verdict.BLOCKED))]


def test_an_accepted_badge_expires_with_the_operators_own_date() -> None:
    state, _ = run(scene(there=False), says(Verdict.ACCEPTED, ask=None, expires_at=NOON + timedelta(seconds=10)))
    for seconds, verdict in ((9, Verdict.ACCEPTED), (10, Verdict.EXPIRED)):
        _, effects = run(state, BadgePresented("A", ANN, 8), seconds=seconds)
        assert only(effects, Reply) == [Reply(8, Authorised(verdict))]
    fallen_back = attrs.evolve(state, latest_utc=NOON + timedelta(days=1))
    assert only(run(fallen_back, BadgePresented("A", ANN, 8))[1], Reply) == [Reply(8, Authorised(Verdict.EXPIRED))]


def test_a_verdict_about_the_moment_is_not_remembered() -> None:
    assert run(scene(), says(Verdict.CONCURRENT, ask=None))[0].cpo_verdicts == {}
    assert run(scene(), says(None, ask=None))[0].cpo_verdicts == {}


def test_verdicts_are_kept_and_bounded_and_the_same_again_is_no_news() -> None:
    state, effects = run(scene(), says(Verdict.ACCEPTED, ask=None))
    assert effects == (Note(CpoVerdict(ANN.lower(), Verdict.ACCEPTED)),)
    assert run(state, says(Verdict.ACCEPTED, ask=None))[1] == ()
    full = {f"{n:08}": CpoVerdict(f"{n:08}", Verdict.ACCEPTED) for n in range(MOST_VERDICTS)}
    state, effects = run(attrs.evolve(state, cpo_verdicts=full), says(Verdict.ACCEPTED, ask=None))
    assert len(state.cpo_verdicts) == MOST_VERDICTS
    assert list(state.cpo_verdicts)[-1] == ANN.lower()
    assert Note(CpoVerdict("00000000", None)) in effects


def test_a_cleared_cache_lets_nobody_in() -> None:
    state, effects = run(scene(there=False), says(Verdict.ACCEPTED, ask=None), CpoCacheCleared())
    assert effects == (Note(CpoForgotten()),)
    assert only(run(state, BadgePresented("A", ANN, 8))[1], Reply) == [Reply(8, Authorised(Verdict.INVALID))]


def test_who_waits_too_long_is_answered_all_the_same() -> None:
    state, _ = run(scene(OfflinePolicy.LOCAL), BadgePresented("A", ANN, 7))
    late_s = DEADLINE_MS // 1000
    assert only(run(state, Tick(), seconds=late_s)[1], Reply) == []
    state, effects = run(state, Tick(), seconds=late_s + 1)
    assert only(effects, Reply) == [Reply(7, Authorised(Verdict.ACCEPTED))]
    assert only(run(state, says(Verdict.BLOCKED))[1], Reply) == []


def test_a_station_that_is_removed_while_it_waits_is_refused() -> None:
    state, _ = run(scene(OfflinePolicy.LOCAL), BadgePresented("A", ANN, 7), SiteEdited("ann", RemoveStation("A")))
    assert only(run(state, says(Verdict.ACCEPTED))[1], Reply) == [Reply(7, Authorised(Verdict.INVALID))]


# Starts


def test_a_start_is_saved_with_its_message_before_the_operator_is_asked_and_gets_its_place_with_the_verdict() -> None:
    state, effects = run(scene(), start())
    (session,), (message,) = saved(effects, Session), saved(effects, UplinkMessage)
    assert message == UplinkMessage("A", UplinkKind.START, 1, 1, ANN, 1_000, NOON, said='{"idTag":"x"}')
    assert session.transaction_id == 1
    assert effects[2:] == (AskCpo(1, "A", ANN, 1), TellCpo("A"))
    assert state.connectors["A", 1].session is None
    for answer in (says(Verdict.ACCEPTED), says(Verdict.ACCEPTED, ask=None, transaction_id=1)):
        after, effects = run(state, answer)
        assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED))]
        assert saved(effects, Session) == [session]
        assert after.connectors["A", 1].session == session


def test_a_connector_that_speaks_for_the_first_time_comes_into_the_books_with_its_start() -> None:
    state = attrs.evolve(scene(), connectors={})
    state, _ = run(state, start(), says(Verdict.ACCEPTED))
    assert state.connectors["A", 1].session is not None


def test_a_start_that_the_operator_refuses_ends_as_it_began_and_frees_its_share() -> None:
    state, _ = run(scene(), StatusChanged("A", 1, Status.PREPARING), start())
    assert state.connectors["A", 1].preparing_ms is not None
    state, effects = run(state, says(Verdict.BLOCKED))
    (session,) = saved(effects, Session)
    assert (session.state, session.stop_reason, session.energy_wh) == (SessionState.INTERRUPTED, DEAUTHORIZED, 0)
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.BLOCKED))]
    assert state.connectors["A", 1].session is None
    assert state.connectors["A", 1].preparing_ms is None
    assert state.refusals[0].verdict is Verdict.BLOCKED


def test_without_the_operator_a_start_is_accepted_and_its_message_kept_for_later() -> None:
    state, effects = run(scene(OfflinePolicy.LOCAL, there=False), start())
    assert [message.kind for message in saved(effects, UplinkMessage)] == [UplinkKind.START]
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED))]
    assert only(effects, AskCpo) == []
    assert state.connectors["A", 1].session is not None


@pytest.mark.parametrize("policy", [OfflinePolicy.CACHED, OfflinePolicy.REFUSE])
def test_a_start_that_the_offline_policy_refuses_has_happened_all_the_same_and_is_told_with_its_stop(
    policy: OfflinePolicy,
) -> None:
    state, effects = run(scene(policy, there=False), start())
    assert [message.kind for message in saved(effects, UplinkMessage)] == [UplinkKind.START]
    assert saved(effects, Session)[-1].state is SessionState.INTERRUPTED
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.INVALID))]
    assert state.connectors["A", 1].session is None
    _, effects = run(state, StopRequested("A", 1, 5_000, NOON, "Local", ANN))
    (stop,) = saved(effects, UplinkMessage)
    assert (stop.kind, stop.transaction_id, stop.meter_wh) == (UplinkKind.STOP, 1, 5_000)


# Reservations


def reserving(state: State, *, tag: str = BEA, for_group: bool = False) -> State:
    kept = Reservation(7, "A", 1, tag, NOON + timedelta(hours=1), for_group=for_group)
    return attrs.evolve(state, reservations={kept.key: kept})


@pytest.mark.parametrize("there", [True, False])
def test_a_place_that_is_kept_for_another_badge_opens_for_none_that_the_operator_accepts(there: bool) -> None:
    state = reserving(scene(OfflinePolicy.LOCAL, there=there))
    for event, answer in (
        (BadgePresented("A", ANN, 1), Authorised(Verdict.BLOCKED)),
        (start(), Started(1, Verdict.BLOCKED)),
    ):
        _, effects = run(state, event, *([says(Verdict.ACCEPTED)] if there else []))
        assert only(effects, Reply) == [Reply(1, answer)]


def test_a_reservation_opens_for_its_badge_and_is_used_up_and_one_for_a_group_is_the_stations_to_keep() -> None:
    mine = reserving(scene(), tag=ANN)
    after, effects = run(mine, start(), says(Verdict.ACCEPTED))
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED))]
    assert after.reservations == {}
    group = reserving(scene(), for_group=True)
    after, effects = run(group, start(), says(Verdict.ACCEPTED))
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED))]
    assert len(after.reservations) == 1


def test_a_start_at_a_station_without_a_place_at_the_operator_is_told_to_nobody() -> None:
    """Else the operator would hear of it once the station has a place, and never of its stop."""
    state, effects = run(scene(OfflinePolicy.LOCAL), attrs.evolve(start(), station_id="B"))
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED))]
    assert saved(effects, UplinkMessage) == []
    assert only(effects, TellCpo) == []
    assert state.connectors["B", 1].session is not None


def test_a_start_from_a_connector_that_cannot_be_is_refused() -> None:
    _, effects = run(scene(), attrs.evolve(start(), connector=0))
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.INVALID))]


@pytest.mark.parametrize("at", [NOON, None])
def test_a_start_that_is_repeated_waits_for_the_same_verdict(at: datetime | None) -> None:
    state, first = run(scene(), start(at=at))
    state, again = run(state, start(at=at, request=2))
    assert saved(again, UplinkMessage) == []
    assert saved(again, Session) == saved(first, Session)
    _, effects = run(state, says(Verdict.ACCEPTED))
    assert only(effects, Reply) == [Reply(1, Started(1, Verdict.ACCEPTED)), Reply(2, Started(1, Verdict.ACCEPTED))]


@pytest.mark.parametrize(
    ("verdict", "again"),
    [(Verdict.ACCEPTED, Verdict.ACCEPTED), (Verdict.EXPIRED, Verdict.EXPIRED), (Verdict.CONCURRENT, Verdict.INVALID)],
)
def test_a_start_that_is_repeated_later_gets_the_answer_of_the_first(verdict: Verdict, again: Verdict) -> None:
    state, _ = run(scene(), start(), says(verdict))
    _, effects = run(state, start(request=2))
    assert only(effects, Reply) == [Reply(2, Started(1, again))]


def test_a_start_refused_for_the_moment_is_refused_again_though_its_badge_is_good() -> None:
    state, _ = run(scene(), says(Verdict.ACCEPTED, ask=None), start(), says(Verdict.CONCURRENT))
    assert only(run(state, start(request=2))[1], Reply) == [Reply(2, Started(1, Verdict.INVALID))]


def test_a_transaction_that_the_operator_refuses_afterwards_is_stopped() -> None:
    state, _ = run(scene(OfflinePolicy.LOCAL, there=False), start())
    refused = says(Verdict.BLOCKED, ask=None, transaction_id=1)
    assert only(run(state, refused)[1], StopRemotely) == [StopRemotely("A", 1)]
    assert only(run(state, says(Verdict.ACCEPTED, ask=None, transaction_id=1))[1], StopRemotely) == []
    ended, _ = run(state, StopRequested("A", 1, 2_000, NOON))
    assert only(run(ended, refused)[1], StopRemotely) == []


# Stops


def test_a_stop_is_told_with_its_session_in_one_commit() -> None:
    state, _ = run(scene(), start(), says(Verdict.ACCEPTED))
    _, effects = run(state, StopRequested("A", 1, 2_000, NOON, "Remote", ANN, 3, '{"reason":"x"}'))
    assert saved(effects, UplinkMessage) == [
        UplinkMessage("A", UplinkKind.STOP, 1, 1, ANN, 2_000, NOON, "Remote", '{"reason":"x"}')
    ]
    assert len(saved(effects, Session)) == 1
    assert effects[-1] == TellCpo("A")


def test_a_stop_of_a_transaction_that_nobody_knows_is_told_to_nobody() -> None:
    _, effects = run(scene(), StopRequested("A", 99, 2_000, NOON, request=3))
    assert saved(effects, UplinkMessage) == []
    assert len(only(effects, Reply)) == 1


def test_a_stop_at_a_station_without_a_place_at_the_operator_is_told_to_nobody() -> None:
    state, _ = run(scene(OfflinePolicy.LOCAL), attrs.evolve(start(), station_id="B"))
    _, effects = run(state, StopRequested("B", 1, 2_000, NOON))
    assert saved(effects, UplinkMessage) == []


@pytest.mark.parametrize(
    ("verdict", "patience_ms", "reason"),
    [(Verdict.BLOCKED, REFUSED_UNSTOPPED_MS, DEAUTHORIZED), (Verdict.ACCEPTED, UNSTOPPED_MS, "Other")],
)
def test_a_stop_that_never_comes_is_told_in_our_words_once(verdict: Verdict, patience_ms: int, reason: str) -> None:
    state, _ = run(scene(), start(), says(verdict), start(BEA, at=NOON + timedelta(seconds=5), wh=1_500))
    state, _ = run(state, says(Verdict.ACCEPTED, ask=2, tag=BEA))  # takes the place of a session without a stop
    state, effects = run(state, Tick())
    assert saved(effects, UplinkMessage) == []
    late_s = patience_ms // 1000
    assert saved(run(state, Tick(), seconds=late_s - 1)[1], UplinkMessage) == []
    state, effects = run(state, Tick(), seconds=late_s)
    (stop,) = saved(effects, UplinkMessage)
    assert (stop.kind, stop.transaction_id, stop.reason, stop.said) == (UplinkKind.STOP, 1, reason, "")
    assert stop.at is not None
    assert stop.meter_wh is not None
    assert saved(run(state, Tick(), seconds=late_s + 1)[1], UplinkMessage) == []


def test_a_stop_that_comes_late_is_the_one_that_is_told() -> None:
    state, _ = run(scene(), start(), says(Verdict.BLOCKED), Tick())
    state, effects = run(state, StopRequested("A", 1, 1_000, NOON, "DeAuthorized"))
    assert len(saved(effects, UplinkMessage)) == 1
    assert saved(run(state, Tick(), seconds=UNSTOPPED_MS // 1000)[1], UplinkMessage) == []


def test_while_the_disk_fails_no_stop_of_ours_is_told() -> None:
    state, _ = run(scene(), start(), says(Verdict.BLOCKED), Tick())
    failing = attrs.evolve(state, storage_failing="full")
    _, effects = run(failing, Tick(), seconds=UNSTOPPED_MS // 1000)
    assert only(effects, TellCpo) == []


# How a station stands


def test_being_away_has_one_beginning_however_often_it_is_tried() -> None:
    state, _ = run(scene(), UplinkReported("A", UplinkState.OFFLINE, 3, 1, 2, "no route"), seconds=1)
    state, _ = run(state, UplinkReported("A", UplinkState.CONNECTING), seconds=5)
    state, _ = run(state, UplinkReported("A", UplinkState.OFFLINE, error="refused"), seconds=9)
    assert state.uplink["A"].since == now(1).utc
    assert state.uplink["A"].error == "refused"
    state, _ = run(state, UplinkReported("A", UplinkState.ACCEPTED), seconds=12)
    assert state.uplink["A"].since == now(12).utc


def test_who_has_not_waited_long_goes_on_waiting() -> None:
    state, _ = run(scene(), BadgePresented("A", ANN, 7), Tick(), seconds=1)
    assert list(state.cpo_asks) == [1]


def test_a_repeated_start_joins_its_own_ask_among_others() -> None:
    state, _ = run(scene(), BadgePresented("A", BEA, 6), start(), start(request=2))
    assert [ask.requests for ask in state.cpo_asks.values()] == [(6,), (1, 2)]


def test_without_a_place_at_the_operator_nothing_is_told_of_stops_that_never_came() -> None:
    state, _ = run(scene(OfflinePolicy.LOCAL, there=False), start())
    nowhere = attrs.evolve(state.site, uplink=attrs.evolve(state.site.uplink, stations=()))
    assert only(run(attrs.evolve(state, site=nowhere), Tick(), seconds=UNSTOPPED_MS)[1], TellCpo) == []
