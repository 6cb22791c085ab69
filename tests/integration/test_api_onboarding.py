"""Taking stations in over HTTP: the search, several changed at once, one station in detail."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from test_api import House, admin, busy, house, pointers, served

from llm_adapters.web.api.commissioning import finding_text
from llm_adapters.web.api.station_details import NOTES
from llm_core import (
    CommissionTold,
    CommissionWish,
    ConfigurationRead,
    Finding,
    Progress,
    ReportKind,
    Role,
    StationClockRead,
    StationConnected,
    StationNote,
    StationReported,
    Trial,
    Tried,
)

__all__ = ["admin", "house", "served"]  # fixtures


def test_a_search_shows_who_calls_and_what_to_type(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    before = admin.get("/api/v1/scan").json()
    assert (before["active"], before["remaining_s"]) == (False, 0)
    begun = admin.post("/api/v1/scan", json={"duration_s": 120})
    assert begun.status_code == 201
    assert (begun.json()["active"], begun.json()["remaining_s"]) == (True, 120)
    assert begun.json()["station_url"].startswith("ws://")
    house.clock.ms += 1_000
    house.inbox.post(StationConnected("NEW2", "127.0.0.3", "/NEW2"))
    found = admin.get("/api/v1/scan").json()["found"]
    assert [(station["id"], station["state"], station["new"]) for station in found] == [
        ("NEW2", "pending", True),
        ("NEW1", "pending", False),
    ]
    assert not admin.delete("/api/v1/scan").json()["active"]


def test_a_search_that_nobody_could_mean_is_refused(admin: httpx.Client) -> None:
    assert pointers(admin.post("/api/v1/scan", json={"duration_s": 5})) == ["/duration_s"]
    assert pointers(admin.post("/api/v1/scan", json={"duration": 60})) == ["/duration"]
    assert admin.post("/api/v1/scan").json()["remaining_s"] == 180


def test_several_stations_are_changed_at_once(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    assert admin.post("/api/v1/stations", json={"id": "ST2"}).is_success
    assert admin.put("/api/v1/clusters", json={"clusters": [{"id": "default"}, {"id": "c2"}]}).is_success
    body = {"ids": ["ST1", "ST2"], "fields": {"cluster": "c2", "max_a": 32, "badges": ["A1B2C3"]}}
    assert admin.patch("/api/v1/stations", json=body).json() == {"changed": 2}
    for station_id, name in (("ST1", "Bay 1"), ("ST2", "ST2")):
        seen = admin.get(f"/api/v1/stations/{station_id}").json()
        assert (seen["cluster"], seen["max_a"], seen["badges"], seen["name"]) == ("c2", 32, ["A1B2C3"], name)


@pytest.mark.parametrize(
    ("body", "pointed"),
    [
        ({"ids": ["ST1", "NEW1", "NONE"], "fields": {"max_a": 32}}, ["/ids/1", "/ids/2"]),
        ({"ids": ["ST1"], "fields": {"max": 32}}, ["/fields/max"]),
        ({"ids": ["ST1"], "fields": {"id": "ST9"}}, ["/fields/id"]),
        ({"ids": ["ST1"], "fields": {"password": "x"}}, ["/fields/password"]),
        ({"ids": ["ST1"], "fields": {"security_profile": 1}}, ["/fields/security_profile"]),
        ({"ids": ["ST1"], "fields": {"cluster": "none"}}, [""]),
        ({"fields": {}}, ["/ids"]),
    ],
)
def test_several_stations_are_changed_all_or_none(
    body: dict[str, Any], pointed: list[str], house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    before = house.inbox.state.site
    assert pointers(admin.patch("/api/v1/stations", json=body)) == pointed
    assert house.inbox.state.site == before


def test_a_station_in_detail_says_what_it_can_and_what_it_reported(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    for event in (
        StationClockRead("ST1", 1_500),
        ConfigurationRead("ST1", {"ConnectorPhaseRotation": "0.STR", "AuthorizationKey": "secret"}),
        StationReported("ST1", ReportKind.FIRMWARE, "Downloading"),
        StationReported("ST1", ReportKind.SECURITY, "TamperDetectionActivated", "lid"),
    ):
        house.inbox.post(event)
    seen = admin.get("/api/v1/stations/ST1").json()
    assert {note["code"] for note in seen["notes"]} == {"whole_amps", "phase_order_differs"}
    assert all(note["text"].endswith(".") for note in seen["notes"])
    assert seen["capabilities"] == {
        "takes_limits": True,
        "unit": "A",
        "step_a": 1,
        "stacks": True,
        "second_period": True,
        "keeps_profiles": False,
    }
    assert (seen["clock_ahead_s"], seen["told_phase_rotation"]) == (1.5, ["L2", "L3", "L1"])
    assert seen["configuration"] == {"ConnectorPhaseRotation": "0.STR", "AuthorizationKey": "…"}
    assert seen["firmware_report"]["status"] == "Downloading"
    assert (seen["diagnostics_report"], seen["log_report"], seen["reservations"]) == (None, None, [])
    assert [event["status"] for event in seen["security_events"]] == ["TamperDetectionActivated"]
    waiting = admin.get("/api/v1/stations/NEW1").json()
    assert ([note["code"] for note in waiting["notes"]], waiting["capabilities"]) == (["pending"], None)


def test_only_an_administrator_sees_how_a_station_is_set_up(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    with house.client(Role.STANDARD) as client:
        seen = client.get("/api/v1/stations/ST1").json()
    assert seen["model"] == "Post"
    assert not {"configuration", "capabilities", "max_a", "security_events"} & set(seen)


def test_every_note_has_its_sentence() -> None:
    assert set(NOTES) == set(StationNote)


def test_a_commissioning_test_is_begun_and_its_result_is_told_in_words(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    begun = admin.post("/api/v1/stations/ST1/commission", json={"reboot": True})
    assert begun.status_code == 202
    assert house.wall.commissioned == [("ST1", house.inbox.audited[-1].by, CommissionWish(1, False, True))]
    assert (house.inbox.audited[-1].what, house.inbox.audited[-1].new) == ("commission", "begun")
    tried = (Tried(Trial.AMPS, Finding.YES, "Accepted"), Tried(Trial.FALLS_BACK, Finding.NO, "16 A"))
    house.inbox.post(CommissionTold("ST1", 1, "ann", Progress.RUNNING, Trial.WATTS, tried[:1]))
    seen = admin.get("/api/v1/stations/ST1").json()["commissioning"]
    assert (seen["progress"], seen["trying"], len(seen["tried"])) == ("running", "watts", 1)
    house.inbox.post(CommissionTold("ST1", 1, "ann", Progress.DONE, None, tried))
    station = admin.get("/api/v1/stations/ST1").json()
    assert station["commissioning"]["tried"][0] == {
        "trial": "amps",
        "finding": "yes",
        "text": "It takes limits in amps.",
        "detail": "Accepted",
    }
    assert station["learned_from"]["station_id"] == "ST1"
    assert not station["capabilities"]["second_period"]


def test_a_commissioning_test_needs_a_station_that_is_there(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    house.wall.is_there = False
    assert pointers(admin.post("/api/v1/stations/ST1/commission"), 409) == []
    assert pointers(admin.post("/api/v1/stations/NEW1/commission"), 409) == []
    assert pointers(admin.post("/api/v1/stations/NONE/commission"), 404) == []
    assert pointers(admin.post("/api/v1/stations/ST1/commission", json={"connector": 7}), 422) == ["/connector"]
    assert pointers(admin.post("/api/v1/stations/ST1/commission", json={"car": True}), 422) == ["/car"]


def test_every_finding_has_its_words() -> None:
    for trial in Trial:
        for finding in Finding:
            assert finding_text(Tried(trial, finding)).endswith(".")
