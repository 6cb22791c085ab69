"""Recorded sessions under the controller: what fits is carried, what does not is shared, and the limit holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from llm_adapters.files.recorded import Recorded
from llm_app.garage import Claim, Garage, garage_of, jain, uncontrolled_peak_a
from llm_app.planning import Wishes, replay

BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)
EIGHT = timedelta(hours=8)


def session(station: str, from_h: float, to_h: float, kwh: float, *, delivered_kwh: float | None = None) -> Recorded:
    start, stop = (BEGAN + timedelta(hours=hours) for hours in (from_h, to_h))
    took = kwh if delivered_kwh is None else delivered_kwh
    return Recorded(station, 1, start, stop, round(kwh * 1000), round(took * 1000))


def three_on_one_phase(kwh: float = 6.0) -> Garage:
    """Three cars of two hours on outlets that all hang on L1."""
    garage = garage_of([session(name, 0.0, 2.0, kwh) for name in "ABC"])
    return attrs.evolve(garage, rotations=(("L1",),) * 3)


def test_outlets_are_spread_over_the_phases_in_the_order_of_their_ids() -> None:
    garage = garage_of([session(name, 0.0, 2.0, 6.0) for name in ("B", "A", "C", "D")])
    assert garage.names == ("A", "B", "C", "D")
    assert garage.rotations == (("L1",), ("L2",), ("L3",), ("L1",))
    assert uncontrolled_peak_a(garage) == (64.0, 32.0, 32.0)


def test_a_session_that_took_more_than_one_phase_carries_has_three() -> None:
    garage = garage_of([session("A", 0.0, 1.0, 10.0), session("B", 0.0, 1.0, 20.0), session("C", 0.0, 1.0, 5.0)])
    assert [(stay.phases, stay.max_a) for stay in garage.stays] == [(3, 16.0), (3, 32.0), (1, 32.0)]
    assert [len(rotation) for rotation in garage.rotations] == [3, 3, 1]


def test_nobody_wants_more_than_its_stay_allows() -> None:
    (stay,) = garage_of([session("A", 0.0, 1.0, 150.0, delivered_kwh=5.0)]).stays
    assert stay.wanted_wh == pytest.approx(32 * 208)


def test_a_car_that_comes_to_a_taken_outlet_is_left_out_and_counted() -> None:
    garage = garage_of([session("A", 0.0, 3.0, 5.0), session("A", 1.0, 4.0, 5.0)])
    assert (len(garage.stays), garage.turned_away) == (1, 1)


def test_a_supply_that_is_large_enough_carries_everyone() -> None:
    result = replay(three_on_one_phase(), 96.0)
    assert result.carried
    assert result.share > 0.99
    assert result.peak_a[0] <= 96.0


def test_a_small_supply_is_shared_evenly_and_never_exceeded() -> None:
    result = replay(three_on_one_phase(kwh=12.0), 36.0)
    assert not result.carried
    assert result.peak_a[0] <= 36.0
    assert result.above_s == 0
    assert result.jain > 0.99
    assert not any(result.violations.values())
    assert result.delivered_kwh == pytest.approx(36 * 208 * 2 / 1000, rel=0.03)


def test_who_says_when_it_leaves_and_can_wait_leaves_current_to_who_cannot() -> None:
    stays = [session("A", 0.0, 2.0, 7.0), session("B", 0.0, 8.0, 9.0)]
    garage = attrs.evolve(garage_of(stays), rotations=(("L1",),) * 2)
    blind, told = replay(garage, 24.0), replay(garage, 24.0, wishes=Wishes.TRUE)
    assert blind.delivered_kwh == pytest.approx(5.0 + 9.0, abs=0.2)
    assert told.delivered_kwh == pytest.approx(7.0 + 9.0, abs=0.2)
    assert sum(told.violations.values()) == 0
    old = attrs.evolve(garage, began_at=garage.began_at - timedelta(weeks=400))
    assert replay(old, 24.0, wishes=Wishes.TRUE) == told


def test_drivers_claim_what_they_claimed_and_no_claim_is_believed_beyond_its_time() -> None:
    """B says that it stays for eight hours, and does; A said nothing, or says too early a time, and loses nothing."""
    stays = [session("A", 0.0, 2.0, 7.0), attrs.evolve(session("B", 0.0, 8.0, 9.0), claimed_until=BEGAN + EIGHT)]
    garage = attrs.evolve(garage_of(stays), rotations=(("L1",),) * 2)
    assert [stay.claim for stay in garage.stays] == [None, Claim(8 * 3600, 9_000)]
    silent, true = replay(garage, 24.0), replay(garage, 24.0, wishes=Wishes.TRUE)
    claimed = replay(garage, 24.0, wishes=Wishes.CLAIMED)
    assert silent.delivered_kwh < claimed.delivered_kwh == pytest.approx(true.delivered_kwh, abs=0.2)
    past = attrs.evolve(garage, stays=tuple(attrs.evolve(stay, claim=Claim(-60, 9_000)) for stay in garage.stays))
    assert replay(past, 24.0, wishes=Wishes.CLAIMED) == silent


def test_more_supply_gives_more_energy() -> None:
    shares = [replay(three_on_one_phase(kwh=12.0), limit_a).share for limit_a in (20.0, 40.0, 60.0)]
    assert shares == sorted(shares)
    assert len(set(shares)) == 3


def test_the_ticks_that_are_left_out_cost_no_energy() -> None:
    """Cars that come and leave one after the other: what one leaves, the others have within seconds."""
    stays = [session(name, 0.1 * n, 0.5 + 0.2 * n, 9.0) for n, name in enumerate("ABCDE")]
    garage = attrs.evolve(garage_of(stays), rotations=(("L1",),) * 5)
    at_times, every_second = (replay(garage, 25.0, tick_s=tick_s).delivered_kwh for tick_s in (None, 1))
    assert at_times == pytest.approx(every_second, rel=0.0005)


def test_cars_that_taper_leave_nothing_unused_that_others_want() -> None:
    garage = attrs.evolve(three_on_one_phase(), taper_from=0.5)
    free, held = (replay(garage, limit_a).delivered_kwh for limit_a in (96.0, 48.0))
    assert held > 0.96 * free


def test_what_was_wanted_and_delivered_is_told_day_by_day() -> None:
    garage = garage_of([session("A", 0.0, 2.0, 6.0), session("A", 50.0, 52.0, 3.0)])
    days = replay(garage, 32.0).days
    assert [round(wanted) for wanted, _ in days] == [6, 0, 3]


def test_jain_is_one_for_equals_and_one_nth_for_a_single_winner() -> None:
    assert jain([0.5, 0.5, 0.5]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
