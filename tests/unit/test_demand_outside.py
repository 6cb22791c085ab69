"""What others let a connector have is a part of what it can use, and what its driver wished leaves with the car."""

from __future__ import annotations

import attrs

from llm_core import PHASES, CapSource, ConnectorState, Ledger, PerPhase, Reading, Session, Station, Wish
from llm_core.demand import (
    MOST_WAKES,
    WAKE_EVERY_MS,
    allowed_ma,
    demand_of,
    forgotten,
    is_asleep,
    is_finished,
    observed,
)
from llm_core.site import MOST_MA
from unit.strategies import NOON

STATION = Station("A", max_ma=32_000)


def connector(**caps_ma: int) -> ConnectorState:
    return ConnectorState(Ledger(None), caps_ma={CapSource(name): ma for name, ma in caps_ma.items()})


def most_ma(known: ConnectorState) -> int:
    return demand_of(("A", 1), known, STATION, 100, 1, MOST_MA).max_ma


def test_the_smallest_of_the_caps_is_the_most() -> None:
    assert most_ma(connector()) == 32_000
    assert most_ma(connector(cpo=20_000, driver=16_000)) == allowed_ma(connector(cpo=20_000, driver=16_000)) == 16_000
    assert most_ma(connector(cpo=63_000)) == 32_000


def test_with_the_car_goes_what_its_driver_wished_and_not_what_the_cpo_said() -> None:
    both = connector(cpo=20_000, driver=16_000)
    assert forgotten(both).caps_ma == {CapSource.CPO: 20_000}
    assert forgotten(connector(cpo=20_000)).caps_ma == {CapSource.CPO: 20_000}
    assert forgotten(ConnectorState(Ledger(None), wish=Wish(energy_wh=1))).wish is None


# Cars that sleep


def sleeping(idle_ms: int, *, cut_short: bool = True, charged_ms: int = 600_000) -> ConnectorState:
    session = Session(1, "A", 1, None, NOON, 0, 0, charging_ms=charged_ms)
    return ConnectorState(Ledger(None), session=session, idle_since_ms=-idle_ms, cut_short=cut_short)


def test_a_car_is_woken_once_an_hour_twelve_times_and_then_left_alone() -> None:
    assert woken() == list(range(1, MOST_WAKES + 1))
    assert woken(cut_short=False, charged_ms=0) == list(range(1, MOST_WAKES + 1))


def test_a_car_that_charged_and_stopped_by_itself_is_woken_three_times() -> None:
    assert woken(cut_short=False) == [1, 2, 3]


def test_without_a_session_nobody_is_known_to_be_full() -> None:
    parked = attrs.evolve(sleeping(10 * WAKE_EVERY_MS, cut_short=False), session=None)
    assert not is_finished(parked, 0, 0)


def woken(*, cut_short: bool = True, charged_ms: int = 600_000) -> list[int]:
    """The hours of two days in which such a car counts as awake."""
    cars = {hour: sleeping(hour * WAKE_EVERY_MS, cut_short=cut_short, charged_ms=charged_ms) for hour in range(1, 48)}
    return [hour for hour, car in cars.items() if not is_finished(car, 0, 0)]


def test_only_a_car_that_was_stopped_while_it_charged_is_asleep() -> None:
    assert is_asleep(sleeping(60_000), 0)
    assert not is_asleep(sleeping(59_999), 0)
    assert not is_asleep(sleeping(60_000, cut_short=False), 0)


def test_drawing_again_it_is_awake_and_what_it_still_draws_while_it_is_told_nothing_is_no_waking() -> None:
    def drew(offered_ma: int, draw_ma: int) -> bool:
        before = attrs.evolve(sleeping(60_000), offered_ma=offered_ma)
        return observed(before, Reading(1, PerPhase.same(draw_ma)), PHASES).cut_short

    assert drew(6_000, 0)
    assert drew(0, 9_000)
    assert not drew(6_000, 6_000)
