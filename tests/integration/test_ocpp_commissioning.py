"""The commissioning test against virtual stations in virtual time, with the real core behind it.

The plant keeps raw profiles and evaluates them by itself, so what a station can do is known apart from the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

import pytest
from test_ocpp_virtual import PlantClock, config

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.clockwork import run
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.links import End, pair
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.profiles import ProfileStore, StoreRules
from llm_adapters.virtual.shell import Shell
from llm_app.controller import Controller
from llm_core import (
    AccessRule,
    Commission,
    CommissionWish,
    Finding,
    PerPhase,
    Progress,
    Record,
    Site,
    State,
    Station,
    StationState,
    Stored,
    Supply,
    Trial,
)

LIMIT_A = 40


class NoDisk:
    """A store that takes everything."""

    async def load(self) -> Stored:
        return Stored()

    async def commit(self, records: Iterable[Record]) -> None:
        assert list(records)

    async def probe(self) -> None:
        return

    async def close(self) -> None:
        return


class House:
    """One virtual station under the whole controller, in virtual time."""

    def __init__(self, station: StationConfig) -> None:
        self.plant = Plant(PlantConfig(stations=(station,)))
        self.outlet = self.plant.stations["CP"].connectors[0]
        self._ends: list[End] = []
        self._serving: list[asyncio.Task[str]] = []

    def _begin(self) -> None:
        """Time is the loop's, so this belongs inside it."""
        clock = PlantClock(self.plant)
        site = Site(
            supply=Supply(static_max_ma=PerPhase.same(LIMIT_A * 1000), lease_s=60),
            stations=(Station("CP", max_ma=32_000),),
            access=AccessRule.FREE,
        )
        state = State(site=site, factory=False, stations={"CP": StationState()})
        self.controller = Controller(state, clock, NoDisk())
        self.server = StationServer(self.controller, clock)
        self.controller.command_with(self.server.perform)

    async def _connect(self, station_id: str) -> End:
        theirs, ours = pair(seed=len(self._ends))
        self._ends.append(ours)
        self._serving.append(asyncio.create_task(self.server.attach(ours, station_id, "10.0.0.1", "/CP")))
        return theirs

    async def live(self, story: Coroutine[Any, Any, None]) -> None:
        self._begin()
        tasks = [
            asyncio.create_task(self.controller.run()),
            asyncio.create_task(Shell(self.plant, self._connect, tick_s=0.5).run()),
        ]
        try:
            await story
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            for end in self._ends:
                end.abort()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def tested(self, wish: CommissionWish) -> Commission:
        """The result of a commissioning test, once it is over; how far it is can be seen all the time."""
        await self.until(lambda: bool(self.server.commission("CP", "ann", wish)))
        assert not self.server.commission("CP", "ben", wish), "one test at a time"
        await self.until(lambda: self.commission is not None)
        await self.until(lambda: self.commission is not None and self.commission.progress is not Progress.RUNNING)
        assert self.commission is not None
        return self.commission

    @property
    def commission(self) -> Commission | None:
        return self.controller.state.commissions.get("CP")

    async def until(self, holds: Any, within_s: float = 900) -> None:
        end = asyncio.get_running_loop().time() + within_s
        while not holds():
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.5)

    async def charging(self) -> None:
        """A large car charges."""
        self.plant.stations["CP"].plug(1, Car(CarModel()))
        self.plant.stations["CP"].present(1, "A1")
        await self.until(lambda: self.outlet.limit_a >= 16)
        await asyncio.sleep(60)


IDEAL = {
    Trial.CONFIGURATION: Finding.YES,
    Trial.AMPS: Finding.YES,
    Trial.WATTS: Finding.YES,
    Trial.ZERO: Finding.YES,
    Trial.DECIMALS: Finding.YES,
    Trial.SECOND_PERIOD: Finding.YES,
    Trial.STACKING: Finding.YES,
    Trial.COMPOSITE: Finding.YES,
    Trial.CLEARING: Finding.YES,
    Trial.OBEYS: Finding.SKIPPED,
    Trial.PHASES: Finding.SKIPPED,
    Trial.FALLS_BACK: Finding.SKIPPED,
    Trial.KEEPS_PROFILES: Finding.SKIPPED,
}
STATIONS: dict[str, tuple[StationConfig, dict[Trial, Finding]]] = {
    "ideal": (config(), {}),
    "watts only": (
        config(store=StoreRules(units=("W",))),
        {Trial.AMPS: Finding.NO, Trial.DECIMALS: Finding.SKIPPED},
    ),
    "level 0 only": (config(store=StoreRules(max_stack_level=0)), {Trial.STACKING: Finding.NO}),
    "nothing below 6 A": (
        config(store=StoreRules(least_a=6)),
        {Trial.ZERO: Finding.NO, Trial.DECIMALS: Finding.SKIPPED},
    ),
    "nothing below 6 A, in watts": (
        config(store=StoreRules(units=("W",), least_a=6)),
        {Trial.AMPS: Finding.NO, Trial.ZERO: Finding.NO, Trial.DECIMALS: Finding.SKIPPED},
    ),
    "takes nothing": (
        config(rejects_profiles=True),
        {
            Trial.AMPS: Finding.NO,
            Trial.WATTS: Finding.NO,
            Trial.ZERO: Finding.SKIPPED,
            Trial.DECIMALS: Finding.SKIPPED,
            Trial.SECOND_PERIOD: Finding.NO,
            Trial.COMPOSITE: Finding.SKIPPED,
            Trial.CLEARING: Finding.NO,
        },
    ),
}


def findings(commission: Commission) -> dict[Trial, Finding]:
    return {tried.trial: tried.finding for tried in commission.tried}


@pytest.mark.parametrize(("station", "otherwise"), STATIONS.values(), ids=STATIONS)
def test_an_idle_station_shows_what_it_can_and_is_left_as_it_was(
    station: StationConfig, otherwise: dict[Trial, Finding]
) -> None:
    house = House(station)

    async def story() -> None:
        await asyncio.sleep(60)
        commission = await house.tested(CommissionWish())
        assert (commission.progress, commission.by) == (Progress.DONE, "ann")
        assert findings(commission) == IDEAL | otherwise, commission
        await asyncio.sleep(5)
        if Trial.AMPS not in otherwise or otherwise.get(Trial.WATTS) is not Finding.NO:
            await house.charging()
            assert house.outlet.limit_a >= 16, "and a car charges there as before"

    run(house.live(story()))


def test_a_station_that_only_refuses_0_a_is_not_taken_for_one_that_takes_no_limit() -> None:
    house = House(config(store=StoreRules(least_a=6)))

    async def story() -> None:
        await asyncio.sleep(60)
        assert house.controller.state.connectors["CP", 1].ledger.held_ma(10_000_000, True) == 32_000
        await house.tested(CommissionWish())
        assert house.plant.stations["CP"].profiles.installed == [], "what was tried is gone again"
        can = house.controller.state.stations["CP"].capabilities
        assert can.takes_limits
        assert can.decays
        assert can.step_ma == 100

    run(house.live(story()))


def test_a_station_that_takes_nothing_counts_with_its_maximum_and_says_so() -> None:
    house = House(config(rejects_profiles=True))

    async def story() -> None:
        await asyncio.sleep(60)
        await house.tested(CommissionWish())
        assert not house.controller.state.stations["CP"].capabilities.takes_limits
        held = house.controller.state.connectors["CP", 1].ledger.held_ma(10_000_000, True)
        assert held == 32_000

    run(house.live(story()))


@pytest.mark.parametrize("obeys", [True, False], ids=["obeys", "ignores"])
def test_a_car_shows_whether_the_station_obeys_and_on_which_phases(obeys: bool) -> None:
    house = House(config(ignores_profiles=not obeys))

    async def story() -> None:
        await asyncio.sleep(30)
        if obeys:
            await house.charging()
        else:
            house.plant.stations["CP"].plug(1, Car(CarModel()))
            house.plant.stations["CP"].present(1, "A1")
            await asyncio.sleep(60)
        commission = await house.tested(CommissionWish())
        found = findings(commission)
        assert found[Trial.AMPS] is Finding.SKIPPED
        assert found[Trial.OBEYS] is (Finding.YES if obeys else Finding.NO), commission
        assert found[Trial.PHASES] is Finding.YES
        assert house.controller.state.connectors["CP", 1].caps_ma == {}

    run(house.live(story()))


def only_first_period(store: ProfileStore) -> None:
    """From now on it takes a schedule of two periods, and keeps the first."""
    install = store.install

    def forgetful(connector: int, raw: Any, transaction: Any) -> bool:
        schedule = raw["chargingSchedule"]
        first = {**schedule, "chargingSchedulePeriod": schedule["chargingSchedulePeriod"][:1]}
        return install(connector, {**raw, "chargingSchedule": first}, transaction)

    setattr(store, "install", forgetful)  # noqa: B010


@pytest.mark.parametrize("falls_back", [True, False], ids=["falls back", "does not"])
def test_a_cut_link_shows_whether_the_station_falls_back(falls_back: bool) -> None:
    house = House(config())
    if not falls_back:
        only_first_period(house.plant.stations["CP"].profiles)

    async def story() -> None:
        await asyncio.sleep(30)
        await house.charging()
        commission = await house.tested(CommissionWish(link_cut=True))
        found = findings(commission)
        assert found[Trial.FALLS_BACK] is (Finding.YES if falls_back else Finding.NO), commission
        assert house.controller.state.stations["CP"].capabilities.decays is falls_back
        await asyncio.sleep(5)
        assert house.controller.state.stations["CP"].online

    run(house.live(story()))


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "forgets"])
def test_a_restart_shows_whether_limits_outlive_it(keeps: bool) -> None:
    house = House(config(keeps_profiles=keeps))

    async def story() -> None:
        await asyncio.sleep(60)
        commission = await house.tested(CommissionWish(reboot=True))
        assert findings(commission)[Trial.KEEPS_PROFILES] is (Finding.YES if keeps else Finding.NO), commission
        assert house.controller.state.stations["CP"].capabilities.keeps_profiles is keeps

    run(house.live(story()))


def test_a_driver_who_comes_during_the_test_ends_it_and_gets_the_full_share() -> None:
    house = House(config(answer_delay_s=0.4))

    async def story() -> None:
        await asyncio.sleep(60)
        assert house.server.commission("CP", "ann", CommissionWish())
        await house.until(lambda: house.commission is not None and len(house.commission.tried) >= 2)
        await house.charging()
        assert house.commission is not None
        assert (house.commission.progress, house.commission.why) == (Progress.BROKEN_OFF, "somebody came to charge")
        assert house.outlet.limit_a >= 16

    run(house.live(story()))


def test_a_station_that_leaves_during_its_test_ends_it() -> None:
    house = House(config(answer_delay_s=0.4))

    async def story() -> None:
        await asyncio.sleep(60)
        assert house.server.commission("CP", "ann", CommissionWish())
        await house.until(lambda: house.commission is not None and len(house.commission.tried) >= 2)
        house.server._cut("CP", 30)
        await house.until(lambda: house.commission is not None and house.commission.progress is not Progress.RUNNING)
        assert house.commission is not None
        assert (house.commission.progress, house.commission.why) == (Progress.BROKEN_OFF, "the station is gone")

    run(house.live(story()))


def test_nobody_is_tested_who_is_not_there() -> None:
    house = House(config())

    async def story() -> None:
        assert not house.server.commission("NOBODY", "ann", CommissionWish())

    run(house.live(story()))
