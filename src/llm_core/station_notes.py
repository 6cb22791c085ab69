"""Why a station is limited or refused, as codes: read from the state, so that a note holds as long as its cause."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from llm_core.budget import decays
from llm_core.demand import NOTHING_MA
from llm_core.pausing import rejects_limits, takes_no_zero
from llm_core.state import State, StationState

CLOCK_OFF_MS = 10_000
_LETTERS = {"R": "L1", "S": "L2", "T": "L3"}


class StationNote(StrEnum):
    """What a person should know of a station, each with a sentence on its page."""

    PENDING = "pending"  # nobody has adopted it: no badge opens it, and it gets no current
    NEVER_MET = "never_met"
    OFFLINE = "offline"
    RESTARTING = "restarting"
    OUT_OF_SERVICE = "out_of_service"
    INOPERATIVE = "inoperative"  # a person took it, or a connector of it, out of use
    TURNED_AWAY = "turned_away"  # somebody with this id was refused
    DISOBEYS = "disobeys"
    REJECTS_LIMITS = "rejects_limits"
    REFUSES_ZERO = "refuses_zero"  # it takes limits, and none of 0 A
    TAKES_NO_LIMIT = "takes_no_limit"  # counts with its maximum all the time
    WHOLE_AMPS = "whole_amps"
    IN_WATTS = "in_watts"
    PHASES_NOT_TOLD = "phases_not_told"  # a car draws, and on which of its phases the station does not say
    ONE_PROFILE = "one_profile"  # no stacking: floor and live limit share one place
    NO_FALL_BACK = "no_fall_back"  # it keeps a limit for ever when it loses us
    CLOCK_UNKNOWN = "clock_unknown"
    CLOCK_OFF = "clock_off"
    PHASE_ORDER_DIFFERS = "phase_order_differs"  # it was told another wiring than is configured here


def station_notes(state: State, station_id: str) -> tuple[StationNote, ...]:
    """Everything that holds now, the gravest first; empty for a station without a flaw."""
    known = state.stations.get(station_id)
    station = state.site.station(station_id)
    if station is None:
        return (StationNote.PENDING,) if known is not None else ()
    if known is None or not known.met:
        return (StationNote.NEVER_MET,)
    notes = [*_presence(known, out_of_service=station.out_of_service), *_obedience(state, station_id)]
    if known.online and known.accepted:
        notes += _abilities(state, station_id, known)
    return tuple(notes)


def _presence(known: StationState, *, out_of_service: bool) -> Iterator[StationNote]:
    if not known.online:
        restarting = known.reset_ms is not None and known.since_ms >= known.reset_ms
        yield StationNote.RESTARTING if restarting else StationNote.OFFLINE
    if out_of_service:
        yield StationNote.OUT_OF_SERVICE
    if known.inoperative:
        yield StationNote.INOPERATIVE
    if known.turned_away is not None:
        yield StationNote.TURNED_AWAY


def _obedience(state: State, station_id: str) -> Iterator[StationNote]:
    mine = [connector for key, connector in state.connectors.items() if key[0] == station_id]
    if any(connector.disobeys_ms is not None for connector in mine):
        yield StationNote.DISOBEYS
    if any(rejects_limits(connector) for connector in mine):
        yield StationNote.REJECTS_LIMITS
    if any(takes_no_zero(connector.ledger) for connector in mine):
        yield StationNote.REFUSES_ZERO


def _abilities(state: State, station_id: str, known: StationState) -> Iterator[StationNote]:
    can = known.capabilities
    if not can.takes_limits:
        yield StationNote.TAKES_NO_LIMIT
    if can.in_watts:
        yield StationNote.IN_WATTS
    elif can.step_ma >= 1_000:
        yield StationNote.WHOLE_AMPS
    if _hides_phases(state, station_id):
        yield StationNote.PHASES_NOT_TOLD
    if not can.stacks:
        yield StationNote.ONE_PROFILE
    if known.clock_ahead_ms is None:
        yield StationNote.CLOCK_UNKNOWN
    elif abs(known.clock_ahead_ms) > CLOCK_OFF_MS:
        yield StationNote.CLOCK_OFF
    elif not decays(state, station_id):
        yield StationNote.NO_FALL_BACK
    if _phase_order_differs(state, station_id, known):
        yield StationNote.PHASE_ORDER_DIFFERS


def _hides_phases(state: State, station_id: str) -> bool:
    station = state.site.station(station_id)
    mine = (connector for key, connector in state.connectors.items() if key[0] == station_id)
    latest = [connector.readings[-1] for connector in mine if connector.readings]
    draws = any(not reading.by_phase and max(reading.current_ma) >= NOTHING_MA for reading in latest)
    return station is not None and len(station.phase_rotation) > 1 and draws


def _phase_order_differs(state: State, station_id: str, known: StationState) -> bool:
    station = state.site.station(station_id)
    told = told_rotation(known.configuration.get("ConnectorPhaseRotation", ""))
    return station is not None and len(station.phase_rotation) == 3 and told not in (None, station.phase_rotation)


def told_rotation(value: str) -> tuple[str, ...] | None:
    """The phase order in a ConnectorPhaseRotation (`0.RST,1.STR` or `RST`), that of connector 1 where they differ.

    None where it tells none (`NotApplicable`, `Unknown`) or not three phases.
    """
    told = {}
    for entry in value.replace(" ", "").split(","):
        number, dot, letters = entry.rpartition(".")
        told[number if dot else "1"] = letters.upper()
    letters = told.get("1") or told.get("0", "")
    if sorted(letters) != sorted(_LETTERS):
        return None
    return tuple(_LETTERS[letter] for letter in letters)
