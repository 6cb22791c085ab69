"""The budget to the milliamp and the millisecond: where exactly one reading or limit stops and another begins."""

from __future__ import annotations

import attrs
import pytest

from llm_core import PHASES, SITE, ZERO, ConnectorState, MeterPhase, MeterSampled, MeterState, PerPhase
from llm_core.budget import FELL_AGAIN_MA, Room, aged, drawn_ma, interval, rooms, sampled, silence_ms, survey
from llm_core.external import NodeCap
from llm_core.ledger import Held, Slot
from unit.test_budget import (
    LIMIT_MA,
    RIGID,
    THE_METER,
    A,
    at,
    drawing,
    held,
    only,
    phase_of,
    room,
    scene,
    shows,
    station_changed,
    ticked,
)

L1, L2, L3 = PHASES
OVER_S = 150  # a lease of 120 s and its margin, begun at second 0


# What a connector counts for


def test_a_limit_for_the_next_car_falls_on_every_wire_when_its_lease_is_over() -> None:
    default = Slot(Held(4, 10_000, 6_000, at(0), 120_000))
    leased = ConnectorState(attrs.evolve(held(8_000, 8_000), default=default), phases=(L1,))
    state = scene({A: leased})
    assert only(state, OVER_S - 1).worst_ma == PerPhase(10_000, 10_000, 10_000)
    assert only(state, OVER_S).worst_ma == PerPhase(8_000, 6_000, 6_000)
    assert only(station_changed(state, "A", capabilities=RIGID), OVER_S).worst_ma == PerPhase(10_000, 10_000, 10_000)


def test_a_reading_counts_for_35_seconds_and_from_the_instant_of_its_settling() -> None:
    read = drawing(16_000, PerPhase.same(9_000), 0)
    assert only(scene({A: read}), 35).lo_ma == PerPhase.same(9_000)
    assert only(scene({A: read}), 36).lo_ma == ZERO
    settled = attrs.evolve(read, settled_from_ms=at(0), least_told_ma=6_000)
    assert (only(scene({A: settled})).hi_ma, only(scene({A: settled})).let_go_ma) == (PerPhase.same(9_000), ZERO)
    not_yet = only(scene({A: attrs.evolve(settled, settled_from_ms=at(0) + 1)}))
    assert (not_yet.hi_ma, not_yet.let_go_ma) == (PerPhase.same(16_000), PerPhase.same(3_000))


# The meter


def test_the_period_of_a_meter_is_whole_milliseconds() -> None:
    state = shows(scene(), 0, 5_000)
    state = sampled(state, MeterSampled(SITE, (0, 0, 0), at(0) + 1_002, 7), at(0) + 1_002)
    assert repr(state.meters[SITE].period_ms) == "1000"


def test_samples_just_as_far_apart_as_a_meter_may_be_silent_have_no_gap() -> None:
    state = shows(scene(), 0, 5_000)
    for gap_ms, since_ms in ((silence_ms(1_000), at(0)), (silence_ms(1_000) + 1, at(0) + silence_ms(1_000) + 1)):
        after = sampled(state, MeterSampled(SITE, (0, 0, 0), at(0) + gap_ms, 7), at(0) + gap_ms)
        assert phase_of(after).good_since_ms == since_ms


def test_a_meter_that_is_back_stays_good_since_it_was() -> None:
    state = ticked(shows(scene(), 0, 5_000), 11)
    for second in range(20, 51):
        state = shows(state, second, 5_000)
    assert (phase_of(state).lost, phase_of(state).good_since_ms) == (False, at(20))


def test_without_a_meter_or_behind_one_of_the_others_stations_draw_nothing_of_what_it_shows() -> None:
    state = scene({A: drawing(16_000, PerPhase.same(9_000))})
    assert drawn_ma(state, SITE) == PerPhase.same(9_000)
    others = attrs.evolve(THE_METER, includes_stations=False)
    for meters in ((), (others,)):
        assert drawn_ma(attrs.evolve(state, site=attrs.evolve(state.site, meters=meters)), SITE) == ZERO


# The fall of the building


def falling(before: MeterPhase, *currents_ma: int, draw_ma: PerPhase = ZERO) -> MeterPhase:
    """L1 after the meter has shown these, one a second; the car, if any draws, has reported at second 0 last."""
    state = scene({A: drawing(16_000, draw_ma)})
    for second, current_ma in enumerate(currents_ma, 1):
        phases = {L1: attrs.evolve(before, current_ma=current_ma, seen_ms=at(second))}
        meters = {SITE: MeterState(phases)}
        before = interval(state, meters, survey(state, at(second)), at(second))[SITE].phases[L1]
    return before


def test_a_fall_begins_anew_and_remembers_nothing_of_the_last_one() -> None:
    stale = MeterPhase(high_ma=20_000, peak_ma=15_000, fell_to_ma=-50_000)
    assert falling(stale, 3_000).high_ma == 3_000
    drawn = PerPhase(5_000, 0, 0)
    assert falling(stale, 12_000, draw_ma=drawn).fell_to_ma == 7_000
    again = falling(stale, 12_000, 12_000 - FELL_AGAIN_MA - 1, draw_ma=drawn)
    assert (again.fell_ms, again.fell_to_ma) == (at(2), 7_000 - FELL_AGAIN_MA - 1)
    noise = falling(stale, 12_000, 12_000 - FELL_AGAIN_MA, draw_ma=drawn)
    assert (noise.fell_ms, noise.fell_to_ma) == (at(1), 7_000)


@pytest.mark.parametrize("draw_ma", [PerPhase(1, 0, 0), PerPhase(0, 1, 0), PerPhase(0, 0, 1)])
def test_who_draws_a_milliamp_on_any_phase_must_report_before_a_fall_counts(draw_ma: PerPhase) -> None:
    assert falling(MeterPhase(high_ma=20_000), 3_000, draw_ma=draw_ma).high_ma == 20_000
    assert falling(MeterPhase(high_ma=20_000), 3_000).high_ma == 3_000


# What is left


def test_a_sample_whose_age_nobody_knows_proves_no_room_and_cuts_nobody() -> None:
    state = attrs.evolve(scene(), meters={SITE: MeterState({L1: MeterPhase(5_000, high_ma=5_000)})})
    left = room(attrs.evolve(state, meters=aged(state, at(0))), 0)
    assert left.raise_ma.l1 < 0
    assert left.keep_ma.l1 == LIMIT_MA.l1 - 5_000


def test_more_than_others_allow_in_all_is_a_surprise_as_well() -> None:
    """The car was raised a second ago and draws the 6 A that it said, not yet 16: it is cut as much sooner."""
    raised = attrs.evolve(
        drawing(16_000, PerPhase.same(6_000)), settled_from_ms=at(10), offered_ma=16_000, raised_ms=at(0)
    )
    state = shows(scene({A: raised}), 1, 27_000)
    seen, cap = survey(state, at(1)), NodeCap(total_ma=PerPhase.same(25_000))
    under = rooms(state.site, state.meters, seen, ZERO, at(1), {SITE: cap})[SITE]
    assert under.keep_ma == PerPhase.same(25_000 - (27_000 - 6_000))
    roomy = rooms(state.site, state.meters, seen, ZERO, at(1), {SITE: NodeCap(total_ma=PerPhase.same(26_000))})[SITE]
    assert roomy.keep_ma == PerPhase.same(26_000 - (27_000 - 16_000))  # so much may be noise


def test_a_limit_from_outside_is_felt_where_it_takes_from_either_figure() -> None:
    """30 A may stay and 15 may be raised to: a limit of 20 A takes from the first alone, one of 15 from none."""
    known = MeterPhase(20_000, seen_ms=at(0), high_ma=35_000)
    state = attrs.evolve(scene(), meters={SITE: MeterState({L1: known})})
    for stations_ma, external in ((20_000, True), (14_000, True), (30_000, False)):
        cap = NodeCap(stations_ma=PerPhase(stations_ma, 100_000, 100_000))
        left = rooms(state.site, state.meters, (), ZERO, at(0), {SITE: cap})[SITE]
        assert (L1 in left.external) is external


def test_where_nothing_is_read_what_is_safe_is_left_on_each_phase() -> None:
    state = attrs.evolve(scene(), meters={SITE: MeterState({L2: MeterPhase(5_000, seen_ms=at(0), high_ma=6_000)})})
    assert room(state, 0) == Room(PerPhase(10_000, 34_000, 10_000), PerPhase(10_000, 35_000, 10_000))
