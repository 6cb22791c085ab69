"""Right after a start stations are back before their CPO can be asked: who comes then waits for it, if it may come."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from patience import fair_s
from uplink_bench import RealCpo, running, site_with, station

from llm_adapters.ocpp16.rpc import Link
from llm_adapters.ocpp16.uplink.dialing import Door, NoLink, dial
from llm_core import UplinkState

STRANGER = "04D00D00"  # the CPO never spoke of it: without the CPO it is refused


class SlowDial:
    """A way to the CPO that takes as long as it is told; without it, a CPO that is dead."""

    def __init__(self, takes_s: float, *, dead: bool = False) -> None:
        self.takes_s = takes_s
        self.dead = dead

    async def __call__(self, door: Door) -> Link:
        await asyncio.sleep(self.takes_s)
        if self.dead:
            raise NoLink("nobody listens there")
        return await dial(door)


@pytest.mark.parametrize("message", ["Authorize", "StartTransaction"])
def test_a_badge_that_comes_before_the_first_link_is_up_waits_for_the_cpo(tmp_path: Path, message: str) -> None:
    async def main() -> None:
        cpo, slow = RealCpo(), SlowDial(1)
        async with (
            cpo.listening(),
            running(tmp_path, site_with(cpo.url), dialled=slow) as house,
            station(house) as point,
        ):
            request: Any = call.Authorize(STRANGER)
            if message == "StartTransaction":
                request = call.StartTransaction(1, STRANGER, 1_000, "2026-03-01T12:00:00Z")
            assert (await point.call(request)).id_tag_info["status"] == "Accepted"
            await cpo.hears(message)
            if message == "StartTransaction":
                assert house.state.connectors["ST1", 1].session is not None
                assert len(cpo.all("StartTransaction")) == 1

    asyncio.run(main())


@pytest.mark.parametrize("takes_s", [0.2, 20.0])
def test_a_dead_cpo_is_waited_for_once_and_five_seconds_at_most(tmp_path: Path, takes_s: float) -> None:
    async def main() -> None:
        dead = SlowDial(takes_s, dead=True)
        async with running(tmp_path, site_with("ws://cpo"), dialled=dead) as house, station(house) as point:
            took_s = []
            for _ in range(3):
                began_s = fair_s()
                assert (await point.call(call.Authorize(STRANGER))).id_tag_info["status"] == "Invalid"
                took_s.append(fair_s() - began_s)
            assert took_s[0] < 6
            assert max(took_s[1:]) < 0.5

    asyncio.run(main())


def test_a_station_that_was_away_is_waited_for_again(tmp_path: Path) -> None:
    """Its link was closed because it was away, not because its CPO was."""

    async def main() -> None:
        cpo, slow = RealCpo(), SlowDial(0)
        async with cpo.listening(), running(tmp_path, site_with(cpo.url), dialled=slow) as house:
            async with station(house):
                await house.until(
                    lambda known: bool(known.uplink) and known.uplink["ST1"].state is UplinkState.ACCEPTED
                )
            way = house.uplinks._ways["ST1"].station
            await house.until(lambda known: not known.stations["ST1"].online)
            way._standing.enter(UplinkState.OFFLINE, "the connection ended: the station itself is not connected")
            assert way._standing.may_come
            way._standing.enter(UplinkState.OFFLINE, "the connection ended: it does not answer")
            assert not way._standing.may_come

    asyncio.run(main())
