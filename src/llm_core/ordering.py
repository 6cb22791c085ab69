"""Orders of people to stations: whether they may be given, and what control learns of how they ended."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from llm_core.authorisation import Verdict, authorise, find_badge, normalise
from llm_core.effects import AuditEntry, Effect, Reply, Save, Saved
from llm_core.orders import (
    Order,
    OrderEnded,
    OrderFault,
    OrderGranted,
    OrderRefused,
    OutOfUse,
    Reservation,
    ReservationRecord,
    StationOrdered,
)
from llm_core.presence import with_station
from llm_core.quantities import Now
from llm_core.reservations import reserved_for_another, without_reservation
from llm_core.site import AccessRule, Station
from llm_core.state import State, StationState

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)  # orders are numbered on from the seconds since: never twice the same
_WHOLE_STATION = (Order.AVAILABILITY, Order.TRIGGER, Order.EXTENDED_TRIGGER, Order.RESERVE, Order.COMPOSITE_SCHEDULE)
INOPERATIVE = "inoperative"  # the detail of an order that takes out of use
REMOTE_TAG = "REMOTE"  # where nobody needs a badge, a start still needs a tag

Result = tuple[State, tuple[Effect, ...]]


def ordered(state: State, event: StationOrdered, now: Now) -> Result:
    """Whether the order may be given; a refusal is audited at once, what is granted once it has ended."""
    state, overdue = _without_overdue(state, now)
    answer = _judged(state, event, now)
    if isinstance(answer, OrderGranted):
        number = answer.number or max(state.next_order, int((now.utc - BEGINNING).total_seconds()))
        state = attrs.evolve(state, next_order=max(state.next_order, number + 1))
        return state, (*overdue, Reply(event.request, attrs.evolve(answer, number=number)))
    outcome = f"not sent: {answer.fault.value} {answer.detail}".strip()
    entry = AuditEntry(now.utc, event.by, event.order.value, _place(event), outcome)
    return state, (*overdue, Save(entry), Reply(event.request, answer))


def order_ended(state: State, event: OrderEnded, now: Now) -> Result:
    """The order in the audit trail, and what it changes. Who asks waits until both are stored."""
    entry = AuditEntry(now.utc, event.by, event.order.value, _place(event), event.outcome)
    state, saves = _changed_by(state, event, now)
    return state, (*saves, Save(entry), Reply(event.request, Saved()))


def _changed_by(state: State, event: OrderEnded, now: Now) -> Result:
    """What control has to know of. A station that restarts because we asked it to may be away for a while."""
    known = state.stations.get(event.station_id)
    if known is None or not event.done:
        return state, ()
    match event.order:
        case Order.RESET:
            return with_station(state, event.station_id, attrs.evolve(known, reset_ms=now.monotonic_ms)), ()
        case Order.AVAILABILITY:
            known = _in_use(known, event)
            kept = OutOfUse(event.station_id, known.inoperative)
            return with_station(state, event.station_id, known), (Save(kept),)
        case Order.RESERVE:
            return _reserved(state, event)
        case Order.CANCEL_RESERVATION:
            return without_reservation(state, (event.station_id, event.granted.number))
        case _:
            return state, ()


def _in_use(known: StationState, event: OrderEnded) -> StationState:
    """Which connectors a person took out of use; an order for the whole station counts for each."""
    connector = event.granted.connector or 0
    if event.detail == INOPERATIVE:
        return attrs.evolve(known, inoperative=known.inoperative | {connector})
    return attrs.evolve(known, inoperative=frozenset() if connector == 0 else known.inoperative - {connector})


def _reserved(state: State, event: OrderEnded) -> Result:
    granted = event.granted
    if granted.until is None or granted.id_tag is None:
        return state, ()
    number, connector = granted.number, granted.connector or 0
    reservation = Reservation(
        number, event.station_id, connector, granted.id_tag, granted.until, for_group=granted.for_group
    )
    kept = {**state.reservations, reservation.key: reservation}
    return attrs.evolve(state, reservations=kept), (Save(ReservationRecord(event.station_id, number, reservation)),)


def _without_overdue(state: State, now: Now) -> Result:
    """Reservations whose time is over are forgotten when the next order comes."""
    saves: list[Effect] = []
    for key in [r.key for r in state.reservations.values() if r.until <= now.utc]:
        state, saved = without_reservation(state, key)
        saves += saved
    return state, tuple(saves)


def _place(event: StationOrdered | OrderEnded) -> str:
    connector = event.connector if isinstance(event, StationOrdered) else event.granted.connector
    where = event.station_id if connector is None else f"{event.station_id}/{connector}"
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
        case Order.RESERVE:
            return _reserve(state, event, station, now)
        case Order.CANCEL_RESERVATION:
            return _cancel(state, event)
        case Order.UNLOCK | Order.COMPOSITE_SCHEDULE if event.connector is None:
            return _only_connector(state, event)
        case _:
            return OrderGranted(event.connector, event.id_tag, event.transaction_id)


def _has(state: State, station: Station, connector: int, order: Order) -> bool:
    """Whether there is such a connector; 0 is the station as a whole, where that can be meant."""
    if connector == 0:
        return order in _WHOLE_STATION
    return 1 <= connector <= station.connectors or (station.id, connector) in state.connectors


def _start(state: State, event: StationOrdered, station: Station, now: Now) -> OrderGranted | OrderRefused:
    """A start from afar needs what a start at the station needs; under a CPO the tag is the CPO's to judge."""
    if _is_occupied(state, event):
        return OrderRefused(OrderFault.OCCUPIED)
    answer = _with_badge(state, event, station, now)
    if isinstance(answer, OrderGranted) and answer.id_tag is not None:
        holder = reserved_for_another(state, station.id, event.connector, answer.id_tag, now)
        if holder is not None:
            return OrderRefused(OrderFault.RESERVED)
        return attrs.evolve(answer, connector=_meant(state, event))
    return answer


def _meant(state: State, event: StationOrdered) -> int | None:
    """The connector that is meant: the one that is named, the only one, or the only one where a car waits.

    None where it is the station's to choose. Some stations take no start without a connector.
    """
    if event.connector is not None:
        return event.connector
    there = {key[1]: connector for key, connector in state.connectors.items() if key[0] == event.station_id}
    waiting = [number for number, connector in there.items() if connector.preparing_ms is not None]
    if len(there) == 1:
        return next(iter(there))
    return waiting[0] if len(waiting) == 1 else None


def _is_occupied(state: State, event: StationOrdered) -> bool:
    wanted = [
        c for key, c in state.connectors.items() if key[0] == event.station_id and event.connector in (None, key[1])
    ]
    return bool(wanted) and all(connector.session is not None for connector in wanted)


def _with_badge(state: State, event: StationOrdered, station: Station, now: Now) -> OrderGranted | OrderRefused:
    rule = state.site.access
    tag = event.id_tag or (REMOTE_TAG if rule is AccessRule.FREE else "")
    if not tag:
        return OrderRefused(OrderFault.BADGE_NEEDED)
    order = state.site.badge_rules.byte_order
    badge = find_badge(tag, state.badges, order)
    tag = badge.badge_id if badge is not None else tag
    if rule is not AccessRule.CPO:
        verdict = authorise(normalise(tag), station, rule, state.badges, now, latest_utc=state.latest_utc, order=order)
        if verdict is not Verdict.ACCEPTED:
            return OrderRefused(OrderFault.BADGE_REFUSED, verdict.value)
    return OrderGranted(event.connector, tag)


def _reserve(state: State, event: StationOrdered, station: Station, now: Now) -> OrderGranted | OrderRefused:
    """A connector is reserved for a badge that may charge there, and for one badge at a time."""
    if event.until is None or event.until <= now.utc:
        return OrderRefused(OrderFault.IN_THE_PAST)
    if not event.id_tag:
        return OrderRefused(OrderFault.BADGE_NEEDED)
    if event.connector != 0 and _is_occupied(state, event):
        return OrderRefused(OrderFault.OCCUPIED)
    place = _only_connector(state, event) if event.connector is None else OrderGranted(event.connector)
    answer = _with_badge(state, event, station, now)
    if isinstance(place, OrderRefused):
        return place
    if isinstance(answer, OrderRefused) or answer.id_tag is None:
        return answer
    if reserved_for_another(state, station.id, place.connector, answer.id_tag, now) is not None:
        return OrderRefused(OrderFault.RESERVED)
    return attrs.evolve(answer, connector=place.connector, until=event.until)


def _cancel(state: State, event: StationOrdered) -> OrderGranted | OrderRefused:
    """The reservation that is named, or the one of the connector, or the only one of the station."""
    there = [
        reservation
        for reservation in state.reservations.values()
        if reservation.station_id == event.station_id
        and event.connector in (None, reservation.connector)
        and event.number in (None, reservation.number)
    ]
    if not there:
        return OrderRefused(OrderFault.NO_RESERVATION)
    if len(there) > 1:
        return OrderRefused(OrderFault.CONNECTOR_NEEDED)
    return OrderGranted(there[0].connector, there[0].id_tag, number=there[0].number)


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
