"""Badges over HTTP: searched at stations, taken from refused attempts, changed several at once, tried out as a file."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from test_api import House, admin, busy, house, pointers, problem, served

from llm_core import BadgePresented, Tick

__all__ = ["admin", "house", "served"]  # the scene of the other tests of the API

SCAN, REFUSED, BADGES = "/api/v1/badges/scan", "/api/v1/badges/refused", "/api/v1/badges"


def badge(admin: httpx.Client, badge_id: str) -> dict[str, Any]:
    return {found["badge_id"]: found for found in admin.get(BADGES).json()}[badge_id]  # type: ignore[no-any-return]


# A search


def test_a_badge_held_to_a_station_during_a_search_is_found_and_waits_for_its_group(
    house: House, admin: httpx.Client
) -> None:
    busy(house, admin)
    started = admin.post(SCAN, json={"stations": ["ST1"], "duration_s": 60})
    assert started.status_code == 201
    assert started.json() == {"active": True, "remaining_s": 60, "stations": ["ST1"], "found": []}
    house.inbox.post(BadgePresented("ST1", "04:DE:AD:01"))
    (found,) = admin.get(SCAN).json()["found"]
    assert found == {
        "badge_id": "04:DE:AD:01",
        "station_id": "ST1",
        "station_name": "Bay 1",
        "at": "2026-07-01T10:00:07Z",
        "known": False,
        "state": "pending",
    }
    assert badge(admin, "04:DE:AD:01")["state"] == "pending"
    assert admin.patch(f"{BADGES}/04dead01", json={"group": "Pool"}).json()["state"] == "active"


def test_a_search_ends_by_itself_or_when_told(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    admin.post(SCAN, json={"duration_s": 10})
    house.clock.ms += 10_000
    assert admin.get(SCAN).json()["active"] is False
    assert admin.post(SCAN).json() == {"active": True, "remaining_s": 180, "stations": "all", "found": []}
    assert admin.delete(SCAN).json()["active"] is False
    house.inbox.post(BadgePresented("ST1", "04DEAD01"))
    assert admin.get(SCAN).json()["found"] == []


def test_before_any_search_there_is_none(admin: httpx.Client) -> None:
    assert admin.get(SCAN).json() == {"active": False, "remaining_s": 0, "stations": "all", "found": []}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"duration_s": 5}, "/duration_s"),
        ({"stations": ["nowhere"]}, "/stations/0"),
        ({"stations": []}, "/stations"),
        ({"station": "ST1"}, "/station"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(admin: httpx.Client, body: object, pointer: str) -> None:
    assert pointers(admin.post(SCAN, json=body)) == [pointer]


# Refused attempts


def test_a_refused_attempt_becomes_a_badge(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    house.inbox.post(BadgePresented("ST1", "04:DE:AD:01"))
    house.clock.ms += 1_000
    house.inbox.post(BadgePresented("ST1", "04:DE:AD:02"))
    assert [(r["badge_id"], r["verdict"], r["known"]) for r in admin.get(REFUSED).json()] == [
        ("04:DE:AD:02", "Invalid", False),
        ("04:DE:AD:01", "Invalid", False),
    ]
    enrolled = admin.post(f"{REFUSED}/04dead01", json={"comment": "Anna"})
    assert enrolled.status_code == 201
    assert enrolled.headers["location"] == "/api/v1/badges/04%3ADE%3AAD%3A01"
    assert (enrolled.json()["badge_id"], enrolled.json()["state"]) == ("04:DE:AD:01", "active")
    assert [r["known"] for r in admin.get(REFUSED).json()] == [False, True]
    problem(admin.post(f"{REFUSED}/04dead01"), 409)


def test_only_what_was_refused_can_be_taken_from_there(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    problem(admin.post(f"{REFUSED}/04dead01"), 404)
    house.inbox.post(BadgePresented("ST1", "04DEAD01"))
    assert pointers(admin.post(f"{REFUSED}/04dead01", json={"badge_id": "04dead02"})) == ["/badge_id"]
    assert pointers(admin.post(f"{REFUSED}/04dead01", json={"type": "king"})) == ["/type"]


# Several at once


def test_several_badges_are_changed_alike_and_keep_what_is_their_own(admin: httpx.Client) -> None:
    for badge_id in ("A1", "A2", "A3"):
        admin.post(BADGES, json={"badge_id": badge_id, "comment": badge_id})
    changed = admin.patch(BADGES, json={"ids": ["a1", "A2"], "fields": {"state": "inactive", "group": "Pool"}})
    assert changed.json() == {"changed": 2}
    states = {
        known["badge_id"]: (known["state"], known["group"], known["comment"]) for known in admin.get(BADGES).json()
    }
    assert states == {
        "A1": ("inactive", "Pool", "A1"),
        "A2": ("inactive", "Pool", "A2"),
        "A3": ("active", None, "A3"),
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"ids": ["a1", "zz"], "fields": {"state": "inactive"}}, ["/ids/1"]),
        ({"ids": ["a1"], "fields": {"state": "gone", "colour": 1}}, ["/fields/colour", "/fields/state"]),
        ({"ids": ["a1", "A1"], "fields": {"badge_id": "b1"}}, ["/fields/badge_id"]),
        ({"ids": ["a1"]}, ["/fields"]),
        ({"fields": {}}, ["/ids"]),
    ],
)
def test_one_fault_changes_no_badge(admin: httpx.Client, body: object, expected: list[str]) -> None:
    admin.post(BADGES, json={"badge_id": "A1"})
    assert pointers(admin.patch(BADGES, json=body)) == expected
    assert badge(admin, "A1")["state"] == "active"


# A file, tried out


FILE = "badgeId,type,comment,expirationDate,email\r\na1b2c3,STANDARD,new name,,\r\na2,SUPER,,,\r\nA3,STANDARD,,,\r\n"


def test_a_file_can_be_tried_out(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    admin.post(BADGES, json={"badge_id": "A3"})
    tried = admin.post(f"{BADGES}/import?dry_run=true", content=FILE).json()
    assert (tried["added"], tried["updated"], tried["dry_run"]) == (1, 2, True)
    assert tried["message"] == "1 badge would be added"
    assert [(line["badge_id"], line["outcome"]) for line in tried["badges"]] == [
        ("A1:B2:C3", "updated"),
        ("a2", "added"),
        ("A3", "unchanged"),
    ]
    assert badge(admin, "A1:B2:C3")["comment"] == "Müller"
    assert len(admin.get(BADGES).json()) == 2
    done = admin.post(f"{BADGES}/import", content=FILE).json()
    assert done == {"added": 1, "updated": 2, "message": "1 badge added"}


@pytest.mark.parametrize("query", ["dry_run=yes", "dryrun=true"])
def test_a_parameter_that_is_not_understood_imports_nothing(admin: httpx.Client, query: str) -> None:
    assert len(pointers(admin.post(f"{BADGES}/import?{query}", content=FILE))) == 1
    assert admin.get(BADGES).json() == []


# Rules for all badges


def test_the_rules_for_all_badges_are_part_of_the_access(house: House, admin: httpx.Client) -> None:
    usual = {"rule": "badge", "concurrent": "allowed", "byte_order": "as_read"}
    assert admin.get("/api/v1/access").json() == usual
    changed = {"rule": "badge", "concurrent": "refused", "byte_order": "either"}
    assert admin.put("/api/v1/access", json=changed).json() == changed
    house.inbox.post(Tick())
    assert admin.put("/api/v1/access", json={"rule": "badge"}).json() == usual
    assert pointers(admin.put("/api/v1/access", json={"concurrent": True})) == ["/concurrent"]
