"""The network between us and a CPO at its worst, on real sockets, with restarts of ours in between; and restarts alone.

`uv run python tests/integration/cpo_story.py 0 300` tells as many stories as one likes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cpo_story import IMPATIENT, PLACE, Told, told
from ocpp.v16 import call
from odd_cpo import USUAL, OddCpo
from uplink_bench import ANN, running, site_with, station

from llm_core import OfflinePolicy, UplinkKind, UplinkMessage, UplinkState

SEEDS = 24


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in IMPATIENT:
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("_impatient")
def test_whatever_the_network_does_the_cpo_has_everything_once_in_order_and_no_limit_is_late() -> None:
    stories = asyncio.run(told(0, SEEDS, at_once=12))
    assert [one for one in stories if one.faults] == []
    seen = set[str]().union(*(one.seen for one in stories))
    assert {"answer lost", "cut", "drip", "garbage", "half", "hole", "noise", "not let in", "slow"} == seen - {"clean"}
    assert _sum(stories, "measured") > SEEDS
    assert _sum(stories, "repeated") > 0, "no start was in doubt, so nothing was tried"


def _sum(stories: list[Told], name: str) -> int:
    return sum(getattr(one, name) for one in stories)


def test_a_restart_of_ours_waits_for_the_answer_to_a_start_so_that_it_is_never_in_doubt(tmp_path: Path) -> None:
    """The CPO is slow and remembers nothing: a second start would be a second transaction."""

    async def main() -> None:
        cpo = OddCpo(StartTransaction=None)
        async with cpo.listening():
            site = site_with(cpo.url, offline=OfflinePolicy.LOCAL)
            async with running(tmp_path, site) as house, station(house) as point:
                await house.until(lambda known: "ST1" in known.uplink and _accepted(known.uplink["ST1"].state))
                starting = asyncio.create_task(point.call(call.StartTransaction(1, ANN, 1_000, "2026-03-01T12:00:00Z")))
                await cpo.hears("StartTransaction")
                (unique_id,) = (known for known, action, _ in cpo.heard if action == "StartTransaction")
                cpo.habits.clear()
                answering = asyncio.create_task(_late(cpo, unique_id))
                starting.cancel()
            await answering
            async with running(tmp_path, site) as house, station(house) as point:
                again = await point.call(call.StartTransaction(1, ANN, 1_000, "2026-03-01T12:00:00Z"))
                await point.call(call.StopTransaction(2_000, "2026-03-01T13:00:00Z", again.transaction_id))
                assert (await cpo.hears("StopTransaction"))["transactionId"] == 900_001
                assert len(cpo.all("StartTransaction")) == 1
                assert house.state.uplink["ST1"].doubtful == 0
                assert house.state.connectors[PLACE].session is None

    asyncio.run(main())


async def _late(cpo: OddCpo, unique_id: str) -> None:
    await asyncio.sleep(0.3)  # the controller is being ended meanwhile
    await cpo.say(unique_id, USUAL["StartTransaction"])


def _accepted(state: UplinkState) -> bool:
    return state is UplinkState.ACCEPTED


def test_a_long_queue_on_its_way_holds_up_nobody_who_waits_at_a_station(tmp_path: Path) -> None:
    """Counted, not timed: how many of the queue go before a badge. `benchmarks/uplink.py queue` tells the times."""

    async def main() -> None:
        cpo = OddCpo()

        async def slow(_link: object) -> None:
            await asyncio.sleep(0.002)

        async with cpo.listening(), running(tmp_path, site_with(cpo.url)) as house, station(house) as point:
            await house.until(lambda known: "ST1" in known.uplink and _accepted(known.uplink["ST1"].state))
            cpo.after_answer = slow
            await house.book.put(_transactions(300))
            house.uplinks._ways["ST1"].station.queued()
            await cpo.hears("StopTransaction", 5)
            before = list[int]()
            for n in range(20):
                arrived = len(cpo.heard)
                await point.call(call.Authorize(f"04{n:06}"))
                place = next(i for i, (_, action, said) in enumerate(cpo.heard) if said.get("idTag") == f"04{n:06}")
                before.append(place - arrived)
            assert max(before) <= 3
            assert (await house.book.lengths("ST1")).waiting > 0, "the queue was gone: nothing was tried"

    asyncio.run(main())


def _transactions(count: int) -> list[UplinkMessage]:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return [
        UplinkMessage("ST1", kind, number, 1, ANN, 1_000 + number, at + timedelta(seconds=number))
        for number in range(1, count + 1)
        for kind in (UplinkKind.START, UplinkKind.STOP)
    ]
