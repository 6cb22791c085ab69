"""What the CPO is told was done is on the disk by then: persist, then answer. The disk here is slow, or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from uplink_bench import ANN, House, RealCpo, RealStation, running, site_with, station

from llm_core import Record, ReservationRecord, Store, StoreError, UplinkState

RESERVE = call.ReserveNow(1, "2100-01-01T00:00:00Z", ANN, 7)
LOWER = call.SetChargingProfile(
    1,
    {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 7.0}]},
    },
)


class Disk:
    """A store that takes reservations when it is let to, or not at all."""

    def __init__(self, store: Store, *, fails: bool) -> None:
        self._store = store
        self._fails = fails
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, records: Iterable[Record]) -> None:
        records = list(records)
        if any(isinstance(record, ReservationRecord) for record in records):
            self.asked.set()
            if self._fails:
                raise StoreError("no space left")
            await self.goes_on.wait()
        await self._store.commit(records)


async def connected(house: House, point: RealStation) -> None:
    point.statuses["ReserveNow"] = "Accepted"
    await house.until(lambda state: bool(state.uplink) and state.uplink["ST1"].state is UplinkState.ACCEPTED)


def test_a_reservation_is_confirmed_to_the_cpo_once_it_is_stored(tmp_path: Path) -> None:
    async def main() -> None:
        cpo = RealCpo()
        async with cpo.listening(), running(tmp_path, site_with(cpo.url)) as house, station(house) as point:
            await connected(house, point)
            disk = Disk(house.controller._store, fails=False)
            house.controller._store = disk  # type: ignore[assignment]
            asked = asyncio.create_task(cpo.point.call(RESERVE, suppress=False))
            await disk.asked.wait()
            await point.was_asked("ReserveNow")
            for _ in range(50):
                await asyncio.sleep(0)
            assert not asked.done()
            assert ("ST1", 7) not in house.state.reservations
            disk.goes_on.set()
            assert (await asked).status == "Accepted"
            assert ("ST1", 7) in house.state.reservations

    asyncio.run(main())


def test_a_reservation_that_cannot_be_stored_is_not_confirmed(tmp_path: Path) -> None:
    async def main() -> None:
        cpo = RealCpo()
        async with cpo.listening(), running(tmp_path, site_with(cpo.url)) as house, station(house) as point:
            await connected(house, point)
            house.controller._store = Disk(house.controller._store, fails=True)  # type: ignore[assignment]
            with pytest.raises(OCPPError, match="could not be stored"):
                await cpo.point.call(RESERVE, suppress=False)

    asyncio.run(main())


def test_a_profile_that_cannot_be_stored_is_in_force_and_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        cpo = RealCpo()
        async with cpo.listening(), running(tmp_path, site_with(cpo.url)) as house, station(house) as point:
            await connected(house, point)

            async def note(*_: object) -> None:
                raise StoreError("no space left")

            monkeypatch.setattr(house.book, "note", note)
            with pytest.raises(OCPPError, match="could not be stored"):
                await cpo.point.call(LOWER, suppress=False)
            await house.until(lambda state: 7_000 in state.connectors["ST1", 1].caps_ma.values())

    asyncio.run(main())
