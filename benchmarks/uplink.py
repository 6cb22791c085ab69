"""What the way up to a CPO costs: `uv run python benchmarks/uplink.py [authorize|dead|queue]`.

authorize  the time that our standing between a station and its CPO adds to an Authorize, on loopback: the same calls
           made straight to the CPO and through us, turn by turn
dead       the share of a core that the ways up of 20 stations take while their CPO does not answer
queue      how fast 100 000 messages drain, and how long a live Authorize takes meanwhile
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from uplink_bench import ANN, House, RealClock, running, site_with
from websockets.asyncio.client import ClientConnection, connect

from llm_adapters.sqlite import outbox
from llm_adapters.virtual.cpo import Cpo
from llm_core import UplinkKind, UplinkMessage, UplinkState

CALLS = 2_000
DEAD_S = 60.0
MESSAGES = 100_000


class Client:
    """A bare station: one call after the other, raw JSON."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._count = 0

    async def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        await self._link.send(json.dumps([2, f"b{self._count}", action, payload]))
        while True:
            message = json.loads(await self._link.recv())
            if message[0] == 2:
                await self._link.send(json.dumps([3, message[1], {"status": "Accepted"}]))
            elif message[1] == f"b{self._count}":
                return message[2]  # type: ignore[no-any-return]

    async def authorize_ms(self) -> float:
        began = time.perf_counter()
        await self.call("Authorize", {"idTag": ANN})
        return (time.perf_counter() - began) * 1_000

    async def busy_ms(self) -> float:
        """The processor's time for one: what a machine that does something else meanwhile does not change."""
        began = time.process_time()
        await self.call("Authorize", {"idTag": ANN})
        return (time.process_time() - began) * 1_000


async def accepted(house: House) -> None:
    await house.until(lambda state: "ST1" in state.uplink and state.uplink["ST1"].state is UplinkState.ACCEPTED, 30)


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def linked(url: str) -> Any:
    return connect(url, subprotocols=["ocpp1.6"], proxy=None, compression=None)  # type: ignore[list-item]


async def authorize() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cpo = Cpo([ANN])
        async with (
            cpo.listening("127.0.0.1") as url,
            running(Path(folder), site_with(url)) as house,
            linked(f"ws://127.0.0.1:{house.port}/ST1") as below,
            linked(f"{url}/direct") as beside,
        ):
            through, straight = Client(below), Client(beside)
            await through.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
            await accepted(house)
            ours, theirs = list[float](), list[float]()
            for _ in range(CALLS):
                theirs.append(await straight.authorize_ms())
                ours.append(await through.authorize_ms())
            busy = [await through.busy_ms() - await straight.busy_ms() for _ in range(CALLS)]
        print(f"Authorize straight to the CPO   median {statistics.median(theirs):6.2f} ms   p99 {p99(theirs):6.2f} ms")
        print(f"Authorize through us            median {statistics.median(ours):6.2f} ms   p99 {p99(ours):6.2f} ms")
        added = statistics.median(ours) - statistics.median(theirs)
        print(f"added                           median {added:6.2f} ms   p99 {p99(ours) - p99(theirs):6.2f} ms")
        print(f"added, processor time alone     median {statistics.median(busy):6.2f} ms   p99 {p99(busy):6.2f} ms")


async def dead() -> None:
    for enabled in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            site = site_with("ws://127.0.0.1:9" if enabled else "", stations=20)
            async with running(Path(folder), site) as house:
                links = [await connect(f"ws://127.0.0.1:{house.port}/ST{n + 1}", proxy=None) for n in range(20)]
                await asyncio.sleep(15)  # adopted, and the first quick tries are over
                began, cpu = time.perf_counter(), time.process_time()
                await asyncio.sleep(DEAD_S)
                share = (time.process_time() - cpu) / (time.perf_counter() - began) * 100
                print(f"20 stations, {'a dead CPO' if enabled else 'no CPO':12} {share:5.2f} % of a core")
                for link in links:
                    await link.close()


async def queue() -> None:
    cpo = Cpo([ANN])
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder), site_with("")) as house:
            waiting = await filled(house)
        async with (
            cpo.listening("127.0.0.1") as url,
            running_with(folder, url) as house,
            linked(f"ws://127.0.0.1:{house.port}/ST1") as below,
        ):
            client, live = Client(below), []
            await client.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
            await accepted(house)
            began = time.perf_counter()
            while house.state.uplink["ST1"].queued:
                live.append(await client.authorize_ms())
                await asyncio.sleep(0.1)
            took_s = time.perf_counter() - began
    arrived = len(cpo.transactions)
    print(f"{waiting} messages in {took_s:.1f} s ({waiting / took_s:.0f} a second), {arrived} transactions arrived")
    print(f"a live Authorize meanwhile      median {statistics.median(live):6.2f} ms   p99 {p99(live):6.2f} ms")


async def filled(house: House) -> int:
    """A long outage: starts, eight readings each, stops."""
    at = RealClock().utc()
    values = [{"timestamp": "2026-03-01T12:00:00Z", "sampledValue": [{"value": "1"}]}]
    said = json.dumps({"connectorId": 1, "meterValue": values})
    messages = []
    for number in range(1, MESSAGES // 10 + 1):
        messages.append(UplinkMessage("ST1", UplinkKind.START, number, 1, ANN, number, at))
        messages += [UplinkMessage("ST1", UplinkKind.METER, number, 1, at=at, said=said)] * 8
        messages.append(UplinkMessage("ST1", UplinkKind.STOP, number, 1, ANN, number + 1, at))
    outbox.MOST_METER_VALUES = MESSAGES  # none is thinned
    for first in range(0, len(messages), 5_000):
        await house.book.put(messages[first : first + 5_000])
    return (await house.book.lengths("ST1")).waiting


def running_with(folder: str, url: str) -> Any:
    """The same data with another address for the CPO."""
    with sqlite3.connect(Path(folder) / "llm.db") as connection:
        connection.execute("DELETE FROM site")
    return running(Path(folder), site_with(url))


if __name__ == "__main__":
    for name in sys.argv[1:] or ("authorize", "dead", "queue"):
        asyncio.run({"authorize": authorize, "dead": dead, "queue": queue}[name]())
