"""The virtual meter as several makers' models: each is read right by the adapter, which knows nothing of the plant."""

from __future__ import annotations

import asyncio

import pytest

from llm_adapters.modbus import ModbusMeter
from llm_adapters.virtual.meter import Meter, MeterConfig
from llm_adapters.virtual.registers import LAYOUTS
from llm_adapters.virtual.sockets import modbus_meter
from llm_core import MeterSampled, MeterSetup


class LoopClock:
    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def utc(self) -> None:
        raise AssertionError("a meter has no business with the date")


@pytest.mark.parametrize("model", LAYOUTS)
def test_what_the_virtual_meter_shows_is_what_is_read(model: str) -> None:
    virtual = Meter(MeterConfig(lag_s=0.0, model=model))
    for second in range(1, 3_602):
        virtual.advance(float(second), (12.0, -5.0, 0.5))

    async def read(*, nan: bool) -> MeterSampled | None:
        virtual.nan = nan
        async with modbus_meter(virtual, "127.0.0.1", 0) as port:
            meter = ModbusMeter(MeterSetup("site", model, "127.0.0.1", port), LoopClock())  # type: ignore[arg-type]
            try:
                return await meter.read()
            finally:
                await meter.close()

    sample = asyncio.run(read(nan=False))
    assert sample is not None
    assert sample.current_ma == (12_000, -5_000, 500)
    assert sample.voltage_mv == (230_000, 230_000, 230_000)
    assert sample.power_w == pytest.approx(7.5 * 230, abs=1)
    assert sample.energy_import_wh == pytest.approx(7.5 * 230, abs=100)
    broken = asyncio.run(read(nan=True))
    assert broken is not None
    assert broken.current_ma == (None, None, None)
