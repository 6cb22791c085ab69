"""The meters of the configuration: read while they are configured, each line by one owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.line import Lines
from llm_adapters.modbus.meter import ModbusMeter
from llm_adapters.modbus.models import ModelError
from llm_adapters.modbus.poller import poll
from llm_app.controller import Controller
from llm_core import Clock, Meter, MeterSampled, MeterSetup, MeterTest, Phase, State, check_meter

log = logging.getLogger("llm.meters")
PERIOD_S = 1.0
READINGS = 3


class Meters:
    """Polls the meters that the configuration names, and follows it when it changes."""

    def __init__(self, controller: Controller, clock: Clock, catalogue: Catalogue) -> None:
        self._controller = controller
        self._clock = clock
        self.catalogue = catalogue
        self._lines = Lines()
        self._testing = asyncio.Lock()  # one at a time: a meter is no toy
        self._changed = asyncio.Event()
        self._polls: dict[MeterSetup, asyncio.Task[None]] = {}
        controller.watch(self._look)
        for fault in catalogue.faults:
            log.error("a meter model cannot be used: %s", fault)

    def _look(self, before: State, after: State) -> None:
        if before.site.meters is not after.site.meters:
            self._changed.set()

    async def run(self) -> None:
        try:
            while True:
                self._changed.clear()
                wanted = {setup for setup in self._controller.state.site.meters if setup.is_read}
                await _cancelled([self._polls.pop(setup) for setup in set(self._polls) - wanted])
                for setup in wanted - set(self._polls):
                    self._polls[setup] = asyncio.create_task(self._poll(setup), name=f"meter {setup.node}")
                await self._changed.wait()
        finally:
            await _cancelled(list(self._polls.values()))

    async def _poll(self, setup: MeterSetup) -> None:
        try:
            meter = self.meter(setup)
        except ModelError as error:  # stored by a version that knew it: silent, so the safe limit holds
            log.error("no meter at %s: %s", setup.node, error)
            return
        try:
            await poll(meter, PERIOD_S, self._controller.post)
        finally:
            await meter.close()

    async def test(self, setup: MeterSetup) -> MeterTest:
        """Read a meter a few times and judge it; on a line that is in use it waits for its turns."""
        phases = self._controller.state.site.supply.site_phases
        async with self._testing:
            return await tried(lambda: self.meter(setup), setup, phases)

    def meter(self, setup: MeterSetup) -> Meter:
        """A meter on the line that it shares with the others. Raises `ModelError`."""
        make = self.catalogue.maker(setup.model)
        if make is None:
            return ModbusMeter(setup, self._clock, catalogue=self.catalogue, lines=self._lines)
        try:
            return make(setup, self._clock)
        except Exception as error:  # whatever somebody else's code does
            raise ModelError((f"the vendor's code for “{setup.model}” failed: {error!r}",)) from error


async def tried(make: Callable[[], Meter], setup: MeterSetup, phases: tuple[Phase, ...]) -> MeterTest:
    """Read the meter that `make` makes `READINGS` times, a second apart, and judge it; an error is silence."""
    try:
        meter = make()
    except ModelError as error:
        return check_meter((), setup, phases, silent_because=str(error))
    samples: list[MeterSampled] = []
    try:
        for number in range(READINGS):
            if number:
                await asyncio.sleep(PERIOD_S)
            sample = await meter.read()
            if sample is not None:
                samples.append(sample)
    finally:
        await meter.close()
    return check_meter(
        samples,
        setup,
        phases,
        silent_because=getattr(meter, "silent_because", None),
        identified=getattr(meter, "identified", None),
    )


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
