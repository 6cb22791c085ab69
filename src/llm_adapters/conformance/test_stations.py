"""Stations: every command is answered exactly once, as it was taken, and a slow station delays nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs

from llm_adapters.conformance.benches import Facts, StationsBench, StationsRig, WallClock, bench
from llm_core import (
    ClearLimit,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    Purpose,
    SetLimit,
    StationConnected,
    StationDisconnected,
)

Answered = LimitConfirmed | LimitRefused | LimitUnanswered
SOON_S = 5.0
AT_LAST_S = 20.0  # in doubt a command is unanswered, and that is told
AT_ONCE_S = 1.0  # a hundred of them: who waits for a station takes longer, however fast the machine
ROUNDING_MA = 1_000  # a station that takes whole amps only
Story = Callable[[StationsRig, Facts], Awaitable[None]]


def tell(stations_name: str, story: Story) -> None:
    async def whole() -> None:
        facts, made = Facts(), bench(stations_name)
        subject: StationsBench = made
        async with subject.open(facts, WallClock()) as rig:
            await story(rig, facts)

    asyncio.run(whole())


def limit(seq: int, limit_ma: int, station_id: str = "ST1") -> SetLimit:
    return SetLimit(seq, station_id, 1, Purpose.TRANSACTION, limit_ma, 6_000, 120_000, 17, 3, lowers=True)


def answers(facts: Facts, *seqs: int) -> list[Answered]:
    return [event for event in facts.posted if isinstance(event, Answered) and event.seq in seqs]


async def answered(facts: Facts, seq: int, within_s: float) -> Answered:
    return (await facts.until(lambda: answers(facts, seq), within_s))[0]


def test_a_limit_that_the_station_takes_is_confirmed_once_and_held_rounded_down(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        rig.stations.perform(limit(1, 9_999))
        assert await answered(facts, 1, SOON_S) == LimitConfirmed("ST1", 1, 1)
        held_ma = rig.held_ma("ST1")
        assert held_ma is not None
        assert 9_999 - ROUNDING_MA <= held_ma <= 9_999
        assert len(answers(facts, 1)) == 1

    tell(stations_name, story)


def test_a_raise_is_sent_in_time_or_not_at_all(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        rig.stations.perform(limit(1, 9_000))
        assert await answered(facts, 1, SOON_S) == LimitConfirmed("ST1", 1, 1)
        now_ms = WallClock().monotonic_ms()
        in_time, late = (attrs.evolve(limit(seq, 6_000 + 2_000 * seq), lowers=False) for seq in (2, 3))
        rig.stations.perform(attrs.evolve(in_time, not_after_ms=now_ms + 60_000))
        assert await answered(facts, 2, SOON_S) == LimitConfirmed("ST1", 1, 2)
        rig.stations.perform(attrs.evolve(late, not_after_ms=now_ms))
        assert isinstance(await answered(facts, 3, AT_LAST_S), LimitRefused)
        held_ma = rig.held_ma("ST1")
        assert held_ma is not None
        assert 10_000 - ROUNDING_MA <= held_ma <= 10_000

    tell(stations_name, story)


def test_a_limit_that_the_station_refuses_is_never_confirmed(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        rig.be("ST1", "refuses")
        rig.stations.perform(limit(1, 9_000))
        assert isinstance(await answered(facts, 1, AT_LAST_S), LimitRefused | LimitUnanswered)
        assert len(answers(facts, 1)) == 1

    tell(stations_name, story)


def test_a_station_that_says_nothing_leaves_a_limit_unanswered_and_delays_no_other(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        for station_id in ("ST1", "ST2"):
            await rig.connect(station_id)
        rig.be("ST1", "silent")
        rig.stations.perform(limit(1, 9_000))
        rig.stations.perform(limit(2, 8_000, "ST2"))
        assert await answered(facts, 2, SOON_S) == LimitConfirmed("ST2", 1, 2)
        assert await answered(facts, 1, AT_LAST_S) == LimitUnanswered("ST1", 1, 1)
        assert len(answers(facts, 1, 2)) == 2

    tell(stations_name, story)


def test_a_station_that_is_not_there_or_unknown_is_answered_for(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        rig.stations.perform(limit(1, 9_000))
        rig.stations.perform(limit(2, 9_000, "nobody"))
        for seq in (1, 2):
            assert isinstance(await answered(facts, seq, AT_LAST_S), LimitRefused | LimitUnanswered)
        assert len(answers(facts, 1, 2)) == 2

    tell(stations_name, story)


def test_of_many_commands_each_is_answered_once_and_the_newest_is_held(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        seqs = range(1, 21)
        for seq in seqs:
            rig.stations.perform(limit(seq, 6_000 + 500 * seq))
        assert await answered(facts, 20, AT_LAST_S) == LimitConfirmed("ST1", 1, 20)
        await facts.until(lambda: len(answers(facts, *seqs)) >= len(seqs), AT_LAST_S)
        assert Counter(event.seq for event in answers(facts, *seqs)) == Counter(seqs)
        confirmed = [event.seq for event in facts.all(LimitConfirmed) if event.seq in seqs]
        assert confirmed == sorted(confirmed)
        held_ma = rig.held_ma("ST1")
        assert held_ma is not None
        assert 16_000 - ROUNDING_MA <= held_ma <= 16_000

    tell(stations_name, story)


def test_a_command_is_taken_at_once_however_the_station_does(stations_name: str) -> None:
    """The control loop itself calls `perform`."""

    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        rig.be("ST1", "silent")
        loop = asyncio.get_running_loop()
        began = loop.time()
        for seq in range(1, 101):
            rig.stations.perform(limit(seq, 6_000))
        assert loop.time() - began < AT_ONCE_S
        await facts.until(lambda: len(answers(facts, *range(1, 101))) >= 100, 2 * AT_LAST_S)

    tell(stations_name, story)


def test_a_limit_that_is_removed_is_answered_once(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        rig.stations.perform(limit(1, 9_000))
        rig.stations.perform(ClearLimit(2, "ST1", 1))
        await answered(facts, 2, AT_LAST_S)
        assert len(answers(facts, 1, 2)) == 2

    tell(stations_name, story)


def test_a_link_that_is_lost_is_told_and_what_was_under_way_is_unanswered(stations_name: str) -> None:
    async def story(rig: StationsRig, facts: Facts) -> None:
        await rig.connect("ST1")
        assert [event.station_id for event in facts.all(StationConnected)] == ["ST1"]
        rig.be("ST1", "silent")
        rig.stations.perform(limit(1, 9_000))
        await rig.disconnect("ST1")
        assert isinstance(await answered(facts, 1, AT_LAST_S), LimitRefused | LimitUnanswered)
        await facts.until(lambda: facts.all(StationDisconnected), AT_LAST_S)
        rig.be("ST1", "accepts")
        await rig.connect("ST1")
        rig.stations.perform(limit(2, 8_000))
        assert await answered(facts, 2, AT_LAST_S) == LimitConfirmed("ST1", 1, 2)
        assert len(answers(facts, 1)) == 1

    tell(stations_name, story)
