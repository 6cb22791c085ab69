"""What a raise waits for, judged by the plant: three stories in each of which one line too few overloads a fuse.

The referee knows what stations hold and cars draw; the books of the core are not read.
"""

from __future__ import annotations

import pytest
from plant_harness import Bench
from plant_referee import Referee

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import StationConfig
from llm_core import (
    SITE,
    AccessRule,
    Capabilities,
    MeterSetup,
    Mode,
    PerPhase,
    Site,
    Station,
    Supply,
)


def garage(mode: Mode, limit_a: int, names: str = "AB") -> tuple[Bench, Referee]:
    limit = PerPhase.same(limit_a * 1000)
    site = Site(
        supply=Supply(
            mode=mode,
            fuse_ma=PerPhase.same(63_000),
            derated_ma=limit,
            static_max_ma=limit,
            fallback_ma=PerPhase.same(10_000),
        ),
        stations=tuple(Station(name) for name in names),
        meters=(MeterSetup(SITE, "any", "meter"),) if mode is Mode.DYNAMIC else (),
        access=AccessRule.FREE,
    )
    built = tuple(StationConfig(station.id, node=station.node) for station in site.stations)
    bench = Bench(site, built, dict.fromkeys(names, Capabilities(100)))
    referee = Referee(bench)
    bench.run(10)
    return bench, referee


def arrives(bench: Bench, name: str, *, reaction_s: float = 3.0) -> None:
    station = bench.plant.stations[name]
    station.plug(1, Car(CarModel(reaction_s=reaction_s, taper_from=1.0)))
    station.present(1, f"tag{name}")
    bench.settle()


def pilot_a(bench: Bench, name: str) -> float:
    return bench.plant.stations[name].connectors[0].pilot_a


@pytest.mark.parametrize("seconds", [0, 1, 3, 8, 14, 22])
def test_a_raise_that_nobody_answered_is_kept_free(seconds: int) -> None:
    """A leaves room and B is raised; the answer is lost. The station took it: a newcomer must find nothing there."""
    bench, referee = garage(Mode.STATIC, 20)
    arrives(bench, "A")
    arrives(bench, "B")
    bench.run(30)
    bench.links["B"].lose_acks = 9
    bench.plant.stations["A"].unplug(1)
    bench.run(12 + seconds)
    assert pilot_a(bench, "B") == 16
    bench.links["B"].holds_down = True  # it hears nothing any more, least of all a decrease
    arrives(bench, "A")
    bench.run(60)
    assert referee.faults == []


@pytest.mark.parametrize("after_s", [1, 4, 7])
def test_a_car_that_stops_by_itself_is_no_falling_building(after_s: int) -> None:
    """A takes nothing any more, and its station tells late. Until then its limit still lies there, to be used again."""
    bench, referee = garage(Mode.DYNAMIC, 40)
    bench.plant.building.set_step(bench.t, 0, 15.0)
    bench.plant.building.set_step(bench.t, 1, 15.0)
    bench.plant.building.set_step(bench.t, 2, 15.0)
    for name in "AB":
        arrives(bench, name)
    bench.run(80)
    assert pilot_a(bench, "A") == pytest.approx(12.5, abs=0.2)
    bench.plant.stations["A"].keys["MeterValueSampleInterval"] = ("300", False)
    bench.plant.stations["A"].start_samples()
    bench.run(after_s)
    (outlet,) = bench.plant.stations["A"].connectors
    assert outlet.car is not None
    outlet.car.model = CarModel(max_a=0.0)
    outlet.advance(bench.t)
    bench.run(60)
    assert referee.faults == []


@pytest.mark.parametrize("reaction_s", [2.0, 4.0, 5.0])
def test_a_decrease_pays_for_nothing_before_the_car_has_followed(reaction_s: float) -> None:
    """A is told less for B's sake, and says so at once; its car takes seconds, and A measures no current."""
    bench, referee = garage(Mode.STATIC, 20)
    bench.plant.stations["A"].keys["MeterValuesSampledData"] = ("Energy.Active.Import.Register", False)
    arrives(bench, "A", reaction_s=reaction_s)
    bench.run(40)
    assert pilot_a(bench, "A") == 16
    arrives(bench, "B")
    bench.run(30)
    assert pilot_a(bench, "B") == 10
    assert referee.faults == []
