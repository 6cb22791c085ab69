"""A search for badges: what it takes in, what it leaves alone, and that it ends by itself."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    AccessRule,
    AuditEntry,
    Authorised,
    Badge,
    BadgePresented,
    BadgeRecord,
    BadgeScanStarted,
    BadgeScanStopped,
    BadgeState,
    Effect,
    FoundBadge,
    NotSaved,
    Reply,
    Request,
    Save,
    Saved,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationState,
    Verdict,
    step,
)
from llm_core.enrolling import MOST_FOUND
from unit.strategies import NOON, now

KNOWN, NEW = "04A1B2C3", "04:DE:AD:01"
SITE = Site(stations=(Station("A"), Station("B")))


def scene() -> State:
    return State(
        site=SITE,
        factory=False,
        stations=dict.fromkeys(("A", "B"), StationState(online=True, met=True, accepted=True)),
        badges={KNOWN.lower(): Badge(KNOWN)},
    )


def after(state: State, event: Request, seconds: int = 0) -> tuple[State, tuple[Effect, ...]]:
    outcome = step(state, attrs.evolve(event, request=7), now(seconds))
    return outcome.state, outcome.effects


def answer(effects: tuple[Effect, ...]) -> object:
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    assert reply.request == 7
    return reply.answer


def searching(*stations: str, duration_s: int = 60) -> State:
    return after(scene(), BadgeScanStarted("ann", frozenset(stations) or None, duration_s))[0]


def found(state: State) -> list[str]:
    assert state.badge_scan is not None
    return [badge.id_tag for badge in state.badge_scan.found]


def test_a_search_is_audited_and_runs_for_its_time() -> None:
    state, effects = after(scene(), BadgeScanStarted("ann", frozenset({"B", "A"}), 60))
    assert effects == (Save(AuditEntry(NOON, "ann", "badge scan", "", "A, B, 60 s")), Reply(7, Saved()))
    assert state.badge_scan is not None
    assert state.badge_scan.is_open(now(59).monotonic_ms)
    assert not state.badge_scan.is_open(now(60).monotonic_ms)


def test_an_unknown_badge_becomes_a_pending_one_that_is_stored_before_the_answer_and_opens_nothing() -> None:
    state, effects = after(searching(), BadgePresented("A", NEW), 5)
    badge = Badge(NEW, state=BadgeState.PENDING)
    assert state.badges["04dead01"] == badge
    assert effects[0] == Save(BadgeRecord("04dead01", badge))
    assert isinstance(effects[1], Save)
    assert isinstance(effects[1].record, AuditEntry)
    assert effects[1].record.by == "ann"
    assert answer(effects) == Authorised(Verdict.BLOCKED)
    assert len(effects) == 3
    assert state.badge_scan is not None
    assert state.badge_scan.found == (FoundBadge(NEW, "A", now(5).utc, known=False),)
    assert state.refusals == ()


def test_a_station_that_starts_without_asking_is_heard_too() -> None:
    state, effects = after(searching(), StartRequested("A", 1, NEW, 0, NOON))
    assert found(state) == [NEW]
    assert answer(effects) == Started(1, Verdict.BLOCKED)


def test_a_known_badge_is_shown_as_known_and_served_as_ever() -> None:
    state, effects = after(searching(), BadgePresented("A", KNOWN))
    assert effects == (Reply(7, Authorised(Verdict.ACCEPTED)),)
    assert state.badge_scan is not None
    assert [badge.known for badge in state.badge_scan.found] == [True]


@pytest.mark.parametrize(
    ("stations", "place", "tag", "seconds"),
    [
        (("B",), "A", NEW, 0),  # not one of the chosen stations
        ((), "stranger", NEW, 0),
        ((), "A", NEW, 60),  # too late
        ((), "A", "", 0),
        ((), "A", " : ", 0),
        ((), "A", "0" * 21, 0),
    ],
)
def test_what_nobody_searches_for_is_left_alone(stations: tuple[str, ...], place: str, tag: str, seconds: int) -> None:
    state, effects = after(searching(*stations), BadgePresented(place, tag), seconds)
    assert found(state) == []
    assert state.badges.keys() == {KNOWN.lower()}
    assert answer(effects) == Authorised(Verdict.INVALID)


def test_a_badge_held_again_or_spelt_otherwise_is_found_once() -> None:
    state = searching()
    for tag in (NEW, "04dead01", NEW):
        state, _ = after(state, BadgePresented("A", tag))
    assert found(state) == [NEW]


def test_a_search_takes_in_a_bounded_number() -> None:
    state = searching()
    for number in range(MOST_FOUND + 5):
        state, _ = after(state, BadgePresented("A", f"{number:08x}"))
    assert len(found(state)) == MOST_FOUND
    assert len(state.badges) == MOST_FOUND + 1


def test_a_search_that_is_stopped_keeps_what_it_found_and_takes_no_more() -> None:
    state, _ = after(searching(), BadgePresented("A", NEW))
    state, effects = after(state, BadgeScanStopped("ann"), 1)
    assert answer(effects) == Saved()
    state, _ = after(state, BadgePresented("A", "04dead02"), 2)
    assert found(state) == [NEW]


def test_stopping_what_does_not_run_is_no_error() -> None:
    for state in (scene(), searching()):
        after_it, effects = after(state, BadgeScanStopped("ann"), 100)
        assert (after_it.badge_scan, answer(effects)) == (state.badge_scan, Saved())


@pytest.mark.parametrize(
    ("stations", "duration_s", "pointers"),
    [
        (None, 9, ["/duration_s"]),
        (None, 901, ["/duration_s"]),
        (frozenset(), 60, ["/stations"]),
        (frozenset({"A", "Z"}), 5, ["/duration_s", "/stations/1"]),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_with_every_fault(
    stations: frozenset[str] | None, duration_s: int, pointers: list[str]
) -> None:
    state, effects = after(scene(), BadgeScanStarted("ann", stations, duration_s))
    refusal = answer(effects)
    assert isinstance(refusal, NotSaved)
    assert [fault.pointer for fault in refusal.faults] == pointers
    assert state.badge_scan is None


def test_where_access_is_free_a_search_hinders_nobody() -> None:
    site = attrs.evolve(SITE, access=AccessRule.FREE)
    state = attrs.evolve(searching(), site=site)
    state, effects = after(state, BadgePresented("A", NEW))
    assert answer(effects) == Authorised(Verdict.ACCEPTED)
    assert state.badges["04dead01"].state is BadgeState.PENDING
