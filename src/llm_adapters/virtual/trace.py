"""A record of a run for a picture: what building and cars drew, phase by phase, and what each car was offered."""

from __future__ import annotations

from llm_adapters.virtual.connector import Amps3
from llm_adapters.virtual.plant import Plant


class Trace:
    """A sample every `sample_s` plant seconds; the lists have one entry a sample, in order."""

    def __init__(self, plant: Plant, sample_s: float) -> None:
        self.at: list[float] = []
        self.building_a: list[Amps3] = []
        self.stations_a: list[Amps3] = []
        self.offered_a: dict[str, list[float]] = {
            f"{station.config.station_id}/{outlet.number}": [] for station, outlet in plant.connectors()
        }
        self._plant = plant
        self._sample_s = sample_s
        self._next = 0.0
        plant.observers.append(self._observe)

    def _observe(self, cause: str, t: float) -> None:
        if cause != "time" or t < self._next:
            return
        self._next = t + self._sample_s
        self.at.append(t)
        self.building_a.append(self._plant.building.load_a)
        self.stations_a.append(self._plant.stations_a)
        for (_, outlet), offers in zip(self._plant.connectors(), self.offered_a.values(), strict=True):
            offers.append(outlet.pilot_a)
