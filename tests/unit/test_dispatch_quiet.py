"""Most connectors need nothing most of the time and are passed over: never one that needs something."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_core.budget import aged, interval, rooms, survey
from llm_core.demand import least_of
from llm_core.dispatch import RAISE_AFTER_MS, Command, dispatch
from llm_core.effects import Purpose
from llm_core.events import Capabilities
from llm_core.ledger import Held, Inherited, Ledger, Slot
from llm_core.problem import Grant, GrantReason
from llm_core.quantities import ZERO, PerPhase
from llm_core.sessions import open_session
from llm_core.site import Site, Station, Supply
from llm_core.state import ConnectorState, Key, State, StationState
from unit.strategies import NOON

NOW_MS = 200_000
LEASE_MS, STEP_MA = 120_000, 100
limits_ma = st.sampled_from([0, 6_000, 6_500, 10_000, 10_900, 16_000])


@st.composite
def slots(draw: st.DrawFn, purpose: Purpose) -> Slot:
    """What lies in one place: mostly one that was acknowledged, or that it was cleared; at times one of open fate."""

    def held(seq: int) -> Held:
        limit_ma = draw(st.none() | limits_ma) if purpose is not Purpose.FLOOR else draw(st.sampled_from([0, 6_000]))
        lease_ms = None if purpose is Purpose.FLOOR else LEASE_MS
        then_ma = limit_ma or 0 if lease_ms is None else draw(st.sampled_from([0, 6_000]))
        sent_ms = NOW_MS - draw(st.sampled_from([0, 30_000, 71_999, 72_000, 120_000, 160_000]))
        number = draw(st.sampled_from([None, 1, 2])) if purpose is Purpose.TRANSACTION else None
        return Held(
            seq, limit_ma, min(then_ma, limit_ma or 0), sent_ms, lease_ms, number, draw(st.sampled_from([1, 3]))
        )

    acknowledged = held(1) if draw(st.integers(0, 9)) else None
    return Slot(acknowledged, () if draw(st.integers(0, 3)) else (held(2),))


@st.composite
def connectors(draw: st.DrawFn) -> ConnectorState:
    ledger = Ledger(
        inherited=None if draw(st.integers(0, 4)) else Inherited(16_000, 6_000, None),
        floor=draw(slots(Purpose.FLOOR)),
        default=draw(slots(Purpose.DEFAULT)),
        transaction=draw(slots(Purpose.TRANSACTION)),
        refused_ms=None if draw(st.integers(0, 3)) else NOW_MS - draw(st.sampled_from([500, 60_000])),
        refusals=draw(st.integers(1, 3)),
    )
    changed_ms = draw(st.none() | st.sampled_from([NOW_MS - RAISE_AFTER_MS + 1, NOW_MS - RAISE_AFTER_MS]))
    session = open_session(1, "A", 1, None, NOON, 0) if draw(st.booleans()) else None
    preparing_ms = NOW_MS if session is None and draw(st.booleans()) else None
    return ConnectorState(ledger, session=session, preparing_ms=preparing_ms, changed_ms=changed_ms)


def quiet(limit_ma: int, **changes: object) -> ConnectorState:
    """A car with its limit, where nothing is to be done unless `changes` ask for it."""
    ledger = Ledger(
        None,
        floor=Slot(Held(1, 0, 0, 0, None)),
        default=Slot(Held(2, None, 0, 0, None)),
        transaction=Slot(Held(3, limit_ma, 0, NOW_MS - 10_000, LEASE_MS, 1)),
    )
    session = open_session(1, "A", 1, None, NOON, 0)
    return attrs.evolve(ConnectorState(ledger, session=session, changed_ms=NOW_MS), **changes)  # type: ignore[arg-type]


def scene(one: ConnectorState, other: ConnectorState, limit_ma: int, leases_from_ms: int, *, in_watts: bool) -> State:
    station = StationState(online=True, accepted=True, clock_ahead_ms=0, capabilities=Capabilities(STEP_MA, in_watts))
    stations = (Station("A"), Station("B", start_alone_ma=6_000))
    return State(
        site=Site(supply=Supply(static_max_ma=PerPhase.same(limit_ma)), stations=stations),
        stations={"A": station, "B": station},
        connectors={("A", 1): one, ("B", 1): other},
        leases_from_ms=leases_from_ms,
    )


@given(
    one=connectors() | st.builds(quiet, limits_ma),
    other=connectors(),
    limit_ma=st.sampled_from([12_000, 32_000, 100_000]),
    leases_from_ms=st.sampled_from([0, NOW_MS - 20_000]),
    in_watts=st.booleans(),
    grants_ma=st.lists(st.none() | limits_ma, min_size=2, max_size=2),
)
@example(quiet(10_000), quiet(10_000), 100_000, 0, False, [10_000, 10_000])
@example(quiet(10_000), quiet(10_000), 100_000, 0, False, [10_900, 16_000])
def test_a_connector_that_is_passed_over_would_have_got_no_command(
    one: ConnectorState,
    other: ConnectorState,
    limit_ma: int,
    leases_from_ms: int,
    in_watts: bool,
    grants_ma: list[int | None],
) -> None:
    assert_same_commands(scene(one, other, limit_ma, leases_from_ms, in_watts=in_watts), grants_ma)


CLEARED, FLOOR = Held(1, None, 0, 0, None), Held(1, 0, 0, 0, None)
MAY_LIE_THERE = (Held(2, 6_000, 0, NOW_MS - 30_000, LEASE_MS),)


@pytest.mark.parametrize(
    "left",
    [
        {"inherited": Inherited(16_000, 6_000, None)},
        {"floor": Slot(FLOOR, MAY_LIE_THERE)},
        {"default": Slot(CLEARED, MAY_LIE_THERE)},
        {"transaction": Slot(CLEARED, MAY_LIE_THERE)},
    ],
    ids=lambda left: next(iter(left)),
)
def test_what_may_be_left_where_no_car_is_gets_its_command(left: dict[str, Slot | Inherited]) -> None:
    ledger = Ledger(None, floor=Slot(FLOOR), default=Slot(CLEARED), transaction=Slot(CLEARED))
    empty = [ConnectorState(attrs.evolve(ledger, **changes)) for changes in (left, {})]  # type: ignore[arg-type]
    assert assert_same_commands(scene(*empty, 100_000, 0, in_watts=False), [None, None])


def assert_same_commands(state: State, grants_ma: list[int | None]) -> list[Command]:
    """The commands are the same whether or not connectors are passed over; returns those of A."""
    seen = survey(state, NOW_MS)
    left = rooms(state.site, interval(state, aged(state, NOW_MS), seen, NOW_MS), seen, ZERO, NOW_MS)
    least_ma = {entry.key: least_of(entry.station, STEP_MA, entry.spread) for entry in seen}
    grants: dict[Key, Grant] = {
        key: Grant(f"{key[0]}/1", ma if ma >= least_ma[key] else 0, GrantReason.SHARED_LIMIT)
        for key, ma in zip(state.connectors, grants_ma, strict=True)
        if ma is not None
    }
    commands = dispatch(state, seen, left, grants, NOW_MS)
    assert commands == dispatch(state, seen, left, grants, NOW_MS, whole=True)
    return [command for command in commands if command.station_id == "A"]
