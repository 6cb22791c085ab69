"""Operators with habits that nobody would guess: the stations never notice, and nothing is lost that can be kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from odd_cpo import USUAL, OddCpo
from patience import fair_s
from uplink_bench import ANN, House, RealStation, running, site_with, station

from llm_adapters.ocpp16.uplink import delivery
from llm_adapters.ocpp16.uplink import station as station_uplink
from llm_core import OfflinePolicy, UplinkState

Scene = Callable[[OddCpo, House, RealStation], Coroutine[Any, Any, None]]
START = ("2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z")


def play(folder: Path, cpo: OddCpo, scene: Scene, policy: OfflinePolicy = OfflinePolicy.LOCAL) -> None:
    async def main() -> None:
        async with (
            cpo.listening(),
            running(folder, site_with(cpo.url, offline=policy)) as house,
            station(house) as point,
        ):
            await scene(cpo, house, point)
            assert point.connection.close_code is None, "the station noticed"

    asyncio.run(main())


async def stands(house: House, state: UplinkState) -> None:
    await house.until(lambda known: "ST1" in known.uplink and known.uplink["ST1"].state is state)


async def charged(point: RealStation, tag: str = ANN, wh: int = 1_000) -> int:
    """A transaction from its start to its stop; our number of it."""
    begun = await point.call(call.StartTransaction(1, tag, wh, START[0]))
    assert begun.id_tag_info["status"] == "Accepted"
    await point.call(call.StopTransaction(wh + 1_000, START[1], begun.transaction_id))
    return int(begun.transaction_id)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are minutes in the field."""
    monkeypatch.setattr(station_uplink, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_S", 0.1)


# Its boot answer


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ([4, "InternalError", "no", {}], UplinkState.REFUSED),
        ([4, "NotImplemented", "", {}], UplinkState.REFUSED),
        ({}, UplinkState.REFUSED),
        ({"status": "Whatever", "interval": "soon"}, UplinkState.REFUSED),
        ({"status": "Rejected", "interval": 0}, UplinkState.REFUSED),
        ({"status": "Pending", "interval": 0}, UplinkState.PENDING),
        ({"status": "Pending", "interval": -5}, UplinkState.PENDING),
        ({"status": "Pending"}, UplinkState.PENDING),
    ],
)
def test_who_is_not_accepted_asks_again_without_haste_and_charges_by_the_offline_rule(
    tmp_path: Path, answer: Any, state: UplinkState
) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, state)
        await charged(point)
        assert len(cpo.all("BootNotification")) <= 2  # ours, and the station's own
        assert cpo.all("StartTransaction") == []
        cpo.habits.clear()
        if state is UplinkState.PENDING:  # which may be asked for another boot
            assert await cpo.tell("1", "TriggerMessage", {"requestedMessage": "BootNotification"}) == {
                "status": "Accepted"
            }
            await stands(house, UplinkState.ACCEPTED)
            await cpo.hears("StopTransaction")

    play(tmp_path, OddCpo(BootNotification=answer), scene)


@pytest.mark.parametrize("interval", [-1, 0, None, "many", 10**15, 2.5])
def test_an_interval_that_is_none_is_no_reason_to_beat_all_the_time(tmp_path: Path, interval: Any) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await charged(point)
        await cpo.hears("StopTransaction")
        assert len(cpo.all("Heartbeat")) <= 1

    play(tmp_path, OddCpo(BootNotification={**USUAL["BootNotification"], "interval": interval}), scene)


def test_what_it_asks_before_it_has_accepted_the_station_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    cpo = OddCpo()

    async def eager(link: Any) -> None:
        for number, action in enumerate(("GetConfiguration", "Reset", "Nonsense")):
            await link.send(json.dumps([2, f"early{number}", action, {}]))

    cpo.on_link = eager

    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await cpo.until(lambda: len(cpo.results) == 3)
        assert {message[2] for message in cpo.results.values()} == {"SecurityError"}
        assert not any(action == "Reset" for action, _ in point.asked)
        assert (await cpo.tell("late", "Reset", {"type": "Soft"})) == {"status": "Accepted"}

    play(tmp_path, cpo, scene)


def test_a_station_that_must_boot_again_and_is_told_to_wait_says_nothing_until_it_is_accepted(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await cpo.hears("StatusNotification")
        cpo.habits["BootNotification"] = {"status": "Pending", "interval": 60, "currentTime": USUAL["Heartbeat"]}
        await cpo.tell("1", "TriggerMessage", {"requestedMessage": "BootNotification"})
        await stands(house, UplinkState.PENDING)
        before = len(cpo.heard)
        await charged(point)
        await point.call(call.StatusNotification(1, "NoError", "Finishing"))
        asked = {"requestedMessage": "StatusNotification", "connectorId": 1}
        assert await cpo.tell("2", "TriggerMessage", asked) == {"status": "Accepted"}
        await cpo.until(lambda: len(cpo.heard) > before)
        assert [action for _, action, _ in cpo.heard[before:]] == ["StatusNotification"], "and only what was asked for"
        cpo.habits.clear()
        await cpo.tell("3", "TriggerMessage", {"requestedMessage": "BootNotification"})
        await cpo.hears("StopTransaction")

    play(tmp_path, OddCpo(), scene)


# Its transaction ids


@pytest.mark.parametrize(
    ("answered", "told"),
    [(0, 0), (-16, -16), (2**31, 2**31), (2**63, 2**63), (10**30, 10**30), ("4711", 4711), (12.0, 12)],
)
def test_any_number_of_a_transaction_comes_back_as_it_was(tmp_path: Path, answered: Any, told: int) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        begun = await point.call(call.StartTransaction(1, ANN, 1_000, START[0]))
        await house.until(lambda known: known.uplink["ST1"].queued == 0)
        assert await cpo.tell("1", "RemoteStopTransaction", {"transactionId": told}) == {"status": "Accepted"}
        assert await point.was_asked("RemoteStopTransaction") == {"transaction_id": begun.transaction_id}
        await point.call(call.StopTransaction(2_000, START[1], begun.transaction_id))
        assert (await cpo.hears("StopTransaction"))["transactionId"] == told

    habit = {"transactionId": answered, "idTagInfo": {"status": "Accepted"}}
    play(tmp_path, OddCpo(StartTransaction=habit), scene)


@pytest.mark.parametrize("answer", [{}, {"transactionId": "tx-a"}, {"transactionId": None}, {"transactionId": True}])
def test_a_start_that_never_gets_a_number_is_set_aside_and_does_not_stop_the_next(tmp_path: Path, answer: Any) -> None:
    def first_never(payload: dict[str, Any]) -> Any:
        return answer if payload["meterStart"] == 1_000 else USUAL["StartTransaction"]

    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await charged(point)
        await point.call(call.StartTransaction(1, ANN, 5_000, "2026-03-01T14:00:00Z"))
        await cpo.until(lambda: any(one["meterStart"] == 5_000 for one in cpo.all("StartTransaction")))
        await house.until(lambda known: known.uplink["ST1"].refused == 2)
        assert len(cpo.all("StartTransaction")) == delivery.TRIES_WITHOUT_NUMBER + 1
        assert len({unique_id for unique_id, action, _ in cpo.heard if action == "StartTransaction"}) == 2

    play(tmp_path, OddCpo(StartTransaction=first_never), scene)


# Its verdicts


@pytest.mark.parametrize("answer", [{}, {"idTagInfo": None}, {"idTagInfo": {"status": 7}}, [4, "GenericError", "", {}]])
def test_a_verdict_that_is_none_lets_nobody_in_but_by_the_offline_rule(tmp_path: Path, answer: Any) -> None:
    async def scene(_cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        assert (await point.call(call.Authorize("04D00D"))).id_tag_info["status"] == "Invalid"

    play(tmp_path, OddCpo(Authorize=answer), scene)


def test_dates_with_another_offset_are_the_instants_they_name(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-11)))

    async def scene(_cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        told = await point.call(call.Authorize(ANN))
        assert told.id_tag_info == {"status": "Accepted", "expiry_date": soon.isoformat()}
        (verdict,) = house.state.cpo_verdicts.values()
        assert verdict.expires_at == soon

    info = {"status": "Accepted", "expiryDate": soon.isoformat()}
    play(tmp_path, OddCpo(Authorize={"idTagInfo": info}), scene)


# Its way with messages


def limit(amps: float, connector: int = 1) -> dict[str, Any]:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amps}]}
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    return {"connectorId": connector, "csChargingProfiles": profile}


def test_one_id_for_every_call_is_not_taken_for_a_repetition_and_a_repetition_acts_once(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await point.call(call.StartTransaction(1, ANN, 1_000, START[0]))
        for amps in (10, 8, 7):
            assert await cpo.tell("1", "SetChargingProfile", limit(amps)) == {"status": "Accepted"}
            await house.until(lambda known, ma=amps * 1_000: known.connectors["ST1", 1].offered_ma == ma)
        for _ in range(2):
            assert await cpo.tell("2", "UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
        assert len([action for action, _ in point.asked if action == "UnlockConnector"]) == 1

    play(tmp_path, OddCpo(), scene)


def test_one_that_hangs_up_after_every_answer_is_called_again_without_haste(tmp_path: Path) -> None:
    cpo = OddCpo()

    async def hang_up(link: Any) -> None:
        await link.close()

    cpo.after_answer = hang_up

    async def scene(cpo: OddCpo, _house: House, point: RealStation) -> None:
        await cpo.hears("BootNotification", 4)
        assert len(cpo.links) <= 5
        await charged(point)
        cpo.after_answer = None
        await cpo.hears("StopTransaction")

    play(tmp_path, cpo, scene)


def test_every_answer_twice_and_answers_to_nothing_do_no_harm(tmp_path: Path) -> None:
    cpo = OddCpo()

    async def again(link: Any) -> None:
        unique_id, action, _ = cpo.heard[-1]
        for text in (json.dumps([3, unique_id, USUAL.get(action, {})]), '[3,"nobody",{}]', "[]", "nonsense", b"\xff"):
            await link.send(text)

    cpo.after_answer = again

    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        await charged(point)
        await cpo.hears("StopTransaction")
        assert (len(cpo.all("StartTransaction")), len(cpo.all("StopTransaction"))) == (1, 1)
        assert len(cpo.links) == 1

    play(tmp_path, cpo, scene)


def test_a_flood_of_its_calls_is_answered_in_turn_and_holds_up_no_station(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        for number in range(3_000):
            await cpo.links[-1].send(json.dumps([2, f"f{number}", "GetCompositeSchedule", {"connectorId": 1}]))
        began_s = fair_s()
        await point.call(call.Heartbeat())
        assert fair_s() - began_s < 2
        await cpo.until(lambda: "f2999" in cpo.results)

    play(tmp_path, OddCpo(), scene)


# Its remote starts and resets


@pytest.mark.parametrize("connector", [0, 9, None])
def test_a_remote_start_for_no_connector_in_particular_keeps_its_profile_here(
    tmp_path: Path, connector: int | None
) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        profile = limit(8)["csChargingProfiles"] | {"chargingProfilePurpose": "TxProfile"}
        order = {"idTag": ANN, "chargingProfile": profile} | ({} if connector is None else {"connectorId": connector})
        assert await cpo.tell("1", "RemoteStartTransaction", order) == {"status": "Accepted"}
        asked = await point.was_asked("RemoteStartTransaction")
        assert "charging_profile" not in asked
        await point.call(call.StartTransaction(1, ANN, 1_000, START[0]))
        expected_ma = 16_000 if connector == 9 else 8_000  # a profile for a connector that is not there limits none
        await house.until(lambda known: known.connectors["ST1", 1].offered_ma == expected_ma)

    play(tmp_path, OddCpo(), scene)


def test_a_remote_start_that_the_station_refuses_takes_its_profile_along(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        point.statuses["RemoteStartTransaction"] = "Rejected"
        profile = limit(8)["csChargingProfiles"] | {"chargingProfilePurpose": "TxProfile"}
        order = {"idTag": ANN, "connectorId": 1, "chargingProfile": profile}
        assert await cpo.tell("1", "RemoteStartTransaction", order) == {"status": "Rejected"}
        await point.call(call.StartTransaction(1, ANN, 1_000, START[0]))
        await house.until(lambda known: known.connectors["ST1", 1].offered_ma == 16_000)

    play(tmp_path, OddCpo(), scene)


def test_all_stations_may_be_reset_at_once(tmp_path: Path) -> None:
    count = 6

    async def main() -> None:
        cpo = OddCpo()
        async with (
            cpo.listening(),
            running(tmp_path, site_with(cpo.url, stations=count)) as house,
            AsyncExitStack() as stack,
        ):
            points = [await stack.enter_async_context(station(house, f"ST{n + 1}")) for n in range(count)]
            await house.until(
                lambda known: sum(one.state is UplinkState.ACCEPTED for one in known.uplink.values()) == count
            )
            for number, link in enumerate(cpo.links):
                await link.send(json.dumps([2, f"r{number}", "Reset", {"type": "Hard"}]))
            await cpo.until(lambda: len(cpo.results) == count)
            assert {json.dumps(message[2]) for message in cpo.results.values()} == {'{"status": "Accepted"}'}
            for point in points:
                assert await point.was_asked("Reset") == {"type": "Hard"}
            await house.until(lambda known: all(one.reset_ms is not None for one in known.stations.values()))

    asyncio.run(main())


@pytest.mark.parametrize(("asked", "after_s"), [("5", 5.0), ("0", 10.0**9)])
def test_it_is_pinged_as_often_as_it_asks_from_the_next_link_on(tmp_path: Path, asked: str, after_s: float) -> None:
    async def scene(cpo: OddCpo, house: House, point: RealStation) -> None:
        await stands(house, UplinkState.ACCEPTED)
        change = {"key": "WebSocketPingInterval", "value": asked}
        assert await cpo.tell("1", "ChangeConfiguration", change) == {"status": "Accepted"}
        boots = len(cpo.all("BootNotification"))
        await cpo.links[-1].close()
        await cpo.until(lambda: len(cpo.links) == 2 and len(cpo.all("BootNotification")) > boots)
        session = house.uplinks._ways["ST1"].station._session
        assert session is not None
        assert session._bounds.ping_after_s == after_s
        await charged(point)
        await cpo.hears("StopTransaction")

    play(tmp_path, OddCpo(), scene)
