"""The search for stations, a station that is known ahead, and the rules that hold for all badges."""

from __future__ import annotations

import attrs
from test_web_pages import change, signed_in
from web_scene import Served

from llm_core import (
    AccessRule,
    BadgeRules,
    BadgesEdited,
    ByteOrder,
    Concurrency,
    PutAccess,
    PutStation,
    SiteEdited,
    StationScan,
    StationScanStarted,
    StationScanStopped,
)


def searching(served: Served, *, since_ms: int, left_ms: int) -> None:
    """A search that began and ends as told, as seen from now."""
    now_ms = served.desk.clock.monotonic_ms()
    scan = StationScan("administrator", now_ms - since_ms, now_ms + left_ms)
    served.book.state = attrs.evolve(served.book.state, station_scan=scan)


def called(served: Served, station_id: str, ago_ms: int) -> None:
    """That station connected so long ago."""
    state = served.book.state
    known = attrs.evolve(state.stations[station_id], since_ms=served.desk.clock.monotonic_ms() - ago_ms)
    served.book.state = attrs.evolve(state, stations={**state.stations, station_id: known})


def test_a_search_is_begun_and_ended_and_comes_back_to_where_it_was(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        begun = change(served, client, "/stations/scan", {"go": "start", "next": "/setup/stations"})
        ended = change(served, client, "/stations/scan", {"go": "stop", "next": "//elsewhere.example"})
    assert begun.headers["location"] == "/setup/stations#search"
    assert ended.headers["location"] == "/#search"
    assert served.book.asked == [StationScanStarted("administrator", 180), StationScanStopped("administrator")]


def test_a_search_counts_down_and_marks_who_is_new(served: Served) -> None:
    searching(served, since_ms=60_000, left_ms=119_500)
    called(served, "EV-NEW-01", 5_000)
    with signed_in(served, "administrator") as client:
        for path in ("/stations", "/stations/waiting", "/setup/stations"):
            html = client.get(path).text
            assert "119 seconds left" in html or "120 seconds left" in html
            assert ">new</span>" in html.replace("</svg>", ">")
        assert "Stop the search" in client.get("/stations").text
        called(served, "EV-NEW-01", 100_000)
        assert ">new</span>" not in client.get("/stations/waiting").text.replace("</svg>", ">")


def test_a_search_that_found_nothing_says_what_to_look_at(served: Served) -> None:
    searching(served, since_ms=200_000, left_ms=-20_000)
    with signed_in(served, "administrator") as client:
        assert "found nothing new" in client.get("/stations").text
        called(served, "ST1", 50_000)  # adopted meanwhile
        assert "found nothing new" not in client.get("/stations").text


def test_a_station_is_set_up_before_it_connects(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        added = change(served, client, "/stations/ahead", {"station_id": "EV-AHEAD-1", "name": "Bay 11"})
        assert added.headers["location"] == "/stations/EV-AHEAD-1?done=ahead"
        for wrong in ("", "ws://controller:9000/ocpp/A", "ST1", "x" * 65):
            assert change(served, client, "/stations/ahead", {"station_id": wrong, "name": ""}).status_code == 422
    [edited] = served.book.asked
    assert isinstance(edited, SiteEdited)
    assert isinstance(edited.edit, PutStation)
    assert (edited.edit.station.id, edited.edit.station.name) == ("EV-AHEAD-1", "Bay 11")


def test_the_rules_for_all_badges_are_saved_with_who_may_charge(served: Served) -> None:
    fields = {"rule": "badge", "concurrent": "refused", "byte_order": "either"}
    with signed_in(served, "administrator") as client:
        change(served, client, "/badges/rule", fields)
        wrong = change(served, client, "/badges/rule", {**fields, "byte_order": "sideways"})
        assert "Choose one of these." in wrong.text
    rules = BadgeRules(Concurrency.REFUSED, ByteOrder.EITHER)
    assert served.book.asked == [SiteEdited("administrator", PutAccess(AccessRule.BADGE, rules))]


def test_several_badges_are_allowed_at_the_same_stations(served: Served) -> None:
    chosen: dict[str, str] = {"badges": ["A1B2C3", "0455AA"], "where": "chosen", "stations": ["ST1", "ST2"]}  # type: ignore[dict-item]
    with signed_in(served, "advanced") as client:
        assert change(served, client, "/badges/bulk", chosen).status_code == 303
        assert change(served, client, "/badges/bulk", {**chosen, "where": "all"}).status_code == 303
        assert change(served, client, "/badges/bulk", {**chosen, "where": "", "group": "Floor 2"}).status_code == 303
        assert change(served, client, "/badges/bulk", {"badges": "A1B2C3", "where": "chosen"}).status_code == 422
    two, everywhere, untouched = served.book.asked
    assert isinstance(two, BadgesEdited)
    assert isinstance(everywhere, BadgesEdited)
    assert isinstance(untouched, BadgesEdited)
    assert [badge.stations for badge in two.put] == [frozenset({"ST1", "ST2"})] * 2
    assert [badge.stations for badge in everywhere.put] == [None, None]
    before = served.book.state.badges
    assert [badge.stations for badge in untouched.put] == [before["a1b2c3"].stations, before["0455aa"].stations]


def test_nothing_is_chosen_beforehand_for_several_badges(served: Served) -> None:
    with signed_in(served, "advanced") as client:
        html = client.get("/badges").text
    kind = html.split('id="bulk-type"')[1].split("</select>")[0]
    assert "selected" not in kind  # a super user would become a standard one unseen
