"""Who is in no hurry leaves current to others, and whoever gave no wish gets at least what it got blind."""

from __future__ import annotations

from datetime import timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    PHASES,
    SITE,
    Binding,
    Demand,
    Grant,
    GrantReason,
    LimitNode,
    NotSaved,
    PerPhase,
    Problem,
    Reply,
    Save,
    Saved,
    Station,
    Wish,
    WishPut,
    allocate,
)
from llm_core.effects import AuditEntry
from llm_core.state import Key
from llm_core.wish import Need
from llm_core.yielding import needs, yielded
from unit.small_site import A, Car, SmallSite, static
from unit.strategies import NOON, now
from unit.test_allocation import problems

HOUR = timedelta(hours=1)
L1, L2, L3 = PHASES
Tree = tuple[LimitNode, ...]


def shared(problem: Problem, rates_ma: dict[str, int]) -> tuple[dict[str, Grant], dict[str, Grant]]:
    """The grants as if nobody had said anything, and those with the wishes."""

    def allocated(tree: Tree, demands: dict[Key, Demand], *, minimum_first: bool = True) -> dict[Key, Grant]:
        asked = Problem(tree, tuple(demands.values()), problem.strategy, minimum_first)
        return dict(zip(demands, allocate(asked), strict=True))

    demands = {(demand.id, 1): demand for demand in problem.demands}
    blind = allocated(problem.nodes, demands, minimum_first=problem.minimum_first)
    rates = {(name, 1): rate_ma for name, rate_ma in rates_ma.items()}
    after = yielded(blind, demands, rates, problem.nodes, allocated)
    return {g.id: g for g in blind.values()}, {g.id: g for g in after.values()}


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Problem, dict[str, int]]:
    problem = attrs.evolve(draw(problems()), groups=())
    real = tuple(d if d.min_ma else attrs.evolve(d, min_ma=6 * A, max_ma=d.max_ma + 6 * A) for d in problem.demands)
    problem = attrs.evolve(problem, demands=real)
    names = [demand.id for demand in problem.demands]
    wishing = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    return problem, {name: draw(st.integers(0, 40_000)) for name in wishing}


@given(wishes())
def test_who_gave_no_wish_gets_at_least_what_it_got_blind(case: tuple[Problem, dict[str, int]]) -> None:
    problem, rates_ma = case
    blind, after = shared(problem, rates_ma)
    assert {name: g for name, g in after.items() if name not in rates_ma and g.limit_ma < blind[name].limit_ma} == {}


@given(wishes())
def test_who_gave_a_wish_gets_what_it_needs_or_what_it_got_blind(case: tuple[Problem, dict[str, int]]) -> None:
    problem, rates_ma = case
    blind, after = shared(problem, rates_ma)
    for name, rate_ma in rates_ma.items():
        assert after[name].limit_ma >= min(rate_ma, blind[name].limit_ma)


@given(wishes())
def test_no_limit_is_exceeded_and_nobody_charges_below_its_minimum(case: tuple[Problem, dict[str, int]]) -> None:
    problem, rates_ma = case
    _, after = shared(problem, rates_ma)
    parents = {node.id: node.parent for node in problem.nodes}
    used: dict[tuple[str, str], int] = {}
    for demand in problem.demands:
        granted_ma = after[demand.id].limit_ma
        assert granted_ma == 0 or demand.min_ma <= granted_ma <= demand.max_ma
        node: str | None = demand.node
        while node is not None:
            for phase in demand.phases if granted_ma else ():
                used[node, phase] = used.get((node, phase), 0) + granted_ma
            node = parents[node]
    for limit in problem.nodes:
        assert all(used.get((limit.id, phase), 0) <= max(limit.limit_ma[phase], 0) for phase in PHASES)


def car(name: str, phases: tuple[str, ...] = PHASES, node: str = SITE, max_ma: int = 32 * A) -> Demand:
    return Demand(name, node, phases, 6 * A, max_ma)  # type: ignore[arg-type]


def limits(grants: dict[str, Grant]) -> list[float]:
    return [grant.limit_ma / A for grant in grants.values()]


def site(limit_a: float, *demands: Demand) -> Problem:
    return Problem((LimitNode(SITE, None, PerPhase.same(round(limit_a * A))),), demands)


def test_what_a_patient_car_leaves_goes_to_those_who_gave_no_wish() -> None:
    blind, after = shared(site(30, car("A"), car("B"), car("C")), {"A": 7 * A})
    assert (limits(blind), limits(after)) == ([10, 10, 10], [7, 11.5, 11.5])


def test_first_to_a_late_car_up_to_what_it_needs() -> None:
    assert limits(shared(site(30, car("A"), car("B"), car("C")), {"A": 6 * A, "B": 12 * A})[1]) == [6, 12, 12]


def test_then_to_one_that_was_to_wait() -> None:
    blind, after = shared(site(17, car("A", max_ma=8 * A), car("B", max_ma=8 * A), car("C")), {"A": 5 * A, "B": A})
    assert (limits(blind), limits(after)) == ([8, 8, 0], [8, 8, 0])  # 6 + 6 leave 5: too little, so it goes back
    blind, after = shared(site(18, car("A"), car("B", max_ma=6 * A), car("C", max_ma=6 * A)), {"A": 6 * A})
    assert (limits(blind), limits(after)) == ([6, 6, 6], [6, 6, 6])
    four = site(25, car("A"), car("B", max_ma=6 * A), car("C", max_ma=6 * A), car("D", max_ma=8 * A))
    ranked = tuple(attrs.evolve(demand, rank=i) for i, demand in enumerate(four.demands))
    assert limits(shared(attrs.evolve(four, demands=ranked), {"A": 6 * A})[1]) == [6, 6, 6, 7]


def test_what_nobody_else_can_use_goes_back() -> None:
    assert limits(shared(site(30, car("A"), car("B", max_ma=6 * A)), {"A": 7 * A})[1]) == [24, 6]


def test_a_second_phase_carries_no_harm_over() -> None:
    """A leaves current on L1; were B simply to rise on it, it would take from C on L2."""
    problem = site(20, car("A", (L1,)), car("B", (L1, L2)), car("C", (L2,)))
    blind, after = shared(problem, {"A": 6 * A})
    assert after["C"].limit_ma >= blind["C"].limit_ma


def test_without_slack_everything_stays() -> None:
    blind, after = shared(site(30, car("A"), car("B")), {"A": 16 * A, "X": A})
    assert after == blind
    assert after["A"].reason is GrantReason.SHARED_LIMIT
    assert isinstance(after["A"].limited_by, Binding)


# In a session


def answer(small: SmallSite, event: WishPut) -> Saved | NotSaved:
    (reply,) = [effect for effect in small.post(event) if isinstance(effect, Reply)]
    assert isinstance(reply.answer, Saved | NotSaved)
    return reply.answer


THREE = (Station("A", max_ma=32 * A), Station("B", max_ma=32 * A), Station("C", max_ma=32 * A))


def charging(limit_a: float = 30) -> SmallSite:
    small = SmallSite(static(limit_a, *THREE))
    for name in small.outlets:
        small.plug(name)
    small.run(150)
    return small


def session_id(small: SmallSite, name: str) -> int:
    session = small.state.connectors[name, 1].session
    assert session is not None
    return session.transaction_id


def test_a_wish_counts_from_the_next_tick_on_and_is_audited() -> None:
    small = charging()
    evening = now(small.second).utc + 10 * HOUR
    event = WishPut("ann", session_id(small, "A"), Wish(evening, 20_000))
    effects = small.post(event)
    assert any(isinstance(e, Save) and isinstance(e.record, AuditEntry) and e.record.what == "wish" for e in effects)
    small.run(40)
    assert small.offered() == [6, 12, 12]
    assert answer(small, WishPut("ann", session_id(small, "A"), None)) == Saved()
    small.run(80)
    assert small.offered() == [10, 10, 10]


def test_a_satisfied_car_gets_its_minimum_while_nobody_is_short_of_it_and_else_nothing() -> None:
    small = charging(20)
    assert sorted(small.offered()) == [6.6, 6.7, 6.7]
    session = small.state.connectors["A", 1].session
    assert session is not None
    full = attrs.evolve(small.state.connectors["A", 1], session=attrs.evolve(session, energy_wh=9_000))
    small.state = attrs.evolve(small.state, connectors={**small.state.connectors, ("A", 1): full})
    answer(small, WishPut("ann", session.transaction_id, Wish(energy_wh=9_000)))
    small.run(100)
    assert small.offered() == [0, 10, 10]
    small.unplug("B")
    small.run(100)
    assert small.offered("A", "C") == [0, 20]


def test_a_wish_for_no_session_or_that_makes_no_sense_changes_nothing() -> None:
    small = charging()
    before = small.state.connectors
    nobody = answer(small, WishPut("ann", 999, Wish()))
    past = answer(small, WishPut("ann", session_id(small, "A"), Wish(NOON - HOUR)))
    for refused, pointer in ((nobody, ""), (past, "/departs_at")):
        assert isinstance(refused, NotSaved)
        assert [fault.pointer for fault in refused.faults] == [pointer]
    assert small.state.connectors == before


def test_the_next_car_has_said_nothing() -> None:
    small = charging()
    answer(small, WishPut("ann", session_id(small, "A"), Wish(energy_wh=5_000)))
    assert needs(small.state, now(small.second)) == {("A", 1): Need()}
    small.unplug("A")
    small.plug("A", Car())
    assert needs(small.state, now(small.second)) == {}
