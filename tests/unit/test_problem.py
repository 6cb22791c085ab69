"""Claims about which allocation problems are refused, and in which words."""

from __future__ import annotations

import attrs
import pytest

from llm_core.problem import Demand, Fault, Group, LimitNode, Problem, ProblemError, faults_of
from llm_core.quantities import PHASES, PerPhase, Phase


def node(name: str, parent: str | None = "site") -> LimitNode:
    return LimitNode(name, parent, PerPhase.same(16_000))


SITE = node("site", None)
CAR = Demand("a", "site", PHASES, 6_000, 16_000)


def pointers(*nodes: LimitNode, demands: tuple[Demand, ...] = (), groups: tuple[Group, ...] = ()) -> list[str]:
    return [fault.pointer for fault in faults_of(Problem(nodes, demands, groups=groups))]


def test_a_sound_problem_has_no_fault() -> None:
    assert pointers(SITE, node("c1"), node("c2", "c1"), demands=(CAR,), groups=(Group("g", frozenset("a"), 0),)) == []


def test_a_tree_has_one_root_and_known_parents() -> None:
    assert pointers(SITE, node("other", None)) == ["/nodes/1/parent"]
    assert pointers(SITE, node("c1", "nowhere"), node("c2", "c1")) == ["/nodes/1/parent"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_a_circle_is_found_from_wherever_it_is_entered(order: tuple[int, ...]) -> None:
    nodes = [SITE, node("a", "b"), node("b", "a"), node("into", "a")]
    faults = faults_of(Problem(tuple(nodes[i] for i in order), ()))
    assert {nodes[order[int(fault.pointer.split("/")[2])]].id for fault in faults} == {"a", "b", "into"}
    assert all("circle" in fault.text for fault in faults)


def test_a_node_above_itself_is_a_circle() -> None:
    assert pointers(SITE, node("c1", "c1")) == ["/nodes/1/parent"]


def test_ids_are_used_once() -> None:
    group = Group("g", frozenset(), 0)
    assert pointers(SITE, node("c"), node("c"), demands=(CAR, CAR), groups=(group, group)) == [
        "/nodes/2/id",
        "/demands/1/id",
        "/groups/1/id",
    ]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (attrs.evolve(CAR, node="nowhere"), "node"),
        (attrs.evolve(CAR, phases=()), "phases"),
        (attrs.evolve(CAR, phases=(Phase.L1, Phase.L1)), "phases"),
        (attrs.evolve(CAR, min_ma=-1), "min_ma"),
        (attrs.evolve(CAR, max_ma=5_999), "max_ma"),
        (attrs.evolve(CAR, step_ma=0), "step_ma"),
        (attrs.evolve(CAR, weight=0), "weight"),
    ],
)
def test_a_demand_that_makes_no_sense_is_refused(wrong: Demand, pointer: str) -> None:
    assert pointers(SITE, demands=(wrong,)) == [f"/demands/0/{pointer}"]


def test_a_demand_may_be_fixed_or_nothing_at_all() -> None:
    fixed = attrs.evolve(CAR, max_ma=6_000)
    nothing = Demand("b", "site", (Phase.L1,), 0, 0)
    assert pointers(SITE, demands=(fixed, nothing)) == []


def test_a_group_has_members_that_exist() -> None:
    group = Group("g", frozenset({"a", "y", "x"}), 0)
    faults = faults_of(Problem((SITE,), (CAR,), groups=(group,)))
    assert [str(fault) for fault in faults] == [
        "/groups/0/members: there is no demand 'x'",
        "/groups/0/members: there is no demand 'y'",
    ]


def test_every_fault_is_listed_not_only_the_first() -> None:
    wrong = Demand("a", "nowhere", (), -2, -3, 0, 0)
    assert len(pointers(SITE, node("c", "q"), demands=(wrong, CAR), groups=(Group("g", frozenset("z"), 1),))) == 9


def test_the_error_reads_one_fault_a_line() -> None:
    error = ProblemError((Fault("/a", "is wrong"), Fault("/b", "too")))
    assert str(error) == "/a: is wrong\n/b: too"


def test_a_demand_that_is_satisfied_with_less_is_the_same_in_all_else() -> None:
    demand = Demand("A/2", "yard", (Phase.L2,), 8_000, 32_000, 1_000, weight=3, priority=2, rank=7, since=11)
    given = {field.name: getattr(demand, field.name) for field in attrs.fields(Demand)}
    defaults = {field.name: field.default for field in attrs.fields(Demand)}
    assert not [name for name, value in given.items() if value == defaults[name]], "each field can be told apart"
    assert demand.at_most(9_000) == attrs.evolve(demand, max_ma=9_000)
