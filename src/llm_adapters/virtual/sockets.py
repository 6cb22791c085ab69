"""The plant on real sockets: stations as OCPP 1.6J websocket clients, the building meter as a Modbus TCP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import quote

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from llm_adapters.virtual.meter import Meter
from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.shell import Connect, Link, Shell

_OPEN_S = 10.0
MOST_REGISTERS = 200  # more than any model here has


def websocket_links(ocpp_url: str) -> Connect:
    """Opens websocket links to `ocpp_url`/<station id>, subprotocol ocpp1.6, never through a proxy."""

    async def open_link(station_id: str) -> Link:
        return await connect(
            f"{ocpp_url.rstrip('/')}/{quote(station_id, safe='')}",
            subprotocols=[Subprotocol("ocpp1.6")],
            proxy=None,
            compression=None,
            open_timeout=_OPEN_S,
            close_timeout=1.0,
        )

    return open_link


@asynccontextmanager
async def modbus_meter(meter: Meter, host: str, port: int, unit: int = 1) -> AsyncIterator[int]:
    """Serve the meter's registers while the context is open; gives the port (`port` 0 picks a free one).

    While the meter is silent a request gets no answer. Raises RuntimeError where the port is taken.
    """

    async def fill(
        _function: int, start: int, _address: int, _count: int, registers: list[int], _values: object
    ) -> ExcCodes | None:
        image = meter.registers()
        if image is not None:
            registers[-start : len(image) - start] = image
        return None

    def swallow(sending: bool, data: bytes) -> bytes:
        return b"" if sending and meter.silent else data

    words = SimData(0, values=[0] * MOST_REGISTERS, datatype=DataType.REGISTERS)
    device = SimDevice(unit, simdata=[words], action=fill)
    server = ModbusTcpServer(device, address=(host, port), trace_packet=swallow)
    await server.serve_forever(background=True)
    try:
        yield cast(asyncio.Server, server.transport).sockets[0].getsockname()[1]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def run_plant(
    plant: Plant, ocpp_url: str, modbus_port: int, *, modbus_host: str = "127.0.0.1", speed: float = 1.0
) -> None:
    """Run the plant in real time until cancelled: drivers come and go, stations reconnect, the meter answers."""
    async with modbus_meter(plant.meter, modbus_host, modbus_port):
        await Shell(plant, websocket_links(ocpp_url), speed=speed).run()
