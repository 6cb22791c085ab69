"""Orders through the whole controller to a virtual station: what the station then does is what counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scripted_station import ScriptedStation
from server_process import running
from test_ocpp_commissioning import House
from test_ocpp_virtual import config

from llm_adapters.virtual.car import Car, CarModel
from llm_adapters.virtual.clockwork import run
from llm_core import AlarmCode, Order, OrderEnded, OrderGranted, Saved, SessionState, StationOrdered

WORDS = {
    Order.REMOTE_START: "RemoteStartTransaction",
    Order.REMOTE_STOP: "RemoteStopTransaction",
    Order.RESET: "Reset",
    Order.AVAILABILITY: "ChangeAvailability",
}


async def give(house: House, order: Order, detail: str = "", **payload: object) -> str:
    """Give an order as pages and API do; returns what the station said."""
    granted = await house.controller.ask(StationOrdered("ann", "CP", order, detail=detail))
    assert isinstance(granted, OrderGranted), granted
    given = {
        Order.REMOTE_START: {"idTag": granted.id_tag, "connectorId": granted.connector},
        Order.REMOTE_STOP: {"transactionId": granted.transaction_id},
    }.get(order, {})
    outcome = await house.server.call("CP", WORDS[order], {**given, **payload})  # type: ignore[arg-type]
    done = outcome.status == "Accepted"
    assert await house.controller.ask(OrderEnded("ann", "CP", order, done, outcome.status, granted, detail)) == Saved()
    return outcome.status


def test_a_session_is_started_and_stopped_from_afar() -> None:
    house = House(config())

    async def story() -> None:
        await asyncio.sleep(60)
        house.plant.stations["CP"].plug(1, Car(CarModel()))
        await asyncio.sleep(5)
        assert await give(house, Order.REMOTE_START) == "Accepted"
        await house.until(lambda: house.controller.state.connectors["CP", 1].session is not None)
        session = house.controller.state.connectors["CP", 1].session
        assert session is not None
        assert session.id_tag == "REMOTE"
        assert await give(house, Order.REMOTE_STOP) == "Accepted"
        await house.until(lambda: house.controller.state.connectors["CP", 1].session is None)
        ended = house.controller.state.recent[session.transaction_id]
        assert (ended.state, ended.stop_reason) == (SessionState.CLOSED, "Remote")

    run(house.live(story()))


def test_a_restart_that_was_ordered_is_no_alarm() -> None:
    house = House(config(boot_s=100.0))

    async def story() -> None:
        await asyncio.sleep(60)
        assert await give(house, Order.RESET, type="Hard") == "Accepted"
        alarms = set()
        for _ in range(120):
            await asyncio.sleep(1)
            alarms |= {code for code, _ in house.controller.state.alarms}
        assert AlarmCode.STATION_OFFLINE not in alarms
        await house.until(lambda: house.controller.state.stations["CP"].online)
        assert house.controller.state.stations["CP"].reset_ms is None

    run(house.live(story()))


def test_a_connector_taken_out_of_use_starts_nobody_until_it_is_in_use_again() -> None:
    house = House(config())

    async def story() -> None:
        await asyncio.sleep(60)
        out_of_use = {"connectorId": 0, "type": "Inoperative"}
        assert await give(house, Order.AVAILABILITY, "inoperative", **out_of_use) == "Accepted"
        await asyncio.sleep(1)
        assert house.controller.state.stations["CP"].inoperative == {0}
        house.plant.stations["CP"].plug(1, Car(CarModel()))
        house.plant.stations["CP"].present(1, "A1")
        await asyncio.sleep(5)
        assert house.outlet.session is None
        assert await give(house, Order.AVAILABILITY, "operative", connectorId=0, type="Operative") == "Accepted"
        house.plant.stations["CP"].present(1, "A1")
        await house.until(lambda: house.outlet.limit_a >= 16)

    run(house.live(story()))


def test_what_was_taken_out_of_use_is_told_again_after_a_kill(tmp_path: Path) -> None:
    boot = {"chargePointVendor": "Acme", "chargePointModel": "Post"}
    out_of_use = {"connectorId": 2, "type": "Inoperative"}

    async def scenario() -> None:
        async with running(tmp_path) as server:
            async with server.client() as client:
                assert (await client.post("/stations", json={"id": "CP", "name": "Bay"})).is_success
            async with ScriptedStation(f"{server.ocpp}/CP", ChangeAvailability={"status": "Accepted"}) as station:
                await station.call("BootNotification", **boot)
                await station.call("StatusNotification", connectorId=2, errorCode="NoError", status="Available")
                async with server.client() as client:
                    wish = {"connector": 2, "type": "inoperative"}
                    assert (await client.post("/stations/CP/commands/availability", json=wish)).is_success
                server.kill()
            server.restart()
            async with ScriptedStation(f"{server.ocpp}/CP", ChangeAvailability={"status": "Accepted"}) as station:
                await station.call("BootNotification", **boot)
                assert await station.was_asked("ChangeAvailability") == out_of_use
                async with server.client() as client:
                    known = (await client.get("/stations/CP")).json()
                    assert known["inoperative"] == [2]
                    assert "inoperative" in {note["code"] for note in known["notes"]}
                    wish["type"] = "operative"
                    assert (await client.post("/stations/CP/commands/availability", json=wish)).is_success
                    assert (await client.get("/stations/CP")).json()["inoperative"] == []

    asyncio.run(scenario())
