"""The last gate before the wire. It recomputes the invariants from the ledger and shares no logic with the planners.

It never raises anyone. When a raise would break I1, I4 or I6 it drops every raise of the tick and keeps the
decreases; that it had to is an alarm, since it means that something above is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from llm_core.effects import ClearLimit, Purpose, SetLimit
from llm_core.quantities import PHASES, Phase
from llm_core.site import SITE, Mode, Site, Station
from llm_core.state import ConnectorState, Key, State

LEASE_AND_MARGIN_MS = 30_000
TRUSTED_CLOCK_MS = 10_000

Command = SetLimit | ClearLimit


@attrs.frozen
class Passed:
    """The commands that may leave, and what was wrong with the others."""

    commands: tuple[Command, ...]
    violations: tuple[str, ...]


def guard(state: State, commands: tuple[Command, ...], now_ms: int) -> Passed:
    """Let through what keeps every invariant; drop all raises when one breaks any."""
    sound = tuple(
        command for command in commands if not isinstance(command, SetLimit) or _in_range(state.site, command)
    )
    violations = [f"I4: {command}" for command in commands if command not in sound]
    if any(isinstance(command, SetLimit) and not command.lowers for command in sound):
        violations += _overloads(state, sound, now_ms)
    violations += _left_alone(state, sound)
    if violations:
        kept = tuple(c for c in sound if isinstance(c, ClearLimit) or (c.lowers and _gives_no_more(state, c, now_ms)))
        return Passed(kept, tuple(violations))
    return Passed(sound, ())


def _in_range(site: Site, command: SetLimit) -> bool:
    """I4: 0 or at least the minimum, never above the maximum; what follows a lease never rises."""
    station = site.station(command.station_id)
    if station is None:
        return False
    legal = all(ma == 0 or station.min_ma <= ma <= station.max_ma for ma in (command.limit_ma, command.then_ma))
    return legal and command.then_ma <= command.limit_ma


def _gives_no_more(state: State, command: SetLimit, now_ms: int) -> bool:
    connector = state.connectors.get((command.station_id, command.connector))
    return connector is not None and command.limit_ma <= _most(state, command.station_id, connector, now_ms)


def _most(state: State, station_id: str, connector: ConnectorState, now_ms: int) -> int:
    """The largest limit that a connector may be giving, straight from its books."""
    ledger = connector.ledger
    station = state.stations[station_id]
    agrees = station.clock_ahead_ms is not None and -TRUSTED_CLOCK_MS <= station.clock_ahead_ms <= TRUSTED_CLOCK_MS
    falls_back = agrees and station.capabilities.decays
    values = [0]
    for slot in (ledger.floor, ledger.default, ledger.transaction):
        for held in ((slot.acknowledged,) if slot.acknowledged else ()) + slot.open:
            over = held.lease_ms is not None and held.sent_ms + held.lease_ms + LEASE_AND_MARGIN_MS <= now_ms
            values.append((held.then_ma if over and falls_back else held.limit_ma) or 0)
    if ledger.inherited is not None:
        until_ms = ledger.inherited.until_ms
        over = until_ms is not None and until_ms <= now_ms
        values.append(ledger.inherited.then_ma if over and falls_back else ledger.inherited.limit_ma)
    if ledger.trailing_until_ms > now_ms:
        values.append(ledger.trailing_ma)
    return max(values)


def _overloads(state: State, commands: tuple[Command, ...], now_ms: int) -> list[str]:
    """I1: with every command of this tick in force, worst cases and building fit wherever somebody is raised."""
    told: dict[Key, int] = {}
    for command in commands:
        if isinstance(command, SetLimit) and command.purpose is not Purpose.FLOOR:
            told[command.station_id, command.connector] = command.limit_ma
    raised = {(c.station_id, c.connector) for c in commands if isinstance(c, SetLimit) and not c.lowers}
    worst = _worst_cases(state, told, now_ms)
    parents: Mapping[str, str | None] = {node.id: node.parent for node in state.site.limit_tree()}
    found = []
    for node in state.site.limit_tree():
        under = {key for key in worst if _is_under(state.site, key, node.id, parents)}
        for phase in state.site.supply.site_phases:
            if not any(key in raised and worst[key][phase] for key in under):
                continue
            total_ma = sum(worst[key][phase] for key in under) + _building(state, node.id, phase)
            if total_ma > _limit(state, node.id, node.limit_ma[phase], phase):
                found.append(f"I1: {node.id} {phase}: {total_ma} mA")
    return found


def _worst_cases(state: State, told: Mapping[Key, int], now_ms: int) -> dict[Key, dict[Phase, int]]:
    worst: dict[Key, dict[Phase, int]] = {}
    for key, connector in state.connectors.items():
        station, known = state.site.station(key[0]), state.stations.get(key[0])
        if station is None or known is None or (station.out_of_service and not known.online):
            continue
        most_ma = max(_most(state, key[0], connector, now_ms), told.get(key, 0))
        measured = connector.phases if known.online else None
        on = measured if measured is not None else station.phase_rotation
        drawn = connector.mean_ma if known.online else None
        worst[key] = {
            phase: max(most_ma if phase in on else 0, drawn[phase] if drawn is not None else 0) for phase in PHASES
        }
    return worst


def _is_under(site: Site, key: Key, node_id: str, parents: Mapping[str, str | None]) -> bool:
    station = site.station(key[0])
    node = station.node if station is not None else None
    while node is not None and node != node_id:
        node = parents[node]
    return node == node_id


def _is_metered(state: State, node_id: str) -> bool:
    has_meter = any(setup.node == node_id for setup in state.site.meters)
    return has_meter and (node_id != SITE or state.site.supply.mode is Mode.DYNAMIC)


def _building(state: State, node_id: str, phase: Phase) -> int:
    """The most that other consumers may draw at this node, 0 where the safe limit stands for them."""
    if not _is_metered(state, node_id):
        if node_id == SITE and state.site.supply.mode is Mode.STATIC:
            return sum(reading.current_ma[phase] for reading in state.strangers.values())
        return 0
    known = state.meters[node_id].phases.get(phase) if node_id in state.meters else None
    return 0 if known is None or known.lost or known.current_ma is None else known.high_ma


def _limit(state: State, node_id: str, limit_ma: int, phase: Phase) -> int:
    """The node's limit; the safe fallback at a site that should be metered and is not to be trusted."""
    if node_id != SITE or state.site.supply.mode is Mode.STATIC:
        return limit_ma
    meter = state.meters.get(SITE) if _is_metered(state, SITE) else None
    known = meter.phases.get(phase) if meter is not None else None
    if known is None or known.lost or known.current_ma is None:
        return min(limit_ma, state.site.supply.fallback_ma[phase])
    return limit_ma


def _left_alone(state: State, commands: tuple[Command, ...]) -> list[str]:
    """I6: when every lease has run out, what stations then give fits every node."""
    then: dict[Key, int] = {}
    for key, connector in state.connectors.items():
        station = state.site.station(key[0])
        if station is None or key[0] not in state.stations:
            continue
        slots = (connector.ledger.floor, connector.ledger.default, connector.ledger.transaction)
        helds = [held for slot in slots for held in (*((slot.acknowledged,) if slot.acknowledged else ()), *slot.open)]
        then[key] = max([held.then_ma for held in helds if held.limit_ma is not None], default=0)
    before = dict(then)
    for command in commands:
        if isinstance(command, SetLimit):
            key = (command.station_id, command.connector)
            then[key] = max(then.get(key, 0), command.then_ma)
    if then == before:
        return []
    grown = {key for key, value in then.items() if value > before.get(key, 0)}
    return list(_beyond_fallback(state, then, grown))


def _beyond_fallback(state: State, then: Mapping[Key, int], grown: set[Key]) -> Iterable[str]:
    parents: Mapping[str, str | None] = {node.id: node.parent for node in state.site.limit_tree()}
    for node in state.site.limit_tree():
        for phase in state.site.supply.site_phases:
            wired = [
                k
                for k in then
                if _is_on(state.site.station(k[0]), phase) and _is_under(state.site, k, node.id, parents)
            ]
            limit_ma = node.limit_ma[phase]
            if node.id == SITE and state.site.supply.mode is Mode.DYNAMIC:
                limit_ma = min(limit_ma, state.site.supply.fallback_ma[phase])
            total_ma = sum(then[key] for key in wired)
            if total_ma > limit_ma and any(key in grown for key in wired):
                yield f"I6: {node.id} {phase}: {total_ma} mA left alone"


def _is_on(station: Station | None, phase: Phase) -> bool:
    return station is not None and phase in station.phase_rotation
