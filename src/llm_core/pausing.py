"""Stations that refuse a limit of 0 A, or the floor, and take others: what is asked of them instead.

A refusal changes nothing: such a station goes on with what it had, and counts with it. So one that refused 0 A twice is
told the least that it takes, and 0 A again once a minute. Where its car must have nothing and draws on for 30 s, the
station is asked to end the transaction: for the sake of a limit from outside, or of a place that is overloaded, but
not because it is somebody else's turn. A floor that was refused waits a minute as well, so that a car that charges
meanwhile gets limits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from llm_core.budget import Seen, decays
from llm_core.copies import changed
from llm_core.demand import least_of
from llm_core.effects import StopRemotely
from llm_core.ledger import Ledger
from llm_core.problem import Grant, GrantReason
from llm_core.state import ConnectorState, Key, State

AGAIN_MS = 60_000  # what was refused is tried again
STOP_AFTER_MS = 30_000
OVERLOADED_MS = 10_000  # shorter, it is the ramp that every building step causes
JUST_NOW_MS = 10_000  # a reading so young tells what a car has
STILL_DRAWS_MA = 1_000
TWICE = 2  # once may have been about something else
REFUSALS = 3


def gives_way(connector: ConnectorState, now_ms: int) -> bool:
    """Whether the floor of this connector can wait: it was refused just now, and a car charges there."""
    refused_ms = connector.ledger.floor_refused_ms
    return connector.session is not None and refused_ms is not None and now_ms - refused_ms < AGAIN_MS


def bare_ma(entry: Seen, floor_ma: int, now_ms: int) -> int:
    """What the connector surely has without a floor, as far as one of `floor_ma` needs: nothing, unless it refused
    another, counts with more for want of any, and its car draws as much just now."""
    connector = entry.connector
    if connector.ledger.inherited is None or connector.ledger.floor_refused_ms is None or not connector.readings:
        return 0
    last = connector.readings[-1]
    return floor_ma if now_ms - last.at_ms <= JUST_NOW_MS and max(last.current_ma) >= floor_ma else 0


def refuses_zero(ledger: Ledger) -> bool:
    """Whether the station takes limits, but has refused 0 A."""
    return ledger.zero_refusals >= TWICE


def without_late_refusals(ledger: Ledger, ended_ms: int) -> Ledger:
    """What was refused once the transaction it was for had ended, which we heard late, says nothing of 0 A."""
    if ledger.zero_refused_ms is None or ledger.zero_refused_ms < ended_ms:
        return ledger
    return attrs.evolve(ledger, zero_refused_ms=None, zero_refusals=0)


def takes_no_zero(ledger: Ledger) -> bool:
    """Whether 0 A is what people should not let it be told: neither while it charges nor for when we are not there."""
    return refuses_zero(ledger) or (ledger.floor_refused_ms is not None and ledger.floor_refused_ma == 0)


def rejects_limits(connector: ConnectorState) -> bool:
    """Whether it refuses what it is sent, or what it would have to be sent."""
    ledger, grant = connector.ledger, connector.grant
    if ledger.refusals >= REFUSALS or (ledger.floor_refused_ms is not None and not ledger.has_floor):
        return True
    return refuses_zero(ledger) and connector.session is not None and grant is not None and grant.limit_ma == 0


def taken(state: State, seen: tuple[Seen, ...], grants: Mapping[Key, Grant], now_ms: int) -> Mapping[Key, Grant]:
    """The grants as their stations take them: the least limit in the place of 0 A where that was refused and no more
    is told by it than before."""
    instead = {}
    for entry in seen:
        ledger, grant = entry.connector.ledger, grants.get(entry.key)
        refused_ms = ledger.zero_refused_ms
        if grant is None or grant.limit_ma or refused_ms is None or not refuses_zero(ledger):
            continue
        least_ma = least_of(entry.station, state.stations[entry.key[0]].capabilities.step_ma, entry.spread)
        held_ma = ledger.limits_ma(now_ms, decays(state, entry.key[0]))
        if now_ms - refused_ms < AGAIN_MS and entry.connector.session is not None and least_ma <= held_ma:
            instead[entry.key] = attrs.evolve(grant, limit_ma=least_ma)
    return {**grants, **instead} if instead else grants


def ended(state: State, now_ms: int) -> tuple[State, tuple[StopRemotely, ...]]:
    """Ask for the end of each transaction that must have nothing and goes on because 0 A is refused; once a minute."""
    connectors: dict[Key, ConnectorState] = {}
    stops: list[StopRemotely] = []
    for key, connector in state.connectors.items():
        session = connector.session
        if session is None or not _must_end(state, key, connector, now_ms):
            if connector.undue_ms is not None:
                connectors[key] = changed(connector, undue_ms=None)
        elif connector.undue_ms is None:
            connectors[key] = changed(connector, undue_ms=now_ms)
        elif now_ms - max(connector.undue_ms + STOP_AFTER_MS, _asked_ms(connector) + AGAIN_MS) >= 0:
            connectors[key] = changed(connector, stop_asked_ms=now_ms)
            stops.append(StopRemotely(key[0], session.transaction_id))
    return (changed(state, connectors={**state.connectors, **connectors}) if connectors else state), tuple(stops)


def _asked_ms(connector: ConnectorState) -> int:
    return connector.stop_asked_ms if connector.stop_asked_ms is not None else -AGAIN_MS


def _must_end(state: State, key: Key, connector: ConnectorState, now_ms: int) -> bool:
    grant, readings = connector.grant, connector.readings
    if not refuses_zero(connector.ledger) or grant is None or grant.limit_ma or not readings:
        return False
    if max(readings[-1].current_ma) <= STILL_DRAWS_MA:
        return False
    return grant.reason is not GrantReason.WAITING or _is_overloaded(state, key[0], now_ms)


def _is_overloaded(state: State, station_id: str, now_ms: int) -> bool:
    """Whether more flows somewhere above the station than may, for some time."""
    station = state.site.station(station_id)
    parents = {node.id: node.parent for node in state.site.limit_tree()}
    node = station.node if station is not None else None
    while node is not None:
        view = state.nodes.get(node)
        if view is not None and view.over_since_ms is not None and now_ms - view.over_since_ms >= OVERLOADED_MS:
            return True
        node = parents[node]
    return False
