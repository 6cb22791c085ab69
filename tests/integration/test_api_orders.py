"""Orders to stations over HTTP: judged by the core, given to the station, audited with their outcome."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from test_api import House, admin, busy, house, pointers, problem, served

from llm_adapters.web.api.commands import COMMANDS
from llm_core import CallFailure, CallOutcome, Role, StationConnected

__all__ = ["admin", "house", "served"]  # fixtures

AT = "/api/v1/stations/ST1/commands"
BODIES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "reset": ({"type": "hard"}, "Reset", {"type": "Hard"}),
    "unlock": ({}, "UnlockConnector", {"connectorId": 1}),
    "remote-stop": ({}, "RemoteStopTransaction", {"transactionId": 1}),
    "availability": (
        {"connector": 0, "type": "inoperative"},
        "ChangeAvailability",
        {"connectorId": 0, "type": "Inoperative"},
    ),
    "clear-cache": ({}, "ClearCache", {}),
    "get-configuration": ({"keys": ["A"]}, "GetConfiguration", {"key": ["A"]}),
    "change-configuration": ({"key": "A", "value": "1"}, "ChangeConfiguration", {"key": "A", "value": "1"}),
    "trigger": (
        {"message": "MeterValues", "connector": 1},
        "TriggerMessage",
        {"requestedMessage": "MeterValues", "connectorId": 1},
    ),
    "data-transfer": (
        {"vendor_id": "acme", "data": "x"},
        "DataTransfer",
        {"vendorId": "acme", "messageId": None, "data": "x"},
    ),
}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_an_order_reaches_the_station_in_its_own_words(name: str, house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    body, action, payload = BODIES[name]
    answer = admin.post(f"{AT}/{name}", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "station_id": "ST1",
        "command": name,
        "done": True,
        "status": "Accepted",
        "payload": {"status": "Accepted"},
    }
    assert house.wall.asked == [("ST1", action, payload)]


def test_a_remote_start_goes_out_with_the_badge_as_it_was_first_entered(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    assert admin.post("/api/v1/stations", json={"id": "ST2"}).status_code == 201
    assert admin.post("/api/v1/stations/ST2/commands/remote-start", json={"badge_id": "a1b2c3"}).is_success
    assert house.wall.asked[-1] == ("ST2", "RemoteStartTransaction", {"idTag": "A1:B2:C3", "connectorId": None})


@pytest.mark.parametrize(
    ("station", "body", "status", "pointed"),
    [
        ("ST2", {}, 422, ["/badge_id"]),
        ("ST2", {"badge_id": "FFFF"}, 409, []),
        ("ST2", {"badge_id": "A1B2C3", "connector": 9}, 422, ["/connector"]),
        ("ST2", {"badge": "A1B2C3"}, 422, ["/badge"]),
        ("ST1", {"badge_id": "A1B2C3"}, 409, []),
        ("NEW1", {"badge_id": "A1B2C3"}, 409, []),
        ("NONE", {"badge_id": "A1B2C3"}, 404, []),
    ],
)
def test_a_remote_start_is_refused_where_a_start_at_the_station_would_be(
    station: str, body: dict[str, Any], status: int, pointed: list[str], house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    assert admin.post("/api/v1/stations", json={"id": "ST2"}).status_code == 201
    answer = admin.post(f"/api/v1/stations/{station}/commands/remote-start", json=body)
    assert pointers(answer, status) == pointed
    assert house.wall.asked == []


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (CallFailure.OFFLINE, 409),
        (CallFailure.TIMEOUT, 504),
        (CallFailure.REFUSED, 409),
        (CallFailure.NOT_SUPPORTED, 409),
        (CallFailure.MALFORMED, 422),
    ],
)
def test_a_station_that_does_not_answer_is_told_in_words(
    failure: CallFailure, status: int, house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    house.wall.outcome = CallOutcome(failure=failure, detail="why")
    problem(admin.post(f"{AT}/reset"), status)


def test_a_station_that_says_no_is_no_error_of_the_request(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    house.wall.outcome = CallOutcome("Rejected", {"status": "Rejected"})
    answer = admin.post(f"{AT}/reset").json()
    assert (answer["done"], answer["status"]) == (False, "Rejected")


def test_only_an_administrator_gives_orders(house: House) -> None:
    for role in (Role.STANDARD, Role.ADVANCED):
        with house.client(role) as client:
            for command in COMMANDS:
                assert client.post(f"{AT}/{command.order}").status_code == 403


def test_while_the_disk_fails_an_order_that_would_not_be_audited_is_not_given(
    house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    house.inbox.disk_full = True
    problem(admin.post(f"{AT}/reset"), 503)
    assert house.wall.asked == []


def test_a_reservation_is_made_kept_and_cancelled(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    assert admin.post("/api/v1/stations", json={"id": "ST2"}).status_code == 201
    house.inbox.post(StationConnected("ST2"))
    at = "/api/v1/stations/ST2/commands"
    body = {"badge_id": "a1b2c3", "until": "2026-07-01T13:00:00+02:00", "connector": 1}
    assert admin.post(f"{at}/reserve", json=body).json()["done"]
    (reservation,) = house.inbox.state.reservations.values()
    assert house.wall.asked[-1][2] == {
        "connectorId": 1,
        "expiryDate": "2026-07-01T11:00:00Z",
        "idTag": "A1:B2:C3",
        "reservationId": reservation.number,
    }
    assert admin.post("/api/v1/badges", json={"badge_id": "FF00"}).is_success
    problem(admin.post(f"{at}/reserve", json=body | {"badge_id": "FF00"}), 409)
    assert admin.post(f"{at}/cancel-reservation", json={}).json()["done"]
    assert house.wall.asked[-1][2] == {"reservationId": reservation.number}
    assert house.inbox.state.reservations == {}
    problem(admin.post(f"{at}/cancel-reservation", json={}), 409)


@pytest.mark.parametrize(
    ("command", "body", "pointed"),
    [
        ("reserve", {"badge_id": "a1b2c3", "until": "2026-06-01T13:00:00Z", "connector": 1}, ["/until"]),
        ("reserve", {"badge_id": "a1b2c3", "until": "2026-08-01T13:00:00"}, ["/until"]),
        ("reserve", {"badge_id": "a1b2c3"}, ["/until"]),
        ("firmware", {"location": "firmware.bin"}, ["/location"]),
        ("firmware", {}, ["/location"]),
        ("install-certificate", {"type": "manufacturer", "certificate": "secret"}, ["/certificate"]),
        (
            "install-certificate",
            {"type": "any", "certificate": "-----BEGIN CERTIFICATE" + 6_000 * "x"},
            ["/type", "/certificate"],
        ),
        ("send-certificate", {"certificate": "-----BEGIN CERTIFICATE" + 10_000 * "x"}, ["/certificate"]),
        ("send-certificate", {"certificate": "key"}, ["/certificate"]),
        ("trigger", {"message": "Everything"}, ["/message"]),
    ],
)
def test_what_no_station_could_do_is_refused_where_it_stands(
    command: str, body: dict[str, Any], pointed: list[str], house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    assert pointers(admin.post(f"{AT}/{command}", json=body)) == pointed
    assert house.wall.asked == []


def test_every_order_is_audited_with_its_outcome(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    assert admin.post(f"{AT}/reset", json={"type": "hard"}).is_success
    assert house.inbox.audited[-1].what == "reset"
    assert (house.inbox.audited[-1].old, house.inbox.audited[-1].new) == ("ST1 hard", "Accepted")
    problem(admin.post("/api/v1/stations/NEW1/commands/reset"), 409)
    assert house.inbox.audited[-1].new == "not sent: not_adopted"


def test_a_secret_that_a_station_tells_is_not_read_back(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    told = [{"key": "AuthorizationKey", "value": "s3cret"}, {"key": "HeartbeatInterval", "value": "60"}, "nonsense"]
    house.wall.outcome = CallOutcome("", {"configurationKey": [*told]})
    payload = admin.post(f"{AT}/get-configuration").json()["payload"]
    assert [entry["value"] for entry in payload["configurationKey"][:2]] == ["…", "60"]
