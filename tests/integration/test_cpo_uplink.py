"""The way up between stacks that are not ours: a charge point of the `ocpp` package below, its central system above."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ocpp.v16 import call
from uplink_bench import ANN, House, RealCpo, RealStation, running, site_with, station

from llm_core import OfflinePolicy, UplinkState

Scene = Callable[[RealCpo, House, RealStation], Coroutine[Any, Any, None]]


def play(folder: Path, scene: Scene, *, offline: OfflinePolicy = OfflinePolicy.CACHED, **changes: Any) -> None:
    """A CPO, a controller and a station that are connected, and what then happens."""

    async def main() -> None:
        cpo = RealCpo()
        for name, value in changes.items():
            setattr(cpo, name, value)
        async with (
            cpo.listening(),
            running(folder, site_with(cpo.url, offline=offline)) as house,
            station(house) as point,
        ):
            await house.until(
                lambda state: state.uplink["ST1"].state is UplinkState.ACCEPTED if state.uplink else False
            )
            await scene(cpo, house, point)

    asyncio.run(main())


async def started(point: RealStation, tag: str = ANN, wh: int = 1_000, at: str = "2026-03-01T12:00:00Z") -> Any:
    return await point.call(call.StartTransaction(1, tag, wh, at))


def test_the_cpo_sees_an_ordinary_station_from_its_boot_to_the_end_of_a_transaction(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        boot = await cpo.hears("BootNotification")
        assert (boot["charge_point_vendor"], boot["charge_point_model"]) == ("Vendor", "Model")
        await cpo.hears("StatusNotification", connector_id=1, status="Available")
        answer = await point.call(call.Authorize(ANN))
        assert answer.id_tag_info == {"status": "Accepted", "parent_id_tag": "FAMILY"}
        begun = await started(point)
        assert begun.id_tag_info["status"] == "Accepted"
        start = await cpo.hears("StartTransaction")
        assert start == {"connector_id": 1, "id_tag": ANN, "meter_start": 1_000, "timestamp": "2026-03-01T12:00:00Z"}
        await point.call(
            call.MeterValues(
                1,
                [{"timestamp": "2026-03-01T12:01:00Z", "sampledValue": [{"value": "1500"}]}],
                begun.transaction_id,
            )
        )
        metered = await cpo.hears("MeterValues")
        assert metered["transaction_id"] == 900_001
        assert begun.transaction_id != 900_001
        await point.call(
            call.StopTransaction(2_500, "2026-03-01T13:00:00Z", begun.transaction_id, "EVDisconnected", ANN)
        )
        stop = await cpo.hears("StopTransaction")
        assert stop == {
            "meter_stop": 2_500,
            "timestamp": "2026-03-01T13:00:00Z",
            "transaction_id": 900_001,
            "reason": "EVDisconnected",
            "id_tag": ANN,
        }
        await house.until(lambda state: state.uplink["ST1"].queued == 0)

    play(tmp_path, scene)


def test_the_cpo_decides_who_charges_and_a_refused_start_is_stopped(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        cpo.verdicts["04BAD"] = "Blocked"
        assert (await point.call(call.Authorize("04BAD"))).id_tag_info == {"status": "Blocked"}
        begun = await started(point, "04BAD")
        assert begun.id_tag_info == {"status": "Blocked"}
        assert house.state.connectors["ST1", 1].session is None
        await point.call(call.StopTransaction(1_000, "2026-03-01T12:00:01Z", begun.transaction_id, "DeAuthorized"))
        stop = await cpo.hears("StopTransaction")
        assert (stop["transaction_id"], stop["reason"]) == (900_001, "DeAuthorized")

    play(tmp_path, scene)
