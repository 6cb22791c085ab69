"""The rarer orders to a station: each goes to the core as typed, and what the station answers is shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import attrs
import pytest
from test_web_pages import change, signed_in
from web_scene import NOON, Nobody, Served

from llm_adapters.web.api.commands import COMMANDS
from llm_adapters.web.orders import BY_HAND
from llm_adapters.web.station_more import ASKED
from llm_core import CallOutcome, Json, Order, Reservation, StationOrdered

MORE = "/stations/ST1/more"
OF_THE_API_ALONE = {
    Order.CERTIFICATES,
    Order.INSTALL_CERTIFICATE,
    Order.DELETE_CERTIFICATE,
    Order.SEND_CERTIFICATE,
    Order.SIGNED_FIRMWARE,
    Order.EXTENDED_TRIGGER,
    Order.LOG,
}
"""What nobody types in: keys and certificates."""


def test_every_order_of_the_api_can_be_given_by_a_person_except_those_with_certificates() -> None:
    offered = {one.order for one in ASKED} | {*BY_HAND, Order.CANCEL_RESERVATION}
    assert {command.order for command in COMMANDS} == offered | OF_THE_API_ALONE


@pytest.mark.parametrize(
    ("typed", "detail"),
    [
        ({"order": "reserve", "connector": "1", "badge_id": "A1B2C3", "until": "2026-03-10T18:00"}, "2026-03-10T17:00"),
        ({"order": "get-configuration"}, ""),
        ({"order": "change-configuration", "key": "HeartbeatInterval", "value": ""}, "HeartbeatInterval"),
        ({"order": "composite-schedule", "connector": "1"}, ""),
        ({"order": "phase-rotation"}, ""),
        ({"order": "clear-cache"}, ""),
        ({"order": "local-list-version"}, ""),
        ({"order": "trigger", "connector": "1", "message": "MeterValues"}, "MeterValues"),
        ({"order": "diagnostics", "location": "ftp://10.0.0.2/in", "since": "2026-03-09T00:00"}, ""),
        ({"order": "firmware", "location": "https://10.0.0.2/fw.bin", "since": ""}, ""),
        ({"order": "data-transfer", "vendor_id": "org.example", "message_id": "x", "data": "1"}, "org.example x"),
        ({"order": "cancel-reservation", "reservation_id": "3"}, ""),
    ],
)
def test_an_order_goes_to_the_core_as_typed(served: Served, typed: dict[str, str], detail: str) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, MORE, typed)
    assert answer.status_code == 200
    assert "The station does it." in answer.text
    [given] = served.book.asked
    assert isinstance(given, StationOrdered)
    assert given.order == typed["order"]
    assert detail in given.detail


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"order": "diagnostics", "location": "somewhere"}, "must be an address like"),
        ({"order": "firmware", "location": ""}, "is missing"),
        ({"order": "reserve", "badge_id": "A1B2C3", "until": ""}, "is missing"),
        ({"order": "reserve", "badge_id": "A1B2C3", "until": "soon"}, "A day and an hour"),
        ({"order": "change-configuration", "key": "k" * 51, "value": "1"}, "must have 1 to 50 characters"),
    ],
)
def test_what_is_typed_wrong_is_told_at_its_field_and_stays_typed(
    served: Served, typed: dict[str, str], told: str
) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, MORE, typed)
        assert answer.status_code == 422
        assert told in answer.text.split('aria-invalid="true"')[1]
        assert change(served, client, MORE, {"order": "explode"}).status_code == 400
        assert client.get("/stations/EV-NEW-01/more").status_code == 404
    assert not served.book.asked


def test_what_the_station_tells_is_shown_and_secrets_are_not(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[Json] = [
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
        {"key": "AuthorizationKey", "readonly": False, "value": "Canary-Secret-1"},
    ]

    async def call(_: Nobody, station_id: str, action: str, payload: Mapping[str, Json]) -> CallOutcome:
        assert (station_id, action, payload) == ("ST1", "GetConfiguration", {})
        return CallOutcome("", {"configurationKey": keys, "unknownKey": []})

    monkeypatch.setattr(Nobody, "call", call)
    with signed_in(served, "administrator") as client:
        html = change(served, client, MORE, {"order": "get-configuration"}).text
    assert "<dt>HeartbeatInterval</dt><dd>300</dd>" in html
    assert "<dd>2 (cannot be changed)</dd>" in html
    assert "Canary-Secret-1" not in html


def test_what_is_kept_for_somebody_is_shown_until_it_is_over(served: Served) -> None:
    kept = Reservation(3, "ST1", 1, "A1B2C3", NOON + timedelta(hours=2))
    over = Reservation(4, "ST1", 1, "0455AA", NOON - timedelta(hours=2))
    elsewhere = Reservation(3, "ST2", 1, "C0FFEE", NOON + timedelta(hours=2))
    reservations = {(one.station_id, one.number): one for one in (kept, over, elsewhere)}
    served.book.state = attrs.evolve(served.book.state, reservations=reservations)
    with signed_in(served, "administrator") as client:
        html = client.get(MORE).text.split("Kept for somebody")[1].split("</section>")[0]
    assert "Müller" in html
    assert "until 15:00" in html
    assert html.count("<li>") == 1
