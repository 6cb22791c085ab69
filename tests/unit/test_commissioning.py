"""What a commissioning test has shown is kept, audited, and believed where it is the worse news."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    AuditEntry,
    Capabilities,
    CapabilitiesFound,
    CommissionTold,
    Finding,
    Progress,
    Save,
    Site,
    State,
    Station,
    StationState,
    Trial,
    Tried,
    lesson,
    step,
)
from llm_core.commissioning import has_forgotten
from unit.strategies import now

FINE = StationState(online=True, met=True, accepted=True, vendor="V", model="M", firmware="1")
HOUSE = State(
    site=Site(stations=(Station("A"), Station("B"), Station("C"))),
    stations={"A": FINE, "B": FINE, "C": attrs.evolve(FINE, firmware="2")},
)

IN_TENTHS = Capabilities(step_ma=100)


def told(*tried: tuple[Trial, Finding], progress: Progress = Progress.DONE, station: str = "A") -> CommissionTold:
    return CommissionTold(station, 1, "ann", progress, None, tuple(Tried(*one) for one in tried))


def capable(state: State, station: str, capabilities: Capabilities = IN_TENTHS) -> Capabilities:
    after = step(state, CapabilitiesFound(station, capabilities), now(9)).state
    return after.stations[station].capabilities


def test_a_test_is_seen_while_it_runs_and_kept_when_it_is_over() -> None:
    running = step(HOUSE, told((Trial.AMPS, Finding.YES), progress=Progress.RUNNING), now(1))
    assert running.effects == ()
    assert running.state.commissions["A"].progress is Progress.RUNNING
    done = step(running.state, told((Trial.AMPS, Finding.YES), (Trial.WATTS, Finding.NO)), now(7))
    commission = done.state.commissions["A"]
    assert (commission.at, commission.model) == (now(1).utc, "V / M / 1")
    audit = AuditEntry(now(7).utc, "ann", "commission", "A", "amps yes, watts no")
    assert done.effects == (Save(commission), Save(audit))
    again = step(done.state, told(progress=Progress.RUNNING), now(60)).state
    assert again.commissions["A"].at == now(60).utc


@pytest.mark.parametrize("trial", [Trial.FALLS_BACK, Trial.KEEPS_PROFILES])
def test_what_a_cut_link_or_a_restart_has_disproved_counts_for_every_station_like_it(trial: Trial) -> None:
    state = step(HOUSE, told((trial, Finding.NO)), now(1)).state
    assert state.stations["A"].capabilities.forgets
    assert (capable(state, "B").forgets, capable(state, "C").forgets) == (True, False)
    for finding in (Finding.YES, Finding.UNCLEAR):
        assert not step(HOUSE, told((trial, finding)), now(1)).state.stations["A"].capabilities.forgets
    broken = step(HOUSE, told((trial, Finding.NO), progress=Progress.BROKEN_OFF), now(1)).state
    assert not has_forgotten(broken.commissions["A"])


def test_one_that_was_broken_off_says_why_and_teaches_nothing() -> None:
    broken = attrs.evolve(
        told((Trial.AMPS, Finding.NO), (Trial.WATTS, Finding.NO), progress=Progress.BROKEN_OFF), why="x"
    )
    after = step(HOUSE, broken, now())
    assert after.state.commissions["A"].why == "x"
    assert lesson(after.state, "A") is None
    assert capable(after.state, "A").takes_limits
    silent = attrs.evolve(told(progress=Progress.BROKEN_OFF), why="the station is gone")
    (_, audit) = step(HOUSE, silent, now()).effects
    assert isinstance(audit, Save)
    assert isinstance(audit.record, AuditEntry)
    assert audit.record.new == "the station is gone"


def test_a_test_of_a_stranger_is_nobodys() -> None:
    assert step(HOUSE, told(station="X"), now()).state.commissions == {}
    never_met = attrs.evolve(HOUSE, stations={})
    assert step(never_met, told(), now()).state.commissions["A"].model == ""


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        (((Trial.AMPS, Finding.NO), (Trial.WATTS, Finding.NO)), Capabilities(step_ma=100, takes_limits=False)),
        (((Trial.AMPS, Finding.NO), (Trial.WATTS, Finding.YES)), Capabilities(step_ma=100)),
        (((Trial.DECIMALS, Finding.NO),), Capabilities(step_ma=1_000)),
        (((Trial.DECIMALS, Finding.UNCLEAR),), Capabilities(step_ma=100)),
        (((Trial.SECOND_PERIOD, Finding.NO),), Capabilities(step_ma=100, decays=False)),
        (((Trial.FALLS_BACK, Finding.NO),), Capabilities(step_ma=100, decays=False, forgets=True)),
        (((Trial.FALLS_BACK, Finding.YES),), Capabilities(step_ma=100)),
        (((Trial.KEEPS_PROFILES, Finding.YES),), Capabilities(step_ma=100, keeps_profiles=True)),
    ],
)
def test_what_was_shown_counts_for_the_station_and_for_its_like(
    tried: tuple[tuple[Trial, Finding], ...], expected: Capabilities
) -> None:
    state = step(HOUSE, told(*tried), now()).state
    assert capable(state, "A") == capable(state, "B") == expected
    assert capable(state, "C") == Capabilities(step_ma=100), "another firmware is another station"


def test_what_was_shown_counts_at_once() -> None:
    state = step(HOUSE, told((Trial.FALLS_BACK, Finding.NO)), now()).state
    assert not state.stations["A"].capabilities.decays


def test_a_test_that_disproves_takes_away_what_was_believed() -> None:
    state = step(HOUSE, told((Trial.KEEPS_PROFILES, Finding.NO)), now()).state
    assert not capable(state, "A", Capabilities(keeps_profiles=True)).keeps_profiles
    watts = Capabilities(step_ma=100, in_watts=True)
    state = step(HOUSE, told((Trial.DECIMALS, Finding.NO)), now()).state
    assert capable(state, "A", watts) == watts, "decimals of an amp are nothing to a station that takes watts"


def test_a_station_goes_by_its_own_test_before_that_of_its_like() -> None:
    state = step(HOUSE, told((Trial.FALLS_BACK, Finding.NO), station="B"), now(1)).state
    assert not capable(state, "A").decays
    state = step(state, told((Trial.FALLS_BACK, Finding.YES), station="A"), now(0)).state
    own = lesson(state, "A")
    assert own is not None
    assert own.station_id == "A"
    assert capable(state, "A").decays


def test_a_station_that_does_not_say_what_it_is_learns_from_nobody() -> None:
    state = step(HOUSE, told((Trial.FALLS_BACK, Finding.NO)), now()).state
    nameless = attrs.evolve(state, stations={**state.stations, "B": attrs.evolve(FINE, model="")})
    assert capable(nameless, "B").decays
