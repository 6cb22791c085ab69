"""Why every connector has the limit it has: the grant, what binds it, and the numbers behind that, at one look."""

from __future__ import annotations

from llm_adapters.web.api.exact import Json, amps_of, amps_per_phase
from llm_adapters.web.api.views import binding_json, node_json, stamp
from llm_core import Binding, ConnectorState, Key, Ledger, LimitChange, Mode, NodeView, Phase, State, decays


def decisions_json(state: State, now_ms: int) -> dict[str, Json]:
    """Every connector and every node as decided on the last tick, and the last changes of limits, newest first."""
    return {
        "mode": state.site.supply.mode,
        "age_s": (now_ms - state.ticked_ms) / 1000 if state.ticked_ms is not None else None,
        "nodes": [_node(node, state) for node in state.nodes.values()],
        "connectors": [_decision(key, connector, state, now_ms) for key, connector in sorted(state.connectors.items())],
        "changes": [_change(change) for change in reversed(state.changes)],
    }


def _node(node: NodeView, state: State) -> Json:
    """`building_a`: the least and the most that other consumers may draw; None where nobody can tell."""
    phases = state.site.supply.site_phases
    return {
        **node_json(node, state),
        "worst_a": amps_per_phase(node.worst_ma, phases),
        "room_a": amps_per_phase(node.room_ma, phases),
        "free_a": amps_per_phase(node.free_ma, phases),
        "building_a": {phase: _building(node, state, phase) for phase in phases},
        "external_limits": [
            known.record.limit.id
            for known in state.limits.values()
            if known.holds and known.record.limit.node == node.node
        ],
    }


def _building(node: NodeView, state: State, phase: Phase) -> Json:
    meter = state.meters.get(node.node)
    known = meter.phases.get(phase) if meter is not None else None
    if known is None or known.lost or known.current_ma is None or state.site.supply.mode is Mode.STATIC:
        return None
    low_ma = None if phase in node.external else node.limit_ma[phase] - node.room_ma[phase]
    return {"low": amps_of(low_ma) if low_ma is not None else None, "high": amps_of(known.high_ma)}


def _decision(key: Key, connector: ConnectorState, state: State, now_ms: int) -> Json:
    phases = state.site.supply.site_phases
    grant, ledger = connector.grant, connector.ledger
    reading = connector.readings[-1] if connector.readings else None
    cap_ma, used, wish = connector.cap_ma, connector.phases, connector.wish
    changed_ms = connector.changed_ms
    return {
        "station_id": key[0],
        "connector": key[1],
        "status": connector.status,
        "grant_a": amps_of(grant.limit_ma) if grant is not None else None,
        "reason": grant.reason if grant is not None else None,
        "limited_by": binding_json(grant.limited_by) if grant is not None else None,
        "binding": _numbers(grant.limited_by, state) if grant is not None else None,
        "since_s": (now_ms - changed_ms) / 1000 if changed_ms is not None else None,
        "offered_a": amps_of(connector.offered_ma),
        "held_a": amps_of(ledger.held_ma(now_ms, key[0] in state.stations and decays(state, key[0]))),
        "lease": _lease(ledger, now_ms),
        "left_alone_a": amps_of(ledger.left_alone_ma()),
        "ceiling_a": amps_of(connector.ceiling_ma),
        "in_flight": ledger.in_flight,
        "refusals": ledger.refusals,
        "car_can_use_a": amps_of(cap_ma) if cap_ma is not None else None,
        "caps_a": {str(source): amps_of(ma) for source, ma in connector.caps_ma.items()},
        "wish": {"departs_at": stamp(wish.departs_at), "energy_wh": wish.energy_wh} if wish is not None else None,
        "phases": [str(phase) for phase in used] if used is not None else None,
        "current_a": amps_per_phase(reading.current_ma, phases) if reading is not None else None,
        "reading_age_s": (now_ms - reading.at_ms) / 1000 if reading is not None else None,
        "rank": connector.rank,
    }


def _numbers(binding: Binding | None, state: State) -> Json:
    """The place that binds a grant in figures: its limit, what charging may take of it, and what counts there."""
    node = state.nodes.get(binding.node) if binding is not None else None
    if binding is None or node is None:  # nothing binds it, or a limit on the unbalance does
        return None
    phase = binding.phase
    return {
        "node": node.node,
        "phase": phase,
        "limit_a": amps_of(node.limit_ma[phase]),
        "room_a": amps_of(node.room_ma[phase]),
        "allowed_a": amps_of(state.allowances[node.node, phase].limit_ma),
        "worst_a": amps_of(node.worst_ma[phase]),
        "free_a": amps_of(node.free_ma[phase]),
        "building_a": _building(node, state, phase),
        "external": phase in node.external,
    }


def _lease(ledger: Ledger, now_ms: int) -> Json:
    """What was acknowledged for the transaction, how long it holds without us, and what follows."""
    held = ledger.transaction.acknowledged or ledger.default.acknowledged
    if held is None or held.limit_ma is None:
        return None
    left_ms = held.sent_ms + held.lease_ms - now_ms if held.lease_ms is not None else None
    return {
        "limit_a": amps_of(held.limit_ma),
        "then_a": amps_of(held.then_ma),
        "left_s": left_ms / 1000 if left_ms is not None else None,
    }


def _change(change: LimitChange) -> Json:
    return {
        "at": stamp(change.at),
        "station_id": change.station_id,
        "connector": change.connector,
        "from_a": amps_of(change.before_ma),
        "to_a": amps_of(change.limit_ma),
        "reason": change.reason,
        "limited_by": binding_json(change.limited_by),
    }
