"""Told to stop in the middle of a busy day, the server ends at once and has written everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
from patience import PATIENCE_S
from server_process import Server, llm_app
from test_power_cut import BADGE, FILES, call
from test_sqlite_store import SteadyClock
from websockets.asyncio.client import connect

from llm_adapters.sqlite import Database, SqliteStore

STATIONS = [f"ST{number}" for number in range(20)]
PAGES = 5


def test_with_pages_open_and_20_stations_charging_it_ends_within_five_seconds(tmp_path: Path) -> None:
    configuration = tmp_path / "configuration.json"
    stations = [{"id": name, "fallback_a": 0} for name in STATIONS]
    configuration.write_text(json.dumps({"stations": stations, "badges": [{"badge_id": BADGE}]}))
    data = tmp_path / "data"
    assert llm_app("config", "import", str(configuration), "--data", str(data)).returncode == 0
    code, took_s, begun = asyncio.run(_busy_until_stopped(data))
    assert code == 0
    assert took_s <= 5
    stored = asyncio.run(_stored_sessions(data))
    assert {session: register_wh for session, register_wh in stored.items() if session in begun} == begun
    assert not (data / f"{FILES[0]}-wal").exists(), "the log was taken into the database"


async def _busy_until_stopped(data: Path) -> tuple[int, float, dict[int, int]]:
    server = await asyncio.to_thread(Server, data)
    begun: dict[int, int] = {}
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(headers={"Authorization": f"Bearer {server.token}"}, timeout=PATIENCE_S, trust_env=False)
        )
        for _ in range(PAGES):
            stream = await stack.enter_async_context(client.stream("GET", f"{server.http}/api/v1/events"))
            assert stream.status_code == 200
        for number, name in enumerate(STATIONS):
            link = await stack.enter_async_context(
                connect(f"{server.ocpp}/{name}", subprotocols=["ocpp1.6"], proxy=None)  # type: ignore[list-item]
            )
            boot = {"chargePointVendor": "x", "chargePointModel": "y"}
            await call(link, "boot", "BootNotification", boot)
            start = {"connectorId": 1, "idTag": BADGE, "meterStart": number, "timestamp": "2026-03-01T12:00:00Z"}
            transaction_id = (await call(link, "start", "StartTransaction", start))["transactionId"]
            register = {"value": str(number + 500), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
            values = [{"timestamp": "2026-03-01T12:05:00Z", "sampledValue": [register]}]
            await call(
                link, "values", "MeterValues", {"connectorId": 1, "transactionId": transaction_id, "meterValue": values}
            )
            begun[transaction_id] = number + 500
        code, took_s = await asyncio.to_thread(server.stop)
    return code, took_s, begun


async def _stored_sessions(data: Path) -> dict[int, int]:
    """The last reading of each open session: told a moment before the end, and promised to nobody."""
    database = await Database.open(data, SteadyClock())
    try:
        return {s.transaction_id: s.register_wh for s in (await SqliteStore(database).load()).open_sessions}
    finally:
        await database.close()
