"""The dispatch to the milliamp and the millisecond: what exactly it waits for, and no longer."""

from __future__ import annotations

import attrs

from llm_core import AppliesTo, PerPhase, Station, Supply
from llm_core.dispatch import RAISE_AFTER_MS
from llm_core.events import Capabilities
from llm_core.ledger import Inherited, Ledger
from llm_core.state import ConnectorState
from unit.test_dispatch import (
    EMPTY,
    NOW_MS,
    changed,
    charging,
    chosen,
    known,
    said,
    scene,
    site,
    then_of,
    under_way,
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
