"""The controller of a simulation as one computer: its process can die at any instant and start again.

Who dies forgets all but what its store has kept, and every link breaks; while nobody is there, nobody is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual.links import End
from llm_app.controller import Controller
from llm_app.virtual_store import VirtualStore
from llm_core import Answer, Clock, Now, Request, Save, recover

ASKS_AGAIN_S = 5.0


class VirtualController:
    """`controller` is the one that runs, or the one that ran last; `back` is told of each new one."""

    def __init__(self, store: VirtualStore, clock: Clock, back: Callable[[Controller], None]) -> None:
        self._store = store
        self._back = back
        self._clock = clock
        self._killed = asyncio.Event()
        self._runs = asyncio.Event()
        self._back_after_s = 0.0
        self._links: dict[asyncio.Task[str], End] = {}
        self.controller = self._started()

    def _started(self) -> Controller:
        now = Now(self._clock.monotonic_ms(), self._clock.utc())
        state, effects = recover(self._store.stored(), now, factory=False)
        self._store.keep(effect.record for effect in effects if isinstance(effect, Save))
        controller = Controller(state, self._clock, self._store)
        self._stations = StationServer(controller, self._clock)
        controller.command_with(self._stations.perform)
        return controller

    async def run(self) -> None:
        """Run for ever, whatever dies in between; an exception of the core ends it."""
        while True:
            self._killed.clear()
            self._runs.set()
            running = asyncio.create_task(self.controller.run())
            death = asyncio.create_task(self._killed.wait())
            done, pending = await asyncio.wait((running, death), return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                running.result()
            self._runs.clear()
            for end in self._links.values():
                end.abort()
            await _ended(*pending, *self._links)
            await asyncio.sleep(self._back_after_s)
            self.controller = self._started()
            self._back(self.controller)

    def die(self, back_after_s: float) -> None:
        """The power of the controller fails now, for so long."""
        self._back_after_s = back_after_s
        self._killed.set()

    @property
    def runs(self) -> bool:
        return self._runs.is_set()

    def serve(self, end: End, station_id: str) -> None:
        """A station has connected. Raises ConnectionRefusedError while nobody is there."""
        if not self.runs:
            raise ConnectionRefusedError("the controller is down")
        task = asyncio.create_task(self._stations.attach(end, station_id, "127.0.0.1", f"/ocpp/{station_id}"))
        self._links[task] = end
        task.add_done_callback(lambda done: self._links.pop(done, None))

    async def ask(self, question: Callable[[], Request]) -> Answer:
        """Ask as a patient person would: when it is there, and again when it died over the answer."""
        while True:
            await self._runs.wait()
            try:
                async with asyncio.timeout(ASKS_AGAIN_S):
                    return await self.controller.ask(question())
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Break off every conversation."""
        await _ended(*self._links)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
