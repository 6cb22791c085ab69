"""The whole `step`, driven through weather, restarts and habits of the field, judged by the plant (see plant_referee).

What the stations are entitled to by their own profile stores, what the cars draw and what the building takes decide;
the ledger is never asked. A run also counts how often it met the situations that break controllers, and fails when
it has not met one of them: a search that never loses an acknowledgement proves nothing about lost acknowledgements.
"""

from __future__ import annotations

import os
from collections import Counter

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from plant_harness import Bench, Link
from plant_referee import Referee

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.meter import MeterConfig
from llm_adapters.virtual.profiles import StoreRules
from llm_adapters.virtual.station import Station as PlantStation
from llm_core import (
    SITE,
    AccessRule,
    AppliesTo,
    Capabilities,
    ClockStepped,
    Cluster,
    ExternalLimit,
    LimitPut,
    LimitWithdrawn,
    MeterSetup,
    Mode,
    PerPhase,
    Phase,
    PutClusters,
    PutStation,
    PutSupply,
    Saved,
    Site,
    SiteEdited,
    SiteError,
    Station,
    Supply,
    check,
)

MET: Counter[str] = Counter()
MUST_MEET = (
    "raise in flight at a link loss",
    "rejected decrease",
    "lost acknowledgement",
    "late message of an old session",
    "overload during a pending raise",
)
L1, L2, L3 = Phase.L1, Phase.L2, Phase.L3
ROTATIONS = ((L1, L2, L3), (L2, L3, L1), (L3, L2, L1), (L1,), (L2,), (L3,))
AMPS = st.sampled_from((0, 3, 6, 7, 10, 13, 16, 20, 25, 32, 40, 50))

# The site


@attrs.frozen
class World:
    site: Site
    plant: tuple[StationConfig, ...]
    capabilities: dict[str, Capabilities]
    meter: MeterConfig


@st.composite
def stations(draw: st.DrawFn, index: int) -> tuple[Station, StationConfig, Capabilities]:
    """One station as configured, as built, and as found out."""
    name = "ABCDE"[index]
    rotation = draw(st.sampled_from(ROTATIONS))
    max_ma = draw(st.sampled_from((16_000, 16_000, 32_000)))
    double = draw(st.booleans()) if index == 0 else False
    configured = Station(
        name,
        cluster=draw(st.sampled_from(("default", "side"))),
        phase_rotation=rotation,
        max_ma=max_ma,
        min_ma=draw(st.sampled_from((6_000, 6_000, 8_000))),
        fallback_ma=draw(st.sampled_from((None, None, 0, 8_000))),
        start_alone_ma=draw(st.sampled_from((0, 0, 0, 8_000))),
        feed_ma=draw(st.sampled_from((16_000, 20_000, 32_000))) if double else None,
        connectors=2 if double else 1,
    )
    capabilities = Capabilities(
        step_ma=draw(st.sampled_from((100, 1_000))),
        in_watts=draw(st.sampled_from((False, False, False, True))),
        decays=draw(st.sampled_from((True, True, True, False))),
    )
    quirks = Quirks(
        syncs_clock=draw(st.booleans()),
        keeps_tx_profiles=draw(st.booleans()),
        boot_s=draw(st.sampled_from((2.0, 8.0))),
        resumes_transaction=draw(st.booleans()),
        boots_on_reconnect=draw(st.sampled_from((False, False, True))),
        offline_start=draw(st.booleans()),
        watts_follow_car=capabilities.in_watts,
        store=StoreRules(),
    )
    built = StationConfig(
        name,
        rotations=(tuple(phase.value for phase in rotation),) * configured.connectors,
        max_a=max_ma / 1000,
        step_a=capabilities.step_ma / 1000,
        node=configured.node,
        clock_offset_s=draw(st.sampled_from((0.0, 0.0, 4.0, -8.0, -25.0, 60.0))),
        quirks=quirks,
    )
    return configured, built, capabilities


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(2, 5))
    drawn = [draw(stations(index)) for index in range(count)]
    limit = PerPhase(*(draw(st.sampled_from((10_000, 16_000, 20_000, 25_000, 40_000))) for _ in range(3)))
    dynamic = draw(st.booleans())
    supply = Supply(
        mode=Mode.DYNAMIC if dynamic else Mode.STATIC,
        fuse_ma=PerPhase.same(63_000),
        derated_ma=limit,
        static_max_ma=limit,
        fallback_ma=PerPhase.same(draw(st.sampled_from((0, 6_000, 8_000, 10_000)))),
        lease_s=draw(st.sampled_from((None, 30, 60))),
    )
    side_ma = draw(st.sampled_from((None, 10_000, 16_000, 20_000)))
    site = Site(
        supply=supply,
        clusters=(Cluster("default", "1"), Cluster("side", "2", limit_ma=side_ma and PerPhase.same(side_ma))),
        stations=tuple(configured for configured, _, _ in drawn),
        meters=(MeterSetup(SITE, "any", "meter"),) if dynamic else (),
        access=AccessRule.FREE,
    )
    meter = MeterConfig(period_s=draw(st.sampled_from((1.0, 1.0, 2.0))), lag_s=draw(st.sampled_from((0.3, 1.3))))
    built = tuple(built for _, built, _ in drawn)
    return World(_sound(site), built, {b.station_id: c for _, b, c in drawn}, meter)


def _sound(site: Site) -> Site:
    """The site, without what its stations would give by themselves where that does not fit."""
    try:
        check(site)
    except SiteError:
        modest = tuple(attrs.evolve(s, fallback_ma=None, start_alone_ma=0) for s in site.stations)
        return attrs.evolve(site, stations=modest)
    return site


CARS = st.builds(
    CarModel,
    phases=st.sampled_from((1, 2, 3, 3)),
    max_a=st.sampled_from((10.0, 16.0, 32.0)),
    reaction_s=st.sampled_from((1.0, 3.0, 5.0)),
    wobble_a=st.sampled_from((0.0, 0.0, 1.0)),
    start_a=st.sampled_from((6.0, 8.0)),
)

# What happens

OUTLETS = st.integers(0, 5)


class StepAgainstPlant(RuleBasedStateMachine):
    """A site in the field. Rules are what the world does; the core gets nothing but frames, samples and ticks."""

    @initialize(world=worlds(), present=st.integers(0, 6), model=CARS)
    def open_site(self, world: World, present: int, model: CarModel) -> None:
        self.bench = Bench(world.site, world.plant, world.capabilities, world.meter)
        self.referee = Referee(self.bench)
        self.outlets = list(self.bench.plant.connectors())
        self.badges = 0
        self.operator_ids: dict[str, str] = {}
        self.bench.run(10)
        for pick in range(min(present, len(self.outlets))):
            self._plug(pick, attrs.evolve(model, phases=3 if pick % 2 else model.phases))
        self.bench.run(5)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            MET.update(self.bench.counts)

    @invariant()
    def nothing_was_broken(self) -> None:
        if hasattr(self, "referee"):
            assert not self.referee.faults, self.referee.faults[0]

    def _outlet(self, pick: int) -> tuple[PlantStation, Connector]:
        return self.outlets[pick % len(self.outlets)]

    def _link(self, pick: int) -> Link:
        return self.bench.links[self._outlet(pick)[0].config.station_id]

    # time

    @rule(seconds=st.integers(1, 8))
    def a_moment_passes(self, seconds: int) -> None:
        self.bench.run(seconds)

    @rule(seconds=st.sampled_from((10, 15, 25, 40, 70, 150)))
    def time_passes(self, seconds: int) -> None:
        self.bench.run(seconds)

    # cars and drivers

    @rule(pick=OUTLETS, model=CARS, seconds=st.integers(0, 12))
    def somebody_comes(self, pick: int, model: CarModel, seconds: int) -> None:
        self._plug(pick, model)
        self.bench.run(seconds)

    def _plug(self, pick: int, model: CarModel) -> None:
        """Into the first free outlet from there on; the driver has a badge."""
        free = (self._outlet(pick + n) for n in range(len(self.outlets)))
        for station, outlet in free:
            if outlet.car is None and not station.booting:
                station.plug(outlet.number, Car(model))
                self._badge(station, outlet)
                break
        self.bench.settle()

    @rule(pick=OUTLETS)
    def somebody_goes(self, pick: int) -> None:
        station, outlet = self._outlet(pick)
        station.unplug(outlet.number)
        self.referee.disobedient.discard(outlet)
        self.bench.settle()

    @rule(pick=OUTLETS)
    def somebody_shows_a_badge(self, pick: int) -> None:
        self._badge(*self._outlet(pick))
        self.bench.settle()

    def _badge(self, station: PlantStation, outlet: Connector) -> None:
        self.badges += 1
        station.present(outlet.number, outlet.session.id_tag if outlet.session is not None else f"tag{self.badges}")

    @rule(
        pick=OUTLETS, max_a=st.sampled_from((0.0, 7.0, 10.0, 16.0, 32.0)), phases=st.integers(1, 3), heeds=st.booleans()
    )
    def a_car_changes(self, pick: int, max_a: float, phases: int, heeds: bool) -> None:
        """It takes less or more, on other phases, or ignores what it is told."""
        station, outlet = self._outlet(pick)
        if outlet.car is None:
            return
        model = attrs.evolve(outlet.car.model, max_a=max_a, phases=phases, ignores_limit=not heeds and max_a > 7)
        if model.ignores_limit:
            self.referee.disobedient.add(outlet)
        if model.ignores_limit or phases > outlet.car.phases:
            self.referee.outside(station)
        outlet.car.model = model
        outlet.advance(station.t)

    # building and meter

    @rule(phase=st.integers(0, 2), amps=AMPS, seconds=st.integers(0, 5))
    def building_switches(self, phase: int, amps: int, seconds: int) -> None:
        self.bench.plant.building.set_step(self.bench.t, phase, float(amps))
        self.bench.run(seconds)

    @rule(trouble=st.sampled_from(("silent", "frozen", "nan", "none", "none")), seconds=st.sampled_from((2, 8, 20, 90)))
    def meter_is(self, trouble: str, seconds: int) -> None:
        meter = self.bench.plant.meter
        meter.silent, meter.frozen, meter.nan = trouble == "silent", trouble == "frozen", trouble == "nan"
        self.bench.run(seconds)

    # links and stations

    @rule(
        pick=OUTLETS, trouble=st.sampled_from(("cut", "hold down", "hold up", "slow", "slower", "lose", "deaf", "swap"))
    )
    def a_link_fails(self, pick: int, trouble: str) -> None:
        self._trouble(trouble, self._link(pick))
        self.bench.settle()

    @rule(seconds=st.sampled_from((0, 2, 30, 200)))
    def links_mend(self, seconds: int) -> None:
        self.bench.run(seconds)
        for link in self.bench.links.values():
            link.cut = link.holds_down = link.holds_up = False
            link.delay_s = 0.0
            self.bench.plant.stations[link.station_id].behave(rejects_profiles=False)
        self.bench.settle()

    @rule(
        trouble=st.sampled_from(("cut", "overload", "limit", "lose", "deaf", "reject", "restart", "slower")),
        phase=st.integers(0, 2),
        after_s=st.integers(0, 4),
        pick=OUTLETS,
        model=CARS,
    )
    def trouble_while_a_limit_is_out(self, trouble: str, phase: int, after_s: int, pick: int, model: CarModel) -> None:
        """Somebody comes; once a raise is on its way the world takes against it, and somebody else comes."""
        in_sight = trouble in ("overload", "limit")  # is to be seen before the raise is answered
        for link in self.bench.links.values():
            link.delay_s = 2.0 if in_sight else 1.0
        self._plug(pick, model)
        for _ in range(20):
            out = [link for link in self.bench.links.values() if link.out is not None and link.out[1].raises]
            if out:
                self.bench.run(0 if in_sight else after_s)
                self._trouble(trouble, out[0], phase)
                self._plug(pick, model)
                break
            self.bench.run(1)
        self.bench.run(12)

    def _trouble(self, trouble: str, link: Link, phase: int = 0) -> None:
        match trouble:
            case "cut":
                link.cut = True
            case "hold down":
                link.holds_down = True
            case "hold up":
                link.holds_up = True
            case "slow" | "slower":
                link.delay_s = 2.0 if trouble == "slow" else 12.0
            case "lose":
                link.lose_acks += 1
            case "deaf":
                link.lose_down += 2
            case "swap":
                link.above.rotate(1)
            case "overload":
                self.bench.plant.building.set_step(self.bench.t, phase, 50.0)
            case "limit":
                self._limit_supply(10)
            case "reject":
                self.bench.plant.stations[link.station_id].behave(rejects_profiles=True)
            case _:
                self.bench.plant.stations[link.station_id].restart()

    @rule(pick=OUTLETS, which=st.integers(0, 9))
    def an_old_message_comes_again(self, pick: int, which: int) -> None:
        station_id = self._outlet(pick)[0].config.station_id
        old = [
            t for a, t in self.bench.heard[station_id] if a in ("StartTransaction", "StopTransaction", "MeterValues")
        ]
        if old and self.bench.links[station_id].up:
            self.bench.repeat(station_id, old[which % len(old)])
            self.bench.settle()

    @rule(pick=OUTLETS, keeps=st.booleans(), rejects=st.booleans())
    def a_station_restarts_or_rejects(self, pick: int, keeps: bool, rejects: bool) -> None:
        station = self._outlet(pick)[0]
        station.behave(keeps_profiles=keeps, rejects_profiles=rejects)
        if not rejects:
            station.restart()
        self.bench.settle()

    # the controller and its configuration

    @rule(what=st.sampled_from(("restarts", "disk fails", "disk heals", "clock back", "clock ahead")))
    def the_controller(self, what: str) -> None:
        match what:
            case "restarts":
                self.bench.restart()
            case "disk fails":
                self.bench.disk.failing = True
            case "disk heals":
                self.bench.heal_disk()
            case _:
                by_s = -86_400 if what == "clock back" else 20
                self.bench.utc_shift_s += by_s
                self.bench.post(ClockStepped(by_s * 1000))
        self.bench.settle()

    @rule(amps=st.sampled_from((10, 13, 20, 32)), side=st.sampled_from((None, 8, 16)), floor=st.sampled_from((0, 8)))
    def somebody_edits(self, amps: int, side: int | None, floor: int) -> None:
        self._limit_supply(amps)
        default, cluster = self.bench.state.site.clusters
        cluster = attrs.evolve(cluster, limit_ma=PerPhase.same(side * 1000) if side is not None else None)
        self.bench.post(SiteEdited("admin", PutClusters((default, cluster))))
        station = attrs.evolve(self.bench.state.site.stations[-1], start_alone_ma=floor * 1000)
        self.bench.post(SiteEdited("admin", PutStation(station)))
        self.referee.limits_changed()
        self.bench.settle()

    @rule(
        node=st.sampled_from((SITE, "side")),
        amps=st.sampled_from((0, 6, 8, 13, 20)),
        seconds=st.sampled_from((1, 5, 30)),
    )
    def the_operator_limits(self, node: str, amps: int, seconds: int) -> None:
        """Or takes back what it said of this node before."""
        before = self.operator_ids.get(node)
        total = node == SITE and self.referee.dynamic
        limit = ExternalLimit(
            node=node,
            limit_ma=PerPhase.same(amps * 1000),
            applies_to=AppliesTo.TOTAL if total else AppliesTo.STATIONS,
        )
        asked = LimitWithdrawn("operator", before) if before is not None else LimitPut("operator", limit)
        answer = self.bench.post(asked)
        if isinstance(answer, Saved):  # else the disk fails, and nothing was promised
            self.operator_ids.pop(node, None)
            self.referee.operator_a.pop(node, None)
            if before is None:
                self.operator_ids[node], self.referee.operator_a[node] = answer.id, amps
        self.referee.limits_changed()
        self.bench.run(seconds)

    def _limit_supply(self, amps: int) -> None:
        limit = PerPhase.same(amps * 1000)
        supply = attrs.evolve(self.bench.state.site.supply, derated_ma=limit, static_max_ma=limit)
        self.bench.post(SiteEdited("admin", PutSupply(supply)))
        self.referee.limits_changed()
        self.bench.settle()


EXAMPLES = int(os.environ.get("PLANT_EXAMPLES", "180"))


def test_nothing_breaks_whatever_the_field_does() -> None:
    run_state_machine_as_test(
        StepAgainstPlant,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("situation", MUST_MEET)
def test_the_run_met(situation: str) -> None:
    assert MET[situation] > 0
