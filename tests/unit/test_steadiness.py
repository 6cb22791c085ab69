"""Who may move: room to give, a standstill, a cut; and what each means for one demand."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import PHASES, Demand, LimitNode, PerPhase, Phase
from llm_core.budget import Room
from llm_core.steadiness import CUT_MARGIN_MA, Pressure, bounded, cut_to, pressure_on, pressures

L1, L2, L3 = PHASES
FREE, STILL, CUT = Pressure
CAR = Demand("A/1", "yard", PHASES, 6_000, 16_000)


def test_the_pressure_is_what_is_taken_against_what_may_be_given_and_what_may_stay() -> None:
    tree = (LimitNode("site", None, PerPhase()), LimitNode("yard", "site", PerPhase()))
    rooms = {
        "site": Room(raise_ma=PerPhase.same(10_000), keep_ma=PerPhase.same(20_000)),
        "yard": Room(raise_ma=PerPhase.same(-10_000_000), keep_ma=PerPhase.same(0)),
    }
    taken = {"site": [10_000, 20_000, 20_001], "yard": [0, 0, 1]}
    assert pressures(tree, rooms, taken) == {
        ("site", L1): FREE,
        ("site", L2): STILL,
        ("site", L3): CUT,
        ("yard", L1): STILL,
        ("yard", L2): STILL,
        ("yard", L3): CUT,
    }


@pytest.mark.parametrize(("phases", "expected"), [((L1,), FREE), ((L2,), STILL), ((L3,), CUT), (PHASES, CUT)])
def test_the_highest_pressure_on_its_own_phases_up_to_the_root_counts(
    phases: tuple[Phase, ...], expected: Pressure
) -> None:
    pressure = dict.fromkeys(((node, phase) for node in ("site", "yard", "other") for phase in PHASES), FREE)
    pressure |= {("site", L2): STILL, ("yard", L3): CUT, ("other", L1): CUT}
    assert pressure_on(attrs.evolve(CAR, phases=phases), ("yard", "site"), pressure) is expected


def test_with_room_a_demand_takes_part_as_it_is() -> None:
    assert bounded(CAR, 0, FREE) == CAR


@pytest.mark.parametrize("pressure", [STILL, CUT])
def test_under_pressure_nobody_gets_more_than_it_was_told_and_nobody_starts(pressure: Pressure) -> None:
    assert bounded(CAR, 10_000, pressure) == attrs.evolve(CAR, max_ma=10_000)
    assert bounded(CAR, 32_000, pressure) == CAR
    assert bounded(CAR, 6_000, pressure) == attrs.evolve(CAR, max_ma=6_000)
    assert bounded(CAR, 5_999, pressure) is None


def test_a_cut_reaches_a_little_below_the_limit_so_that_the_next_small_step_finds_room() -> None:
    assert cut_to(20_000, CUT, 6_000) == 20_000 - CUT_MARGIN_MA


@pytest.mark.parametrize("pressure", [FREE, STILL])
def test_without_a_cut_there_is_no_margin(pressure: Pressure) -> None:
    assert cut_to(20_000, pressure, 6_000) == 20_000


@given(st.integers(-50_000, 50_000), st.integers(0, 50_000))
def test_the_margin_pauses_nobody_and_a_cut_never_ends_above_the_limit(limit_ma: int, minimums_ma: int) -> None:
    reach_ma = cut_to(limit_ma, CUT, minimums_ma)
    assert limit_ma - CUT_MARGIN_MA <= reach_ma <= limit_ma
    assert reach_ma >= minimums_ma or limit_ma < minimums_ma
    if limit_ma < minimums_ma:  # somebody is paused anyway: not by the margin
        assert reach_ma == limit_ma
