"""The monthly statement of a badge: the same sum on the page, in JSON and in the spreadsheet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import attrs
import httpx
import pytest
from test_api import House, admin, house, pointers, problem, served
from test_api import busy as api_busy
from test_web_pages import signed_in
from web_scene import busy, serving

from llm_core import Session, close_session, interrupt_session, open_session

__all__ = ["admin", "house", "served"]

PATH = "/api/v1/badges/a1b2c3/statement"


def recorded(house: House, admin: httpx.Client) -> None:
    api_busy(house, admin)
    for number, at, wh in (
        (1, datetime(2026, 5, 31, 21, 59, tzinfo=UTC), 1_000),  # May, at the site
        (2, datetime(2026, 5, 31, 22, 0, tzinfo=UTC), 2_000),
        (3, datetime(2026, 6, 30, 21, 59, tzinfo=UTC), 3_500),
        (4, datetime(2026, 6, 30, 22, 0, tzinfo=UTC), 4_000),  # July
    ):
        begun = open_session(number, "ST1", 1, "A1:B2:C3", at, 10_000)
        house.shelf.kept.append(close_session(begun, at + timedelta(hours=1), 10_000 + wh, "Local"))
    other = open_session(5, "ST1", 1, "ffff", datetime(2026, 6, 15, tzinfo=UTC), 0)
    lost = interrupt_session(open_session(6, "ST1", 1, "a1b2c3", other.started_at, 500), other.started_at, "NoStop")
    house.shelf.kept += [other, lost]


def in_period(house: House) -> list[Session]:
    return [session for session in house.shelf.kept if session.transaction_id in (2, 3, 6)]


def test_a_statement_holds_the_badges_sessions_of_the_sites_month(
    house: House, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(house, admin)
    answer = admin.get(PATH, params={"month": "2026-06"}).json()
    assert house.shelf.asked == (datetime(2026, 5, 31, 22, tzinfo=UTC), datetime(2026, 6, 30, 22, tzinfo=UTC))
    monkeypatch.setattr(house.shelf, "kept", in_period(house))
    answer = admin.get(PATH, params={"month": "2026-06"}).json()
    assert (answer["badge_id"], answer["badge_name"], answer["energy_kwh"]) == ("A1:B2:C3", "Müller", 5.5)
    assert (answer["from"], answer["to"]) == ("2026-06-01", "2026-06-30")
    first = answer["sessions"][0]
    assert (first["meter_start_wh"], first["meter_stop_wh"], first["energy_kwh"]) == (10_000, 12_000, 2.0)
    assert admin.get(PATH).json()["from"] == "2026-06-01", "the last whole month when none is named"


def test_the_spreadsheet_has_the_meter_readings_and_a_name_that_any_system_takes(
    house: House, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(house, admin)
    monkeypatch.setattr(house.shelf, "kept", in_period(house))
    answer = admin.get(PATH, params={"month": "2026-06", "format": "csv", "decimal": "comma"})
    assert answer.headers["content-disposition"] == 'attachment; filename="statement_A1B2C3_2026-06.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.text), delimiter=";"))
    assert [(line["meterStartWh"], line["meterStopWh"], line["energyChargedKwh"]) for line in lines] == [
        ("10000", "12000", "2,000"),
        ("10000", "13500", "3,500"),
        ("500", "500", "0,000"),
    ]


def test_a_statement_of_nobody_or_of_no_month_is_refused(house: House, admin: httpx.Client) -> None:
    api_busy(house, admin)
    problem(admin.get("/api/v1/badges/ffff/statement"), 404)
    for query, pointer in (("month=june", "/month"), ("form=csv", "/form"), ("format=pdf", "/format")):
        assert pointers(admin.get(f"{PATH}?{query}")) == [pointer]


def test_the_page_shows_every_session_with_its_readings_and_the_same_sum() -> None:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    whole = close_session(open_session(1, "ST1", 1, "A1B2C3", at, 10_000), at + timedelta(hours=1), 12_000, "Local")
    lost = interrupt_session(open_session(2, "ST1", 1, "A1B2C3", at, 500), at, "NoStop")
    jumped = attrs.evolve(whole, transaction_id=3, energy_wh=1_500)
    doubted = attrs.evolve(whole, transaction_id=4, flagged=True)
    running = attrs.evolve(open_session(5, "ST1", 1, "A1B2C3", at, 0), energy_wh=250)
    with serving(busy()) as served, signed_in(served, "advanced") as advanced:
        served.desk.archive.kept = (whole, lost, jumped, doubted, running)  # type: ignore[attr-defined]
        shown = advanced.get("/badges/statement?id=A1B2C3&month=2026-03")
        assert shown.status_code == 200
        texts = ("Müller", "10.000", "12.000", "5.750", "still open", "last reading", "jumped", "in doubt", "2026-03")
        assert [text for text in texts if text not in shown.text] == []
        assert "statement?month=2026-03&amp;format=csv" in shown.text
        by_api = advanced.get("/api/v1/badges/A1B2C3/statement?month=2026-03").json()
        assert (by_api["energy_kwh"], len(by_api["sessions"])) == (5.75, 5)
        assert "No session in this month" in advanced.get("/badges/statement?id=A1B2C3&month=2024-03").text
        assert advanced.get("/badges/statement?id=nobody").status_code == 404
        wrong = advanced.get("/badges/statement?id=A1B2C3&month=june")
        assert (wrong.status_code, "Choose a month." in wrong.text) == (422, True)
