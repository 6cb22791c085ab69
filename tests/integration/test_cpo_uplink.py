"""The way up between stacks that are not ours: a charge point of the `ocpp` package below, its central system above."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import attrs
import pytest
from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from patience import PATIENCE_S, fair_s
from uplink_bench import ANN, House, RealCpo, RealStation, running, site_with, station
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from llm_core import AccessRule, OfflinePolicy, PerPhase, PutAccess, PutSupply, PutUplink, SiteEdited, UplinkState

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
        # The link may be up before the station has said who it is: then a second boot tells.
        await cpo.hears("BootNotification", charge_point_vendor="Vendor", charge_point_model="Model")
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


# Down


def profile(limit_a: float, purpose: str = "TxDefaultProfile", **more: Any) -> dict[str, Any]:
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit_a}],
        },
        **more,
    }


def test_the_cpos_limit_ends_as_a_cap_and_never_at_the_station_itself(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        begun = await started(point)
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 16_000)
        for limit_a, offered_ma in ((10.0, 10_000), (40.0, 16_000), (3.0, 0)):
            answer = await cpo.point.call(
                call.SetChargingProfile(1, profile(limit_a, "TxProfile", transactionId=900_001))
            )
            assert answer.status == "Accepted"
            await house.until(lambda state, ma=offered_ma: state.connectors["ST1", 1].offered_ma == ma)
            composite = await cpo.point.call(call.GetCompositeSchedule(1, 60))
            periods = composite.charging_schedule["charging_schedule_period"]
            assert periods == [{"start_period": 0, "limit": min(limit_a, offered_ma / 1000), "number_phases": 3}]
        sent = [payload["cs_charging_profiles"] for action, payload in point.asked if action == "SetChargingProfile"]
        assert all(sent_profile["charging_profile_id"] > 7_000 for sent_profile in sent)
        assert (await cpo.point.call(call.ClearChargingProfile(id=1))).status == "Accepted"
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 16_000)
        assert (await cpo.point.call(call.ClearChargingProfile(id=1))).status == "Unknown"
        await point.call(call.StopTransaction(2_000, "2026-03-01T13:00:00Z", begun.transaction_id))
        refused = await cpo.point.call(call.SetChargingProfile(1, profile(10, "TxProfile")))
        assert refused.status == "Rejected"

    play(tmp_path, scene)


def test_the_cpos_limits_hold_after_a_restart_and_for_connectors_that_spoke_only_then(tmp_path: Path) -> None:
    async def main() -> None:
        cpo = RealCpo()
        async with cpo.listening():
            site = site_with(cpo.url)
            async with running(tmp_path, site) as house, station(house):
                await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.ACCEPTED)
                assert (await cpo.point.call(call.SetChargingProfile(0, profile(8.0)))).status == "Accepted"
            async with running(tmp_path, site) as house, station(house) as point:
                await point.call(call.StatusNotification(2, "NoError", "Preparing"))
                # Until the CPO can be asked, a badge that it never spoke of is refused.
                await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.ACCEPTED)
                for connector in (1, 2):
                    await point.call(call.StartTransaction(connector, ANN, 1_000, "2026-03-01T12:00:00Z"))
                    await house.until(lambda state, n=connector: state.connectors["ST1", n].offered_ma == 8_000)
                assert max(point.limits()[-2:]) <= 8

    asyncio.run(main())


def test_a_remote_start_leaves_its_profile_here_and_a_remote_stop_names_our_transaction(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        order = call.RemoteStartTransaction(ANN, 1, profile(8.0, "TxProfile"))
        assert (await cpo.point.call(order)).status == "Accepted"
        assert await point.was_asked("RemoteStartTransaction") == {"id_tag": ANN, "connector_id": 1}
        begun = await started(point, at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 8_000)
        assert max(point.limits()) <= 8
        assert (await cpo.point.call(call.RemoteStopTransaction(900_001))).status == "Accepted"
        assert await point.was_asked("RemoteStopTransaction") == {"transaction_id": begun.transaction_id}
        assert (await cpo.point.call(call.RemoteStopTransaction(begun.transaction_id))).status == "Rejected"

    play(tmp_path, scene)


def test_what_the_cpo_sets_it_reads_again_and_what_is_ours_never_reaches_the_station(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, _house: House, point: RealStation) -> None:
        set_here = {
            "HeartbeatInterval": "600",
            "MeterValueSampleInterval": "900",
            "MeterValuesSampledData": "Energy.Active.Import.Register,Voltage.L1",
            "WebSocketPingInterval": "30",
        }
        for key, value in {**set_here, "LocalPreAuthorize": "true"}.items():
            assert (await cpo.point.call(call.ChangeConfiguration(key, value))).status == "Accepted"
        refused = {"HeartbeatInterval": "soon", "MeterValuesSampledData": "Sorrow", "SecurityProfile": "0"}
        for key, value in {**refused, "CentralSystemURL": "ws://thief", "AuthorizationKey": "short"}.items():
            assert (await cpo.point.call(call.ChangeConfiguration(key, value))).status == "Rejected"
        asked = [*set_here, "LocalPreAuthorize", "Nonsense", "ChargeProfileMaxStackLevel"]
        answer = await cpo.point.call(call.GetConfiguration(asked))
        told = {entry["key"]: entry["value"] for entry in answer.configuration_key}
        assert told == {**set_here, "LocalPreAuthorize": "true", "ChargeProfileMaxStackLevel": "8"}
        assert answer.unknown_key == ["Nonsense"]
        everything = await cpo.point.call(call.GetConfiguration())
        assert set(set_here) < {entry["key"] for entry in everything.configuration_key}
        changed = [payload["key"] for action, payload in point.asked if action == "ChangeConfiguration"]
        assert set(changed) & (set(set_here) - {"MeterValueSampleInterval", "MeterValuesSampledData"}) == set()
        assert point.keys["MeterValueSampleInterval"] == "10"  # ours
        assert "Sorrow" not in point.keys["MeterValuesSampledData"]

    play(tmp_path, scene)


def test_what_the_cpo_wants_read_the_station_reads_beside_what_we_do_or_the_cpo_is_told(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, _house: House, point: RealStation) -> None:
        await point.was_asked("ChangeConfiguration", key="MeterValuesSampledData")
        ours = point.keys["MeterValuesSampledData"]
        change = call.ChangeConfiguration("MeterValuesSampledData", "Energy.Active.Import.Register,SoC,Voltage.L1")
        assert (await cpo.point.call(change)).status == "Accepted"
        assert point.keys["MeterValuesSampledData"] == f"{ours},SoC"
        begun = await started(point)
        samples = [
            {"value": "1500"},
            {"value": "61", "measurand": "SoC", "unit": "Percent"},
            {"value": "10", "measurand": "Current.Import", "phase": "L1", "unit": "A"},
        ]
        values = [{"timestamp": "2026-03-01T12:01:00Z", "sampledValue": samples}]
        await point.call(call.MeterValues(1, values, begun.transaction_id))
        (told,) = (await cpo.hears("MeterValues"))["meter_value"]
        assert [sample["value"] for sample in told["sampled_value"]] == ["1500", "61"]
        point.refused_keys.add("MeterValuesSampledData")
        change = call.ChangeConfiguration("MeterValuesSampledData", "RPM")
        assert (await cpo.point.call(change)).status == "Rejected"
        kept = await cpo.point.call(call.GetConfiguration(["MeterValuesSampledData"]))
        assert kept.configuration_key[0]["value"] == "Energy.Active.Import.Register,SoC,Voltage.L1"

    play(tmp_path, scene)


def test_orders_are_forwarded_as_they_are_and_answered_as_the_station_answers(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        later = "2030-01-01T00:00:00Z"
        for order, status in (
            (call.ReserveNow(1, later, ANN, 7), "Occupied"),
            (call.ChangeAvailability(0, "Inoperative"), "Scheduled"),
            (call.UnlockConnector(1), "Unlocked"),
            (call.ClearCache(), "Accepted"),
            (call.Reset("Soft"), "Accepted"),
            (call.TriggerMessage("FirmwareStatusNotification"), "Accepted"),
        ):
            assert (await cpo.point.call(order)).status == status
        await house.until(lambda state: state.stations["ST1"].inoperative == {0})
        assert (await cpo.point.call(call.GetDiagnostics("ftp://cpo/x"))).file_name == "diag.zip"
        await cpo.point.call(call.UpdateFirmware("ftp://cpo/y", later))
        assert await point.was_asked("UpdateFirmware") == {"location": "ftp://cpo/y", "retrieve_date": later}
        assert await point.was_asked("ReserveNow") == {
            "connector_id": 1, "expiry_date": later, "id_tag": ANN, "reservation_id": 7
        }  # fmt: skip
        assert (await cpo.point.call(call.DataTransfer("acme", data="ping"))).data == "pong"
        assert (await point.call(call.DataTransfer("acme", data="ping"))).data == "from the CPO"
        await point.call(call.FirmwareStatusNotification("Downloading"))
        await cpo.hears("FirmwareStatusNotification", status="Downloading")
        await house.until(lambda state: state.stations["ST1"].reset_ms is not None)  # control knows: it will be away
        for message in ("BootNotification", "Heartbeat", "StatusNotification"):
            before = len(cpo.all(message))
            assert (await cpo.point.call(call.TriggerMessage(message))).status == "Accepted"
            await cpo.hears(message, before + 1)

    play(tmp_path, scene)


def test_what_the_cpo_reserves_is_kept_here_too_and_opens_for_no_other_badge(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        point.statuses["ReserveNow"] = "Accepted"
        assert (await cpo.point.call(call.ReserveNow(1, "2030-01-01T00:00:00+01:00", "04BEA", 7))).status == "Accepted"
        await house.until(lambda state: ("ST1", 7) in state.reservations)
        assert (await point.call(call.Authorize(ANN))).id_tag_info["status"] == "Blocked"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        refused = await started(point, at=now)
        assert refused.id_tag_info["status"] == "Blocked"
        await point.call(call.StopTransaction(1_000, now, refused.transaction_id, "DeAuthorized"))
        assert (await cpo.hears("StopTransaction"))["transaction_id"] == 900_001
        assert (await cpo.point.call(call.CancelReservation(7))).status == "Accepted"
        await house.until(lambda state: not state.reservations)
        assert (await point.call(call.Authorize(ANN))).id_tag_info["status"] == "Accepted"
        assert (await cpo.point.call(call.ReserveNow(1, "2030-01-01T00:00:00Z", ANN, 8))).status == "Accepted"
        await house.until(lambda state: ("ST1", 8) in state.reservations)
        assert (await started(point, wh=2_000, at=now)).id_tag_info["status"] == "Accepted"
        await house.until(lambda state: not state.reservations)

    play(tmp_path, scene)


def test_what_the_cpo_takes_out_of_use_is_known_here_until_it_is_in_use_again(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, _point: RealStation) -> None:
        for kind, known in (("Inoperative", {1}), ("Operative", set[int]())):
            assert (await cpo.point.call(call.ChangeAvailability(1, kind))).status == "Scheduled"
            await house.until(lambda state, now=known: state.stations["ST1"].inoperative == now)

    play(tmp_path, scene)


# The CPO is away


def test_a_slow_cpo_is_replaced_after_five_seconds_and_a_limit_waits_for_nobody(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, _house: House, point: RealStation) -> None:
        cpo.slow_s = 7
        began_s = fair_s()
        assert (await point.call(call.Authorize(ANN))).id_tag_info["status"] == "Accepted"
        assert 4 < fair_s() - began_s < 6
        assert (await point.call(call.Authorize("04D00D"))).id_tag_info["status"] == "Invalid"

    play(tmp_path, scene, offline=OfflinePolicy.LOCAL)


def test_what_happens_without_a_cpo_arrives_when_it_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        cpo = RealCpo()
        site = site_with("ws://127.0.0.1:9", offline=OfflinePolicy.LOCAL)
        async with running(tmp_path, site) as house, station(house) as point:
            await house.until(lambda state: "ST1" in state.uplink and "reached" in state.uplink["ST1"].error)
            begun = await started(point)
            await point.call(call.StopTransaction(2_000, "2026-03-01T13:00:00Z", begun.transaction_id))
            await house.until(lambda state: state.uplink["ST1"].queued == 2)
        async with cpo.listening():
            uplink = attrs.evolve(house.state.site.uplink, url=cpo.url)
            async with running(tmp_path, site_with("")) as house:  # after a restart, the station is gone for good
                await house.controller.ask(SiteEdited("ann", PutUplink(uplink)))
                await cpo.hears("StopTransaction", transaction_id=900_001, meter_stop=2_000)
                await house.until(lambda state: state.uplink["ST1"].queued == 0)

    asyncio.run(main())


def test_a_limit_waits_one_second_at_most_for_what_the_cpo_has_asked(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        await started(point)
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 16_000)
        point.silent.add("GetDiagnostics")
        asked = asyncio.create_task(cpo.point.call(call.GetDiagnostics("ftp://cpo/x"), suppress=False))
        await point.was_asked("GetDiagnostics")
        began_s = fair_s()
        lower = attrs.evolve(house.state.site.supply, static_max_ma=PerPhase.same(9_000))
        await house.controller.ask(SiteEdited("ann", PutSupply(lower)))
        async with asyncio.timeout(PATIENCE_S):
            while point.limits()[-1] > 9:
                point.came.clear()
                await point.came.wait()
        assert fair_s() - began_s < 2.8  # a tick comes once a second
        with pytest.raises(OCPPError):
            await asked
        assert house.state.stations["ST1"].online

    play(tmp_path, scene)


def test_after_every_new_link_the_cpo_hears_of_every_connector_again(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        await point.call(call.StatusNotification(0, "NoError", "Available"))
        await point.call(call.StatusNotification(1, "NoError", "Preparing"))
        await cpo.hears("StatusNotification", connector_id=1, status="Preparing")
        told = len(cpo.all("StatusNotification"))
        await cpo.point._connection.close()
        await house.until(lambda state: state.uplink["ST1"].state is UplinkState.OFFLINE)
        await cpo.hears("BootNotification", 2)
        await cpo.hears("StatusNotification", told + 2)
        again = {(one["connector_id"], one["status"]) for one in cpo.all("StatusNotification")[told:]}
        assert again == {(0, "Available"), (1, "Preparing")}
        assert house.state.stations["ST1"].online

    play(tmp_path, scene)


def test_when_the_cpo_is_switched_off_its_limits_go_with_it(tmp_path: Path) -> None:
    async def scene(cpo: RealCpo, house: House, point: RealStation) -> None:
        await started(point)
        assert (await cpo.point.call(call.SetChargingProfile(1, profile(7.0)))).status == "Accepted"
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 7_000)
        await house.controller.ask(SiteEdited("ann", PutAccess(AccessRule.BADGE)))
        await house.until(lambda state: state.connectors["ST1", 1].offered_ma == 16_000)
        await house.until(lambda state: state.uplink["ST1"].state is UplinkState.OFF)
        assert (await point.call(call.Authorize(ANN))).id_tag_info["status"] == "Accepted"
        assert (await point.call(call.Authorize("04D00D"))).id_tag_info["status"] == "Invalid"

    play(tmp_path, scene)


# Who may come in


def test_a_password_is_sent_and_a_wrong_one_is_told_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async def guarded(connection: ServerConnection, request: Request) -> Response | None:
            header = request.headers.get("Authorization")
            good = "Basic " + base64.b64encode(b"NL-ST1:0123456789abcdef").decode()
            return None if header == good else connection.respond(HTTPStatus.UNAUTHORIZED, "")

        cpo = RealCpo()
        subprotocols: Any = ["ocpp1.6"]
        async with serve(cpo.welcome, "127.0.0.1", 0, subprotocols=subprotocols, process_request=guarded) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/cpo"
            async with running(tmp_path, site_with(url)) as house, station(house):
                await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.REFUSED)
                assert "password" in house.state.uplink["ST1"].error
                await house.book.keep({("ST1", "password"): "0123456789abcdef"}, "ann")
                await house.controller.ask(SiteEdited("ann", PutUplink(house.state.site.uplink)))
                await house.until(lambda state: state.uplink["ST1"].state is UplinkState.ACCEPTED)
                change = call.ChangeConfiguration("AuthorizationKey", "fedcba9876543210")
                assert (await cpo.point.call(change)).status == "Accepted"
                assert await house.book.secret("ST1", "password") == "fedcba9876543210"
                told = await cpo.point.call(call.GetConfiguration(["AuthorizationKey", "SecurityProfile"]))
                assert [entry.get("value") for entry in told.configuration_key] == ["1", None]

    asyncio.run(main())
