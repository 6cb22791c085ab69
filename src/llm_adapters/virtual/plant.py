"""The whole plant: stations, cars, drivers, building, meter and main breaker, advanced together.

`advance(t)` goes in steps of at most a second. Frames pass through `receive`, link changes through `link_up` and
`link_down`, so that observers (the judge) are told of every effect in the order in which it happens, with its cause:
"message", "time" or "link". Truth is amps per site phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from llm_adapters.virtual.breaker import Breaker
from llm_adapters.virtual.building import Building, BuildingConfig
from llm_adapters.virtual.config import SITE_PHASES, StationConfig
from llm_adapters.virtual.connector import Amps3, Connector
from llm_adapters.virtual.driver import Drivers, Visit
from llm_adapters.virtual.meter import Meter, MeterConfig
from llm_adapters.virtual.script import Script
from llm_adapters.virtual.station import Station

Observer = Callable[[str, float], None]


@attrs.frozen
class PlantConfig:
    """What stands where. `nodes` as in an allocation problem: {"id", "parent", "limit_a": {"L1": …}}, root first.

    `fuse_a` rates the main breaker; `epoch` is true UTC at plant time 0, s since 1970; `visits` may be endless but
    then serves one plant only.
    """

    stations: tuple[StationConfig, ...]
    nodes: tuple[Mapping[str, Any], ...] = ({"id": "site", "parent": None, "limit_a": {}},)
    building: BuildingConfig = BuildingConfig()
    meter: MeterConfig = MeterConfig()
    visits: Iterable[Visit] = ()
    fuse_a: float = 63.0
    breaker_curve: str = "B"
    epoch: float = 1_772_524_800.0
    badges: tuple[str, ...] = ()


class Plant:
    """A running plant; `t` is the instant it has reached, `script` the faults that it is to suffer."""

    def __init__(self, config: PlantConfig, seed: int = 0) -> None:
        self.config = config
        self.t = 0.0
        self.stations = {s.station_id: Station(s, epoch=config.epoch, seed=seed) for s in config.stations}
        self.building = Building(config.building, epoch=config.epoch, seed=seed)
        self.meter = Meter(config.meter, flow_a=self.building.load_a, seed=seed)
        self.drivers = Drivers(config.visits)
        self.breakers = [Breaker(config.fuse_a, config.breaker_curve) for _ in SITE_PHASES]
        self.observers: list[Observer] = []
        self.script: Script | None = None
        self.above = {str(node["id"]): _ancestors(config.nodes, str(node["id"])) for node in config.nodes}
        self._seen = -1
        self._stations_a: Amps3 = (0.0, 0.0, 0.0)
        self._list = list(self.stations.values())
        self._outlets = tuple((station, outlet) for station in self._list for outlet in station.connectors)

    # -- time and messages ---------------------------------------------------------------------------------------

    def advance(self, t: float) -> None:
        """Let time pass until `t`, at most a second at once."""
        while self.t < t:
            self._step(min(t, self.t + 1.0))

    def _step(self, t: float) -> None:
        flowing, dt, self.t = self.total_a, t - self.t, t
        for breaker, amps in zip(self.breakers, flowing, strict=True):
            breaker.trips(amps, dt)
        if self.script is not None and self.script.due <= t:
            self.script.advance(t)
        for station in self._list:
            station.advance(t)
        if self.drivers.due <= t:
            self.drivers.advance(t, self.stations)
        if self.building.due <= t:
            self.building.advance(t)
        self.meter.advance(t, self.total_a)
        self._tell("time")

    def receive(self, station_id: str, text: str) -> None:
        """A frame reaches a station now."""
        self.stations[station_id].receive(text, self.t)
        self._tell("message")

    def link_up(self, station_id: str) -> None:
        self.stations[station_id].link_up(self.t)
        self._tell("link")

    def link_down(self, station_id: str) -> None:
        self.stations[station_id].link_down(self.t)
        self._tell("link")

    def _tell(self, cause: str) -> None:
        for observer in self.observers:
            observer(cause, self.t)

    # -- truth ---------------------------------------------------------------------------------------------------

    def connectors(self) -> Iterable[tuple[Station, Connector]]:
        """Every outlet with its station."""
        return self._outlets

    @property
    def version(self) -> int:
        """Grows whenever some station may have changed."""
        return sum(station.version for station in self._list)

    @property
    def evaluations(self) -> int:
        """Grows whenever what some station is entitled to may have changed."""
        return sum(station.evaluations for station in self._list)

    @property
    def stations_a(self) -> Amps3:
        """What all stations together draw now."""
        version = self.version
        if version != self._seen:
            self._seen = version
            self._stations_a = add(connector.draw_a for _, connector in self.connectors())
        return self._stations_a

    @property
    def total_a(self) -> Amps3:
        """What flows through the supply now: building and stations."""
        (a, b, c), (x, y, z) = self.stations_a, self.building.load_a
        return (a + x, b + y, c + z)

    def by_node(self, of: Callable[[Station, Connector], Amps3]) -> dict[str, Amps3]:
        """For each node the sum of `of` over the outlets beneath it."""
        sums = {node: [0.0, 0.0, 0.0] for node in self.above}
        for station, connector in self.connectors():
            amps = of(station, connector)
            for node in self.above[station.config.node]:
                held = sums[node]
                held[0] += amps[0]
                held[1] += amps[1]
                held[2] += amps[2]
        return {node: (a, b, c) for node, (a, b, c) in sums.items()}

    def drawn_by_node(self) -> dict[str, Amps3]:
        """What the stations beneath each node draw now."""
        return self.by_node(lambda _, connector: connector.draw_a)

    def entitled_by_node(self) -> dict[str, Amps3]:
        """What the stations beneath each node may offer on their present profiles, on the phases they can use."""
        return self.by_node(lambda _, connector: connector.on_site_phases(connector.entitled_a))


def add(rows: Iterable[Amps3]) -> Amps3:
    """The sum, phase by phase."""
    a = b = c = 0.0
    for x, y, z in rows:
        a, b, c = a + x, b + y, c + z
    return (a, b, c)


def _ancestors(nodes: tuple[Mapping[str, Any], ...], node: str) -> tuple[str, ...]:
    """The node itself and everything above it."""
    parents = {str(n["id"]): n["parent"] for n in nodes}
    found = [node]
    while parents[found[-1]] is not None:
        found.append(parents[found[-1]])
    return tuple(found)
