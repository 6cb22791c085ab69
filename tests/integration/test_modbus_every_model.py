"""Every meter that comes along, on a real Modbus server that was filled by another hand.

The facts are in `meter_registers.json` (address, type, scale, register of the scale factor), gathered from public
sources and not made from the model files; the encoder here shares nothing with the decoder. Whatever no fact speaks of
holds garbage, so a map that is off by one shows.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from patience import PATIENCE_S, fair_s
from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from llm_adapters.modbus import Catalogue, Lines, ModbusMeter
from llm_core import CurrentTransformer, MeterSampled, MeterSetup

FACTS = json.loads((Path(__file__).parent / "meter_registers.json").read_text("utf-8"))
CATALOGUE = Catalogue(plugins=())
REFUSED = "eastron_sdm72d_m"
GARBAGE = 0x5A5A
LETTERS = {"int": "bhiq", "uint": "BHIQ", "float": "??fd"}
TRUTH = {
    "U_L1": 230,
    "U_L2": 231,
    "U_L3": 229,
    "I_L1": 12,
    "I_L2": 7,
    "I_L3": 3,
    "P_L1": 2_760,
    "P_L2": -1_610,
    "P_L3": 690,
    "P": 1_840,
    "F": 50,
    "I": 22,
    "E_import": 1_234_000,
    "E_export": 56_000,
}
FACTORS = {"I": -2, "U": -1, "F": -2, "P": 1, "E": 1}  # powers of ten, where a meter has its own
IDENTITY = {
    "cg_em340": {11: 341},
    "cg_em540": {11: 1760},
    "socomec_countis_e": {50_000: 0x53, 50_001: 0x4F, 50_002: 0x43, 50_003: 0x4F},
    "shelly_pro_3em": {6 + n: word for n, word in enumerate(struct.unpack("<10H", b"SPEM-003CEBEU".ljust(20, b"\0")))},
}
SUNSPEC = 40_000


def encoded(kind: str, number: Decimal | int, order: str) -> list[int]:
    """The words of a number as a meter lays them out: bits of the type, then its order of words."""
    name, bits = kind.rstrip("0123456789"), int("".join(filter(str.isdigit, kind)))
    letter = LETTERS[name][[8, 16, 32, 64].index(bits)]
    raw = struct.pack(">" + letter, float(number) if name == "float" else int(number))
    words = [raw[at] << 8 | raw[at + 1] for at in range(0, len(raw), 2)]
    return words[::-1] if order == "little" else words


def image(model_id: str, truth: dict[str, int] = TRUTH, base: int = 0) -> dict[int, int]:
    """What stands in the registers of this meter while the truth is the truth."""
    facts, words = FACTS[model_id], dict(IDENTITY.get(model_id, {}))
    for name, (address, kind, scale, factor) in facts["points"].items():
        number = Decimal(truth[name])
        if factor is not None:
            power = FACTORS[name[0]]
            number /= Decimal(10) ** power
            words[base + factor] = power & 0xFFFF
        else:
            number /= Decimal(str(scale))
        words.update(enumerate(encoded(kind, number, facts["word_order"]), base + address))
    return words


def sunspec(model_id: str, base: int = SUNSPEC, length: int | None = None, before: int = 66) -> dict[int, int]:
    """A SunSpec device: the mark, a common block, the meter's block, the end."""
    number = int(model_id.removeprefix("sunspec_"))
    length = length if length is not None else 124 if number == 213 else 105
    block = base + 2 + 2 + before
    words = {base: 0x5375, base + 1: 0x6E53, base + 2: 1, base + 3: before}
    words |= {base + 4 + n: 0x2020 for n in range(before)} | {block + n: GARBAGE for n in range(length + 2)}
    words |= image(model_id, base=block) | {block: number, block + 1: length}
    return words | {block + 2 + length: 0xFFFF, block + 3 + length: 0}


def device_of(model_id: str) -> dict[int, int]:
    return sunspec(model_id) if model_id.startswith("sunspec") else image(model_id)


@attrs.define
class Device:
    """A meter on a server: its registers, and its moods."""

    words: dict[int, int]
    function_code: int = 3
    unit: int = 1
    alone: bool = False  # answers nothing but its own registers
    refuses: set[int] = attrs.field(factory=set)
    busy: int = 0
    delay_s: float = 0.0
    asked: list[tuple[int, int]] = attrs.field(factory=list)
    asked_at: list[float] = attrs.field(factory=list)

    def simulated(self) -> SimDevice:
        memory = [GARBAGE] * min(max(self.words, default=0) + 200, 0x10000)
        return SimDevice(self.unit, [SimData(0, values=memory, datatype=DataType.REGISTERS)], action=self.answer)

    async def answer(
        self, code: int, start: int, address: int, count: int, registers: list[int], _: object
    ) -> ExcCodes | None:
        self.asked.append((address, count))
        self.asked_at.append(time.monotonic())
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.busy:
            self.busy -= 1
            return ExcCodes.DEVICE_BUSY
        if code != self.function_code:
            return ExcCodes.ILLEGAL_FUNCTION
        asked = range(address, address + count)
        if self.refuses & set(asked) or (self.alone and not set(asked) <= set(self.words)):
            return ExcCodes.ILLEGAL_ADDRESS
        for at in asked:
            registers[at - start] = self.words.get(at, GARBAGE)
        return None


@asynccontextmanager
async def served(*devices: Device, framer: FramerType = FramerType.SOCKET) -> AsyncIterator[int]:
    server = ModbusTcpServer([device.simulated() for device in devices], framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


class LoopClock:
    """The loop's own time, and a little more where a test passes by a back-off."""

    ahead_ms = 0

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000) + self.ahead_ms

    def utc(self) -> Any:
        raise AssertionError("a meter has no business with the date")


async def once(setup: MeterSetup) -> MeterSampled | None:
    meter = ModbusMeter(setup, LoopClock(), catalogue=CATALOGUE)
    try:
        return await meter.read()
    finally:
        await meter.close()


def run(scenario: Callable[[], Coroutine[Any, Any, None]], seconds: float = 60) -> None:
    asyncio.run(asyncio.wait_for(scenario(), seconds))


def tcp(model_id: str, port: int, **changes: Any) -> MeterSetup:
    return MeterSetup("site", model_id, "127.0.0.1", port, **changes)


def check(model_id: str, sample: MeterSampled | None) -> None:
    """The sample tells the truth, as far as this meter knows it."""
    assert sample is not None
    points = FACTS[model_id]["points"]
    signed = {f"I_L{n}": -1 if TRUTH[f"P_L{n}"] < 0 and f"P_L{n}" in points else 1 for n in (1, 2, 3)}
    expected = [TRUTH[name] * 1_000 * sign if name in points else None for name, sign in signed.items()]
    assert list(sample.current_ma) == expected
    assert list(sample.voltage_mv) == [TRUTH[f"U_L{n}"] * 1_000 if f"U_L{n}" in points else None for n in (1, 2, 3)]
    more = int(model_id == "schneider_iem3000")  # 1.84 kW is a little more as a float32
    assert sample.power_w == (TRUTH["P"] + more if "P" in points else None)
    assert sample.energy_import_wh == (TRUTH["E_import"] if "E_import" in points else None)
    assert sample.energy_export_wh == (TRUTH["E_export"] if "E_export" in points else None)
    assert sample.frequency_mhz in (50_000, None)


def test_the_facts_speak_of_every_model_and_of_no_other() -> None:
    assert set(CATALOGUE) == set(FACTS) - {REFUSED}
    assert "phases" in (CATALOGUE.why_not(REFUSED) or "")


@pytest.mark.parametrize("model_id", CATALOGUE)
def test_every_model_reads_back_right_and_no_read_cuts_a_value(model_id: str) -> None:
    async def scenario() -> None:
        device = Device(device_of(model_id), FACTS[model_id]["function_code"])
        async with served(device) as port:
            check(model_id, await once(tcp(model_id, port)))
        base = SUNSPEC + 70 if model_id.startswith("sunspec") else 0
        spans = [
            range(base + address, base + address + int("".join(filter(str.isdigit, kind))) // 16)
            for address, kind, _, _ in FACTS[model_id]["points"].values()
        ]
        for address, count in device.asked:
            assert count <= max(CATALOGUE.find(model_id).max_registers, 10)
            if count <= 2 or (model_id.startswith("shelly") and address == 6):
                continue  # who it is
            read = set(range(address, address + count))
            assert all(read.isdisjoint(span) or read >= set(span) for span in spans), (address, count)

    run(scenario)


@pytest.mark.parametrize(
    ("model_id", "point", "words"),
    [
        ("cg_em340", "I_L2", [0x0000, 0x7FFF]),
        ("cg_em24_rs485", "I_L2", [0x1234, 0x7FFF]),
        ("cg_em540", "I_L2", [0xFFFF, 0x7FFF]),
        ("abb_b23", "I_L2", [0xFFFF, 0xFFFF]),
        ("eastron_sdm630", "I_L2", [0x7FC0, 0x0000]),
        ("janitza_umg604", "I_L2", [0x7F80, 0x0000]),
        ("siemens_pac2200", "I_L2", [0xFFC0, 0x0001]),
        ("shelly_pro_3em", "I_L2", [0x0000, 0x7FC0]),
        ("sunspec_203", "I_L2", [0x8000]),
        ("sunspec_213", "I_L2", [0x7FC0, 0x0000]),
    ],
)
def test_not_a_value_is_none_on_that_phase_alone(model_id: str, point: str, words: list[int]) -> None:
    async def scenario() -> None:
        device = Device(device_of(model_id), FACTS[model_id]["function_code"])
        base = SUNSPEC + 70 if model_id.startswith("sunspec") else 0
        device.words.update(enumerate(words, base + FACTS[model_id]["points"][point][0]))
        async with served(device) as port:
            sample = await once(tcp(model_id, port))
        assert sample is not None
        assert [ma is None for ma in sample.current_ma] == [False, True, False]

    run(scenario)


def test_a_sunspec_scale_factor_that_is_not_implemented_leaves_no_current() -> None:
    async def scenario() -> None:
        device = Device(sunspec("sunspec_203"))
        device.words[SUNSPEC + 70 + 6] = 0x8000
        async with served(device) as port:
            sample = await once(tcp("sunspec_203", port))
        assert sample is not None
        assert sample.current_ma == (None, None, None)
        assert sample.voltage_mv[0] == 230_000

    run(scenario)


@pytest.mark.parametrize("base", [0, 50_000])
def test_a_sunspec_meter_is_found_wherever_its_blocks_begin(base: int) -> None:
    async def scenario() -> None:
        device = Device(sunspec("sunspec_203", base), alone=True)
        async with served(device) as port:
            check("sunspec_203", await once(tcp("sunspec_203", port)))

    run(scenario)


@pytest.mark.parametrize(
    "words",
    [
        {},
        sunspec("sunspec_201"),
        sunspec("sunspec_203", length=100),
        {40_000: 0x5375, 40_001: 0x6E53, 40_002: 7, 40_003: 0xFFFE},
    ],
    ids=["no SunSpec", "another model", "another length", "a walk out of the registers"],
)
def test_a_sunspec_meter_without_the_model_is_another_meter(words: dict[int, int]) -> None:
    async def scenario() -> None:
        async with served(Device(dict(words))) as port:
            meter = ModbusMeter(tcp("sunspec_203", port), LoopClock(), catalogue=CATALOGUE)
            assert await meter.read() is None
            assert "SunSpec" in (meter.silent_because or "")
            await meter.close()

    run(scenario)


def test_a_sunspec_meter_is_walked_once_and_after_a_new_connection_only_looked_at() -> None:
    async def scenario() -> None:
        device, lines = Device(sunspec("sunspec_203")), Lines()
        async with served(device) as port:
            setup = tcp("sunspec_203", port)
            meter = ModbusMeter(setup, LoopClock(), catalogue=CATALOGUE, lines=lines)
            await meter.read()
            walked = len(device.asked)
            line = lines.take(setup)
            line.drop()
            lines.release(setup)
            check("sunspec_203", await meter.read())
            assert len(device.asked) == walked + 2 < 2 * walked
            await meter.close()

    run(scenario)


@pytest.mark.parametrize(("model_id", "register"), [("cg_em340", 11), ("socomec_countis_e", 50_002)])
def test_a_meter_that_says_it_is_another_is_not_believed(model_id: str, register: int) -> None:
    async def scenario() -> None:
        device = Device(device_of(model_id), FACTS[model_id]["function_code"])
        device.words[register] += 1
        async with served(device) as port:
            assert await once(tcp(model_id, port)) is None

    run(scenario)


def test_a_name_that_nobody_knows_for_sure_is_told_and_refuses_nothing() -> None:
    async def scenario() -> None:
        for texts, identified in ((b"SPEM-003CEBEU", True), (b"S3EM-002CXCEU63", False)):
            for order in (">", "<"):
                device = Device(device_of("shelly_pro_3em"), 4)
                device.words.update(enumerate(struct.unpack(f"{order}10H", texts.ljust(20, b"\0")), 6))
                async with served(device) as port:
                    meter = ModbusMeter(tcp("shelly_pro_3em", port), LoopClock(), catalogue=CATALOGUE)
                    check("shelly_pro_3em", await meter.read())
                    assert meter.identified is identified
                    await meter.close()

    run(scenario)


def test_a_busy_meter_is_asked_again_and_one_that_stays_busy_is_silent() -> None:
    async def scenario() -> None:
        device = Device(device_of("abb_b23"))
        async with served(device) as port:
            device.busy = 2
            check("abb_b23", await once(tcp("abb_b23", port)))
            device.busy = 100
            assert await once(tcp("abb_b23", port)) is None

    run(scenario)


def test_two_requests_keep_the_time_between_them_that_the_meter_needs() -> None:
    async def scenario() -> None:
        device = Device(device_of("eastron_sdm630"), 4)
        async with served(device) as port:
            await once(tcp("eastron_sdm630", port))
        pauses = [after - before for before, after in zip(device.asked_at, device.asked_at[1:], strict=False)]
        assert len(pauses) >= 2
        assert min(pauses) >= 0.05

    run(scenario)


def test_a_large_meter_over_transformers_is_multiplied_by_us_where_it_does_not_know_them() -> None:
    async def scenario() -> None:
        device = Device(device_of("eastron_sdm630"), 4)
        async with served(device) as port:
            setup = tcp("eastron_sdm630", port, ct=CurrentTransformer(600, 5, "manager"), invert=True)
            sample = await once(setup)
        assert sample is not None
        assert sample.current_ma == (-1_440_000, 840_000, -360_000)
        assert sample.power_w == -1_840 * 120
        assert (sample.energy_import_wh, sample.energy_export_wh) == (56_000 * 120, 1_234_000 * 120)

    run(scenario)


# Several meters on one line


def test_meters_on_one_gateway_are_asked_one_after_the_other_and_a_mute_one_takes_no_other_with_it() -> None:
    async def scenario() -> None:
        first, second = Device(device_of("abb_b23"), unit=1), Device(device_of("cg_em340"), 4, unit=2)
        async with served(first, second) as port:
            clock, lines = LoopClock(), Lines()
            setups = [tcp("abb_b23", port), tcp("cg_em340", port, unit=2), tcp("abb_b23", port, unit=3)]
            meters = [ModbusMeter(setup, clock, catalogue=CATALOGUE, lines=lines, timeout_s=0.4) for setup in setups]
            for turn in range(3):
                samples = await asyncio.gather(*(meter.read() for meter in meters))
                check("abb_b23", samples[0])
                check("cg_em340", samples[1])
                assert samples[2] is None, turn
            for meter in meters:
                await meter.close()

    run(scenario)


def test_rtu_frames_over_tcp() -> None:
    async def scenario() -> None:
        device = Device(device_of("eastron_sdm630"), 4, unit=17)
        async with served(device, framer=FramerType.RTU) as port:
            check("eastron_sdm630", await once(tcp("eastron_sdm630", port, unit=17, transport="rtu_over_tcp")))

    run(scenario)


@contextmanager
def wire() -> Any:
    """A serial line: what is written at one end is read at the other (two pseudo terminals and a thread of `cat`s)."""
    ends = [os.openpty() for _ in range(2)]
    for end in ends:
        for descriptor in end:
            tty.setraw(descriptor, termios.TCSANOW)
    carry = (
        "import os,select,sys\n"
        "a,b=map(int,sys.argv[1:])\n"
        "while True:\n"
        "    for f in select.select([a,b],[],[])[0]:\n"
        "        os.write(b if f==a else a, os.read(f,4096))\n"
    )
    masters = [end[0] for end in ends]
    process = subprocess.Popen([sys.executable, "-c", carry, *map(str, masters)], pass_fds=masters)
    try:
        yield tuple(os.ttyname(end[1]) for end in ends)
    finally:
        process.kill()
        process.wait()
        for end in ends:
            for descriptor in end:
                os.close(descriptor)


@asynccontextmanager
async def on_a_serial_line(*devices: Device) -> AsyncIterator[str]:
    with wire() as (ours, theirs):
        server = ModbusSerialServer(
            [device.simulated() for device in devices], framer=FramerType.RTU, port=theirs, baudrate=19_200
        )
        await server.serve_forever(background=True)
        try:
            yield ours
        finally:
            await server.shutdown()


def serial(model_id: str, line: str, unit: int = 1) -> MeterSetup:
    return MeterSetup("site", model_id, transport="rtu", serial=line, baud=19_200, parity="none", unit=unit)


@pytest.mark.parametrize("model_id", ["eastron_sdm630", "cg_em340", "hager_ecr380d", "sunspec_203"])
def test_a_meter_on_a_serial_line(model_id: str) -> None:
    async def scenario() -> None:
        async with on_a_serial_line(Device(device_of(model_id), FACTS[model_id]["function_code"])) as line:
            check(model_id, await once(serial(model_id, line)))

    run(scenario)


def test_several_meters_share_a_serial_line_and_one_that_is_silent_delays_the_others_by_its_own_time_only() -> None:
    async def scenario() -> None:
        devices = Device(device_of("eastron_sdm630"), 4, 1), Device(device_of("cg_em340"), 4, 2)
        async with on_a_serial_line(*devices) as line:
            clock, lines = LoopClock(), Lines()
            setups = [serial("eastron_sdm630", line), serial("cg_em340", line, 2), serial("abb_b23", line, 9)]
            meters = [ModbusMeter(setup, clock, catalogue=CATALOGUE, lines=lines) for setup in setups]
            for _ in range(3):
                samples = await asyncio.gather(*(meter.read() for meter in meters))
                check("eastron_sdm630", samples[0])
                check("cg_em340", samples[1])
                assert samples[2] is None
            for meter in meters:
                await meter.close()

    run(scenario)


def test_a_serial_line_that_is_pulled_out_and_put_back_is_read_again() -> None:
    async def scenario() -> None:
        device, clock = Device(device_of("eastron_sdm630"), 4), LoopClock()
        async with on_a_serial_line(device) as line:
            meter = ModbusMeter(serial("eastron_sdm630", line), clock, catalogue=CATALOGUE)
            check("eastron_sdm630", await meter.read())
        assert await meter.read() is None
        assert await meter.read() is None
        await meter.close()

    run(scenario)


# A connection that drops


async def settled(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is closed is gone some turns of the loop later
            await asyncio.sleep(0.01)


def test_a_socket_that_drops_a_hundred_times_neither_leaks_nor_blocks() -> None:
    async def scenario() -> None:
        writers: set[asyncio.StreamWriter] = set()
        drops = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal drops
            writers.add(writer)
            await reader.read(1)  # the first byte of a question, then nothing more
            drops += 1
            writer.close()
            writers.discard(writer)

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port, clock = server.sockets[0].getsockname()[1], LoopClock()
        meter = ModbusMeter(tcp("eastron_sdm630", port), clock, catalogue=CATALOGUE)
        late_s = 0.0

        async def beat() -> None:
            nonlocal late_s
            while True:
                before_s = fair_s()
                await asyncio.sleep(0.01)
                late_s = max(late_s, fair_s() - before_s - 0.01)

        await meter.read()
        await settled(lambda: not writers)
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        ticking = asyncio.ensure_future(beat())
        while drops < 101:
            assert await meter.read() is None
            clock.ahead_ms += 5_000
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await settled(lambda: len(asyncio.all_tasks()) <= tasks and len(os.listdir("/proc/self/fd")) <= files)
        assert late_s < 0.25
        await meter.close()
        server.close()

    run(scenario)
