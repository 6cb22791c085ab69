"""Who may move: room to give, a standstill, a cut; and what each means for one demand."""

from __future__ import annotations

import pytest

from llm_core import PHASES, LimitNode, PerPhase, Phase
from llm_core.budget import Room
from llm_core.site import MOST_MA
from llm_core.steadiness import Pressure, bound_of, pressure_on, pressures

L1, L2, L3 = PHASES
FREE, STILL, CUT = Pressure


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
    assert pressure_on(phases, ("yard", "site"), pressure) is expected


def test_with_room_a_car_may_ask_for_anything() -> None:
    assert bound_of(FREE, 0, 6_000) == bound_of(FREE, 16_000, 6_000) == MOST_MA


@pytest.mark.parametrize("pressure", [STILL, CUT])
def test_under_pressure_nobody_gets_more_than_it_was_told_and_nobody_starts(pressure: Pressure) -> None:
    assert bound_of(pressure, 10_000, 6_000) == 10_000
    assert bound_of(pressure, 6_000, 6_000) == 6_000
    assert bound_of(pressure, 5_999, 6_000) is None
    assert bound_of(pressure, 0, 6_000) is None
