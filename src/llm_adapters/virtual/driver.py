"""Drivers: who comes when, with which car and badge, and when they leave. Seeded, endless where asked."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import attrs

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.station import Station

_BADGE_AGAIN_S = 20.0
_BADGE_TRIES = 6
_UNPLUG_AFTER_S = 6.0

COMMON_CARS: tuple[tuple[CarModel, int], ...] = (
    (CarModel(phases=3, max_a=16.0, capacity_wh=75_000), 9),
    (CarModel(phases=3, max_a=16.0, capacity_wh=58_000, step_a=1.0), 4),
    (CarModel(phases=1, max_a=32.0, capacity_wh=40_000), 3),
    (CarModel(phases=1, max_a=16.0, capacity_wh=12_000, wobble_a=0.5), 3),
    (CarModel(phases=2, max_a=16.0, capacity_wh=36_000), 1),
    (CarModel(phases=3, max_a=32.0, capacity_wh=52_000, start_a=8.0), 1),
    (CarModel(phases=3, max_a=16.0, capacity_wh=80_000, sleeps_after=4), 1),
)


@attrs.frozen
class Visit:
    """One stay at a bay, plant seconds; the badge is shown `badge_after_s` after the plug (before it if negative)."""

    arrive_s: float
    leave_s: float
    station: str
    connector: int
    id_tag: str
    model: CarModel = CarModel()
    soc: float = 0.4
    target_soc: float = 1.0
    badge_after_s: float = 5.0


class Drivers:
    """Plays visits, in order of arrival, on stations; a bay that is taken turns the newcomer away."""

    def __init__(self, visits: Iterable[Visit]) -> None:
        self.turned_away = 0
        self._visits = iter(visits)
        self._next = next(self._visits, None)
        self._todo: list[tuple[float, int, Callable[[float, Mapping[str, Station]], None]]] = []
        self._count = 0
        self.due = math.inf
        self._plan()

    def advance(self, t: float, stations: Mapping[str, Station]) -> None:
        """Do what drivers do until `t`; the stations must have been advanced to `t`."""
        while self.due <= t:
            _, _, act = heapq.heappop(self._todo)
            act(t, stations)
            self._plan()

    def _plan(self) -> None:
        """Let in whoever arrives before the next thing to do, so that there always is a next thing."""
        while self._next is not None and (not self._todo or self._next.arrive_s <= self._todo[0][0]):
            visit, self._next = self._next, next(self._visits, None)
            self._at(visit.arrive_s + min(0.0, visit.badge_after_s), partial(self._arrive, visit))
        self.due = self._todo[0][0] if self._todo else math.inf

    def _at(self, t: float, act: Callable[[float, Mapping[str, Station]], None]) -> None:
        self._count += 1
        heapq.heappush(self._todo, (t, self._count, act))

    def _arrive(self, visit: Visit, t: float, stations: Mapping[str, Station]) -> None:
        outlet = stations[visit.station].connectors[visit.connector - 1]
        if outlet.car is not None:
            self.turned_away += 1
            return
        car = Car(visit.model, visit.soc, visit.target_soc, outlet.voltage_v)
        if visit.badge_after_s < 0:
            stations[visit.station].present(visit.connector, visit.id_tag)
        self._at(max(t, visit.arrive_s), partial(self._plug, visit, car))
        self._at(max(t, visit.leave_s), partial(self._finish, visit, car))

    def _plug(self, visit: Visit, car: Car, t: float, stations: Mapping[str, Station]) -> None:
        station = stations[visit.station]
        if station.connectors[visit.connector - 1].car is not None:
            self.turned_away += 1
            return
        station.plug(visit.connector, car)
        self._at(t + max(0.0, visit.badge_after_s), partial(self._badge, visit, car, _BADGE_TRIES))

    def _badge(self, visit: Visit, car: Car, tries: int, t: float, stations: Mapping[str, Station]) -> None:
        station = stations[visit.station]
        outlet = station.connectors[visit.connector - 1]
        if outlet.car is not car or outlet.session is not None or outlet.ended:
            return
        station.present(visit.connector, visit.id_tag)
        if tries > 1:
            self._at(t + _BADGE_AGAIN_S, partial(self._badge, visit, car, tries - 1))

    def _finish(self, visit: Visit, car: Car, t: float, stations: Mapping[str, Station]) -> None:
        station = stations[visit.station]
        outlet = station.connectors[visit.connector - 1]
        if outlet.car is not car:
            return
        if outlet.session is not None and outlet.session.id_tag == visit.id_tag:
            station.present(visit.connector, visit.id_tag)
        self._at(t + _UNPLUG_AFTER_S, partial(self._unplug, visit, car))

    def _unplug(self, visit: Visit, car: Car, _t: float, stations: Mapping[str, Station]) -> None:
        if stations[visit.station].connectors[visit.connector - 1].car is car:
            stations[visit.station].unplug(visit.connector)


def endless_visits(
    bays: Sequence[tuple[str, int]],
    badges: Sequence[str],
    *,
    seed: int = 0,
    first_s: tuple[float, float] = (2.0, 12.0),
    stay_s: tuple[float, float] = (1200.0, 5400.0),
    gap_s: tuple[float, float] = (60.0, 900.0),
    cars: Sequence[tuple[CarModel, int]] = COMMON_CARS,
    firsts: Mapping[str, CarModel] | None = None,
) -> Iterator[Visit]:
    """Visits to every bay for ever, in order of arrival: the first soon, then stays and gaps drawn at random.

    `firsts` names the model of the first car at a station.
    """

    def at_one(bay: tuple[str, int]) -> Iterator[Visit]:
        dice = random.Random(f"{bay}/{seed}")
        models, weights = zip(*cars, strict=True)
        arrive = dice.uniform(*first_s)
        model = (firsts or {}).get(bay[0])
        while True:
            leave = arrive + dice.uniform(*stay_s)
            chosen = model or dice.choices(models, weights)[0]
            soc, tag = dice.uniform(0.1, 0.7), dice.choice(badges)
            yield Visit(arrive, leave, *bay, tag, chosen, soc, badge_after_s=dice.uniform(2.0, 8.0))
            arrive, model = leave + _UNPLUG_AFTER_S + dice.uniform(*gap_s), None

    return heapq.merge(*(at_one(bay) for bay in bays), key=lambda visit: visit.arrive_s)
