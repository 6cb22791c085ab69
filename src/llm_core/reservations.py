"""Reservations as drivers meet them: a connector that is kept for one badge opens for no other."""

from __future__ import annotations

import attrs

from llm_core.authorisation import is_same_badge
from llm_core.effects import Effect, Save
from llm_core.orders import Reservation, ReservationRecord
from llm_core.quantities import Now
from llm_core.state import State


def reserved_for_another(
    state: State, station_id: str, connector: int | None, id_tag: str, now: Now
) -> Reservation | None:
    """The reservation that keeps this badge out, None where none does.

    `connector` None asks whether the badge finds no place at the station at all. A reservation of the whole station
    (connector 0) keeps others out where there is one connector only; where there are more, the station counts. One for
    a group is the station's to keep, and the CPO's.
    """
    order = state.site.badge_rules.byte_order
    there = [r for r in state.reservations.values() if r.station_id == station_id and r.until > now.utc]
    others = {r.connector: r for r in there if not r.for_group and not is_same_badge(id_tag, r.id_tag, order)}
    connectors = {key[1] for key in state.connectors if key[0] == station_id} or {1}
    if len(connectors) == 1 and 0 in others:
        return others[0]
    if connector is not None:
        return others.get(connector)
    kept = [others.get(number) for number in sorted(connectors)]
    return kept[0] if all(kept) else None


def used_reservation(state: State, station_id: str, connector: int, id_tag: str) -> tuple[State, tuple[Effect, ...]]:
    """The badge has come: its reservation there is over."""
    order = state.site.badge_rules.byte_order
    mine = [
        r.key
        for r in state.reservations.values()
        if r.station_id == station_id and r.connector in (0, connector) and is_same_badge(id_tag, r.id_tag, order)
    ]
    return without_reservation(state, mine[0]) if mine else (state, ())


def without_reservation(state: State, gone: tuple[str, int]) -> tuple[State, tuple[Effect, ...]]:
    """The reservation of this number at this station is over, whether or not it was there."""
    kept = {key: value for key, value in state.reservations.items() if key != gone}
    return attrs.evolve(state, reservations=kept), (Save(ReservationRecord(*gone, None)),)
