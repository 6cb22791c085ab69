"""How one station stands with its CPO, told to the core as it changes and at most once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import attrs

from llm_core import Inbox, QueueLengths, StoreError, UplinkQueue, UplinkReported, UplinkState

_log = logging.getLogger("llm.uplink")

REPORT_EVERY_S = 1.0
_AWAY = (UplinkState.CONNECTING, UplinkState.OFFLINE)
STATION_AWAY = "the station itself is not connected"


class Standing:
    """State, queue and last error of one station; a link to the CPO changes the first, its delivery the others."""

    def __init__(self, station_id: str, queue: UplinkQueue, inbox: Inbox) -> None:
        self._station_id = station_id
        self._queue = queue
        self._inbox = inbox
        self._told: UplinkReported | None = None
        self._dirty = asyncio.Event()
        self.state = UplinkState.CONNECTING
        self.error = ""
        self.failed = False  # when the CPO was last tried; that the station itself was away is no failure
        self.lengths = QueueLengths()

    @property
    def may_come(self) -> bool:
        """Whether there may be a link in a moment."""
        return self.state in _AWAY and not self.failed

    async def read(self) -> None:
        """Count the queue. Raises `StoreError`."""
        self.lengths = await self._queue.lengths(self._station_id)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            with contextlib.suppress(StoreError):
                await self.read()
            self._report()
            await asyncio.sleep(REPORT_EVERY_S)

    def enter(self, state: UplinkState, error: str = "") -> None:
        """It stands so now; an error stays in sight until all is well."""
        if error and error != self.error:
            _log.info("%s: the CPO: %s", self._station_id, error)
        if error or state is UplinkState.ACCEPTED:
            self.error = error
        self.state = state
        if state is UplinkState.ACCEPTED:
            self.failed = False
        elif state not in _AWAY or (error and STATION_AWAY not in error):
            self.failed = True
        self._dirty.set()
        if state is UplinkState.ACCEPTED:
            self._report()  # a badge may be waiting already

    def trouble(self, error: str) -> None:
        """The queue has changed; `error` is why it does not move ("": it does)."""
        if error or self.state is UplinkState.ACCEPTED:
            self.error = error
        self._dirty.set()

    def queued(self) -> None:
        """Something new waits."""
        if not self.lengths.waiting:
            self.lengths = attrs.evolve(self.lengths, waiting=1)
        self._dirty.set()

    def over(self) -> None:
        """Nobody cares for the CPO any more."""
        self.enter(UplinkState.OFF)
        self._report()

    def _report(self) -> None:
        lengths = self.lengths
        told = UplinkReported(
            self._station_id,
            self.state,
            lengths.waiting,
            lengths.refused,
            lengths.doubtful,
            self.error,
            self.failed,
        )
        if told != self._told:
            self._told = told
            self._inbox.post(told)
