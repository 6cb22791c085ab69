"""The last gate to the milliamp and the millisecond: where exactly it begins to say no."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    PHASES,
    SITE,
    AppliesTo,
    Capabilities,
    ClearLimit,
    ExternalLimit,
    LimitRecord,
    LimitState,
    MeterSetup,
    MeterState,
    PerPhase,
    Purpose,
    Reading,
    SetLimit,
    State,
    Supply,
)
from llm_core.ledger import confirmed, sent
from unit.strategies import NOON, limit
from unit.test_guard import (
    LEASE_MS,
    NOW_MS,
    OVER_MS,
    THREE,
    changed,
    holding,
    known,
    lowering,
    metered_supply,
    passed,
    raising,
    scene,
    supply,
    wired,
    with_meter,
)
from unit.test_guard_alone import DYNAMIC, STATIC, limited, overlooked, reads


def to(command: SetLimit, limit_ma: int) -> SetLimit:
    return attrs.evolve(command, limit_ma=limit_ma)


def fits_exactly(state: State, limit_ma: int, at_ms: int = NOW_MS) -> bool:
    """Whether A may be raised to this and to no milliamp more."""
    less, more = (passed(state, to(raising("A", 6), ma), at_ms=at_ms) for ma in (limit_ma, limit_ma + 1))
    return bool(less.commands) and not more.commands


def test_a_pause_of_another_takes_nothing() -> None:
    state = scene(wired(*THREE, supply=supply(32)), A=holding(6), B=holding(0))
    assert passed(state, lowering("B", 0), raising("A", 32)).violations == ()


def test_of_two_last_periods_for_one_connector_the_larger_is_left_alone() -> None:
    state = scene(wired(*THREE, supply=supply(20)), A=holding(6), B=holding(0))
    floor, live = raising("A", 8, 8, Purpose.FLOOR), raising("A", 10, 0)
    assert passed(state, floor, live, raising("B", 10, 10)).violations == ()
    tight = attrs.evolve(state, site=wired(*THREE, supply=supply(17)))
    for order in ((floor, live), (live, floor)):
        assert f"I6: site {PHASES[0]}: 18000 mA left alone" in passed(tight, *order, lowering("B", 10, 10)).violations


def test_who_leaves_as_much_behind_as_before_is_not_asked() -> None:
    crowded = scene(wired(*THREE, supply=supply(16)), A=holding(10, 10), B=holding(10, 10))
    assert passed(crowded, lowering("B", 10, 10)).violations == ()


def test_a_limit_for_the_next_car_frees_when_its_lease_is_over() -> None:
    default = limit(3, 12_000, 6_000, purpose=Purpose.DEFAULT, lease_ms=LEASE_MS)
    state = scene(wired(*THREE, supply=supply(32)), A=holding(6), B=holding(0))
    ledger = confirmed(sent(state.connectors["B", 1].ledger, default, 0), 3, 0, decays=True)
    state = changed(state, "B", ledger=ledger)
    assert fits_exactly(state, 20_000, OVER_MS - 1)
    assert fits_exactly(state, 26_000, OVER_MS)
    assert fits_exactly(known(state, "B", capabilities=Capabilities(decays=False)), 20_000, OVER_MS)
    lowered = attrs.evolve(lowering("B", 7), purpose=Purpose.DEFAULT)
    full = attrs.evolve(state, site=wired(*THREE, supply=supply(5)))
    assert passed(full, lowered, at_ms=LEASE_MS - 10_001).violations == ()
    assert passed(full, lowered, at_ms=OVER_MS).violations != ()


# The building


@pytest.mark.parametrize(
    ("age_ms", "settled_ms", "fits_ma"), [(35_000, 0, 10_000), (35_001, 0, 8_000), (0, NOW_MS, 10_000)]
)
def test_a_reading_counts_for_35_seconds_and_once_it_is_settled_alone(
    age_ms: int, settled_ms: int, fits_ma: int
) -> None:
    """The meter shows 26 A or 30: 6 A are at B if its last reading is believed, 0 or 2 if it is not."""
    shown_a = 26 if fits_ma == 8_000 else 30
    blind = overlooked(with_meter(DYNAMIC, SITE, *[shown_a] * 3))
    state = reads(blind, "B", 2, 6, at_ms=NOW_MS - age_ms, settled_ms=settled_ms)
    assert fits_exactly(state, fits_ma)


def test_a_meter_of_the_others_alone_is_not_asked_what_stations_draw() -> None:
    others = attrs.evolve(DYNAMIC.site, meters=(attrs.evolve(DYNAMIC.site.meters[0], includes_stations=False),))
    state = overlooked(with_meter(attrs.evolve(DYNAMIC, site=others), SITE, 20, 20, 20))
    assert fits_exactly(state, 14_000)


def test_a_meter_that_is_set_up_no_longer_is_believed_no_longer() -> None:
    shown = with_meter(STATIC, "default", 30, 30, 30, seen_ms=0)
    assert fits_exactly(shown, 26_000)


def test_a_sample_whose_age_nobody_knows_proves_no_room() -> None:
    state = with_meter(DYNAMIC, SITE, 10, 10, 10)
    ageless = {phase: attrs.evolve(known, seen_ms=None) for phase, known in state.meters[SITE].phases.items()}
    after = passed(attrs.evolve(state, meters={SITE: MeterState(ageless)}), raising("A", 7))
    assert after.violations == tuple(f"I5: site {phase}: the meter is silent" for phase in PHASES)


def test_below_a_cluster_whose_meter_is_lost_the_safe_limit_of_the_site_is_not_to_be_had() -> None:
    attic = attrs.evolve(THREE[0], cluster="attic")
    dynamic = metered_supply(63, fallback_a=40)
    site = wired(attic, supply=dynamic, meters=(SITE, "attic"), attic=PerPhase.same(20_000))
    state = with_meter(with_meter(scene(site, A=holding(6)), SITE, 0, 0, 0), "attic", 0, 0, 0, lost=PHASES)
    assert passed(state, raising("A", 7)).violations == tuple(f"I1: attic {p}: 7000 mA" for p in PHASES)


def test_a_raised_car_keeps_what_it_was_never_told_to_leave() -> None:
    """A draws 6 A and was told 6 at the least: nothing is gone. B's reading is none of A's. Told a little less than 6,
    a car in whole amps lets one go; so it does at 6.4 of the 7 that it drew."""
    blind = overlooked(with_meter(DYNAMIC, SITE, 20, 20, 20))
    state = reads(changed(blind, "A", least_told_ma=6_000), "A", 6, settled_ms=NOW_MS + 1)
    assert fits_exactly(state, 20_000)
    assert fits_exactly(changed(state, "A", least_told_ma=6_999), 20_000)
    seven = reads(changed(blind, "A", least_told_ma=6_400), "A", 7, settled_ms=NOW_MS + 1)
    assert fits_exactly(seven, 20_000)  # 13 A of building seem to be there, and one where A was
    gone = changed(state, "A", least_told_ma=5_999)
    assert fits_exactly(gone, 19_000)
    assert fits_exactly(changed(gone, "A", settled_from_ms=NOW_MS), 20_000)


def test_what_may_lie_there_higher_than_the_raise_comes_on_top_of_what_was_let_go() -> None:
    blind = overlooked(with_meter(DYNAMIC, SITE, 22, 22, 22))
    state = reads(changed(blind, "A", least_told_ma=2_000), "A", 6, settled_ms=NOW_MS + 1)
    ledger = sent(state.connectors["A", 1].ledger, limit(3, 16_000, lease_ms=LEASE_MS), 0)
    assert not passed(changed(state, "A", ledger=ledger), raising("A", 8)).commands  # 20 A of building, 6 and 16
    assert passed(state, raising("A", 8)).commands


def test_what_was_let_go_comes_on_top_of_what_follows_a_lease_that_is_over() -> None:
    blind = overlooked(with_meter(DYNAMIC, SITE, 28, 28, 28, seen_ms=OVER_MS))
    state = reads(changed(blind, "A", least_told_ma=2_000), "A", 6, at_ms=OVER_MS, settled_ms=OVER_MS + 1)
    state = changed(state, "A", ledger=holding(16, 6).ledger)
    assert fits_exactly(state, 14_000, OVER_MS)  # 26 A of building; the 16 A of A and all of B are over


def test_what_was_let_go_takes_nothing_on_phases_where_the_car_drew_nothing() -> None:
    blind = overlooked(with_meter(DYNAMIC, SITE, 22, 22, 22))
    one_phase = (Reading(NOW_MS, PerPhase(6_000, 0, 0)),)
    state = changed(blind, "A", least_told_ma=6_000, phases=PHASES[:1], readings=one_phase, settled_from_ms=NOW_MS + 1)
    assert passed(state, raising("A", 8), raising("B", 11)).violations == ()


def test_who_counts_with_as_much_anyway_lets_nothing_go() -> None:
    """To the milliamp: 25 A of building, A's 9 A and B's 6."""
    said = changed(overlooked(with_meter(DYNAMIC, SITE, 40, 40, 40)), "A", mean_ma=PerPhase.same(9_000))
    unsettled = reads(changed(said, "A", least_told_ma=6_000), "A", 9, settled_ms=NOW_MS + 1)
    assert passed(reads(unsettled, "B", 6), raising("A", 6)).violations == ()


# Limits from outside


def total(ma: int, node: str = SITE) -> ExternalLimit:
    return ExternalLimit(node=node, limit_ma=PerPhase.same(ma), applies_to=AppliesTo.TOTAL)


def test_a_limit_of_the_total_takes_off_what_it_is_below_the_derated_current() -> None:
    apart = Supply(static_max_ma=PerPhase.same(32_000), derated_ma=PerPhase.same(50_000))
    state = attrs.evolve(STATIC, site=attrs.evolve(STATIC.site, supply=apart))
    assert fits_exactly(limited(state, total(40_001), holds=True), 16_001)
    assert fits_exactly(limited(state, total(60_000), holds=True), 26_000)


def test_a_limit_of_the_total_at_a_cluster_is_below_the_limit_of_that_cluster() -> None:
    attic = attrs.evolve(THREE[0], cluster="attic")
    state = scene(wired(attic, supply=supply(63), attic=PerPhase.same(20_000)), A=holding(6))
    assert fits_exactly(limited(state, total(15_000, "attic"), holds=True), 15_000)


def test_behind_a_lost_meter_a_limit_of_the_total_comes_off_the_smaller_of_fallback_and_limit() -> None:
    """A fallback above the limit, which no checked configuration has, is no more than the limit."""
    odd = attrs.evolve(DYNAMIC, site=attrs.evolve(DYNAMIC.site, supply=metered_supply(30, fallback_a=40)))
    lost = with_meter(odd, SITE, 0, 0, 0, lost=PHASES)
    assert fits_exactly(limited(lost, total(20_000), holds=True), 14_000)


def test_behind_a_meter_that_is_back_a_limit_of_the_total_comes_off_the_limit() -> None:
    """To the milliamp: limit 50 A, of which 40 are left in all, 20 of them the building's."""
    back = back_again(20)
    assert fits_exactly(limited(back, total(40_000), holds=True), 14_000)
    assert fits_exactly(back, 24_000)


def test_from_what_a_meter_shows_that_is_back_the_draw_of_stations_is_taken_off() -> None:
    """To the milliamp: limit 50 A, the meter shows 30, 6 of them B's own, which B holds as well."""
    assert fits_exactly(reads(overlooked(back_again(30)), "B", 6), 20_000)


def back_again(shown_a: int) -> State:
    """A limit of 50 A, a fallback as high, and a meter that speaks again and is not to be trusted yet."""
    generous = attrs.evolve(DYNAMIC, site=attrs.evolve(DYNAMIC.site, supply=metered_supply(50, fallback_a=50)))
    lost = with_meter(generous, SITE, shown_a, shown_a, shown_a, lost=PHASES)
    known = {phase: attrs.evolve(k, good_since_ms=NOW_MS) for phase, k in lost.meters[SITE].phases.items()}
    return attrs.evolve(lost, meters={SITE: MeterState(known)})


def test_watts_are_cut_to_whole_milliamps_and_never_rounded_up() -> None:
    """10 kW over three phases of 230 V are 14492.75 mA."""
    assert fits_exactly(limited(STATIC, ExternalLimit(limit_w=10_000), holds=True), 8_492)


def test_every_limit_is_looked_at_though_another_does_not_hold() -> None:
    none, some = (
        LimitRecord(ExternalLimit(limit_w=w, node=node), "", NOON) for w, node in ((0, "attic"), (13_800, SITE))
    )
    state = attrs.evolve(STATIC, limits={"1": LimitState(none, 0, holds=True), "2": LimitState(some, 0, holds=True)})
    assert fits_exactly(state, 14_000)


def test_strangers_hang_at_the_site_and_below_no_cluster() -> None:
    attic = attrs.evolve(THREE[0], cluster="attic")
    state = scene(wired(attic, supply=supply(63), attic=PerPhase.same(32_000)), A=holding(6))
    limited_attic = limited(state, ExternalLimit(node="attic", limit_ma=PerPhase.same(20_000)), holds=True)
    strange = attrs.evolve(limited_attic, strangers={("X", 1): Reading(NOW_MS, PerPhase.same(5_000))})
    assert fits_exactly(strange, 20_000)
    metered = attrs.evolve(strange.site, meters=(MeterSetup("attic", "", "", includes_stations=True),))
    assert fits_exactly(with_meter(attrs.evolve(strange, site=metered), "attic", 0, 0, 0), 20_000)


def test_a_clear_is_never_a_raise() -> None:
    crowded = scene(wired(*THREE, supply=supply(5)), A=holding(6))
    assert passed(crowded, ClearLimit(3, "A", 1)).violations == ()
