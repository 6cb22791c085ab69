"""Whatever profiles an operator or its remote starts bring, at whatever site: every station gives the smaller of its
limit and ours, and the plant sees no violation.

Sites, stations, cars and habits are those of `test_step_against_plant`, its referee watches over every fuse. What the
operator allows is read here from its raw JSON. It is held against what the stations offer by their own profile stores.
"""

from __future__ import annotations

import os
from datetime import datetime
from fractions import Fraction
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plant_harness import EPOCH, Bench
from plant_referee import Referee
from test_step_against_plant import CARS, World, worlds

from llm_adapters.ocpp16.uplink.schedules import Running
from llm_adapters.ocpp16.uplink.shadow import Shadow
from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.station import Station as PlantStation
from llm_core import CapSource, ConnectorCapped, PerPhase, Site
from unit.test_ocpp_cpo_profiles import any_profile, judged, profile

SETTLED_S = 4  # the tick that follows, the second that an answer may take, and two to spare
EPS_A = Fraction(11, 1_000)
EXAMPLES = 25 * int(os.environ.get("PLANT_TIMES", "1"))

Act = tuple[str, int, Any]
PURPOSES = ("TxDefaultProfile", "TxProfile", "ChargePointMaxProfile")
PLAIN = st.builds(
    lambda amps, purpose, level: profile([(0, amps)], purpose, level=level),
    st.sampled_from((8, 20, 5, 6, 12, 15, 26)),
    st.sampled_from(PURPOSES),
    st.sampled_from((0, 3, 8)),
)
SET = st.tuples(st.just("set"), st.integers(0, 9), st.tuples(st.one_of(PLAIN, any_profile(EPOCH)), st.booleans()))
ACTS = st.one_of(
    SET,
    SET,
    SET,
    st.tuples(st.just("remote start"), st.integers(0, 9), st.tuples(any_profile(EPOCH), CARS)),
    st.tuples(st.just("come"), st.integers(0, 9), CARS),
    st.tuples(st.just("go"), st.integers(0, 9), st.none()),
    st.tuples(st.just("clear"), st.integers(0, 9), st.none()),
    st.tuples(st.just("restart"), st.just(0), st.none()),
)
PASS = st.sampled_from((6, 0, 2, 6, 12, 40))


@attrs.define(eq=False)
class Operator:
    """One station's operator: its words as they are, and the store that is tested."""

    name: str
    phases: int
    connectors: int
    shadow: Shadow = attrs.field(factory=Shadow)
    words: dict[tuple[int, str, int], tuple[dict[str, Any], int | None]] = attrs.field(factory=dict)
    told: dict[int, int | None] = attrs.field(factory=dict)
    count: int = 0

    def says(self, connector: int, one: dict[str, Any], running: dict[int, Running]) -> None:
        self.count += 1
        said = {**one, "chargingProfileId": self.count}
        answer = self.shadow.put({"connectorId": connector, "csChargingProfiles": said}, running, self.connectors)
        own = one["chargingProfilePurpose"] == "TxProfile"
        assert answer == ("Rejected" if own and connector not in running else "Accepted")
        if answer == "Accepted":
            place = (connector, one["chargingProfilePurpose"], one["stackLevel"])
            self.words[place] = (one, running[connector].number if own else None)

    def starts(self, connector: int, one: dict[str, Any], running: dict[int, Running], at: datetime) -> None:
        """A remote start with this profile, which is one of the transaction that it begins."""
        self.count += 1
        said = {**one, "chargingProfileId": self.count, "chargingProfilePurpose": "TxProfile"}
        self.shadow.expect(said, connector, running, at)

    def follows(self, running: dict[int, Running], at: datetime, waits: dict[int, dict[str, Any]]) -> None:
        """Transactions have ended and begun; `waits` are the profiles of remote starts, by connector."""
        numbers = {present.number for present in running.values()}
        self.words = {key: said for key, said in self.words.items() if said[1] is None or said[1] in numbers}
        for connector in [n for n in waits if n in running]:
            one = waits.pop(connector)
            self.words[connector, "TxProfile", one["stackLevel"]] = (one, running[connector].number)
        self.shadow.follow(running, at)

    def allows(self, connector: int, at: datetime, since: datetime) -> Fraction | None:
        """What a transaction may have, by purpose and level, the connector's own before those for all."""
        for where, purpose in ((connector, "TxProfile"), (connector, "TxDefaultProfile"), (0, "TxDefaultProfile")):
            found = self._top(where, purpose, at, since)
            if found is not None:
                return found
        return None

    def allows_all(self, at: datetime) -> Fraction | None:
        return self._top(0, "ChargePointMaxProfile", at, at)

    def _top(self, where: int, purpose: str, at: datetime, since: datetime) -> Fraction | None:
        levels = sorted((key for key in self.words if key[:2] == (where, purpose)), key=lambda key: -key[2])
        found = (judged(self.words[key][0], at, since, self.phases) for key in levels)
        return next((limit for limit in found if limit is not None), None)


class Scene:
    """A bench with an operator above each station."""

    def __init__(self, world: World, *, roomy: bool) -> None:
        """`roomy`: where the site stops nobody, so that the operators do."""
        plain = {name: attrs.evolve(known, in_watts=False) for name, known in world.capabilities.items()}
        self.bench = Bench(_roomy(world.site) if roomy else world.site, world.plant, plain, world.meter)
        self.referee = Referee(self.bench)
        self.outlets = list(self.bench.plant.connectors())
        self.operators = {
            station.id: Operator(station.id, len(station.phase_rotation), station.connectors)
            for station in world.site.stations
        }
        self.waits: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in self.operators}
        self.allowed: dict[Connector, list[Fraction | None]] = {outlet: [] for _, outlet in self.outlets}
        self.allowed_all: dict[str, list[Fraction | None]] = {name: [] for name in self.operators}
        self.badges = 0
        self.checked = 0
        self.bench.run(10)

    def running(self, name: str) -> dict[int, Running]:
        return {
            key[1]: Running(known.session.transaction_id, known.session.transaction_id, known.session.started_at)
            for key, known in self.bench.state.connectors.items()
            if key[0] == name and known.session is not None
        }

    def plays(self, act: Act) -> None:
        kind, pick, more = act
        station, outlet = self.outlets[pick % len(self.outlets)]
        name = station.config.station_id
        operator, running = self.operators[name], self.running(name)
        match kind:
            case "set":
                one, for_all = more
                place = 0 if one["chargingProfilePurpose"] == "ChargePointMaxProfile" else outlet.number
                place = 0 if for_all and one["chargingProfilePurpose"] == "TxDefaultProfile" else place
                operator.says(place, one, running)
            case "clear":
                operator.shadow.clear({"connectorId": outlet.number})
                operator.words = {key: said for key, said in operator.words.items() if key[0] != outlet.number}
            case "remote start" if self._is_free(station, outlet) and outlet.number not in running:
                one, model = more
                operator.starts(outlet.number, one, running, self.bench.now().utc)
                self.waits[name][outlet.number] = one
                self._plug(station, outlet, model)
            case "come" if self._is_free(station, outlet):
                self._plug(station, outlet, more)
            case "go":
                station.unplug(outlet.number)
            case "restart":
                self.bench.restart()
                for known in self.operators.values():
                    known.shadow, known.told = Shadow(known.shadow.stored()), {}
        self.passes(1)

    def _is_free(self, station: PlantStation, outlet: Connector) -> bool:
        return outlet.car is None and outlet.session is None and not station.booting and station.accepted

    def _plug(self, station: PlantStation, outlet: Connector, model: CarModel) -> None:
        self.badges += 1
        station.plug(outlet.number, Car(model))
        station.present(outlet.number, f"tag{self.badges}")
        self.bench.settle()

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self._second()

    def _second(self) -> None:
        """The operators' limits are told to control as they stand, and what is offered is judged."""
        at = self.bench.now().utc
        for name, operator in self.operators.items():
            running = self.running(name)
            operator.follows(running, at, self.waits[name])
            for connector in range(1, operator.connectors + 1):
                cap_ma = operator.shadow.cap_ma(connector, running, at, operator.phases)
                if cap_ma != operator.told.get(connector):
                    operator.told[connector] = cap_ma
                    self.bench.post(ConnectorCapped(name, connector, CapSource.CPO, cap_ma))
            self.allowed_all[name].append(operator.allows_all(at))
        for station, outlet in self.outlets:
            present = self.running(station.config.station_id).get(outlet.number)
            if present is None or outlet.session is None:
                self.allowed[outlet].clear()
                continue
            operator = self.operators[station.config.station_id]
            self.allowed[outlet].append(operator.allows(outlet.number, at, present.since))
        self.bench.run(1)
        assert not self.referee.faults, self.referee.faults[0]
        self._judge()

    def _judge(self) -> None:
        for station, outlet in self.outlets:
            told = self.allowed[outlet][-SETTLED_S:]
            if len(told) == SETTLED_S and outlet.session is not None and None not in told and self._is_up(station):
                self.checked += 1
                assert outlet.entitled_a <= max(limit for limit in told if limit is not None) + EPS_A
        for name, told in self.allowed_all.items():
            told = told[-SETTLED_S:]
            there = [outlet for station, outlet in self.outlets if station.config.station_id == name]
            busy = [outlet for outlet in there if outlet.session is not None]
            settled = all(len(self.allowed[outlet]) >= SETTLED_S for outlet in busy)
            if busy and settled and None not in told and len(told) == SETTLED_S:
                limit = max(limit for limit in told if limit is not None)
                assert sum(outlet.entitled_a for outlet in busy) <= limit + EPS_A * len(busy)

    def _is_up(self, station: PlantStation) -> bool:
        return (
            self.bench.t - max(self.bench.restarted_at, self.bench.links[station.config.station_id].since) > SETTLED_S
        )


def _roomy(site: Site) -> Site:
    plenty = PerPhase.same(400_000)
    supply = attrs.evolve(
        site.supply, fuse_ma=plenty, derated_ma=plenty, static_max_ma=plenty, fallback_ma=PerPhase.same(100_000)
    )
    clusters = tuple(attrs.evolve(cluster, limit_ma=None) for cluster in site.clusters)
    stations = tuple(attrs.evolve(station, feed_ma=station.feed_ma and 64_000) for station in site.stations)
    return attrs.evolve(site, supply=supply, clusters=clusters, stations=stations)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.booleans(), st.lists(st.tuples(ACTS, PASS), min_size=10, max_size=20))
def test_every_station_gives_the_smaller_of_both_limits_and_the_plant_sees_no_violation(
    world: World, roomy: bool, acts: list[tuple[Act, int]]
) -> None:
    lived(world, acts, roomy=roomy)


def lived(world: World, acts: list[tuple[Act, int]], *, roomy: bool) -> None:
    """Cars everywhere, and then what happens."""
    scene = Scene(world, roomy=roomy)
    for pick in range(len(scene.outlets)):
        scene.plays(("come", pick, CarModel(phases=1 if pick % 2 else 3)))
    scene.passes(12)
    for act, seconds in acts:
        scene.plays(act)
        scene.passes(seconds)
    scene.passes(8)


DOUBLE = worlds().filter(lambda world: world.site.stations[0].connectors == 2)
ITS_SETS = st.tuples(st.just("set"), st.integers(0, 1), st.tuples(PLAIN, st.booleans()))


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(DOUBLE, st.lists(st.tuples(st.one_of(ITS_SETS, ITS_SETS, ACTS), PASS), min_size=10, max_size=16))
def test_two_cars_at_one_station_share_what_the_operator_allows_it(world: World, acts: list[tuple[Act, int]]) -> None:
    lived(world, acts, roomy=True)
