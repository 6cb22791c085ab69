"""The shell of a plant ends when it is told to, in whatever moment that is."""

from __future__ import annotations

import asyncio

import pytest

from llm_adapters.virtual import clockwork
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.links import End, Weather, pair
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.shell import Shell

NODE = {"id": "site", "parent": None, "limit_a": {"L1": 20.0, "L2": 20.0, "L3": 20.0}}


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("breaks", ["the link", "the station"])
def test_a_shell_that_is_ended_while_a_link_breaks_ends(turns: int, breaks: str) -> None:
    async def played() -> None:
        ends: list[End] = []

        async def connect(station_id: str) -> End:
            station, server = pair(Weather(), Weather(), station_id)
            ends.append(server)
            return station

        plant = Plant(PlantConfig((StationConfig("A"),), (NODE,)))
        shell = asyncio.create_task(Shell(plant, connect).run())
        await asyncio.sleep(9.875)
        if breaks == "the link":
            ends[-1].abort()
        else:
            plant.stations["A"].restart()
            await asyncio.sleep(0.125)  # the shell sees it when time passes the next time
        for _ in range(turns):  # of the loop, so that it is ended at every step of what follows a broken link
            await asyncio.sleep(0)
        shell.cancel()
        done, _ = await asyncio.wait((shell,), timeout=60)
        assert done == {shell}
        assert shell.cancelled()

    clockwork.run(played())


def test_what_goes_wrong_in_a_station_ends_the_shell() -> None:
    class Broken(Plant):
        def receive(self, station_id: str, frame: str) -> None:
            raise ArithmeticError(f"{station_id} {frame}")

    async def played() -> None:
        async def connect(station_id: str) -> End:
            station, server = pair(Weather(), Weather(), station_id)
            await server.send("[]")
            return station

        await Shell(Broken(PlantConfig((StationConfig("A"),), (NODE,))), connect).run()

    with pytest.raises(ExceptionGroup) as raised:
        clockwork.run(played())
    assert raised.group_contains(ArithmeticError, match=r"A \[\]")
