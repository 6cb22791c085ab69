"""A second CPO that is not ours, on another stack and stricter than any in the field: ocpp-rpc in strict mode."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from patience import PATIENCE_S
from uplink_bench import ANN, running, site_with, station

from llm_core import UplinkState

PACKAGE = "ocpp-rpc@2.2.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "local-load-manager" / "ocpp-rpc-2.2.1"


@pytest.fixture(scope="module")
def modules() -> Path:
    """Where node finds the package: a folder outside the tree, filled once (`.ci/run` does so beforehand)."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    if not (CACHE / "node_modules" / "ocpp-rpc").is_dir():
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(CACHE), PACKAGE]
        done = subprocess.run(install, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    return CACHE / "node_modules"


class StrictCpo:
    """The program, and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    async def read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.told.append(json.loads(line))
            self._came.set()

    async def port(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            while not self.told:
                self._came.clear()
                await self._came.wait()
        return int(self.told[0]["port"])

    async def tells(self, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.told:
                    if wanted.items() <= message.items():
                        return message
                self._came.clear()
                await self._came.wait()

    async def asks(self, action: str, params: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self.told = [message for message in self.told if message.get("called") != action]
        self._process.stdin.write(json.dumps({"call": action, "params": params}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.told:
                    if message.get("called") == action:
                        assert "error" not in message, message
                        return message["result"]
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def strict_cpo(modules: Path) -> AsyncIterator[tuple[StrictCpo, str]]:
    pipe = asyncio.subprocess.PIPE
    program = str(Path(__file__).with_name("strict_cpo.cjs"))
    environment = {**os.environ, "NODE_PATH": str(modules)}
    process = await asyncio.create_subprocess_exec("node", program, stdin=pipe, stdout=pipe, env=environment)
    cpo = StrictCpo(process)
    reading = asyncio.create_task(cpo.read())
    try:
        yield cpo, f"ws://127.0.0.1:{await cpo.port()}"
    finally:
        process.kill()
        await process.wait()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


def test_everything_that_goes_up_keeps_the_schemas(tmp_path: Path, modules: Path) -> None:
    async def main() -> None:
        async with (
            strict_cpo(modules) as (cpo, url),
            running(tmp_path, site_with(url)) as house,
            station(house) as point,
        ):
            await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.ACCEPTED)
            assert (await point.call(call.Authorize(ANN))).id_tag_info["status"] == "Accepted"
            begun = await point.call(call.StartTransaction(1, ANN, 1_000, "2026-03-01T12:00:00Z"))
            sample = {"value": "1500", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
            values = [{"timestamp": "2026-03-01T12:01:00Z", "sampledValue": [sample]}]
            await point.call(call.MeterValues(1, values, begun.transaction_id))
            schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.5}]}
            profile = {
                "chargingProfileId": 5,
                "stackLevel": 1,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Absolute",
                "chargingSchedule": schedule,
            }
            put = {"connectorId": 1, "csChargingProfiles": profile}
            assert await cpo.asks("SetChargingProfile", put) == {"status": "Accepted"}
            await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 10_500)
            answer = await cpo.asks("GetCompositeSchedule", {"connectorId": 1, "duration": 600})
            assert answer["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 10.5
            told = await cpo.asks("GetConfiguration", {})
            assert {"HeartbeatInterval", "LocalPreAuthorize"} < {entry["key"] for entry in told["configurationKey"]}
            assert await cpo.asks("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "5"}) == {
                "status": "Accepted"
            }
            assert await cpo.asks("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
            await cpo.tells(heard="Heartbeat")
            assert await cpo.asks("Reset", {"type": "Soft"}) == {"status": "Accepted"}
            await point.call(call.StopTransaction(2_500, "2026-03-01T13:00:00Z", begun.transaction_id, "Local", ANN))
            stop = await cpo.tells(heard="StopTransaction")
            assert stop["params"]["transactionId"] == 7_001
            await house.until(lambda state: state.uplink["ST1"].queued == 0)
            assert [message for message in cpo.told if "broken" in message] == []

    asyncio.run(main())
