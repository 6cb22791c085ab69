"""A T3 that measures what the conformance tests tell it: `pytest --pyargs llm_adapters.conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from acme_meter import AcmeMeter
from llm_core import SITE, Clock, MeterSetup


class Rig:
    signed, step_ma = True, 1

    def __init__(self) -> None:
        self._line = "0 0 0"
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.meter: AcmeMeter

    async def show(self, amps: tuple[float, float, float]) -> None:
        self._line = " ".join(f"{value:.3f}" for value in amps)

    async def fall_silent(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def answer_again(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def start(self, clock: Clock) -> None:
        await self.answer_again()
        self.meter = AcmeMeter(MeterSetup(SITE, "acme_t3", "127.0.0.1", port=self._port), clock)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while await reader.readline():
            writer.write(f"{self._line}\n".encode())


class Bench:
    kind = "meter"

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncIterator[Rig]:
        rig = Rig()
        await rig.start(clock)
        try:
            yield rig
        finally:
            await rig.meter.close()
            await rig.fall_silent()
