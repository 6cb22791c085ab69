"""The port `Meter` over Modbus: one reading per call, or None.

Theory of operation. A reading has one deadline for everything, connecting included, so a meter that is slow, drips
or says nothing delays only itself and, where it shares a line, the next one by that much. Whatever fails drops the
line. The next try waits, up to 5 s, when failures repeat. The only failure that keeps the line is an exception
response: the meter is there and refuses some registers.
"""

from __future__ import annotations

import asyncio
import logging

from pymodbus import ModbusException

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.identify import find_block, is_the_model
from llm_adapters.modbus.line import Lines, RefusedError
from llm_adapters.modbus.models import ModelError
from llm_adapters.modbus.reading import Words, sample
from llm_core import TRANSPORTS, Clock, MeterSampled, MeterSetup

TIMEOUT_S = 1.0
LONGEST_RETRY_MS = 5_000
FIRST_RETRY_MS = 500
log = logging.getLogger(__name__)


class ModbusMeter:
    """A meter over Modbus TCP, over a serial line of our own, or over a gateway that passes RTU frames on.

    Raises `ModelError` when made for a model or a transport that there is not; after that nothing raises.
    `silent_because` is why the last reading was none; `identified` whether the meter said that it is the model
    (None: not asked yet, or it has no way to tell).
    """

    def __init__(
        self,
        setup: MeterSetup,
        clock: Clock,
        *,
        catalogue: Catalogue | None = None,
        lines: Lines | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        if setup.transport not in TRANSPORTS:
            raise ModelError((f"there is no transport “{setup.transport}”; known are {', '.join(TRANSPORTS)}",))
        self._setup = setup
        self._model = (catalogue or Catalogue()).find(setup.model)
        self._blocks = self._model.blocks()
        self._clock = clock
        self._lines = lines or Lines()
        self._line = self._lines.take(setup)
        self._timeout_s = timeout_s + self._line.seconds_for(
            sum(block.count for block in self._blocks), len(self._blocks)
        )
        self._origin: int | None = None  # where the block of a SunSpec meter lies
        self._known_on: int | None = None  # the generation of the line on which the meter was identified
        self._failures = 0
        self._retry_ms: int | None = None
        self._closed = False
        self.silent_because: str | None = None
        self.identified: bool | None = None

    async def read(self) -> MeterSampled | None:
        """One reading no older than the call, within the timeout; None when there is none to believe."""
        if self._retry_ms is not None and self._clock.monotonic_ms() < self._retry_ms:
            return None
        async with self._line.turn():
            taken_ms = self._clock.monotonic_ms()
            try:
                async with asyncio.timeout(self._timeout_s):
                    words = await self._read_all()
            except RefusedError as refusal:
                self._tell(str(refusal))
                return None
            except (TimeoutError, OSError, ModbusException) as error:
                self._give_up(str(error) or "no answer in time")
                return None
            except BaseException:
                self._line.drop()
                raise
        self._failures = 0
        self._retry_ms = None
        self._tell(None)
        return sample(self._model, self._setup, words, taken_ms)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._lines.release(self._setup)

    async def _read_all(self) -> Words:
        """Every planned register that the meter gives, by its address in the model."""
        await self._line.open(self._timeout_s)
        if self._known_on != self._line.generation:
            await self._identify()
            self._known_on = self._line.generation
        words: dict[int, int] = {}
        for block in self._blocks:
            try:
                registers = await self._ask(self._model.function_code, (self._origin or 0) + block.address, block.count)
            except RefusedError:
                if block.needed:
                    raise
                continue
            words.update(zip(range(block.address, block.address + block.count), registers, strict=True))
        return words

    async def _identify(self) -> None:
        """Raises `ConnectionError` when another meter answers: none of its registers can be believed."""
        if self._model.sunspec is not None:
            self._origin = await find_block(self._model.sunspec, self._ask, self._origin)
            self.identified = True
        if self._model.identify is not None:
            self.identified = await is_the_model(self._model, self._model.identify, self._ask)
            if self._model.identify.required and not self.identified:
                raise ConnectionError(f"another meter answers, or one that does not say that it is {self._model.name}")

    async def _ask(self, function_code: int, address: int, count: int) -> list[int]:
        return await self._line.ask(self._setup.unit, function_code, address, count, self._model.pause_ms / 1000)

    def _give_up(self, reason: str) -> None:
        self._line.drop()
        self._failures += 1
        delay_ms = min(LONGEST_RETRY_MS, FIRST_RETRY_MS << min(self._failures, 10))
        self._retry_ms = self._clock.monotonic_ms() + (delay_ms if self._failures > 1 else 0)
        self._tell(reason)

    def _tell(self, silent_because: str | None) -> None:
        """Log a change between answering and silent, not every second of either."""
        setup = self._setup
        place = setup.serial if setup.transport == "rtu" else f"{setup.host}:{setup.port}"
        if silent_because is not None and self.silent_because is None:
            log.warning("Meter %s at %s gives no reading: %s", setup.node, place, silent_because)
        elif silent_because is None and self.silent_because is not None:
            log.info("Meter %s at %s answers again", setup.node, place)
        self.silent_because = silent_because
