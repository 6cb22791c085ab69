"""What a wish comes to: how fast a car must be charged to have its energy in time, and when nobody can tell."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import PHASES, Phase, Session, Wish
from llm_core.wish import EARLY, Need, need_of, wish_faults
from unit.strategies import NOON

HOUR = timedelta(hours=1)
SESSION = Session(1, "A", 1, "04a1", NOON, 0, 0)
EVENING = NOON + 5 * HOUR + EARLY


def need(wish: Wish, *, had_wh: int = 0, phases: tuple[Phase, ...] | None = PHASES, at: datetime = NOON) -> Need:
    return need_of(wish, attrs.evolve(SESSION, energy_wh=had_wh), phases, (at, at))


def test_what_is_missing_is_spread_over_the_time_that_is_left_with_a_fifth_to_spare() -> None:
    """20.7 kWh in 5 h are 4.14 kW, with a fifth more 4.968 kW: 7.2 A on three phases, 21.6 A on one."""
    wish = Wish(EVENING, 20_700)
    assert need(wish) == Need(rate_ma=7_200)
    assert need(wish, phases=PHASES[:1]) == need(wish, phases=None) == Need(rate_ma=21_600)
    assert need(wish, had_wh=10_350) == Need(rate_ma=3_600)
    assert need(wish, at=NOON + 5 * HOUR / 2) == Need(rate_ma=14_400)


@given(st.integers(1, 200_000), st.integers(1, 48 * 3600), st.sampled_from([PHASES, PHASES[:2], PHASES[:1], None]))
def test_at_that_rate_the_car_has_its_energy_in_time(energy_wh: int, seconds: int, phases: tuple[Phase, ...]) -> None:
    departs_at = NOON + timedelta(seconds=seconds) + EARLY
    rate_ma = need(Wish(departs_at, energy_wh), phases=phases).rate_ma
    assert rate_ma is not None
    assert rate_ma * 230 * len(phases or (None,)) * seconds >= energy_wh * 3_600_000


def test_a_car_that_has_what_it_wanted_is_satisfied() -> None:
    assert need(Wish(EVENING, 20_000), had_wh=20_000) == need(Wish(None, 20_000), had_wh=20_001) == Need(satisfied=True)


@pytest.mark.parametrize(
    "wish",
    [
        Wish(),
        Wish(departs_at=EVENING),
        Wish(energy_wh=20_000),
        Wish(NOON + EARLY, 20_000),
        Wish(NOON - HOUR, 20_000),
    ],
)
def test_where_nobody_can_tell_there_is_no_slack(wish: Wish) -> None:
    assert need(wish) == Need()


def test_of_all_that_the_clock_may_mean_the_least_time_counts() -> None:
    wish = Wish(EVENING, 20_700)
    assert need_of(wish, SESSION, PHASES, (NOON - HOUR, NOON)) == need(wish)
    assert need_of(wish, SESSION, PHASES, (NOON, EVENING)) == Need()


@pytest.mark.parametrize(
    ("wish", "pointers"),
    [
        (Wish(EVENING, 20_000), []),
        (Wish(), []),
        (Wish(NOON, 0), ["/energy_kwh", "/departs_at"]),
        (Wish(None, 1_000_001), ["/energy_kwh"]),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_where_it_lies(wish: Wish, pointers: list[str]) -> None:
    assert [fault.pointer for fault in wish_faults(wish, (NOON, NOON))] == pointers
