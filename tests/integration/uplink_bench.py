"""The controller with its stations below and a CPO above, in one process: for tests of the way up.

The controller, the store, the station server and the uplinks are the real ones. Whoever stands above and below is not
ours: the `ocpp` package's central system and charge point over real sockets, or scripts over links in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import attrs
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from patience import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.ocpp16.uplink.dialing import Dial, dial
from llm_adapters.ocpp16.uplink.uplinks import CpoUplinks
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.sqlite.uplink import SqliteUplink
from llm_app.controller import Controller
from llm_core import (
    AccessRule,
    Badge,
    BadgeRecord,
    Now,
    OfflinePolicy,
    PerPhase,
    Save,
    Site,
    State,
    Station,
    Supply,
    Uplink,
    UplinkStation,
    normalise,
    recover,
)

ANN = "04A1B2C3"
STAMP = "2026-03-01T12:00:00Z"


class RealClock:
    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def utc(self) -> datetime:
        return datetime.now(UTC)


def site_with(url: str, stations: int = 1, offline: OfflinePolicy = OfflinePolicy.CACHED, connectors: int = 1) -> Site:
    names = [f"ST{n + 1}" for n in range(stations)]
    return Site(
        supply=Supply(static_max_ma=PerPhase.same(63_000)),
        stations=tuple(Station(name, connectors=connectors) for name in names),
        access=AccessRule.CPO,
        uplink=Uplink(
            enabled=True,
            url=url,
            offline=offline,
            stations=tuple(UplinkStation(name, f"NL-{name}") for name in names),
        ),
    )


@attrs.define(eq=False)
class House:
    """A controller that runs."""

    controller: Controller
    server: StationServer
    uplinks: CpoUplinks
    book: SqliteUplink
    port: int = 0

    @property
    def state(self) -> State:
        return self.controller.state

    async def until(self, holds: Callable[[State], bool], within_s: float = PATIENCE_S) -> None:
        """Waits until `holds` of what is known."""
        changed = asyncio.Event()
        self.controller.watch(lambda _before, _after: changed.set())
        async with asyncio.timeout(within_s):
            while not holds(self.state):
                changed.clear()
                await changed.wait()


@asynccontextmanager
async def running(
    folder: Path, site: Site, clock: Any = None, dialled: Dial = dial, *, listen: bool = True, passwords: Any = None
) -> AsyncIterator[House]:
    """A controller on the data in `folder`, which is given `site` where it has none."""
    clock = clock or RealClock()
    database = await Database.open(folder, clock)
    store, book = SqliteStore(database), SqliteUplink(database)
    stored = await store.load()
    if stored.site is None:
        await store.commit([site, BadgeRecord(normalise(ANN), Badge(ANN))])
        stored = await store.load()
    if passwords:
        await book.keep({(name, "password"): value for name, value in passwords.items()}, "test")
    state, effects = recover(stored, Now(clock.monotonic_ms(), clock.utc()), factory=False)
    await store.commit([effect.record for effect in effects if isinstance(effect, Save)])
    controller = Controller(state, clock, store)
    server = StationServer(controller, clock)
    controller.command_with(server.perform)
    uplinks = CpoUplinks(book, controller, clock, server, dialled)
    controller.tell_cpo_with(uplinks.perform)
    controller.watch(uplinks.look)
    server.upstream = uplinks
    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(uplinks.run())]
    house = House(controller, server, uplinks, book)
    try:
        if listen:
            async with server.listen("127.0.0.1", 0) as house.port:
                yield house
        else:
            yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


# A station that is not ours


class RealStation(ChargePoint):
    """The `ocpp` package's charge point; keeps what it is asked."""

    def __init__(self, station_id: str, connection: ClientConnection) -> None:
        super().__init__(station_id, connection)
        self.connection = connection
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.came = asyncio.Event()
        self.silent: set[str] = set()  # what it never answers
        self.statuses = {
            "ReserveNow": "Occupied",
            "ChangeAvailability": "Scheduled",
        }  # what it answers, if not Accepted
        self.refused_keys: set[str] = set()
        self.keys = {"ChargingScheduleAllowedChargingRateUnit": "Current,Power", "LocalPreAuthorize": "false"}

    async def send(self, message: str) -> None:
        await self._connection.send(message)

    def note(self, action: str, payload: dict[str, Any]) -> None:
        self.asked.append((action, payload))
        self.came.set()

    def limits(self) -> list[float]:
        """Every limit that it was told, in amps."""
        return [
            payload["cs_charging_profiles"]["charging_schedule"]["charging_schedule_period"][0]["limit"]
            for action, payload in self.asked
            if action == "SetChargingProfile"
        ]

    async def was_asked(self, action: str, within_s: float = PATIENCE_S, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            while True:
                for asked, payload in self.asked:
                    if asked == action and wanted.items() <= payload.items():
                        return payload
                self.came.clear()
                await self.came.wait()

    @on("SetChargingProfile")
    async def on_set(self, **payload: Any) -> call_result.SetChargingProfile:
        self.note("SetChargingProfile", payload)
        return call_result.SetChargingProfile("Accepted")

    @on("ClearChargingProfile")
    async def on_clear(self, **_payload: Any) -> call_result.ClearChargingProfile:
        return call_result.ClearChargingProfile("Unknown")

    @on("TriggerMessage")
    async def on_trigger(self, **payload: Any) -> call_result.TriggerMessage:
        self.note("TriggerMessage", payload)
        return call_result.TriggerMessage("Accepted")

    @on("GetConfiguration")
    async def on_get(self, **payload: Any) -> call_result.GetConfiguration:
        self.note("GetConfiguration", payload)
        asked = payload.get("key") or list(self.keys)
        known = [{"key": key, "readonly": False, "value": self.keys[key]} for key in asked if key in self.keys]
        return call_result.GetConfiguration(known, [key for key in asked if key not in self.keys])

    @on("ChangeConfiguration")
    async def on_change(self, key: str, value: str) -> call_result.ChangeConfiguration:
        self.note("ChangeConfiguration", {"key": key, "value": value})
        if key in self.refused_keys:
            return call_result.ChangeConfiguration("Rejected")
        self.keys[key] = value
        return call_result.ChangeConfiguration("Accepted")

    @on("RemoteStartTransaction")
    async def on_start(self, **payload: Any) -> call_result.RemoteStartTransaction:
        self.note("RemoteStartTransaction", payload)
        return call_result.RemoteStartTransaction(self.statuses.get("RemoteStartTransaction", "Accepted"))

    @on("RemoteStopTransaction")
    async def on_stop(self, **payload: Any) -> call_result.RemoteStopTransaction:
        self.note("RemoteStopTransaction", payload)
        return call_result.RemoteStopTransaction(self.statuses.get("RemoteStopTransaction", "Accepted"))

    @on("Reset")
    async def on_reset(self, **payload: Any) -> call_result.Reset:
        self.note("Reset", payload)
        return call_result.Reset(self.statuses.get("Reset", "Accepted"))

    @on("ReserveNow")
    async def on_reserve(self, **payload: Any) -> call_result.ReserveNow:
        self.note("ReserveNow", payload)
        return call_result.ReserveNow(self.statuses["ReserveNow"])

    @on("CancelReservation")
    async def on_cancel(self, **payload: Any) -> call_result.CancelReservation:
        self.note("CancelReservation", payload)
        return call_result.CancelReservation("Accepted")

    @on("UpdateFirmware")
    async def on_firmware(self, **payload: Any) -> call_result.UpdateFirmware:
        self.note("UpdateFirmware", payload)
        return call_result.UpdateFirmware()

    @on("GetDiagnostics")
    async def on_diagnostics(self, **payload: Any) -> call_result.GetDiagnostics:
        self.note("GetDiagnostics", payload)
        if "GetDiagnostics" in self.silent:
            await asyncio.sleep(60)
        return call_result.GetDiagnostics("diag.zip")

    @on("ChangeAvailability")
    async def on_availability(self, **payload: Any) -> call_result.ChangeAvailability:
        self.note("ChangeAvailability", payload)
        return call_result.ChangeAvailability(self.statuses["ChangeAvailability"])

    @on("UnlockConnector")
    async def on_unlock(self, **payload: Any) -> call_result.UnlockConnector:
        self.note("UnlockConnector", payload)
        return call_result.UnlockConnector("Unlocked")

    @on("ClearCache")
    async def on_clear_cache(self, **payload: Any) -> call_result.ClearCache:
        self.note("ClearCache", payload)
        return call_result.ClearCache("Accepted")

    @on("DataTransfer")
    async def on_data(self, **payload: Any) -> call_result.DataTransfer:
        self.note("DataTransfer", payload)
        return call_result.DataTransfer("Accepted", data="pong")


@asynccontextmanager
async def station(house: House, station_id: str = "ST1") -> AsyncIterator[RealStation]:
    """A station that is connected and has booted."""
    url = f"ws://127.0.0.1:{house.port}/ocpp/{station_id}"
    async with connect(url, subprotocols=["ocpp1.6"], proxy=None) as connection:  # type: ignore[list-item]
        point = RealStation(station_id, connection)
        listening = asyncio.create_task(_listen(point))
        try:
            await point.call(call.BootNotification("Model", "Vendor", firmware_version="1.2"))
            await point.call(call.StatusNotification(1, "NoError", "Available"))
            yield point
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _listen(point: RealStation) -> None:
    """Messages side by side: a call that takes long holds up no other."""
    tasks: set[asyncio.Task[None]] = set()
    with contextlib.suppress(ConnectionClosed):
        while True:
            task = asyncio.create_task(point.route_message(await point.connection.recv()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


# A CPO that is not ours


class RealCpo:
    """A central system on the `ocpp` package: keeps what it hears, and gives transaction ids of its own."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []
        self.points: dict[str, CpoPoint] = {}
        self.came = asyncio.Event()
        self.verdicts: dict[str, str] = {}
        self.boot = "Accepted"
        self.slow_s = 0.0
        self.headers: list[str | None] = []
        self.next_transaction = 900_001
        self.url, self.port = "", 0

    def note(self, station_id: str, action: str, payload: dict[str, Any]) -> None:
        self.heard.append((station_id, action, payload))
        self.came.set()

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for _, heard, payload in self.heard if heard == action]

    async def hears(self, action: str, count: int = 1, within_s: float = PATIENCE_S, **wanted: Any) -> dict[str, Any]:
        """The `count`th message of this kind with these fields, now or later."""
        async with asyncio.timeout(within_s):
            while True:
                found = [payload for payload in self.all(action) if wanted.items() <= payload.items()]
                if len(found) >= count:
                    return found[count - 1]
                self.came.clear()
                await self.came.wait()

    async def welcome(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        self.headers.append(request.headers.get("Authorization"))
        ocpp_id = request.path.rsplit("/", 1)[-1]
        point = self.points[ocpp_id] = self._new_point(ocpp_id, connection)
        with contextlib.suppress(ConnectionClosed):
            await point.start()

    def _new_point(self, ocpp_id: str, connection: ServerConnection) -> CpoPoint:
        return CpoPoint(ocpp_id, connection, self)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Self]:
        async with serve(self.welcome, "127.0.0.1", port, subprotocols=["ocpp1.6"]) as server:  # type: ignore[list-item]
            self.port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{self.port}/cpo"
            yield self

    @property
    def point(self) -> CpoPoint:
        return self.points["NL-ST1"]


class CpoPoint(ChargePoint):
    """One station as the CPO sees it."""

    def __init__(self, ocpp_id: str, connection: ServerConnection, cpo: RealCpo) -> None:
        super().__init__(ocpp_id, connection)
        self._cpo = cpo

    async def send(self, message: str) -> None:
        await self._connection.send(message)

    def _note(self, action: str, payload: dict[str, Any]) -> None:
        self._cpo.note(self.id, action, payload)

    def _info(self, id_tag: str) -> dict[str, Any]:
        return {"status": self._cpo.verdicts.get(id_tag, "Accepted")}

    @on("BootNotification")
    async def on_boot(self, **payload: Any) -> call_result.BootNotification:
        self._note("BootNotification", payload)
        return call_result.BootNotification(STAMP, 300, self._cpo.boot)

    @on("Heartbeat")
    async def on_heartbeat(self, **payload: Any) -> call_result.Heartbeat:
        self._note("Heartbeat", payload)
        return call_result.Heartbeat(STAMP)

    @on("StatusNotification")
    async def on_status(self, **payload: Any) -> call_result.StatusNotification:
        self._note("StatusNotification", payload)
        return call_result.StatusNotification()

    @on("MeterValues")
    async def on_meter(self, **payload: Any) -> call_result.MeterValues:
        self._note("MeterValues", payload)
        return call_result.MeterValues()

    @on("Authorize")
    async def on_authorize(self, id_tag: str) -> call_result.Authorize:
        self._note("Authorize", {"id_tag": id_tag})
        await asyncio.sleep(self._cpo.slow_s)
        return call_result.Authorize(self._info(id_tag) | {"parentIdTag": "FAMILY"})

    @on("StartTransaction")
    async def on_start(self, **payload: Any) -> call_result.StartTransaction:
        return self._start(payload)

    def _start(self, payload: dict[str, Any]) -> call_result.StartTransaction:
        self._note("StartTransaction", payload)
        number, self._cpo.next_transaction = self._cpo.next_transaction, self._cpo.next_transaction + 1
        return call_result.StartTransaction(number, self._info(payload["id_tag"]))

    @on("StopTransaction")
    async def on_stop(self, **payload: Any) -> call_result.StopTransaction:
        return self._stop(payload)

    def _stop(self, payload: dict[str, Any]) -> call_result.StopTransaction:
        self._note("StopTransaction", payload)
        return call_result.StopTransaction()

    @on("DataTransfer")
    async def on_data(self, **payload: Any) -> call_result.DataTransfer:
        self._note("DataTransfer", payload)
        return call_result.DataTransfer("Accepted", data="from the CPO")

    @on("FirmwareStatusNotification")
    async def on_firmware(self, **payload: Any) -> call_result.FirmwareStatusNotification:
        self._note("FirmwareStatusNotification", payload)
        return call_result.FirmwareStatusNotification()
