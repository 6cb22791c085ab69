"""One owner for each connection and each serial line: several meters on it are asked one after the other.

Theory of operation. `Lines` gives every meter with the same address the same `Line`. A meter takes a `turn`, in which
it alone may ask; nobody waits for the line longer than the deadlines of those before it. Whatever goes wrong closes the
connection: an answer that comes too late can then not be taken for the answer to the next question. Where requests
carry no number (RTU) the line is left quiet for a moment, too, and what still arrives is thrown away with the port.
A closed line is opened by the next question, so nothing tries by itself behind anybody's back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from llm_core import MeterSetup

QUIET_S = 0.3
BUSY = (5, 6)  # acknowledge, server device busy (Modbus application protocol 1.1b3, 7)
BUSY_TRIES = 3
BUSY_PAUSE_S = 0.1
BITS = 11  # of a character on a serial line, at the most
SILENT_CHARACTERS = 3.5  # between two frames
FRAMERS = {"tcp": FramerType.SOCKET, "rtu_over_tcp": FramerType.RTU}
PARITIES = {"none": "N", "even": "E", "odd": "O"}
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # it repeats every second what is told once by us
Client = AsyncModbusTcpClient | AsyncModbusSerialClient


class RefusedError(Exception):
    """The meter answered, and not with what was asked for."""


class Line:
    """A connection or a serial line; `generation` counts how often it was opened."""

    def __init__(self, setup: MeterSetup) -> None:
        self._setup = setup
        self._lock = asyncio.Lock()
        self._client: Client | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done: the connection is gone
        self._free_from_s = 0.0
        self.generation = 0
        self.users = 0

    def seconds_for(self, registers: int, requests: int) -> float:
        """How long the line itself takes to carry so many registers, question and answer."""
        if self._setup.transport != "rtu":
            return 0.0
        characters = 2 * registers + requests * (8 + 5 + 2 * SILENT_CHARACTERS)
        return characters * BITS / self._setup.baud

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The line for oneself."""
        async with self._lock:
            yield

    async def open(self, timeout_s: float) -> None:
        """Open the line unless it is open; raises `ConnectionError`. Within a `turn` only."""
        if self._client is not None and self._client.connected:
            return
        self.drop()
        await self._rest(0)
        lost = self._lost = asyncio.get_running_loop().create_future()
        client = self._client_for(timeout_s, lambda is_up: None if is_up or lost.done() else lost.set_result(None))
        self._client = client
        self.generation += 1
        if not await client.connect():
            self.drop()
            raise ConnectionError("no connection")

    async def ask(self, unit: int, function_code: int, address: int, count: int, pause_s: float = 0.0) -> list[int]:
        """The registers from `address` on, not before `pause_s` have passed since the last answer. Within a `turn`.

        Raises `RefusedError` for an exception response; a busy meter is asked again. What is lost, late or not an
        answer to this question is an `OSError` or a `ModbusException`, and then the caller drops the line.
        """
        for attempt in range(BUSY_TRIES):
            await self._rest(pause_s)
            code = await self._ask(unit, function_code, address, count)
            if isinstance(code, list):
                return code
            if code not in BUSY or attempt + 1 == BUSY_TRIES:
                break
            await asyncio.sleep(BUSY_PAUSE_S)
        raise RefusedError(f"registers {address} to {address + count - 1} are refused with exception {code}")

    async def _ask(self, unit: int, function_code: int, address: int, count: int) -> list[int] | int:
        """The registers, or the code of the exception."""
        client = self._client
        if client is None:
            raise ConnectionError("no connection")
        read = client.read_holding_registers if function_code == 3 else client.read_input_registers
        asking = asyncio.ensure_future(read(address, count=count, device_id=unit))
        try:
            waiting: set[asyncio.Future[Any]] = {asking, self._lost}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()  # does nothing to an answer
        if self._lost.done() and not asking.done():
            raise ConnectionError("the connection was lost")
        response = await asking
        self._free_from_s = asyncio.get_running_loop().time()
        if response.isError():
            return int(response.exception_code)
        if response.function_code != function_code or len(response.registers) != count:
            raise ConnectionError(f"{len(response.registers)} registers came instead of {count}")
        return list(response.registers)

    async def _rest(self, pause_s: float) -> None:
        if self._setup.transport == "rtu":
            pause_s = max(pause_s, SILENT_CHARACTERS * BITS / self._setup.baud)
        await asyncio.sleep(self._free_from_s + pause_s - asyncio.get_running_loop().time())

    def drop(self) -> None:
        """Close the connection; the next question opens it again."""
        if self._client is None:
            return
        self._client.close()
        self._client = None
        if self._setup.transport != "tcp":
            self._free_from_s = asyncio.get_running_loop().time() + QUIET_S

    def _client_for(self, timeout_s: float, told: Callable[[bool], None]) -> Client:
        setup = self._setup
        if setup.transport == "rtu":
            return AsyncModbusSerialClient(
                setup.serial,
                framer=FramerType.RTU,
                baudrate=setup.baud,
                parity=PARITIES[setup.parity],
                stopbits=setup.stop_bits,
                timeout=timeout_s,
                retries=0,
                reconnect_delay=0,
                trace_connect=told,
            )
        return AsyncModbusTcpClient(
            setup.host,
            port=setup.port,
            framer=FRAMERS[setup.transport],
            timeout=timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=told,
        )


class Lines:
    """Every line of this process, each with one owner."""

    def __init__(self) -> None:
        self._lines: dict[object, Line] = {}

    def take(self, setup: MeterSetup) -> Line:
        """The line that this meter hangs on; to be given back by `release`."""
        key = (setup.line, setup.line_speech)
        line = self._lines.setdefault(key, Line(setup))
        line.users += 1
        return line

    def release(self, setup: MeterSetup) -> None:
        """The last one who leaves closes the line."""
        key = (setup.line, setup.line_speech)
        line = self._lines[key]
        line.users -= 1
        if line.users == 0:
            del self._lines[key]
            line.drop()
