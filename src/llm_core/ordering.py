"""Orders of people to stations: whether they may be given, and what control learns of how they ended."""

from __future__ import annotations

import attrs

from llm_core.authorisation import Verdict, authorise, normalise
from llm_core.effects import AuditEntry, Effect, Reply, Save
from llm_core.orders import Order, OrderEnded, OrderFault, OrderGranted, OrderRefused, StationOrdered
from llm_core.presence import with_station
from llm_core.quantities import Now
from llm_core.site import AccessRule, Station
from llm_core.state import State

REMOTE_TAG = "REMOTE"  # where nobody needs a badge, a start still needs a tag

Result = tuple[State, tuple[Effect, ...]]


def ordered(state: State, event: StationOrdered, now: Now) -> Result:
    """Whether the order may be given; a refusal is audited at once, what is granted once it has ended."""
    answer = _judged(state, event, now)
    if isinstance(answer, OrderGranted):
        return state, (Reply(event.request, answer),)
    outcome = f"not sent: {answer.fault.value} {answer.detail}".strip()
    entry = AuditEntry(now.utc, event.by, event.order.value, _place(event), outcome)
    return state, (Save(entry), Reply(event.request, answer))


def order_ended(state: State, event: OrderEnded, now: Now) -> Result:
    """The order in the audit trail. A station that restarts because we asked it to may be away for a while."""
    entry = AuditEntry(now.utc, event.by, event.order.value, _place(event), event.outcome)
    known = state.stations.get(event.station_id)
    if event.order is Order.RESET and event.done and known is not None:
        state = with_station(state, event.station_id, attrs.evolve(known, reset_ms=now.monotonic_ms))
    return state, (Save(entry),)


def _place(event: StationOrdered | OrderEnded) -> str:
    where = event.station_id if event.connector is None else f"{event.station_id}/{event.connector}"
    return f"{where} {event.detail}".strip()


def _judged(state: State, event: StationOrdered, now: Now) -> OrderGranted | OrderRefused:
    station = state.site.station(event.station_id)
    if station is None:
        known = event.station_id in state.stations
        return OrderRefused(OrderFault.NOT_ADOPTED if known else OrderFault.UNKNOWN_STATION)
    if event.connector is not None and not _has(state, station, event.connector, event.order):
        return OrderRefused(OrderFault.NO_CONNECTOR)
    match event.order:
        case Order.REMOTE_START:
            return _start(state, event, station, now)
        case Order.REMOTE_STOP:
            return _stop(state, event)
        case Order.UNLOCK if event.connector is None:
            return _only_connector(state, event)
        case _:
            return OrderGranted(event.connector, event.id_tag, event.transaction_id)


def _has(state: State, station: Station, connector: int, order: Order) -> bool:
    """Whether there is such a connector; 0 is the station as a whole, where that can be meant."""
    if connector == 0:
        return order in (Order.AVAILABILITY, Order.TRIGGER)
    return 1 <= connector <= station.connectors or (station.id, connector) in state.connectors


def _start(state: State, event: StationOrdered, station: Station, now: Now) -> OrderGranted | OrderRefused:
    """A start from afar needs what a start at the station needs; under a CPO the tag is the CPO's to judge."""
    wanted = [key for key in state.connectors if key[0] == station.id and event.connector in (None, key[1])]
    if wanted and all(state.connectors[key].session is not None for key in wanted):
        return OrderRefused(OrderFault.OCCUPIED)
    rule = state.site.access
    tag = event.id_tag or (REMOTE_TAG if rule is AccessRule.FREE else "")
    if not tag:
        return OrderRefused(OrderFault.BADGE_NEEDED)
    badge = state.badges.get(normalise(tag))
    tag = badge.badge_id if badge is not None else tag
    if rule is not AccessRule.CPO:
        verdict = authorise(normalise(tag), station, rule, state.badges, now, latest_utc=state.latest_utc)
        if verdict is not Verdict.ACCEPTED:
            return OrderRefused(OrderFault.BADGE_REFUSED, verdict.value)
    return OrderGranted(event.connector, tag)


def _stop(state: State, event: StationOrdered) -> OrderGranted | OrderRefused:
    """The transaction that is named, or the one that runs at the connector, or the only one of the station."""
    if event.transaction_id is not None:
        return OrderGranted(event.connector, None, event.transaction_id)
    running = [
        (key[1], connector.session.transaction_id)
        for key, connector in sorted(state.connectors.items())
        if key[0] == event.station_id and connector.session is not None and event.connector in (None, key[1])
    ]
    if not running:
        return OrderRefused(OrderFault.NO_SESSION)
    if len(running) > 1:
        return OrderRefused(OrderFault.CONNECTOR_NEEDED)
    return OrderGranted(running[0][0], None, running[0][1])


def _only_connector(state: State, event: StationOrdered) -> OrderGranted | OrderRefused:
    numbers = [key[1] for key in state.connectors if key[0] == event.station_id]
    if len(numbers) > 1:
        return OrderRefused(OrderFault.CONNECTOR_NEEDED)
    return OrderGranted(numbers[0] if numbers else 1, event.id_tag, event.transaction_id)
