"""Why a station is limited or refused: each note holds exactly as long as its cause."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    Capabilities,
    ConnectorState,
    Ledger,
    PerPhase,
    Phase,
    Reading,
    Site,
    State,
    Station,
    StationNote,
    StationState,
    TurnedAway,
    TurnedAwayFor,
    station_notes,
    told_rotation,
)
from unit.strategies import NOON

GOOD = StationState(
    online=True, met=True, accepted=True, clock_ahead_ms=0, capabilities=Capabilities(step_ma=100), since_ms=100
)


def notes(known: StationState | None, connector: ConnectorState | None = None, **station: object) -> list[StationNote]:
    site = Site(stations=(attrs.evolve(Station("A"), **station),))  # type: ignore[arg-type]
    stations = {} if known is None else {"A": known}
    connectors = {("A", 1): connector or ConnectorState(Ledger(None)), ("B", 1): ConnectorState(Ledger(None))}
    return list(station_notes(State(site=site, stations=stations, connectors=connectors), "A"))


def test_a_station_without_a_flaw_has_no_note() -> None:
    assert notes(GOOD) == []


def test_a_stranger_waits_and_nobody_is_nobody() -> None:
    assert station_notes(State(stations={"S": GOOD}), "S") == (StationNote.PENDING,)
    assert station_notes(State(), "S") == ()


def test_one_that_never_called_is_told_apart_from_one_that_is_away() -> None:
    assert notes(None) == notes(StationState()) == [StationNote.NEVER_MET]
    gone = attrs.evolve(GOOD, online=False)
    assert notes(gone) == [StationNote.OFFLINE]
    assert notes(attrs.evolve(gone, reset_ms=90)) == [StationNote.RESTARTING]
    assert notes(attrs.evolve(gone, reset_ms=110)) == [StationNote.OFFLINE], "it left before it was told to"


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"capabilities": Capabilities()}, StationNote.WHOLE_AMPS),
        ({"capabilities": Capabilities(in_watts=True)}, StationNote.IN_WATTS),
        ({"capabilities": Capabilities(step_ma=100, stacks=False)}, StationNote.ONE_PROFILE),
        ({"capabilities": Capabilities(step_ma=100, decays=False)}, StationNote.NO_FALL_BACK),
        ({"capabilities": Capabilities(step_ma=100, takes_limits=False)}, StationNote.TAKES_NO_LIMIT),
        ({"inoperative": frozenset({1})}, StationNote.INOPERATIVE),
        ({"clock_ahead_ms": None}, StationNote.CLOCK_UNKNOWN),
        ({"clock_ahead_ms": -11_000}, StationNote.CLOCK_OFF),
        ({"turned_away": TurnedAway(NOON, "10.0.0.9", TurnedAwayFor.WRONG_KEY)}, StationNote.TURNED_AWAY),
        ({"configuration": {"ConnectorPhaseRotation": "0.RST,1.STR"}}, StationNote.PHASE_ORDER_DIFFERS),
    ],
)
def test_what_limits_a_station_is_named(change: dict[str, object], note: StationNote) -> None:
    assert notes(attrs.evolve(GOOD, **change)) == [note]  # type: ignore[arg-type]


def test_a_station_that_is_told_nothing_yet_is_not_judged_by_what_it_can() -> None:
    assert notes(attrs.evolve(GOOD, accepted=False, capabilities=Capabilities())) == []


def test_what_people_set_and_what_it_does_is_named() -> None:
    assert notes(GOOD, out_of_service=True) == [StationNote.OUT_OF_SERVICE]
    disobeys = ConnectorState(Ledger(None, refusals=3), disobeys_ms=5)
    assert notes(GOOD, disobeys) == [StationNote.DISOBEYS, StationNote.REJECTS_LIMITS]
    assert notes(GOOD, ConnectorState(Ledger(None, refusals=2))) == []
    assert notes(GOOD, ConnectorState(Ledger(None, zero_refusals=2))) == [StationNote.REFUSES_ZERO]


@pytest.mark.parametrize(
    ("reading", "hides"),
    [
        (Reading(1, PerPhase.same(6_000), by_phase=False), True),
        (Reading(1, PerPhase.same(900), by_phase=False), False),  # who draws nothing has nothing to tell
        (Reading(1, PerPhase(6_000, 0, 0)), False),
        (None, False),
    ],
)
def test_a_station_that_does_not_tell_on_which_phases_its_car_draws_is_named(
    reading: Reading | None, hides: bool
) -> None:
    connector = ConnectorState(Ledger(None), readings=() if reading is None else (Reading(0, PerPhase()), reading))
    assert notes(GOOD, connector) == [StationNote.PHASES_NOT_TOLD] * hides
    assert notes(GOOD, connector, phase_rotation=(Phase.L1,)) == [], "there is no other"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.RST,1.STR", ("L2", "L3", "L1")),
        ("0.RTS", ("L1", "L3", "L2")),
        ("rst", ("L1", "L2", "L3")),
        ("1.NotApplicable", None),
        ("Unknown", None),
        ("", None),
        ("1.RSS", None),
    ],
)
def test_a_phase_order_is_read_as_stations_write_it(value: str, told: tuple[str, ...] | None) -> None:
    assert told_rotation(value) == told


def test_a_phase_order_that_agrees_or_cannot_be_compared_is_no_note() -> None:
    told = attrs.evolve(GOOD, configuration={"ConnectorPhaseRotation": "RST"})
    assert notes(told) == []
    assert notes(told, phase_rotation=(Phase.L2,)) == []
