"""A day and more of virtual time between a station and a CPO whose links fail in every way that a seed can think of.

The station is a script that behaves as stations do: what is not answered is sent again, with its first stamp. The CPO
is a script that keeps what it hears. Between them the real controller, database, station server and uplinks, which
are killed and started again whenever the seed says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from memory_inbox import EPOCH, LoopClock
from uplink_bench import ANN, House, running, site_with
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.uplink.dialing import Door, NoLink
from llm_adapters.virtual import clockwork
from llm_adapters.virtual.links import End, Weather, pair
from llm_app import controller
from llm_core import OfflinePolicy

HOUR = 3_600.0
SEEDS = range(int(os.environ.get("UPLINK_SEEDS", "3")))


def stamp() -> str:
    moment = EPOCH + timedelta(seconds=int(asyncio.get_running_loop().time()))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Network:
    """Opens links to the CPO, or does not, and spoils them until `calm`."""

    def __init__(self, cpo: Cpo, seed: int) -> None:
        self.cpo = cpo
        self.dice = random.Random(f"network {seed}")
        self.calm = False
        self.outage = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.opened = 0

    async def dial(self, _door: Door) -> Any:
        await asyncio.sleep(self.dice.uniform(0, 0.2))
        if self.outage or (not self.calm and self.dice.random() < 0.3):
            raise NoLink("cannot be reached: Connection refused")
        self.opened += 1
        slow = Weather((0.0, 0.02)) if self.calm else Weather((0.0, self.dice.choice((0.02, 3.0, 20.0))))
        near, far = pair(slow, slow, seed=f"{self.dice.random()}")
        self._start(self.cpo.serve(far))
        if self.calm:
            return near
        if self.dice.random() < 0.8:
            self._start(self._spoil(near, far))
        return Garbling(near, self.dice) if self.dice.random() < 0.3 else near

    async def _spoil(self, near: End, far: End) -> None:
        """After a while the link is cut, or becomes a hole in one direction or both."""
        await asyncio.sleep(self.dice.expovariate(1 / 60))
        how = self.dice.randrange(4)
        if how == 0:
            near.abort()
        if how in (1, 3):
            near.black_hole()
        if how in (2, 3):
            far.black_hole()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Garbling:
    """A link on which some frames arrive as something else."""

    def __init__(self, link: End, dice: random.Random) -> None:
        self._link = link
        self._dice = dice

    async def recv(self) -> str | bytes:
        frame = await self._link.recv()
        if self._dice.random() > 0.1:
            return frame
        text = frame if isinstance(frame, str) else frame.decode()
        unique_id = json.loads(text)[1]
        return self._dice.choice(
            (
                "",
                b"\xff\xfe",
                text[: self._dice.randrange(len(text))],
                json.dumps([3, unique_id, {}]),
                json.dumps([3, unique_id, {"transactionId": "x", "idTagInfo": 5}]),
                json.dumps([3, unique_id, []]),
                json.dumps([3, unique_id, "nonsense"]),
                json.dumps([4, unique_id, "InternalError", "", {}]),
                json.dumps([4, unique_id]),
                json.dumps([3, "somebody else's", {}]),
            )
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Cpo:
    """Keeps what it hears. `remembers`: it knows a start by its badge, time, connector and register."""

    def __init__(self, seed: int, *, remembers: bool) -> None:
        self.dice = random.Random(f"cpo {seed}")
        self.remembers = remembers
        self.starts: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.meters: list[dict[str, Any]] = []
        self.ids: dict[Any, int] = {}
        self.calm = False

    async def serve(self, link: End) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                _, unique_id, action, payload = json.loads(await link.recv())
                if not self.calm and self.dice.random() < 0.05:
                    await link.send(
                        json.dumps([4, unique_id, self.dice.choice(("InternalError", "GenericError")), "", {}])
                    )
                    continue
                await link.send(json.dumps([3, unique_id, self.answer(action, payload)]))

    def answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        match action:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": stamp(), "interval": 300}
            case "Heartbeat":
                return {"currentTime": stamp()}
            case "Authorize":
                return {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                return {"transactionId": self.started(payload), "idTagInfo": {"status": "Accepted"}}
            case "StopTransaction":
                if payload not in self.stops:  # the same transaction cannot be stopped twice
                    self.stops.append(payload)
                return {}
            case "MeterValues":
                self.meters.append(payload)
                return {}
            case _:
                return {}

    def started(self, payload: dict[str, Any]) -> int:
        key = (payload["idTag"], payload["timestamp"], payload["connectorId"], payload["meterStart"])
        if self.remembers and key in self.ids:
            return self.ids[key]
        self.starts.append(payload)
        self.ids[key] = -1_000 - 7 * len(self.starts)  # its own numbers, and odd ones
        return self.ids[key]


class Station:
    """A station that charges now and then, and tells of it until it is answered."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"station {seed}")
        self.house: House | None = None
        self.link: End | None = None
        self.answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.linked = asyncio.Event()
        self.calls = 0
        self.slowest_s = 0.0
        self.starts: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.lost_links = 0

    @asynccontextmanager
    async def at(self, house: House) -> AsyncIterator[None]:
        """Connected to this controller while the context lasts."""
        near, far = pair(seed=f"{self.dice.random()}")
        self.link = near
        attached = asyncio.create_task(house.server.attach(far, "ST1", "10.0.0.1", "/ST1"))
        reading = asyncio.create_task(self._read(near))
        self.linked.set()
        try:
            yield
        finally:
            self.lost_links += near.close_code is not None
            self.linked.clear()
            near.abort()
            for future in self.answers.values():
                if not future.done():
                    future.cancel()
            for task in (attached, reading):
                task.cancel()
            await asyncio.gather(attached, reading, return_exceptions=True)

    async def _read(self, link: End) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(await link.recv())
                if message[0] == 2:
                    await link.send(json.dumps([3, message[1], {"status": "Accepted"}]))
                elif message[1] in self.answers and not self.answers[message[1]].done():
                    self.answers[message[1]].set_result(message[2])

    async def tell(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Until it is answered, over as many links as it takes."""
        while True:
            await self.linked.wait()
            assert self.link is not None
            self.calls += 1
            unique_id, future = f"s{self.calls}", asyncio.get_running_loop().create_future()
            self.answers[unique_id] = future
            began = asyncio.get_running_loop().time()
            try:
                await self.link.send(json.dumps([2, unique_id, action, payload]))
                async with asyncio.timeout(60):
                    answer: dict[str, Any] = await future
                self.slowest_s = max(self.slowest_s, asyncio.get_running_loop().time() - began)
                return answer
            except (ConnectionClosed, TimeoutError):
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                await asyncio.sleep(1)  # the link went away under it
            finally:
                del self.answers[unique_id]

    async def live(self, until_s: float) -> None:
        wh = 1_000
        await self.tell("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        while asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(self.dice.uniform(10, 1_800))
            await self.tell("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"})
            await self.tell("Authorize", {"idTag": ANN})
            start = {"connectorId": 1, "idTag": ANN, "meterStart": wh, "timestamp": stamp()}
            self.starts.append(start)
            begun = await self.tell("StartTransaction", start)
            assert begun["idTagInfo"]["status"] == "Accepted"
            for _ in range(self.dice.randrange(1, 20)):
                await asyncio.sleep(self.dice.uniform(30, 120))
                wh += 100
                values = [{"timestamp": stamp(), "sampledValue": [{"value": str(wh)}]}]
                told = {"connectorId": 1, "transactionId": begun["transactionId"], "meterValue": values}
                await self.tell("MeterValues", told)
            stop = {"transactionId": begun["transactionId"], "meterStop": wh, "timestamp": stamp(), "idTag": ANN}
            self.stops.append(stop)
            await self.tell("StopTransaction", stop)
            await self.tell("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})


async def lived(folder: Path, seed: int, *, remembers: bool) -> tuple[Station, Cpo, House]:
    """Some hours of weather, a day without a CPO, restarts in between; then calm until everything has arrived."""
    dice = random.Random(f"story {seed}")
    cpo, station = Cpo(seed, remembers=remembers), Station(seed)
    network = Network(cpo, seed)
    loop = asyncio.get_running_loop()
    outage_s = loop.time() + dice.uniform(0, 4) * HOUR
    end_s = outage_s + 26 * HOUR
    living = asyncio.create_task(station.live(end_s))

    async def weather() -> None:
        await asyncio.sleep(outage_s - loop.time())
        network.outage = True
        await asyncio.sleep(24 * HOUR)
        network.outage = False

    changing = asyncio.create_task(weather())
    clock, site = LoopClock(), site_with("ws://cpo", offline=OfflinePolicy.LOCAL)
    while not living.done():
        async with running(folder, site, clock, network.dial, listen=False) as house, station.at(house):
            await asyncio.wait((living,), timeout=dice.expovariate(1 / (5 * HOUR)))
        await asyncio.sleep(dice.uniform(0, 30))
    await living
    changing.cancel()
    network.calm = cpo.calm = True
    async with running(folder, site, clock, network.dial, listen=False) as house, station.at(house):
        await asyncio.sleep(2 * HOUR)
        return station, cpo, house


@pytest.fixture(autouse=True)
def _seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control, which is not what is tested here, computes limits once a minute: a day has 86 400 seconds."""
    monkeypatch.setattr(controller, "TICK_MS", 60_000)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("remembers", [True, False])
def test_after_any_schedule_of_faults_the_cpo_has_everything_once_in_order(seed: int, remembers: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        station, cpo, house = clockwork.run(lived(Path(folder), seed, remembers=remembers))
    assert len(station.starts) > 5
    assert house.state.uplink["ST1"].queued == house.state.uplink["ST1"].refused == 0
    doubtful = house.state.uplink["ST1"].doubtful
    once = list({json.dumps(start): start for start in cpo.starts}.values())
    assert once == station.starts
    if remembers:
        assert len(cpo.starts) == len(once)
    times = Counter(json.dumps(start) for start in cpo.starts)
    assert sum(count > 1 for count in times.values()) <= doubtful
    numbers = {start["timestamp"]: number for (_, at, _, _), number in cpo.ids.items() for start in [{"timestamp": at}]}
    expected = [
        {**stop, "transactionId": numbers[start["timestamp"]]}
        for start, stop in zip(station.starts, station.stops, strict=True)
    ]
    assert cpo.stops == expected
    assert {meter["transactionId"] for meter in cpo.meters} <= set(cpo.ids.values())
    assert station.slowest_s < 6
    assert station.lost_links == 0
