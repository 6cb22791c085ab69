"""What a run is expected to show, measured on the plant: the offer to a car, its draw, a node's load, and totals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import StrEnum

import attrs

from llm_adapters.virtual.config import SITE_PHASES
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.judge import Judge
from llm_adapters.virtual.plant import Plant

_INSTANT_S = 1.0
_ROUNDING = 1e-6


class Measure(StrEnum):
    """What can be expected. The first three hold at every instant from `since` to `until`, the others of the run."""

    LIMIT = "limit_a"  # what the outlet offers its car
    DRAW = "draw_a"  # what the car takes: on `phase`, else on the phase where it takes most
    LOAD = "load_a"  # what flows at a node on `phase`, else on its fullest phase; at the root with the building
    ENERGY = "energy_kwh"  # of a station, else of all
    PAUSES = "pauses"  # of any one car at a station, else of any one car
    CHANGES = "changes_per_minute"  # limit changes per car and minute
    ABOVE = "above_s"  # the longest time without a break above the limit of any node
    TRIPS = "breaker_trips"
    VIOLATIONS = "violations"  # of I1 to I6, and leases that rose


TIMED = frozenset((Measure.LIMIT, Measure.DRAW, Measure.LOAD))
OF_AN_OUTLET = frozenset((Measure.LIMIT, Measure.DRAW))
MAY_NAME_A_STATION = frozenset((*OF_AN_OUTLET, Measure.ENERGY, Measure.PAUSES))


@attrs.frozen
class Expectation:
    """`least` ≤ the measure ≤ `most`, where and when it is looked at (plant seconds)."""

    text: str
    measure: Measure
    least: float
    most: float
    since: float = 0.0
    until: float = math.inf
    station: str | None = None
    connector: int = 1
    node: str | None = None
    phase: str | None = None


@attrs.frozen
class Verdict:
    """What became of an expectation: the smallest and largest value found, None where it was never looked at."""

    expectation: Expectation
    found: tuple[float, float] | None

    @property
    def held(self) -> bool:
        wanted = self.expectation
        if self.found is None:
            return False
        return wanted.least - _ROUNDING <= self.found[0] and self.found[1] <= wanted.most + _ROUNDING


class Watch:
    """Looks at a plant for what is expected of it; `verdicts` is for the end of the run."""

    def __init__(self, expectations: Iterable[Expectation], judge: Judge) -> None:
        self._judge = judge
        self._plant = judge.plant
        self._all = tuple(expectations)
        self._found: dict[int, tuple[float, float]] = {}
        self._timed = [(i, e, _reader(self._plant, e)) for i, e in enumerate(self._all) if e.measure in TIMED]
        self._plant.observers.append(self._observe)

    def verdicts(self) -> tuple[Verdict, ...]:
        """What became of each expectation, in their order."""
        for number, expected in enumerate(self._all):
            if expected.measure not in TIMED:
                self._note(number, self._total(expected))
        return tuple(Verdict(expected, self._found.get(number)) for number, expected in enumerate(self._all))

    def _observe(self, cause: str, t: float) -> None:
        if cause == "time":
            for number, expected, read in self._timed:
                if expected.since <= t <= max(expected.until, expected.since + _INSTANT_S / 2):
                    self._note(number, read())

    def _note(self, number: int, value: float) -> None:
        least, most = self._found.get(number, (value, value))
        self._found[number] = (min(least, value), max(most, value))

    def _total(self, expected: Expectation) -> float:
        books, plant = self._judge.books, self._plant
        match expected.measure:
            case Measure.ENERGY:
                outlets = [c for s, c in plant.connectors() if expected.station in (None, s.config.station_id)]
                return sum(outlet.energy_wh for outlet in outlets) / 1000
            case Measure.PAUSES:
                return float(books.most_pauses(expected.station))
            case Measure.CHANGES:
                return float(books.report()["limit_changes_per_car_minute"])
            case Measure.ABOVE:
                return books.longest_above_s
            case Measure.TRIPS:
                return float(sum(breaker.tripped for breaker in plant.breakers))
            case _:
                return float(sum(self._judge.violations.values()))


def _reader(plant: Plant, expected: Expectation) -> Callable[[], float]:
    """How to read a timed measure now."""
    phase = None if expected.phase is None else SITE_PHASES.index(expected.phase)

    def at(amps: tuple[float, float, float]) -> float:
        return max(amps) if phase is None else amps[phase]

    def load() -> float:
        node = expected.node or str(plant.config.nodes[0]["id"])
        is_root = node == plant.config.nodes[0]["id"]
        return at(plant.total_a if is_root else plant.drawn_by_node()[node])

    if expected.measure is Measure.LOAD:
        return load
    outlet: Connector = plant.stations[str(expected.station)].connectors[expected.connector - 1]
    return (lambda: outlet.pilot_a) if expected.measure is Measure.LIMIT else (lambda: at(outlet.draw_a))
