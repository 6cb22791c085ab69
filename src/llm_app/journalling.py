"""Keeps the journal of a running controller: in memory for up to a minute, then on the disk by a thread of its own.

Losing the last minute in a power cut is meant: SD cards wear, and the journal is for looking back, not for recovery.
Whatever happens to the journal, control goes on and never waits for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from llm_adapters.files.journal import MOST_BYTES, UNDONE, Batch, JournalFiles, Snapshot, event_line
from llm_core import Event, Now, State

log = logging.getLogger("llm.journal")

FLUSH_BYTES = 64 * 1024
FLUSH_MS = 60_000
MOST_BATCHES = 16  # wait for the disk; beyond that, batches are dropped
CLOSE_S = 2.0


class Journal:
    """Records every event of one controller in `folder`. `record` and `undone` are for the control loop's thread."""

    def __init__(self, folder: Path, program: str, most_bytes: int = MOST_BYTES) -> None:
        self._files = JournalFiles(folder, most_bytes)
        self._program = program
        self._run: str | None = None
        self._number = 0  # events seen in this run, recorded or not
        self._start: Snapshot | None = None  # of the batch that gathers
        self._lines: list[str] = []
        self._bytes = 0
        self._count = 0
        self._batches: queue.Queue[Batch | None] = queue.Queue(MOST_BATCHES)
        self._stopped = False
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def record(self, state: State, event: Event, now: Now) -> None:
        """Note what `step` is about to be given. Takes some 10 µs and never raises."""
        start = self._start
        if start is not None and (self._bytes >= FLUSH_BYTES or now.monotonic_ms - start.now.monotonic_ms >= FLUSH_MS):
            self._hand_over()
            start = None
        try:
            line = event_line(event, now)
        except Exception as error:  # a value that JSON does not know: a fault of ours, and no reason to stop control
            self._stop(f"{type(event).__name__}: {error!r}")
            self._hand_over()
            self._number += 1  # seen, but missing: what follows needs a snapshot
            return
        if start is None:
            self._run = self._run or now.utc.isoformat()
            self._start = Snapshot(self._program, self._run, self._number, now, state)
        self._lines.append(line)
        self._bytes += len(line)
        self._count += 1
        self._number += 1

    def undone(self) -> None:
        """The event recorded last came to nothing: the disk refused what its step promised."""
        if self._lines:
            self._lines.append(UNDONE)

    def close(self) -> None:
        """Write what has gathered; gives up on a disk that does not answer."""
        self._hand_over()
        try:
            self._batches.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _hand_over(self) -> None:
        if self._start is None:
            return
        batch = Batch(self._start, tuple(self._lines), self._count)
        self._start, self._lines, self._bytes, self._count = None, [], 0, 0
        try:
            self._batches.put_nowait(batch)
        except queue.Full:
            self._stop("the disk does not keep up")

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._files.append(batch)
            except Exception as error:  # the disk's, or ours: the next batch begins afresh with a snapshot
                self._stop(str(error))
            else:
                self._resume()

    def _stop(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            log.warning("events are not journalled: %s", reason)

    def _resume(self) -> None:
        if self._stopped:
            self._stopped = False
            log.info("events are journalled again")
