"""Who is to get how much: budget and demands through the allocation to one target per connector, with its reason.

The plan is a wish: whether and when a target may be sent is `dispatch`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TypeGuard

import attrs

from llm_core.allocation import allocate
from llm_core.budget import Room, Seen, allowed, sum_per_node
from llm_core.demand import LAST_RANK, allowed_ma, demand_id, demand_of, is_finished, least_of, wants
from llm_core.external import CapSource, narrowest
from llm_core.problem import Binding, Demand, Grant, GrantReason, Group, LimitNode, Problem, Strategy
from llm_core.quantities import PHASES, ZERO, PerPhase, Phase
from llm_core.site import SITE, Mode, Site, on_phases
from llm_core.state import Allowance, Key, State
from llm_core.steadiness import (
    RESTART_MA,
    SMALL_MA,
    Pressure,
    Pressures,
    bound_of,
    cut_few,
    pressure_on,
    pressures,
    small_excesses,
)
from llm_core.wish import Need
from llm_core.yielding import yielded

LATE_MS = 2_000  # a decrease that is not acknowledged so long is taken from others…
PAUSE_AFTER_MS = 10_000  # …who are paused for it only after this
MOST_RANK = LAST_RANK + 1
UNBALANCE = "unbalance"
NO_NEEDS: Mapping[Key, Need] = {}
CAPPED_BY = {
    CapSource.CPO: GrantReason.CPO_LIMIT,
    CapSource.DRIVER: GrantReason.EXTERNAL_LIMIT,
    CapSource.TEST: GrantReason.HOLDING,  # it rises again when the test is over
}
KEPT_REASONS = (GrantReason.SHARED_LIMIT, GrantReason.EXTERNAL_LIMIT, GrantReason.HOLDING)

Tree = tuple[LimitNode, ...]
Chains = Mapping[str, tuple[str, ...]]
Given = Sequence[tuple[Demand, PerPhase]]


@attrs.frozen
class Plan:
    """A grant for every connector that wants one, and how much charging may take at each node."""

    grants: Mapping[Key, Grant]
    allowances: Mapping[tuple[str, Phase], Allowance]


def plan(
    state: State, seen: tuple[Seen, ...], rooms: Mapping[str, Room], now_ms: int, needs: Mapping[Key, Need] = NO_NEEDS
) -> Plan:
    """The targets of this tick: exact max-min shares of what is left, finished cars last; `needs` is what wishes come
    to."""
    tree = state.site.limit_tree()
    wanting = [entry for entry in seen if entry.online and wants(entry.connector, now_ms)]
    if state.factory:
        refusal = {entry.key: _none(entry, GrantReason.NOT_AUTHORISED) for entry in wanting}
        return Plan(refusal, state.allowances)
    shared = [entry for entry in wanting if not is_apart(entry, now_ms) and not _is_denied(state, entry)]
    behind = _left_behind(tree, seen, now_ms)
    taken = _plus(_reserved(tree, seen, shared), behind, -1)
    told = _with_told(tree, taken, shared)
    pressure = pressures(tree, rooms, told)
    allowances = _allowances(state, tree, rooms, _plus(told, behind), now_ms)
    limits = _limits(state, tree, allowances, taken, seen, shared, now_ms)
    over = small_excesses(tree, rooms, told)
    done = {entry.key for place, entry in enumerate(seen) if _is_done(entry, needs, place, now_ms)}
    unbalance = _Unbalance.of(state.site, seen, shared)
    grants = _share(state, tree, limits, pressure, over, shared, needs, done, unbalance)
    apart = [entry for entry in wanting if entry.key not in grants]
    if apart:
        over_ma = _overdrawn(tree, allowances, taken, shared, grants)
        grants |= {entry.key: _apart(state, entry, over_ma, tree) for entry in apart}
    explained = {entry.key: _explained(state, rooms, allowances, entry, grants[entry.key]) for entry in wanting}
    return Plan(explained, allowances)


def is_apart(entry: Seen, now_ms: int) -> bool:
    """Whether a connector takes no part in sharing: it disobeys, or its decrease is overdue."""
    connector = entry.connector
    late = connector.lowering_ms is not None and now_ms - connector.lowering_ms > LATE_MS
    return connector.disobeys_ms is not None or late


def _is_denied(state: State, entry: Seen) -> bool:
    """Whether others let the connector have less than any car charges with."""
    caps_ma = entry.connector.caps_ma
    return bool(caps_ma) and allowed_ma(entry.connector) < _least(state, entry)


def _none(entry: Seen, reason: GrantReason) -> Grant:
    return Grant(demand_id(entry.key), 0, reason, None)


def _reserved(tree: Tree, seen: tuple[Seen, ...], shared: list[Seen]) -> dict[str, list[int]]:
    """What is gone before anyone shares: the worst case of all others, and what sharers draw above their limits. What
    one drew before its last change, or before it was lost, is not seen now: raises wait for it, shares do not."""
    keys = {entry.key for entry in shared}
    loads = ((e.station.node, e.connector.over_ma if e.key in keys else e.worst_ma) for e in seen)
    return sum_per_node(tree, (load for load in loads if load[1] is not ZERO))


def _left_behind(tree: Tree, seen: tuple[Seen, ...], now_ms: int) -> dict[str, list[int]]:
    """What cars have left behind and is being taken back. It was charging's and stays so: raises wait until it is gone,
    shares do not, so that nobody is paused for a car that leaves."""
    empty = [entry for entry in seen if entry.connector.session is None]
    loads = [(e.station.node, ma) for e in empty if (ma := _behind_ma(e, now_ms)) is not ZERO]
    return sum_per_node(tree, loads) if loads else {}


def _behind_ma(entry: Seen, now_ms: int) -> PerPhase:
    connector, ledger = entry.connector, entry.connector.ledger
    floor = ledger.floor.acknowledged
    if wants(connector, now_ms) or not entry.online or any(entry.lo_ma):
        return ZERO
    if ledger.inherited is not None or floor is None:
        return ZERO
    floor_ma = max(floor.limit_ma or 0, entry.station.start_alone_ma)
    if entry.held_ma <= floor_ma:
        return ZERO
    stays = ledger.live() if connector.lowering_ms is None else now_ms - connector.lowering_ms > LATE_MS
    return ZERO if stays else entry.worst_ma - on_phases(floor_ma, entry.station.phase_rotation)


def _plus(sums: Mapping[str, list[int]], more: Mapping[str, list[int]], sign: int = 1) -> dict[str, list[int]]:
    if not more:
        return dict(sums)
    return {node_id: [a + sign * b for a, b in zip(own, more[node_id], strict=True)] for node_id, own in sums.items()}


def _with_told(tree: Tree, taken: Mapping[str, list[int]], shared: list[Seen]) -> dict[str, list[int]]:
    """What charging takes already: what is reserved, and what the sharers were told last."""
    told = sum_per_node(tree, ((e.station.node, on_phases(e.connector.offered_ma, e.phases)) for e in shared))
    return _plus(told, taken)


def _allowances(
    state: State, tree: Tree, rooms: Mapping[str, Room], told: Mapping[str, list[int]], now_ms: int
) -> dict[tuple[str, Phase], Allowance]:
    """Per node, what charging may take: what it takes already stays as long as it may be kept, more must be free."""
    metered = {setup.node for setup in state.site.read_meters if state.site.supply.mode is Mode.DYNAMIC}
    result: dict[tuple[str, Phase], Allowance] = {}
    for node in tree:
        room = rooms[node.id]
        wanted = room.keep_ma.smaller(room.raise_ma.larger(PerPhase(*told[node.id])))
        result |= allowed(state.allowances, node.id, wanted, now_ms, metered=node.id in metered)
    return result


def _limits(
    state: State,
    tree: Tree,
    allowances: Mapping[tuple[str, Phase], Allowance],
    taken: Mapping[str, list[int]],
    seen: tuple[Seen, ...],
    shared: list[Seen],
    now_ms: int,
) -> Tree:
    """The limits that sharing sees. What a late decrease still takes pauses nobody who charges while it is young."""
    overdue = [(e.station.node, _overdue_ma(e, now_ms)) for e in seen if e.connector.lowering_ms is not None]
    young = sum_per_node(tree, overdue)
    charging = (e for e in shared if overdue and e.connector.offered_ma > 0)  # else nothing is young
    minimums = sum_per_node(tree, ((e.station.node, on_phases(_least(state, e), e.phases)) for e in charging))
    nodes = []
    for node in tree:
        left = []
        for index, phase in enumerate(PHASES):
            hard_ma = allowances[node.id, phase].limit_ma - taken[node.id][index]
            least_ma = minimums[node.id][index]
            left.append(max(hard_ma, min(hard_ma + young[node.id][index], least_ma)))
        nodes.append(LimitNode(node.id, node.parent, PerPhase(*left)))
    return tuple(nodes)


def _least(state: State, entry: Seen) -> int:
    return least_of(entry.station, state.stations[entry.key[0]].capabilities.step_ma, entry.spread)


def _overdue_ma(entry: Seen, now_ms: int) -> PerPhase:
    """What a connector may still take above its target because its decrease is late, but not yet very late."""
    lowering_ms = entry.connector.lowering_ms
    if lowering_ms is None or not LATE_MS < now_ms - lowering_ms <= PAUSE_AFTER_MS:
        return ZERO
    return (entry.worst_ma - on_phases(entry.connector.offered_ma, entry.phases)).larger(ZERO)


@attrs.frozen
class _Asking:
    """Who asks for what in this tick, in three turns: each is served from what the one before leaves."""

    first: dict[Key, Demand] = attrs.field(factory=dict)
    again: dict[Key, Demand] = attrs.field(factory=dict)  # paused in this rotation window
    finished: dict[Key, Demand] = attrs.field(factory=dict)
    waiting: dict[Key, Grant] = attrs.field(factory=dict)  # they cannot start now
    uncut: set[Key] = attrs.field(factory=set)


def _asking(state: State, chains: Chains, pressure: Pressures, shared: list[Seen], done: set[Key]) -> _Asking:
    """The demands of this tick. Under pressure nobody asks for more than it was told.

    Who was paused in this rotation window starts again only from what all others leave, and with some margin: so
    nobody is stopped for it, and it is not stopped twice. Then, while it charges, others give way first.
    """
    asking = _Asking()
    pressed_at: dict[tuple[str, tuple[Phase, ...]], Pressure] = {}
    for entry in shared:
        connector, step_ma = entry.connector, state.stations[entry.key[0]].capabilities.step_ma
        place = (entry.station.node, entry.phases)
        if place not in pressed_at:
            pressed_at[place] = pressure_on(entry.phases, chains[entry.station.node], pressure)
        if pressed_at[place] is not Pressure.CUT:
            asking.uncut.add(entry.key)
        least_ma = least_of(entry.station, step_ma, entry.spread)
        bound_ma = bound_of(pressed_at[place], connector.offered_ma, least_ma)
        if bound_ma is None:
            asking.waiting[entry.key] = _as_before(entry)
            continue
        demand = demand_of(entry.key, connector, entry.station, step_ma, entry.spread, bound_ma)
        turn = asking.first
        if connector.paused_window == state.window:
            demand = _once_paused(demand, charging=connector.offered_ma > 0)
            turn = asking.first if connector.offered_ma > 0 else asking.again
        if entry.key in done:
            asking.finished[entry.key] = demand.at_most(demand.min_ma)
        else:
            turn[entry.key] = demand
    if asking.again and state.site.sharing.strategy is Strategy.PRIORITY:
        _let_pass(asking)
    return asking


def _let_pass(asking: _Asking) -> None:
    """Whose priority is above another's does not wait for that one."""
    lowest = min((demand.priority for demand in asking.first.values()), default=0)
    for key, demand in list(asking.again.items()):
        if demand.priority > lowest:
            asking.first[key] = asking.again.pop(key)


def _share(
    state: State,
    tree: Tree,
    limits: Tree,
    pressure: Pressures,
    over: Mapping[Binding, int],
    shared: list[Seen],
    needs: Mapping[Key, Need],
    done: set[Key],
    unbalance: _Unbalance | None,
) -> dict[Key, Grant]:
    """Cars that may charge on first, then those that were paused, then the minimum of those that have finished."""
    chains = _chains(tree)
    asking = _asking(state, chains, pressure, shared, done)
    demands, cut = cut_few(asking.first, over, chains) if over else (asking.first, {})
    grants = _allocated(state.site, limits, demands, unbalance)
    rates_ma = {key: need.rate_ma for key, need in needs.items() if need.rate_ma is not None}
    if rates_ma and unbalance is None:  # a limit on the unbalance is none that could be shared in rounds
        sharing = attrs.evolve(state.site.sharing, minimum_first=True)  # nobody's round stops another
        in_rounds = partial(_allocated, attrs.evolve(state.site, sharing=sharing), unbalance=None)
        grants = yielded(grants, demands, rates_ma, limits, in_rounds)
    grants |= _cut_for(grants, cut)
    served = demands
    for turn in (asking.again, asking.finished):
        if turn:
            given = [(demand, on_phases(grants[key].limit_ma, demand.phases)) for key, demand in served.items()]
            limits = _left(limits, given)
            unbalance = unbalance.left(given) if unbalance is not None else None
            grants |= _allocated(state.site, limits, turn, unbalance)
            served = turn
    return asking.waiting | _calm(shared, asking.uncut, demands, grants)


def _left(limits: Tree, given: Given) -> Tree:
    """What the nodes have beside what is given already."""
    sums = sum_per_node(limits, ((demand.node, ma) for demand, ma in given))
    return tuple(LimitNode(n.id, n.parent, n.limit_ma - PerPhase(*sums[n.id])) for n in limits)


def _is_done(entry: Seen, needs: Mapping[Key, Need], place: int, now_ms: int) -> bool:
    """Whether the car has what it wants: it was told so, or it takes nothing. Its turn to wake goes by its place among
    all connectors, so that who comes and goes moves nobody's turn."""
    if entry.connector.idle_since_ms is not None and is_finished(entry.connector, place, now_ms):
        return True
    return entry.key in needs and needs[entry.key].satisfied


def _cut_for(grants: Mapping[Key, Grant], cut: Mapping[Key, Binding]) -> dict[Key, Grant]:
    """The grants of those who were cut alone: stopped not by a maximum of their own, but by what was too full."""
    return {
        key: attrs.evolve(grants[key], reason=GrantReason.SHARED_LIMIT, limited_by=binding)
        for key, binding in cut.items()
        if grants[key].reason is GrantReason.OWN_MAXIMUM
    }


def _once_paused(demand: Demand, *, charging: bool) -> Demand:
    if charging:
        return attrs.evolve(demand, rank=demand.rank - MOST_RANK)
    return attrs.evolve(demand, min_ma=min(demand.min_ma + RESTART_MA, demand.max_ma))


def _as_before(entry: Seen) -> Grant:
    """A car that cannot start while nobody may get more: it waits for what it waited for."""
    before = entry.connector.grant
    limited_by = before.limited_by if before is not None else None
    return Grant(demand_id(entry.key), 0, GrantReason.WAITING, limited_by)


def _calm(
    shared: list[Seen], uncut: set[Key], demands: Mapping[Key, Demand], grants: dict[Key, Grant]
) -> dict[Key, Grant]:
    """The grants without what only makes others a little more equal; what was told stays its own reason."""
    told = {entry.key: entry.connector for entry in shared}
    starting = any(grant.limit_ma > 0 and told[key].offered_ma == 0 for key, grant in grants.items())
    for key, grant in grants.items():
        before = told[key].grant
        lowered_ma = told[key].offered_ma - grant.limit_ma
        small = 0 < lowered_ma < SMALL_MA and grant.reason is GrantReason.SHARED_LIMIT
        if small and key in uncut and not starting:
            grants[key] = grant = attrs.evolve(grant, limit_ma=told[key].offered_ma)
        held = key in demands and grant.reason is GrantReason.OWN_MAXIMUM and demands[key].max_ma == grant.limit_ma
        if held and lowered_ma == 0 and _was_shared(before):
            same = before.limit_ma == grant.limit_ma
            grants[key] = before if same else attrs.evolve(before, limit_ma=grant.limit_ma)
    return grants


def _was_shared(before: Grant | None) -> TypeGuard[Grant]:
    """Whether a node stopped the grant that was told last, by its own limit or by one from outside."""
    return before is not None and before.limited_by is not None and before.reason in KEPT_REASONS


def _chains(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Each node with all above it."""
    chains: dict[str, tuple[str, ...]] = {}
    for node in tree:  # parents first
        chains[node.id] = (node.id, *(chains[node.parent] if node.parent is not None else ()))
    return chains


@attrs.frozen
class _Unbalance:
    """Where the unbalance is limited: who may load fewer than three phases, as far as anyone has measured, and what
    they may draw together, beside those who take no part in sharing: lost, late or disobedient."""

    uneven: frozenset[str]
    limit_ma: PerPhase

    @classmethod
    def of(cls, site: Site, seen: tuple[Seen, ...], shared: list[Seen]) -> _Unbalance | None:
        if site.sharing.unbalance_ma is None or site.supply.phases < len(PHASES):
            return None
        uneven = frozenset(demand_id(entry.key) for entry in shared if _is_uneven(entry))
        limit_ma, sharing = PerPhase.same(site.sharing.unbalance_ma), {entry.key for entry in shared}
        for entry in seen:
            if entry.connector.session is not None and entry.key not in sharing and _is_uneven(entry):
                limit_ma -= entry.worst_ma
        return cls(uneven, limit_ma.larger(ZERO)) if uneven else None

    def left(self, given: Given) -> _Unbalance:
        limit_ma = self.limit_ma
        for demand, ma in given:
            if demand.id in self.uneven:
                limit_ma -= ma
        return _Unbalance(self.uneven, limit_ma)

    def among(self, demands: Iterable[Demand]) -> tuple[Group, ...]:
        members = self.uneven.intersection(demand.id for demand in demands)
        return (Group(UNBALANCE, members, self.limit_ma),) if members else ()


def _is_uneven(entry: Seen) -> bool:
    return len(entry.connector.phases or ()) < len(PHASES)


def _allocated(
    site: Site, nodes: Tree, demands: Mapping[Key, Demand], unbalance: _Unbalance | None
) -> dict[Key, Grant]:
    """`allocate` for these demands, with the unbalance limit as a group over the cars that may load phases unevenly."""
    groups = unbalance.among(demands.values()) if unbalance is not None else ()
    problem = Problem(nodes, tuple(demands.values()), site.sharing.strategy, site.sharing.minimum_first, groups)
    return dict(zip(demands, _answered(problem), strict=True))


@lru_cache(maxsize=8)
def _answered(problem: Problem) -> tuple[Grant, ...]:
    """`allocate`, worked out once for as long as the same is asked again: most ticks ask what the last one asked."""
    return allocate(problem)


def _overdrawn(
    tree: Tree,
    allowances: Mapping[tuple[str, Phase], Allowance],
    taken: Mapping[str, list[int]],
    shared: list[Seen],
    grants: Mapping[Key, Grant],
) -> dict[str, list[int]]:
    """Per node and phase, what is too much there even when all who share hold their grants."""
    given = sum_per_node(tree, ((e.station.node, on_phases(grants[e.key].limit_ma, e.phases)) for e in shared))
    return {
        node.id: [
            taken[node.id][i] + given[node.id][i] - allowances[node.id, phase].limit_ma
            for i, phase in enumerate(PHASES)
        ]
        for node in tree
    }


def _apart(state: State, entry: Seen, over_ma: Mapping[str, list[int]], tree: Tree) -> Grant:
    """One that disobeys is told its minimum if that fits beside what it draws, else 0. One whose decrease is late
    keeps its target, unless what others leave asks for a lower one still. One that others let have too little gets 0.
    """
    connector = entry.connector
    source = narrowest(connector.caps_ma)
    if source is not None and _is_denied(state, entry):
        return _none(entry, CAPPED_BY[source])
    step_ma = state.stations[entry.key[0]].capabilities.step_ma
    least_ma = _least(state, entry)
    chain = _chain(tree, entry.station.node)
    most_over_ma = max(over_ma[node][PHASES.index(phase)] for node in chain for phase in entry.phases)
    if connector.disobeys_ms is not None:
        unseen_ma = max(connector.took_ma - max(entry.worst_ma), 0)  # what it would take as well, once told anything
        told_ma = least_ma if most_over_ma + unseen_ma <= 0 else 0
        return Grant(demand_id(entry.key), told_ma, GrantReason.DISOBEYS, None)
    reason = connector.grant.reason if connector.grant is not None else GrantReason.WAITING
    fit_ma = max(entry.held_ma - max(most_over_ma, 0), 0) // step_ma * step_ma
    fit_ma = min(fit_ma, allowed_ma(connector) // step_ma * step_ma)
    told_ma = min(connector.offered_ma, fit_ma)  # told before its phases were forgotten, it may be too little by now
    return Grant(demand_id(entry.key), told_ma if told_ma >= least_ma else 0, reason, None)


def _chain(tree: Tree, start: str) -> set[str]:
    parents = {node.id: node.parent for node in tree}
    chain = set()
    node: str | None = start
    while node is not None:
        chain.add(node)
        node = parents[node]
    return chain


def _explained(
    state: State,
    rooms: Mapping[str, Room],
    allowances: Mapping[tuple[str, Phase], Allowance],
    entry: Seen,
    grant: Grant,
) -> Grant:
    """The reason in live operation: the car itself, the lost meter, or a rise that is still to come."""
    if grant.reason is GrantReason.OWN_MAXIMUM:
        reason = _own_reason(state, entry, grant)
        return grant if reason is grant.reason else attrs.evolve(grant, reason=reason)
    binding = grant.limited_by
    if binding is None or binding.node == UNBALANCE:
        return grant
    if binding.node not in rooms:  # removed since the grant whose reason this still is
        return attrs.evolve(grant, limited_by=None)
    if binding.node == SITE and _is_blind(state, binding.phase):
        return attrs.evolve(grant, reason=GrantReason.METER_LOST)
    if binding.phase in rooms[binding.node].external:
        return attrs.evolve(grant, reason=GrantReason.EXTERNAL_LIMIT)
    if grant.reason in (GrantReason.EXTERNAL_LIMIT, GrantReason.HOLDING):  # a reason of before, when it was one
        grant = attrs.evolve(grant, reason=GrantReason.SHARED_LIMIT)
    to_come = rooms[binding.node].raise_ma[binding.phase] < 0 or allowances[binding.node, binding.phase].is_rising
    if to_come and grant.limit_ma > 0:
        return attrs.evolve(grant, reason=GrantReason.HOLDING)
    return grant


def _is_blind(state: State, phase: Phase) -> bool:
    """Whether the safe limit of the site holds on this phase because nobody shows what the building draws."""
    if state.site.supply.mode is Mode.STATIC or state.site.assumed(SITE) is not None:
        return False
    meter = state.meters.get(SITE)
    known = meter.phases.get(phase) if meter is not None else None
    return known is None or known.lost or known.current_ma is None


def _own_reason(state: State, entry: Seen, grant: Grant) -> GrantReason:
    """Whose maximum it is: the car's, one that others set, the station's own, or for the moment what it was told."""
    connector = entry.connector
    source, most_ma = narrowest(connector.caps_ma), allowed_ma(connector)
    if connector.cap_ma is not None and connector.cap_ma <= most_ma:
        return GrantReason.VEHICLE
    step_ma = state.stations[entry.key[0]].capabilities.step_ma
    if source is not None and most_ma < entry.station.max_ma and most_ma - grant.limit_ma < step_ma:
        return CAPPED_BY[source]
    return GrantReason.OWN_MAXIMUM if entry.station.max_ma - grant.limit_ma < step_ma else GrantReason.HOLDING
