"""Judges a controller by the plant alone: what stations are entitled to by their own profiles, what cars draw, what
the building takes. Nothing of the controller's books is believed, or even known.

How each invariant is judged
    *Entitled* is what a connector may offer now: its profiles, evaluated on its own clock, and its hardware. It counts
    on the phases that its present car uses, on all wired ones without a car (then it is what a car that starts
    would get). A phase that a charging car adds by itself counts from when it can be known (see I2). A station that
    has not been accepted yet is a stranger and counts with what it draws. One that restarted counts with its draw up
    to what it was entitled to before, until its boot is accepted, and for raises a message's way longer: that it lost
    its profiles nobody knows before it tells that it started; what it draws beyond is its own doing (I2). One that
    keeps its profiles without heeding them is entitled to what they say, and what it gives beyond counts as that of a
    car that ignores its limit (I2).
    *Load* at the root in dynamic mode is the smallest building load of the last `window_s` seconds (a meter period,
    its lag and the way of a message): a controller cannot know better. While the meter shows nothing true the window
    reaches back to the last true measurement, at most by the time after which I5 forbids to rely on it. The error of
    the meter itself, five standard deviations, is nobody's fault; neither is the part of the building that cars hide
    whose draw wobbles by itself faster than their station reports.
    A *raise* is a rise of a connector's entitlement while a message is taken in or time passes, unless a restart, a
    step of its clock or the end of its transaction explains it. A clock that was set back in the last minutes explains
    what rises as time passes: then a schedule that had begun begins once more.

    I1  At a raise, for every node above it and phase it is known to use: sum of entitled + load <= limit. At the root
        `fallback_a` is allowed as well, beside whatever building load, once the meter has shown nothing true for
        `meter_lost_s`. Static mode, in addition: the sum at a node goes above its limit without such a restart or
        step anywhere beneath it.
        At a raise while the operator of the grid, or of the station, has said otherwise for `told_s` or longer:
        the sum of entitled at the root on each such phase, or what the outlet is entitled to, is within what that one
        left (`allow`).
    I2  At a raise that I1 allows, and that gives more than is drawn already: sum of max(entitled, drawn) + load <=
        limit. It fails while the decrease that pays
        for the raise is still unfollowed. What a car takes that ignores its limit or rounds it up counts from when
        it can be known: after `window_s` at the root where a meter shows it, after `unmetered_s` where only the
        station's own readings do (static mode, other nodes, a phase added; without a link: never). On its way down
        such a car counts with the offer that it still follows.
    I3  A limit that reaches a station has at most one decimal, and one in watts names its `numberPhases`: no rounding
        and no phase count at the station's discretion can make more of it than was decided.
    I4  The limit that profiles give a connector is 0 or at least its minimum (`min_a`), never between.
    I5  Dynamic mode: while the meter has shown nothing true for `meter_lost_s` (`frozen_s` where it repeats itself), a
        raise leaves the sum of entitled at the root within `fallback_a`, on each phase that it can use. One that was
        silent and comes back frozen has repeated itself since it came back; so has one for a controller that began
        while it was frozen.
    I6  At every change: were all links lost now, what remains once every lease has run out (phase by phase the larger
        of what the running transaction and a new one, on all wired phases, would get an hour from now) fits each
        node; in dynamic mode at the root `fallback_a`. Not judged until `adoption_s` after the last station appeared,
        restarted or had its clock stepped, or was without a link or refused all since then, nor while one of them hears
        nothing since then (`deaf`). Counted when it becomes so.

    `lease_rises` counts a limit that rose by the mere passing of time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

from llm_adapters.virtual.car import Car
from llm_adapters.virtual.config import SITE_PHASES
from llm_adapters.virtual.connector import NO_AMPS, Amps3, Connector, Session
from llm_adapters.virtual.ledger import Books
from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.profiles import Profile
from llm_adapters.virtual.station import Station

_EPS_A = 0.01
_HOUR_S = 3600.0
_LONGEST_LEASE_S = 300.0 + 60.0
_KEPT = 200
_SIGMAS = 5


@attrs.frozen
class Terms:
    """What the judge must be told: the mode, the fallback, and what knowledge a controller can have."""

    dynamic: bool = True
    fallback_a: Amps3 | None = None
    min_a: float = 6.0
    wire_s: float = 1.0
    meter_lost_s: float = 6.1  # a second of lag, five of silence, and a message's way
    frozen_s: float = 76.0
    adoption_s: float = 60.0
    unmetered_s: float = 35.0
    told_s: float = 2.0


@attrs.frozen
class Finding:
    """One violation: when (plant seconds), of what, and the figures."""

    at: float
    invariant: str
    text: str


class Judge:
    """Watches a plant from the moment it is made; `violations` counts, `findings` tells the first ones."""

    def __init__(self, plant: Plant, terms: Terms | None = None) -> None:
        self.plant = plant
        self.terms = terms or Terms()
        self.violations: Counter[str] = Counter({f"I{n}": 0 for n in range(1, 7)} | {"lease_rises": 0})
        self.findings: list[Finding] = []
        self.books = Books(plant, of_stations=not self.terms.dynamic)
        self._limits = {str(n["id"]): _amps(n["limit_a"]) for n in plant.config.nodes}
        self._root = str(plant.config.nodes[0]["id"])
        self._evaluations = -1
        self._entitled: dict[Connector, tuple[float, Session | None]] = {}
        self._ignoring: dict[Connector, float] = {}
        self._known_phases: dict[Connector, tuple[int, ...]] = {}
        self._added: dict[Connector, float] = {}
        self._disturbed: dict[str, int] = {}
        self._profiles: dict[str, list[Profile]] = {}
        self._over: set[tuple[str, int]] = set()
        self._stranded: set[tuple[str, int]] = set()
        self._alone: dict[Connector, tuple[int, Amps3]] = {}
        self._known: set[str] = set()
        self._accepted_at: dict[str, float] = {}
        self._mute_at = -math.inf
        self._unseen_at = -math.inf
        self._away_until = -math.inf
        self._restarted: dict[Connector, float] = {}
        self._settled_at = self._look_again_at = 0.0
        self._adopting: set[str] = set()
        self._deaf: dict[str, int] = {}
        self._dead_links: dict[str, int] = {}
        self._allowed: dict[tuple[str, str], tuple[float, float]] = {}
        plant.observers.append(self.observe)

    def allow(self, amps: float | None, station_id: str = "", *, who: str = "") -> None:
        """From now on this operator leaves so much per phase for charging, or for each outlet of a station."""
        self._allowed.pop((station_id, who), None)
        if amps is not None:
            self._allowed[station_id, who] = (amps, self.plant.t)

    def deaf(self, station_id: str) -> None:
        """From now on nothing passes this station's link either way, and nobody is told, until it has a link anew."""
        links = self._dead_links[station_id] = self.plant.stations[station_id].links
        if self.plant.t < self._settled_at:
            self._deaf[station_id] = links

    def away(self, seconds: float) -> None:
        """From now on the controller is away for so long: what a meter repeats when it is back, it may be new to."""
        self._away_until = self.plant.t + seconds
        self._mute_at = max(self._mute_at, self._away_until)

    # -- watching ------------------------------------------------------------------------------------------------

    def observe(self, cause: str, t: float) -> None:
        """Called by the plant after every effect; what a message leaves as it was is looked at when time passes."""
        evaluations = self.plant.evaluations
        if cause == "message" and evaluations == self._evaluations:
            return
        self.books.observe(t)
        self._notice(t)
        if self._deaf:
            self._hear_again(t)
        if self._adopting:
            self._adopt(t)
        if self.plant.meter.silent or self.plant.meter.nan:
            self._mute_at = max(self._mute_at, t)
        if t - self.plant.meter.last_true > self.terms.meter_lost_s:
            self._unseen_at = t
        if evaluations == self._evaluations and t < self._look_again_at:
            return
        self._evaluations = evaluations
        if t >= self._look_again_at:
            self._look_again_at = math.inf
        disturbed = self._disturbances(t)
        raised = [
            (station, connector)
            for station, connector in self.plant.connectors()
            if self._rose(station, connector) and not self._is_excused(station, disturbed, cause, t)
        ]
        self._wire_form(t)
        self._minimums(t)
        self._sums(raised, disturbed, cause, t)
        self._hypothetical_loss(t)

    def _hear_again(self, t: float) -> None:
        """Who has a link anew since it was deaf can be told what it did not hear."""
        for name, links in list(self._deaf.items()):
            if self.plant.stations[name].links != links:
                del self._deaf[name]
                self._settled_at = self._look_again_at = t + self.terms.adoption_s

    def _adopt(self, t: float) -> None:
        """Who refuses all since it was disturbed, or has no link, cannot be told where it is to settle."""
        adopting = (self.plant.stations[name] for name in self._adopting)
        if any(station.config.quirks.rejects_profiles or not station.online for station in adopting):
            self._settled_at = self._look_again_at = t + self.terms.adoption_s
        elif t >= self._settled_at:
            self._adopting.clear()

    def _disturbances(self, t: float) -> set[str]:
        """Stations whose entitlement may have moved by no command: new ones, restarted ones, stepped clocks."""
        found = set()
        for name, station in self.plant.stations.items():
            if station.accepted != (name in self._known):
                found.add(name)
                self._known ^= {name}
                self._accepted_at[name] = t
                for outlet in station.connectors if name not in self._known else ():
                    self._restarted[outlet] = self._entitled.get(outlet, (math.inf, None))[0]
            if self._disturbed.get(name) != station.disturbances:
                self._disturbed[name] = station.disturbances
                found.add(name)
        if found:
            self._adopting |= found
            self._settled_at = self._look_again_at = t + self.terms.adoption_s
        return found

    def _rose(self, station: Station, connector: Connector) -> bool:
        before, session = self._entitled.get(connector, (math.inf, None))
        self._entitled[connector] = (connector.granted_a, connector.session)
        ended = session is not None and session is not connector.session
        risen = connector.granted_a > before + _EPS_A
        return risen and not ended and station.config.station_id in self._known

    @staticmethod
    def _is_excused(station: Station, disturbed: set[str], cause: str, t: float) -> bool:
        """Whether a rise is the station's own: it restarted, or a clock that was set back begins a schedule again."""
        began_again = cause == "time" and t - station.clock_stepped_at <= _LONGEST_LEASE_S
        return station.config.station_id in disturbed or began_again

    # -- judging -------------------------------------------------------------------------------------------------

    def entitled(self, station: Station, connector: Connector) -> Amps3:
        """What counts for I1: the entitlement of a known station, the draw of a stranger."""
        if station.config.station_id not in self._known:
            return self._of_a_stranger(connector)
        granted = connector.granted_a
        known = self._known_phases.get(connector, connector.phases)
        return (granted if 0 in known else 0.0, granted if 1 in known else 0.0, granted if 2 in known else 0.0)

    def _of_a_stranger(self, connector: Connector) -> Amps3:
        a, b, c = connector.draw_a
        before = self._restarted.get(connector, math.inf)
        return (min(a, before), min(b, before), min(c, before))

    def _as_known(self, station: Station, connector: Connector) -> Amps3:
        """The entitlement as who raises now knows it: that raise left before a boot that it has just accepted."""
        if self.plant.t - self._accepted_at.get(station.config.station_id, -math.inf) < self.terms.wire_s:
            return self._of_a_stranger(connector)
        return self.entitled(station, connector)

    def _notice(self, t: float) -> None:
        """Since when each car that ignores its limit takes more than it may, or uses a phase more than before."""
        for station, connector in self.plant.connectors():
            car = connector.car
            if car is None or car.model.begins_on is None:
                self._known_phases.pop(connector, None)
                self._added.pop(connector, None)
            else:
                self._notice_phases(connector, t)
            if (
                car is None
                or not self._may_exceed(station, car)
                or max(connector.draw_a) <= max(self.entitled(station, connector)) + _EPS_A
            ):
                self._ignoring.pop(connector, None)
            else:
                self._ignoring.setdefault(connector, t)

    def _may_exceed(self, station: Station, car: Car) -> bool:
        """Whether a draw above the entitlement is the car's or the station's doing, not one on its way down."""
        if station.config.quirks.ignores_profiles or station.config.station_id not in self._known:
            return True
        return car.model.ignores_limit or (car.settled and bool(car.model.step_a or car.model.excess))

    def _notice_phases(self, connector: Connector, t: float) -> None:
        now = connector.phases
        if len(now) <= len(self._known_phases.get(connector, now)):
            self._known_phases[connector] = now
            self._added.pop(connector, None)
        elif t - max(self._added.setdefault(connector, t), self._away_until) >= self.terms.unmetered_s:
            self._known_phases[connector] = now

    @property
    def _window_s(self) -> float:
        """How old the controller's knowledge of the supply may be."""
        return self._age_s if not self._is_blind else max(self._usual_s, min(self._age_s, self.terms.meter_lost_s))

    @property
    def _usual_s(self) -> float:
        return self.plant.meter.config.period_s + self.plant.meter.config.lag_s + self.terms.wire_s

    @property
    def _age_s(self) -> float:
        """How old what the meter last showed truly is."""
        return max(self._usual_s, self.plant.t - self.plant.meter.last_true + self.terms.wire_s)

    @property
    def _is_blind(self) -> bool:
        """Whether the meter has shown nothing true for so long that a controller must have noticed."""
        meter, terms = self.plant.meter, self.terms
        if meter.frozen:
            return self.plant.t - max(meter.last_true, self._mute_at) > terms.frozen_s
        return self.plant.t - meter.last_true > terms.meter_lost_s

    def _worst(self, station: Station, connector: Connector) -> Amps3:
        return self._with_draw(station, connector, self._by_reading_s(station))

    def _worst_at_the_meter(self, station: Station, connector: Connector) -> Amps3:
        """What is its own doing the meter shows, or its readings do where the meter shows nothing true."""
        return self._with_draw(station, connector, min(self._age_s, self._by_reading_s(station)))

    def _by_reading_s(self, station: Station) -> float:
        """After which time the station's own readings have told what its cars do."""
        is_heard = station.online and self._dead_links.get(station.config.station_id) != station.links
        return self.terms.unmetered_s if is_heard else math.inf

    def _with_draw(self, station: Station, connector: Connector, known_after_s: float) -> Amps3:
        """What counts for I2: a car's own doing as soon as it can be known."""
        entitled, drawn = self._as_known(station, connector), connector.draw_a
        own_doing = max(self._ignoring.get(connector, -math.inf), self._added.get(connector, -math.inf))
        if self.plant.t - own_doing < known_after_s:
            return entitled
        car, most = connector.car, math.inf
        if car is not None and not car.settled and (car.model.step_a or car.model.excess):
            most = car.follows_a  # what it rounds up on its way down is its own doing as well
        a, b, c = (max(may, min(takes, most)) for may, takes in zip(entitled, drawn, strict=True))
        return (a, b, c)

    def _load(self, node: str, t: float) -> Amps3:
        if not self.terms.dynamic or node != self._root:
            return NO_AMPS
        load = list(self.plant.building.smallest_a(t, self._window_s))
        error_a = _SIGMAS * self.plant.meter.config.noise_a
        for _, outlet in self.plant.connectors():
            if outlet.car is not None and outlet.car.model.wobble_a and any(outlet.draw_a):
                for phase in outlet.phases:
                    load[phase] -= outlet.car.model.wobble_a
        return (load[0] - error_a, load[1] - error_a, load[2] - error_a)

    def _sums(self, raised: list[tuple[Station, Connector]], disturbed: set[str], cause: str, t: float) -> None:
        if not raised and self.terms.dynamic:
            return
        entitled = self.plant.by_node(self._as_known)
        worst = self.plant.by_node(self._worst)
        if self.terms.dynamic:
            worst[self._root] = self.plant.by_node(self._worst_at_the_meter)[self._root]
        if not self.terms.dynamic:
            self._static_excess(self.plant.by_node(self.entitled), disturbed, t)
        gives = {place for s, c in raised if c.granted_a > max(c.draw_a) + _EPS_A for place in self._places(s, c)}
        for node, phase in sorted({place for outlet in raised for place in self._places(*outlet)}):
            load, limit = self._load(node, t)[phase], self._limits[node][phase]
            if node == self._root and worst[node][phase] <= self._blind_a(t)[phase] + _EPS_A:
                continue
            if entitled[node][phase] + load > limit + _EPS_A:
                self._found(t, "I1", f"raise at {node} {SITE_PHASES[phase]}", entitled[node][phase] + load, limit)
            elif (node, phase) in gives and worst[node][phase] + load > limit + _EPS_A:
                self._found(t, "I2", f"raise at {node} {SITE_PHASES[phase]}", worst[node][phase] + load, limit)
        if raised:
            self._blind_raise(raised, entitled[self._root], t)
            self._forbidden(raised, entitled[self._root], t)
        if raised and cause == "time":
            names = ", ".join(f"{s.config.station_id}/{c.number}" for s, c in raised)
            self._found(t, "lease_rises", names, max(c.granted_a for _, c in raised), 0.0)

    def _forbidden(self, raised: list[tuple[Station, Connector]], entitled: Amps3, t: float) -> None:
        """Raises above what an operator leaves, on the phases that they can use."""
        told: dict[str, float] = {}
        for (place, _), (amps, since) in self._allowed.items():
            if t - since >= self.terms.told_s:
                told[place] = min(amps, told.get(place, math.inf))
        charging_a = max(entitled[phase] for outlet in raised for _, phase in self._places(*outlet))
        if charging_a > told.get("", math.inf) + _EPS_A:
            self._found(t, "I1", "raise above the grid operator's limit", charging_a, told[""])
        for station, connector in raised:
            name = station.config.station_id
            if connector.granted_a > told.get(name, math.inf) + _EPS_A:
                self._found(t, "I1", f"raise of {name} above its operator's limit", connector.granted_a, told[name])

    def _places(self, station: Station, connector: Connector) -> Iterator[tuple[str, int]]:
        for node in self.plant.above[station.config.node]:
            for phase in self._known_phases.get(connector, connector.phases):
                yield node, phase

    def _static_excess(self, entitled: dict[str, Amps3], disturbed: set[str], t: float) -> None:
        over = {
            (node, phase)
            for node, sums in entitled.items()
            for phase in range(3)
            if sums[phase] > self._limits[node][phase] + _EPS_A
        }
        moved = disturbed | (self.plant.stations.keys() - self._known)
        moved |= {station.config.station_id for station, outlet in self.plant.connectors() if outlet in self._added}
        excused = {node for name in moved for node in self.plant.above[self.plant.stations[name].config.node]}
        for node, phase in sorted(over - self._over):
            if node not in excused:
                what = f"sum at {node} {SITE_PHASES[phase]}"
                self._found(t, "I1", what, entitled[node][phase], self._limits[node][phase])
        self._over = over

    def _blind_a(self, t: float) -> Amps3:
        """What charging may take whatever the building does: nothing while the meter is believed, or is so again.

        What it shows anew reaches a controller as late as anything that it shows.
        """
        if not self.terms.dynamic or t - self._unseen_at > self._usual_s:
            return NO_AMPS
        return self.terms.fallback_a or NO_AMPS

    def _blind_raise(self, raised: list[tuple[Station, Connector]], entitled: Amps3, t: float) -> None:
        if not self.terms.dynamic or not self._is_blind:
            return
        fallback = self.terms.fallback_a or NO_AMPS
        for phase in sorted({phase for _, outlet in raised for phase in outlet.phases}):
            if entitled[phase] > fallback[phase] + _EPS_A:
                self._found(t, "I5", f"raise without a meter, {SITE_PHASES[phase]}", entitled[phase], fallback[phase])

    def _wire_form(self, t: float) -> None:
        """I3, for profiles that have come since the last look."""
        for name, station in self.plant.stations.items():
            seen, now = self._profiles.get(name, []), station.profiles.installed
            if now is seen:
                continue
            self._profiles[name] = now
            new = [profile for profile in now if not any(profile is old for old in seen)]
            for unit, period in ((profile.unit, period) for profile in new for period in profile.periods):
                tenths = period.limit * 10
                coarse = abs(tenths - round(tenths)) < 1e-6
                if not coarse or (unit == "W" and period.number_phases is None):
                    self._found(t, "I3", f"{name} got {period}", period.limit, math.floor(tenths) / 10)

    def _minimums(self, t: float) -> None:
        for station, connector in self.plant.connectors():
            limit = connector.told_a
            if 0 < limit < self.terms.min_a - _EPS_A and station.config.station_id in self._known:
                self._found(t, "I4", f"{station.config.station_id}/{connector.number}", limit, self.terms.min_a)

    def _hypothetical_loss(self, t: float) -> None:
        if t < self._settled_at or self._deaf or not self._known:
            return
        sums = self.plant.by_node(self._left_alone)
        stranded = set()
        for node, amps in sums.items():
            at_root = self.terms.dynamic and node == self._root
            limit = (self.terms.fallback_a or NO_AMPS) if at_root else self._limits[node]
            stranded |= {(node, phase) for phase in range(3) if amps[phase] > limit[phase] + _EPS_A}
            for phase in range(3):
                if (node, phase) in stranded - self._stranded:
                    what = f"left alone at {node} {SITE_PHASES[phase]}"
                    self._found(t, "I6", what, amps[phase], limit[phase])
        self._stranded = stranded

    def _left_alone(self, station: Station, connector: Connector) -> Amps3:
        """What a connector settles at when nobody speaks to it any more; worked out when its profiles were."""
        if station.config.station_id not in self._known:
            return NO_AMPS
        known = self._alone.get(connector)
        if known is None or known[0] != station.evaluations:
            known = self._alone[connector] = (station.evaluations, _alone(station, connector))
        return known[1]

    def _found(self, t: float, invariant: str, text: str, amount: float, limit: float) -> None:
        self.violations[invariant] += 1
        if len(self.findings) < _KEPT:
            self.findings.append(Finding(t, invariant, f"{text}: {amount:.2f} against {limit:.2f}"))

    # -- the verdict ---------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Violations of each invariant and the figures of the run, ready for JSON."""
        return {"violations": dict(self.violations), **self.books.report()}


def _alone(station: Station, connector: Connector) -> Amps3:
    """The larger of what its transaction and a new one would get an hour from now, phase by phase."""
    later, phases = station.utc + _HOUR_S, len(connector.rotation)
    floor_a = min(station.profiles.limit_a(connector.number, later, None, phases), connector.max_a)
    held = connector.on_wired_phases(floor_a)
    if connector.session is None:
        return held
    running = connector.session.seen_by_profiles()
    last_a = min(station.profiles.limit_a(connector.number, later, running, phases), connector.max_a)
    last = connector.on_site_phases(last_a)
    return (max(held[0], last[0]), max(held[1], last[1]), max(held[2], last[2]))


def _amps(limit: dict[str, float]) -> Amps3:
    """A node's limit; a phase that is not named is not limited."""
    a, b, c = (float(limit.get(name, math.inf)) for name in SITE_PHASES)
    return (a, b, c)
