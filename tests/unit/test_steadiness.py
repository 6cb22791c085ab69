"""Who may move: room to give, a standstill, a cut; and what each means for one demand."""

from __future__ import annotations

import pytest

from llm_core import PHASES, Binding, Demand, LimitNode, PerPhase, Phase
from llm_core.budget import Room
from llm_core.site import MOST_MA
from llm_core.steadiness import (
    SLACK_MA,
    SMALL_MA,
    Pressure,
    bound_of,
    cut_few,
    pressure_on,
    pressures,
    small_excesses,
)

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


# What the noise of a building asks for

CHAINS = {"site": ("site",), "yard": ("yard", "site")}
SITE_L1 = Binding("site", L1)


def car(name: str, told_ma: int, phases: tuple[Phase, ...] = PHASES, node: str = "yard") -> Demand:
    return Demand(name, node, phases, 6_000, told_ma, step_ma=100)


def after_cut(over: dict[Binding, int], *cars: Demand) -> tuple[list[int], dict[str, Binding]]:
    demands, cut = cut_few({car.id: car for car in cars}, over, CHAINS)
    return [demand.max_ma for demand in demands.values()], cut


def test_only_a_small_excess_is_small() -> None:
    tree = (LimitNode("site", None, PerPhase()),)
    rooms = {"site": Room(PerPhase(), PerPhase.same(10_000))}
    taken = {"site": [10_000, 10_001, 10_000 + SMALL_MA]}
    assert small_excesses(tree, rooms, taken) == {Binding("site", L2): 1}


def test_a_small_excess_and_some_slack_is_taken_from_the_largest_alone() -> None:
    cars = (car("A", 8_000), car("B", 9_000), car("C", 12_000, (L2,)))
    assert after_cut({SITE_L1: 150}, *cars) == ([8_000, (8_850 - SLACK_MA) // 100 * 100, 12_000], {"B": SITE_L1})


def test_slack_pauses_nobody_and_neither_does_the_excess() -> None:
    assert after_cut({SITE_L1: 200}, car("A", 6_300)) == ([6_000], {"A": SITE_L1})
    assert after_cut({SITE_L1: 400}, car("A", 6_300)) == ([6_300], {})


def test_what_one_place_has_given_counts_at_the_next() -> None:
    over = {SITE_L1: 200, Binding("site", L2): 300, Binding("yard", L3): 300}
    assert after_cut(over, car("A", 9_000)) == ([8_100], {"A": SITE_L1})


def test_where_no_car_is_nothing_is_cut() -> None:
    assert after_cut({Binding("yard", L1): 200}, car("A", 9_000, node="site"), car("B", 9_000, (L2,))) == (
        [9_000, 9_000],
        {},
    )
