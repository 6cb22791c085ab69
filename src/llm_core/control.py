"""One tick: from what is known to what is sent. The only place where limits are computed.

meters, ledgers ─> survey ─> rooms ─> plan ─> dispatch ─> guard ─> commands, entered in the ledger
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from llm_core import ledger as books
from llm_core.alarms import alarms_of
from llm_core.budget import Room, Seen, aged, interval, rooms, sum_per_node, survey
from llm_core.copies import changed
from llm_core.cpo import overdue
from llm_core.curtailment import caps_in_force, curtailed
from llm_core.demand import least_told, wants
from llm_core.dispatch import Command, dispatch
from llm_core.effects import (
    AskReading,
    Ceiling,
    ClearAlarm,
    Effect,
    Note,
    Purpose,
    RaiseAlarm,
    Save,
    SetLimit,
    StopRemotely,
)
from llm_core.external import NO_CAP, NodeCap
from llm_core.guard import guard
from llm_core.pausing import ended as ended_remotely
from llm_core.pausing import taken
from llm_core.phase_check import phases_checked
from llm_core.plan import Plan, plan
from llm_core.presence import clocks_doubted, strangers_forgotten
from llm_core.problem import GrantReason
from llm_core.quantities import PHASES, ZERO, Now, PerPhase
from llm_core.sessions import clock_session
from llm_core.site import SITE, STATIONS, Mode
from llm_core.state import ConnectorState, Key, LimitChange, MeterState, NodeView, State
from llm_core.transactions import abandoned
from llm_core.yielding import needs

STOP_AFTER_MS = 30_000  # a station that still draws so long after it was told 0 A is asked to stop
STILL_DRAWS_MA = 1_000
ASK_AFTER_MS = 500
SELDOM_MS = 20_000  # of the 35 s after which a station that says nothing counts with all it may draw
CLOCK_EVERY_MS = 5_000
NOTE_EVERY_MS = 60_000
MOST_CHANGES = 200  # of limits, kept in sight


def tick(state: State, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """Compute the limits; returns the next state and the effects, saves before commands."""
    now_ms = now.monotonic_ms
    state, ended = abandoned(clocks_doubted(strangers_forgotten(state, now_ms), now_ms), now)
    state, answers = overdue(state, now)
    state = _clocked(_turned(state, now), now_ms)
    state, witnessed = curtailed(state, now)
    caps = caps_in_force(state)
    seen = survey(state, now_ms)
    meters = interval(state, aged(state, now_ms), seen, now_ms)
    state = changed(state, meters=meters)
    left = rooms(state.site, meters, seen, _strangers(state), now_ms, caps)
    planned = plan(state, seen, left, now_ms, needs(state, now))
    wished = dispatch(state, seen, left, taken(state, seen, planned.grants, now_ms), now_ms)
    passed = guard(state, wished, now_ms)
    state, effects = _entered(state, seen, planned, passed.commands, now_ms)
    state = changed(
        state,
        nodes=_node_views(state, seen, left, meters, caps, now_ms),
        ticked_ms=now_ms,
        next_seq=state.next_seq + len(wished),
        intervened_ms=now_ms if passed.violations else state.intervened_ms,
    )
    state = phases_checked(state, now_ms)
    state, asks = _asked(state, now_ms)
    state, stops = _stopped(state, now_ms)
    state, ends = ended_remotely(state, now_ms)
    state, notes = _noted(state, now_ms)
    state, changes = _alarmed(state, now)
    return state, (*ended, *answers, *witnessed, *effects, *asks, *stops, *ends, *notes, *changes)


# Time


def _turned(state: State, now: Now) -> State:
    """At the start of a rotation window those who were served least come first."""
    local = now.local
    window = (local.toordinal() * 1440 + local.hour * 60 + local.minute) // state.site.sharing.rotation_min
    if window == state.window:
        return state
    waiting = sorted(
        (key for key, c in state.connectors.items() if wants(c, now.monotonic_ms)),
        key=lambda key: (state.connectors[key].served_ms, key),
    )
    connectors = dict(state.connectors)
    for rank, key in enumerate(waiting):
        connectors[key] = changed(connectors[key], rank=rank)
    return changed(state, window=window, connectors=connectors)


def _clocked(state: State, now_ms: int) -> State:
    """Count the time that passed for sessions and turns, every few seconds."""
    since_ms = state.clocked_ms if state.clocked_ms is not None else now_ms
    elapsed_ms = now_ms - since_ms
    if 0 < elapsed_ms < CLOCK_EVERY_MS:
        return state
    connectors = dict(state.connectors)
    for key, connector in state.connectors.items():
        if connector.session is None:
            continue
        charging = bool(connector.readings) and max(connector.readings[-1].current_ma) >= STILL_DRAWS_MA
        connectors[key] = changed(
            connector,
            session=clock_session(connector.session, elapsed_ms, charging=charging),
            served_ms=connector.served_ms + (elapsed_ms if connector.offered_ma > 0 else 0),
        )
    return changed(state, connectors=connectors, clocked_ms=now_ms)


# Commands into the books


def _entered(
    state: State, seen: tuple[Seen, ...], planned: Plan, commands: tuple[Command, ...], now_ms: int
) -> tuple[State, tuple[Effect, ...]]:
    """The state with every command in the ledger and every promise to the disk, and both as effects."""
    entries = {entry.key: entry for entry in seen}
    connectors = dict(state.connectors)
    for key, connector in state.connectors.items():
        grant = planned.grants.get(key)
        if grant is not connector.grant and grant != connector.grant:
            connectors[key] = changed(connector, grant=grant)
    saves: list[Effect] = []
    worded: list[Effect] = []
    changes: list[LimitChange] = []
    raised_ms = state.raised_ms
    for command in commands:
        key = (command.station_id, command.connector)
        told, spread = _worded(command, entries[key])
        worded.append(told)
        before = connectors[key]
        connectors[key] = after = _commanded(before, command, spread, state.window, now_ms)
        if after.offered_ma != before.offered_ma and state.latest_utc is not None:
            changes.append(_change(key, before, after, state.latest_utc))
        if isinstance(command, SetLimit) and not command.lowers:
            raised_ms = now_ms
        if isinstance(command, SetLimit) and _exceeds(after, command):
            ceiling_ma = max(command.limit_ma, after.ceiling_ma)
            left_ma = max(_left_ma(command), after.ceiling_left_ma)
            connectors[key] = changed(after, ceiling_ma=ceiling_ma, ceiling_left_ma=left_ma)
            saves.append(Save(Ceiling(*key, ceiling_ma, left_ma)))
    state = changed(state, connectors=connectors, allowances=planned.allowances, raised_ms=raised_ms)
    if changes:
        state = changed(state, changes=(*state.changes, *changes)[-MOST_CHANGES:])
    return state, (*saves, *worded)


def _exceeds(connector: ConnectorState, command: SetLimit) -> bool:
    """Whether the disk has not been promised that the connector may hold, or be left with, so much."""
    return command.limit_ma > connector.ceiling_ma or _left_ma(command) > connector.ceiling_left_ma


def _left_ma(command: SetLimit) -> int:
    """What it gives when nothing more is heard."""
    return command.limit_ma if command.lease_ms is None else command.then_ma


def _change(key: Key, before: ConnectorState, after: ConnectorState, at: datetime) -> LimitChange:
    grant = after.grant
    reason, limited_by = (grant.reason, grant.limited_by) if grant is not None else (None, None)
    return LimitChange(at, *key, before.offered_ma, after.offered_ma, reason, limited_by)


def _worded(command: Command, entry: Seen) -> tuple[Command, int]:
    """The command as the station is told it, and over how many phases it spreads there: of what any one phase may get
    whole, a part for each, except where it is the maximum that no phase can exceed anyway."""
    if entry.spread == 1 or not isinstance(command, SetLimit):
        return command, 1
    limit_ma, then_ma = (
        ma if ma == entry.station.max_ma else ma // entry.spread for ma in (command.limit_ma, command.then_ma)
    )
    spread = 1 if limit_ma == command.limit_ma else entry.spread
    return attrs.evolve(command, limit_ma=limit_ma, then_ma=then_ma), spread


def _commanded(connector: ConnectorState, command: Command, spread: int, window: int, now_ms: int) -> ConnectorState:
    entered = changed(connector, ledger=books.sent(connector.ledger, command, now_ms, spread=spread))
    if not isinstance(command, SetLimit) or command.purpose is Purpose.FLOOR:
        return entered
    if command.limit_ma == connector.offered_ma:
        return entered
    lowering_ms = connector.lowering_ms if connector.lowering_ms is not None else now_ms
    waits = connector.grant is not None and connector.grant.reason in (GrantReason.WAITING, GrantReason.EXTERNAL_LIMIT)
    return changed(
        entered,
        offered_ma=command.limit_ma,
        changed_ms=now_ms,
        raised_ms=now_ms if command.limit_ma > connector.offered_ma else connector.raised_ms,
        settled_from_ms=now_ms + books.FOLLOW_MS,
        least_told_ma=min(least_told(connector), command.limit_ma),
        lowering_ms=lowering_ms if command.limit_ma < connector.offered_ma else None,
        paused_window=window if waits and command.limit_ma == 0 else connector.paused_window,
        cut_short=connector.cut_short or (command.limit_ma == 0 and _draws(connector)),
    )


def _draws(connector: ConnectorState) -> bool:
    return bool(connector.readings) and max(connector.readings[-1].current_ma) >= STILL_DRAWS_MA


def _asked(state: State, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """Readings that are asked for: once a change has settled, since until it is seen what it frees is free for nobody;
    and while a car may draw at a station that reports seldom, so that what it does by itself is known in time."""
    connectors: dict[Key, ConnectorState] = {}
    asks = []
    for key, connector in state.connectors.items():
        if connector.session is None:
            continue
        if _is_reading_due(connector, now_ms) and _is_online(state, key[0]):
            connectors[key] = changed(connector, asked_ms=now_ms)
            asks.append(AskReading(*key))
    return _with_connectors(state, connectors), tuple(asks)


def _is_reading_due(connector: ConnectorState, now_ms: int) -> bool:
    last = connector.readings[-1] if connector.readings else None
    heard_ms = last.at_ms if last is not None else 0
    if now_ms - heard_ms < SELDOM_MS and heard_ms >= connector.settled_from_ms:
        return False  # most connectors, most of the time
    asked_ms = connector.asked_ms if connector.asked_ms is not None else 0
    settled_ms = connector.settled_from_ms + ASK_AFTER_MS
    if heard_ms < connector.settled_from_ms and asked_ms < settled_ms <= now_ms:
        return True
    draws = connector.offered_ma > 0 or (last is not None and any(last.current_ma))
    return draws and now_ms - max(heard_ms, asked_ms, settled_ms) >= SELDOM_MS


def _is_online(state: State, station_id: str) -> bool:
    known = state.stations.get(station_id)
    return known is not None and known.online


def _stopped(state: State, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """A car that draws on although it was told 0 A for 30 s: ask the station to end the transaction, once a minute."""
    connectors: dict[Key, ConnectorState] = {}
    effects = []
    for key, connector in state.connectors.items():
        if connector.disobeys_ms is None or connector.session is None or connector.offered_ma > 0:
            continue
        told_ms = connector.changed_ms if connector.changed_ms is not None else now_ms
        drawing = connector.readings and max(connector.readings[-1].current_ma) > STILL_DRAWS_MA
        asked_ms = connector.stop_asked_ms
        if not drawing or now_ms - told_ms < STOP_AFTER_MS or (asked_ms is not None and now_ms - asked_ms < 60_000):
            continue
        connectors[key] = changed(connector, stop_asked_ms=now_ms)
        effects.append(StopRemotely(key[0], connector.session.transaction_id))
    return _with_connectors(state, connectors), tuple(effects)


def _noted(state: State, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """Once a minute: open sessions as they stand, and ceilings that have come down."""
    if now_ms - state.noted_ms < NOTE_EVERY_MS:
        return state, ()
    connectors, notes = dict(state.connectors), []
    for key, connector in state.connectors.items():
        if connector.session is not None:
            notes.append(Note(connector.session))
        held_ma = max([connector.offered_ma, *_limits_in(connector)])
        left_ma = connector.ledger.left_alone_ma()
        fallen = held_ma < connector.ceiling_ma or left_ma < connector.ceiling_left_ma
        if connector.ledger.inherited is None and fallen:
            connectors[key] = changed(connector, ceiling_ma=held_ma, ceiling_left_ma=left_ma)
            notes.append(Note(Ceiling(*key, held_ma, left_ma)))
    return changed(state, connectors=connectors, noted_ms=now_ms), tuple(notes)


def _with_connectors(state: State, anew: Mapping[Key, ConnectorState]) -> State:
    return changed(state, connectors={**state.connectors, **anew}) if anew else state


def _limits_in(connector: ConnectorState) -> list[int]:
    ledger = connector.ledger
    helds = [held for slot in (ledger.floor, ledger.default, ledger.transaction) for held in slot.candidates()]
    return [held.limit_ma for held in helds if held.limit_ma is not None]


# What people see


def _strangers(state: State) -> PerPhase:
    total = ZERO
    for reading in state.strangers.values():
        total += reading.current_ma
    return total


def _node_views(
    state: State,
    seen: tuple[Seen, ...],
    left: Mapping[str, Room],
    meters: Mapping[str, MeterState],
    caps: Mapping[str, NodeCap],
    now_ms: int,
) -> dict[str, NodeView]:
    tree = state.site.limit_tree()
    drawn = sum_per_node(tree, ((entry.station.node, _drawn(entry)) for entry in seen))
    worst = sum_per_node(tree, ((entry.station.node, entry.worst_ma) for entry in seen))
    at_most = sum_per_node(tree, ((entry.station.node, entry.hi_ma) for entry in seen))
    views: dict[str, NodeView] = {}
    for node in tree:  # parents first: what is free below is free above as well
        stations = PerPhase(*drawn[node.id])
        total = _total(state, node.id, stations, PerPhase(*at_most[node.id]), meters)
        cap = caps.get(node.id, NO_CAP)
        limit = node.limit_ma.smaller(cap.total_ma)
        if total is None:
            limit = limit.smaller(cap.stations_ma)
        used = total if total is not None else stations
        over = any(used[p] > limit[p] or stations[p] > cap.stations_ma[p] for p in state.site.supply.site_phases)
        before = state.nodes.get(node.id)
        since_ms = before.over_since_ms if before is not None and before.over_since_ms is not None else now_ms
        free = (left[node.id].keep_ma - PerPhase(*worst[node.id])).larger(ZERO)
        views[node.id] = NodeView(
            node.id,
            limit,
            total,
            stations,
            PerPhase(*worst[node.id]),
            free if node.parent is None else free.smaller(views[node.parent].free_ma),
            left[node.id].keep_ma,
            left[node.id].external,
            since_ms if over else None,
        )
    return views


def _drawn(entry: Seen) -> PerPhase:
    if entry.online and entry.connector.readings:
        return entry.connector.readings[-1].current_ma
    return ZERO


def _total(
    state: State, node_id: str, stations: PerPhase, at_most: PerPhase, meters: Mapping[str, MeterState]
) -> PerPhase | None:
    """What flows at a node; where the stations are their own meter, one that is silent draws what it may."""
    if node_id == SITE and state.site.supply.mode is Mode.STATIC:
        return None
    assumed = state.site.assumed(node_id)
    if assumed is not None:
        return (at_most if assumed.model == STATIONS else stations) + assumed.load_ma
    setup = next((setup for setup in state.site.meters if setup.node == node_id), None)
    if setup is None:
        return None
    known = [meters[node_id].phases.get(phase) for phase in PHASES]
    if all(phase is None or phase.current_ma is None for phase in known):
        return None
    measured = PerPhase(*(phase.current_ma or 0 if phase is not None else 0 for phase in known))
    return measured if setup.includes_stations else measured + stations


def _alarmed(state: State, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """The alarms that hold now; an effect for each that came or went."""
    alarms = alarms_of(state, now)
    came = tuple(RaiseAlarm(alarm) for key, alarm in alarms.items() if key not in state.alarms)
    went = tuple(ClearAlarm(alarm) for key, alarm in state.alarms.items() if key not in alarms)
    if not came and not went:
        return state, ()
    return changed(state, alarms=alarms), (*came, *went)
