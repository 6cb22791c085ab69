"""What goes wrong, and when: faults as values, played on a running plant at their time.

A fault has a beginning and, unless it is a thing of a moment, an end. What concerns the links and the controller's
own clock lies outside the plant: the script asks its `Surroundings` for that.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import attrs

from llm_adapters.virtual.building import Building
from llm_adapters.virtual.meter import Meter
from llm_adapters.virtual.station import Station

_CUT_S = 2.0


class FaultKind(StrEnum):
    """The faults. Those in `MEASURED` have a figure, `Fault.by`; those in `MOMENTARY` no end."""

    METER_SILENT = "meter silent"
    METER_FROZEN = "meter frozen"
    METER_NAN = "meter not a number"
    METER_NOISY = "meter noisy"  # by: A, standard deviation
    METER_LATE = "meter late"  # by: s
    LINK_CUT = "link cut"  # both ends notice
    LINK_DEAD = "link dead"  # nobody is told: frames vanish until the end, then the link breaks
    RECONNECTS = "reconnects"  # by: s between two losses of the link
    ANSWERS_LATE = "answers late"  # by: s
    ANSWERS_LOST = "answers lost"  # by: share
    LIMITS_REFUSED = "limits refused"
    LIMITS_IGNORED = "limits ignored"  # accepted, and nothing done
    REBOOT = "reboot"
    REBOOT_FORGETTING = "reboot without memory"  # the profiles are gone
    STATION_CLOCK = "station clock"  # by: s ahead from now on
    CONTROLLER_CLOCK = "controller clock"  # by: s that it jumps
    CONTROLLER_RESTART = "controller restarts"  # by: s that it is away; it forgets what it has not stored
    OPERATOR_LIMIT = "operator limit"  # by: A per phase that the grid operator leaves for charging
    PLANNED_LIMIT = "planned limit"  # the same, announced when the fault begins; holds for its last three quarters
    CPO_LIMIT = "cpo limit"  # by: A that the charge point operator leaves for each connector


_METER_FLAG = {
    FaultKind.METER_SILENT: "silent",
    FaultKind.METER_FROZEN: "frozen",
    FaultKind.METER_NAN: "nan",
}
_METER_FIGURE = {FaultKind.METER_NOISY: "noise_a", FaultKind.METER_LATE: "lag_s"}
_QUIRK = {
    FaultKind.ANSWERS_LATE: "answer_delay_s",
    FaultKind.ANSWERS_LOST: "drops_answers",
    FaultKind.LIMITS_REFUSED: "rejects_profiles",
    FaultKind.LIMITS_IGNORED: "ignores_profiles",
}
_CLOCKS = (FaultKind.STATION_CLOCK, FaultKind.CONTROLLER_CLOCK)
MOMENTARY = frozenset((FaultKind.REBOOT, FaultKind.REBOOT_FORGETTING, FaultKind.CONTROLLER_RESTART, *_CLOCKS))
_FROM_OUTSIDE = (FaultKind.OPERATOR_LIMIT, FaultKind.PLANNED_LIMIT, FaultKind.CPO_LIMIT)
MEASURED = frozenset(
    (
        *_METER_FIGURE,
        *_CLOCKS,
        *_FROM_OUTSIDE,
        FaultKind.RECONNECTS,
        FaultKind.ANSWERS_LATE,
        FaultKind.ANSWERS_LOST,
        FaultKind.CONTROLLER_RESTART,
    )
)
OF_STATIONS = frozenset(FaultKind) - {
    *_METER_FLAG,
    *_METER_FIGURE,
    FaultKind.CONTROLLER_CLOCK,
    FaultKind.CONTROLLER_RESTART,
    FaultKind.OPERATOR_LIMIT,
    FaultKind.PLANNED_LIMIT,
}
_AHEAD = 0.25  # a planned limit is announced for so much of its time before it holds


@attrs.frozen
class Fault:
    """One fault from `at` to `until` (plant seconds); `stations` empty means all of them."""

    kind: FaultKind
    at: float
    until: float = math.inf
    stations: tuple[str, ...] = ()
    by: float = 0.0


@attrs.frozen
class LoadStep:
    """From `at` to `until` the building draws `amps` more, per site phase; the next step there replaces it."""

    at: float
    amps: tuple[float, float, float]
    until: float = math.inf


class Surroundings(Protocol):
    """What a plant cannot reach by itself."""

    def hang(self, station_id: str) -> None:
        """Make a black hole of the station's present link."""

    def cut(self, station_id: str) -> None:
        """Break the station's present link, if it has one."""

    def step_clock(self, seconds: float) -> None:
        """Let the controller's UTC clock jump."""

    def restart_controller(self, after_s: float) -> None:
        """The controller loses its power, and what it has not stored; it is back so much later."""

    def limit_charging(self, amps: float | None) -> None:
        """The grid operator leaves so much per phase for all stations together; None: whatever there is."""

    def plan_limit(self, amps: float, from_t: float, to_t: float) -> None:
        """The grid operator says now what it will leave from when to when (plant seconds)."""

    def limit_station(self, station_id: str, amps: float | None) -> None:
        """The charge point operator leaves so much for each connector of a station; None: whatever there is."""


class Script:
    """Plays faults; `advance` is for the plant, which calls it before anything else of an instant happens."""

    def __init__(
        self, faults: Iterable[Fault], meter: Meter, stations: Sequence[Station], surroundings: Surroundings
    ) -> None:
        self._meter = meter
        self._own_meter = meter.config
        self._stations = {station.config.station_id: station for station in stations}
        self._own = {name: station.config.quirks for name, station in self._stations.items()}
        self._outside = surroundings
        self._todo: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        for fault in faults:
            self._at(fault.at, partial(self._begin, fault))
            if fault.until < math.inf:
                self._at(fault.until, partial(self._end, fault))

    @property
    def due(self) -> float:
        return self._todo[0][0] if self._todo else math.inf

    def advance(self, t: float) -> None:
        """Do what is due at `t`."""
        while self.due <= t:
            heapq.heappop(self._todo)[2](t)

    def _at(self, t: float, act: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._todo, (t, self._count, act))

    def _begin(self, fault: Fault, t: float) -> None:
        kind = fault.kind
        if kind in _METER_FLAG:
            setattr(self._meter, _METER_FLAG[kind], True)
        elif kind in _METER_FIGURE:
            figures: dict[str, Any] = {_METER_FIGURE[kind]: fault.by}
            self._meter.config = attrs.evolve(self._meter.config, **figures)
        elif kind is FaultKind.CONTROLLER_CLOCK:
            self._outside.step_clock(fault.by)
        elif kind is FaultKind.CONTROLLER_RESTART:
            self._outside.restart_controller(fault.by)
        elif kind is FaultKind.OPERATOR_LIMIT:
            self._outside.limit_charging(fault.by)
        elif kind is FaultKind.PLANNED_LIMIT:
            self._outside.plan_limit(fault.by, t + _AHEAD * (fault.until - t), fault.until)
        else:
            for name in fault.stations or self._stations:
                self._befall(self._stations[name], fault, t)

    def _befall(self, station: Station, fault: Fault, t: float) -> None:
        match fault.kind:
            case FaultKind.LINK_CUT:
                station.go_offline(fault.until - t)
            case FaultKind.LINK_DEAD:
                self._outside.hang(station.config.station_id)
            case FaultKind.RECONNECTS:
                station.go_offline(min(_CUT_S, fault.by / 2))
                if t + fault.by < fault.until:
                    self._at(t + fault.by, partial(self._befall, station, fault))
            case FaultKind.REBOOT | FaultKind.REBOOT_FORGETTING:
                station.behave(keeps_profiles=fault.kind is FaultKind.REBOOT)
                station.restart()
            case FaultKind.CPO_LIMIT:
                self._outside.limit_station(station.config.station_id, fault.by)
            case FaultKind.STATION_CLOCK:
                station.clock_offset_s = fault.by
            case _:
                station.behave(**{_QUIRK[fault.kind]: fault.by or True})

    def _end(self, fault: Fault, _t: float) -> None:
        kind, own = fault.kind, self._own_meter
        if kind in _METER_FLAG:
            setattr(self._meter, _METER_FLAG[kind], False)
        elif kind in _METER_FIGURE:
            figure = _METER_FIGURE[kind]
            self._meter.config = attrs.evolve(self._meter.config, **{figure: getattr(own, figure)})
        elif kind is FaultKind.OPERATOR_LIMIT:
            self._outside.limit_charging(None)
        elif kind is FaultKind.CPO_LIMIT:
            for name in fault.stations or self._stations:
                self._outside.limit_station(name, None)
        elif kind is FaultKind.LINK_DEAD:
            for name in fault.stations or self._stations:
                self._outside.cut(name)
        elif kind in _QUIRK:
            for name in fault.stations or self._stations:
                self._stations[name].behave(**{_QUIRK[kind]: getattr(self._own[name], _QUIRK[kind])})


def build_in(building: Building, steps: Iterable[LoadStep]) -> None:
    """Enter load steps into a building."""
    for step in steps:
        for phase, amps in enumerate(step.amps):
            building.set_step(step.at, phase, amps)
            if step.until < math.inf:
                building.set_step(step.until, phase, 0.0)
