"""The grid operator sets limits at random, and the plant tells what its stations hold: each is kept, and ends."""

from __future__ import annotations

import random

import pytest

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import StationConfig
from llm_core import (
    AccessRule,
    AlarmCode,
    Capabilities,
    Cluster,
    ExternalLimit,
    LimitPut,
    LimitWithdrawn,
    Mode,
    PerPhase,
    Saved,
    Site,
    Station,
    Supply,
)
from unit.plant_harness import Bench

NAMES = "ABCDE"
SIDE = "AB"
OBEYED_S = 10  # a tick, a second on the wire, five for the car
LIMIT_A = 48


def garage() -> Bench:
    """Five cars, two of them in a cluster, one on a single phase; what there is suffices for three."""
    limit = PerPhase.same(LIMIT_A * 1000)
    site = Site(
        supply=Supply(mode=Mode.STATIC, fuse_ma=limit, derated_ma=limit, static_max_ma=limit),
        clusters=(Cluster("default", "hall"), Cluster("side", "side", "default")),
        stations=tuple(Station(name, cluster="side" if name in SIDE else "default") for name in NAMES),
        access=AccessRule.FREE,
    )
    built = tuple(StationConfig(station.id, node=station.node) for station in site.stations)
    bench = Bench(site, built, dict.fromkeys(NAMES, Capabilities(100)))
    bench.run(10)
    for name in NAMES:
        bench.plant.stations[name].plug(1, Car(CarModel(phases=1 if name == "D" else 3, taper_from=1.0)))
        bench.plant.stations[name].present(1, f"tag{name}")
        bench.run(20)
    return bench


def held_a(bench: Bench, names: str) -> float:
    """What the stations may give now, by their own profiles."""
    return sum(outlet.entitled_a for station, outlet in bench.plant.connectors() if station.config.station_id in names)


def test_the_plant_sees_every_limit_kept_within_ten_seconds_and_never_exceeded_until_it_ends() -> None:
    bench, chance = garage(), random.Random(14)
    for _ in range(40):
        node, names = chance.choice((("site", NAMES), ("side", SIDE)))
        limit_a = chance.choice((0, 4, 6, 9, 13, 20, 26, 31.5))
        limit = ExternalLimit(node=node, limit_ma=PerPhase.same(round(limit_a * 1000)))
        answer = bench.post(LimitPut("operator", limit))
        assert isinstance(answer, Saved)
        bench.run(OBEYED_S)
        for _ in range(chance.choice((5, 40, 90))):
            assert held_a(bench, names) <= limit_a + 0.001
            bench.run(1)
        bench.post(LimitWithdrawn("operator", answer.id))
        bench.run(chance.choice((1, 15, 60)))
    bench.run(60)
    assert held_a(bench, NAMES) == pytest.approx(LIMIT_A, abs=0.5)
    assert AlarmCode.GUARD_INTERVENED not in bench.alarms
    records = [known.record for known in bench.state.limits.values()]
    assert all(record.began_at is not None and record.ended_at is not None for record in records)
