"""Every message of OCPP 1.6 and of its security paper, in both directions, against the `ocpp` package's charge point.

The package checks each call and each answer against the schemas, on either side.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import UTC, datetime
from inspect import isclass
from typing import Any

import attrs
import pytest
from ocpp.routing import create_route_map, on
from ocpp.v16 import call, call_result
from ocpp.v16.datatypes import MeterValue, SampledValue
from patience import PATIENCE_S
from test_ocpp_stations import STAMP, Bench, RealStation, bench, run
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16.calls import schema_fault
from llm_adapters.ocpp16.signing import NOT_PROVEN
from llm_adapters.web.api.commands import COMMANDS, Ordered, Wish
from llm_core import (
    AskReading,
    BadgePresented,
    CallOutcome,
    CapabilitiesFound,
    ClearLimit,
    ConfigurationRead,
    InviteBoot,
    KeyHandover,
    LimitConfirmed,
    LimitRefused,
    MeterValuesReceived,
    Order,
    OrderGranted,
    Phase,
    Purpose,
    ReportKind,
    SetLimit,
    StartRequested,
    Station,
    StationBooted,
    StationCommand,
    StationReported,
    Status,
    StatusChanged,
    StopRemotely,
    StopRequested,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
HASH = {"hash_algorithm": "SHA256", "issuer_name_hash": "aa", "issuer_key_hash": "bb", "serial_number": "1"}
BODIES: dict[Order, dict[str, Any]] = {
    Order.RESET: {"type": "hard"},
    Order.UNLOCK: {},
    Order.REMOTE_START: {"badge_id": "A1B2"},
    Order.REMOTE_STOP: {},
    Order.AVAILABILITY: {"connector": 0, "type": "inoperative"},
    Order.RESERVE: {"badge_id": "A1B2", "until": "2026-03-01T15:00:00+01:00"},
    Order.CANCEL_RESERVATION: {},
    Order.CLEAR_CACHE: {},
    Order.GET_CONFIGURATION: {"keys": ["HeartbeatInterval"]},
    Order.CHANGE_CONFIGURATION: {"key": "HeartbeatInterval", "value": "60"},
    Order.PHASE_ROTATION: {},
    Order.COMPOSITE_SCHEDULE: {"duration_s": 60, "unit": "A"},
    Order.TRIGGER: {"message": "StatusNotification", "connector": 1},
    Order.EXTENDED_TRIGGER: {"message": "LogStatusNotification"},
    Order.DIAGNOSTICS: {"location": "ftp://192.0.2.1/in", "since": "2026-03-01T00:00:00Z", "retries": 2},
    Order.LOG: {"type": "security", "location": "https://192.0.2.1/in", "until": "2026-03-01T12:00:00Z"},
    Order.FIRMWARE: {"location": "https://192.0.2.1/firmware.bin"},
    Order.SIGNED_FIRMWARE: {"location": "https://192.0.2.1/f.bin", "certificate": PEM, "signature": "c2ln"},
    Order.LOCAL_LIST_VERSION: {},
    Order.CERTIFICATES: {"type": "central_system"},
    Order.INSTALL_CERTIFICATE: {"type": "manufacturer", "certificate": PEM},
    Order.DELETE_CERTIFICATE: HASH,
    Order.SEND_CERTIFICATE: {"certificate": PEM},
    Order.DATA_TRANSFER: {"vendor_id": "acme", "message_id": "ping", "data": "x"},
}
GRANTED = OrderGranted(1, "A1B2", 17, 900, datetime(2026, 3, 1, 14, 0, tzinfo=UTC))
ANSWERS: dict[str, Any] = {
    "CancelReservation": call_result.CancelReservation("Accepted"),
    "CertificateSigned": call_result.CertificateSigned("Accepted"),
    "ChangeAvailability": call_result.ChangeAvailability("Scheduled"),
    "ClearCache": call_result.ClearCache("Accepted"),
    "DataTransfer": call_result.DataTransfer("Accepted", data="pong"),
    "DeleteCertificate": call_result.DeleteCertificate("Accepted"),
    "ExtendedTriggerMessage": call_result.ExtendedTriggerMessage("Accepted"),
    "GetCompositeSchedule": call_result.GetCompositeSchedule("Accepted", connector_id=1),
    "GetDiagnostics": call_result.GetDiagnostics(file_name="d.zip"),
    "GetInstalledCertificateIds": call_result.GetInstalledCertificateIds("NotFound"),
    "GetLocalListVersion": call_result.GetLocalListVersion(3),
    "GetLog": call_result.GetLog("Accepted", filename="log.zip"),
    "InstallCertificate": call_result.InstallCertificate("Accepted"),
    "RemoteStartTransaction": call_result.RemoteStartTransaction("Accepted"),
    "ReserveNow": call_result.ReserveNow("Accepted"),
    "Reset": call_result.Reset("Accepted"),
    "SendLocalList": call_result.SendLocalList("Accepted"),
    "SignedUpdateFirmware": call_result.SignedUpdateFirmware("Accepted"),
    "UnlockConnector": call_result.UnlockConnector("Unlocked"),
    "UpdateFirmware": call_result.UpdateFirmware(),
}


class Complete(RealStation):
    """A station that knows every message."""

    def __init__(self, station_id: str, connection: Any) -> None:
        super().__init__(station_id, connection)
        for action, answer in ANSWERS.items():
            self.__dict__[f"on_{action}"] = self._answering(action, answer)
        self.route_map = create_route_map(self) | {
            action: {"_on_action": self.__dict__[f"on_{action}"], "_skip_schema_validation": False}
            for action in ANSWERS
        }

    def _answering(self, action: str, answer: Any) -> Any:
        @on(action)
        async def respond(**payload: Any) -> Any:
            self._note(action, payload)
            return answer

        return respond


async def complete(b: Bench) -> Complete:
    connection = await b.open()
    station = Complete("CP_1", connection)

    async def serve() -> None:
        with suppress(ConnectionClosed):
            await station.start()

    b._stations.append((connection, asyncio.create_task(serve())))
    await station.boot()
    return station


def test_the_orders_below_are_all_there_are() -> None:
    assert {command.order for command in COMMANDS} == set(Order) - {Order.COMMISSION} == set(BODIES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.order)
def test_what_is_asked_of_a_station_keeps_the_schema_and_is_answered(command: Any) -> None:
    wish = command.body.read(BODIES[command.order], Wish())
    payload = command.payload(Ordered(wish, GRANTED, Station("CP_1"), NOON))
    assert command.detail(wish) is not None

    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            outcome = await b.server.call("CP_1", command.action, payload)
            assert outcome.failure is None, outcome
            assert command.action in {name for name, _ in station.asked} | {"ChangeConfiguration"}

    run(scenario)


DONE = SetLimit(0, "CP_1", 1, Purpose.FLOOR, 0, 0, None, None, 3, lowers=False)
BY_ITSELF: dict[str, tuple[StationCommand, ...]] = {
    "SetChargingProfile": (
        DONE,
        attrs.evolve(DONE, purpose=Purpose.DEFAULT, limit_ma=13_870, then_ma=6_000, lease_ms=120_000),
        attrs.evolve(
            DONE, purpose=Purpose.TRANSACTION, limit_ma=9_300, lease_ms=300_000, transaction_id=17, lowers=True
        ),
    ),
    "ClearChargingProfile": (
        ClearLimit(0, "CP_1", 1),
        ClearLimit(0, "CP_1", 1, Purpose.DEFAULT),
        ClearLimit(0, "CP_1", 1, Purpose.TRANSACTION),
    ),
    "RemoteStopTransaction": (StopRemotely("CP_1", 17),),
    "TriggerMessage": (AskReading("CP_1", 1), InviteBoot("CP_1")),
}
"""What control sends without being told to, beside what follows a boot."""


@pytest.mark.parametrize("action", BY_ITSELF)
@pytest.mark.parametrize("unit", ["Current", "Power"])
@pytest.mark.parametrize("level", ["0", "8"])
def test_what_control_sends_by_itself_keeps_the_schema_and_is_answered(action: str, unit: str, level: str) -> None:
    """The package's charge point hears only what keeps the schema: it answers all else with an error."""

    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            station.keys |= {"ChargingScheduleAllowedChargingRateUnit": unit, "ChargeProfileMaxStackLevel": level}
            await station.boot()
            await b.inbox.until(CapabilitiesFound, count=2)
            heard = [told for told, _ in station.asked].count(action)
            for seq, command in enumerate((DONE, *BY_ITSELF[action]), start=1):
                limit = isinstance(command, SetLimit | ClearLimit)
                b.server.perform(attrs.evolve(command, seq=seq) if limit else command)
                if limit:
                    await b.inbox.until(LimitConfirmed, lambda told, seq=seq: told.seq == seq)
            async with asyncio.timeout(PATIENCE_S):
                while [told for told, _ in station.asked].count(action) < heard + len(BY_ITSELF[action]):
                    station._came.clear()
                    await station._came.wait()
            assert not b.inbox.all(LimitRefused)

    run(scenario)


def test_a_new_password_and_the_list_of_badges_keep_the_schema() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            assert await b.server.hand_key("CP_1", bytes(20)) is KeyHandover.TAKEN
            assert ("AuthorizationKey", {"value": "00" * 20}) in station.asked
            entries = [
                {"idTag": "A1", "idTagInfo": {"status": "Accepted", "expiryDate": "2030-01-31T22:59:59Z"}},
                {"idTag": "B2"},
            ]
            payload = {"listVersion": 4, "updateType": "Differential", "localAuthorizationList": entries}
            assert (await b.server.call("CP_1", "SendLocalList", payload)).status == "Accepted"

    run(scenario)


def test_no_message_of_the_standard_is_left_out() -> None:
    """Of all that the package knows: what stations say, what people order, and what control sends by itself."""
    known = {name for name, kind in vars(call).items() if isclass(kind) and is_dataclass(kind)}
    up = {type(said.message).__name__ for said in SAID}
    down = {command.action for command in COMMANDS} | set(BY_ITSELF) | {"SendLocalList"}
    assert known == up | down
    assert up & down == {"DataTransfer"}


def test_the_answers_of_a_station_come_back_whole() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            await complete(b)
            data = {"vendorId": "acme"}
            assert await b.server.call("CP_1", "DataTransfer", data) == CallOutcome(
                "Accepted", {"status": "Accepted", "data": "pong"}
            )
            diagnostics = await b.server.call("CP_1", "GetDiagnostics", {"location": "ftp://192.0.2.1/in"})
            assert (diagnostics.status, diagnostics.payload) == ("", {"fileName": "d.zip"})

    run(scenario)


def test_a_phase_order_is_told_as_configured() -> None:
    (command,) = [command for command in COMMANDS if command.order is Order.PHASE_ROTATION]

    def told(*rotation: Phase) -> object:
        station = Station("CP_1", phase_rotation=rotation, connectors=2)
        return command.payload(Ordered(Wish(), GRANTED, station, NOON))["value"]

    assert told(Phase.L2, Phase.L3, Phase.L1) == "0.STR,1.STR,2.STR"
    assert told(Phase.L3) == "0.NotApplicable,1.NotApplicable,2.NotApplicable"


def test_keys_that_were_read_become_a_fact() -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            station.keys["AuthorizationKey"] = "s3cret"
            await b.server.call("CP_1", "GetConfiguration", {})
            await b.inbox.until(ConfigurationRead, lambda told: told.values["ChargeProfileMaxStackLevel"] == "2")
            assert all("s3cret" not in told.values.values() for told in b.inbox.all(ConfigurationRead))

    run(scenario)


@attrs.frozen
class Said:
    """A message of a station, what the core learns of it, and a field of the answer."""

    message: Any
    fact: Any
    answer: dict[str, Any] = attrs.field(factory=dict)


SAMPLE = MeterValue(STAMP, [SampledValue("6.0", measurand="Current.Import", unit="A")])
SAID = (
    Said(
        call.BootNotification("Model", "Vendor", firmware_version="1.2"),
        StationBooted("CP_1", "Vendor", "Model", "1.2"),
        {"status": "Accepted"},
    ),
    Said(call.Heartbeat(), None),
    Said(call.Authorize("A1"), BadgePresented("CP_1", "A1"), {"id_tag_info": {"status": "Accepted"}}),
    Said(
        call.StartTransaction(1, "A1", 5, STAMP),
        StartRequested("CP_1", 1, "A1", 5, NOON),
        {"transaction_id": 17},
    ),
    Said(call.StopTransaction(9, STAMP, 17), StopRequested("CP_1", 17, 9, NOON)),
    Said(call.StatusNotification(1, "NoError", "Reserved", STAMP), StatusChanged("CP_1", 1, Status.RESERVED, at=NOON)),
    Said(
        call.MeterValues(1, [SAMPLE], 17),
        MeterValuesReceived("CP_1", 1, 17, (6_000,), at=NOON),
    ),
    Said(
        call.SignCertificate("-----BEGIN CERTIFICATE REQUEST-----"),
        StationReported("CP_1", ReportKind.SECURITY, "SignCertificate", NOT_PROVEN),
        {"status": "Rejected"},
    ),
    Said(call.DataTransfer("nobody"), None, {"status": "UnknownVendorId"}),
    Said(
        call.DiagnosticsStatusNotification("Uploading"),
        StationReported("CP_1", ReportKind.DIAGNOSTICS, "Uploading"),
    ),
    Said(call.FirmwareStatusNotification("Downloading"), StationReported("CP_1", ReportKind.FIRMWARE, "Downloading")),
    Said(
        call.SignedFirmwareStatusNotification("InvalidSignature", 900),
        StationReported("CP_1", ReportKind.FIRMWARE, "InvalidSignature", "900"),
    ),
    Said(call.LogStatusNotification("Uploaded", 900), StationReported("CP_1", ReportKind.LOG, "Uploaded", "900")),
    Said(
        call.SecurityEventNotification("TamperDetectionActivated", STAMP, "lid"),
        StationReported("CP_1", ReportKind.SECURITY, "TamperDetectionActivated", "lid", NOON),
    ),
)


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said.message).__name__)
def test_what_a_station_says_becomes_a_fact_and_is_answered_by_the_schema(said: Said) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            answer = await station.call(said.message)
            for name, value in said.answer.items():
                told = getattr(answer, name)
                assert told == value if not isinstance(value, dict) else value.items() <= told.items()
            if said.fact is not None:
                assert said.fact in b.inbox.events

    run(scenario)


@pytest.mark.parametrize(
    "silent", [call.FirmwareStatusNotification("Idle"), call.DiagnosticsStatusNotification("Idle")]
)
def test_a_station_that_does_nothing_reports_nothing(silent: Any) -> None:
    async def scenario() -> None:
        async with bench("CP_1") as b:
            station = await complete(b)
            await station.call(silent)
            assert b.inbox.all(StationReported) == []

    run(scenario)


def test_a_maker_answers_in_its_own_words() -> None:
    async def pong(station_id: str, message_id: str, data: object) -> str | None:
        if data == "break":
            raise ValueError(data)
        return None if data == "hush" else f"{station_id} {message_id} {data}"

    async def scenario() -> None:
        async with bench("CP_1") as b:
            b.server.vendors.register("Acme", pong)
            station = await complete(b)
            told = await station.call(call.DataTransfer("ACME", message_id="ping", data="x"))
            assert (told.status, told.data) == ("Accepted", "CP_1 ping x")
            assert (await station.call(call.DataTransfer("acme", data="hush"))).data is None
            assert (await station.call(call.DataTransfer("acme", data="break"))).status == "Rejected"
            assert (await station.call(call.Heartbeat())).current_time, "and its link lives on"

    run(scenario)


def test_a_payload_that_breaks_the_schema_is_found() -> None:
    assert schema_fault("SetChargingProfile", {}) is not None
    assert schema_fault("Reset", {"type": "Soft", "why": "fun"}) is not None
    assert schema_fault("Reset", {"type": "Soft"}) is None
