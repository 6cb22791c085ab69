"""Building, meter, breaker, drivers, and the plant that holds them together."""

from __future__ import annotations

import itertools
import json
import math
import struct
import time
from datetime import UTC, datetime

import attrs
import pytest

from llm_adapters.virtual.breaker import Breaker
from llm_adapters.virtual.building import SHAPES, Building, BuildingConfig
from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.driver import Drivers, Visit, endless_visits
from llm_adapters.virtual.judge import Judge
from llm_adapters.virtual.meter import Meter, MeterConfig
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.station import Station

TUESDAY = datetime(2026, 3, 3, 0, 0, tzinfo=UTC).timestamp()
CALM = BuildingConfig(noise=0.0, steps_per_hour=0.0, utc_offset_s=0.0)


def central(plant: Plant) -> None:
    """Link up whoever wants it and answer every call with yes."""
    for name, station in plant.stations.items():
        if station.wants_link and not station.online:
            plant.link_up(name)
        while station.outbox:
            frame = json.loads(station.outbox.pop(0))
            if frame[0] == 2:
                info = {"idTagInfo": {"status": "Accepted"}}
                answer = {
                    "BootNotification": {"status": "Accepted", "interval": 300},
                    "Authorize": info,
                    "StartTransaction": info | {"transactionId": 1},
                }.get(frame[2], {})
                plant.receive(name, json.dumps([3, frame[1], answer]))


def play(plant: Plant, until: float) -> None:
    while plant.t < until:
        plant.advance(min(until, plant.t + 1.0))
        central(plant)


# -- building


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_the_day_has_the_shape_of_its_profile(shape: str) -> None:
    building = Building(attrs.evolve(CALM, shape=shape), epoch=TUESDAY)
    for hour, share in enumerate(SHAPES[shape][0]):
        building.advance(hour * 3600.0)
        assert building.load_a == pytest.approx((share / 5,) * 3)


def test_an_office_sleeps_at_the_weekend_and_flats_do_not() -> None:
    saturday = TUESDAY + 4 * 86_400 + 12 * 3600
    assert Building(CALM, epoch=saturday).load_a[0] < 5
    assert Building(attrs.evolve(CALM, shape="flats"), epoch=saturday).load_a[0] > 15


def test_one_seed_is_one_day_and_another_seed_another() -> None:
    def day(seed: int) -> list[tuple[float, float, float]]:
        building = Building(BuildingConfig(), epoch=TUESDAY, seed=seed)
        loads = []
        for t in range(0, 86_400, 60):
            building.advance(float(t))
            loads.append(building.load_a)
        return loads

    assert day(1) == day(1)
    assert day(1) != day(2)
    assert min(itertools.chain(*day(1))) >= 0


def test_appliances_switch_on_and_off_again_by_steps_of_the_given_size() -> None:
    config = BuildingConfig(shape="flat", peak_a=(10.0, 10.0, 10.0), noise=0.0, step_a=4.0, steps_per_hour=30.0)
    building = Building(config, epoch=TUESDAY, seed=3)
    rises = []
    before = building.load_a
    for t in range(1, 7200):
        building.advance(float(t))
        rises += [b - a for a, b in zip(before, building.load_a, strict=True) if b > a + 1e-9]
        before = building.load_a
    assert len(rises) > 20
    assert min(rises) >= 2.0 - 1e-9
    config = attrs.evolve(config, steps_per_hour=0.0)
    assert Building(config, epoch=TUESDAY).load_a == (10.0, 10.0, 10.0)


def test_a_scripted_step_stands_until_it_is_taken_back() -> None:
    building = Building(attrs.evolve(CALM, shape="flat", peak_a=(1.0, 1.0, 1.0)), epoch=TUESDAY)
    building.set_step(10.0, 1, 12.0)
    building.set_step(20.0, 1, 0.0)
    seen = {}
    for t in (9.0, 10.0, 19.0, 20.0):
        building.advance(t)
        seen[t] = building.load_a
    assert seen == {9.0: (1, 1, 1), 10.0: (1, 13, 1), 19.0: (1, 13, 1), 20.0: (1, 1, 1)}


def test_the_smallest_load_looks_back_over_the_window_only() -> None:
    building = Building(attrs.evolve(CALM, shape="flat", peak_a=(5.0, 5.0, 5.0)), epoch=TUESDAY)
    building.set_step(10.0, 0, 10.0)
    for t in range(1, 30):
        building.advance(float(t))
    assert building.smallest_a(12.0, 3.0)[0] == 5.0
    assert building.smallest_a(29.0, 3.0)[0] == 15.0


# -- meter


def shown(meter: Meter) -> tuple[float, float, float]:
    reading = meter.reading()
    assert reading is not None
    return reading.current_a


def test_the_meter_shows_the_truth_late_and_in_periods() -> None:
    meter = Meter(MeterConfig(period_s=2.0, lag_s=1.0))
    for t in range(1, 8):
        meter.advance(float(t), (float(t), 0.0, 0.0))
        expected = float((t - 1) // 2 * 2) if t > 2 else 0.0
        assert shown(meter)[0] == expected


def test_the_meter_counts_energy_and_fails_as_told() -> None:
    meter = Meter(MeterConfig(lag_s=0.0))
    meter.advance(1.0, (10.0, 10.0, 10.0))
    meter.advance(3601.0, (10.0, 10.0, 10.0))
    reading = meter.reading()
    assert reading is not None
    assert reading.energy_import_wh == pytest.approx(6900.0)
    meter.frozen = True
    meter.advance(3700.0, (20.0, 0.0, 0.0))
    assert meter.reading() == reading
    assert meter.last_true == 3601.0
    meter.nan = True
    assert all(math.isnan(a) for a in shown(meter))
    meter.silent = True
    assert meter.reading() is None
    assert meter.registers() is None


def test_the_register_image_is_that_of_an_sdm630() -> None:
    meter = Meter(MeterConfig(lag_s=0.0))
    meter.advance(1.0, (10.0, -4.0, 0.5))
    meter.advance(2.0, (10.0, -4.0, 0.5))
    words = meter.registers()
    assert words is not None
    values = [v for (v,) in struct.iter_unpack(">f", struct.pack(f">{len(words)}H", *words))]
    assert values[0:3] == [230.0, 230.0, 230.0]
    assert values[3:6] == [10.0, 4.0, 0.5], "current is unsigned"
    assert values[6:9] == [2300.0, -920.0, 115.0]
    assert values[26] == pytest.approx(1495.0)
    assert values[36] == pytest.approx(1495.0 / 3_600_000, rel=1e-6)


# -- breaker


def seconds_to_trip(rated_a: float, ratio: float, curve: str = "B") -> int | None:
    breaker = Breaker(rated_a, curve)
    return next((s for s in range(1, 3601) if breaker.trips(ratio * rated_a, 1.0)), None)


def test_the_breaker_keeps_the_times_of_its_standard() -> None:
    for rated_a, most_s in ((32.0, 60), (63.0, 120)):
        assert seconds_to_trip(rated_a, 1.13) is None
        slow = seconds_to_trip(rated_a, 1.45)
        assert slow is not None
        quick = seconds_to_trip(rated_a, 2.55)
        assert quick is not None
        assert 1 < quick < most_s
    assert seconds_to_trip(16.0, 5.0, "B") == 1
    assert seconds_to_trip(16.0, 5.0, "C") != 1
    assert seconds_to_trip(16.0, 10.0, "C") == 1


def test_a_short_overload_does_not_trip_and_cools_down() -> None:
    breaker = Breaker(63.0)
    breaker.trips(60.0, 3600.0)
    assert not breaker.trips(80.0, 10.0)
    heated = breaker.heat
    breaker.trips(30.0, 600.0)
    assert breaker.heat < heated


# -- drivers


def test_a_driver_plugs_badges_leaves_and_turns_away_who_comes_meanwhile() -> None:
    visits = [Visit(10.0, 100.0, "S", 1, "aa"), Visit(50.0, 80.0, "S", 1, "bb")]
    plant = Plant(PlantConfig((StationConfig("S"),), building=CALM, visits=visits))
    outlet = plant.stations["S"].connectors[0]
    central(plant)
    play(plant, 12)
    assert (outlet.car is not None, outlet.session) == (True, None)
    play(plant, 20)
    assert outlet.session is not None
    assert outlet.session.id_tag == "aa"
    play(plant, 101)
    assert outlet.session is None
    play(plant, 110)
    assert outlet.car is None
    assert plant.drivers.turned_away == 1


def test_a_badge_may_come_before_the_plug_and_is_tried_again_when_refused() -> None:
    plant = Plant(PlantConfig((StationConfig("S"),), visits=[Visit(10.0, 900.0, "S", 1, "aa", badge_after_s=-4.0)]))
    play(plant, 9)
    assert plant.stations["S"].connectors[0].authorised is not None
    play(plant, 11)
    assert plant.stations["S"].connectors[0].session is not None
    offline = Plant(PlantConfig((StationConfig("S"),), visits=[Visit(1.0, 900.0, "S", 1, "aa")]))
    offline.advance(20.0)
    assert offline.stations["S"].connectors[0].session is None
    play(offline, 60)
    assert offline.stations["S"].connectors[0].session is not None


def test_endless_visits_come_in_order_never_two_at_a_bay_and_by_seed() -> None:
    bays = [("A", 1), ("A", 2), ("B", 1)]
    first = list(itertools.islice(endless_visits(bays, ["x", "y"], seed=5), 200))
    assert first == list(itertools.islice(endless_visits(bays, ["x", "y"], seed=5), 200))
    assert [v.arrive_s for v in first] == sorted(v.arrive_s for v in first)
    for bay in bays:
        stays = [v for v in first if (v.station, v.connector) == bay]
        assert all(a.leave_s < b.arrive_s for a, b in itertools.pairwise(stays))


def test_no_visits_need_no_attention() -> None:
    assert Drivers(()).due == math.inf


# -- the whole


def test_the_sum_at_the_meter_is_building_plus_cars_on_their_phases() -> None:
    stations = (
        StationConfig("A", rotations=(("L1", "L2", "L3"),)),
        StationConfig("B", rotations=(("L2",),), max_a=32.0, node="c"),
        StationConfig("C", rotations=(("L3", "L1", "L2"),), node="c"),
    )
    nodes = (
        {"id": "site", "parent": None, "limit_a": {}},
        {"id": "c", "parent": "site", "limit_a": {}},
    )
    flat = attrs.evolve(CALM, shape="flat", peak_a=(1.0, 2.0, 3.0))
    visits = [Visit(1.0, 1e5, n, 1, "t", CarModel(phases=p, max_a=20.0)) for n, p in (("A", 3), ("B", 3), ("C", 1))]
    plant = Plant(PlantConfig(stations, nodes, building=flat, visits=visits))
    play(plant, 60)
    assert plant.stations_a == (16.0, 16.0 + 20.0, 16.0 + 16.0)
    assert plant.total_a == (17.0, 38.0, 35.0)
    assert plant.drawn_by_node()["c"] == (0.0, 20.0, 16.0)
    assert plant.entitled_by_node()["c"] == (0.0, 32.0, 16.0)
    assert shown(plant.meter) == plant.total_a
    plant.advance(3600.0 * 5)
    assert all(
        breaker.tripped is (amps > 63 * 1.45) for breaker, amps in zip(plant.breakers, plant.total_a, strict=True)
    )


def test_a_meter_shows_what_flows_from_the_beginning() -> None:
    """Not nothing until its first measurement: a slow one would hide a whole building for so long."""
    config = PlantConfig((StationConfig("S"),), building=BuildingConfig(shape="flat", noise=0.0, steps_per_hour=0.0))
    reading = Plant(config).meter.reading()
    assert reading is not None
    assert reading.current_a == pytest.approx((20.0, 20.0, 20.0))


def test_one_seed_is_one_run() -> None:
    def run() -> tuple[tuple[float, float, float], list[str], dict[str, object]]:
        plant = Plant(demo_site(8, seed=4), seed=4)
        judge = Judge(plant)
        play(plant, 900)
        return plant.total_a, [s.connectors[0].status() for s in plant.stations.values()], judge.report()

    assert run() == run()


def test_energy_at_the_meter_is_energy_in_the_cars_plus_the_building() -> None:
    config = PlantConfig(
        (StationConfig("A"), StationConfig("B")),
        building=attrs.evolve(CALM, shape="flat", peak_a=(0.0, 0.0, 0.0)),
        visits=[Visit(1.0, 3000.0, name, 1, "t") for name in "AB"],
    )
    plant = Plant(config)
    play(plant, 3600)
    charged = sum(connector.energy_wh for _, connector in plant.connectors())
    reading = plant.meter.reading()
    assert reading is not None
    assert charged > 15_000
    assert reading.energy_import_wh == pytest.approx(charged, rel=1e-6)


def test_the_demo_site_has_what_it_promises() -> None:
    config = demo_site(8)
    plant = Plant(config)
    play(plant, 30)
    outlets = list(plant.connectors())
    assert sum(any(connector.draw_a) for _, connector in outlets) >= 7
    assert {len(connector.rotation) for _, connector in outlets} == {1, 3}
    assert {station.config.step_a for station in plant.stations.values()} == {0.1, 1.0}
    car = plant.stations["ST4"].connectors[0].car
    assert car is not None
    assert car.model.ignores_limit
    play(plant, 310)
    assert [s.config.station_id for s in plant.stations.values() if not s.online] == ["ST6"]
    play(plant, 430)
    assert all(s.online for s in plant.stations.values())
    assert len(demo_site(20).stations) == 20


def test_a_simulated_second_of_ten_stations_costs_next_to_nothing() -> None:
    plant = Plant(demo_site(9), 1)
    Judge(plant)
    play(plant, 120)
    began = time.process_time()
    plant.advance(1320.0)
    assert (time.process_time() - began) / 1200 < 500e-6, "an order above what it takes, for slow machines"


def test_a_station_of_the_plant_keeps_its_own_clock() -> None:
    plant = Plant(PlantConfig((StationConfig("A", clock_offset_s=25.0),), epoch=TUESDAY))
    plant.advance(100.0)
    station: Station = plant.stations["A"]
    assert station.utc == TUESDAY + 125.0
    station.clock_offset_s = -60.0
    assert station.utc == TUESDAY + 40.0
