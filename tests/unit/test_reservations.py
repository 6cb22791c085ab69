"""A reserved connector opens for its badge and for no other, until the time is over."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from llm_core import (
    AccessRule,
    Authorised,
    Badge,
    BadgePresented,
    BadgeType,
    ConnectorState,
    Ledger,
    Reply,
    Reservation,
    ReservationRecord,
    Save,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationState,
    Verdict,
    step,
)
from unit.strategies import NOON, now

HOUR = timedelta(hours=1)


def house(*reserved: int, connectors: int = 1, tag: str = "AA:11") -> State:
    """Station A, free for everybody, with some connectors reserved for the badge AA11."""
    return State(
        site=Site(stations=(Station("A", connectors=connectors),), access=AccessRule.FREE),
        stations={"A": StationState(online=True, met=True)},
        connectors={("A", n): ConnectorState(Ledger(None)) for n in range(1, connectors + 1)},
        reservations={("A", n): Reservation(n, "A", n, tag, NOON + HOUR) for n in reserved},
        badges={"50": Badge("50", type=BadgeType.SUPER)},
    )


def verdict(state: State, event: BadgePresented | StartRequested, seconds: int = 0) -> Verdict:
    (answer,) = [e.answer for e in step(state, event, now(seconds)).effects if isinstance(e, Reply)]
    assert isinstance(answer, Authorised | Started)
    return answer.verdict


def start(tag: str, connector: int = 1, seconds_ago: int | None = None) -> StartRequested:
    at = None if seconds_ago is None else NOON - timedelta(seconds=seconds_ago)
    return StartRequested("A", connector, tag, 0, at)


def test_a_reserved_connector_opens_for_its_badge_only() -> None:
    assert verdict(house(1), start("bb22")) is Verdict.BLOCKED
    assert verdict(house(1), start("aa11")) is Verdict.ACCEPTED
    assert verdict(house(), start("bb22")) is Verdict.ACCEPTED


def test_the_others_of_the_station_stay_open() -> None:
    state = house(1, connectors=2)
    assert verdict(state, start("bb22", 2)) is Verdict.ACCEPTED
    assert verdict(state, start("bb22", 1)) is Verdict.BLOCKED
    assert verdict(state, BadgePresented("A", "bb22")) is Verdict.ACCEPTED
    assert verdict(house(1, 2, connectors=2), BadgePresented("A", "bb22")) is Verdict.BLOCKED


def test_a_reservation_of_the_whole_station_closes_its_only_connector() -> None:
    assert verdict(house(0), start("bb22")) is Verdict.BLOCKED
    assert verdict(house(0), start("aa11")) is Verdict.ACCEPTED
    assert verdict(house(0, connectors=2), start("bb22")) is Verdict.ACCEPTED, "the station keeps one free"


def test_a_reservation_is_over_in_time() -> None:
    assert verdict(house(1), start("bb22"), 3_599) is Verdict.BLOCKED
    assert verdict(house(1), start("bb22"), 3_600) is Verdict.ACCEPTED


def test_a_start_that_waited_in_a_queue_was_let_in_already() -> None:
    assert verdict(house(1), start("bb22", seconds_ago=30)) is Verdict.BLOCKED
    assert verdict(house(1), start("bb22", seconds_ago=90)) is Verdict.ACCEPTED


def test_the_badge_that_comes_uses_its_reservation_up() -> None:
    after = step(house(1), start("AA 11"), now())
    assert after.state.reservations == {}
    assert Save(ReservationRecord("A", 1, None)) in after.effects
    other = attrs.evolve(house(1), reservations={("B", 1): Reservation(1, "B", 1, "AA11", NOON + HOUR)})
    assert len(step(other, start("AA11"), now()).state.reservations) == 1


@pytest.mark.parametrize("tag", ["bb22", "50"])
def test_who_charges_there_or_may_stop_anybody_is_let_through(tag: str) -> None:
    charging = step(house(), start("bb22"), now()).state
    state = attrs.evolve(charging, reservations=house(1).reservations)
    assert verdict(state, BadgePresented("A", tag)) is Verdict.ACCEPTED
    assert verdict(state, BadgePresented("A", "cc33")) is Verdict.BLOCKED


def test_a_station_of_which_no_connector_is_known_counts_as_one() -> None:
    assert verdict(attrs.evolve(house(1), connectors={}), BadgePresented("A", "bb22")) is Verdict.BLOCKED


def test_a_reservation_for_a_group_is_the_stations_to_keep() -> None:
    """Who belongs to it only the CPO knows, and the station that was told."""
    (kept,) = house(1).reservations.values()
    state = attrs.evolve(house(1), reservations={kept.key: attrs.evolve(kept, for_group=True)})
    assert verdict(state, start("bb22")) is Verdict.ACCEPTED


def test_two_stations_may_number_their_reservations_alike() -> None:
    (mine,) = house(1).reservations.values()
    theirs = attrs.evolve(mine, station_id="B")
    both = attrs.evolve(house(1), reservations={mine.key: mine, theirs.key: theirs})
    assert list(step(both, start("AA11"), now()).state.reservations) == [("B", 1)]
