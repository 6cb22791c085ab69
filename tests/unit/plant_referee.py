"""Judges a run of the core at a `Bench` by the plant: profile stores, cars, building. The core's books are not read.

Words
    *Entitled* is what an outlet may offer now: the profiles that its station keeps, evaluated on that station's own
    clock, capped by its hardware. It counts on the phases that its car can use, without a car on all that are wired.
    A station counts with nothing while nobody can know anything of it: before it was first accepted, and from a
    restart or a step of its clock until it next reports a boot.
    A *place* is a phase of a node; its limit is that of the configuration in force, or less where the operator says so
    (in dynamic mode at the site of all that flows, else of the stations).
    An *outside event* moves a place without a command: a limit lowered, a station added or restarted or its clock
    stepped, a car that draws on more phases than before, an outlet that does not obey.
    A *raise* is a limit of more amps than the outlet is entitled to, when it leaves or when the station takes it in.
    *Load* is the building's at a place that counts it (the site in dynamic mode, while its meter works): the smallest
    that stood at any instant since the oldest fact the raise may rest on (the last meter sample, the last reading of
    each charging outlet, at most 36 s old). Nobody could have known a larger one.

Judgements
    I1 sum    Static mode: at every instant, at every place, the sum of entitled is within the limit, unless an
              outside event beneath that place broke it and it has not come back since, came within 10 s before, or
              came between the leaving and the arrival of the limit that did.
    I1 raise  When a station takes in a raise: sum of entitled + load is within the limit at every place of the outlet
              (unless an outside event came between its leaving and its arrival).
    I1 cut    When a meter sample shows the site above its limit, or a limit is lowered, or a restart is reported: 2 s
              later the last limits that left on the wire cover the excess (the sum of what they leave fits, or they
              cut as much as is too much), or every outlet there that can be told anything was told 0 A (an idle one
              its floor).
    I2        When a raise leaves: sum of max(entitled, drawn) + the raise + load is within the limit at every place
              of the outlet. An outlet that draws on against its limit is an outside event.
    I3        No limit on the wire is above the one decided, nor is what the station makes of it (in watts it may give
              one phase what was meant for all of them: then the sums above decide).
    I4        What profiles give an accepted outlet is 0 or at least its minimum.
    I5        Dynamic mode: no raise leaves while the meter has been silent or false for more than 7 s, or has shown
              the same for more than 76 s (since it last told the truth, or the controller started), except within
              `fallback_a`.
    I6        When a station takes in a live limit that makes it give more once left alone (an hour from now, links
              cut: the larger of what its transaction and a new one would get), the sum of that fits every node; in
              dynamic mode at the site `fallback_a` (with the same exception).
    guard     GUARD_INTERVENED never comes up: the gate before the wire is a second line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import attrs
from plant_harness import Bench, Payload, Sent

from llm_adapters.virtual.connector import Connector, Session
from llm_adapters.virtual.station import Station
from llm_core import SITE, AlarmCode, Mode, Purpose, SetLimit

EPS_A = 0.011
CUT_S = 2
SETTLES_S = 10
BLIND_S = 7.0
FROZEN_S = 76.0
VOLTAGE_V = 230

Place = tuple[str, int]
Outlet = tuple[Station, Connector]
Amps3 = tuple[float, float, float]


@attrs.frozen
class Snapshot:
    """The truth of one second, for samples that show it later."""

    entitled: dict[Connector, float]
    drawn: dict[Connector, Amps3]
    building: Amps3


@attrs.frozen
class Overload:
    """A place that was seen above its limit; by `judged_at` commands must have answered it."""

    place: Place
    excess_a: float
    entitled: dict[Connector, float]
    drawn: dict[Connector, Amps3]
    load_a: float
    judged_at: float


class Referee:
    """Watches a bench; `faults` tells what was wrong, in words."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.faults: list[str] = []
        self.disobedient: set[Connector] = set()
        self._known: set[str] = set()
        self._unheard: set[str] = set()  # restarted or with another time, and nobody has been told yet
        self._accepted: set[str] = set()
        self._disturbances: dict[str, int] = {}
        self._before: dict[Connector, tuple[float, Session | None]] = {}
        self._alone_before: dict[Connector, Amps3] = {}
        self._over: set[Place] = set()
        self._moved_at: dict[Place, float] = {}
        self._told: dict[Connector, float] = {}  # the last limit that left, A
        self._history: deque[tuple[float, Snapshot]] = deque(maxlen=8)
        self._overloads: list[Overload] = []
        self._limits: dict[Place, float] = {}
        self.operator_a: dict[str, float] = {}  # what the operator leaves at a node
        bench.plant.observers.append(self._observe)
        bench.watch_boot = self._reported
        bench.watch_sent = self._left
        bench.watch_sample = self._sampled

    # -- what counts ---------------------------------------------------------------------------------------------

    @property
    def dynamic(self) -> bool:
        return self.bench.state.site.supply.mode is Mode.DYNAMIC

    def limits(self) -> dict[Place, float]:
        return {
            (node, phase): min(limit, self.operator_a.get(node, math.inf))
            for (node, phase), limit in self._configured().items()
        }

    def _configured(self) -> dict[Place, float]:
        tree = self.bench.state.site.limit_tree()
        return {(n.id, i): ma / 1000 for n in tree for i, ma in enumerate(n.limit_ma)}

    def entitled(self, station: Station, outlet: Connector) -> Amps3:
        if not self._heard(station):
            return (0.0, 0.0, 0.0)
        return outlet.on_site_phases(outlet.entitled_a)

    def worst(self, station: Station, outlet: Connector) -> Amps3:
        entitled = self.entitled(station, outlet)
        if outlet in self.disobedient or not self._heard(station):
            return entitled
        return _larger(entitled, outlet.draw_a)

    def _heard(self, station: Station) -> bool:
        name = station.config.station_id
        return name in self._known and name not in self._unheard

    def _sums(self, of: str) -> dict[str, Amps3]:
        return self.bench.plant.by_node(getattr(self, of))

    def _places(self, station: Station, outlet: Connector) -> Iterable[Place]:
        for node in self.bench.plant.above[station.config.node]:
            for phase in outlet.phases:
                yield node, phase

    def _load(self, node: str, since: float) -> Amps3:
        if not self.dynamic or node != SITE or self._blind():
            return (0.0, 0.0, 0.0)
        return self.bench.plant.building.smallest_a(self.bench.t, self.bench.t - since)

    def _blind(self) -> bool:
        """Whether the meter has told nothing for so long, or nothing true, that nobody may go on as before."""
        seeing_since = max(self.bench.sample_at, self.bench.restarted_at)
        return self.bench.t - self.bench.shown_at > BLIND_S or self.bench.t - seeing_since > FROZEN_S

    def _outlets(self, node: str) -> list[Outlet]:
        plant = self.bench.plant
        return [(s, c) for s, c in plant.connectors() if node in plant.above[s.config.node]]

    # -- outside events ------------------------------------------------------------------------------------------

    def outside(self, station: Station) -> None:
        """Something else than a command has moved the places above this station."""
        self._move({(node, phase) for node in self.bench.plant.above[station.config.node] for phase in range(3)})

    def _move(self, places: set[Place]) -> None:
        self._moved_at |= dict.fromkeys(places, self.bench.t)

    def _moved_lately(self, place: Place) -> bool:
        return self.bench.t - self._moved_at.get(place, -math.inf) <= SETTLES_S

    def _overtaken(self, place: Place) -> bool:
        """Whether the limit that is being taken in left before something else moved the place."""
        sent = self.bench.delivering
        return sent is not None and sent.at <= self._moved_at.get(place, -math.inf)

    def limits_changed(self) -> None:
        """The configuration or what the operator leaves has changed: what is too much now was not before."""
        limits = self.limits()
        lowered = {place for place, limit in limits.items() if limit < self._limits.get(place, limit)}
        self._move(lowered)
        self._limits = limits
        self._observe("edit", self.bench.t)
        self._expect_cuts(lowered)

    def _note_disturbances(self) -> None:
        for name, station in self.bench.plant.stations.items():
            if station.accepted and name not in self._known:
                self._known.add(name)
                self.outside(station)
            if self._disturbances.get(name) != station.disturbances:
                if name in self._disturbances and not (station.accepted and name not in self._accepted):
                    self._unheard.add(name)  # but for the time that it takes from the answer to its boot
                self._disturbances[name] = station.disturbances
                self.outside(station)
            (self._accepted.add if station.accepted else self._accepted.discard)(name)
            if any(outlet in self.disobedient for outlet in station.connectors):
                self.outside(station)

    # -- every instant -------------------------------------------------------------------------------------------

    def _observe(self, cause: str, t: float) -> None:
        if not self._limits:
            self._limits = self.limits()
        self._note_disturbances()
        self._judge_sums()
        self._judge_minimums()
        if cause == "message" and self.bench.delivering is not None:
            self._judge_taken(self.bench.delivering)
        for _, outlet in self.bench.plant.connectors():
            self._before[outlet] = (outlet.entitled_a, outlet.session)
        self._alone_before = {c: self._left_alone(s, c) for s, c in self.bench.plant.connectors()}
        if cause == "time":
            self._remember(t)
            self._judge_cuts(t)
            if AlarmCode.GUARD_INTERVENED in self.bench.alarms:
                self.bench.alarms.discard(AlarmCode.GUARD_INTERVENED)
                self._fault("guard", "it had to step in")

    def _reported(self, station: Station) -> None:
        """A restart that the controller is told of: from now on its station counts, and must be answered."""
        self._unheard.discard(station.config.station_id)
        self.outside(station)
        for outlet in station.connectors:
            self._told.pop(outlet, None)
        self._observe("boot", self.bench.t)
        above = self.bench.plant.above[station.config.node]
        self._expect_cuts(place for place in self._limits if place[0] in above)

    def _judge_sums(self) -> None:
        entitled = self._sums("entitled")
        over = {p for p, limit in self._limits.items() if entitled[p[0]][p[1]] > limit + EPS_A}
        if not self.dynamic:
            for node, phase in sorted(over - self._over):
                if not (self._moved_lately((node, phase)) or self._overtaken((node, phase))):
                    self._fault("I1 sum", f"{node} L{phase + 1}: {entitled[node][phase]:.2f}")
        self._over = over

    def _judge_minimums(self) -> None:
        for station, outlet in self.bench.plant.connectors():
            configured = self.bench.state.site.station(station.config.station_id)
            if configured is None or station.config.station_id not in self._known:
                continue
            least_a = configured.min_ma / 1000
            if 0 < outlet.limit_a < least_a - EPS_A:
                self._fault("I4", f"{station.config.station_id}: {outlet.limit_a:.2f} below {least_a}")

    # -- limits taken in -----------------------------------------------------------------------------------------

    def _judge_taken(self, sent: Sent) -> None:
        command = sent.command
        station = self.bench.plant.stations[command.station_id]
        outlet = station.connectors[command.connector - 1]
        before, session = self._before.get(outlet, (math.inf, None))
        if not isinstance(command, SetLimit) or session is not outlet.session:
            return
        if outlet.entitled_a > before + EPS_A:
            sums = self._sums("entitled")
            for node, phase in self._places(station, outlet):
                total = sums[node][phase] + self._load(node, sent.basis)[phase]
                if total > self._limits[node, phase] + EPS_A and not self._overtaken((node, phase)):
                    self._fault("I1 raise", f"{command} at {node} L{phase + 1}: {total:.2f}")
            parts = command.phases if self.bench.capabilities[command.station_id].in_watts else 1
            if outlet.limit_a > parts * command.limit_ma / 1000 + EPS_A:
                self._fault("I3", f"{command} became {outlet.limit_a}")
        if command.purpose is not Purpose.FLOOR:
            self._judge_left_alone(station, outlet, command)

    def _judge_left_alone(self, station: Station, outlet: Connector, command: SetLimit) -> None:
        alone, before = self._left_alone(station, outlet), self._alone_before.get(outlet)
        if before is None or all(a <= b + EPS_A for a, b in zip(alone, before, strict=True)):
            return
        sums = self._sums("_left_alone")
        fallback = self.bench.state.site.supply.fallback_ma
        configured = self._configured()
        for node in self.bench.plant.above[station.config.node]:
            for phase in range(3):
                limit = configured[node, phase]
                if self.dynamic and node == SITE:
                    limit = min(limit, list(fallback)[phase] / 1000)
                if self._overtaken((node, phase)):
                    continue
                if alone[phase] > before[phase] + EPS_A and sums[node][phase] > limit + EPS_A:
                    self._fault("I6", f"{command} at {node} L{phase + 1}: {sums[node][phase]:.2f} of {limit}")

    def _left_alone(self, station: Station, outlet: Connector) -> Amps3:
        if not self._heard(station):
            return (0.0, 0.0, 0.0)
        later, phases = station.utc + 3600, len(outlet.rotation)
        fresh = min(station.profiles.limit_a(outlet.number, later, None, phases), outlet.max_a)
        held = outlet.on_wired_phases(fresh)
        if outlet.session is None:
            return held
        running = station.profiles.limit_a(outlet.number, later, outlet.session.seen_by_profiles(), phases)
        return _larger(held, outlet.on_site_phases(min(running, outlet.max_a)))

    # -- limits leaving ------------------------------------------------------------------------------------------

    def _left(self, sent: Sent, payload: Payload) -> None:
        command = sent.command
        station = self.bench.plant.stations[command.station_id]
        outlet = station.connectors[command.connector - 1]
        if not isinstance(command, SetLimit):
            self._told[outlet] = self._floor_a(station)
            return
        self._told[outlet] = command.limit_ma / 1000
        self._judge_wire(command, payload)
        if sent.raises and self._heard(station):
            self._judge_raise(sent, station, outlet, command.limit_ma / 1000)

    def _judge_wire(self, command: SetLimit, payload: Payload) -> None:
        schedule = payload["csChargingProfiles"]["chargingSchedule"]
        decided = (command.limit_ma, command.then_ma)
        for period, ma in zip(schedule["chargingSchedulePeriod"], decided, strict=False):
            most = ma / 1000
            if schedule["chargingRateUnit"] == "W":
                most *= VOLTAGE_V * period["numberPhases"]
            if period["limit"] > most + 1e-9:
                self._fault("I3", f"{command} said {period}")

    def _judge_raise(self, sent: Sent, station: Station, outlet: Connector, limit_a: float) -> None:
        sums = self._sums("worst")
        own = self.worst(station, outlet)
        for node, phase in self._places(station, outlet):
            total = sums[node][phase] - own[phase] + max(own[phase], limit_a) + self._load(node, sent.basis)[phase]
            if total > self._limits[node, phase] + EPS_A:
                self._fault("I2", f"{sent.command} at {node} L{phase + 1}: {total:.2f} of {self._limits[node, phase]}")
            if self.dynamic and node == SITE and self._blind():
                charging = sums[node][phase] - own[phase] + max(own[phase], limit_a)
                if charging > list(self.bench.state.site.supply.fallback_ma)[phase] / 1000 + EPS_A:
                    self._fault("I5", f"{sent.command} without a meter: {charging:.2f}")

    # -- cuts ----------------------------------------------------------------------------------------------------

    def _remember(self, t: float) -> None:
        plant = self.bench.plant
        entitled = {c: max(self.entitled(s, c)) for s, c in plant.connectors()}
        drawn = {c: c.draw_a for _, c in plant.connectors()}
        self._history.append((t, Snapshot(entitled, drawn, plant.building.load_a)))

    def _sampled(self, at: float, total: Amps3) -> None:
        """A meter sample arrives that shows the site above its limit: cuts are due."""
        if not self.dynamic:
            return
        snapshot = next((s for when, s in self._history if when == at), None)
        for phase in range(3):
            excess = total[phase] - self._limits[SITE, phase]
            if snapshot is None or excess <= EPS_A:
                continue
            if any(link.out is not None and link.out[1].raises for link in self.bench.links.values()):
                self.bench.counts["overload during a pending raise"] += 1
            load = snapshot.building[phase]
            due = self.bench.t + CUT_S
            self._overloads.append(Overload((SITE, phase), excess, snapshot.entitled, snapshot.drawn, load, due))

    def _expect_cuts(self, places: Iterable[Place]) -> None:
        """Static mode: what is entitled beneath these places must be cut to fit, where it does not."""
        if self.dynamic:
            return
        plant, t = self.bench.plant, self.bench.t
        sums = self._sums("entitled")
        entitled = {c: max(self.entitled(s, c)) for s, c in plant.connectors()}
        drawn = {c: self.entitled(s, c) for s, c in plant.connectors()}
        for node, phase in places:
            excess = sums[node][phase] - self._limits[node, phase]
            if excess > EPS_A:
                if any(link.out is not None and link.out[1].raises for link in self.bench.links.values()):
                    self.bench.counts["overload during a pending raise"] += 1
                self._overloads.append(Overload((node, phase), excess, entitled, drawn, 0.0, t + CUT_S))

    def _judge_cuts(self, t: float) -> None:
        due = [overload for overload in self._overloads if overload.judged_at < t]
        self._overloads = [overload for overload in self._overloads if overload.judged_at >= t]
        for overload in due:
            node, phase = overload.place
            if any(self._lost_since(station, overload.judged_at - CUT_S) for station, _ in self._outlets(node)):
                continue  # what was on its way there is void: the next sample asks again
            left = cut = 0.0
            all_told_0 = True
            for station, outlet in self._outlets(node):
                drawn = overload.drawn.get(outlet, (0.0, 0.0, 0.0))[phase]
                before = overload.entitled.get(outlet, 0.0)
                told = self._told.get(outlet, math.inf) if self._can_be_told(station) else math.inf
                told = min(told, outlet.entitled_a)
                left += min(drawn, told)
                cut += max(0.0, before - told) if phase in outlet.phases else 0.0
                uses = phase in outlet.phases and min(before, outlet.entitled_a) > EPS_A
                least = EPS_A + (self._floor_a(station) if outlet.session is None else 0.0)
                all_told_0 &= not (uses and self._can_be_told(station) and told > least)
            fits = left + overload.load_a <= self._limits[overload.place] + EPS_A
            if not (fits or cut >= overload.excess_a - EPS_A or all_told_0):
                self._fault("I1 cut", f"{node} L{phase + 1}: {overload.excess_a:.2f} A too much, cut {cut:.2f}")

    def _floor_a(self, station: Station) -> float:
        configured = self.bench.state.site.station(station.config.station_id)
        return configured.start_alone_ma / 1000 if configured is not None else 0.0

    def _lost_since(self, station: Station, since: float) -> bool:
        return self.bench.links[station.config.station_id].lost >= since

    def _can_be_told(self, station: Station) -> bool:
        """Whether there was a way to tell it for as long as it takes."""
        link = self.bench.links[station.config.station_id]
        return link.up and station.accepted and self.bench.t - link.since > CUT_S

    def _fault(self, invariant: str, text: str) -> None:
        self.faults.append(f"{self.bench.t:.0f} s {invariant}: {text}")


def _larger(a: Amps3, b: Amps3) -> Amps3:
    return (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]))
