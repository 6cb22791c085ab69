"""A controller that dies and comes back finds cars charging: it stops none of them, whatever its disk still says."""

from __future__ import annotations

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import StationConfig
from llm_core import AccessRule, Capabilities, Mode, PerPhase, Site, Station, Supply
from unit.plant_harness import FLUSH_S, Bench


def charging(limit_a: int, names: str = "AB") -> Bench:
    """Cars at these stations, one after the other, sharing what there is."""
    limit = PerPhase.same(limit_a * 1000)
    site = Site(
        supply=Supply(mode=Mode.STATIC, fuse_ma=limit, derated_ma=limit, static_max_ma=limit),
        stations=tuple(Station(name) for name in names),
        access=AccessRule.FREE,
    )
    bench = Bench(site, tuple(StationConfig(name) for name in names), dict.fromkeys(names, Capabilities(100)))
    bench.run(10)
    for name in names:
        bench.plant.stations[name].plug(1, Car(CarModel(taper_from=1.0)))
        bench.plant.stations[name].present(1, f"tag{name}")
        bench.run(25)
    return bench


def offers(bench: Bench) -> list[float]:
    return [round(outlet.pilot_a, 1) for _, outlet in bench.plant.connectors()]


def least_offer_after_a_restart(bench: Bench) -> float:
    bench.restart()
    least = min(offers(bench))
    for _ in range(90):
        bench.run(1)
        least = min(least, *offers(bench))
    return least


def test_nobody_is_stopped_by_a_restart_although_the_disk_remembers_higher_limits() -> None:
    bench = charging(20)
    assert offers(bench) == [10.0, 10.0]
    assert sum(ceiling.limit_ma for ceiling in bench.disk.ceilings.values()) > 20_000, (
        f"flushed within {FLUSH_S} s: the test proves nothing"
    )
    assert least_offer_after_a_restart(bench) >= 9.9
    assert offers(bench) == [10.0, 10.0]
