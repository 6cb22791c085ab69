"""The whole way through, judged by parts that are not ours: the `ocpp` package's client and a pymodbus server."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action, ChargingProfileStatus, ClearChargingProfileStatus
from patience import fair_s
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from server_process import Server, llm_app, running, until
from websockets.asyncio.client import connect

TAG = "a1b2c3"


class Bay(ChargePoint):  # type: ignore[misc]
    """A station on the `ocpp` package: keeps the profiles it is sent, as they come."""

    def __init__(self, name: str, link: Any) -> None:
        super().__init__(name, link)
        self.profiles: list[dict[str, Any]] = []
        self.changed_at = 0.0

    @on(Action.set_charging_profile)
    def on_set(self, connector_id: int, cs_charging_profiles: dict[str, Any]) -> call_result.SetChargingProfile:
        self.profiles.append({"connector": connector_id, "at": fair_s(), **cs_charging_profiles})
        return call_result.SetChargingProfile(ChargingProfileStatus.accepted)

    @on(Action.clear_charging_profile)
    def on_clear(self, **_: Any) -> call_result.ClearChargingProfile:
        return call_result.ClearChargingProfile(ClearChargingProfileStatus.accepted)

    @on(Action.get_configuration)
    def on_get_configuration(self, **_: Any) -> call_result.GetConfiguration:
        return call_result.GetConfiguration(configuration_key=[], unknown_key=[])

    @on(Action.change_configuration)
    def on_change_configuration(self, **_: Any) -> call_result.ChangeConfiguration:
        return call_result.ChangeConfiguration("Accepted")

    def transaction_limit(self) -> float | None:
        """The first period of the newest TxProfile."""
        ours = [p for p in self.profiles if p["charging_profile_purpose"] == "TxProfile"]
        return float(ours[-1]["charging_schedule"]["charging_schedule_period"][0]["limit"]) if ours else None


class FakeMeter:
    """Registers of an SDM630, written here from the maker's table: float32, most significant word first."""

    def __init__(self) -> None:
        self.amps = [10.0, 10.0, 10.0]
        self.energy_kwh = 1000.0

    def words(self) -> list[int]:
        values = {0: 230.1, 2: 230.2, 4: 229.9, 6: self.amps[0], 8: self.amps[1], 10: self.amps[2]}
        values |= {12: 230 * self.amps[0], 14: 230 * self.amps[1], 16: 230 * self.amps[2], 52: 230 * sum(self.amps)}
        self.energy_kwh += 0.001
        values |= {70: 50.0, 72: self.energy_kwh}
        words = [0] * 400
        for address, value in values.items():
            words[address : address + 2] = struct.unpack(">2H", struct.pack(">f", value))
        return words


@contextlib.asynccontextmanager
async def modbus_server(meter: FakeMeter) -> AsyncIterator[int]:
    async def fill(
        _function: int, start: int, _address: int, _count: int, registers: list[int], _values: object
    ) -> ExcCodes | None:
        registers[-start : 400 - start] = meter.words()
        return None

    device = SimDevice(1, simdata=SimData(0, count=400, values=0, datatype=DataType.REGISTERS), action=fill)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        await server.shutdown()


@contextlib.asynccontextmanager
async def station(server: Server, name: str) -> AsyncIterator[Bay]:
    async with connect(f"{server.ocpp}/{name}", subprotocols=["ocpp1.6"], proxy=None) as link:
        bay = Bay(name, link)
        task = asyncio.create_task(bay.start())
        try:
            yield bay
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def stamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def put_site(server: Server, meter_port: int) -> None:
    async with server.client() as api:
        supply = {"mode": "dynamic", "phases": 3, "fuse_a": 63, "derated_a": 50.4, "fallback_a": 16, "lease_s": 120}
        for path, body in (
            ("/supply", supply),
            ("/access", {"rule": "badge"}),
            (
                "/meters",
                {"meters": [{"node": "site", "model": "eastron_sdm630", "host": "127.0.0.1", "port": meter_port}]},
            ),
        ):
            answer = await api.put(path, json=body)
            assert answer.status_code == 200, answer.text
        answer = await api.post("/badges", json={"badge_id": TAG, "comment": "Müller"})
        assert answer.status_code == 201, answer.text


async def meter_values(bay: Bay, transaction_id: int | None, amps: float, register_wh: int) -> None:
    sampled = [
        {"value": f"{amps:.1f}", "measurand": "Current.Import", "phase": phase, "unit": "A"}
        for phase in ("L1", "L2", "L3")
    ]
    sampled.append({"value": str(register_wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh"})
    values = [{"timestamp": stamp(), "sampled_value": sampled}]
    await bay.call(call.MeterValues(connector_id=1, transaction_id=transaction_id, meter_value=values))


def test_a_foreign_station_charges_under_a_real_limit_and_is_accounted_for(tmp_path: Path) -> None:
    asyncio.run(_whole_way(tmp_path))


async def _whole_way(data: Path) -> None:
    meter = FakeMeter()
    async with running(data) as server, modbus_server(meter) as port, server.client() as api:
        await put_site(server, port)
        async with station(server, "EVSE%201/HAG_ST1") as bay:
            boot = call.BootNotification(charge_point_model="Model", charge_point_vendor="Vendor")
            assert (await bay.call(boot)).status == "Pending"
            pending = (await api.get("/overview")).json()["stations"]
            assert [(s["id"], s["state"]) for s in pending] == [("HAG_ST1", "pending")]
            assert (await bay.call(call.Authorize(TAG))).id_tag_info["status"] == "Invalid"

            answer = await api.post("/stations/HAG_ST1/adopt", json={"name": "Bay 1", "max_a": 16})
            assert answer.status_code in (200, 201), answer.text
            assert (await bay.call(boot)).status == "Accepted"
            await bay.call(call.StatusNotification(1, "NoError", "Preparing", timestamp=stamp()))
            assert (await bay.call(call.Authorize("FFFF"))).id_tag_info["status"] == "Invalid"
            assert (await bay.call(call.Authorize("A1:B2:C3"))).id_tag_info["status"] == "Accepted"
            started = await bay.call(call.StartTransaction(1, TAG, 12_000, stamp()))
            assert started.id_tag_info["status"] == "Accepted"
            transaction_id = started.transaction_id
            await bay.call(call.StatusNotification(1, "NoError", "Charging", timestamp=stamp()))

            await until(lambda: bay.transaction_limit() == 16.0, "16 A are free and given")
            meter.amps = [26.0, 26.0, 26.0]  # the building's 10 A and the car's 16 A
            await meter_values(bay, transaction_id, 16.0, 12_100)
            stack_levels = {p["charging_profile_purpose"]: p["stack_level"] for p in bay.profiles}
            assert stack_levels["TxDefaultProfile"] < stack_levels["TxProfile"]

            await asyncio.sleep(7)  # the reading was taken; the car has followed its command
            await meter_values(bay, transaction_id, 16.0, 12_150)
            meter.amps = [58.0, 26.0, 26.0]  # the building takes 32 A more on L1
            stepped_s = fair_s()
            await until(lambda: (bay.transaction_limit() or 99) <= 8.4, "the limit follows the load step")
            assert bay.profiles[-1]["at"] - stepped_s <= 1.0 + 2.0  # at most a second to the sample, then two
            assert bay.transaction_limit() == 8.4
            meter.amps = [50.4, 18.4, 18.4]
            await meter_values(bay, transaction_id, 8.4, 12_400)

            overview = (await api.get("/overview")).json()
            connector = next(s for s in overview["stations"] if s["id"] == "HAG_ST1")["connectors"][0]
            assert connector["session"]["user"] == "Müller"
            assert connector["limit_a"] == 8.4
            assert connector["limited_by"] == {"node": "site", "phase": "L1"}

            stop = call.StopTransaction(meter_stop=13_234, timestamp=stamp(), transaction_id=transaction_id, id_tag=TAG)
            await bay.call(stop)
            await bay.call(call.StatusNotification(1, "NoError", "Available", timestamp=stamp()))
        await _is_exported(server, data, transaction_id)
        code, seconds = await asyncio.to_thread(server.stop)
        assert code == 0, server.log()
        assert seconds < 5
        assert "Traceback" not in server.log()


async def _is_exported(server: Server, data: Path, transaction_id: int) -> None:
    today = datetime.now(UTC).date()
    period = {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    async with server.client() as api:
        text = (await api.get("/sessions", params={**period, "format": "csv"})).text
    command = await asyncio.to_thread(
        llm_app, "sessions", "export", "--data", str(data), "--from", period["from"], "--to", period["to"]
    )
    assert command.returncode == 0, command.stderr
    for export in (text, command.stdout):
        (row,) = csv.DictReader(io.StringIO(export))
        assert row["transactionId"] == str(transaction_id)
        assert row["evcsId"] == "HAG_ST1"
        assert row["evcsName"] == "Bay 1"
        assert row["badgeName"] == "Müller"
        assert row["energyChargedKwh"] == "1.234"
        assert row["stopDateTransaction"]


def test_whoever_changes_the_site_sees_at_once_what_came_of_it(tmp_path: Path) -> None:
    """The next overview shows the new limits: nobody has to know of the second between two ticks."""

    async def story() -> None:
        async with running(tmp_path) as server, server.client() as api:
            for amps in (40, 20, 30, 10, 25):
                assert (await api.put("/supply", json={"static_max_a": amps})).is_success
                (node, *_) = (await api.get("/overview")).json()["nodes"]
                assert node["limit_a"]["L1"] == amps
            assert (await api.post("/limits", json={"limit_a": 5})).is_success
            (limit,) = (await api.get("/limits")).json()
            assert limit["state"] == "holds"

    asyncio.run(story())
