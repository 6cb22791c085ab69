"""Who gets how much: exact max-min sharing of a tree of per-phase limits among charging demands.

Theory of operation
===================
**Constraints.** Every (node, phase) is a constraint: the grants of the demands that pass it add up to at most its
limit. A group is one constraint per phase over its members. A demand's *route* is the list of the constraints it
passes, from its own node up to the root, then its groups. A limit that all maxima together cannot reach never stops
anyone, so it is left out of the routes; what remains is usually short.

**Tiers.** Demands are served tier by tier: `equal` is one tier, `priority` one per priority with the highest first,
`first_come` one per demand. Inside a tier the order is (rank, id). So nothing depends on the order of the input.

**Admission.** A demand is admitted when its minimum fits beside the minimums admitted so far on its whole route;
else it is paused at 0 A and the next is tried. With `minimum_first` all tiers are admitted before anyone gets more
than a minimum; without it each tier is admitted and filled before the next is looked at.

**Filling.** Within a tier a level t rises and each demand holds x = clamp(weight · t, minimum, maximum), until a
constraint is full; whoever passes it stops there, and t rises on for the others (Bertsekas & Gallager, Data
Networks, §6.5). Three observations make this exact and fast:

- demands on the same route stop at the same level, so the level belongs to the route and clamp() does the rest;
- with t counted in units of 1/lcm(weights) every minimum and maximum is met at an integer level, and only a full
  constraint can stop the level in between. Its level is a rational; its floor, an integer, orders it against all
  other events, and the rational itself is compared only between constraints within one unit;
- a demand that stops growing only postpones the level at which a constraint fills up. So each constraint waits in a
  heap under a level that may be too low but never too high, and is looked at again when its turn comes.

What a constraint has left is kept as `room` (whole mA) less `owed` (the sum of the fractions of a mA that stopped
routes hold), hence without rounding.

**Steps.** Each share is floored to its station's step, never below the minimum it was admitted with. The steps that
flooring left over go out one at a time, round and round in admission order, as long as they fit. Room only shrinks
meanwhile, so what stops a demand's next step, its own maximum or a constraint, is the reason of its grant.

Cost: O((n + bottlenecks) · depth · log n) for n demands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from heapq import heappop, heappush
from itertools import groupby
from math import lcm
from typing import assert_never

import attrs

from llm_core.problem import (
    Binding,
    Demand,
    Fault,
    Grant,
    GrantReason,
    Group,
    LimitNode,
    Problem,
    ProblemError,
    Strategy,
    faults_of,
)
from llm_core.quantities import PHASES

__all__ = [
    "Binding",
    "Demand",
    "Fault",
    "Grant",
    "GrantReason",
    "Group",
    "LimitNode",
    "Problem",
    "ProblemError",
    "Strategy",
    "allocate",
    "continuous",
    "faults_of",
]


def allocate(problem: Problem) -> tuple[Grant, ...]:
    """One grant per demand, in the order of the demands: feasible, fair, and with no step idle that fits anywhere.

    Raises `ProblemError` when the problem makes no sense.
    """
    field = _survey(problem)
    shares = _share(field)
    granted = _floor_to_steps(problem.demands, shares)
    stopped_at = _hand_out_steps(field, shares.admitted, granted)
    return tuple(map(field.explain, problem.demands, granted, shares.blocked_at, stopped_at))


def continuous(problem: Problem) -> Mapping[str, Fraction]:
    """The share of each demand in mA before it is cut to steps: the unique optimum, exact; 0 when paused.

    Raises `ProblemError` when the problem makes no sense.
    """
    shares = _share(_survey(problem))
    optimum = dict.fromkeys((demand.id for demand in problem.demands), Fraction(0))
    for i in shares.admitted:
        demand, level = problem.demands[i], shares.level[i]
        share = Fraction(demand.max_ma) if level is None else demand.weight * Fraction(*level)
        optimum[demand.id] = min(max(share, Fraction(demand.min_ma)), Fraction(demand.max_ma))
    return optimum


# Constraints and routes

_Route = tuple[int, ...]
_Kind = tuple[str, bool, bool, bool, _Route]
"""All that decides a route: the node, which phases are used, the groups."""

_Level = tuple[int, int] | None
"""Where a route stopped, as numerator and denominator of mA per weight; None when no constraint stopped it."""

_Due = tuple[int, int | Fraction, int]
"""The level at which a constraint will be full: its floor, itself, and the constraint."""

_WIDTH = len(PHASES)
L1, L2, L3 = PHASES


@attrs.frozen
class _Field:
    """The constraints, numbered: those of node k are 3k, 3k + 1, 3k + 2, then come those of the groups."""

    problem: Problem
    limits: list[int]
    routes: list[_Route]
    route_of: list[int]
    named: dict[int, Binding] = attrs.field(init=False, factory=dict)

    def explain(self, demand: Demand, limit_ma: int, blocked_at: int | None, stopped_at: int | None) -> Grant:
        """The grant with what stopped it: admission, a constraint that its next step exceeds, or its maximum."""
        if blocked_at is not None:
            return Grant(demand.id, 0, GrantReason.WAITING, self.binding(blocked_at))
        if stopped_at is None:
            return Grant(demand.id, limit_ma, GrantReason.OWN_MAXIMUM)
        shared = stopped_at < _WIDTH * len(self.problem.nodes)
        reason = GrantReason.SHARED_LIMIT if shared else GrantReason.UNBALANCE
        return Grant(demand.id, limit_ma, reason, self.binding(stopped_at))

    def binding(self, constraint: int) -> Binding:
        """Its name; one value serves all whom it stops."""
        if constraint not in self.named:
            place, offset = divmod(constraint, _WIDTH)
            nodes = self.problem.nodes
            at = nodes[place] if place < len(nodes) else self.problem.groups[place - len(nodes)]
            self.named[constraint] = Binding(at.id, PHASES[offset])
        return self.named[constraint]


def _survey(problem: Problem) -> _Field:
    """Number the constraints and find each demand's route through those that can bind at all."""
    faults = faults_of(problem)
    if faults:
        raise ProblemError(faults)
    limits = [limit for node in problem.nodes for limit in node.limit_ma]
    limits += [limit for group in problem.groups for limit in group.limit_ma]
    paths, groups_of = _paths(problem.nodes), _groups_of(problem)
    kinds = [
        (demand.node, L1 in demand.phases, L2 in demand.phases, L3 in demand.phases, groups_of.get(demand.id, ()))
        for demand in problem.demands
    ]
    most: dict[_Kind, int] = dict.fromkeys(kinds, 0)
    for kind, demand in zip(kinds, problem.demands, strict=True):
        most[kind] += demand.max_ma
    reach = [0] * len(limits)
    full: dict[_Kind, list[int]] = {}
    for kind, total in most.items():
        node, *used, groups = kind
        offsets = [offset for offset in range(_WIDTH) if used[offset]]
        full[kind] = [place + offset for place in (*paths[node], *groups) for offset in offsets]
        for constraint in full[kind]:
            reach[constraint] += total
    numbers: dict[_Route, int] = {}
    number_of = {}
    for kind, passed in full.items():
        route = tuple([constraint for constraint in passed if reach[constraint] > limits[constraint]])
        number_of[kind] = numbers.setdefault(route, len(numbers))
    return _Field(problem, limits, list(numbers), [number_of[kind] for kind in kinds])


def _groups_of(problem: Problem) -> dict[str, _Route]:
    """For each member the first constraint of each of its groups."""
    groups_of: dict[str, _Route] = {}
    for place, group in sorted(enumerate(problem.groups, len(problem.nodes)), key=lambda placed: placed[1].id):
        for member in group.members:
            groups_of[member] = (*groups_of.get(member, ()), place * _WIDTH)
    return groups_of


def _paths(nodes: tuple[LimitNode, ...]) -> dict[str, list[int]]:
    """For each node the first constraint of itself, its parent, and so on up to the root."""
    parents = {node.id: node.parent for node in nodes}
    first = {name: place * _WIDTH for place, name in enumerate(parents)}
    paths: dict[str, list[int]] = {}
    for name in parents:
        above: str | None = name
        paths[name] = path = []
        while above is not None:
            path.append(first[above])
            above = parents[above]
    return paths


# Tiers, admission and filling


@attrs.frozen
class _Shares:
    """The answer before steps: who is admitted, in that order, and per demand where it stopped or was blocked."""

    admitted: list[int]
    level: list[_Level]
    blocked_at: list[int | None]


@attrs.frozen
class _Book:
    """What each constraint has left: exactly `room` - `owed` mA."""

    field: _Field
    room: list[int]
    owed: list[int | Fraction]


def _share(field: _Field) -> _Shares:
    """Admit and fill, tier by tier."""
    problem = field.problem
    size = len(problem.demands)
    shares = _Shares([], [None] * size, [None] * size)
    book = _Book(field, field.limits.copy(), [0] * len(field.limits))
    tiers = _tiers(problem)
    for turn in [tiers] if problem.minimum_first else [[tier] for tier in tiers]:
        for admitted in [_admit(tier, book, shares) for tier in turn]:
            _fill(admitted, book, shares)
    return shares


def _tiers(problem: Problem) -> list[list[int]]:
    """The demands by number, in the order in which they are served, cut where a new tier begins."""
    demands = problem.demands
    in_turn = sorted(range(len(demands)), key=lambda i: (demands[i].rank, demands[i].id))
    match problem.strategy:
        case Strategy.EQUAL:
            tiers = [in_turn]
        case Strategy.FIRST_COME:
            tiers = [[i] for i in sorted(in_turn, key=lambda i: demands[i].since)]
        case Strategy.PRIORITY:
            highest_first = sorted(in_turn, key=lambda i: -demands[i].priority)
            tiers = [list(tier) for _, tier in groupby(highest_first, key=lambda i: demands[i].priority)]
        case _:
            assert_never(problem.strategy)
    return tiers


def _admit(tier: list[int], book: _Book, shares: _Shares) -> list[int]:
    """Reserve the minimum of each demand that it fits for; the others learn what blocked them."""
    field, room, owed = book.field, book.room, book.owed
    admitted = []
    for i in tier:
        least, route = field.problem.demands[i].min_ma, field.routes[field.route_of[i]]
        for constraint in route:
            if room[constraint] - owed[constraint] < least:
                shares.blocked_at[i] = constraint
                break
        else:
            for constraint in route:
                room[constraint] -= least
            admitted.append(i)
    shares.admitted.extend(admitted)
    return admitted


def _fill(tier: list[int], book: _Book, shares: _Shares) -> None:
    """Raise the level until every demand of the tier is stopped by its maximum or by a full constraint."""
    demands, route_of = book.field.problem.demands, book.field.route_of
    scale = lcm(*{demands[i].weight for i in tier})
    turns: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for i in tier:
        demand, route = demands[i], route_of[i]
        unit = scale // demand.weight
        turns[demand.min_ma * unit][route] += demand.weight
        turns[demand.max_ma * unit][route] -= demand.weight
    filling = _Filling(book, scale)
    for level in sorted(turns):
        filling.rise_to(level)
        filling.turn(level, turns[level])
    for i in tier:
        shares.level[i] = filling.stopped.get(route_of[i])


@attrs.define
class _Filling:
    """One rise of the level, counted in 1/`scale` mA per weight.

    `growing` is the weight that grows, per route, and `load` the same per constraint. A constraint is `due` at a
    level that is never higher than the one at which it will be full.
    """

    book: _Book
    scale: int
    growing: dict[int, int] = attrs.field(init=False, factory=dict)
    stopped: dict[int, tuple[int, int]] = attrs.field(init=False, factory=dict)
    load: defaultdict[int, int] = attrs.field(init=False, factory=lambda: defaultdict(int))
    users: defaultdict[int, list[int]] = attrs.field(init=False, factory=lambda: defaultdict(list))
    due: dict[int, _Due] = attrs.field(init=False, factory=dict)
    queue: list[_Due] = attrs.field(init=False, factory=list)

    def turn(self, level: int, changes: dict[int, int]) -> None:
        """At this level so much weight on each route begins to grow, or (below 0) has reached its maximum."""
        routes, growing = self.book.field.routes, self.growing
        turned: defaultdict[int, int] = defaultdict(int)
        for route, change in changes.items():
            if route in self.stopped:
                continue
            if route not in growing:
                growing[route] = 0
                for constraint in routes[route]:
                    self.users[constraint].append(route)
            growing[route] += change
            for constraint in routes[route]:
                turned[constraint] += change
        for constraint, change in turned.items():
            self.load[constraint] += change
            self.book.room[constraint] += change * level // self.scale
            if change > 0:
                self._expect(self._full(constraint))

    def rise_to(self, level: int) -> None:
        """Stop, in the order of their levels, all routes that meet a full constraint below this level."""
        while self.queue and self.queue[0][0] < level:
            entry = heappop(self.queue)
            constraint = entry[2]
            if self.due[constraint] is not entry or not self.load[constraint]:
                continue
            actual = self._full(constraint)
            if actual == entry:
                self._stop(constraint, actual[1])
            else:
                self._expect(actual)

    def _expect(self, entry: _Due) -> None:
        self.due[entry[2]] = entry
        heappush(self.queue, entry)

    def _full(self, constraint: int) -> _Due:
        """When the constraint is full if all that grows now grows on."""
        room, owed = self.book.room[constraint], self.book.owed[constraint]
        over = self.load[constraint] * owed.denominator
        left = (room * owed.denominator - owed.numerator) * self.scale
        floor, rest = divmod(left, over)
        return floor, Fraction(left, over) if rest else floor, constraint

    def _stop(self, constraint: int, level: int | Fraction) -> None:
        """The constraint is full: the routes through it keep what they have."""
        mark = level.numerator, level.denominator * self.scale
        freed: defaultdict[int, int] = defaultdict(int)
        for route in self.users.pop(constraint):
            if route not in self.stopped:
                self.stopped[route] = mark
                for passed in self.book.field.routes[route]:
                    freed[passed] += self.growing[route]
        numerator, denominator = mark
        for passed, weight in freed.items():
            self.load[passed] -= weight
            kept, rest = divmod(weight * numerator, denominator)
            self.book.room[passed] -= kept
            if rest:
                self.book.owed[passed] += Fraction(rest, denominator)


# Steps


def _floor_to_steps(demands: tuple[Demand, ...], shares: _Shares) -> list[int]:
    """Each share cut to a whole number of steps, but not below the minimum it was admitted with."""
    granted = [0] * len(demands)
    for i in shares.admitted:
        demand, level = demands[i], shares.level[i]
        share = demand.max_ma
        if level is not None:
            share = min(share, demand.weight * level[0] // level[1])
        granted[i] = max(share - share % demand.step_ma, demand.min_ma)
    return granted


def _hand_out_steps(field: _Field, admitted: list[int], granted: list[int]) -> list[int | None]:
    """Raise `granted` by whole steps, one each, round and round, while they fit.

    Return, per demand, the constraint that its next step exceeds; None where that is its own maximum.
    """
    demands, routes, route_of = field.problem.demands, field.routes, field.route_of
    stopped_at: list[int | None] = [None] * len(granted)
    room = field.limits.copy()
    for i in admitted:
        for constraint in routes[route_of[i]]:
            room[constraint] -= granted[i]
    takers, burst = admitted, 1
    while takers:
        still = []
        for i in takers:
            demand, route = demands[i], routes[route_of[i]]
            rise = burst * demand.step_ma - granted[i] % demand.step_ma
            if granted[i] + rise > demand.max_ma:
                continue
            for constraint in route:
                if room[constraint] < rise:
                    stopped_at[i] = constraint
                    break
            else:
                for constraint in route:
                    room[constraint] -= rise
                granted[i] += rise
                still.append(i)
        takers, burst = still, max(1, _whole_rounds(field, still, granted, room))
    return stopped_at


def _whole_rounds(field: _Field, takers: list[int], granted: list[int], room: list[int]) -> int:
    """How many rounds leave nobody out, so that they can be handed out as one."""
    pace: defaultdict[int, int] = defaultdict(int)
    rounds = []
    for i in takers:
        demand = field.problem.demands[i]
        rounds.append((demand.max_ma - granted[i]) // demand.step_ma)
        for constraint in field.routes[field.route_of[i]]:
            pace[constraint] += demand.step_ma
    rounds += [room[constraint] // step_ma for constraint, step_ma in pace.items()]
    return min(rounds, default=0)
