"""The central system against virtual stations, which keep profiles as stations do: what counts is what they then allow.

The plant evaluates raw profiles by itself; nothing here reads what we believe we sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from memory_inbox import MemoryInbox

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.clockwork import run
from llm_adapters.virtual.config import Quirks, StationConfig
from llm_adapters.virtual.links import End, pair
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.profiles import StoreRules
from llm_adapters.virtual.shell import Shell
from llm_core import (
    CapabilitiesFound,
    ClearLimit,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterValuesReceived,
    Purpose,
    SetLimit,
    StartRequested,
    StationClockRead,
    Status,
    StatusChanged,
)

FLOOR = SetLimit(1, "CP", 1, Purpose.FLOOR, 0, 0, None, None, 3, lowers=True)
CLEAR = ClearLimit(2, "CP", 1)
LIMIT = SetLimit(3, "CP", 1, Purpose.TRANSACTION, 10_000, 6_000, 120_000, 17, 3, lowers=False)


class PlantClock:
    """True time of the plant."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def utc(self) -> datetime:
        epoch = datetime.fromtimestamp(self._plant.config.epoch, UTC)
        return epoch + timedelta(seconds=asyncio.get_running_loop().time())


class Yard:
    """One virtual station, linked to a central system in virtual time."""

    def __init__(self, config: StationConfig) -> None:
        self.plant = Plant(PlantConfig(stations=(config,)))
        self.station = self.plant.stations["CP"]
        self.outlet = self.station.connectors[0]
        self.inbox = MemoryInbox("CP")
        self.server = StationServer(self.inbox, PlantClock(self.plant))
        self._ends: list[End] = []
        self._serving: list[asyncio.Task[str]] = []

    async def _connect(self, station_id: str) -> End:
        theirs, ours = pair(seed=len(self._ends))
        self._ends.append(ours)
        self._serving.append(asyncio.create_task(self.server.attach(ours, station_id, "10.0.0.1", "/CP")))
        return theirs

    async def live(self, story: Coroutine[Any, Any, None]) -> None:
        shell = asyncio.create_task(Shell(self.plant, self._connect, tick_s=0.5).run())
        try:
            await story
        finally:
            shell.cancel()
            with suppress(asyncio.CancelledError):
                await shell
            for end in self._ends:
                end.abort()
            await asyncio.gather(*self._serving)

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        self._ends[-1].black_hole()

    async def write(self, command: SetLimit | ClearLimit) -> LimitConfirmed | LimitRefused | LimitUnanswered:
        kinds = (LimitConfirmed, LimitRefused, LimitUnanswered)
        self.server.perform(command)
        return await self.inbox.until(kinds, lambda event: event.seq == command.seq)  # type: ignore[arg-type]

    async def charging(self) -> None:
        """A car charges under `FLOOR`, with nothing else in the station."""
        await self.inbox.until(CapabilitiesFound)
        assert isinstance(await self.write(FLOOR), LimitConfirmed)
        assert isinstance(await self.write(CLEAR), LimitConfirmed)
        self.station.plug(1, Car(CarModel()))
        self.station.present(1, "A1")
        await self.inbox.until(StartRequested)
        await asyncio.sleep(2)


def config(**quirks: Any) -> StationConfig:
    return StationConfig("CP", quirks=Quirks(**quirks))


STATIONS = {
    "ideal": config(),
    "watts only": config(store=StoreRules(units=("W",))),
    "no Relative": config(store=StoreRules(rejects_relative=True)),
    "level 0 only": config(store=StoreRules(max_stack_level=0)),
    "room for 3": config(store=StoreRules(max_installed=3, full_refuses_replacement=True)),
    "room for 2": config(store=StoreRules(max_installed=2, full_refuses_replacement=True)),
    "hides the floor": config(store=StoreRules(exhausted_hides_lower=True)),
    "slow answers": config(answer_delay_s=0.4),
    "clock 25 s slow": attrs.evolve(config(syncs_clock=False), clock_offset_s=-25.0),
    "clock 60 s fast": attrs.evolve(config(syncs_clock=False), clock_offset_s=60.0),
    "clock an hour slow": attrs.evolve(config(syncs_clock=False), clock_offset_s=-3_600.0),
    "one current": config(one_current=True),
}


@pytest.mark.parametrize("station", STATIONS.values(), ids=STATIONS)
def test_a_limit_is_what_the_station_allows_until_we_are_gone_and_then_its_last_period(station: StationConfig) -> None:
    yard = Yard(station)

    async def story() -> None:
        await yard.charging()
        assert yard.outlet.limit_a == 0
        await asyncio.sleep(25)  # readings come in, and tell its clock
        assert isinstance(await yard.write(LIMIT), LimitConfirmed)
        await asyncio.sleep(1)
        assert yard.outlet.limit_a == pytest.approx(10, abs=0.01)
        yard.cut()
        await asyncio.sleep(100)
        assert yard.outlet.limit_a == pytest.approx(10, abs=0.01)
        await asyncio.sleep(30)
        assert yard.outlet.limit_a == pytest.approx(6, abs=0.01)
        await asyncio.sleep(1_000)
        assert yard.outlet.limit_a == pytest.approx(6, abs=0.01)

    run(yard.live(story()))


@pytest.mark.parametrize("station", STATIONS.values(), ids=STATIONS)
def test_clearing_brings_the_station_back_to_its_floor(station: StationConfig) -> None:
    yard = Yard(station)

    async def story() -> None:
        await yard.charging()
        await asyncio.sleep(25)
        await yard.write(LIMIT)
        assert isinstance(await yard.write(attrs.evolve(CLEAR, seq=9)), LimitConfirmed)
        await asyncio.sleep(1)
        assert yard.outlet.limit_a == 0

    run(yard.live(story()))


def test_profiles_of_others_do_not_survive_the_first_floor() -> None:
    yard = Yard(config())
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}]}
    for level in range(9):
        foreign = {
            "chargingProfileId": 100 + level,
            "stackLevel": level,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": schedule,
        }
        assert yard.station.profiles.install(1, foreign, None)

    async def story() -> None:
        await yard.charging()
        assert yard.outlet.limit_a == 0

    run(yard.live(story()))


def test_a_station_that_takes_no_profile_says_so() -> None:
    yard = Yard(config(rejects_profiles=True))

    async def story() -> None:
        await yard.inbox.until(CapabilitiesFound)
        assert isinstance(await yard.write(FLOOR), LimitRefused)

    run(yard.live(story()))


def test_readings_statuses_and_the_clock_arrive_without_being_asked_for_twice() -> None:
    yard = Yard(attrs.evolve(config(syncs_clock=False), clock_offset_s=7.0))

    async def story() -> None:
        await yard.charging()
        await yard.write(LIMIT)
        await asyncio.sleep(60)
        readings = [event.current_ma for event in yard.inbox.all(MeterValuesReceived)]
        assert len(readings) >= 5
        assert readings[-1] == (10_000, 10_000, 10_000)
        assert Status.CHARGING in [event.status for event in yard.inbox.all(StatusChanged)]
        assert [event.ahead_ms for event in yard.inbox.all(StationClockRead)] == [pytest.approx(7_000, abs=300)]

    run(yard.live(story()))
