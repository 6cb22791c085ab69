"""A small site that drives `step` second by second: simple stations, simple cars, a meter that is a second late.

Everything in it is fixed, so a run is the same each time: a command is acknowledged after 1 s, a car draws what its
station offered 3 s ago, a station reads every 10 s and the second after it is asked, the meter shows building and
cars as they were 1 s ago. The stations keep their own limits and let leases run out; the core's books are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from llm_core import (
    SITE,
    AccessRule,
    AskReading,
    Capabilities,
    CapabilitiesFound,
    ClearLimit,
    Effect,
    Event,
    LimitConfirmed,
    LimitRefused,
    MeterSampled,
    MeterSetup,
    MeterValuesReceived,
    Mode,
    PerPhase,
    Purpose,
    Reply,
    SetLimit,
    Sharing,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    Status,
    StatusChanged,
    StopRemotely,
    StopRequested,
    Supply,
    Tick,
    step,
)
from unit.strategies import now

A = 1_000
ACKNOWLEDGED_S = 1
FOLLOWED_S = 3
READS_S = 10
LEAST_MA = 6_000  # what a car needs to draw anything

Command = SetLimit | ClearLimit


def static(limit_a: float, *stations: Station, **sharing: object) -> Site:
    """A site that only limits its stations."""
    supply = Supply(static_max_ma=PerPhase.same(round(limit_a * A)))
    return Site(supply=supply, stations=stations, sharing=Sharing(**sharing), access=AccessRule.FREE)  # type: ignore[arg-type]


def dynamic(limit_a: float, *stations: Station, fallback_a: int = 0, **sharing: object) -> Site:
    """A site with a meter that sees the building and the stations."""
    limit, fallback = PerPhase.same(round(limit_a * A)), PerPhase.same(fallback_a * A)
    supply = Supply(Mode.DYNAMIC, derated_ma=limit, fallback_ma=fallback)
    meters = (MeterSetup(SITE, "any", "meter"),)
    return attrs.evolve(static(limit_a, *stations, **sharing), supply=supply, meters=meters)


@attrs.define
class Car:
    """A car that draws at most `most_ma` on the station's first `phases`; `off_ma` more or less than it is offered."""

    most_ma: int = 32 * A
    phases: int = 3
    off_ma: int = 0
    obeys: bool = True

    def draws_ma(self, offered_ma: int) -> int:
        if not self.obeys:
            return self.most_ma
        return min(offered_ma + self.off_ma, self.most_ma) if offered_ma >= LEAST_MA else 0


@attrs.define
class Outlet:
    """A station of one connector: the limits that it keeps, and the car on it."""

    station: Station
    limits: dict[Purpose, tuple[int, SetLimit]] = attrs.field(factory=dict)  # since which second
    offered: list[tuple[int, int]] = attrs.field(factory=lambda: [(0, 0)])  # the limit in force, since which second
    car: Car | None = None
    transaction_id: int | None = None
    linked: bool = True
    charged_s: int = 0
    reads_s: int = READS_S
    tells_on_demand: bool = True
    takes: Callable[[SetLimit], bool] | None = None  # None: every limit; without any it gives its maximum
    clears: bool = True

    def keep(self, command: Command, second: int) -> None:
        if isinstance(command, SetLimit):
            self.limits[command.purpose] = (second, command)
            return
        for purpose in (Purpose.DEFAULT, Purpose.TRANSACTION) if command.purpose is None else (command.purpose,):
            self.limits.pop(purpose, None)

    def offers_ma(self, second: int) -> int:
        """The limit in force: the transaction's own, else the default, else the floor; past a lease what follows it."""
        usable = [Purpose.DEFAULT, Purpose.FLOOR]
        for purpose in [Purpose.TRANSACTION, *usable] if self.transaction_id is not None else usable:
            if purpose in self.limits:
                since, limit = self.limits[purpose]
                over = limit.lease_ms is not None and (second - since) * 1000 >= limit.lease_ms
                return limit.then_ma if over else limit.limit_ma
        return 0 if self.takes is None else self.station.max_ma

    def draws_ma(self, second: int) -> tuple[int, int, int]:
        """What the car draws on the phases of the station: it follows what was offered some seconds ago."""
        if self.car is None or self.transaction_id is None:
            return (0, 0, 0)
        followed_ma = next(ma for since, ma in reversed(self.offered) if since <= max(second - FOLLOWED_S, 0))
        ma = self.car.draws_ma(followed_ma)
        return (ma, ma if self.car.phases > 1 else 0, ma if self.car.phases > 2 else 0)


class SmallSite:
    """The site, its clock in whole seconds, and a record of everything that was sent."""

    def __init__(self, site: Site, *, state: State | None = None, step_ma: int = 100, links: bool = True) -> None:
        self.state = state if state is not None else State(site=site, factory=False)
        self.second = 0
        self.building_ma = PerPhase()
        self.meter_works = True
        self.outlets = {station.id: Outlet(station, linked=False) for station in site.stations}
        self.sent: list[tuple[int, SetLimit]] = []  # the live limits, and when
        self.stops: list[tuple[int, str]] = []  # who was asked to end its transaction, and when
        self.effects: list[Effect] = []  # of the last second
        self.most_ma = PerPhase()  # the most that ever flowed, building and cars
        self._under_way: list[tuple[int, Command]] = []
        self._asked: set[str] = set()
        self._loads = [PerPhase()]  # of this second and of the one before
        self._step_ma = step_ma
        for name in self.outlets if links else ():
            self.link(name)

    # what happens

    def post(self, event: Event) -> tuple[Effect, ...]:
        outcome = step(self.state, event, now(self.second))
        self.state = outcome.state
        self.effects += outcome.effects
        for effect in outcome.effects:
            if isinstance(effect, SetLimit | ClearLimit):
                self._send(effect)
            elif isinstance(effect, AskReading):
                self._asked.add(effect.station_id)
            elif isinstance(effect, StopRemotely):
                self.stops.append((self.second, effect.station_id))
        return outcome.effects

    def link(self, name: str) -> None:
        self.outlets[name].linked = True
        self.post(StationConnected(name))
        self.post(StationClockRead(name, 0))
        self.post(CapabilitiesFound(name, Capabilities(step_ma=self._step_ma)))

    def cut(self, name: str) -> None:
        """The link is lost, and whatever was on its way."""
        self.outlets[name].linked = False
        self._under_way = [(due, command) for due, command in self._under_way if command.station_id != name]
        self.post(StationDisconnected(name))

    def plug(self, name: str, car: Car | None = None, *, prepares: bool = True) -> None:
        outlet = self.outlets[name]
        outlet.car = car if car is not None else Car()
        if prepares:
            self.post(StatusChanged(name, 1, Status.PREPARING))
        effects = self.post(StartRequested(name, 1, name, 0))
        (answer,) = (e.answer for e in effects if isinstance(e, Reply))
        assert isinstance(answer, Started)
        outlet.transaction_id = answer.transaction_id
        self.post(StatusChanged(name, 1, Status.CHARGING))

    def unplug(self, name: str) -> None:
        outlet = self.outlets[name]
        assert outlet.transaction_id is not None
        self.post(StopRequested(name, outlet.transaction_id, 0))
        self.post(StatusChanged(name, 1, Status.AVAILABLE))
        outlet.car = outlet.transaction_id = None

    def building(self, *amps: float) -> None:
        """The building draws so much from the next second on: one value for all phases, or one each."""
        self.building_ma = PerPhase(*(round(a * A) for a in (amps * 3 if len(amps) == 1 else amps)))

    def run(self, seconds: int, *, every: int = 1) -> None:
        """Let time pass, in steps of so many seconds."""
        end = self.second + seconds
        while self.second < end:
            self._pass(min(every, end - self.second))

    def sample(self, current_ma: Iterable[int], *, taken_s: int, fingerprint: int) -> None:
        l1, l2, l3 = current_ma
        self.post(MeterSampled(SITE, (l1, l2, l3), now(taken_s).monotonic_ms, fingerprint))

    # what is seen

    @property
    def load_ma(self) -> PerPhase:
        """What flows now, building and cars."""
        return self._loads[-1]

    def offered(self, *names: str) -> list[float]:
        """The limits in force at these stations, by their own account, in amps."""
        return [self.outlets[name].offered[-1][1] / A for name in names or self.outlets]

    def drawn_ma(self) -> PerPhase:
        """What all cars draw, on the phases of the site."""
        total = PerPhase()
        for outlet in self.outlets.values():
            by_phase = dict(zip(outlet.station.phase_rotation, outlet.draws_ma(self.second), strict=False))
            total += PerPhase(*(by_phase.get(phase, 0) for phase in self.state.site.supply.site_phases))
        return total

    def sent_since(self, second: int, *names: str) -> list[float]:
        """The live limits sent since then, in amps, in their order."""
        return [c.limit_ma / A for at, c in self.sent if at >= second and (not names or c.station_id in names)]

    # how time passes

    def _send(self, command: Command) -> None:
        if isinstance(command, SetLimit) and command.purpose is not Purpose.FLOOR:
            self.sent.append((self.second, command))
        if self.outlets[command.station_id].linked:
            self._under_way.append((self.second + ACKNOWLEDGED_S, command))

    def _pass(self, seconds: int) -> None:
        self.second += seconds
        self.effects = []
        for due, command in [(due, c) for due, c in self._under_way if due <= self.second]:
            self._under_way.remove((due, command))
            outlet = self.outlets[command.station_id]
            takes = outlet.takes is None or outlet.takes(command) if isinstance(command, SetLimit) else outlet.clears
            if not takes:
                self.post(LimitRefused(command.station_id, command.connector, command.seq))
                continue
            outlet.keep(command, self.second)
            self.post(LimitConfirmed(command.station_id, command.connector, command.seq))
        for outlet in self.outlets.values():
            offered_ma = outlet.offers_ma(self.second)
            outlet.charged_s += seconds if outlet.transaction_id is not None and outlet.offered[-1][1] > 0 else 0
            if offered_ma != outlet.offered[-1][1]:
                outlet.offered.append((self.second, offered_ma))
        self._loads = [self._loads[-1], self.building_ma + self.drawn_ma()]
        self.most_ma = self.most_ma.larger(self._loads[-1])
        if self.meter_works and self.state.site.meters:
            self.sample(self._loads[0], taken_s=self.second, fingerprint=self.second)
        self._read(seconds)
        self.post(Tick())

    def _read(self, seconds: int) -> None:
        """Every station reads in turn, and when it was asked."""
        asked, self._asked = self._asked, set()
        for index, (name, outlet) in enumerate(self.outlets.items()):
            due = (self.second + index) // outlet.reads_s > (self.second + index - seconds) // outlet.reads_s
            if outlet.linked and outlet.car is not None and (due or (name in asked and outlet.tells_on_demand)):
                drawn = outlet.draws_ma(self.second)
                self.post(MeterValuesReceived(name, 1, outlet.transaction_id, drawn))
