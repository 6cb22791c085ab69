"""A meter on a real socket: what it says arrives, and whatever it does to us stays its own problem."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from patience import PATIENCE_S, fair_s
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from llm_adapters.modbus import ModbusMeter, ModelError, poll
from llm_adapters.virtual import clockwork
from llm_core import MeterSampled, MeterSetup

TIMEOUT_S, SLACK_S = 0.3, 0.25  # for a meter that says nothing, which is waited for


class LoopClock:
    """The loop's own time; `ahead_ms` lets a test pass by a back-off without waiting for it."""

    ahead_ms = 0

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000) + self.ahead_ms

    def utc(self) -> Any:
        raise AssertionError("a meter has no business with the date")


class Device:
    """A simulated SDM630: floats put into its input registers by our own encoder, and its moods."""

    def __init__(self) -> None:
        self.words = [0] * 80
        self.delay_s = 0.0
        self.refused: set[int] = set()
        self.answered = asyncio.Event()
        for phase in range(3):
            self.put(6 + 2 * phase, 10.0 + phase)
            self.put(12 + 2 * phase, 2_300.0)

    def put(self, address: int, number: float) -> None:
        self.words[address : address + 2] = struct.unpack(">HH", struct.pack(">f", number))

    async def answer(self, _fc: int, start: int, address: int, _n: int, regs: list[int], _v: object) -> ExcCodes | None:
        await asyncio.sleep(self.delay_s)
        self.answered.set()
        regs[: len(self.words)] = self.words[start:]
        return ExcCodes.ILLEGAL_ADDRESS if address in self.refused else None


@asynccontextmanager
async def served(device: Device, port: int = 0) -> AsyncIterator[int]:
    registers = SimData(0, values=device.words, datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, [registers], action=device.answer), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


@asynccontextmanager
async def metered(
    port: int, *, model: str = "eastron_sdm630", clock: LoopClock | None = None, timeout_s: float = PATIENCE_S
) -> AsyncIterator[ModbusMeter]:
    setup = MeterSetup("site", model, "127.0.0.1", port=port)
    meter = ModbusMeter(setup, clock or LoopClock(), timeout_s=timeout_s)
    try:
        yield meter
    finally:
        await meter.close()


@asynccontextmanager
async def raw_server(behave: Callable[[bytes], AsyncIterator[bytes]]) -> AsyncIterator[int]:
    """A server that answers each request frame with whatever bytes `behave` yields."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.read(260):
                async for piece in behave(request):
                    writer.write(piece)
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            return  # the meter under test hung up, or the test is over
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(converse(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def answer_to(request: bytes, words: list[int]) -> bytes:
    """The response frame, built by hand: MBAP header, function code, byte count, registers."""
    transaction, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", request)
    data = struct.pack(f">{count}H", *words[start : start + count])
    return struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 3 * PATIENCE_S))


async def timed(awaitable: Awaitable[MeterSampled | None]) -> tuple[MeterSampled | None, float]:
    began_s = fair_s()
    return await awaitable, fair_s() - began_s


def test_currents_arrive_with_the_sign_of_their_power() -> None:
    async def scenario() -> None:
        device = Device()
        device.put(14, -2_500.0)
        async with served(device) as port, metered(port) as meter:
            before_ms = LoopClock().monotonic_ms()
            sample = await meter.read()
            after_ms = LoopClock().monotonic_ms()
        assert sample is not None
        assert sample.current_ma == (10_000, -11_000, 12_000)
        assert before_ms <= sample.taken_ms <= after_ms

    run(scenario)


def test_a_phase_that_is_not_a_number_is_missing_alone() -> None:
    async def scenario() -> None:
        device = Device()
        device.put(8, math.nan)
        async with served(device) as port, metered(port) as meter:
            sample = await meter.read()
        assert sample is not None
        assert sample.current_ma == (10_000, None, 12_000)

    run(scenario)


def test_a_frozen_meter_repeats_its_fingerprint_and_a_living_one_does_not() -> None:
    async def scenario() -> None:
        device = Device()
        async with served(device) as port, metered(port) as meter:
            first, second = await meter.read(), await meter.read()
            device.put(72, 0.5)
            third = await meter.read()
        assert first is not None
        assert second is not None
        assert third is not None
        assert first.fingerprint == second.fingerprint != third.fingerprint

    run(scenario)


def test_refused_currents_are_silence_and_refused_energy_is_only_missing() -> None:
    async def scenario() -> None:
        device = Device()
        async with served(device) as port, metered(port) as meter:
            device.refused = {72}
            sample = await meter.read()
            assert sample is not None
            assert (sample.current_ma[0], sample.energy_import_wh) == (10_000, None)
            device.refused = {0}
            assert await meter.read() is None
            device.refused = set()
            assert await meter.read() is not None

    run(scenario)


def test_a_slow_meter_never_blocks_longer_than_the_timeout() -> None:
    async def scenario() -> None:
        device = Device()
        device.delay_s = TIMEOUT_S * 0.6  # each of its three answers in time, all of them not
        async with served(device) as port, metered(port, timeout_s=TIMEOUT_S) as meter:
            sample, took_s = await timed(meter.read())
        assert sample is None
        assert took_s < TIMEOUT_S + SLACK_S

    run(scenario)


async def silent(_request: bytes) -> AsyncIterator[bytes]:
    if not _request:
        yield b""


async def dripping(request: bytes) -> AsyncIterator[bytes]:
    for byte in answer_to(request, Device().words):
        yield bytes([byte])
        await asyncio.sleep(0.03)


async def half(request: bytes) -> AsyncIterator[bytes]:
    yield answer_to(request, Device().words)[:-3]


async def garbage(_request: bytes) -> AsyncIterator[bytes]:
    yield b"\xff" * 300


async def too_short(request: bytes) -> AsyncIterator[bytes]:
    """A whole frame, with one register less than was asked for."""
    *head, count = struct.unpack(">HHHBBHH", request)
    yield answer_to(struct.pack(">HHHBBHH", *head, count - 1), Device().words)


async def of_somebody_else(request: bytes) -> AsyncIterator[bytes]:
    """The answer to the question before: another transaction."""
    frame = answer_to(request, Device().words)
    yield struct.pack(">H", struct.unpack(">H", frame[:2])[0] + 7) + frame[2:]


@pytest.mark.parametrize("behave", [silent, dripping, half, garbage, too_short, of_somebody_else])
def test_an_answer_that_is_none_is_silence_within_the_timeout(behave: Callable[[bytes], AsyncIterator[bytes]]) -> None:
    async def scenario() -> None:
        async with raw_server(behave) as port, metered(port, timeout_s=TIMEOUT_S) as meter:
            sample, took_s = await timed(meter.read())
        assert sample is None
        assert took_s < TIMEOUT_S + SLACK_S

    run(scenario)


def test_an_answer_in_small_pieces_is_an_answer() -> None:
    async def scenario() -> None:
        async def pieces(request: bytes) -> AsyncIterator[bytes]:
            frame = answer_to(request, Device().words)
            for at in range(0, len(frame), 5):
                yield frame[at : at + 5]
                await asyncio.sleep(0.001)

        async with raw_server(pieces) as port, metered(port) as meter:
            sample = await meter.read()
        assert sample is not None
        assert sample.current_ma == (10_000, 11_000, 12_000)

    run(scenario)


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    """The first request is answered after the meter was given up; what is read next is what holds then."""

    async def scenario() -> None:
        device, clock = Device(), LoopClock()
        device.delay_s = TIMEOUT_S * 1.2
        async with served(device) as port, metered(port, clock=clock, timeout_s=TIMEOUT_S) as meter:
            assert await meter.read() is None
            device.delay_s = 0
            for phase in range(3):
                device.put(6 + 2 * phase, 30.0)
            await device.answered.wait()
            clock.ahead_ms += 5_000
            sample = await meter.read()
        assert sample is not None
        assert sample.current_ma == (30_000, 30_000, 30_000)

    run(scenario)


def test_a_meter_that_comes_back_is_read_again_within_five_seconds() -> None:
    async def scenario() -> None:
        device, clock = Device(), LoopClock()
        async with served(device) as port:
            pass
        async with metered(port, clock=clock) as meter:
            for _ in range(30):  # half a minute of nobody there
                assert await meter.read() is None
                clock.ahead_ms += 1_000
            async with served(device, port):
                clock.ahead_ms += 5_000
                assert await meter.read() is not None

    run(scenario)


def test_a_connection_lost_between_two_readings_is_made_again_at_once() -> None:
    async def scenario() -> None:
        device = Device()
        async with served(device) as port:
            meter = ModbusMeter(MeterSetup("site", "eastron_sdm630", "127.0.0.1", port=port), LoopClock())
            assert await meter.read() is not None
        try:
            async with served(device, port):
                readings = [await meter.read() for _ in range(2)]
            assert readings[-1] is not None
        finally:
            await meter.close()

    run(scenario)


def test_silence_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        device, clock = Device(), LoopClock()
        async with served(device) as port, metered(port, clock=clock) as meter:
            device.refused = {0}
            for _ in range(5):
                await meter.read()
            device.refused = set()
            for _ in range(5):
                await meter.read()

    with caplog.at_level(logging.INFO):
        run(scenario)
    told = [record.message for record in caplog.records if record.name.startswith("llm_adapters")]
    assert len(told) == 2
    assert "refused" in told[0]
    assert "again" in told[1]


def test_another_meter_than_the_configured_one_is_not_believed() -> None:
    async def scenario() -> None:
        device = Device()
        async with served(device) as port:
            device.words[11] = 340  # the sample with its words the other way round
            async with metered(port, model="cg_em340") as meter:
                assert await meter.read() is None
            device.words[11] = 341
            async with metered(port, model="cg_em340") as meter:
                assert await meter.read() is not None

    run(scenario)


def test_an_unknown_transport_is_refused_when_it_is_set_up() -> None:
    with pytest.raises(ModelError, match="serial"):
        ModbusMeter(MeterSetup("site", "eastron_sdm630", "x", transport="serial"), LoopClock())


class ScriptedMeter:
    """A meter of somebody else: takes its time, and may raise although it must not."""

    def __init__(self, *turns: float | Exception) -> None:
        self.turns = list(turns)
        self.asked_at: list[float] = []

    async def read(self) -> MeterSampled | None:
        self.asked_at.append(asyncio.get_running_loop().time())
        turn = self.turns.pop(0) if self.turns else 0.0
        if isinstance(turn, Exception):
            raise turn
        await asyncio.sleep(turn)
        return MeterSampled("site", (1, 2, 3), 0, 0)

    async def close(self) -> None:
        self.turns = []


def test_polling_keeps_its_pace_and_skips_the_turns_that_a_slow_meter_missed() -> None:
    async def scenario() -> None:
        meter = ScriptedMeter(0.05, 0.25, 0.05)
        posted: list[MeterSampled] = []
        task = asyncio.ensure_future(poll(meter, 0.1, posted.append))
        await asyncio.sleep(0.75)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [round(at - meter.asked_at[0], 6) for at in meter.asked_at] == [0.0, 0.1, 0.4, 0.5, 0.6, 0.7]
        assert len(posted) == 6

    clockwork.run(scenario())


def test_polling_survives_a_meter_that_raises_and_tells_it_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        meter = ScriptedMeter(ValueError("vendor"), OSError("vendor"), RuntimeError("vendor"))
        posted: asyncio.Queue[MeterSampled] = asyncio.Queue()
        task = asyncio.ensure_future(poll(meter, 0.01, posted.put_nowait))
        await asyncio.wait_for(posted.get(), PATIENCE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
    assert sum("raised" in record.message for record in caplog.records) == 1
