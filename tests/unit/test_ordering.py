"""Orders of people: what the core lets through, and what it keeps of how they ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from llm_core import (
    AccessRule,
    AuditEntry,
    Badge,
    BadgeState,
    ConnectorState,
    Ledger,
    Now,
    Order,
    OrderEnded,
    OrderFault,
    OrderGranted,
    OrderRefused,
    OutOfUse,
    Reply,
    Reservation,
    ReservationRecord,
    Save,
    Saved,
    Site,
    State,
    Station,
    StationOrdered,
    StationState,
    open_session,
    step,
)

NOW = Now(5_000, datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
SESSION = open_session(7, "A", 1, "tag", NOW.utc, 0)


def house(rule: AccessRule = AccessRule.BADGE, *, charging: tuple[int, ...] = (), connectors: int = 1) -> State:
    """Station A with its connectors, sessions 7, 8, … at those that charge; a stranger S."""
    return State(
        site=Site(stations=(Station("A", connectors=connectors),), access=rule),
        stations={"A": StationState(online=True, met=True), "S": StationState(online=True)},
        connectors={
            ("A", n): ConnectorState(
                Ledger(None),
                session=attrs.evolve(SESSION, transaction_id=6 + n, connector=n) if n in charging else None,
            )
            for n in range(1, connectors + 1)
        },
        badges={"a1b2": Badge("A1:B2"), "dead": Badge("dead", state=BadgeState.INACTIVE)},
    )


def asked(state: State, *, keep_number: bool = False, **order: object) -> OrderGranted | OrderRefused:
    event = attrs.evolve(StationOrdered("ann", "A", Order.RESET, request=3), **order)  # type: ignore[arg-type]
    effects = step(state, event, NOW).effects
    (answer,) = [effect.answer for effect in effects if isinstance(effect, Reply) and effect.request == 3]
    assert isinstance(answer, OrderGranted | OrderRefused)
    saved = [effect.record for effect in effects if isinstance(effect, Save)]
    entries = [record for record in saved if isinstance(record, AuditEntry)]
    assert len(entries) == isinstance(answer, OrderRefused), "what is refused is audited at once, the rest later"
    if isinstance(answer, OrderGranted):
        assert answer.number > 0
        return answer if keep_number else attrs.evolve(answer, number=0)
    return answer


def test_a_stranger_takes_no_orders_and_nobody_none_at_all() -> None:
    assert asked(house(), station_id="S") == OrderRefused(OrderFault.NOT_ADOPTED)
    assert asked(house(), station_id="X") == OrderRefused(OrderFault.UNKNOWN_STATION)


def test_an_order_names_a_connector_that_is_there() -> None:
    assert asked(house(), order=Order.UNLOCK, connector=2) == OrderRefused(OrderFault.NO_CONNECTOR)
    assert asked(house(), order=Order.UNLOCK, connector=0) == OrderRefused(OrderFault.NO_CONNECTOR)
    assert asked(house(), order=Order.AVAILABILITY, connector=0) == OrderGranted(0)
    assert asked(house(), order=Order.UNLOCK, connector=1) == OrderGranted(1)


def test_the_only_connector_need_not_be_named() -> None:
    assert asked(house(), order=Order.UNLOCK) == OrderGranted(1)
    assert asked(house(connectors=2), order=Order.UNLOCK) == OrderRefused(OrderFault.CONNECTOR_NEEDED)
    never_met = attrs.evolve(house(), connectors={})
    assert asked(never_met, order=Order.UNLOCK) == OrderGranted(1)


def test_a_remote_start_needs_a_badge_that_may_start_there() -> None:
    start = {"order": Order.REMOTE_START}
    assert asked(house(), **start) == OrderRefused(OrderFault.BADGE_NEEDED)
    assert asked(house(), **start, id_tag="dead") == OrderRefused(OrderFault.BADGE_REFUSED, "Blocked")
    assert asked(house(), **start, id_tag="none") == OrderRefused(OrderFault.BADGE_REFUSED, "Invalid")
    assert asked(house(), **start, id_tag="a1 b2", connector=1) == OrderGranted(1, "A1:B2")


def test_where_charging_is_free_a_start_needs_no_badge() -> None:
    assert asked(house(AccessRule.FREE), order=Order.REMOTE_START) == OrderGranted(1, "REMOTE")


def test_a_tag_under_a_cpo_is_the_cpos_to_judge() -> None:
    state = house(AccessRule.CPO)
    assert asked(state, order=Order.REMOTE_START, id_tag="X9") == OrderGranted(1, "X9")
    assert asked(state, order=Order.REMOTE_START) == OrderRefused(OrderFault.BADGE_NEEDED)


def test_nobody_is_started_where_somebody_charges() -> None:
    state = house(charging=(1,), connectors=2)
    start = {"order": Order.REMOTE_START, "id_tag": "A1B2"}
    assert asked(state, **start, connector=1) == OrderRefused(OrderFault.OCCUPIED)
    assert isinstance(asked(state, **start, connector=2), OrderGranted)
    assert isinstance(asked(state, **start), OrderGranted)


def test_a_stop_finds_the_session_that_is_meant() -> None:
    stop = {"order": Order.REMOTE_STOP}
    assert asked(house(), **stop) == OrderRefused(OrderFault.NO_SESSION)
    assert asked(house(), **stop, transaction_id=99) == OrderGranted(None, None, 99)
    assert asked(house(charging=(1,)), **stop) == OrderGranted(1, None, 7)
    both = house(charging=(1, 2), connectors=2)
    assert asked(both, **stop) == OrderRefused(OrderFault.CONNECTOR_NEEDED)
    assert asked(both, **stop, connector=2) == OrderGranted(2, None, 8)


@pytest.mark.parametrize(("connector", "place"), [(None, "A soft"), (1, "A/1 soft")])
def test_who_ordered_what_and_how_it_ended_is_kept(connector: int | None, place: str) -> None:
    ended = OrderEnded(
        "ann", "A", Order.RESET, done=False, outcome="Rejected", granted=OrderGranted(connector), detail="soft"
    )
    after, effects = attrs.astuple(step(house(), ended, NOW), recurse=False)
    assert effects == (Save(AuditEntry(NOW.utc, "ann", "reset", place, "Rejected")), Reply(0, Saved()))
    assert after.stations["A"].reset_ms is None


def test_a_station_that_was_told_to_restart_is_known_to() -> None:
    ended = OrderEnded("ann", "A", Order.RESET, done=True, outcome="Accepted")
    assert step(house(), ended, NOW).state.stations["A"].reset_ms == NOW.monotonic_ms
    assert step(house(), attrs.evolve(ended, station_id="X"), NOW).effects
    assert step(house(), attrs.evolve(ended, order=Order.UNLOCK), NOW).state.stations["A"].reset_ms is None


def test_no_two_orders_have_the_same_number() -> None:
    event = StationOrdered("ann", "A", Order.LOG, request=3)
    first = step(house(), event, NOW)
    second = step(first.state, event, NOW)
    numbers = [
        effect.answer.number
        for after in (first, second)
        for effect in after.effects
        if isinstance(effect, Reply) and isinstance(effect.answer, OrderGranted)
    ]
    assert numbers[1] == numbers[0] + 1
    later = Now(9_000, NOW.utc + timedelta(days=1))
    assert asked(house(), keep_number=True, order=Order.LOG) == OrderGranted(number=numbers[0])
    (answer,) = [effect.answer for effect in step(house(), event, later).effects if isinstance(effect, Reply)]
    assert isinstance(answer, OrderGranted)
    assert answer.number > numbers[1], "a controller that starts again begins above what it gave out"


UNTIL = NOW.utc + timedelta(hours=1)
RESERVE: dict[str, object] = {"order": Order.RESERVE, "until": UNTIL, "id_tag": "A1B2"}


def reserved(state: State, number: int, connector: int, tag: str = "A1:B2", until: datetime = UNTIL) -> State:
    kept = {**state.reservations, ("A", number): Reservation(number, "A", connector, tag, until)}
    return attrs.evolve(state, reservations=kept)


def test_a_connector_is_reserved_for_a_badge_that_may_charge_there() -> None:
    assert asked(house(), **RESERVE) == OrderGranted(1, "A1:B2", until=UNTIL)
    assert asked(house(), **RESERVE | {"connector": 0}) == OrderGranted(0, "A1:B2", until=UNTIL)
    assert asked(house(), **RESERVE | {"until": NOW.utc}) == OrderRefused(OrderFault.IN_THE_PAST)
    assert asked(house(), **RESERVE | {"until": None}) == OrderRefused(OrderFault.IN_THE_PAST)
    assert asked(house(), **RESERVE | {"id_tag": None}) == OrderRefused(OrderFault.BADGE_NEEDED)
    assert asked(house(), **RESERVE | {"id_tag": "dead"}) == OrderRefused(OrderFault.BADGE_REFUSED, "Blocked")
    assert asked(house(charging=(1,)), **RESERVE) == OrderRefused(OrderFault.OCCUPIED)
    assert asked(house(connectors=2), **RESERVE) == OrderRefused(OrderFault.CONNECTOR_NEEDED)
    assert asked(reserved(house(), 5, 1, "other"), **RESERVE) == OrderRefused(OrderFault.RESERVED)


def test_a_remote_start_respects_a_reservation() -> None:
    start: dict[str, object] = {"order": Order.REMOTE_START, "id_tag": "A1B2"}
    assert asked(reserved(house(), 5, 1, "other"), **start) == OrderRefused(OrderFault.RESERVED)
    assert asked(reserved(house(), 5, 1), **start) == OrderGranted(1, "A1:B2")


def test_what_a_station_accepted_to_reserve_is_kept_until_it_is_cancelled() -> None:
    granted = OrderGranted(1, "A1:B2", number=77, until=UNTIL)
    ended = OrderEnded("ann", "A", Order.RESERVE, done=True, outcome="Accepted", granted=granted)
    after = step(house(), ended, NOW)
    kept = Reservation(77, "A", 1, "A1:B2", UNTIL)
    assert after.state.reservations == {("A", 77): kept}
    assert Save(ReservationRecord("A", 77, kept)) in after.effects
    assert asked(after.state, keep_number=True, order=Order.CANCEL_RESERVATION) == OrderGranted(1, "A1:B2", number=77)
    over = OrderEnded(
        "ann", "A", Order.CANCEL_RESERVATION, done=True, outcome="Accepted", granted=OrderGranted(number=77)
    )
    assert step(after.state, over, NOW).state.reservations == {}
    refused = attrs.evolve(over, done=False, outcome="Rejected")
    assert step(after.state, refused, NOW).state.reservations == {("A", 77): kept}
    nameless = attrs.evolve(ended, granted=OrderGranted(1))
    assert step(house(), nameless, NOW).state.reservations == {}
    group = attrs.evolve(ended, granted=attrs.evolve(granted, for_group=True))
    assert step(house(), group, NOW).state.reservations["A", 77].for_group


def test_a_reservation_is_cancelled_by_number_or_place() -> None:
    cancel = {"order": Order.CANCEL_RESERVATION}
    two = reserved(reserved(house(connectors=2), 5, 1), 6, 2)
    assert asked(house(), **cancel) == OrderRefused(OrderFault.NO_RESERVATION)
    assert asked(two, **cancel) == OrderRefused(OrderFault.CONNECTOR_NEEDED)
    assert asked(two, keep_number=True, **cancel, number=6) == OrderGranted(2, "A1:B2", number=6)
    assert asked(two, keep_number=True, **cancel, connector=1) == OrderGranted(1, "A1:B2", number=5)


def test_a_reservation_whose_time_is_over_is_forgotten() -> None:
    stale = reserved(house(), 5, 1, "other", NOW.utc)
    assert asked(stale, **RESERVE) == OrderGranted(1, "A1:B2", until=UNTIL)
    after = step(stale, StationOrdered("ann", "A", Order.RESET, request=3), NOW)
    assert after.state.reservations == {}
    assert Save(ReservationRecord("A", 5, None)) in after.effects


def test_what_a_person_took_out_of_use_is_known_until_it_is_in_use_again() -> None:
    def after(state: State, connector: int, detail: str) -> State:
        granted = OrderGranted(connector)
        ended = OrderEnded("ann", "A", Order.AVAILABILITY, True, "Accepted", granted, detail)
        return step(state, ended, NOW).state

    began = house(connectors=2)
    out = OrderEnded("ann", "A", Order.AVAILABILITY, True, "Accepted", OrderGranted(2), "inoperative")
    assert Save(OutOfUse("A", frozenset({2}))) in step(began, out, NOW).effects
    assert step(began, attrs.evolve(out, done=False), NOW).state.stations["A"].inoperative == frozenset()
    state = after(after(began, 1, "inoperative"), 2, "inoperative")
    assert state.stations["A"].inoperative == {1, 2}
    assert after(state, 1, "operative").stations["A"].inoperative == {2}
    assert after(state, 0, "operative").stations["A"].inoperative == frozenset()


def test_a_start_goes_to_the_connector_where_a_car_waits() -> None:
    start: dict[str, object] = {"order": Order.REMOTE_START, "id_tag": "A1B2"}
    state = house(connectors=3)
    assert asked(state, **start) == OrderGranted(None, "A1:B2"), "the station chooses"
    waits = attrs.evolve(state.connectors["A", 2], preparing_ms=1)
    state = attrs.evolve(state, connectors={**state.connectors, ("A", 2): waits, ("B", 1): waits})
    assert asked(state, **start) == OrderGranted(2, "A1:B2")
    assert asked(state, **start, connector=3) == OrderGranted(3, "A1:B2")
    state = attrs.evolve(state, connectors={**state.connectors, ("A", 3): waits})
    assert asked(state, **start) == OrderGranted(None, "A1:B2")
    never_met = attrs.evolve(house(), connectors={})
    assert asked(never_met, **start) == OrderGranted(None, "A1:B2")
