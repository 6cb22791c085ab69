"""The real core behind real sockets, without a disk: every fact is a step at once, every command goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
from patience import PATIENCE_S

from llm_core import (
    Answer,
    AskReading,
    ClearLimit,
    Clock,
    Event,
    InviteBoot,
    Now,
    Reply,
    Request,
    SetLimit,
    State,
    StationCommand,
    StopRemotely,
    Tick,
    step,
)


class CoreInbox:
    """An `Inbox` with the core in it. `tick` is for the test to call; `perform` is where commands go."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.state = state
        self.perform: Callable[[StationCommand], None] = lambda _: None
        self._clock = clock
        self._requests = 0
        self._replies: dict[int, asyncio.Future[Answer]] = {}
        self._changed = asyncio.Event()

    def post(self, event: Event) -> None:
        outcome = step(self.state, event, Now(self._clock.monotonic_ms(), self._clock.utc()))
        self.state = outcome.state
        self._changed.set()
        for effect in outcome.effects:
            match effect:
                case Reply():
                    self._replies.pop(effect.request).set_result(effect.answer)
                case SetLimit() | ClearLimit() | StopRemotely() | AskReading() | InviteBoot():
                    self.perform(effect)

    async def ask(self, event: Request) -> Answer:
        self._requests += 1
        request = self._requests
        reply = self._replies[request] = asyncio.get_running_loop().create_future()
        self.post(attrs.evolve(event, request=request))
        return await reply

    def tick(self) -> None:
        self.post(Tick())

    async def until(self, holds: Callable[[State], object], seconds: float = PATIENCE_S) -> None:
        """Returns once `holds` does for what is known."""
        async with asyncio.timeout(seconds):
            while not holds(self.state):
                self._changed.clear()
                await self._changed.wait()
