"""What a virtual car draws when it is offered a current."""

from __future__ import annotations

import pytest

from llm_adapters.virtual.car import Car, CarModel


def offered(model: CarModel, pilot_a: float, soc: float = 0.3) -> Car:
    """A car that has had ten seconds to follow its first offer."""
    car = Car(model, soc)
    car.offer(pilot_a, 0.0)
    car.advance(10.0)
    return car


def test_it_follows_one_offer_after_the_other_and_none_keeps_it_from_following() -> None:
    car = Car(CarModel(reaction_s=5.0))
    draws = []
    for second, pilot_a in enumerate((16.0, 12.0, 0.0, 8.0)):
        car.offer(pilot_a, float(second))
    for second in range(4, 9):
        car.advance(float(second))
        draws.append(car.draw_a)
    assert (draws, car.pauses, car.settled) == ([0.0, 16.0, 12.0, 0.0, 8.0], 1, True)


def test_it_follows_an_offer_after_its_reaction_time() -> None:
    car = Car(CarModel(reaction_s=3.0))
    car.offer(10.0, 0.0)
    assert car.due == 3.0
    car.advance(2.9)
    assert (car.draw_a, car.settled) == (0.0, False)
    car.advance(3.0)
    assert (car.draw_a, car.settled) == (10.0, True)


def test_it_draws_nothing_below_six_amps_nor_below_what_it_needs_to_start() -> None:
    assert offered(CarModel(), 5.9).draw_a == 0
    assert offered(CarModel(), 6.0).draw_a == 6
    zoe = offered(CarModel(start_a=8.0), 7.0)
    assert zoe.draw_a == 0
    zoe.offer(8.0, 10.0)
    zoe.advance(20.0)
    zoe.offer(7.0, 20.0)
    zoe.advance(30.0)
    assert zoe.draw_a == 7, "once started it goes on at less"


def test_it_never_draws_more_than_its_charger_can() -> None:
    assert offered(CarModel(max_a=16.0), 32.0).draw_a == 16


def test_it_tapers_when_nearly_full_and_stops_when_full() -> None:
    full_speed = offered(CarModel(), 16.0, soc=0.5).draw_a
    tapering = offered(CarModel(), 16.0, soc=0.9).draw_a
    assert 0 < tapering < full_speed
    assert offered(CarModel(), 16.0, soc=1.0).draw_a == 0


def test_it_charges_what_it_draws() -> None:
    car = Car(CarModel(phases=3, reaction_s=0.0, capacity_wh=11_040 * 2), soc=0.0, voltage_v=230.0)
    car.offer(16.0, 0.0)
    car.advance(0.0)
    car.advance(3600.0)
    assert car.soc == pytest.approx(0.5)


def test_it_says_when_it_will_be_full() -> None:
    car = Car(CarModel(reaction_s=0.0, capacity_wh=11_040), soc=0.5, target_soc=0.75)
    car.offer(16.0, 0.0)
    car.advance(0.0)
    assert car.due == pytest.approx(900.0)
    car.advance(car.due)
    assert (car.full, car.draw_a) == (True, 0.0)


def test_a_whole_amp_car_rounds_to_the_nearest() -> None:
    assert offered(CarModel(step_a=1.0), 9.6).draw_a == 10
    assert offered(CarModel(step_a=1.0), 9.4).draw_a == 9


def test_a_wobbling_car_stays_at_or_below_its_offer() -> None:
    car = offered(CarModel(wobble_a=1.0), 10.0)
    seen = set()
    for second in range(11, 40):
        car.advance(float(second))
        seen.add(car.draw_a)
    assert seen == {9.0, 10.0}


def test_a_sleeper_wakes_only_when_plugged_in_anew() -> None:
    car = offered(CarModel(sleeps_after=2), 10.0)
    t = 10.0
    for pilot in (0.0, 10.0, 0.0, 10.0):
        car.offer(pilot, t)
        t += 10.0
        car.advance(t)
    assert (car.pauses, car.asleep, car.draw_a) == (2, True, 0.0)


def test_disobedience_has_two_degrees() -> None:
    assert offered(CarModel(ignores_limit=True), 6.0).draw_a == 16
    assert offered(CarModel(ignores_limit=True), 0.0).draw_a == 0
    assert offered(CarModel(ignores_pause=True), 0.0).draw_a == 16


def test_an_open_contactor_stops_any_car() -> None:
    car = offered(CarModel(ignores_pause=True), 16.0)
    car.cut(10.0)
    car.advance(20.0)
    assert car.draw_a == 0
