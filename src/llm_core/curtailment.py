"""How limits from outside come, hold and end, and what of that is kept as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

import attrs

from llm_core.effects import AuditEntry, Effect, NotSaved, Reply, Save, Saved
from llm_core.external import (
    NO_CAPS,
    AppliesTo,
    Between,
    ConnectorCapped,
    Ended,
    ExternalLimit,
    Lapse,
    LimitHeard,
    LimitPut,
    LimitRecord,
    LimitWithdrawn,
    NodeCap,
    instants,
    is_over,
    is_planned,
    limit_faults,
    may_hold,
    node_caps,
)
from llm_core.problem import Fault
from llm_core.quantities import Now, PerPhase
from llm_core.site import Site
from llm_core.state import LimitState, State

MOST_LIMITS = 200  # that have not ended: more is no operator but a flood
ENDED_KEPT = 100  # in sight; the store keeps more
GONE = (Fault("", "there is no such limit, or it has ended"),)

Result = tuple[State, tuple[Effect, ...]]


# Asked for


def limited(state: State, event: LimitPut | LimitHeard | LimitWithdrawn | ConnectorCapped, now: Now) -> Result:
    """What somebody outside asks for, done or refused."""
    match event:
        case LimitPut():
            return limit_put(state, event, now)
        case LimitHeard():
            return limit_heard(state, event, now)
        case LimitWithdrawn():
            return limit_withdrawn(state, event, now)
        case ConnectorCapped():
            return capped(state, event), ()
        case _:
            assert_never(event)


def limit_put(state: State, event: LimitPut, now: Now) -> Result:
    """The limit holds from the next tick on; or every fault, and no change at all.

    One that replaces another ends it: what became of the old one stays on record beside the new one.
    """
    before = state.limits.get(event.limit.id)
    faults = limit_faults(event.limit, state.site, instants(now, state.latest_utc, state.clock_doubt))
    if event.limit.id and (before is None or before.is_gone):
        faults = GONE
    elif before is None and sum(not known.is_gone for known in state.limits.values()) >= MOST_LIMITS:
        faults = (Fault("", f"there are {MOST_LIMITS} limits already"),)
    if faults:
        return state, (Reply(event.request, NotSaved(faults)),)
    limit = event.limit if before is not None else attrs.evolve(event.limit, id=str(state.next_limit))
    record = LimitRecord(limit, event.by, now.utc)
    audit = AuditEntry(now.utc, event.by, "limit", repr(before.record.limit) if before is not None else "", repr(limit))
    replaced = (Save(_ended(before.record, Ended.REPLACED, now)),) if before is not None else ()
    state = _with(state, limit.id, LimitState(record, now.monotonic_ms))
    state = attrs.evolve(state, next_limit=state.next_limit + (before is None))
    return state, (*replaced, Save(record), Save(audit), Reply(event.request, Saved(limit.id)))


def limit_heard(state: State, event: LimitHeard, now: Now) -> Result:
    """The sender lives: a limit that was lifted because nobody kept it alive holds again."""
    known = state.limits.get(event.limit_id)
    if known is None or known.is_gone:
        return state, (Reply(event.request, NotSaved(GONE)),)
    state = _with(state, event.limit_id, attrs.evolve(known, heard_ms=now.monotonic_ms))
    return state, (Reply(event.request, Saved(event.limit_id)),)


def limit_withdrawn(state: State, event: LimitWithdrawn, now: Now) -> Result:
    """The limit holds no longer; what became of it stays on record."""
    known = state.limits.get(event.limit_id)
    if known is None or known.is_gone:
        return state, (Reply(event.request, NotSaved(GONE)),)
    record = _ended(known.record, Ended.WITHDRAWN, now)
    audit = AuditEntry(now.utc, event.by, "limit", repr(record.limit), "")
    state = _with(state, event.limit_id, attrs.evolve(known, record=record, holds=False, silent=False))
    return state, (Save(record), Save(audit), Reply(event.request, Saved(event.limit_id)))


def capped(state: State, event: ConnectorCapped) -> State:
    """The connector asks for no more than this from the next tick on."""
    key = (event.station_id, event.connector)
    connector = state.connectors.get(key)
    if connector is None:
        return state
    caps_ma = {source: ma for source, ma in connector.caps_ma.items() if source is not event.source}
    if event.limit_ma is not None:
        caps_ma[event.source] = max(event.limit_ma, 0)
    connector = attrs.evolve(connector, caps_ma=caps_ma)
    return attrs.evolve(state, connectors={**state.connectors, key: connector})


def limits_lost(state: State, site: Site) -> Iterator[Fault]:
    """What speaks against this configuration: limits from outside at nodes that it has no longer."""
    nodes = {node.id for node in site.limit_tree()}
    gone = {f"station:{s.id}" for s in state.site.stations if site.station(s.id) is None}  # with its limit
    for known in state.limits.values():
        limit = known.record.limit
        if not known.is_gone and limit.node not in nodes and limit.node not in gone:
            name = limit.reason or limit.id
            pointer = "/stations" if limit.node.startswith("station:") else "/clusters"
            yield Fault(pointer, f"“{limit.node}” is limited from outside ({name}) and must stay")


def _with(state: State, limit_id: str, known: LimitState) -> State:
    """With this limit, the newest last, and no more ended ones than are kept in sight."""
    limits = {key: other for key, other in state.limits.items() if key != limit_id} | {limit_id: known}
    gone = [key for key, other in limits.items() if other.is_gone]
    for key in gone[:-ENDED_KEPT]:
        del limits[key]
    return attrs.evolve(state, limits=limits)


def _ended(record: LimitRecord, how: Ended, now: Now) -> LimitRecord:
    return attrs.evolve(record, ended_at=now.utc, ended=how)


# As time passes


def curtailed(state: State, now: Now) -> Result:
    """Which limits hold now; what begins, takes effect and ends is put on record."""
    if not state.limits:
        return state, ()
    between = instants(now, state.latest_utc, state.clock_doubt)
    limits = dict(state.limits)
    saves: list[Effect] = []
    for limit_id, known in state.limits.items():
        if known.is_gone:
            continue
        after = _lived(state, known, between, now)
        limits[limit_id] = after
        if after.record != known.record:
            saves.append(Save(after.record))
    return attrs.evolve(state, limits=limits), tuple(saves)


def caps_in_force(state: State) -> Mapping[str, NodeCap]:
    """Per node of the tree, what the limits that hold now leave."""
    holding = [known.record.limit for known in state.limits.values() if known.holds]
    if not holding:
        return NO_CAPS
    nodes = {node.id for node in state.site.limit_tree()}
    return node_caps((limit for limit in holding if limit.node in nodes), state.site.supply.site_phases)


def _lived(state: State, known: LimitState, between: Between, now: Now) -> LimitState:
    """The limit as it stands now: over, not yet or no longer holding, or holding."""
    limit = known.record.limit
    if is_over(limit, between):
        return attrs.evolve(known, record=_ended(known.record, Ended.OVER, now), holds=False, silent=False)
    silent = limit.keep_alive_s is not None and now.monotonic_ms - known.heard_ms > limit.keep_alive_s * 1000
    lifted = silent and limit.then is Lapse.LIFT
    if lifted or not may_hold(limit, between):
        ends = lifted and known.holds
        record = _ended(known.record, Ended.LIFTED, now) if ends else known.record
        if is_planned(limit, between):  # if it held, then by a clock that was wrong
            record = attrs.evolve(record, began_at=None, drawn_ma=None, held_after_ms=None)
        return attrs.evolve(known, record=record, holds=False, began_ms=None, silent=silent)
    began_ms = known.began_ms if known.began_ms is not None else now.monotonic_ms
    record = _witnessed(state, known.record, now, began_ms)
    return attrs.evolve(known, record=record, holds=True, began_ms=began_ms, silent=silent)


def _witnessed(state: State, record: LimitRecord, now: Now, began_ms: int) -> LimitRecord:
    """The record of a limit that holds: what was drawn when it began, and how long until no more than it allows was."""
    flows = _flows(state, record.limit)
    if record.ended is not None:  # it was lifted: its new beginning is a record of its own
        record = LimitRecord(record.limit, record.by, now.utc)
    if record.began_at is None:
        record = attrs.evolve(record, began_at=now.utc, drawn_ma=flows)
    if record.held_after_ms is None and flows is not None:
        phases = state.site.supply.site_phases
        allowed_ma = record.limit.on(phases)
        if all(flows[phase] <= allowed_ma[phase] for phase in phases):
            return attrs.evolve(record, held_after_ms=now.monotonic_ms - began_ms)
    return record


def _flows(state: State, limit: ExternalLimit) -> PerPhase | None:
    """What flows of that which the limit is about, as last seen; None where nobody knows."""
    view = state.nodes.get(limit.node)
    if view is None:
        return None
    return view.total_ma if limit.applies_to is AppliesTo.TOTAL else view.stations_ma
