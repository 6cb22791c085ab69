"""What nobody answered may lie in a station or may not: whatever goes beyond what it surely has must fit again."""

from __future__ import annotations

import attrs

from llm_core.effects import ClearLimit
from llm_core.quantities import PerPhase
from llm_core.state import ConnectorState, Reading
from unit.strategies import floor, limit
from unit.test_dispatch import (
    BOOTED,
    DEFAULT,
    EMPTY,
    LEASE_MS,
    NOW_MS,
    NUMBERS,
    PREPARING,
    acknowledged,
    charging,
    chosen,
    failed,
    said,
    scene,
    site,
    starting,
)


def test_a_decrease_to_more_than_it_surely_has_must_fit_like_a_raise() -> None:
    """Of 6 A that are sure and 16 A that may lie there, 10 A may be the more: where they do not fit it gets 6 A."""
    state = attrs.evolve(scene(site(32), A=charging("A", 6), B=EMPTY), next_seq=10)
    doubtful = failed(state, chosen(state, A=16)[0], NOW_MS, refused=False)
    later_ms = NOW_MS + 2_000
    assert said(attrs.evolve(doubtful, site=site(10)), later_ms, A=10) == ["A transaction 6"]
    assert said(attrs.evolve(doubtful, storage_failing="full"), later_ms, A=10) == ["A transaction 6"]
    assert said(attrs.evolve(doubtful, site=site(10)), later_ms, A=6) == ["A transaction 6"]


def test_the_first_limit_of_all_that_nobody_answered_is_a_raise_again() -> None:
    """Whether the place is empty nobody knows: then its car has what lies below, the floor or its default."""
    state = attrs.evolve(scene(site(32), A=starting("A", EMPTY)), next_seq=10)
    doubtful = failed(state, chosen(state, A=16)[0], NOW_MS, refused=False)
    later_ms = NOW_MS + 2_000
    assert said(doubtful, later_ms, A=16) == ["A transaction 16 up"]
    assert said(attrs.evolve(doubtful, site=site(10)), later_ms, A=16) == []
    assert said(attrs.evolve(doubtful, site=site(10)), later_ms, A=10) == ["A transaction 0"]
    reserved = attrs.evolve(scene(site(32), A=starting("A", PREPARING)), next_seq=10)
    reserved = failed(reserved, chosen(reserved, A=16)[0], NOW_MS, refused=False)
    assert said(attrs.evolve(reserved, site=site(10)), later_ms, A=10) == ["A transaction 10"]


def test_after_a_restart_a_car_keeps_what_it_draws_though_the_first_limit_was_not_answered() -> None:
    reading = Reading(NOW_MS, PerPhase.same(9_000))
    met_again = attrs.evolve(starting("A", ConnectorState(BOOTED.ledger)), readings=(reading,))
    floored = acknowledged(attrs.evolve(scene(site(5), A=met_again), next_seq=10), (floor(9, 0),))
    doubtful = failed(floored, chosen(floored, A=10)[0], NOW_MS, refused=False)
    bare = acknowledged(doubtful, [ClearLimit(30, "A", 1, purpose=DEFAULT)])
    assert said(bare, NOW_MS + 2_000, A=10) == ["A transaction 9"]
    lowered = acknowledged(floored, [attrs.evolve(limit(31, 6_000, lease_ms=LEASE_MS), transaction_id=NUMBERS["A"])])
    doubtful = failed(lowered, attrs.evolve(limit(32, 16_000), transaction_id=NUMBERS["A"]), NOW_MS, refused=False)
    assert said(doubtful, NOW_MS + 2_000, A=8) == ["A transaction 6"]  # it draws 9 A only until it has followed
