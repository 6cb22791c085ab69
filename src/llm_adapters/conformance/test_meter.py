"""A meter: whole milliamps that never flatter, silence instead of exceptions, and a device that may come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from llm_adapters.conformance.benches import MeterBench, MeterRig, WallClock, bench
from llm_core import SITE, MeterSampled

LONGEST_READ_S = 5.0
SILENT_WITHIN_S = 10.0
BACK_WITHIN_S = 30.0
PAUSE_S = 0.2
Amps = tuple[float, float, float]
Story = Callable[[MeterRig, WallClock], Awaitable[None]]


def tell(meter_name: str, story: Story) -> None:
    async def whole() -> None:
        clock, made = WallClock(), bench(meter_name)
        subject: MeterBench = made
        async with subject.open(clock) as rig:
            await story(rig, clock)

    asyncio.run(whole())


async def reading(rig: MeterRig) -> MeterSampled | None:
    async with asyncio.timeout(LONGEST_READ_S):
        return await rig.meter.read()


async def reading_where(rig: MeterRig, holds: Callable[[MeterSampled], bool], within_s: float) -> MeterSampled:
    """A meter that reads ahead may give an older reading first."""
    last: MeterSampled | None = None
    end = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < end:
        last = await reading(rig)
        if last is not None and holds(last):
            return last
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"no such reading within {within_s} s; the last was {last}")


def tells(amps: Amps, step_ma: int) -> Callable[[MeterSampled], bool]:
    """Rounded up and no further than the meter is coarse; 1 mA for what a float cannot hold."""

    def holds(sample: MeterSampled) -> bool:
        shown = [round(value * 1000) for value in amps]
        return all(
            told is not None and is_ma <= told <= is_ma + step_ma + 1
            for told, is_ma in zip(sample.current_ma, shown, strict=True)
        )

    return holds


@pytest.mark.parametrize("amps", [(10.0, 5.5, 0.0), (0.25, 31.75, 16.0)])
def test_a_reading_is_what_the_device_measures_phase_by_phase_and_never_less(meter_name: str, amps: Amps) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.show(amps)
        sample = await reading_where(rig, tells(amps, rig.step_ma), LONGEST_READ_S)
        assert sample.node == SITE

    tell(meter_name, story)


def test_feed_in_is_below_nought_or_counts_as_a_load_and_is_never_made_larger(meter_name: str) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.show((-8.0, 4.0, -8.0))
        expected = (-8.0, 4.0, -8.0) if rig.signed else (8.0, 4.0, 8.0)
        await reading_where(rig, tells(expected, rig.step_ma), LONGEST_READ_S)

    tell(meter_name, story)


def test_currents_are_whole_milliamps(meter_name: str) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.show((1.0, 2.0, 3.0))
        sample = await reading_where(rig, lambda _: True, LONGEST_READ_S)
        assert all(value is None or type(value) is int for value in sample.current_ma)
        assert type(sample.taken_ms) is int

    tell(meter_name, story)


def test_a_reading_is_as_old_as_the_question_and_never_from_the_future(meter_name: str) -> None:
    """The core reckons the age of a reading from `taken_ms`: too late an instant would hide a silent meter."""

    async def story(rig: MeterRig, clock: WallClock) -> None:
        begun_ms, taken = clock.monotonic_ms(), list[int]()
        while len(taken) < 3:
            sample = await reading_where(rig, lambda _: True, LONGEST_READ_S)
            assert begun_ms - LONGEST_READ_S * 1000 <= sample.taken_ms <= clock.monotonic_ms()
            taken.append(sample.taken_ms)
        assert taken == sorted(taken)

    tell(meter_name, story)


def test_the_fingerprint_changes_with_what_is_measured(meter_name: str) -> None:
    """A meter whose fingerprint stands still is taken for frozen."""

    async def story(rig: MeterRig, _: WallClock) -> None:
        seen = set()
        for amps in (11.0, 12.0, 13.0):
            await rig.show((amps, amps, amps))
            sample = await reading_where(rig, tells((amps, amps, amps), rig.step_ma), LONGEST_READ_S)
            seen.add(sample.fingerprint)
        assert len(seen) == 3

    tell(meter_name, story)


def test_a_device_that_falls_silent_is_silence_and_it_is_read_again_when_it_answers(meter_name: str) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.show((7.0, 7.0, 7.0))
        await reading_where(rig, tells((7.0, 7.0, 7.0), rig.step_ma), LONGEST_READ_S)
        await rig.fall_silent()
        end = asyncio.get_running_loop().time() + SILENT_WITHIN_S
        while await reading(rig) is not None:
            assert asyncio.get_running_loop().time() < end, f"not silent within {SILENT_WITHIN_S} s"
            await asyncio.sleep(PAUSE_S)
        await rig.answer_again()
        await rig.show((8.0, 8.0, 8.0))
        await reading_where(rig, tells((8.0, 8.0, 8.0), rig.step_ma), BACK_WITHIN_S)

    tell(meter_name, story)


def test_a_reading_that_is_given_up_spoils_none_that_follow(meter_name: str) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.show((9.0, 9.0, 9.0))
        for _try in range(3):
            given_up = asyncio.create_task(rig.meter.read())
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
        await reading_where(rig, tells((9.0, 9.0, 9.0), rig.step_ma), BACK_WITHIN_S)

    tell(meter_name, story)


def test_a_meter_may_be_closed_twice(meter_name: str) -> None:
    async def story(rig: MeterRig, _: WallClock) -> None:
        await rig.meter.close()
        await rig.meter.close()

    tell(meter_name, story)
