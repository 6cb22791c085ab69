"""The figures of a run: time above each limit, energy, fairness, restlessness. Plant truth only."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import attrs

from llm_adapters.virtual.car import Car
from llm_adapters.virtual.config import SITE_PHASES
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.plant import Plant

_TOLERANCE_A = 0.05
_WINDOW_S = 900  # a quarter of an hour by the clock, as turns are usually taken


@attrs.define
class Stretch:
    """How long one node and phase has been above its limit: in all, at the longest, and since when it is now."""

    total_s: float = 0.0
    longest_s: float = 0.0
    since: float | None = None


@attrs.define
class Stay:
    """One car at one outlet."""

    station_id: str
    car: Car
    outlet: Connector
    came_at: float
    energy_at_wh: float
    need_wh: float
    pauses_at: int
    pilot_a: float
    left_at: float = 0.0
    energy_wh: float = 0.0
    changes: int = 0
    paused_in: Counter[int] = attrs.field(factory=Counter)

    def update(self, t: float, window: int) -> None:
        self.left_at = t
        self.paused_in[window] += self.pauses - self.paused_in.total()
        self.energy_wh = self.outlet.energy_wh - self.energy_at_wh
        if self.outlet.pilot_a != self.pilot_a:
            self.pilot_a = self.outlet.pilot_a
            self.changes += 1

    @property
    def pauses(self) -> int:
        return self.car.pauses - self.pauses_at

    @property
    def served(self) -> float:
        """Its energy as a share of what it could have taken alone, in the time that it stayed."""
        fastest_w = min(self.car.model.max_a, self.outlet.max_a) * self.car.phases * self.outlet.voltage_v
        could_wh = min(self.need_wh, fastest_w * (self.left_at - self.came_at) / 3600)
        return self.energy_wh / could_wh if could_wh > 0 else 1.0


class Books:
    """Kept up by `observe`, read by `report`.

    Above a limit counts only while stations beneath the node draw on that phase: what the building does alone is not
    the controller's. At the root the building counts, unless `of_stations` (a static limit).
    """

    def __init__(self, plant: Plant, *, of_stations: bool = False) -> None:
        self._plant = plant
        self._of_stations = of_stations
        self._root = str(plant.config.nodes[0]["id"])
        self._limits = [
            (str(node["id"]), phase, float(node["limit_a"].get(name, math.inf)))
            for node in plant.config.nodes
            for phase, name in enumerate(SITE_PHASES)
        ]
        self._above = {(node, phase): Stretch() for node, phase, _ in self._limits}
        self._stays: dict[Connector, Stay] = {}
        self._gone: list[Stay] = []
        self._version = -1
        self._t = plant.t

    def observe(self, t: float) -> None:
        """Take note of the present instant."""
        plant = self._plant
        if plant.version != self._version:
            self._version = plant.version
            self._drawn = plant.drawn_by_node()
            for station, outlet in plant.connectors():
                self._follow(station.config.station_id, outlet, t)
        for stretch in self._above.values():
            if stretch.since is not None:
                stretch.total_s += t - self._t
                stretch.longest_s = max(stretch.longest_s, t - stretch.since)
        self._t = t
        for node, phase, limit in self._limits:
            drawn = self._drawn[node][phase]
            base = 0.0 if node != self._root or self._of_stations else plant.building.load_a[phase]
            stretch = self._above[node, phase]
            if drawn <= 0 or drawn + base <= limit + _TOLERANCE_A:
                stretch.since = None
            elif stretch.since is None:
                stretch.since = t

    def _follow(self, station_id: str, outlet: Connector, t: float) -> None:
        stay = self._stays.get(outlet)
        if stay is not None:
            stay.update(t, self._window(t))
            if stay.car is outlet.car:
                return
            self._gone.append(self._stays.pop(outlet))
        car = outlet.car
        if car is not None:
            need_wh = max(0.0, car.target_soc - car.soc) * car.model.capacity_wh
            self._stays[outlet] = Stay(
                station_id, car, outlet, t, outlet.energy_wh, need_wh, car.pauses, outlet.pilot_a
            )

    @property
    def longest_above_s(self) -> float:
        """The longest time without a break that any node and phase was above its limit."""
        return max(stretch.longest_s for stretch in self._above.values())

    def most_pauses(self, station_id: str | None = None) -> int:
        """The most pauses of any one car, at one station or anywhere."""
        stays = (*self._gone, *self._stays.values())
        return max((stay.pauses for stay in stays if station_id in (None, stay.station_id)), default=0)

    def _window(self, t: float) -> int:
        return int((self._plant.config.epoch + t) // _WINDOW_S)

    def stays(self) -> tuple[Stay, ...]:
        """Every car that was here, brought up to date."""
        for outlet, stay in self._stays.items():
            outlet.advance(self._t)
            stay.update(self._t, self._window(self._t))
        return (*self._gone, *self._stays.values())

    def report(self) -> dict[str, Any]:
        """The figures, ready for JSON; seconds, kWh, shares."""
        stays = [s for s in self.stays() if s.left_at - s.came_at > 60 and s.need_wh > 0]
        minutes = sum(s.left_at - s.came_at for s in stays) / 60
        served = [s.served for s in stays]
        squares = sum(x * x for x in served)
        return {
            "seconds": self._t,
            "energy_kwh": sum(outlet.energy_wh for _, outlet in self._plant.connectors()) / 1000,
            "above_s": self._per_place("total_s"),
            "longest_above_s": self._per_place("longest_s"),
            "breaker_trips": sum(breaker.tripped for breaker in self._plant.breakers),
            "cars": len(stays),
            "jain": sum(served) ** 2 / (len(served) * squares) if squares else None,
            "served": sum(served) / len(served) if served else None,
            "limit_changes_per_car_minute": sum(s.changes for s in stays) / minutes if minutes else 0.0,
            "pauses_per_car": sum(s.pauses for s in stays) / len(stays) if stays else 0.0,
            "most_pauses": self.most_pauses(),
            "most_pauses_in_a_window": max((max(s.paused_in.values()) for s in stays), default=0),
            "served_less_than_half": sum(share < 0.5 for share in served),
            "turned_away": self._plant.drivers.turned_away,
        }

    def _per_place(self, field: str) -> dict[str, dict[str, float]]:
        places: dict[str, dict[str, float]] = {}
        for (node, phase), stretch in self._above.items():
            places.setdefault(node, {})[SITE_PHASES[phase]] = getattr(stretch, field)
        return places
