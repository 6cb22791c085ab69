"""Cars that are in no hurry leave current to others, and nobody gets less for it.

Theory of operation
-------------------
First everything is shared as if nobody had said anything. Then a car that needs less than its share, so as to have
its energy before it leaves, steps back to what it needs. What that frees goes out in rounds, and in each round nobody
falls below what the last one gave:

1. to cars that gave a wish and are late: up to what they need;
2. to those who gave none;
3. to those who were to wait, in their turn;
4. back to those who stepped back.

Lowering one car can, through a second phase, lower another in a max-min share; the rounds cannot, since every grant of
a round is a minimum of the next. So whoever gave no wish gets at least what it would get if nobody had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from llm_core.budget import sum_per_node
from llm_core.effects import AuditEntry, Effect, NotSaved, Reply, Save, Saved
from llm_core.external import instants
from llm_core.problem import Demand, Fault, Grant, LimitNode
from llm_core.quantities import Now, PerPhase
from llm_core.sessions import Session
from llm_core.site import on_phases
from llm_core.state import Key, State
from llm_core.wish import Need, WishPut, need_of, wish_faults

Tree = tuple[LimitNode, ...]
Demands = Mapping[Key, Demand]
Grants = dict[Key, Grant]


def wished(state: State, event: WishPut, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """The wish counts from the next tick on; or every fault, and no change at all."""
    key = next((key for key, c in state.connectors.items() if _is(c.session, event.transaction_id)), None)
    between = instants(now, state.latest_utc, state.clock_doubt)
    faults = () if event.wish is None else tuple(wish_faults(event.wish, between))
    if key is None:
        faults = (Fault("", "there is no such session, or it has ended"),)
    if key is None or faults:
        return state, (Reply(event.request, NotSaved(faults)),)
    connector = state.connectors[key]
    audit = AuditEntry(now.utc, event.by, "wish", repr(connector.wish), repr(event.wish))
    connector = attrs.evolve(connector, wish=event.wish)
    state = attrs.evolve(state, connectors={**state.connectors, key: connector})
    return state, (Save(audit), Reply(event.request, Saved()))


def _is(session: Session | None, transaction_id: int) -> bool:
    return session is not None and session.transaction_id == transaction_id


def needs(state: State, now: Now) -> dict[Key, Need]:
    """What the wishes of all sessions come to now."""
    between = instants(now, state.latest_utc, state.clock_doubt)
    return {
        key: need_of(connector.wish, connector.session, connector.phases, between)
        for key, connector in state.connectors.items()
        if connector.wish is not None and connector.session is not None
    }


def yielded(
    blind: Grants,
    demands: Demands,
    rates_ma: Mapping[Key, int],
    tree: Tree,
    allocate: Callable[[Tree, Demands], Grants],
) -> Grants:
    """The grants once cars that are in no hurry have stepped back; `blind` is as if nobody had said anything.

    `allocate` shares what the nodes of a tree have among demands, all minimums before any surplus.
    """
    slack = _stepping_back(blind, demands, rates_ma)
    if not slack:
        return blind
    given = {key: attrs.evolve(grant, limit_ma=slack.get(key, grant.limit_ma)) for key, grant in blind.items()}
    late = {key: _in_steps(rates_ma[key], demands[key]) for key in rates_ma if key in demands and key not in slack}
    others = {key: demand.max_ma for key, demand in demands.items() if key not in rates_ma}
    for most_ma in (late, others):
        given |= allocate(tree, _raised(given, demands, most_ma))
    waiting = {key: demand for key, demand in demands.items() if given[key].limit_ma == 0}
    if waiting:
        given |= allocate(_left(tree, given, demands), waiting)
    return given | allocate(tree, _raised(given, demands, {key: demand.max_ma for key, demand in demands.items()}))


def _stepping_back(blind: Grants, demands: Demands, rates_ma: Mapping[Key, int]) -> dict[Key, int]:
    """Who needs less than it would get, and how much that is: whole steps, and enough to charge with."""
    slack = {}
    for key, rate_ma in rates_ma.items():
        if key in demands:
            least_ma = max(_in_steps(rate_ma, demands[key]), demands[key].min_ma)
            if least_ma < blind[key].limit_ma:
                slack[key] = least_ma
    return slack


def _in_steps(rate_ma: int, demand: Demand) -> int:
    """The next whole step from what is needed, at most the maximum."""
    return min(-(-rate_ma // demand.step_ma) * demand.step_ma, demand.max_ma)


def _raised(given: Grants, demands: Demands, most_ma: Mapping[Key, int]) -> dict[Key, Demand]:
    """Everybody who has something keeps it; who is named may rise to that."""
    return {
        key: attrs.evolve(demand, min_ma=has_ma, max_ma=max(has_ma, most_ma.get(key, 0)))
        for key, demand in demands.items()
        if (has_ma := given[key].limit_ma) > 0
    }


def _left(tree: Tree, given: Grants, demands: Demands) -> Tree:
    taken = sum_per_node(tree, ((d.node, on_phases(given[key].limit_ma, d.phases)) for key, d in demands.items()))
    return tuple(LimitNode(node.id, node.parent, node.limit_ma - PerPhase(*taken[node.id])) for node in tree)
