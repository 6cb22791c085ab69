"""Orders of people: what the core lets through, and what it keeps of how they ended."""

from __future__ import annotations

from datetime import UTC, datetime

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
    Reply,
    Save,
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


def asked(state: State, **order: object) -> OrderGranted | OrderRefused:
    event = attrs.evolve(StationOrdered("ann", "A", Order.RESET, request=3), **order)  # type: ignore[arg-type]
    effects = step(state, event, NOW).effects
    (answer,) = [effect.answer for effect in effects if isinstance(effect, Reply) and effect.request == 3]
    assert isinstance(answer, OrderGranted | OrderRefused)
    entries = [effect.record for effect in effects if isinstance(effect, Save)]
    assert len(entries) == isinstance(answer, OrderRefused), "what is refused is audited at once, the rest later"
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
    assert asked(house(AccessRule.FREE), order=Order.REMOTE_START) == OrderGranted(None, "REMOTE")


def test_a_tag_under_a_cpo_is_the_cpos_to_judge() -> None:
    state = house(AccessRule.CPO)
    assert asked(state, order=Order.REMOTE_START, id_tag="X9") == OrderGranted(None, "X9")
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
    ended = OrderEnded("ann", "A", Order.RESET, done=False, outcome="Rejected", connector=connector, detail="soft")
    after, effects = attrs.astuple(step(house(), ended, NOW), recurse=False)
    assert effects == (Save(AuditEntry(NOW.utc, "ann", "reset", place, "Rejected")),)
    assert after.stations["A"].reset_ms is None


def test_a_station_that_was_told_to_restart_is_known_to() -> None:
    ended = OrderEnded("ann", "A", Order.RESET, done=True, outcome="Accepted")
    assert step(house(), ended, NOW).state.stations["A"].reset_ms == NOW.monotonic_ms
    assert step(house(), attrs.evolve(ended, station_id="X"), NOW).effects
    assert step(house(), attrs.evolve(ended, order=Order.UNLOCK), NOW).state.stations["A"].reset_ms is None
