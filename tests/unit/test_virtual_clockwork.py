"""Virtual time and in-memory links: nothing waits, nothing is left to chance, and a link breaks as websockets do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from llm_adapters.virtual.building import BuildingConfig
from llm_adapters.virtual.clockwork import Deadlock, run
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.driver import Visit
from llm_adapters.virtual.links import End, Weather, pair
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell

STILL = Weather(delay_s=(0.01, 0.01))


def now() -> float:
    return asyncio.get_running_loop().time()


# -- clockwork


def test_a_day_of_sleep_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        return now()

    began = time.monotonic()
    assert run(main(), start=100.0) == pytest.approx(86_500)
    assert time.monotonic() - began < 5


def test_timers_fire_in_order_at_their_own_time() -> None:
    async def main() -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []

        async def note(delay: float, name: str) -> None:
            await asyncio.sleep(delay)
            seen.append((round(now(), 6), name))

        await asyncio.gather(note(3, "c"), note(1, "a"), note(2, "b"))
        return seen

    assert run(main()) == [(1, "a"), (2, "b"), (3, "c")]


def test_timeouts_work_in_virtual_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        assert now() == pytest.approx(30)

    run(main())


def test_waiting_for_nothing_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(main())


def test_work_for_a_thread_is_done_at_once() -> None:
    def fails() -> None:
        raise OSError("disk")

    async def main() -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        with pytest.raises(OSError, match="disk"):
            await asyncio.to_thread(fails)

    run(main())


# -- links


def test_frames_arrive_in_order_after_their_delay() -> None:
    async def main() -> None:
        client, server = pair(Weather(delay_s=(0.1, 2.0)), STILL, seed=3)
        for n in range(50):
            await client.send(str(n))
        assert [await server.recv() for _ in range(50)] == [str(n) for n in range(50)]
        assert 0.1 < now() < 2.0
        await server.send("back")
        assert await client.recv() == "back"

    run(main())


def test_a_lossy_link_loses_its_share_and_the_same_seed_the_same_frames() -> None:
    async def heard(seed: int) -> list[str | bytes]:
        client, server = pair(Weather(loss=0.3), STILL, seed=seed)
        for n in range(200):
            await client.send(str(n))
        await client.close()
        return [frame async for frame in server]

    first = run(heard(1))
    assert 100 < len(first) < 180
    assert run(heard(1)) == first
    assert run(heard(2)) != first


def test_a_close_ends_both_sides_as_websockets_does() -> None:
    async def main() -> None:
        client, server = pair(STILL, STILL)
        await client.send("last")
        await client.close(1000, "bye")
        assert await server.recv() == "last"
        with pytest.raises(ConnectionClosedOK) as seen:
            await server.recv()
        assert seen.value.rcvd is not None
        assert (seen.value.rcvd.code, seen.value.rcvd.reason) == (1000, "bye")
        with pytest.raises(ConnectionClosedOK):
            await client.send("more")
        assert (server.close_code, server.close_reason) == (1000, "bye")
        await server.wait_closed()
        await server.close()

    run(main())


def test_a_policy_close_and_a_cut_are_errors() -> None:
    async def main() -> None:
        client, server = pair(STILL, STILL)
        await server.close(1008, "no")
        with pytest.raises(ConnectionClosedError):
            await client.recv()
        client, server = pair(STILL, STILL)
        waiting = asyncio.create_task(server.recv())
        await asyncio.sleep(1)
        client.abort()
        with pytest.raises(ConnectionClosedError) as seen:
            await waiting
        assert seen.value.rcvd is None
        with pytest.raises(ConnectionClosedError):
            await client.send("x")

    run(main())


def test_a_black_hole_swallows_frames_and_pings_and_tells_nobody() -> None:
    async def main() -> None:
        client, server = pair(STILL, STILL)
        assert await (await server.ping()) == pytest.approx(0.02)
        client.black_hole()
        await client.send("lost")
        await client.close()
        pong = await server.ping()
        await asyncio.sleep(100)
        assert not pong.done()
        assert server.close_code is None

    run(main())


# -- the plant in virtual time


class Central:
    """Answers stations over in-memory links; keeps the server ends to cut them."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.heard: list[tuple[float, str]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def connect(self, station_id: str) -> End:
        client, server = pair(seed=f"{station_id}/{len(self.ends)}")
        self.ends.append(server)
        task = asyncio.create_task(self.serve(server))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return client

    async def serve(self, end: End) -> None:
        try:
            async for text in end:
                _, call_id, action, _ = json.loads(text)
                self.heard.append((round(now(), 3), action))
                info: dict[str, Any] = {"idTagInfo": {"status": "Accepted"}}
                answer = {
                    "BootNotification": {"status": "Accepted", "interval": 300},
                    "Authorize": info,
                    "StartTransaction": info | {"transactionId": 1},
                }.get(action, {})
                await end.send(json.dumps([3, call_id, answer]))
        except ConnectionClosedError:
            self.heard.append((round(now(), 3), "cut"))


def hour(seed: int) -> list[tuple[float, str]]:
    async def main() -> list[tuple[float, str]]:
        central = Central()
        visits = [Visit(30.0, 3000.0, name, 1, "t") for name in "AB"]
        stations = (StationConfig("A"), StationConfig("B"))
        plant = Plant(PlantConfig(stations, building=BuildingConfig(), visits=visits), seed)
        task = asyncio.create_task(Shell(plant, central.connect, tick_s=1.0).run())
        await asyncio.sleep(600)
        assert plant.stations_a == (32.0, 32.0, 32.0)
        central.ends[0].abort()
        await asyncio.sleep(5)
        assert all(station.online for station in plant.stations.values())
        await asyncio.sleep(2995)
        assert plant.t == pytest.approx(3600, abs=2)
        assert plant.stations_a == (0.0, 0.0, 0.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return central.heard

    return run(main())


def test_an_hour_of_stations_and_drivers_runs_in_virtual_time_and_repeats_exactly() -> None:
    heard = hour(1)
    actions = [action for _, action in heard]
    assert actions.count("BootNotification") == 2
    assert actions.count("StartTransaction") == actions.count("StopTransaction") == 2
    assert actions.count("cut") == 1
    assert hour(1) == heard


def test_a_sleep_too_short_for_a_float_moves_time_all_the_same() -> None:
    async def main() -> float:
        await asyncio.sleep(1e-13)
        return asyncio.get_running_loop().time()

    assert 1_000_000 < run(main(), start=1_000_000.0) < 1_000_001
