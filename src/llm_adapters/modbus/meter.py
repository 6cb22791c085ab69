"""The port `Meter` over Modbus TCP: one reading per call, or None.

Theory of operation. A reading has one deadline for everything, connecting included, so a meter that is slow, drips
or says nothing delays only itself. Whatever fails closes the connection: an answer that comes too late can then
not be taken for the answer to the next question. The next try waits, up to 5 s, when failures repeat. The only
failure that keeps the connection is an exception response: the meter is there and refuses some registers.
"""

from __future__ import annotations

import asyncio
import logging

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusTcpClient

from llm_adapters.modbus.models import Block, Identity, ModelError, find_model
from llm_adapters.modbus.reading import Words, sample
from llm_core import Clock, MeterSampled, MeterSetup

TIMEOUT_S = 1.0
LONGEST_RETRY_MS = 5_000
FRAMERS = {"tcp": FramerType.SOCKET, "rtu-over-tcp": FramerType.RTU}
log = logging.getLogger(__name__)
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # it repeats every second what is told once here


class _Refused(Exception):
    """The meter answered, and not with what was asked for."""


class ModbusMeter:
    """A meter behind Modbus TCP, or Modbus RTU carried over TCP (`transport` "rtu-over-tcp").

    Raises `ModelError` when made for a model or a transport that there is not; after that nothing raises.
    """

    def __init__(self, setup: MeterSetup, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        if setup.transport not in FRAMERS:
            raise ModelError((f"there is no transport “{setup.transport}”; known are {', '.join(FRAMERS)}",))
        self._setup = setup
        self._model = find_model(setup.model)
        self._blocks = self._model.blocks()
        self._clock = clock
        self._timeout_s = timeout_s
        self._client: AsyncModbusTcpClient | None = None
        self._failures = 0
        self._retry_ms: int | None = None
        self._silent_because: str | None = None

    async def read(self) -> MeterSampled | None:
        """One reading no older than the call, within the timeout; None when there is none to believe."""
        taken_ms = self._clock.monotonic_ms()
        if self._retry_ms is not None and taken_ms < self._retry_ms:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                words = await self._read_all()
        except _Refused as refusal:
            self._tell(str(refusal))
            return None
        except (TimeoutError, OSError, ModbusException) as error:
            self._give_up(str(error) or "no answer in time")
            return None
        except BaseException:
            await self.close()
            raise
        self._failures = 0
        self._retry_ms = None
        self._tell(None)
        return sample(self._model, self._setup, words, taken_ms)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _read_all(self) -> Words:
        """Every planned register that the meter gives; a sample without any current is none."""
        client = self._client or await self._connect()
        words: dict[int, int] = {}
        for number, block in enumerate(self._blocks):
            if number:
                await asyncio.sleep(self._model.pause_ms / 1000)
            try:
                registers = await self._ask(client, block)
            except _Refused:
                if number == 0:  # the block with the currents
                    raise
                continue
            words.update(zip(range(block.address, block.address + block.count), registers, strict=True))
        return words

    async def _connect(self) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient(
            self._setup.host,
            port=self._setup.port,
            framer=FRAMERS[self._setup.transport],
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,  # never by itself: it would connect behind our back
        )
        self._client = client
        if not await client.connect():
            raise ConnectionError("no connection")
        if self._model.identify is not None:
            await self._identify(client, self._model.identify)
        return client

    async def _identify(self, client: AsyncModbusTcpClient, identity: Identity) -> None:
        try:
            registers = await self._ask(client, Block(identity.address, identity.type.words))
        except _Refused as refusal:
            raise ConnectionError(f"it does not tell its model: {refusal}") from refusal
        found = self._model.raw(identity.type, tuple(registers))
        if found not in identity.values:
            raise ConnectionError(f"another meter answers: it says {found} in register {identity.address}")

    async def _ask(self, client: AsyncModbusTcpClient, block: Block) -> list[int]:
        read = client.read_holding_registers if self._model.function_code == 3 else client.read_input_registers
        response = await read(block.address, count=block.count, device_id=self._setup.unit)
        if response.isError():
            raise _Refused(f"registers {block.address} to {block.address + block.count - 1} are refused: {response}")
        if len(response.registers) != block.count:
            raise ConnectionError(f"{len(response.registers)} registers came instead of {block.count}")
        return list(response.registers)

    def _give_up(self, reason: str) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._failures += 1
        delay_ms = min(LONGEST_RETRY_MS, 500 << min(self._failures, 10))
        self._retry_ms = self._clock.monotonic_ms() + (delay_ms if self._failures > 1 else 0)
        self._tell(reason)

    def _tell(self, silent_because: str | None) -> None:
        """Log a change between answering and silent, not every second of either."""
        setup = self._setup
        if silent_because is not None and self._silent_because is None:
            log.warning("Meter %s at %s:%d gives no reading: %s", setup.node, setup.host, setup.port, silent_because)
        elif silent_because is None and self._silent_because is not None:
            log.info("Meter %s at %s:%d answers again", setup.node, setup.host, setup.port)
        self._silent_because = silent_because
