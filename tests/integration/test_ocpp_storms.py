"""Many at once, and links that die without a word: a real server in its own process, and real sockets."""

from __future__ import annotations

import asyncio
import re
import resource
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from core_inbox import CoreInbox
from patience import PATIENCE_S, fair_s
from scripted_station import ScriptedStation
from server_process import Server, running, until

from llm_adapters.ocpp16.rpc import Bounds
from llm_adapters.ocpp16.stations import StationServer
from llm_app.clock import SystemClock
from llm_app.doors import allow_many_files
from llm_core import AccessRule, PerPhase, Site, State, Station, Supply

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "Post"}
CHARGING = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}


@asynccontextmanager
async def controller(data: Path, stations: int, static_max_a: int, max_a: int = 16) -> AsyncIterator[Server]:
    async with running(data) as server, server.client() as client:
        supply = {"mode": "static", "phases": 3, "fuse_a": 800, "static_max_a": static_max_a}
        assert (await client.put("/supply", json=supply)).is_success
        assert (await client.put("/access", json={"rule": "free"})).is_success
        for number in range(stations):
            known = {"id": f"S{number:03}", "name": f"Bay {number}", "max_a": max_a}
            assert (await client.post("/stations", json=known)).is_success
        yield server


async def seen(server: Server) -> dict[str, Any]:
    async with server.client() as client:
        overview: dict[str, Any] = (await client.get("/overview")).json()
        return overview


def rss_kb(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def test_a_hundred_stations_that_come_back_at_once_are_up_within_30_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with controller(tmp_path, 100, 800) as server, AsyncExitStack() as stack:
            stations = [ScriptedStation(f"{server.ocpp}/S{number:03}") for number in range(100)]
            for lap in range(2):
                began_s = fair_s(server.process.pid)
                await asyncio.gather(*(stack.enter_async_context(station) for station in stations))
                answers = await asyncio.gather(*(station.call("BootNotification", **BOOT) for station in stations))
                assert {answer[2]["status"] for answer in answers} == {"Accepted"}
                await asyncio.gather(*(station.call("StatusNotification", **CHARGING) for station in stations))
                floor = [station.was_asked("SetChargingProfile") for station in stations]
                await asyncio.gather(*floor)
                assert fair_s(server.process.pid) - began_s < 30
                overview = await seen(server)
                assert {station["state"] for station in overview["stations"]} == {"online"}
                if lap == 0:
                    for station in stations:
                        station.power_off()
                        station.asked.clear()
            async with server.client() as client:
                metrics = (await client.get(f"{server.http}/metrics")).text
            p99 = float(re.findall(r'llm_tick_seconds\{quantile="0.99"\} ([\d.]+)', metrics)[0])
            assert p99 < 0.2

    asyncio.run(scenario())


class Judge:
    """What every station may give, from the station's side alone: all it can until it has taken a floor since its boot,
    then the most that it has taken. `most_a` is the largest sum at which anybody was told a limit. After each boot the
    first floor of the `deaf` is lost on the way."""

    def __init__(self, max_a: float, deaf: frozenset[str]) -> None:
        self._max_a = max_a
        self._deaf = deaf
        self._lost: set[str] = set()
        self.most_a = 0.0
        self._floors: dict[str, float | None] = {}
        self._limits: dict[str, float] = {}
        self.charging = asyncio.Event()

    def booted(self, station: str) -> None:
        self._floors[station] = None
        self._limits[station] = 0
        self._lost |= self._deaf & {station}

    def told(self, station: str, payload: dict[str, Any]) -> dict[str, str] | None:
        profile = payload["csChargingProfiles"]
        if station in self._lost:
            self._lost.discard(station)
            return None
        limit_a = profile["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]
        if profile["stackLevel"] == 0:
            self._floors[station] = limit_a
        else:
            self._limits[station] = limit_a
            if limit_a > 0:
                self.most_a = max(self.most_a, self.worst_a())
        if sum(limit_a > 0 for limit_a in self._limits.values()) >= 10:
            self.charging.set()
        return {"status": "Accepted"}

    def worst_a(self) -> float:
        return sum(
            self._max_a if floor_a is None else max(floor_a, self._limits[station])
            for station, floor_a in self._floors.items()
        )


def test_all_that_come_back_at_once_start_at_what_is_reserved_for_them(tmp_path: Path) -> None:
    """60 A for forty stations of 16 A, so ten charge: before anybody is raised, nearly all have taken their floor."""

    async def scenario() -> None:
        judge = Judge(16, frozenset(f"S{n:03}" for n in range(30, 36)))
        async with controller(tmp_path, 40, 60) as server, AsyncExitStack() as stack:
            stations = {f"S{n:03}": ScriptedStation(f"{server.ocpp}/S{n:03}") for n in range(40)}
            for name, station in stations.items():
                station.answers["SetChargingProfile"] = partial(judge.told, name)
                station.answers["GetConfiguration"] = {
                    "configurationKey": [{"key": "ChargeProfileMaxStackLevel", "value": "1"}]
                }
            for lap in range(2):
                for name in stations:
                    judge.booted(name)
                judge.charging.clear()
                await asyncio.gather(*(stack.enter_async_context(station) for station in stations.values()))
                await asyncio.gather(*(station.call("BootNotification", **BOOT) for station in stations.values()))
                await asyncio.gather(*(station.call("StatusNotification", **CHARGING) for station in stations.values()))
                if lap == 0:
                    starts = (
                        station.call("StartTransaction", connectorId=1, idTag="A", meterStart=0)
                        for station in stations.values()
                    )
                    await asyncio.gather(*starts)
                floors = (station.was_asked("SetChargingProfile", seconds=60) for station in stations.values())
                async with asyncio.timeout(60):
                    await asyncio.gather(*floors, judge.charging.wait())
                assert judge.most_a <= 60
                assert {station["state"] for station in (await seen(server))["stations"]} == {"online"}
                if lap == 0:
                    for station in stations.values():
                        station.power_off()
                        station.asked.clear()
            assert judge.most_a == 60, "and all of it is shared"

    asyncio.run(scenario())


def test_2_000_silent_sockets_keep_nobody_out_and_are_gone_after_ten_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        allow_many_files()
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3_000:
            pytest.skip("this system lets nobody open so many sockets")
        async with controller(tmp_path, 1, 40) as server:
            before_kb = rss_kb(server)
            for url in (server.ocpp.removeprefix("ws://"), server.http.removeprefix("http://")):
                host, _, port = url.partition("/")[0].rpartition(":")
                began_s = fair_s(server.process.pid)
                # From an address of their own: so they take no port that a server of another test comes back to.
                silent = [
                    await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0)) for _ in range(2_000)
                ]
                async with ScriptedStation(f"{server.ocpp}/S000") as station:
                    assert (await station.call("BootNotification", **BOOT))[2]["status"] == "Accepted"
                assert (await seen(server))["status"] in ("running", "attention")
                assert fair_s(server.process.pid) - began_s < 12
                assert rss_kb(server) - before_kb < 50 * 1024
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.gather(*(_closed(reader) for reader, _ in silent))
                assert fair_s(server.process.pid) - began_s < 27
                for _, writer in silent:
                    writer.close()

    asyncio.run(scenario())


async def _closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        await reader.read()


class BlackHole:
    """A proxy that forwards both ways until it is told to swallow everything; nobody's link is closed by it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> BlackHole:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        ends = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._tasks, *ends, return_exceptions=True)

    def swallow(self) -> None:
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._open.wait()
                sink.write(data)


@pytest.mark.parametrize("before_a_profile", [True, False])
def test_a_link_that_is_swallowed_leaves_the_worst_case_in_the_books(before_a_profile: bool) -> None:
    async def scenario() -> None:
        clock = SystemClock()
        site = Site(
            supply=Supply(static_max_ma=PerPhase.same(40_000)),
            stations=(Station("CP", max_ma=16_000),),
            access=AccessRule.FREE,
        )
        inbox = CoreInbox(State(site=site, factory=False), clock)
        server = StationServer(inbox, clock, bounds=Bounds(ping_after_s=0.5, pong_within_s=2.0))
        inbox.perform = server.perform
        async with server.listen("127.0.0.1", 0) as port, BlackHole(port) as proxy:
            hole = ScriptedStation(
                f"{proxy.url}/CP", SetChargingProfile=None if before_a_profile else {"status": "Accepted"}
            )
            await hole.__aenter__()
            await hole.call("BootNotification", **BOOT)
            await hole.call("StatusNotification", **CHARGING)
            if not before_a_profile:
                ticking = asyncio.create_task(_tick(inbox))
                await hole.call("StartTransaction", connectorId=1, idTag="A", meterStart=0)
                await inbox.until(lambda state: state.connectors["CP", 1].offered_ma == 16_000)
                ticking.cancel()
            inbox.tick()
            proxy.swallow()
            await inbox.until(lambda state: not state.stations["CP"].online)
            ledger = inbox.state.connectors["CP", 1].ledger
            assert ledger.held_ma(clock.monotonic_ms(), decays=True) == 16_000
            async with ScriptedStation(f"ws://127.0.0.1:{port}/CP") as again:
                assert (await again.call("BootNotification", **BOOT))[2]["status"] == "Accepted"
            hole.power_off()
            await hole.__aexit__(None, None, None)

    asyncio.run(scenario())


async def _tick(inbox: CoreInbox) -> None:
    while True:
        inbox.tick()
        await asyncio.sleep(0.1)


def test_a_station_that_accepts_limits_and_ignores_them_is_found_counted_and_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            controller(tmp_path, 2, 40, 32) as server,
            ScriptedStation(f"{server.ocpp}/S000") as deaf,
            ScriptedStation(f"{server.ocpp}/S001") as other,
        ):
            for station in (deaf, other):
                await station.call("BootNotification", **BOOT)
                await station.call("StatusNotification", **CHARGING)
                await station.call("StartTransaction", connectorId=1, idTag="A", meterStart=0, timestamp=_now())
            await until(lambda: _limits(server, "S000", "S001", at_least=12), "both charge")
            told = [held for action, held in deaf.asked if action == "SetChargingProfile"]
            assert now_limit(told[-1]) <= 20, "it has accepted its share"
            reporting = [asyncio.create_task(_report(deaf, 32.0)), asyncio.create_task(_report(other, 12.0))]
            began_s = fair_s(server.process.pid)
            overview = await until(lambda: _disobeys(server), "it is found")
            assert fair_s(server.process.pid) - began_s < 15 + INTERVAL_S
            alarm = next(alarm for alarm in overview["alarms"] if alarm["code"] == "station_disobeys")
            assert "Bay 0" in alarm["text"]
            assert overview["status"] == "attention"
            await until(lambda: _limits(server, "S001", at_most=8), "the other one has what is left")
            for task in reporting:
                task.cancel()

    asyncio.run(scenario())


INTERVAL_S = 2.0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


async def _report(station: ScriptedStation, amps: float) -> None:
    while True:
        values = [{"value": f"{amps}", "measurand": "Current.Import", "phase": f"L{phase}"} for phase in (1, 2, 3)]
        await station.call("MeterValues", connectorId=1, meterValue=[{"timestamp": _now(), "sampledValue": values}])
        await asyncio.sleep(INTERVAL_S)


def now_limit(request: dict[str, Any]) -> float:
    limit: float = request["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]
    return limit


async def _limits(server: Server, *ids: str, at_least: float = 0, at_most: float = 100) -> bool:
    """Whether the limits of these stations lie there."""
    stations = (await seen(server))["stations"]
    limits_a = [station["connectors"][0]["limit_a"] for station in stations if station["id"] in ids]
    return all(at_least <= limit_a <= at_most for limit_a in limits_a)


async def _disobeys(server: Server) -> dict[str, Any] | None:
    overview = await seen(server)
    return overview if any(alarm["code"] == "station_disobeys" for alarm in overview["alarms"]) else None
