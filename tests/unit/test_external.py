"""Limits from outside as values: what they leave at a node, when they hold, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import PHASES, SITE, AppliesTo, CapSource, ClockDoubt, Cluster, ExternalLimit, PerPhase, Site
from llm_core.external import (
    EARLIEST,
    LATEST,
    STOOD_MS,
    UNLIMITED,
    NodeCap,
    doubted,
    instants,
    is_over,
    is_planned,
    limit_faults,
    may_hold,
    narrowest,
    node_caps,
)
from unit.small_site import A, dynamic, static
from unit.strategies import NOON, now

HOUR = timedelta(hours=1)
DAY_MS = 86_400_000
TOTAL = AppliesTo.TOTAL


def amps(limit_a: float, **more: object) -> ExternalLimit:
    return ExternalLimit(limit_ma=PerPhase.same(round(limit_a * A)), **more)  # type: ignore[arg-type]


# What a limit leaves


def test_kilowatts_count_with_230_v_over_the_phases_of_the_site() -> None:
    limit = ExternalLimit(limit_w=4_200)
    assert limit.on(PHASES) == PerPhase.same(6_086)  # 4200 W / (3 x 230 V), rounded down
    assert limit.on(PHASES[:1]) == PerPhase.same(18_260)


@given(st.integers(0, 10**6), st.sampled_from((1, 3)))
def test_the_amps_of_a_limit_in_watts_never_exceed_it(watts: int, phases: int) -> None:
    left_ma = ExternalLimit(limit_w=watts).on(PHASES[:phases]).l1
    assert left_ma * 230 * phases <= watts * 1000 < (left_ma + 1) * 230 * phases


def test_the_smallest_limit_of_a_node_wins_and_each_kind_stays_apart() -> None:
    limits = [amps(20), amps(16), amps(40, applies_to=TOTAL), amps(50, applies_to=TOTAL), amps(10, node="c1")]
    assert node_caps(limits, PHASES) == {
        SITE: NodeCap(PerPhase.same(16 * A), PerPhase.same(40 * A)),
        "c1": NodeCap(PerPhase.same(10 * A), UNLIMITED),
    }


def test_of_two_caps_the_smaller_counts_and_the_cpo_where_they_are_equal() -> None:
    assert narrowest({CapSource.CPO: 16 * A, CapSource.DRIVER: 10 * A}) is CapSource.DRIVER
    assert narrowest({CapSource.DRIVER: 10 * A, CapSource.CPO: 10 * A}) is CapSource.CPO
    assert narrowest({}) is None


# When it holds


def test_a_limit_holds_from_its_start_to_its_end() -> None:
    limit = amps(20, starts_at=NOON, ends_at=NOON + HOUR)
    held = [may_hold(limit, (at, at)) for at in (NOON - HOUR / 60, NOON, NOON + HOUR / 2, NOON + HOUR)]
    assert held == [False, True, True, False]


def test_a_limit_without_times_holds_at_once_and_until_it_is_taken_back() -> None:
    assert may_hold(amps(20), (EARLIEST, EARLIEST))
    assert may_hold(amps(20), (LATEST, LATEST))


def test_a_clock_that_is_right_means_what_it_shows() -> None:
    assert instants(now(0), NOON - HOUR, None) == (NOON, NOON)


def test_a_clock_that_was_never_set_may_mean_any_time_since_the_latest_known() -> None:
    at_1970 = attrs.evolve(now(0), utc=datetime(1970, 1, 1, tzinfo=UTC))
    assert instants(at_1970, NOON, None) == (NOON, LATEST)
    assert instants(at_1970, None, None) == (EARLIEST, LATEST)
    assert may_hold(amps(20, starts_at=NOON + HOUR, ends_at=NOON + 2 * HOUR), instants(at_1970, NOON, None))
    assert not may_hold(amps(20, ends_at=NOON - HOUR), instants(at_1970, NOON, None))


def test_a_clock_that_fell_back_may_mean_anything_up_to_the_latest_known() -> None:
    doubt = ClockDoubt(now(0).monotonic_ms)
    assert instants(now(0), NOON + HOUR, doubt) == (NOON, NOON + HOUR)
    assert may_hold(amps(20, starts_at=NOON + HOUR / 2), instants(now(0), NOON + HOUR, doubt))
    assert is_planned(amps(20, starts_at=NOON + 2 * HOUR), instants(now(0), NOON + HOUR, doubt))


def test_a_clock_that_fell_back_while_nobody_ran_to_see_it_may_mean_any_time() -> None:
    assert instants(now(0), NOON + HOUR, None) == (NOON, LATEST)
    assert may_hold(amps(20, starts_at=NOON + 2 * HOUR), instants(now(0), NOON + HOUR, None))
    assert instants(now(0), NOON + timedelta(minutes=5), None) == (NOON, NOON), "as much is no news"


def test_a_clock_that_leapt_ahead_ends_no_limit_before_its_time_has_stood_for_an_hour() -> None:
    leapt = attrs.evolve(now(0), utc=NOON + timedelta(days=1))
    doubt = doubted(None, DAY_MS, leapt.monotonic_ms)
    limit = amps(20, ends_at=NOON + 2 * HOUR)
    assert may_hold(limit, instants(leapt, NOON, doubt))
    later = attrs.evolve(leapt, monotonic_ms=leapt.monotonic_ms + STOOD_MS)
    assert is_over(limit, instants(later, NOON, doubt))


def test_a_clock_that_was_set_back_begins_no_limit_late() -> None:
    back = attrs.evolve(now(0), utc=NOON - timedelta(days=1))
    limit = amps(20, starts_at=NOON - HOUR)
    assert is_planned(limit, instants(back, None, None))
    assert may_hold(limit, instants(back, None, doubted(None, -DAY_MS, back.monotonic_ms)))


def test_a_step_and_its_correction_leave_the_doubt_of_both_and_an_hour_clears_it() -> None:
    there = doubted(None, DAY_MS, 0)
    assert there == ClockDoubt(0, back_ms=DAY_MS)
    assert doubted(there, -DAY_MS, 1_000) == ClockDoubt(1_000, ahead_ms=DAY_MS)
    assert doubted(there, 5_000, STOOD_MS) == ClockDoubt(STOOD_MS, back_ms=5_000)


@given(st.lists(st.integers(-10 * DAY_MS, 10 * DAY_MS), min_size=1, max_size=6), st.integers(0, 6))
def test_the_time_of_every_clock_of_the_last_hour_is_among_those_it_may_be(steps: list[int], right: int) -> None:
    """Whichever of the settings was the right one, the true time lies between."""
    right = min(right, len(steps))
    doubt, shown = None, NOON
    for index, by_ms in enumerate(steps):
        doubt = doubted(doubt, by_ms, index * 1_000)
        shown += timedelta(milliseconds=by_ms)
    true = NOON + timedelta(milliseconds=sum(steps[:right]))
    at = attrs.evolve(now(0), monotonic_ms=len(steps) * 1_000, utc=shown)
    earliest, latest = instants(at, None, doubt)
    assert earliest <= true <= latest


# What is refused


def pointers(limit: ExternalLimit, site: Site | None = None) -> list[str]:
    return [fault.pointer for fault in limit_faults(limit, site or static(32), (NOON, NOON))]


def test_a_limit_that_makes_sense_is_taken() -> None:
    assert pointers(amps(20, ends_at=NOON + HOUR, keep_alive_s=60)) == []
    assert pointers(ExternalLimit(limit_w=0)) == []
    assert pointers(amps(20, applies_to=TOTAL), dynamic(32)) == []


@pytest.mark.parametrize(
    ("limit", "pointer"),
    [
        (amps(20, node="cellar"), "/node"),
        (ExternalLimit(), "/limit_a"),
        (amps(20, limit_w=4_200), "/limit_a"),
        (amps(-1), "/limit_a"),
        (amps(7_000), "/limit_a"),
        (ExternalLimit(limit_w=-1), "/limit_kw"),
        (amps(20, starts_at=NOON + HOUR, ends_at=NOON + HOUR), "/ends_at"),
        (amps(20, ends_at=NOON), "/ends_at"),
        (amps(20, keep_alive_s=9), "/keep_alive_s"),
        (amps(20, keep_alive_s=86_401), "/keep_alive_s"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_lies(limit: ExternalLimit, pointer: str) -> None:
    assert pointers(limit) == [pointer]


def test_the_total_is_limited_only_where_somebody_measures_it() -> None:
    assert pointers(amps(20, applies_to=TOTAL), static(32)) == ["/applies_to"]
    assert pointers(amps(20, applies_to=TOTAL), attrs.evolve(dynamic(32), meters=())) == ["/applies_to"]
    garage = attrs.evolve(static(32), clusters=(Cluster("c1", "stations only"),))
    assert pointers(amps(20, node="c1", applies_to=TOTAL), garage) == []
