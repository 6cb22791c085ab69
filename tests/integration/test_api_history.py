"""History over HTTP: any period, three forms, the right length of slice."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest
from test_api import House, admin, house, pointers, served

__all__ = ["admin", "house", "served"]  # the scene of the other tests of the API

HISTORY = "/api/v1/history"


def got(admin: httpx.Client, **query: str) -> dict[str, Any]:
    answer = admin.get(HISTORY, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_the_last_24_hours_of_the_site_come_by_the_minute(admin: httpx.Client) -> None:
    found = got(admin)
    assert {key: found[key] for key in ("node", "step", "from", "to")} == {
        "node": "site",
        "step": "minute",
        "from": "2026-06-30T10:00:00Z",
        "to": "2026-07-01T10:00:00Z",
    }
    assert len(found["slices"]) == 23 * 60  # of one hour nothing is known
    assert found["slices"][0] == {
        "at": "2026-06-30T10:00:00Z",
        "total_a": {"L1": 10, "L2": 5, "L3": 5},
        "cars_a": {"L1": 0, "L2": 0, "L3": 0},
        "limit_a": {"L1": 50, "L2": 50, "L3": 50},
        "peak_a": {"L1": 10, "L2": 5, "L3": 5},
        "power_w": 4600,
        "energy_wh": 77,
        "cars_wh": 0,
    }
    unmeasured = next(slice_ for slice_ in found["slices"] if slice_["at"] == "2026-07-01T03:00:00Z")
    assert unmeasured["total_a"] is unmeasured["power_w"] is unmeasured["energy_wh"] is None
    assert unmeasured["cars_a"]["L1"] == 8


@pytest.mark.parametrize(
    ("query", "step", "first", "end"),
    [
        ({"from": "2026-06-01", "to": "2026-06-01"}, "minute", "2026-05-31T22:00:00Z", "2026-06-01T22:00:00Z"),
        ({"from": "2026-06-01", "to": "2026-06-30"}, "quarter", "2026-05-31T22:00:00Z", "2026-06-30T22:00:00Z"),
        ({"from": "2025-07-02", "to": "2026-07-01"}, "day", "2025-07-01T22:00:00Z", "2026-07-01T22:00:00Z"),
        ({"from": "2020-01-01", "to": "2026-07-01"}, "day", "2019-12-31T23:00:00Z", "2026-07-01T22:00:00Z"),
        ({"from": "2026-07-01", "step": "quarter"}, "quarter", "2026-06-30T22:00:00Z", "2026-07-01T22:00:00Z"),
        (
            {"from": "2026-07-01T08:00:00+02:00", "to": "2026-07-01T07:00Z"},
            "minute",
            "2026-07-01T06:00:00Z",
            "2026-07-01T07:00:00Z",
        ),
        ({"from": "2026-07-01T08:00:00Z"}, "minute", "2026-07-01T08:00:00Z", "2026-07-01T10:00:00Z"),
    ],
)
def test_a_period_is_days_at_the_site_or_instants(
    admin: httpx.Client, query: dict[str, str], step: str, first: str, end: str
) -> None:
    found = got(admin, **query)
    assert (found["step"], found["from"], found["to"]) == (step, first, end)


def test_columns_are_lists_of_one_length_for_charts(admin: httpx.Client) -> None:
    found = got(admin, format="columns", **{"from": "2026-07-01T03:00:00Z", "to": "2026-07-01T06:00:00Z"})
    columns = found["columns"]
    assert found["phases"] == ["L1", "L2", "L3"]
    assert {len(column) for column in columns.values()} == {120}
    assert columns["at"][:2] == [1782874800, 1782874860]
    assert columns["total_L1"][0] is None
    assert (columns["total_L1"][60], columns["cars_L1"][60], columns["limit_L1"][60]) == (18, 8, 50)


def test_csv_has_a_column_for_each_phase_and_leaves_empty_what_was_not_measured(
    admin: httpx.Client,
) -> None:
    query = {"format": "csv", "from": "2026-07-01T03:00:00Z", "to": "2026-07-01T06:00:00Z", "step": "quarter"}
    answer = admin.get(HISTORY, params=query)
    assert answer.headers["content-disposition"] == 'attachment; filename="history_site_2026-07-01_quarter.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 8
    assert rows[0]["at"] == "2026-07-01T03:00:00Z"
    assert (rows[0]["total_L1_a"], rows[0]["cars_L1_a"], rows[0]["energy_wh"]) == ("", "8", "")
    assert (rows[-1]["total_L1_a"], rows[-1]["peak_L3_a"], rows[-1]["cars_wh"]) == ("18", "13", "1380")


def test_a_one_phase_site_has_one_phase(admin: httpx.Client) -> None:
    admin.put("/api/v1/supply", json={"mode": "static", "phases": 1, "fuse_a": 40, "static_max_a": 32})
    assert set(got(admin)["slices"][0]["total_a"]) == {"L1"}
    assert "L2" not in admin.get(HISTORY, params={"format": "csv"}).text


def test_a_station_and_a_cluster_have_a_history_too(admin: httpx.Client) -> None:
    admin.post("/api/v1/stations", json={"id": "ST1", "phase_rotation": ["L1"]})
    assert got(admin, station="ST1")["station"] == "ST1"
    assert got(admin, station="ST1")["slices"][0]["total_a"] is None
    assert got(admin, node="default")["node"] == "default"


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"node": "nowhere"}, "/node"),
        ({"station": "nobody"}, "/station"),
        ({"station": "nobody", "node": "site"}, "/station"),
        ({"step": "hour"}, "/step"),
        ({"format": "xml"}, "/format"),
        ({"until": "2026-01-01"}, "/until"),
        ({"from": "yesterday"}, "/from"),
        ({"from": "2026-07-01T25:00:00Z"}, "/from"),
        ({"from": "2026-07-01T08:00:00"}, "/from"),
        ({"to": "2026-07-01T08:00:00"}, "/to"),
        ({"from": "2026-07-01T08:00:00Z", "to": "2026-07-01T08:00:00Z"}, "/to"),
        ({"from": "2010-07-01T08:00:00Z", "to": "2026-07-01"}, "/to"),
        ({"from": "2010-07-01", "to": "2026-07-01"}, "/to"),
    ],
)
def test_a_question_that_is_none_is_refused_at_its_place(
    admin: httpx.Client, query: dict[str, str], where: str
) -> None:
    assert where in pointers(admin.get(HISTORY, params=query))


def test_history_is_for_those_who_may_see_the_dashboard(house: House) -> None:
    with house.client(None) as nobody:
        assert nobody.get(HISTORY).status_code == 401
