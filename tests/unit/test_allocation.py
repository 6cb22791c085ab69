"""Claims about `allocate`, judged by the definition worked out with fractions and by problems solved elsewhere."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from max_min_by_definition import assert_feasible, assert_reasons_are_true, optimum

from llm_core.allocation import (
    Binding,
    Demand,
    Grant,
    GrantReason,
    Group,
    LimitNode,
    Problem,
    ProblemError,
    Strategy,
    allocate,
    continuous,
)
from llm_core.quantities import PHASES, PerPhase, Phase

L1, L2, L3 = PHASES
A = 1_000


def site(*limits_a: float, id: str = "site", parent: str | None = None) -> LimitNode:  # noqa: A002
    """A node with one limit for all phases, or one each."""
    each = limits_a * 3 if len(limits_a) == 1 else limits_a
    return LimitNode(id, parent, PerPhase(*(round(limit * A) for limit in each)))


def car(name: str, node: str = "site", phases: tuple[Phase, ...] = PHASES, **other: Any) -> Demand:
    """The car of the behaviours: three phases, 6 to 16 A, in steps of 0.1 A."""
    return Demand(name, node, phases, **({"min_ma": 6 * A, "max_ma": 16 * A} | other))


def amps(*demands: Demand, nodes: Iterable[LimitNode], **rules: Any) -> list[float]:
    return [grant.limit_ma / A for grant in allocate(Problem(tuple(nodes), demands, **rules))]


# Any problem

steps_ma = st.sampled_from([100, 1_000, 250, 1])


@st.composite
def problems(draw: st.DrawFn, step_ma: st.SearchStrategy[int] = steps_ma) -> Problem:
    def limit(top: int) -> st.SearchStrategy[int]:
        return st.builds(lambda a, ma: a * 100 + ma, st.integers(-10, top * 10), st.sampled_from([0, 0, 1, -1]))

    names = ["site", *(f"c{i}" for i in range(draw(st.integers(0, 4))))]
    nodes = []
    for i, name in enumerate(names):
        parent = draw(st.sampled_from(names[:i])) if i else None
        nodes.append(LimitNode(name, parent, PerPhase(*(draw(limit(60 if i else 120)) for _ in PHASES))))
    demands = []
    for i in range(draw(st.integers(0, 9))):
        least = draw(st.sampled_from([0, 6 * A, 6 * A, 8 * A, 6_050]))
        demands.append(
            Demand(
                id=f"S{i}",
                node=draw(st.sampled_from(names)),
                phases=draw(st.sampled_from([PHASES, PHASES, (L1,), (L2,), (L3,), (L3, L1), (L1, L2)])),
                min_ma=least,
                max_ma=least + draw(st.sampled_from([0, 50, 4 * A, 10 * A, 26 * A])),
                step_ma=draw(step_ma),
                weight=draw(st.sampled_from([1, 1, 2, 3, 7])),
                priority=draw(st.integers(0, 2)),
                rank=draw(st.integers(0, 3)),
                since=draw(st.integers(0, 3)),
            )
        )
    members = st.frozensets(st.sampled_from([d.id for d in demands])) if demands else st.just(frozenset())
    groups = [Group(f"g{i}", draw(members), draw(limit(40))) for i in range(draw(st.integers(0, 2)))]
    return Problem(tuple(nodes), tuple(demands), draw(st.sampled_from(Strategy)), draw(st.booleans()), tuple(groups))


@given(problems())
def test_before_steps_the_answer_is_the_max_min_optimum_to_the_last_fraction(problem: Problem) -> None:
    expected = {d.id: share or Fraction(0) for d, share in zip(problem.demands, optimum(problem), strict=True)}
    assert continuous(problem) == expected


@given(problems())
def test_no_limit_is_exceeded_no_step_is_idle_and_every_reason_is_true(problem: Problem) -> None:
    grants = allocate(problem)
    paused = {i for i, share in enumerate(optimum(problem)) if share is None}
    assert_feasible(problem, grants, paused)
    assert_reasons_are_true(problem, grants, paused)
    for demand, grant in zip(problem.demands, grants, strict=True):
        assert grant.limit_ma % demand.step_ma == 0 or grant.limit_ma == demand.min_ma
        assert grant.limit_ma == 0 or demand.min_ma <= grant.limit_ma <= demand.max_ma


@given(problems(), st.randoms(use_true_random=False))
def test_reordering_the_input_permutes_the_answer_and_changes_nothing_else(problem: Problem, random: Any) -> None:
    def shuffled(values: Iterable[Any]) -> tuple[Any, ...]:
        cards = list(values)
        random.shuffle(cards)
        return tuple(cards)

    mixed = attrs.evolve(
        problem,
        nodes=shuffled(problem.nodes),
        groups=shuffled(problem.groups),
        demands=shuffled(attrs.evolve(d, phases=shuffled(d.phases)) for d in problem.demands),
    )
    assert {g.id: g for g in allocate(mixed)} == {g.id: g for g in allocate(problem)}


@given(problems())
def test_the_same_input_gives_the_same_output_with_reasons(problem: Problem) -> None:
    rebuilt = attrs.evolve(problem, demands=tuple(attrs.evolve(d) for d in problem.demands))
    assert allocate(problem) == allocate(rebuilt)


@given(problems(step_ma=st.just(100)), st.integers(2, 5))
def test_only_the_ratio_of_weights_counts(problem: Problem, factor: int) -> None:
    heavier = tuple(attrs.evolve(d, weight=d.weight * factor) for d in problem.demands)
    assert allocate(attrs.evolve(problem, demands=heavier)) == allocate(problem)


# Problems solved elsewhere

VECTORS: list[dict[str, Any]] = json.loads(
    gzip.decompress((Path(__file__).parent / "vectors" / "problems-1-300.json.gz").read_bytes()),
    parse_float=Decimal,
    parse_int=Decimal,
)


def ma(amperes: Decimal) -> int:
    assert amperes * A == int(amperes * A)
    return int(amperes * A)


def from_vector(vector: Mapping[str, Any]) -> Problem:
    return Problem(
        tuple(
            LimitNode(n["id"], n["parent"], PerPhase(*(ma(n["limit_a"].get(p, Decimal())) for p in PHASES)))
            for n in vector["nodes"]
        ),
        tuple(
            Demand(
                id=d["id"],
                node=d["node"],
                phases=tuple(Phase(p) for p in d["phases"]),
                min_ma=ma(d["min_a"]),
                max_ma=ma(d["max_a"]),
                step_ma=ma(d["step_a"]),
                weight=int(d["weight"] * 2),
                priority=int(d["priority"]),
                rank=int(d["rank"]),
                since=int(d["since"]),
            )
            for d in vector["demands"]
        ),
        Strategy(vector["strategy"]),
        vector["minimum_first"],
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"seed-{vector['seed']}")
def test_problems_solved_by_linear_programming_come_out_the_same(vector: dict[str, Any]) -> None:
    problem = from_vector(vector)
    optima = [Fraction(d["optimum_a"]) * A for d in vector["demands"]]
    paused = {i for i, best in enumerate(optima) if best == 0}
    grants = allocate(problem)

    exact = continuous(problem)
    for demand, best in zip(problem.demands, optima, strict=True):
        assert abs(exact[demand.id] - best) <= Fraction(1, 1_000)  # 1e-6 A
    assert_feasible(problem, grants, paused)
    assert_reasons_are_true(problem, grants, paused)
    if problem.strategy is Strategy.EQUAL and len({d.step_ma for d in problem.demands}) == 1:
        for demand, grant, best in zip(problem.demands, grants, optima, strict=True):
            assert abs(grant.limit_ma - best) <= 2 * demand.step_ma


# The behaviours that must hold, by their numbers


def test_1_a_negative_limit_admits_nobody_on_that_phase_and_leaves_the_others_alone() -> None:
    cars = (car("one", phases=(L1,)), car("two", phases=(L2,)), car("all"), car("any", phases=(L2,), min_ma=0))
    assert amps(*cars, nodes=[site(40, -2, 40)]) == [16, 0, 0, 0]


def test_2_what_a_full_branch_cannot_use_goes_to_the_others() -> None:
    nodes = [site(32), site(16, id="sub", parent="site")]
    assert amps(car("a"), car("b", "sub"), car("c", "sub"), nodes=nodes) == [16, 8, 8]


def test_3_reordering_stations_only_permutes() -> None:
    cars = [car("a"), car("b", min_ma=8 * A), car("c", phases=(L1,)), car("d", weight=3)]
    forward = amps(*cars, nodes=[site(41)])
    assert amps(*reversed(cars), nodes=[site(41)]) == forward[::-1]


def test_4_a_late_car_gets_its_share_at_once() -> None:
    assert amps(car("a"), car("b"), car("c"), nodes=[site(35)]) == [11.7, 11.7, 11.6]


def test_5_a_car_that_does_not_fit_waits_and_is_told_where() -> None:
    grants = allocate(Problem((site(13),), (car("a"), car("b"), car("c"))))
    assert [grant.limit_ma for grant in grants] == [6_500, 6_500, 0]
    assert grants[2] == Grant("c", 0, GrantReason.WAITING, Binding("site", L1))


def test_6_turns_by_least_energy_serve_equal_cars_equally() -> None:
    energy = dict.fromkeys("abc", 0)
    windows = dict.fromkeys("abc", 0)
    for _ in range(6):
        grants = allocate(Problem((site(13),), tuple(car(name, rank=energy[name]) for name in "abc")))
        for grant in grants:
            energy[grant.id] += grant.limit_ma
            windows[grant.id] += grant.limit_ma > 0
        assert max(windows.values()) - min(windows.values()) <= 1
    assert windows == {"a": 4, "b": 4, "c": 4}


def test_7_unequal_minimums_are_each_respected() -> None:
    cars = car("a"), car("b", min_ma=8 * A)
    assert amps(*cars, nodes=[site(15)]) == [7, 8]
    assert amps(*cars, nodes=[site(13)]) == [13, 0]


def test_8_a_load_on_one_phase_limits_only_those_who_use_it() -> None:
    one_phase = car("a", phases=(L1,))
    assert amps(one_phase, nodes=[site(25 - 1, 25 - 16, 25 - 16)]) == [16]
    assert amps(one_phase, nodes=[site(25 - 1, 25 - 16, 25 - 30)]) == [16]


def test_9_one_phase_cars_on_different_phases_do_not_share() -> None:
    assert amps(*(car(p, phases=(p,)) for p in PHASES), nodes=[site(20)]) == [16, 16, 16]


def test_10_a_car_of_unknown_phase_counts_on_all_three() -> None:
    unknown = car("unknown", phases=PHASES)
    assert amps(unknown, *(car(p, phases=(p,)) for p in PHASES), nodes=[site(20)]) == [10, 10, 10, 10]


def test_12_unbalance_stops_one_phase_cars_only_and_says_so() -> None:
    cars = car("one", phases=(L1,), max_ma=32 * A), car("three", max_ma=32 * A)
    grants = allocate(Problem((site(63),), cars, groups=(Group("unbalance", frozenset({"one"}), 20 * A),)))
    assert grants[0] == Grant("one", 20 * A, GrantReason.UNBALANCE, Binding("unbalance", L1))
    assert grants[1] == Grant("three", 32 * A, GrantReason.OWN_MAXIMUM, None)


def test_12_unbalance_counts_per_phase_over_the_members_that_use_it() -> None:
    cars = car("a", phases=(L1,)), car("b", phases=(L1, L2)), car("c", phases=(L3,))
    group = Group("unbalance", frozenset("abc"), 20 * A)
    assert amps(*cars, nodes=[site(63)], groups=(group,)) == [10, 10, 16]


def test_13_the_smallest_fuse_on_the_way_limits_a_three_phase_car() -> None:
    problem = Problem((site(32, 25, 20),), (car("a", max_ma=32 * A),))
    assert allocate(problem) == (Grant("a", 20 * A, GrantReason.SHARED_LIMIT, Binding("site", L3)),)


def test_20_coarse_steps_are_handed_out_until_none_is_left() -> None:
    assert amps(*(car(name, step_ma=A) for name in "abc"), nodes=[site(32)]) == [11, 11, 10]


def test_25_priority_takes_the_surplus_without_stopping_the_others() -> None:
    cars = car("low"), car("high", priority=2), car("middle", priority=1)
    nodes = [site(30)]
    assert amps(*cars, nodes=nodes, strategy=Strategy.PRIORITY) == [6, 16, 8]
    assert amps(*cars, nodes=nodes, strategy=Strategy.PRIORITY, minimum_first=False) == [0, 16, 14]


def test_first_come_fills_the_earliest_car_first() -> None:
    cars = car("late", since=20), car("early", since=10), car("also early", since=10, rank=1)
    nodes = [site(30)]
    assert amps(*cars, nodes=nodes, strategy=Strategy.FIRST_COME) == [6, 16, 8]
    assert amps(*cars, nodes=nodes, strategy=Strategy.FIRST_COME, minimum_first=False) == [0, 16, 14]


# What is easily got wrong


def test_shares_follow_the_weights_between_minimum_and_maximum() -> None:
    wide = {"max_ma": 40 * A}
    cars = car("one", **wide), car("two", weight=2, **wide), car("four", weight=4, **wide)
    assert amps(*cars, nodes=[site(70)]) == [10, 20, 40]
    assert amps(*cars, nodes=[site(30)]) == [6, 8, 16]


def test_a_third_that_another_tier_holds_is_not_lost_to_rounding() -> None:
    """Three cars fill 16 A to the last third of a milliamp, and exactly 6 A are left for the fourth."""
    nodes = [site(22), site(16, id="sub", parent="site")]
    first = [car(name, "sub", priority=1, min_ma=0) for name in "abc"]
    grants = amps(*first, car("d"), nodes=nodes, strategy=Strategy.PRIORITY, minimum_first=False)
    assert grants == [5.4, 5.3, 5.3, 6]


def test_less_than_a_minimum_left_by_a_fraction_of_a_milliamp_admits_nobody() -> None:
    """A third of 16 A leaves 6.000 A less a third of a milliamp: it is not rounded up."""
    nodes = [site(11.333, 30, 30), site(16, id="sub", parent="site")]
    first = [car("a", "sub", PHASES, priority=1, min_ma=0)]
    first += [car(name, "sub", (L2,), priority=1, min_ma=0) for name in "bc"]
    grants = amps(*first, car("d"), nodes=nodes, strategy=Strategy.PRIORITY, minimum_first=False)
    assert grants == [5.4, 5.3, 5.3, 0]


def test_who_stops_just_before_a_limit_fills_up_leaves_its_fraction_to_the_others() -> None:
    """At 8.000 A each, 1 mA of 24.001 A is left; it is for the two that may take more than 8 A."""
    cars = car("a", max_ma=8 * A), car("b"), car("c")
    assert list(continuous(Problem((site(24.001),), cars)).values()) == [
        8_000,
        Fraction(16_001, 2),
        Fraction(16_001, 2),
    ]


def test_who_starts_just_before_a_limit_fills_up_shares_the_rest() -> None:
    cars = car("a", min_ma=8 * A), car("b"), car("c")
    assert set(continuous(Problem((site(24.001),), cars)).values()) == {Fraction(24_001, 3)}


def test_a_limit_just_below_all_maxima_still_holds() -> None:
    assert amps(car("a"), car("b"), nodes=[site(31.999)]) == [16, 15.9]


def test_a_share_just_below_a_step_does_not_get_it_by_rounding() -> None:
    assert amps(car("a"), car("b"), car("c"), nodes=[site(23.999)]) == [8, 8, 7.9]


def test_of_two_groups_that_both_stop_a_car_the_same_is_named_in_any_order() -> None:
    groups = Group("g1", frozenset("a"), 10 * A), Group("g2", frozenset("a"), 10 * A)
    for order in (groups, groups[::-1]):
        problem = Problem((site(63),), (car("a"),), groups=order)
        assert allocate(problem) == (Grant("a", 10 * A, GrantReason.UNBALANCE, Binding("g1", L1)),)


def test_a_minimum_off_the_grid_is_kept_and_the_next_step_is_on_it() -> None:
    cars = [car(name, min_ma=6_500, step_ma=A) for name in "ab"]
    assert amps(*cars, nodes=[site(13)]) == [6.5, 6.5]
    assert amps(*cars, nodes=[site(13.5)]) == [7, 6.5]


def test_a_maximum_off_the_grid_is_never_exceeded() -> None:
    grants = allocate(Problem((site(63),), (car("a", max_ma=15_950),)))
    assert grants == (Grant("a", 15_900, GrantReason.OWN_MAXIMUM, None),)


def test_a_step_that_nobody_may_take_here_is_taken_elsewhere() -> None:
    nodes = [site(20), site(8.05, id="sub", parent="site")]
    assert amps(car("in", "sub"), car("out"), nodes=nodes) == [8, 12]


def test_many_small_steps_take_what_a_coarse_one_leaves() -> None:
    cars = car("fine"), car("coarse", step_ma=A, rank=1)
    assert amps(*cars, nodes=[site(19.9)]) == [10.9, 9]


def test_many_steps_at_once_are_whole_ones_below_a_maximum_off_the_grid() -> None:
    coarse, fine = car("a", step_ma=10 * A, max_ma=32 * A), car("b", max_ma=16_050)
    assert amps(coarse, fine, nodes=[site(30)]) == [10, 16]


def test_the_nearest_full_limit_is_named() -> None:
    nodes = [site(16), site(16, id="sub", parent="site"), site(16, id="bay", parent="sub")]
    grants = allocate(Problem(tuple(nodes), (car("a", "bay"), car("b", "site"))))
    assert grants[0].limited_by == Binding("site", L1)
    alone = allocate(Problem(tuple(nodes), (car("a", "bay", max_ma=32 * A),)))
    assert alone[0].limited_by == Binding("bay", L1)


def test_a_demand_that_can_use_nothing_gets_nothing_and_that_is_its_own_maximum() -> None:
    grants = allocate(Problem((site(16),), (car("a", min_ma=0, max_ma=0), car("b"))))
    assert grants[0] == Grant("a", 0, GrantReason.OWN_MAXIMUM, None)
    assert grants[1].limit_ma == 16 * A


def test_no_demands_no_grants() -> None:
    assert allocate(Problem((site(16),), ())) == ()


def test_a_problem_without_an_answer_is_refused_with_every_fault() -> None:
    nonsense = Problem((site(16),), (car("a", "nowhere", max_ma=5 * A),))
    with pytest.raises(ProblemError) as refusal:
        allocate(nonsense)
    assert len(refusal.value.faults) == 2
    with pytest.raises(ProblemError):
        continuous(nonsense)


def test_fractions_that_several_full_branches_leave_on_one_phase_add_up() -> None:
    """In each yard three cars share 20 A on L1; the one of them that uses L2 as well holds a third of it there."""
    yards = [site(20, 100, 100, id=name, parent="site") for name in ("c1", "c2")]
    cars = [car(f"{name}/{i}", name, PHASES[:2] if i == 0 else (L1,)) for name in ("c1", "c2") for i in range(3)]
    alone = car("alone", "site", (L2,), max_ma=32_000)
    problem = Problem((site(100, 30, 100), *yards), (*cars, alone))
    assert continuous(problem)["c1/0"] == Fraction(20_000, 3)
    assert continuous(problem)["alone"] == 30_000 - 2 * Fraction(20_000, 3)


def test_fine_steps_left_by_a_coarse_one_are_used_up_to_a_maximum() -> None:
    """15.89 A: the coarse car floors 7.945 A to 7 A, and the fine one goes on in tenths until its 8.1 A."""
    coarse, fine = car("coarse", step_ma=1_000), car("fine", step_ma=100, max_ma=8_100)
    limits = [grant.limit_ma for grant in allocate(Problem((site(15.89, 15.89, 15.89),), (coarse, fine)))]
    assert limits == [7_000, 8_100]
    assert [type(limit_ma) for limit_ma in limits] == [int, int]
