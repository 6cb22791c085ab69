"""The last gate believes nobody: building, meters, limits from outside and last periods as it works them out itself."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    AppliesTo,
    Capabilities,
    Ended,
    ExternalLimit,
    Lapse,
    LimitRecord,
    LimitState,
    MeterSetup,
    PerPhase,
    Purpose,
    Reading,
    State,
)
from llm_core.guard import Passed
from unit.strategies import NOON
from unit.test_guard import (
    NOW_MS,
    THREE,
    changed,
    holding,
    known,
    metered_supply,
    most_given,
    passed,
    raising,
    scene,
    supply,
    wired,
    with_meter,
)

MINUTE = timedelta(minutes=1)
STATIC = scene(wired(*THREE, supply=supply(32)), A=holding(6), B=holding(6))
DYNAMIC = scene(wired(*THREE, supply=metered_supply(40, fallback_a=20), meters=(SITE,)), A=holding(6), B=holding(6))


def violations(outcome: Passed) -> set[str]:
    return {text.split(":")[0] for text in outcome.violations}


def limited(state: State, limit: ExternalLimit, **known_as: object) -> State:
    record = LimitRecord(limit, "grid", NOON)
    return attrs.evolve(state, limits={"1": LimitState(record, 0, **known_as)}, latest_utc=NOON)  # type: ignore[arg-type]


def reads(state: State, station_id: str, *draws_a: int, at_ms: int = NOW_MS, settled_ms: int = 0) -> State:
    readings = tuple(Reading(at_ms, PerPhase.same(a * 1_000)) for a in draws_a)
    return changed(state, station_id, readings=readings, settled_from_ms=settled_ms)


# Last periods


def permanent(limit_a: int) -> Passed:
    command = attrs.evolve(raising("A", limit_a), lease_ms=None, purpose=Purpose.TRANSACTION)
    return passed(DYNAMIC_AT_REST, command)


DYNAMIC_AT_REST = with_meter(DYNAMIC, SITE, 0, 0, 0)


def test_what_follows_a_limit_without_a_lease_is_that_limit() -> None:
    """Its last period never comes: believed, 32 A would be left alone where 20 are safe."""
    assert violations(permanent(20)) == set()
    assert violations(permanent(21)) == {"I6"}


def test_a_limit_without_a_lease_that_lies_there_is_left_alone_whole() -> None:
    ledger = DYNAMIC_AT_REST.connectors["B", 1].ledger
    lies = attrs.evolve(ledger.transaction.acknowledged, limit_ma=16_000, then_ma=0, lease_ms=None)
    slot = attrs.evolve(ledger.transaction, acknowledged=lies)
    state = changed(DYNAMIC_AT_REST, "B", ledger=attrs.evolve(ledger, transaction=slot))
    assert violations(passed(state, raising("A", 10, then_a=6))) == {"I6"}
    assert violations(passed(state, raising("A", 10))) == set()


# The building


def overlooked(state: State) -> State:
    """The planners take the building for nothing."""
    phases = {p: attrs.evolve(m, high_ma=0) for p, m in state.meters[SITE].phases.items()}
    return attrs.evolve(state, meters={SITE: attrs.evolve(state.meters[SITE], phases=phases)})


def test_a_cluster_whose_own_meter_is_lost_has_no_room_for_anybody() -> None:
    attic = attrs.evolve(THREE[0], cluster="attic")
    site = wired(attic, supply=supply(63), meters=("attic",), attic=PerPhase.same(20_000))
    state = scene(site, A=holding(6))
    assert most_given(with_meter(state, "attic", 0, 8, 0), "A") == 12
    for lost in (with_meter(state, "attic", 0, 8, 0, lost=(PHASES[1],)), with_meter(state, "attic", 0, None, 0), state):
        assert violations(passed(lost, raising("A", 7))) == {"I1"}


def test_the_building_is_what_the_meter_shows_beyond_what_stations_surely_draw() -> None:
    """The planners' figure is believed only where it is higher."""
    blind = overlooked(with_meter(DYNAMIC, SITE, 30, 30, 30))
    assert violations(passed(blind, raising("A", 7))) == {"I1"}
    assert most_given(reads(blind, "B", 6), "A") == 10  # 24 A of building, 6 A at B
    assert most_given(reads(blind, "B", 2, 6, settled_ms=NOW_MS + 1), "A") == 6  # 28 A: it follows a change
    assert violations(passed(reads(blind, "B", 6, at_ms=NOW_MS - 35_001), raising("A", 7))) == {"I1"}
    off = known(reads(blind, "B", 6), "B", online=False)
    assert violations(passed(off, raising("A", 7))) == {"I1"}


def test_who_is_raised_may_have_let_go_of_what_goes_beyond_the_least_it_was_told() -> None:
    said = changed(overlooked(with_meter(DYNAMIC, SITE, 20, 20, 20)), "A", least_told_ma=2_000)
    assert most_given(reads(said, "A", 6), "A") == 20  # 14 A of building, 6 A at B
    unsettled = reads(said, "A", 6, settled_ms=NOW_MS + 1)
    assert most_given(unsettled, "A") == 16  # 18 A of building
    assert most_given(unsettled, "B") == 20  # nobody takes A's place but A


def test_who_draws_more_than_it_is_told_has_not_let_go_of_it_as_well() -> None:
    """A rounds up and takes 9 A of 6. Either the meter's 38 A show that, and there are 23 A of building; or it has
    followed to 6 A, there are 26, and told 8 it takes 8."""
    said = changed(overlooked(with_meter(DYNAMIC, SITE, 38, 38, 38)), "A", mean_ma=PerPhase.same(9_000))
    unsettled = reads(changed(said, "A", least_told_ma=6_000), "A", 9, settled_ms=NOW_MS + 1)
    assert most_given(reads(unsettled, "B", 6), "A") == 8


def test_a_meter_that_sees_the_others_only_shows_the_building_as_it_is() -> None:
    site = DYNAMIC.site
    others = attrs.evolve(site, meters=(attrs.evolve(site.meters[0], includes_stations=False),))
    state = overlooked(with_meter(attrs.evolve(DYNAMIC, site=others), SITE, 20, 20, 20))
    assert most_given(reads(state, "B", 6), "A") == 14


def test_behind_a_lost_meter_what_strangers_draw_is_none_of_what_is_safe() -> None:
    strange = {("X", 1): Reading(NOW_MS, PerPhase(4_000, 0, 0))}
    lost = attrs.evolve(with_meter(DYNAMIC, SITE, 0, 0, 0, lost=PHASES), strangers=strange)
    assert most_given(lost, "A") == 10  # of 20 A
    unset = attrs.evolve(lost, site=attrs.evolve(DYNAMIC.site, meters=()))
    assert most_given(unset, "A") == 10
    load = MeterSetup(SITE, MANUAL, load_ma=PerPhase.same(15_000))
    assumed = attrs.evolve(lost, site=attrs.evolve(DYNAMIC.site, meters=(load,)))
    assert most_given(assumed, "A") == 15


def test_one_that_forgets_may_give_its_maximum_as_soon_as_it_is_out_of_sight() -> None:
    """A test has shown that a restart or a cut link leaves it without its limits."""
    state = known(STATIC, "B", capabilities=Capabilities(forgets=True))
    assert most_given(state, "A") == 26
    roomy = attrs.evolve(known(state, "B", online=False), site=attrs.evolve(STATIC.site, supply=supply(40)))
    assert most_given(roomy, "A") == 8


def test_a_silent_meter_proves_no_room() -> None:
    fresh, stale = (with_meter(DYNAMIC, SITE, 0, 0, 0, seen_ms=NOW_MS - ms) for ms in (5_000, 5_001))
    assert violations(passed(fresh, raising("A", 7))) == set()
    assert violations(passed(stale, raising("A", 7))) == {"I5"}
    slow = attrs.evolve(stale, meters={SITE: attrs.evolve(stale.meters[SITE], period_ms=2_000)})
    assert violations(passed(slow, raising("A", 7))) == set()


# Limits from outside


def test_a_limit_of_the_stations_is_kept_by_all_of_them() -> None:
    state = limited(STATIC, ExternalLimit(limit_ma=PerPhase.same(20_000)), holds=True)
    assert most_given(state, "A") == 14
    strange = attrs.evolve(state, strangers={("X", 1): Reading(NOW_MS, PerPhase(4_000, 0, 0))})
    assert most_given(strange, "A") == 10


def test_a_limit_in_watts_counts_over_the_phases() -> None:
    state = limited(STATIC, ExternalLimit(limit_w=13_800), holds=True)
    assert most_given(state, "A") == 14


def test_a_limit_of_the_total_leaves_the_building_its_part() -> None:
    total = ExternalLimit(limit_ma=PerPhase.same(30_000), applies_to=AppliesTo.TOTAL)
    assert most_given(limited(with_meter(DYNAMIC, SITE, 10, 10, 10), total, holds=True), "A") == 14
    lost = with_meter(DYNAMIC, SITE, 10, 10, 10, lost=PHASES)
    assert violations(passed(limited(lost, total, holds=True), raising("A", 7))) == {"I1"}  # 10 A are safe, B has 6
    kinder = attrs.evolve(total, limit_ma=PerPhase.same(34_000))
    assert most_given(limited(lost, kinder, holds=True), "A") == 8


def test_a_limit_elsewhere_binds_nobody_here() -> None:
    assert most_given(limited(STATIC, ExternalLimit(node="attic", limit_w=0), holds=True), "A") == 26


@pytest.mark.parametrize(
    ("limit", "known_as", "binds"),
    [
        (ExternalLimit(limit_w=0), {}, True),
        (ExternalLimit(limit_w=0, starts_at=NOON - 5 * MINUTE, ends_at=NOON + MINUTE), {}, True),
        (ExternalLimit(limit_w=0, starts_at=NOON - MINUTE), {}, False),  # our clock may be off by that much
        (ExternalLimit(limit_w=0, ends_at=NOON), {}, False),
        (ExternalLimit(limit_w=0, then=Lapse.LIFT), {"silent": True}, False),
        (ExternalLimit(limit_w=0, then=Lapse.KEEP), {"silent": True}, True),
    ],
)
def test_by_its_own_times_a_limit_binds_whatever_was_made_of_it(
    limit: ExternalLimit, known_as: dict[str, object], binds: bool
) -> None:
    state = limited(STATIC, limit, **known_as)
    assert violations(passed(state, raising("A", 7))) == ({"I1"} if binds else set())


def test_a_limit_that_has_ended_or_whose_time_nobody_knows_binds_only_by_what_was_made_of_it() -> None:
    over = limited(STATIC, ExternalLimit(limit_w=0))
    ended = attrs.evolve(over.limits["1"].record, ended=Ended.WITHDRAWN)
    state = attrs.evolve(over, limits={"1": attrs.evolve(over.limits["1"], record=ended)})
    assert violations(passed(state, raising("A", 7))) == set()
    assert violations(passed(attrs.evolve(over, latest_utc=None), raising("A", 7))) == set()
