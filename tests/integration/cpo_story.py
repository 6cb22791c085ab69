"""A station that charges, a controller that is restarted, a network that is spoilt, a CPO that is not ours: on sockets.

Everything is the product's own but the two ends, which are the `ocpp` package's, and the relay before the CPO. A story
follows from its seed as far as the machine's own timing allows; its end is always calm, and then everything must have
arrived.

    uv run python tests/integration/cpo_story.py [FIRST] [COUNT]     tells what it found, and fails with it
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from ocpp.v16 import call, call_result
from tcp_faults import FaultProxy
from uplink_bench import ANN, CpoPoint, House, RealCpo, RealStation, running, site_with
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.rpc import Bounds
from llm_adapters.ocpp16.uplink import delivery, dialing, judging
from llm_adapters.ocpp16.uplink import station as station_uplink
from llm_core import CapSource, OfflinePolicy, PerPhase, PutSupply, SiteEdited, State

TRANSACTIONS = 8
NAP_S, VERDICT_S = 0.02, 0.5
LATE_S = 1.0  # after its decision, and after the word of the CPO
PLACE = ("ST1", 1)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a busy disk is not what is tried here
IMPATIENT: tuple[tuple[Any, str, Any], ...] = (
    (station_uplink, "FIRST_PAUSE_S", 0.05),
    (station_uplink, "LONGEST_PAUSE_S", 0.3),
    (station_uplink, "CALL_S", 1.5),
    (station_uplink, "BOUNDS", Bounds(waiting_calls=16, remembered_answers=64, ping_after_s=0.5, pong_within_s=1.5)),
    (delivery, "FIRST_PAUSE_S", 0.02),
    (delivery, "LONGEST_PAUSE_S", 0.2),
    (delivery, "ANSWER_S", 1.5),
    (delivery, "TRIES_WITHOUT_NUMBER", 1_000),  # here it is the network that spoils an answer, and not the CPO
    (dialing, "OPEN_S", 1.5),
    (dialing, "CLOSE_S", 0.1),
    (judging, "VERDICT_S", VERDICT_S),
)
"""What is seconds and minutes in the field. It says nothing new there: the same steps, in less time."""


class CountingCpo(RealCpo):
    """Knows a start by what it says, as CPOs do, and keeps the ids that messages came under.

    `starts` and `stops` are its books: each transaction once, in the order in which it heard of them first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starts: dict[str, int] = {}
        self.stops: dict[str, dict[str, Any]] = {}
        self.ids: dict[str, set[str]] = {"StartTransaction": set(), "StopTransaction": set()}

    def _new_point(self, ocpp_id: str, connection: ServerConnection) -> CpoPoint:
        return CountingPoint(ocpp_id, connection, self)

    def number_of(self, start: dict[str, Any]) -> int:
        return self.starts.setdefault(json.dumps(start, sort_keys=True), 900_001 + len(self.starts))


class CountingPoint(CpoPoint):
    _cpo: CountingCpo

    async def route_message(self, raw_msg: str) -> None:
        with contextlib.suppress(ValueError, IndexError, TypeError, KeyError):
            kind, unique_id, action = json.loads(raw_msg)[:3]
            if kind == 2 and action in self._cpo.ids:
                self._cpo.ids[action].add(unique_id)
        await super().route_message(raw_msg)

    def _start(self, payload: dict[str, Any]) -> call_result.StartTransaction:
        self._note("StartTransaction", payload)
        return call_result.StartTransaction(self._cpo.number_of(payload), {"status": "Accepted"})

    def _stop(self, payload: dict[str, Any]) -> call_result.StopTransaction:
        self._note("StopTransaction", payload)
        self._cpo.stops.setdefault(json.dumps(payload, sort_keys=True), payload)
        return call_result.StopTransaction()


class Fair:
    """Time without what others took from this process: on a busy machine nobody can be as early as by the clock.

    It stands still while a nap of 20 ms, and a word with another thread, take longer than that.
    """

    def __init__(self) -> None:
        self._lost_s = 0.0
        self._due = math.inf

    def time(self) -> float:
        now = asyncio.get_running_loop().time()
        return now - self._lost_s - max(0.0, now - self._due)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._due = loop.time() + NAP_S
            await asyncio.sleep(NAP_S)
            await asyncio.to_thread(int)
            self._lost_s += max(0.0, loop.time() - self._due)


class Lateness:
    """How long a lower limit takes from its decision to the station, and from the CPO's cap to the station."""

    def __init__(self, fair: Fair) -> None:
        self._fair = fair
        self.worst_s = 0.0
        self.worst_of_cpo_s = 0.0
        self.measured = 0
        self._decided: tuple[float, int] | None = None
        self._capped: tuple[float, int] | None = None
        self._has_ma = 0

    def look(self, before: State, after: State) -> None:
        was, now = before.connectors.get(PLACE), after.connectors.get(PLACE)
        if was is None or now is None or was is now:
            return
        if now.session is None:
            self._decided = self._capped = None
            return
        at = self._fair.time()
        if now.offered_ma < was.offered_ma < self._has_ma + 1:
            self._decided = self._decided or (at, now.offered_ma)
        elif now.offered_ma > was.offered_ma:
            self._decided = None
        cap_ma, cap_was_ma = now.caps_ma.get(CapSource.CPO), was.caps_ma.get(CapSource.CPO)
        if cap_ma != cap_was_ma:
            self._capped = (at, cap_ma) if cap_ma is not None and cap_ma < min(self._has_ma, now.offered_ma) else None

    def has(self, limit_a: float) -> None:
        """The station was told this limit."""
        self._has_ma, at = round(limit_a * 1_000), self._fair.time()
        if self._decided is not None and self._has_ma <= self._decided[1]:
            self.worst_s, self.measured = max(self.worst_s, at - self._decided[0]), self.measured + 1
            self._decided = None
        if self._capped is not None and self._has_ma <= self._capped[1]:
            self.worst_of_cpo_s = max(self.worst_of_cpo_s, at - self._capped[0])
            self.measured += 1
            self._capped = None

    def forget(self) -> None:
        """The controller is gone; what is overdue stays."""
        at = self._fair.time()
        for since in (self._decided, self._capped):
            if since is not None:
                self.worst_s = max(self.worst_s, at - since[0])
        self._decided = self._capped = None


class Charging:
    """The station: charges, and tells each thing until it is answered, over as many controllers as it takes."""

    def __init__(self, seed: object, lateness: Lateness, fair: Fair) -> None:
        self._fair = fair
        self.dice = random.Random(f"station {seed}")
        self.lateness = lateness
        self.point: RealStation | None = None
        self.linked = asyncio.Event()
        self.starts: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.slowest_s = 0.0
        self.thrown_out = 0
        self._second = 0

    @asynccontextmanager
    async def at(self, house: House) -> AsyncIterator[None]:
        protocols: Any = ["ocpp1.6"]
        async with connect(f"ws://127.0.0.1:{house.port}/ST1", subprotocols=protocols, proxy=None) as link:
            point = TellingStation("ST1", link)
            point.lateness = self.lateness
            house.controller.watch(self.lateness.look)
            listening = asyncio.create_task(point.listen())
            self.point = point
            self.linked.set()
            try:
                yield
            finally:
                self.lateness.forget()
                self.thrown_out += link.close_code is not None
                self.linked.clear()
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def tell(self, message: Any) -> Any:
        while True:
            await self.linked.wait()
            point = self.point
            assert point is not None
            began = self._fair.time()
            asking = asyncio.create_task(point.call(message, suppress=False))
            gone = asyncio.create_task(point.connection.wait_closed())
            await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if asking.done() and asking.exception() is None:
                self.slowest_s = max(self.slowest_s, self._fair.time() - began)
                return asking.result()
            asking.cancel()
            await asyncio.gather(asking, gone, return_exceptions=True)
            await asyncio.sleep(0.02)

    def stamp(self) -> str:
        """Each moment a second later than the one before: two starts never have the same."""
        self._second += 1
        return (datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=self._second)).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def live(self) -> None:
        wh = 1_000
        await self.tell(call.BootNotification("M", "V"))
        for _ in range(TRANSACTIONS):
            await self.tell(call.StatusNotification(1, "NoError", "Preparing"))
            await self.tell(call.Authorize(ANN))
            start = {"connector_id": 1, "id_tag": ANN, "meter_start": wh, "timestamp": self.stamp()}
            self.starts.append(start)
            begun = await self.tell(call.StartTransaction(**start))
            assert begun.id_tag_info["status"] == "Accepted"
            for _ in range(self.dice.choice((1, 2, 12))):
                await asyncio.sleep(self.dice.uniform(0, 0.5))
                wh += 100
                sample = [{"timestamp": self.stamp(), "sampledValue": [{"value": str(wh)}]}]
                await self.tell(call.MeterValues(1, sample, begun.transaction_id))
            stop = {"meter_stop": wh, "timestamp": self.stamp(), "reason": "Local"}
            self.stops.append(stop)
            await self.tell(call.StopTransaction(**stop, transaction_id=begun.transaction_id))
            await self.tell(call.StatusNotification(1, "NoError", "Available"))


class TellingStation(RealStation):
    lateness: Lateness

    def note(self, action: str, payload: dict[str, Any]) -> None:
        super().note(action, payload)
        if action == "SetChargingProfile" and payload["cs_charging_profiles"]["stack_level"] > 0:
            self.lateness.has(self.limits()[-1])

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.route_message(await self.connection.recv())


@attrs.frozen
class Told:
    """What a story came to."""

    seed: int
    faults: tuple[str, ...]
    seen: dict[str, int]
    measured: int
    worst_s: float
    worst_of_cpo_s: float
    slowest_s: float
    repeated: int


async def story(seed: int, folder: Path) -> Told:
    """One station's hour in some seconds; `faults` is empty where all is as it has to be."""
    dice, fair, cpo = random.Random(f"story {seed}"), Fair(), CountingCpo()
    lateness = Lateness(fair)
    charging = Charging(seed, lateness, fair)
    async with cpo.listening() as listening, FaultProxy(listening.port, seed).listening() as proxy:
        site = site_with(proxy.url, offline=OfflinePolicy.LOCAL)
        living = asyncio.create_task(charging.live())
        beside = [asyncio.create_task(work) for work in (_weather(proxy, dice), _wishes(cpo, dice), fair.run())]
        while not living.done():
            async with running(folder, site) as house, charging.at(house):
                limits = asyncio.create_task(_supply(house, random.Random(dice.random())))
                await asyncio.wait((living,), timeout=0.3 + dice.expovariate(0.25))
                limits.cancel()
        await living
        for task in beside[:2]:
            task.cancel()
        proxy.calm, proxy.outage = True, False
        proxy.cut_all()
        async with running(folder, site) as house, charging.at(house):
            with contextlib.suppress(TimeoutError):
                await house.until(lambda known: "ST1" in known.uplink and _is_through(house, cpo, charging), 90)
            status = house.state.uplink["ST1"]
        beside[2].cancel()
    faults = tuple(_faults(cpo, charging, lateness))
    faults += () if (status.queued, status.refused) == (0, 0) else (f"left over: {status}",)
    times = Counter(json.dumps(start, sort_keys=True) for start in cpo.all("StartTransaction"))
    repeated = sum(count > 1 for count in times.values())
    if repeated > status.doubtful:
        faults += (f"{repeated} starts came more than once, and {status.doubtful} of them are told",)
    worst = (lateness.worst_s, lateness.worst_of_cpo_s, charging.slowest_s)
    return Told(seed, faults, dict(proxy.seen), lateness.measured, *worst, repeated)


def _is_through(house: House, cpo: CountingCpo, charging: Charging) -> bool:
    return house.state.uplink["ST1"].queued == 0 and len(cpo.stops) >= len(charging.stops)


def _faults(cpo: CountingCpo, charging: Charging, lateness: Lateness) -> list[str]:
    starts = [json.loads(key) for key in cpo.starts]
    numbers = list(cpo.starts.values())
    stops = [{**stop, "transaction_id": number} for stop, number in zip(charging.stops, numbers, strict=False)]
    found = []
    if starts != charging.starts:
        found.append(f"starts: {len(starts)} at the CPO, {len(charging.starts)} at the station, or out of order")
    if list(cpo.stops.values()) != stops:
        found.append(f"stops: {list(cpo.stops.values())} and not {stops}")
    for action, ids in cpo.ids.items():
        if len(ids) != len(charging.starts):
            found.append(f"{action} came under {len(ids)} ids")
    metered = {meter.get("transaction_id") for meter in cpo.all("MeterValues")}
    if not metered <= set(numbers):
        found.append(f"readings of transactions that are none: {metered - set(numbers)}")
    if charging.thrown_out:
        found.append("the station was thrown out")
    if charging.slowest_s > VERDICT_S + 1:
        found.append(f"the station waited {charging.slowest_s:.2f} s for an answer")
    for worst_s in (lateness.worst_s, lateness.worst_of_cpo_s):
        if worst_s > LATE_S:
            found.append(f"a limit was late by {worst_s:.2f} s")
    return found


async def _weather(proxy: FaultProxy, dice: random.Random) -> None:
    """Outages, and calm between them."""
    while True:
        await asyncio.sleep(dice.uniform(0.5, 3))
        proxy.outage = dice.random() < 0.4
        if proxy.outage:
            proxy.cut_all()


async def _wishes(cpo: CountingCpo, dice: random.Random) -> None:
    """The CPO has limits of its own, whenever it gets one through."""
    while True:
        await asyncio.sleep(dice.uniform(0.1, 0.6))
        point = cpo.points.get("NL-ST1")
        if point is None:
            continue
        periods = [{"startPeriod": 0, "limit": dice.randrange(6, 17)}]
        wish = {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": periods},
        }
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await point.call(call.SetChargingProfile(1, wish))


async def _supply(house: House, dice: random.Random) -> None:
    """So has the house."""
    while True:
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        supply = attrs.evolve(house.state.site.supply, static_max_ma=PerPhase.same(dice.randrange(6, 30) * 1_000))
        await house.controller.ask(SiteEdited("ann", PutSupply(supply)))


async def told(first: int, count: int, at_once: int = 10) -> list[Told]:
    """Stories side by side, as many at a time as keep the machine from being late itself."""
    gate = asyncio.Semaphore(at_once)

    async def one(seed: int) -> Told:
        async with gate:
            with tempfile.TemporaryDirectory(dir=MEMORY, ignore_cleanup_errors=True) as folder:
                return await story(seed, Path(folder))

    return await asyncio.gather(*(one(seed) for seed in range(first, first + count)))


def main() -> None:
    first, count = (int(word) for word in (*sys.argv[1:], *("0", "100")[len(sys.argv) - 1 :]))
    for module, name, value in IMPATIENT:
        setattr(module, name, value)
    began = time.monotonic()
    stories = asyncio.run(told(first, count))
    bad = [one for one in stories if one.faults]
    for one in bad:
        print(f"seed {one.seed}: {'; '.join(one.faults)}")
    seen: dict[str, int] = {}
    for one in stories:
        for kind, times in one.seen.items():
            seen[kind] = seen.get(kind, 0) + times
    print(f"{count} stories from seed {first} in {time.monotonic() - began:.0f} s; {len(bad)} with faults")
    again = sum(one.repeated for one in stories)
    print(f"{count * TRANSACTIONS} transactions, {again} starts sent again after their answer was lost")
    print(f"what the network did: {dict(sorted(seen.items()))}")
    limits = sum(one.measured for one in stories)
    worst_s, of_cpo_s = max(one.worst_s for one in stories), max(one.worst_of_cpo_s for one in stories)
    print(
        f"{limits} lower limits, the slowest {worst_s:.2f} s after its decision, {of_cpo_s:.2f} s after the CPO's word"
    )
    print(f"the slowest answer to the station took {max(one.slowest_s for one in stories):.2f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
