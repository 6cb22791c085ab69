"""Every message that an operator may send, on raw sockets at both ends: what the station gets, and what comes back.

The table in docs/reference/cpo.md names these tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from odd_cpo import OddCpo
from patience import PATIENCE_S
from uplink_bench import ANN, House, running, site_with
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from llm_core import UplinkState

LATER = "2030-01-01T00:00:00+01:00"
AWKWARD = 'ünï “quoted” \\ / \u2028 {"a":[1.50,1e3]} \\u0041 <b>' + "x" * 20_000
FIRMWARE = {"location": "https://cpo/f", "retrieveDateTime": LATER, "signingCertificate": "C", "signature": "S"}

FORWARDED: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("CancelReservation", {"reservationId": 7}, {"status": "Accepted"}),
    ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}, {"status": "Scheduled"}),
    ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}, {"status": "Accepted"}),
    ("ChangeConfiguration", {"key": "LocalPreAuthorize", "value": "true"}, {"status": "RebootRequired"}),
    ("ChangeConfiguration", {"key": "StopTxnSampledData", "value": "SoC"}, {"status": "NotSupported"}),
    ("ClearCache", {}, {"status": "Accepted"}),
    ("DataTransfer", {"vendorId": "acme", "messageId": "m", "data": AWKWARD}, {"status": "Accepted", "data": AWKWARD}),
    ("DataTransfer", {"vendorId": "acme"}, {"status": "UnknownMessageId"}),
    ("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}, {"status": "NotImplemented"}),
    ("GetDiagnostics", {"location": "ftp://cpo/d", "retries": 3, "startTime": LATER}, {"fileName": "d.zip"}),
    ("GetDiagnostics", {"location": "ftp://cpo/d"}, {}),
    ("GetLocalListVersion", {}, {"listVersion": 17}),
    (
        "GetLog",
        {"logType": "SecurityLog", "requestId": 4, "log": {"remoteLocation": "ftp://cpo/l"}},
        {"status": "Accepted", "filename": "l.gz"},
    ),
    ("RemoteStartTransaction", {"idTag": ANN, "connectorId": 1}, {"status": "Rejected"}),
    ("RemoteStartTransaction", {"idTag": "a Tag:of 20 Letters:"[:16]}, {"status": "Rejected"}),
    (
        "ReserveNow",
        {"connectorId": 0, "expiryDate": LATER, "idTag": ANN, "parentIdTag": "FAMILY", "reservationId": -3},
        {"status": "Faulted"},
    ),
    ("Reset", {"type": "Hard"}, {"status": "Rejected"}),
    (
        "SendLocalList",
        {
            "listVersion": 18,
            "updateType": "Differential",
            "localAuthorizationList": [
                {"idTag": ANN, "idTagInfo": {"status": "Accepted", "expiryDate": LATER, "parentIdTag": "FAMILY"}},
                {"idTag": "gone"},
            ],
        },
        {"status": "VersionMismatch"},
    ),
    ("SignedUpdateFirmware", {"requestId": 5, "firmware": FIRMWARE}, {"status": "InvalidCertificate"}),
    ("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}, {"status": "Accepted"}),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, {"status": "Accepted"}),
    ("UnlockConnector", {"connectorId": 1}, {"status": "NotSupported"}),
    ("UpdateFirmware", {"location": "ftp://cpo/f", "retrieveDate": LATER, "retryInterval": 60}, {}),
)
WITHOUT_STATION: dict[str, Any] = {
    "CancelReservation": {"status": "Rejected"},
    "ChangeAvailability": {"status": "Rejected"},
    "ClearCache": {"status": "Accepted"},  # ours is empty now; the station's goes with its next order
    "DataTransfer": {"status": "Rejected"},
    "ExtendedTriggerMessage": {"status": "Rejected"},
    "GetDiagnostics": "InternalError",
    "GetLocalListVersion": "InternalError",
    "GetLog": "InternalError",
    "RemoteStartTransaction": {"status": "Rejected"},
    "ReserveNow": {"status": "Rejected"},
    "Reset": {"status": "Rejected"},
    "SendLocalList": {"status": "Failed"},
    "SignedUpdateFirmware": "InternalError",
    "TriggerMessage": {"status": "Rejected"},
    "UnlockConnector": {"status": "UnlockFailed"},
    "UpdateFirmware": "InternalError",
}


class RawStation:
    """Answers every call with what `says` holds for it, else Accepted; keeps the calls as they came."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link
        self.says: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.came = asyncio.Event()

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(await self.link.recv())
                if message[0] == 2:
                    self.asked.append((message[2], message[3]))
                    said = self.says.get(message[2], {"status": "Accepted"})
                    answer = [said[0], message[1], *said[1:]] if isinstance(said, list) else [3, message[1], said]
                    await self.link.send(json.dumps(answer))
                else:
                    self.answers[message[1]] = message[2]
                self.came.set()

    async def tell(self, action: str, payload: dict[str, Any]) -> Any:
        unique_id = f"s{len(self.answers)}"
        await self.link.send(json.dumps([2, unique_id, action, payload]))
        async with asyncio.timeout(PATIENCE_S):
            while unique_id not in self.answers:
                self.came.clear()
                await self.came.wait()
        return self.answers[unique_id]


@asynccontextmanager
async def raw_station(house: House) -> AsyncIterator[RawStation]:
    protocols: Any = ["ocpp1.6"]
    async with connect(f"ws://127.0.0.1:{house.port}/ST1", subprotocols=protocols, proxy=None) as link:
        point = RawStation(link)
        listening = asyncio.create_task(point.listen())
        try:
            await point.tell("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
            await point.tell("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})
            yield point
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def play(folder: Path, scene: Callable[[OddCpo, House, RawStation], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        cpo = OddCpo()
        async with cpo.listening(), running(folder, site_with(cpo.url)) as house, raw_station(house) as point:
            await house.until(lambda s: "ST1" in s.uplink and s.uplink["ST1"].state is UplinkState.ACCEPTED)
            await scene(cpo, house, point)

    asyncio.run(main())


def test_what_is_forwarded_reaches_the_station_as_it_was_said_and_its_answer_comes_back_as_it_was(
    tmp_path: Path,
) -> None:
    async def scene(cpo: OddCpo, _house: House, point: RawStation) -> None:
        for number, (action, payload, answer) in enumerate(FORWARDED):
            before = len(point.asked)
            point.says = {action: answer}
            assert await cpo.tell(f"c{number}", action, {**payload, "vendorsOwn": 1}) == answer, action
            assert (action, payload) in point.asked[before:], action

    play(tmp_path, scene)


def test_what_a_station_refuses_comes_back_as_its_own_refusal(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, _house: House, point: RawStation) -> None:
        for code in ("NotSupported", "NotImplemented", "SecurityError", "InternalError", "GenericError"):
            point.says = {"UpdateFirmware": [4, code, "not today", {}]}
            told = await cpo.tell(code, "UpdateFirmware", {"location": "ftp://cpo/f", "retrieveDate": LATER})
            assert told == code

    play(tmp_path, scene)


def test_without_the_station_the_operator_is_told_at_once_what_an_ordinary_one_would_say(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, house: House, point: RawStation) -> None:
        await point.link.close()
        await house.until(lambda state: not state.stations["ST1"].online)
        payloads = {action: payload for action, payload, _ in FORWARDED}
        for number, (action, answer) in enumerate(WITHOUT_STATION.items()):
            assert await cpo.tell(f"w{number}", action, payloads[action]) == answer, action
        told = await cpo.tell("keys", "GetConfiguration", {"key": ["HeartbeatInterval", "Nonsense"]})
        assert told["configurationKey"] == [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
        assert told["unknownKey"] == ["Nonsense"]

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "action",
    ["CertificateSigned", "DeleteCertificate", "GetInstalledCertificateIds", "InstallCertificate", "SetVariables"],
)
def test_certificates_of_the_stations_own_link_and_what_nobody_knows_are_not_implemented(
    tmp_path: Path, action: str
) -> None:
    async def scene(cpo: OddCpo, _house: House, point: RawStation) -> None:
        before = len(point.asked)
        assert await cpo.tell("1", action, {}) == "NotImplemented"
        assert action not in [asked for asked, _ in point.asked[before:]]

    play(tmp_path, scene)


def test_data_of_a_station_reaches_the_operator_as_it_was_said_and_so_does_the_answer(tmp_path: Path) -> None:
    async def scene(cpo: OddCpo, _house: House, point: RawStation) -> None:
        said = {"vendorId": "acme", "messageId": "m", "data": AWKWARD}
        cpo.habits["DataTransfer"] = {"status": "UnknownVendorId", "data": AWKWARD}
        assert await point.tell("DataTransfer", said) == cpo.habits["DataTransfer"]
        assert cpo.all("DataTransfer") == [said]
        cpo.habits["DataTransfer"] = [4, "NotSupported", "no", {}]
        assert await point.tell("DataTransfer", said) == "NotSupported"

    play(tmp_path, scene)


def test_notices_of_a_station_reach_the_operator_in_their_order_and_their_own_words(tmp_path: Path) -> None:
    notices = [
        ("DiagnosticsStatusNotification", {"status": "Uploading"}),
        ("FirmwareStatusNotification", {"status": "Downloading"}),
        ("LogStatusNotification", {"status": "Uploaded", "requestId": 4}),
        ("SecurityEventNotification", {"type": "TamperDetectionActivated", "timestamp": LATER, "techInfo": "lid"}),
        ("SignedFirmwareStatusNotification", {"status": "Installed", "requestId": 5}),
    ]

    async def scene(cpo: OddCpo, _house: House, point: RawStation) -> None:
        for action, payload in notices:
            assert await point.tell(action, payload) == {}
        await cpo.hears("SignedFirmwareStatusNotification")
        assert [(action, payload) for _, action, payload in cpo.heard if (action, payload) in notices] == notices

    play(tmp_path, scene)
