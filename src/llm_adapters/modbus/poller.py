"""Reads a meter at a steady pace and posts what it says."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from llm_core import Meter, MeterSampled

log = logging.getLogger(__name__)


async def poll(meter: Meter, period_s: float, post: Callable[[MeterSampled], None]) -> None:
    """Read every `period_s` seconds, without drift, until cancelled; turns that a slow meter missed are skipped.

    A meter is not supposed to raise. One that does (somebody else's adapter) is told in the log, once in a row, and
    counts as silent.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    raised = False
    while True:
        try:
            reading = await meter.read()
            raised = False
        except Exception:
            if not raised:
                log.exception("A meter raised instead of staying silent")
            reading, raised = None, True
        if reading is not None:
            post(reading)
        next_turn = math.floor((loop.time() - start_s) / period_s) + 1
        await asyncio.sleep(start_s + next_turn * period_s - loop.time())
