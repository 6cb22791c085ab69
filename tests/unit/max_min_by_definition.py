"""The judge of an allocation: the definitions written out with fractions, nothing clever.

Shares no code with `llm_core.allocation` and is far too slow to be of other use.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import groupby

import attrs

from llm_core.problem import Binding, Grant, GrantReason, Problem, Strategy
from llm_core.quantities import PHASES, Phase


@attrs.frozen
class Constraint:
    """One limit on one phase and the numbers of the demands that it holds."""

    name: str
    phase: Phase
    limit_ma: int
    users: frozenset[int]


def constraints(problem: Problem) -> list[Constraint]:
    parents = {node.id: node.parent for node in problem.nodes}

    def under(node: str | None, top: str) -> bool:
        return node is not None and (node == top or under(parents[node], top))

    def users(phase: Phase, belongs: Mapping[int, bool]) -> frozenset[int]:
        return frozenset(i for i, d in enumerate(problem.demands) if belongs[i] and phase in d.phases)

    found = []
    for node in problem.nodes:
        inside = {i: under(d.node, node.id) for i, d in enumerate(problem.demands)}
        found += [Constraint(node.id, p, node.limit_ma[p], users(p, inside)) for p in PHASES]
    for group in problem.groups:
        inside = {i: d.id in group.members for i, d in enumerate(problem.demands)}
        found += [Constraint(group.id, p, group.limit_ma[p], users(p, inside)) for p in PHASES]
    return found


def tiers(problem: Problem) -> list[list[int]]:
    def before(i: int) -> tuple[int, int, str]:
        demand = problem.demands[i]
        first = {"equal": 0, "first_come": demand.since, "priority": -demand.priority}[problem.strategy.value]
        return (first, demand.rank, demand.id)

    order = sorted(range(len(problem.demands)), key=before)
    if problem.strategy is Strategy.FIRST_COME:
        return [[i] for i in order]
    return [list(tier) for _, tier in groupby(order, key=lambda i: before(i)[0])]


def optimum(problem: Problem) -> list[Fraction | None]:
    """Progressive filling by the book; None is a paused demand."""
    held: dict[int, Fraction] = {}
    limits = constraints(problem)

    def admit(tier: list[int]) -> None:
        for i in tier:
            trial = held | {i: Fraction(problem.demands[i].min_ma)}
            if all(sum(trial.get(u, 0) for u in c.users) <= c.limit_ma for c in limits if i in c.users):
                held.update(trial)

    def fill(tier: list[int]) -> None:
        free = {i for i in tier if i in held}
        while free:
            level = min([top_level(c, free) for c in limits if c.users & free] + [highest(free)])
            for i in free:
                held[i] = clamped(i, level)
            full = [c for c in limits if sum(held.get(u, 0) for u in c.users) == c.limit_ma]
            stopped = {i for i in free if held[i] == problem.demands[i].max_ma or any(i in c.users for c in full)}
            assert stopped
            free -= stopped

    def clamped(i: int, level: Fraction) -> Fraction:
        demand = problem.demands[i]
        return min(max(level * demand.weight, Fraction(demand.min_ma)), Fraction(demand.max_ma))

    def highest(free: set[int]) -> Fraction:
        return max(Fraction(problem.demands[i].max_ma, problem.demands[i].weight) for i in free)

    def top_level(c: Constraint, free: set[int]) -> Fraction:
        """The highest level at which the constraint holds: between two corners of its usage, which is a line."""

        def used(level: Fraction) -> Fraction:
            return sum((clamped(u, level) if u in free else held.get(u, Fraction(0)) for u in c.users), Fraction(0))

        ds = [problem.demands[u] for u in c.users & free]
        corners = sorted({Fraction(a, d.weight) for d in ds for a in (0, d.min_ma, d.max_ma)})
        fitting = [corner for corner in corners if used(corner) <= c.limit_ma]
        if len(fitting) == len(corners):
            return highest(free)
        low, high = fitting[-1], corners[len(fitting)]
        return low + (high - low) * (c.limit_ma - used(low)) / (used(high) - used(low))

    todo = tiers(problem)
    for together in [todo] if problem.minimum_first else [[tier] for tier in todo]:
        for tier in together:
            admit(tier)
        for tier in together:
            fill(tier)
    return [held.get(i) for i in range(len(problem.demands))]


def assert_feasible(problem: Problem, grants: tuple[Grant, ...], paused: set[int]) -> None:
    for c in constraints(problem):
        used = sum(grants[u].limit_ma for u in c.users)
        assert used <= c.limit_ma or c.users <= paused, f"{c.name} {c.phase} carries {used} of {c.limit_ma}"


def assert_reasons_are_true(problem: Problem, grants: tuple[Grant, ...], paused: set[int]) -> None:
    """Each reason is checked against the limits; so no step stays idle that someone could use."""
    by_place = {Binding(c.name, c.phase): c for c in constraints(problem)}
    groups = {group.id for group in problem.groups}
    for i, (demand, grant) in enumerate(zip(problem.demands, grants, strict=True)):
        rise = demand.step_ma - grant.limit_ma % demand.step_ma
        assert grant.id == demand.id
        if i in paused:
            assert grant.reason is GrantReason.WAITING
            assert grant.limit_ma == 0
        elif grant.reason is GrantReason.OWN_MAXIMUM:
            assert grant.limit_ma + rise > demand.max_ma
            assert grant.limited_by is None
            continue
        assert grant.limited_by is not None
        place = by_place[grant.limited_by]
        assert i in place.users
        if i not in paused:
            assert grant.limit_ma + rise <= demand.max_ma
            assert sum(grants[u].limit_ma for u in place.users) + rise > place.limit_ma
            assert (grant.reason is GrantReason.UNBALANCE) == (place.name in groups)
            assert grant.reason in (GrantReason.UNBALANCE, GrantReason.SHARED_LIMIT)
