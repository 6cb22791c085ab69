"""What was recorded, over HTTP: the audit trail, sessions looked for, users and tokens."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from test_api import CSRF, NOON, STRONG, House, admin, busy, house, pointers, problem, served

from llm_core import AuditEntry, Role, close_session, open_session

__all__ = ["admin", "house", "served"]  # the scene of the other tests of the API

SESSIONS, AUDIT, USERS, TOKENS = "/api/v1/sessions", "/api/v1/audit", "/api/v1/users", "/api/v1/tokens"


# The audit trail


def test_every_change_is_told_newest_first(house: House, admin: httpx.Client) -> None:
    house.shelf.changes += [AuditEntry(NOON + timedelta(hours=h), "anna", f"badge {h}", "a", "b") for h in range(3)]
    assert admin.get(AUDIT, params={"limit": 1, "skip": 1}).json() == [
        {"at": "2026-07-01T11:00:00Z", "by": "anna", "what": "badge 1", "old": "a", "new": "b"}
    ]
    assert [entry["what"] for entry in admin.get(AUDIT, params={"text": "badge 2"}).json()] == ["badge 2"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "skip=-1", "text=" + "x" * 201, "page=1"])
def test_a_question_to_the_audit_trail_that_makes_no_sense_is_refused(admin: httpx.Client, query: str) -> None:
    assert len(pointers(admin.get(f"{AUDIT}?{query}"))) == 1


def test_a_change_by_a_token_names_the_token(house: House, admin: httpx.Client) -> None:
    admin.post(USERS, json={"name": "eva", "role": "standard", "password": STRONG})
    assert house.people.added["eva"][2] == "token “administrator script”"


# Sessions


def recorded(house: House, admin: httpx.Client) -> None:
    busy(house, admin)
    for number in range(1, 6):
        at = NOON - timedelta(days=6 - number)
        session = open_session(number, f"ST{number % 2}", 1, "a1b2c3", at, 0)
        house.shelf.kept.append(close_session(session, at + timedelta(hours=1), 1_000 * number, "Local"))


def test_a_page_of_sessions_comes_newest_first_and_tells_how_many_there_are(house: House, admin: httpx.Client) -> None:
    recorded(house, admin)
    page = admin.get(SESSIONS, params={"limit": 2, "skip": 1})
    assert [session["transaction_id"] for session in page.json()] == [4, 3]
    assert (page.headers["x-total-count"], page.headers["x-total-energy-wh"]) == ("5", "15000")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"station": "ST1"}, [1, 3, 5]),
        ({"badge": "A1:B2:C3", "station": "ST0"}, [2, 4]),
        ({"badge": "ffff"}, []),
        ({"state": "closed"}, [1, 2, 3, 4, 5]),
        ({"state": "open"}, []),
        ({"text": "Bay 1"}, [1, 3, 5]),
        ({"text": "müller"}, [1, 2, 3, 4, 5]),
        ({"text": "4"}, [4]),
        ({"month": "2026-06"}, [1, 2, 3, 4, 5]),
    ],
)
def test_sessions_are_found_by_station_badge_state_and_text(
    house: House, admin: httpx.Client, asked: dict[str, str], expected: list[int]
) -> None:
    recorded(house, admin)
    assert [session["transaction_id"] for session in admin.get(SESSIONS, params=asked).json()] == expected
    csv = admin.get(SESSIONS, params={**asked, "format": "csv"}).text
    assert len(csv.splitlines()) == len(expected) + 1


def test_a_month_is_the_sites_month(house: House, admin: httpx.Client) -> None:
    admin.get(SESSIONS, params={"month": "2026-03"})
    assert house.shelf.asked is not None
    assert [at.isoformat() for at in house.shelf.asked] == ["2026-02-28T23:00:00+00:00", "2026-03-31T22:00:00+00:00"]
    admin.get(SESSIONS, params={"month": "2025-12"})
    assert [at.isoformat() for at in house.shelf.asked] != []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=5&format=csv", "/limit"),
        ("skip=5", "/skip"),
        ("state=lost", "/state"),
        ("month=2026-13", "/month"),
        ("month=26-01", "/month"),
        ("month=2026-01&from=2026-01-01", "/month"),
        ("station=" + "x" * 201, "/station"),
    ],
)
def test_a_question_for_sessions_that_makes_no_sense_is_refused(admin: httpx.Client, query: str, pointer: str) -> None:
    assert pointers(admin.get(f"{SESSIONS}?{query}")) == [pointer]


# Users


def test_a_user_gets_another_role_and_a_new_temporary_password(house: House, admin: httpx.Client) -> None:
    admin.post(USERS, json={"name": "eva", "role": "standard", "password": STRONG})
    changed = admin.patch(f"{USERS}/EVA", json={"role": "advanced", "password": STRONG + "2"})
    assert changed.json() == {"name": "eva", "role": "advanced", "temporary": True}
    assert house.people.added["eva"][1] == STRONG + "2"
    assert pointers(admin.patch(f"{USERS}/eva", json={"password": "weak"})) == ["/password"]
    assert pointers(admin.patch(f"{USERS}/eva", json={"name": "eve"})) == ["/name"]


def test_the_only_administrator_stays_one(admin: httpx.Client) -> None:
    assert pointers(admin.patch(f"{USERS}/admin", json={"role": "standard"}), 409) == ["/role"]
    problem(admin.delete(f"{USERS}/admin"), 409)


def test_a_user_is_removed_once(admin: httpx.Client) -> None:
    admin.post(USERS, json={"name": "eva", "role": "standard", "password": STRONG})
    assert admin.delete(f"{USERS}/eva").status_code == 204
    problem(admin.delete(f"{USERS}/eva"), 404)
    problem(admin.patch(f"{USERS}/eva", json={}), 404)


def test_nobody_removes_their_own_account(house: House, admin: httpx.Client) -> None:
    admin.post(USERS, json={"name": "anna", "role": "administrator", "password": STRONG})
    with house.browser("administrator", **{"X-CSRF-Token": CSRF, "X-Confirm-Password": STRONG}) as anna:
        problem(anna.delete(f"{USERS}/anna"), 409)


# Tokens


def test_a_token_is_told_once_and_listed_without_its_secret(admin: httpx.Client) -> None:
    created = admin.post(TOKENS, json={"role": "standard", "label": "dashboard"})
    assert created.status_code == 201
    assert created.json() == {"token": "llm_secret_of_dashboard", "label": "dashboard", "role": "standard"}
    assert admin.get(TOKENS).json() == [
        {"label": "dashboard", "role": "standard", "created_at": "2026-07-01T10:00:00Z"}
    ]
    problem(admin.post(TOKENS, json={"role": "standard", "label": "dashboard"}), 409)
    assert admin.delete(f"{TOKENS}/dashboard").status_code == 204
    problem(admin.delete(f"{TOKENS}/dashboard"), 404)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"role": "king", "label": "x"}, ["/role"]),
        ({}, ["/role", "/label"]),
        ({"role": "standard", "label": ""}, ["/label"]),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(admin: httpx.Client, body: object, expected: list[str]) -> None:
    assert pointers(admin.post(TOKENS, json=body)) == expected


def test_an_advanced_user_reads_no_audit_trail_and_makes_no_token(house: House) -> None:
    with house.client(Role.ADVANCED) as advanced:
        problem(advanced.get(AUDIT), 403)
        problem(advanced.post(TOKENS, json={"role": "standard", "label": "x"}), 403)


# Copies


@pytest.mark.parametrize("path", ["/api/v1/backup", "/api/v1/support-bundle"])
def test_a_copy_is_handed_over_as_a_file(admin: httpx.Client, path: str) -> None:
    answer = admin.get(path)
    assert (answer.status_code, answer.text) == (200, "a copy")
    assert "20260701T100000Z" in answer.headers["content-disposition"]
