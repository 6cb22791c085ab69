"""No test depends on who is faster: how long to wait for what must come, and a clock for what is promised in time."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 60.0
"""For a condition that has to come true. On a machine with nothing else to do it takes a blink."""


def fair_s(*processes: int) -> float:
    """Seconds that pass only while nobody keeps this thread, or the main threads of these processes, from a processor.

    What the product promises to do within a time it can only do with a processor: on a machine that is busy with
    something else nobody is as early as by the clock on the wall. To be compared with an earlier or a later one.
    """
    kept_waiting_ns = 0
    with suppress(OSError):  # a system that does not tell: then it is the clock on the wall
        for who in ("thread-self", *processes):
            kept_waiting_ns += int(Path(f"/proc/{who}/schedstat").read_text().split()[1])
    return time.monotonic() - kept_waiting_ns / 1e9
