"""The virtual operator of the demo, with a foreign station and the real controller beneath it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ocpp.v16 import call
from uplink_bench import ANN, running, site_with, station

from llm_adapters.virtual.cpo import FIRST_NUMBER, Cpo
from llm_core import UplinkState


def test_it_lets_its_own_badges_charge_and_hears_of_their_transactions(tmp_path: Path) -> None:
    async def main() -> None:
        cpo = Cpo([ANN.lower()])
        async with (
            cpo.listening("127.0.0.1") as url,
            running(tmp_path, site_with(url)) as house,
            station(house) as point,
        ):
            await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.ACCEPTED)
            assert cpo.stations == {"NL-ST1"}
            assert (await point.call(call.Authorize("04D00D"))).id_tag_info["status"] == "Invalid"
            begun = await point.call(call.StartTransaction(1, ANN, 1_000, "2026-03-01T12:00:00Z"))
            assert begun.id_tag_info["status"] == "Accepted"
            await point.call(call.StopTransaction(2_000, "2026-03-01T13:00:00Z", begun.transaction_id))
            await house.until(
                lambda s: s.uplink["ST1"].queued == 0 and any(h[1] == "StopTransaction" for h in cpo.heard)
            )
            (stop,) = [payload for _, action, payload in cpo.heard if action == "StopTransaction"]
            assert stop["transactionId"] == FIRST_NUMBER

    asyncio.run(main())


def test_a_start_that_is_told_twice_is_one() -> None:
    start = {"idTag": ANN, "timestamp": "2026-03-01T12:00:00Z", "connectorId": 1, "meterStart": 5}
    cpo = Cpo([ANN])
    first, again = (cpo.answer("NL-1", "StartTransaction", start) for _ in range(2))
    other = cpo.answer("NL-1", "StartTransaction", {**start, "meterStart": 6})
    assert first["transactionId"] == again["transactionId"] != other["transactionId"]
