"""The dispatch to the milliamp and the millisecond: what exactly it waits for, and no longer."""

from __future__ import annotations

import attrs

from llm_core import AppliesTo, PerPhase, SetLimit, Station, Supply
from llm_core.dispatch import RAISE_AFTER_MS
from llm_core.events import Capabilities
from llm_core.ledger import Inherited, Ledger
from llm_core.state import ConnectorState, Reading
from unit.test_dispatch import (
    BOOTED,
    EMPTY,
    LEASE_MS,
    METERED,
    NOW_MS,
    changed,
    charging,
    chosen,
    failed,
    known,
    read,
    said,
    scene,
    site,
    starting,
    then_of,
    under_way,
    until_quiet,
)
from unit.test_dispatch_outside import below

IN_TENTHS = Capabilities(step_ma=100)


def test_a_small_raise_waits_from_the_last_change_on() -> None:
    state = changed(known(scene(site(32), A=charging("A", 6)), "A", capabilities=IN_TENTHS), "A", changed_ms=NOW_MS)
    assert said(state, NOW_MS + RAISE_AFTER_MS - 1, A=6.9) == []
    assert said(state, NOW_MS + RAISE_AFTER_MS, A=6.9) == ["A transaction 6.9 up"]


def test_who_holds_more_than_told_and_is_not_coming_down_makes_no_room_to_wait_for() -> None:
    """Of B, which has just been met, nothing is known; A takes what is left beside its maximum."""
    state = scene(site(30), A=charging("A", 6), B=ConnectorState(Ledger(Inherited(16_000, 16_000, None))))
    assert "A transaction 14 up" in said(state, A=20)


def test_a_command_under_way_that_frees_nothing_is_not_waited_for() -> None:
    state = attrs.evolve(scene(site(30), A=charging("A", 6), B=charging("B", 16)), next_seq=10)
    renewed = under_way(state, chosen(attrs.evolve(state, leases_from_ms=1), B=16)[:1])
    assert said(renewed, A=20, B=16) == ["A transaction 14 up"]
    lowered = under_way(state, chosen(state, B=10))
    assert said(lowered, A=20, B=10) == []
    assert said(lowered, A=14, B=10) == ["A transaction 14 up"]  # all of it fits beside what B still holds


def test_what_is_left_behind_fits_to_the_milliamp_below_a_limit_that_takes_nothing() -> None:
    state = scene(site(12), A=charging("A", 0), B=charging("B", 0))
    apart = Supply(static_max_ma=PerPhase.same(12_000), derated_ma=PerPhase.same(20_000))
    state = attrs.evolve(state, site=attrs.evolve(state.site, supply=apart))
    for limit_a, behind in ((25, {"A": 6, "B": 6}), (20, {"A": 6, "B": 6}), (19.9, {"A": 6, "B": 0})):
        assert then_of(below(state, limit_a, applies_to=AppliesTo.TOTAL), A=6, B=6) == behind


def test_a_floor_that_fits_exactly_is_laid() -> None:
    alone = Station("A", start_alone_ma=8_000), Station("B", max_ma=32_000)
    assert said(scene(site(28, *alone), A=EMPTY, B=charging("B", 20)), B=20) == ["A floor 8 up"]


def test_a_floor_that_is_safe_exactly_is_laid() -> None:
    """8 A of A and the 6 A that B leaves behind are the 14 A that are safe without the meter."""
    alone = Station("A", start_alone_ma=8_000), Station("B", max_ma=32_000)
    supply = attrs.evolve(METERED.supply, fallback_ma=PerPhase.same(14_000))
    state = scene(attrs.evolve(METERED, stations=alone, supply=supply), A=EMPTY, B=charging("B", 6, 6))
    assert said(read(state, NOW_MS, 0, 0, 0), B=6) == ["A floor 8 up"]


def test_what_fits_no_more_is_left_behind_as_nothing_at_all() -> None:
    supply = attrs.evolve(METERED.supply, fallback_ma=PerPhase.same(11_000))
    state = scene(attrs.evolve(METERED, supply=supply), A=charging("A", 0), B=charging("B", 0))
    commands = chosen(read(state, NOW_MS, 0, 0, 0), A=6, B=6)
    assert [command.then_ma for command in commands if isinstance(command, SetLimit)] == [6_000, 0]


def test_what_is_more_than_follows_a_lease_that_is_over_is_a_raise() -> None:
    """It was told 16 A and gives 6 by now: 10 A are more than it has, and 10 fit."""
    state = scene(site(10), A=charging("A", 16, 6))
    assert said(state, LEASE_MS + 30_000, A=10) == ["A transaction 10 up"]


def test_a_renewal_leaves_before_a_raise_whoever_comes_first() -> None:
    state = scene(site(32), A=charging("A", 6), B=charging("B", 16))
    assert said(state, LEASE_MS * 6 // 10, A=16, B=16) == ["B transaction 16", "A transaction 16 up"]


def test_a_decrease_does_not_wait_for_what_nobody_answered() -> None:
    state = attrs.evolve(scene(site(32), A=charging("A", 10)), next_seq=10)
    raised = chosen(state, A=16)[0]
    assert said(failed(state, raised, NOW_MS, refused=False), NOW_MS + 1, A=6) == ["A transaction 6"]
    assert said(failed(state, raised, NOW_MS, refused=True), NOW_MS + 1, A=6) == []


def test_after_a_restart_a_reading_of_ten_seconds_ago_is_the_oldest_that_tells() -> None:
    for age_ms, told in ((10_000, "A transaction 9"), (10_001, "A transaction 0")):
        reading = Reading(NOW_MS - age_ms, PerPhase.same(9_000))
        met_again = attrs.evolve(starting("A", BOOTED), readings=(reading,))
        assert until_quiet(scene(site(5), A=met_again), A=10)[1] == told
