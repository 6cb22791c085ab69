"""The configuration that an installer would type in for a virtual plant."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.plant import PlantConfig
from llm_core import (
    SITE,
    AccessRule,
    Badge,
    Cluster,
    MeterSetup,
    Mode,
    PerPhase,
    Phase,
    Site,
    Station,
    Supply,
    System,
    ma_down,
)


def site_of(
    plant: PlantConfig,
    *,
    fallback_a: float | tuple[float, float, float],
    mode: Mode = Mode.DYNAMIC,
    meter_port: int = 502,
    time_zone: str = "Europe/Berlin",
) -> Site:
    """The site of this plant: its root node's limit is the derated current in dynamic, the maximum in static mode."""
    root, *clusters = plant.nodes
    derated_ma = _per_phase(root["limit_a"])
    fallback = (fallback_a,) * 3 if isinstance(fallback_a, int | float) else fallback_a
    return Site(
        system=System(name="Virtual site", country="DE", time_zone=time_zone),
        supply=Supply(
            mode=mode,
            fuse_ma=PerPhase.same(_ma(plant.fuse_a)),
            derated_ma=derated_ma,
            static_max_ma=derated_ma,
            fallback_ma=PerPhase(*(_ma(amps) for amps in fallback)),
        ),
        clusters=tuple(
            Cluster(str(node["id"]), str(node["id"]).capitalize(), _parent(node, root), _per_phase(node["limit_a"]))
            for node in clusters
        ),
        stations=tuple(_station(config, str(root["id"])) for config in plant.stations),
        meters=(MeterSetup(SITE, plant.meter.model, "127.0.0.1", meter_port),) if mode is Mode.DYNAMIC else (),
        access=AccessRule.BADGE,
    )


def badges_of(plant: PlantConfig) -> tuple[Badge, ...]:
    """The badges of the plant's drivers, all active."""
    return tuple(Badge(badge, comment=f"Driver {number}") for number, badge in enumerate(plant.badges, 1))


def _station(config: StationConfig, root: str) -> Station:
    """Both sockets of a double station hang on the same phases here, as the configuration has one rotation for both."""
    return Station(
        id=config.station_id,
        name=f"Bay {config.station_id.removeprefix('ST')}",
        cluster=None if config.node == root else config.node,
        phase_rotation=tuple(Phase(phase) for phase in config.rotations[0]),
        max_ma=_ma(config.max_a),
        connectors=len(config.rotations),
    )


def _parent(node: Any, root: Any) -> str | None:
    return None if node["parent"] == root["id"] else str(node["parent"])


def _per_phase(limit_a: Any) -> PerPhase:
    return PerPhase(*(_ma(limit_a[phase]) for phase in ("L1", "L2", "L3")))


def _ma(amps: float) -> int:
    return ma_down(Decimal(str(amps)))
