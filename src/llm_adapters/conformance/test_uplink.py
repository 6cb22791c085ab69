"""The way up: every question is answered in time; transactions reach the CPO once and in order, an outage or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from llm_adapters.conformance.benches import Facts, UplinkBench, UplinkRig, WallClock, bench
from llm_core import (
    AccessRule,
    AskCpo,
    CpoAnswered,
    Site,
    Station,
    TellCpo,
    Uplink,
    UplinkKind,
    UplinkMessage,
    UplinkStation,
    Verdict,
)

ANSWERED_WITHIN_S = 10.0  # 5 s are promised; the rest is for a busy machine
AT_ONCE_S = 1.0  # a hundred of them: who waits for a CPO takes longer, however fast the machine
DELIVERED_WITHIN_S = 60.0
PAUSE_S = 0.1
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = UplinkMessage("ST1", UplinkKind.START, 41, 1, "04A1B2C3", 1_000, NOON)
STOP = UplinkMessage("ST1", UplinkKind.STOP, 41, 1, "04A1B2C3", 3_500, NOON, "Local")
Story = Callable[[UplinkRig, Facts], Awaitable[None]]


def tell(uplink_name: str, story: Story) -> None:
    async def whole() -> None:
        uplink = Uplink(enabled=True, stations=(UplinkStation("ST1", "NL-ST1"),))
        facts = Facts(Site(stations=(Station("ST1"),), access=AccessRule.CPO, uplink=uplink))
        subject: UplinkBench = bench(uplink_name)
        async with subject.open(facts, WallClock()) as rig:
            await story(rig, facts)

    asyncio.run(whole())


async def answer(facts: Facts, ask: int) -> CpoAnswered:
    def found() -> list[CpoAnswered]:
        return [event for event in facts.all(CpoAnswered) if event.ask == ask]

    event = (await facts.until(found, ANSWERED_WITHIN_S))[0]
    assert len(found()) == 1
    return event


async def delivered(rig: UplinkRig, expected: list[tuple[str, int]]) -> None:
    for _pause in range(round(DELIVERED_WITHIN_S / PAUSE_S)):
        if len(rig.heard()) >= len(expected):
            break
        await asyncio.sleep(PAUSE_S)
    assert rig.heard() == expected


def test_a_badge_is_judged_by_the_cpo(uplink_name: str) -> None:
    async def story(rig: UplinkRig, facts: Facts) -> None:
        rig.verdicts["04A1B2C3"] = Verdict.ACCEPTED
        rig.uplinks.perform(AskCpo(1, "ST1", "04A1B2C3"))
        rig.uplinks.perform(AskCpo(2, "ST1", "FFFF"))
        assert (await answer(facts, 1)).verdict is Verdict.ACCEPTED
        refused = (await answer(facts, 2)).verdict
        assert refused is not None
        assert refused is not Verdict.ACCEPTED

    tell(uplink_name, story)


def test_a_cpo_that_cannot_be_reached_has_no_verdict_and_says_so_in_time(uplink_name: str) -> None:
    async def story(rig: UplinkRig, facts: Facts) -> None:
        await rig.cut()
        rig.uplinks.perform(AskCpo(1, "ST1", "04A1B2C3"))
        assert (await answer(facts, 1)).verdict is not Verdict.ACCEPTED

    tell(uplink_name, story)


def test_a_station_that_is_unknown_above_is_answered_for(uplink_name: str) -> None:
    async def story(rig: UplinkRig, facts: Facts) -> None:
        rig.uplinks.perform(TellCpo("nobody"))
        rig.uplinks.perform(AskCpo(1, "nobody", "04A1B2C3"))
        assert (await answer(facts, 1)).verdict is not Verdict.ACCEPTED

    tell(uplink_name, story)


def test_a_command_is_taken_at_once_whatever_the_cpo_does(uplink_name: str) -> None:
    async def story(rig: UplinkRig, facts: Facts) -> None:
        await rig.cut()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for ask in range(1, 51):
            rig.uplinks.perform(AskCpo(ask, "ST1", "04A1B2C3"))
            rig.uplinks.perform(TellCpo("ST1"))
        assert loop.time() - began < AT_ONCE_S
        await facts.until(lambda: len(facts.all(CpoAnswered)) >= 50, ANSWERED_WITHIN_S)

    tell(uplink_name, story)


def test_a_transaction_reaches_the_cpo_once_and_in_order(uplink_name: str) -> None:
    async def story(rig: UplinkRig, _: Facts) -> None:
        await rig.put(START, STOP)
        rig.uplinks.perform(TellCpo("ST1"))
        rig.uplinks.perform(TellCpo("ST1"))
        await delivered(rig, [("start", 1_000), ("stop", 3_500)])

    tell(uplink_name, story)


def test_a_transaction_during_an_outage_is_delivered_afterwards(uplink_name: str) -> None:
    async def story(rig: UplinkRig, _: Facts) -> None:
        await rig.cut()
        await rig.put(START, STOP)
        rig.uplinks.perform(TellCpo("ST1"))
        await rig.mend()
        await delivered(rig, [("start", 1_000), ("stop", 3_500)])

    tell(uplink_name, story)
