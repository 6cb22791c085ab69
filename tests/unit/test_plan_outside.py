"""The plan below limits from outside, caps and wishes: what is given, and whose limit it is said to be."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from llm_core import PHASES, SITE, Binding, CapSource, Grant, GrantReason, PerPhase, State, Station, Strategy
from llm_core.budget import Room, survey
from llm_core.plan import plan
from llm_core.state import Key
from llm_core.wish import Need
from unit.test_plan import at, car, scene

OWN, SHARED, EXTERNAL, CPO = (
    GrantReason.OWN_MAXIMUM,
    GrantReason.SHARED_LIMIT,
    GrantReason.EXTERNAL_LIMIT,
    GrantReason.CPO_LIMIT,
)
AT_L1 = Binding(SITE, PHASES[0])


def grants(state: State, *, external: bool = False, needs: Mapping[Key, Need] | None = None) -> list[Grant]:
    rooms = {node.id: Room(node.limit_ma, node.limit_ma) for node in state.site.limit_tree()}
    if external:
        rooms[SITE] = attrs.evolve(rooms[SITE], external=PHASES)
    return list(plan(state, survey(state, at(100)), rooms, at(100), needs or {}).grants.values())


def capped(limit_ma: int, source: CapSource = CapSource.CPO, **more: object) -> State:
    return scene(60_000, car(16_000, caps_ma={source: limit_ma}, **more), car(16_000))


def test_what_an_outside_limit_holds_back_says_so_and_a_reason_of_before_goes() -> None:
    told = Grant("A/1", 10_000, EXTERNAL, AT_L1)
    state = scene(20_000, *(car(10_000, grant=told) for _ in range(2)))
    assert {grant.reason for grant in grants(state, external=True)} == {EXTERNAL}
    still = Room(PerPhase.same(5_000), PerPhase.same(20_000))  # nobody may rise, so everybody keeps what was told
    kept = plan(state, survey(state, at(100)), {SITE: still, "default": still}, at(100)).grants
    assert {(grant.limit_ma, grant.reason) for grant in kept.values()} == {(10_000, SHARED)}


def test_a_cap_is_the_most_and_names_who_set_it() -> None:
    assert grants(capped(10_000))[0] == Grant("A/1", 10_000, CPO)
    assert grants(capped(10_050))[0] == Grant("A/1", 10_000, CPO)  # whole steps
    assert grants(capped(10_000, CapSource.DRIVER))[0].reason is EXTERNAL
    assert grants(capped(10_000, CapSource.TEST))[0].reason is GrantReason.HOLDING
    assert grants(capped(20_000))[0] == Grant("A/1", 16_000, OWN)


def test_a_car_that_wants_less_than_its_cap_is_its_own_limit() -> None:
    assert grants(capped(10_000, cap_ma=8_000))[0] == Grant("A/1", 8_000, GrantReason.VEHICLE)


def test_a_cap_below_the_minimum_pauses() -> None:
    assert grants(capped(5_999))[0] == Grant("A/1", 0, CPO)
    assert grants(capped(6_000))[0] == Grant("A/1", 6_000, CPO)


def test_a_late_decrease_is_told_no_more_than_its_cap() -> None:
    late = car(10_000, held_ma=16_000, lowering_ms=at(97), caps_ma={CapSource.CPO: 8_000})
    assert grants(scene(60_000, late))[0].limit_ma == 8_000


def test_a_car_in_no_hurry_steps_back_and_a_satisfied_one_comes_last() -> None:
    state = scene(30_000, car(10_000), car(10_000), car(10_000))
    assert [g.limit_ma for g in grants(state, needs={("A", 1): Need(rate_ma=7_000)})] == [7_000, 11_500, 11_500]
    satisfied = grants(state, needs={("A", 1): Need(satisfied=True)})
    assert sorted(g.limit_ma for g in satisfied) == [0, 15_000, 15_000]


def test_where_the_unbalance_is_limited_nobody_steps_back() -> None:
    state = scene(30_000, *(car(10_000, phases=PHASES[:1]) for _ in range(3)), unbalance_ma=30_000)
    assert [g.limit_ma for g in grants(state, needs={("A", 1): Need(rate_ma=7_000)})] == [10_000] * 3


def test_what_a_patient_car_of_high_priority_leaves_starts_one_that_had_to_wait_and_stops_nobody() -> None:
    """Where a tier is filled before the next one is admitted, the first takes all; stepping back, it lets one start."""
    stations = (Station("A", priority=1, max_ma=32_000), Station("B", max_ma=32_000))
    state = scene(20_000, car(20_000), car(), stations=stations, strategy=Strategy.PRIORITY, minimum_first=False)
    assert [g.limit_ma for g in grants(state)] == [20_000, 0]
    assert [g.limit_ma for g in grants(state, needs={("A", 1): Need(rate_ma=7_000)})] == [7_000, 13_000]
