"""How the upper estimate of a building falls: to the highest it was since all cars have spoken, and never by itself."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    PHASES,
    SITE,
    ConnectorState,
    Ledger,
    MeterPhase,
    MeterSampled,
    MeterSetup,
    Mode,
    PerPhase,
    Reading,
    Site,
    State,
    Station,
    StationState,
    Supply,
)
from llm_core.budget import aged, interval, sampled, survey
from llm_core.ledger import Held, Slot
from unit.strategies import now

L1, L2, L3 = PHASES
A = ("A", 1)
DRAW_MA = 10_000


def at(seconds: int) -> int:
    return now(seconds).monotonic_ms


class Watched:
    """A building with one car that draws 10 A, and what is thought of the building second by second."""

    def __init__(self) -> None:
        ledger = Ledger(None, floor=Slot(Held(1, 0, 0, at(0), None)), transaction=Slot(Held(2, 16_000, 0, at(0), None)))
        self.state = State(
            site=Site(
                supply=Supply(Mode.DYNAMIC, fallback_ma=PerPhase.same(10_000)),
                stations=(Station("A"),),
                meters=(MeterSetup(SITE, "any", "meter"),),
            ),
            stations={"A": StationState(online=True, accepted=True, clock_ahead_ms=0)},
            connectors={A: ConnectorState(ledger)},
        )
        self.says(0)

    def says(self, second: int) -> None:
        """The station reports 10 A on all phases."""
        reading = Reading(at(second), PerPhase.same(DRAW_MA))
        connector = attrs.evolve(self.state.connectors[A], readings=(reading,))
        self.state = attrs.evolve(self.state, connectors={A: connector})

    def high(self, second: int, *building_ma: int | None) -> int:
        """What L1 of the building is taken for after a sample (one value for all phases, or three)."""
        values = [None if ma is None else ma + DRAW_MA for ma in building_ma]
        l1, l2, l3 = values if len(values) == 3 else values * 3
        self.state = sampled(self.state, MeterSampled(SITE, (l1, l2, l3), at(second), second), at(second))
        now_ms = at(second)
        meters = interval(self.state, aged(self.state, now_ms), survey(self.state, now_ms), now_ms)
        self.state = attrs.evolve(self.state, meters=meters)
        return self.phase.high_ma

    @property
    def phase(self) -> MeterPhase:
        return self.state.meters[SITE].phases[L1]


def test_it_falls_to_the_highest_since_the_fall_once_the_car_has_spoken_since() -> None:
    watched = Watched()
    assert watched.high(0, 20_000) == 20_000
    assert [watched.high(1, 12_000), watched.high(2, 16_000), watched.high(3, 13_000)] == [20_000] * 3
    watched.says(4)
    assert watched.high(5, 13_000) == 16_000, "it was 16 A at second 2, after the fall began"


def test_each_further_fall_waits_for_the_car_to_speak_again() -> None:
    watched = Watched()
    watched.high(0, 20_000), watched.high(1, 12_000), watched.high(2, 16_000)
    watched.says(4)
    assert watched.high(5, 13_000) == 16_000
    assert watched.high(6, 13_000) == 16_000, "nobody spoke since second 5"
    watched.says(7)
    assert watched.high(8, 13_000) == 13_000, "what was before second 5 counts no longer"


def test_a_second_fall_may_be_another_car_that_stopped_so_it_has_to_speak_again() -> None:
    watched = Watched()
    watched.high(0, 20_000), watched.high(1, 12_000), watched.high(2, 16_000)
    watched.says(4)
    assert watched.high(5, 13_000) == 16_000
    watched.says(6)
    assert watched.high(7, 11_500) == 16_000, "it fell by more than 1 A below the lowest since second 5"
    watched.says(8)
    assert watched.high(9, 11_400) == 13_000, "a tenth lower is no new fall; the highest since second 5 was 13 A"


@pytest.mark.parametrize("fault", ["silence", "freeze"])
def test_after_a_fault_of_the_meter_all_that_it_shows_is_the_buildings_until_the_car_has_spoken(fault: str) -> None:
    """The car may have stopped meanwhile: what it drew before proves nothing about what the meter shows now."""
    watched = Watched()
    watched.high(0, 20_000), watched.high(1, 12_000)  # a fall had begun: whoever spoke since proves nothing now
    if fault == "freeze":
        frozen = attrs.evolve(watched.state.meters[SITE], frozen=True)
        watched.state = attrs.evolve(watched.state, meters={SITE: frozen})
    after = 20 if fault == "silence" else 3
    watched.says(after - 1)
    assert watched.high(after, 14_000) == 24_000
    watched.says(after + 1)
    assert watched.high(after + 2, 14_500) == 14_500
    assert watched.high(after + 4, 14_000) == 14_500, "the next samples are a fall like any other"


def test_it_falls_by_itself_where_no_car_draws() -> None:
    watched = Watched()
    idle = attrs.evolve(watched.state.connectors[A], readings=(Reading(at(0), PerPhase()),))
    watched.state = attrs.evolve(watched.state, connectors={A: idle})
    assert watched.high(0, 20_000) == 30_000
    assert watched.high(1, 12_000) == 22_000


def test_it_rises_at_once_and_begins_anew() -> None:
    watched = Watched()
    watched.high(0, 20_000), watched.high(1, 12_000)
    assert watched.high(2, 21_000) == 21_000
    assert watched.phase.fell_ms is None


def test_a_phase_that_was_never_read_keeps_no_other_from_being_estimated() -> None:
    watched = Watched()
    watched.high(0, None, 20_000, 18_000)
    phases = watched.state.meters[SITE].phases
    assert [phases[phase].high_ma for phase in (L2, L3)] == [20_000, 18_000]


def test_what_belongs_to_no_station_of_the_site_hides_none_that_does() -> None:
    watched = Watched()
    stranger = {("0 never adopted", 1): watched.state.connectors[A]}
    state = attrs.evolve(watched.state, connectors=stranger | dict(watched.state.connectors))
    assert [entry.key for entry in survey(state, at(1))] == [A]


def test_a_meter_found_frozen_stays_so_until_a_register_moves() -> None:
    watched = Watched()
    watched.high(0, 20_000)
    frozen = attrs.evolve(watched.state.meters[SITE], frozen=True)
    state = attrs.evolve(watched.state, meters={SITE: frozen})
    again, moved = (MeterSampled(SITE, (30_000,) * 3, at(1), registers) for registers in (0, 1))
    assert sampled(state, again, at(1)).meters[SITE].frozen
    assert not sampled(state, moved, at(1)).meters[SITE].frozen


def test_what_people_want_to_see_of_a_meter_is_kept_as_it_came() -> None:
    voltage_mv = (230_000, 231_000, None)
    sample = MeterSampled(SITE, (1, 2, 3), at(1), 7, voltage_mv, power_w=-4, energy_import_wh=9)
    meter = sampled(Watched().state, sample, at(1)).meters[SITE]
    assert (meter.voltage_mv, meter.power_w, meter.energy_import_wh) == (voltage_mv, -4, 9)
