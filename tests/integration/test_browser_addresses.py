"""Stations and clusters whose ids have any characters: their pages are reached by their links, their forms work."""

from __future__ import annotations

import attrs
import pytest
from browsing import NEEDS_CHROMIUM, Open
from playwright.sync_api import Page, Response, expect
from web_scene import BUSY, Served, busy, scene

from llm_core import (
    Cluster,
    Dashboard,
    PerPhase,
    PutClusters,
    PutStation,
    RemoveStation,
    SiteEdited,
    State,
    StationOrdered,
    StationState,
)

IDS = ("A/more", "#7? 50%", "é–漢'\"<b>", "..", "scan")
"""Of each kind one; tests/unit/test_web_addresses.py tries all others."""

pytestmark = NEEDS_CHROMIUM


def with_id(given: str, *, adopted: bool = True) -> State:
    """A station of this id with a charging car, or one that waits; and a cluster of the same id."""
    state = scene(BUSY[:1], dashboard=Dashboard.RESTRICTED)
    site = attrs.evolve(state.site, clusters=(*state.site.clusters, Cluster(given, "Odd")))
    if not adopted:
        waiting = {given: StationState(online=True, met=True)}
        return attrs.evolve(state, site=site, stations={**state.stations, **waiting})
    (station,), (known,), (connector,) = site.stations, state.stations.values(), state.connectors.values()
    assert connector.session is not None
    connector = attrs.evolve(connector, session=attrs.evolve(connector.session, station_id=given))
    site = attrs.evolve(site, stations=(attrs.evolve(station, id=given),))
    return attrs.evolve(state, site=site, stations={given: known}, connectors={(given, 1): connector})


def wrong_answers(page: Page) -> list[str]:
    """What the server refuses from now on, live parts included."""
    refused: list[str] = []

    def note(response: Response) -> None:
        if response.status >= 400:
            refused.append(f"{response.status} {response.url}")

    page.on("response", note)
    return refused


@pytest.mark.parametrize("given", IDS)
def test_a_station_of_any_id_is_adopted_edited_ordered_and_removed(served: Served, open_page: Open, given: str) -> None:
    served.book.state = with_id(given, adopted=False)
    page = open_page(served, "/stations").page
    refused = wrong_answers(page)
    page.locator(".pending").get_by_role("link", name="Adopt").click()
    expect(page.locator("h1")).to_have_text(f"Adopt {given}")
    with page.expect_response(lambda response: response.url.endswith("/notes/live")):
        page.fill("#max_a", "20")
    page.get_by_role("button", name="Adopt").click()
    expect(page.locator(".toast")).to_contain_text("adopted")

    served.book.state = with_id(given)
    page.goto(f"{served.url}/stations", wait_until="domcontentloaded")
    page.locator("table.list").get_by_role("link", name="Edit").click()
    with page.expect_response(lambda response: response.url.endswith("/test/live")):
        expect(page.locator("h1")).to_have_text("Edit Bay 1")
    page.select_option("#language-menu", "de")
    expect(page.locator("h1")).to_have_text("Bay 1 bearbeiten")
    page.select_option("#language-menu", "en")
    page.get_by_role("button", name="Unlock the cable").click()
    expect(page.locator("section[aria-labelledby=orders]")).to_contain_text("The station does it.")
    page.get_by_role("link", name="More orders").click()
    expect(page.locator(".back a")).to_have_text("‹ Bay 1")
    page.locator(".back a").click()
    with page.expect_response(lambda response: response.url.endswith("/live") and "/bay/" in response.url):
        page.get_by_role("link", name="Open the bay's page").click()
        expect(page.locator("h1")).to_have_text("Bay 1")
    page.go_back()
    page.get_by_text("Remove this station…").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("removed")
    adopted, ordered, removed = served.book.asked
    assert isinstance(adopted, SiteEdited)
    assert isinstance(adopted.edit, PutStation)
    assert adopted.edit.station.id == given
    assert isinstance(ordered, StationOrdered)
    assert ordered.station_id == given
    assert removed == SiteEdited("administrator", RemoveStation(given))
    assert refused == []


@pytest.mark.parametrize("given", ["..", "new", "#/%"])
def test_a_cluster_of_any_id_is_edited_measured_and_removed(served: Served, open_page: Open, given: str) -> None:
    served.book.state = with_id(given)
    page = open_page(served, "/clusters").page
    refused = wrong_answers(page)
    page.get_by_role("link", name="Add a meter Odd").click()
    expect(page.locator("h1")).to_contain_text("Odd")
    page.goto(f"{served.url}/clusters", wait_until="domcontentloaded")
    page.get_by_role("link", name="Edit Odd").click()
    page.fill("#limit_a", "25")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_have_text("Saved.")
    page.get_by_role("link", name="Edit Odd").click()
    page.get_by_text("Remove this cluster…").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("removed")
    (saved, removed), clusters = served.book.asked, served.book.state.site.clusters
    assert isinstance(saved, SiteEdited)
    assert isinstance(saved.edit, PutClusters)
    assert saved.edit.clusters == (*clusters[:-1], Cluster(given, "Odd", limit_ma=PerPhase.same(25_000)))
    assert removed == SiteEdited("administrator", PutClusters(clusters[:-1]))
    page.get_by_role("link", name="Add a cluster").click()
    expect(page.locator("#name")).to_have_value("Cluster #4")
    assert refused == []


def test_a_station_that_gave_no_id_of_its_own_is_told_how_to_get_one(served: Served, open_page: Open) -> None:
    state = busy()
    served.book.state = attrs.evolve(state, stations={**state.stations, "ocpp": StationState(online=True, met=True)})
    page = open_page(served, "/stations").page
    expect(page.locator(".address")).to_contain_text("ws://192.168.10.2:9000/ocpp/BAY-1")
    waiting = page.locator(".pending li").filter(has_text="ocpp")
    expect(waiting).to_contain_text("This station gave no id of its own")
    expect(waiting).to_contain_text("ws://192.168.10.2:9000/ocpp/BAY-1")
    expect(page.locator(".pending .verdict")).to_have_count(1)
    waiting.get_by_role("link", name="Adopt").click()
    expect(page.locator("main")).to_contain_text("This station gave no id of its own")
