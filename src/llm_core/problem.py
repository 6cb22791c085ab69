"""The words in which an allocation is asked and answered, and what makes a question impossible to answer."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import attrs

from llm_core.quantities import PHASES, PerPhase, Phase

L1, L2, L3 = PHASES


class Strategy(StrEnum):
    """Who is served before whom."""

    EQUAL = "equal"
    FIRST_COME = "first_come"
    PRIORITY = "priority"


class GrantReason(StrEnum):
    """What stopped a grant; `allocate` gives the first four, live operation the others as well."""

    OWN_MAXIMUM = "own_maximum"
    SHARED_LIMIT = "shared_limit"
    WAITING = "waiting"
    UNBALANCE = "unbalance"
    VEHICLE = "vehicle"
    HOLDING = "holding"
    EXTERNAL_LIMIT = "external_limit"
    CPO_LIMIT = "cpo_limit"
    METER_LOST = "meter_lost"
    STATION_LOST = "station_lost"
    DISOBEYS = "disobeys"
    NOT_AUTHORISED = "not_authorised"


@attrs.frozen
class Binding:
    """The full place that stopped a grant: a phase of a node, or of the group with this id."""

    node: str
    phase: Phase


@attrs.frozen
class Grant:
    """What a demand gets on each of its phases: 0, or at least its minimum; and why it is not more."""

    id: str
    limit_ma: int
    reason: GrantReason
    limited_by: Binding | None = None


@attrs.frozen
class LimitNode:
    """A place in the tree whose phases carry at most `limit_ma`; below 0 the base load alone is too much."""

    id: str
    parent: str | None
    limit_ma: PerPhase


@attrs.frozen(slots=False)  # made for each car at each tick: so it is made faster
class Demand:
    """What one connector can use: nothing, or `min_ma` to `max_ma` on each of its (site) phases.

    Grants are whole multiples of `step_ma`, except a minimum that is none. `weight` counts against the other weights
    of the tier; a higher `priority` is served first; a lower `rank`, and with `first_come` an earlier `since`, too.
    """

    id: str
    node: str
    phases: tuple[Phase, ...]
    min_ma: int
    max_ma: int
    step_ma: int = 100
    weight: int = 1
    priority: int = 0
    rank: int = 0
    since: int = 0

    def at_most(self, max_ma: int) -> Demand:
        """The same demand, satisfied with `max_ma`. (A tick asks this for every car: a plain copy is the fast way.)"""
        return Demand(
            self.id,
            self.node,
            self.phases,
            self.min_ma,
            max_ma,
            self.step_ma,
            self.weight,
            self.priority,
            self.rank,
            self.since,
        )


def _each_phase(limit_ma: int | PerPhase) -> PerPhase:
    return PerPhase.same(limit_ma) if isinstance(limit_ma, int) else limit_ma


@attrs.frozen
class Group:
    """A limit across the tree: per phase, what the members that use it may draw together; one figure is for each."""

    id: str
    members: frozenset[str]
    limit_ma: PerPhase = attrs.field(converter=_each_phase)


@attrs.frozen
class Problem:
    """A tree of limits, the demands under it, and the rules for sharing."""

    nodes: tuple[LimitNode, ...]
    demands: tuple[Demand, ...]
    strategy: Strategy = Strategy.EQUAL
    minimum_first: bool = True
    groups: tuple[Group, ...] = ()


@attrs.frozen
class Fault:
    """One thing wrong with a problem: where (a JSON pointer into it) and what, in a plain sentence."""

    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.text}"


class ProblemError(ValueError):
    """The problem has no answer because it makes no sense; `faults` says everything that is wrong with it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def faults_of(problem: Problem) -> tuple[Fault, ...]:
    """Everything that keeps this problem from having an answer; empty when it has one."""
    return (*_node_faults(problem.nodes), *_demand_faults(problem), *_group_faults(problem))


def _node_faults(nodes: tuple[LimitNode, ...]) -> Iterator[Fault]:
    yield from _duplicates("nodes", [node.id for node in nodes])
    parents = {node.id: node.parent for node in nodes}
    roots = [i for i, node in enumerate(nodes) if node.parent is None]
    for i in roots[1:]:
        yield Fault(f"/nodes/{i}/parent", f"{nodes[i].id!r} is a second root; a tree has one")
    sound: set[str | None] = {None}
    for i, node in enumerate(nodes):
        trail: set[str] = set()
        above: str | None = node.id
        while above not in sound and above in parents and above not in trail:
            trail.add(above)
            above = parents[above]
        if above in trail:
            yield Fault(f"/nodes/{i}/parent", f"{node.id!r} leads into a circle through {above!r}")
        else:
            sound |= trail
        if node.parent is not None and node.parent not in parents:
            yield Fault(f"/nodes/{i}/parent", f"there is no node {node.parent!r}")


def _demand_faults(problem: Problem) -> Iterator[Fault]:
    yield from _duplicates("demands", [demand.id for demand in problem.demands])
    nodes = {node.id for node in problem.nodes}
    for i, demand in enumerate(problem.demands):
        if demand.node not in nodes:
            yield Fault(f"/demands/{i}/node", f"there is no node {demand.node!r}")
        used = demand.phases
        if not 0 < len(used) == (L1 in used) + (L2 in used) + (L3 in used):
            yield Fault(f"/demands/{i}/phases", f"{demand.id!r} needs one to three different phases")
        if demand.min_ma < 0:
            yield Fault(f"/demands/{i}/min_ma", f"the minimum of {demand.id!r} is below 0")
        if demand.max_ma < demand.min_ma:
            yield Fault(f"/demands/{i}/max_ma", f"the maximum of {demand.id!r} is below its minimum")
        if demand.step_ma < 1:
            yield Fault(f"/demands/{i}/step_ma", f"the step of {demand.id!r} is not above 0")
        if demand.weight < 1:
            yield Fault(f"/demands/{i}/weight", f"the weight of {demand.id!r} is not above 0")


def _group_faults(problem: Problem) -> Iterator[Fault]:
    yield from _duplicates("groups", [group.id for group in problem.groups])
    known = {demand.id for demand in problem.demands} if problem.groups else set()
    for i, group in enumerate(problem.groups):
        for stranger in sorted(group.members - known):
            yield Fault(f"/groups/{i}/members", f"there is no demand {stranger!r}")


def _duplicates(kind: str, ids: list[str]) -> Iterator[Fault]:
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for i, name in enumerate(ids):
        if name in seen:
            yield Fault(f"/{kind}/{i}/id", f"the id {name!r} is used twice")
        seen.add(name)
