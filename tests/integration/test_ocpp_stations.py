"""The central system on real sockets; the charge point of the `ocpp` package talks to it and checks every schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock

import attrs
import pytest
from memory_inbox import LoopClock, MemoryInbox, usual_answer
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.datatypes import MeterValue, SampledValue
from patience import PATIENCE_S
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from llm_adapters.ocpp16.stations import Caps, StationServer
from llm_core import (
    Answer,
    BadgePresented,
    BootAnswer,
    Capabilities,
    CapabilitiesFound,
    InviteBoot,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterValuesReceived,
    NotStored,
    Purpose,
    Request,
    SetLimit,
    StartRequested,
    StationBooted,
    StationConnected,
    StationDisconnected,
    StationTurnedAway,
    Status,
    StatusChanged,
    StopRemotely,
    StopRequested,
    TurnedAwayFor,
)

FLOOR = SetLimit(1, "CP_1", 1, Purpose.FLOOR, 0, 0, None, None, 3, lowers=True)
LIMIT = SetLimit(2, "CP_1", 1, Purpose.TRANSACTION, 13_870, 6_000, 120_000, 17, 3, lowers=False)
STAMP = "2026-03-01T12:00:00Z"


class RealStation(ChargePoint):
    """The `ocpp` package's charge point; it keeps what it is asked."""

    def __init__(self, station_id: str, connection: ClientConnection) -> None:
        super().__init__(station_id, connection)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._came = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()
        self.keys = {"ChargingScheduleAllowedChargingRateUnit": "Current,Power", "ChargeProfileMaxStackLevel": "2"}

    async def send(self, message: str) -> None:  # the package logs whole messages on the way; the wire is enough
        await self._connection.send(message)

    @on("SetChargingProfile")
    async def on_set(self, **payload: Any) -> call_result.SetChargingProfile:
        self._note("SetChargingProfile", payload)
        await self.answering.wait()
        return call_result.SetChargingProfile("Accepted")

    @on("ClearChargingProfile")
    async def on_clear(self, **payload: Any) -> call_result.ClearChargingProfile:
        self._note("ClearChargingProfile", payload)
        return call_result.ClearChargingProfile("Unknown")

    @on("TriggerMessage")
    async def on_trigger(self, **payload: Any) -> call_result.TriggerMessage:
        self._note("TriggerMessage", payload)
        return call_result.TriggerMessage("Accepted")

    @on("GetConfiguration")
    async def on_get(self, **payload: Any) -> call_result.GetConfiguration:
        self._note("GetConfiguration", payload)
        keys = [{"key": key, "readonly": False, "value": value} for key, value in self.keys.items()]
        return call_result.GetConfiguration(configuration_key=keys)

    @on("ChangeConfiguration")
    async def on_change(self, key: str, value: str) -> call_result.ChangeConfiguration:
        self._note(key, {"value": value})
        return call_result.ChangeConfiguration("Rejected" if "Voltage" in value else "Accepted")

    @on("RemoteStopTransaction")
    async def on_stop(self, **payload: Any) -> call_result.RemoteStopTransaction:
        self._note("RemoteStopTransaction", payload)
        return call_result.RemoteStopTransaction("Accepted")

    async def boot(self) -> Any:
        return await self.call(call.BootNotification("Model", "Vendor", firmware_version="1.2"))

    def _note(self, action: str, payload: dict[str, Any]) -> None:
        self.asked.append((action, payload))
        self._came.set()

    async def was_asked(self, action: str, **payload: Any) -> None:
        """Waits until it was asked so."""
        async with asyncio.timeout(PATIENCE_S):
            while not any(asked == action and payload.items() <= told.items() for asked, told in self.asked):
                self._came.clear()
                await self._came.wait()


class Bench:
    """A central system on loopback with the core behind it, and stations that come and go."""

    def __init__(self, inbox: MemoryInbox, server: StationServer, port: int) -> None:
        self.inbox = inbox
        self.server = server
        self.port = port
        self._stations: list[tuple[ClientConnection, asyncio.Task[None]]] = []

    async def open(self, path: str = "/CP_1", **options: Any) -> ClientConnection:
        options = {"subprotocols": ["ocpp1.6"], "ping_interval": None, "close_timeout": 1} | options
        return await connect(f"ws://127.0.0.1:{self.port}{path}", proxy=None, compression=None, **options)

    async def station(self, path: str = "/CP_1") -> RealStation:
        connection = await self.open(path)
        station = RealStation(path.rpartition("/")[2], connection)
        self._stations.append((connection, asyncio.create_task(_until_closed(station))))
        return station

    async def leave(self) -> None:
        for connection, serving in self._stations:
            connection.transport.abort()
            serving.cancel()
            await asyncio.wait((serving,))


async def _until_closed(station: RealStation) -> None:
    with suppress(ConnectionClosed):
        await station.start()


@asynccontextmanager
async def bench(*known: str, caps: Caps | None = None) -> AsyncIterator[Bench]:
    inbox = MemoryInbox(*known)
    server = StationServer(inbox, LoopClock(), caps)
    async with server.listen("127.0.0.1", 0) as port:
        running = Bench(inbox, server, port)
        try:
            yield running
        finally:
            await running.leave()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scenario()

    asyncio.run(bounded())


async def ends(connection: ClientConnection) -> int:
    """The code with which the connection was closed from the other side."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                await connection.recv()
    assert connection.close_code is not None
    return connection.close_code


def test_a_stranger_waits_until_it_is_adopted_and_then_boots_again() -> None:
    async def scenario() -> None:
        async with bench() as b:
            b.inbox.answer = lambda _: BootAnswer(accepted=False, interval_s=30)
            station = await b.station("/any/path/CP_1/")
            waiting = await station.boot()
            assert (waiting.status, waiting.interval) == ("Pending", 30)
            assert b.inbox.all(StationBooted) == [StationBooted("CP_1", "Vendor", "Model", "1.2", "")]
            b.inbox.answer = usual_answer
            b.server.perform(InviteBoot("CP_1"))
            await station.was_asked("TriggerMessage", requested_message="BootNotification")
            welcome = await station.boot()
            assert (welcome.status, welcome.interval) == ("Accepted", 300)
            assert datetime.fromisoformat(welcome.current_time).tzinfo is UTC

    run(scenario)


def test_an_accepted_station_is_asked_what_it_can_do_and_for_its_readings() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await station.boot()
            await station.was_asked("TriggerMessage", requested_message="MeterValues")
            assert b.inbox.all(CapabilitiesFound) == [CapabilitiesFound("CP_1", Capabilities(step_ma=100))]
            assert ("MeterValueSampleInterval", {"value": "10"}) in station.asked
            measurands = [payload["value"] for action, payload in station.asked if action == "MeterValuesSampledData"]
            assert ["Voltage" in tried for tried in measurands] == [True, False]  # refused, then without

    run(scenario)


def test_a_charging_session_reaches_the_core_and_its_answers_reach_the_station() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await station.boot()
            authorised = await station.call(call.Authorize("20:69:C0:21"))
            assert authorised.id_tag_info["status"] == "Accepted"
            started = await station.call(call.StartTransaction(1, "20:69:C0:21", 1_000, STAMP))
            assert started.transaction_id == 17
            await station.call(call.StatusNotification(1, "NoError", "Charging", STAMP))
            sampled = [
                SampledValue(f"{amps}", measurand="Current.Import", unit="A", phase=phase)
                for amps, phase in ((15.8, "L1"), (0.0, "L2"), (0.0, "L3"))
            ]
            await station.call(call.MeterValues(1, [MeterValue(STAMP, sampled)], 17))
            stopped = await station.call(call.StopTransaction(8_000, STAMP, 17, reason="EVDisconnected"))
            assert stopped.id_tag_info["status"] == "Accepted"
            at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
            believed = [e for e in b.inbox.events if isinstance(e, BadgePresented | StartRequested | StopRequested)]
            assert believed[0] == BadgePresented("CP_1", "20:69:C0:21")
            assert believed[1] == StartRequested("CP_1", 1, "20:69:C0:21", 1_000, at)
            assert believed[2] == StopRequested("CP_1", 17, 8_000, at, "EVDisconnected")
            assert StatusChanged("CP_1", 1, Status.CHARGING, "", at) in b.inbox.events
            assert MeterValuesReceived("CP_1", 1, 17, (15_800, 0, 0), None, at) in b.inbox.events

    run(scenario)


def test_no_badge_appears_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await station.boot()
            await station.call(call.Authorize("SECRETBADGE"))
            await station.call(call.StartTransaction(1, "SECRETBADGE", 1_000, STAMP))
            b.inbox.answer = lambda _: BootAnswer(accepted=True, interval_s=1)  # no answer to what is asked
            await station.call(call.Authorize("SECRETBADGE"), suppress=True)

    caplog.set_level("DEBUG")
    run(scenario)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("llm")]
    assert any("CP_1" in line for line in ours)
    assert not any("SECRETBADGE" in line for line in ours)


def test_a_promise_that_cannot_be_stored_is_not_made() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:

            def full_disk(event: Request) -> Answer:
                return NotStored("disk full") if isinstance(event, StartRequested) else usual_answer(event)

            b.inbox.answer = full_disk
            connection = await b.open()
            start = {"connectorId": 1, "idTag": "A1", "meterStart": 0, "timestamp": STAMP}
            for unique_id in ("a", "b"):
                await connection.send(json.dumps([2, unique_id, "StartTransaction", start]))
                answer = json.loads(await connection.recv())
                assert answer[:3] == [4, unique_id, "InternalError"]
            b.inbox.answer = usual_answer
            await connection.send(json.dumps([2, "c", "StartTransaction", start]))
            assert json.loads(await connection.recv())[:2] == [3, "c"]
            await connection.close()

    run(scenario)


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("Heartbeat", {}, 3),
        ("DataTransfer", {"vendorId": "x"}, {"status": "UnknownVendorId"}),
        ("FirmwareStatusNotification", {"status": "Idle"}, {}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}, {}),
        ("SecurityEventNotification", {"type": "SettingSystemTime", "timestamp": STAMP}, {}),
        ("StatusNotification", {"connectorId": 1, "status": "Occupied"}, {}),
        ("MeterValues", {"connectorId": 0, "meterValue": {}}, {}),
        ("VendorSpecial", {}, "NotImplemented"),
        ("StopTransaction", {}, "OccurenceConstraintViolation"),
    ],
)
def test_every_call_is_answered(action: str, payload: dict[str, Any], answer: object) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            connection = await b.open()
            await connection.send(json.dumps([2, "x", action, payload]))
            got = json.loads(await connection.recv())
            assert got[1] == "x"
            assert answer in (got[0], got[2])
            await connection.close()

    run(scenario)


def test_a_limit_arrives_as_a_valid_profile_and_is_confirmed() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await station.boot()
            await b.inbox.until(CapabilitiesFound)
            b.server.perform(FLOOR)
            await b.inbox.until(LimitConfirmed, lambda e: e.seq == 1)
            b.server.perform(LIMIT)
            assert await b.inbox.until(LimitConfirmed, lambda e: e.seq == 2) == LimitConfirmed("CP_1", 1, 2)
            profiles = [p["cs_charging_profiles"] for a, p in station.asked if a == "SetChargingProfile"]
            assert [p["charging_profile_purpose"] for p in profiles] == ["TxDefaultProfile", "TxProfile"]
            periods = profiles[1]["charging_schedule"]["charging_schedule_period"]
            assert [(p["start_period"], str(p["limit"]), p["number_phases"]) for p in periods] == [
                (0, "13.8", 3),
                (180, "6", 3),
            ]

    run(scenario)


def test_a_transaction_is_stopped_from_here() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await b.inbox.until(StationConnected)
            b.server.perform(StopRemotely("CP_1", 17))
            await station.was_asked("RemoteStopTransaction", transaction_id=17)

    run(scenario)


def test_a_lost_link_leaves_what_was_sent_unanswered_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await b.station()
            await b.inbox.until(StationConnected)
            station.answering.clear()
            b.server.perform(LIMIT)
            await station.was_asked("SetChargingProfile")
            waiting = attrs.evolve(LIMIT, seq=3, connector=2)
            b.server.perform(waiting)
            station._connection.transport.abort()
            await b.inbox.until(StationDisconnected)
            b.server.perform(attrs.evolve(LIMIT, seq=4))
            assert b.inbox.all(LimitUnanswered) == [LimitUnanswered("CP_1", 1, 2)]
            refused = {event.seq: event.reason for event in b.inbox.all(LimitRefused)}
            assert refused == {3: "not sent: link lost", 4: "not sent: offline"}
            station.answering.set()

    run(scenario)


def test_a_station_that_calls_again_replaces_its_old_link_whose_end_harms_nothing() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            first = await b.open()  # a socket that is open, and answers pings, with nobody behind it
            await b.inbox.until(StationConnected)
            began = asyncio.get_running_loop().time()
            second = await b.station()
            await b.inbox.until(StationConnected, count=2)
            assert 1.9 < asyncio.get_running_loop().time() - began < 4
            await ends(first)
            b.server.perform(LIMIT)
            await station_confirms(b)
            assert [type(e) for e in b.inbox.events if isinstance(e, StationConnected | StationDisconnected)] == [
                StationConnected,
                StationDisconnected,
                StationConnected,
            ]
            assert second.asked

    async def station_confirms(b: Bench) -> None:
        await b.inbox.until(LimitConfirmed)

    run(scenario)


def test_of_two_stations_with_one_id_behind_one_address_the_first_stays_as_long_as_it_answers() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            first = await b.station()
            await b.inbox.until(StationConnected)
            for _ in range(2):
                second = await b.open()
                async with asyncio.timeout(5):
                    await second.wait_closed()
                assert second.close_code == 1008
            assert b.inbox.all(StationTurnedAway) == [StationTurnedAway("CP_1", "127.0.0.1", TurnedAwayFor.ID_IN_USE)]
            assert (await first.boot()).status == "Accepted"
            assert len(b.inbox.all(StationConnected)) == 1
            assert b.inbox.all(StationDisconnected) == []
            first._connection.send = AsyncMock()  # without power, the link is dead and nobody is told
            first._connection.transport.pause_reading()
            third = await b.station()
            await b.inbox.until(StationConnected, count=2)
            assert (await third.boot()).status == "Accepted"

    run(scenario)


async def refusal(opening: Awaitable[ClientConnection]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await opening
    return refused.value.response.status_code


def test_what_need_not_be_upgraded_is_refused_before() -> None:
    async def scenario() -> None:
        async with bench(caps=Caps(pending=1)) as b:
            assert await refusal(b.open("/")) == 404
            assert await refusal(b.open("/CP_1", subprotocols=["ocpp2.0.1"])) == 400
            stranger = await b.open("/stranger", subprotocols=["ocpp2.0.1", "ocpp1.6"])
            assert stranger.subprotocol == "ocpp1.6"
            await b.inbox.until(StationConnected)
            assert await refusal(b.open("/another")) == 503
            await stranger.close()
            await b.inbox.until(StationDisconnected)
            another = await b.open("/another", subprotocols=None)
            await another.close()

    run(scenario)


def test_known_stations_come_in_however_many_strangers_there_are() -> None:
    async def scenario() -> None:
        async with bench("CP_1", caps=Caps(pending=1)) as b:
            stranger = await b.open("/stranger")
            await b.inbox.until(StationConnected)
            known = await b.open("/CP_1")
            await b.inbox.until(StationConnected, lambda e: e.station_id == "CP_1")
            await known.close()
            await stranger.close()

    run(scenario)


def test_silent_sockets_are_closed_and_a_newcomer_gets_in_past_a_crowd_of_them() -> None:
    async def scenario() -> None:
        async with bench("CP_1", caps=Caps(total=8, per_address=8, handshake_s=0.5)) as b:
            silent = [await asyncio.open_connection("127.0.0.1", b.port) for _ in range(8)]
            surplus = await asyncio.open_connection("127.0.0.1", b.port)
            with suppress(ConnectionResetError):
                assert await surplus[0].read() == b""  # over the cap: closed at once
            for reader, _ in silent:
                with suppress(ConnectionResetError):
                    await reader.read()
            station = await b.station()
            assert (await station.boot()).status == "Accepted"
            for _, writer in (*silent, surplus):
                writer.close()

    run(scenario)


def test_one_address_cannot_take_every_place() -> None:
    async def scenario() -> None:
        async with bench("CP_1", caps=Caps(per_address=1)) as b:
            first = await b.open()
            with pytest.raises(InvalidMessage):
                await b.open("/CP_2")
            await first.close()
            await b.inbox.until(StationDisconnected)
            second = await b.open()
            await second.close()

    run(scenario)


def test_a_station_that_forgets_the_connection_header_gets_in() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
            writer.write(
                b"GET /ocpp/CP_1 HTTP/1.1\r\nHost: llm\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert b" 101 " in await reader.readline()
            connected = await b.inbox.until(StationConnected)
            assert connected == StationConnected("CP_1", "127.0.0.1", "/ocpp/CP_1")
            writer.close()

    run(scenario)
