"""A small believable site for demonstrations: mixed stations, mixed cars, a few that misbehave."""

from __future__ import annotations

from llm_adapters.virtual.building import BuildingConfig
from llm_adapters.virtual.car import CarModel
from llm_adapters.virtual.config import SITE_PHASES, Quirks, StationConfig
from llm_adapters.virtual.driver import endless_visits
from llm_adapters.virtual.meter import MeterConfig
from llm_adapters.virtual.plant import PlantConfig

BADGES = ("04A1B2C3", "04C0FFEE", "041D2E3F", "04BADA55", "0455AA77", "04F00D42", "04DECADE", "04123456")
_DISOBEDIENT = CarModel(phases=3, max_a=16.0, capacity_wh=90_000, ignores_limit=True)
_ROTATIONS = (("L1", "L2", "L3"), ("L2", "L3", "L1"), ("L3", "L1", "L2"))


def demo_site(stations: int = 8, seed: int = 1, epoch: float = 1_772_524_800.0) -> PlantConfig:
    """A 63 A office with `stations` stations, ids ST1, ST2, …; the last third hangs in a garage limited to 32 A.

    Of every eight: two one-phase, two with 1 A steps, one with two sockets, one (ST4) whose first car disobeys, one
    (ST6) that loses its link from minute 5 to minute 7. All badges are in `badges`.
    """
    configs = tuple(_station(i, in_garage=i >= stations - stations // 3) for i in range(stations))
    bays = [(config.station_id, n + 1) for config in configs for n in range(len(config.rotations))]
    return PlantConfig(
        stations=configs,
        nodes=(
            {"id": "site", "parent": None, "limit_a": dict.fromkeys(SITE_PHASES, 50.4)},
            {"id": "garage", "parent": "site", "limit_a": dict.fromkeys(SITE_PHASES, 32.0)},
        ),
        building=BuildingConfig(shape="office", peak_a=(18.0, 14.0, 16.0), step_a=3.0, steps_per_hour=12.0),
        meter=MeterConfig(period_s=1.0, lag_s=0.3, noise_a=0.05),
        visits=endless_visits(bays, BADGES, seed=seed, firsts={"ST4": _DISOBEDIENT}),
        fuse_a=63.0,
        epoch=epoch,
        badges=BADGES,
    )


def _station(index: int, *, in_garage: bool) -> StationConfig:
    kind = index % 8
    rotation = _ROTATIONS[index % 3]
    rotations: tuple[tuple[str, ...], ...] = (rotation,)
    if kind in (2, 6):
        rotations = (rotation[:1],)
    elif kind == 7:
        rotations = (rotation, rotation)
    return StationConfig(
        station_id=f"ST{index + 1}",
        rotations=rotations,
        max_a=32.0 if kind in (2, 4) else 16.0,
        step_a=1.0 if kind in (1, 4) else 0.1,
        node="garage" if in_garage else "site",
        clock_offset_s=(0.0, 3.0, -2.0, 1.0)[index % 4],
        model=("Solo", "Solo 1A", "Mono", "Solo", "Duo 32", "Solo", "Mono", "Twin")[kind],
        quirks=Quirks(offline=((300.0, 420.0),)) if kind == 5 else Quirks(),
    )
