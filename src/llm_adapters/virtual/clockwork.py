"""An asyncio event loop in virtual time: sleeping costs nothing and every run with the same inputs is the same run.

The loop's selector never waits. Where the real one would sleep until the next timer, this one moves the clock there.
Work given to an executor runs at once in the loop's own thread, because a second thread would bring real time back.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextvars import Context
from selectors import SelectorKey
from typing import Any, TypeVar, TypeVarTuple, Unpack

_LOOK_EVERY = 50
_LEAST_S = 1e-6  # who sleeps for less than a float can show would sleep for ever

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Deadlock(RuntimeError):
    """Everything waits and no timer is set: virtual time can never move again."""


class _Skipper(selectors.BaseSelector):
    """A selector that looks at once, every now and then, and skips the wait: only a signal comes from outside."""

    def __init__(self, skip: Callable[[float | None], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._skip = skip
        self._looks = 0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self._looks += 1
        ready = self._real.select(0) if timeout is None or self._looks % _LOOK_EVERY == 0 else []
        if not ready:
            self._skip(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is virtual, in seconds from `start`."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        super().__init__(_Skipper(self._skip))

    def time(self) -> float:
        return self._now

    def _skip(self, timeout: float | None) -> None:
        if timeout is None:
            raise Deadlock("every task waits and no timer is set")
        self._now += max(0.0, timeout)

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in every loop, but at least a microsecond from now."""
        soonest = self._now + _LEAST_S
        if when < soonest:
            when = soonest + max(0.0, when - self._now)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Run `func` now, in this thread; the executor is not used."""
        del executor
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, _T], *, start: float = 0.0) -> _T:
    """Run a coroutine to its end in virtual time and return its result, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(main)
