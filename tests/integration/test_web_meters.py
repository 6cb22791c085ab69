"""Meters on the pages: tried before they are saved, and those of clusters."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from test_web_pages import change, signed_in
from web_scene import NOON, Served

from llm_core import (
    Commission,
    Finding,
    MeterPhase,
    MeterSetup,
    MeterState,
    Phase,
    Progress,
    PutClusters,
    PutMeters,
    SiteEdited,
    Trial,
    Tried,
)

GOOD = {"model": "shelly_pro_3em", "transport": "tcp", "host": "good", "port": "502", "unit": "1"}
GOOD |= {"measures": "direct", "includes": "all"}
TRIED = ("/settings/meter/test", {}), ("/clusters/c2/meter", {"go": "try"}), ("/setup/meter", {"go": "try"})


@pytest.mark.parametrize(("path", "go"), TRIED)
def test_a_meter_is_tried_with_its_values_and_nothing_is_saved(served: Served, path: str, go: dict[str, str]) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, path, {**GOOD, **go})
    assert answer.status_code == 200
    tried = answer.text.split('id="trial"')[1].split("</section>")[0]
    assert "Look at this before you save" in tried
    assert "L2: current is fed in." in tried
    for value in (">10.2<", ">drawn<", ">2.0<", ">fed in<", ">231<", "Together 1.9 kW"):
        assert value in tried
    assert 'value="good"' in answer.text  # as typed
    assert not served.book.asked


@pytest.mark.parametrize(("path", "go"), TRIED)
def test_a_meter_that_is_silent_says_why_in_the_readers_language(served: Served, path: str, go: dict[str, str]) -> None:
    with signed_in(served, "administrator") as client:
        client.cookies.set("llm_language", "de")
        html = change(served, client, path, {**GOOD, "host": "10.0.0.9", **go}).text
    assert "Keine Antwort von 10.0.0.9:502." in html
    assert "keine Verbindung" in html


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"model": ""}, "there is nothing to try"),
        ({"model": "manual", "load_a": "10"}, "there is nothing to try"),
        ({"host": ""}, "Give the name or the IP address"),
        ({"port": "0"}, "A whole number from 1 to 65535."),
    ],
)
def test_what_cannot_be_tried_says_so_at_its_field(served: Served, typed: dict[str, str], told: str) -> None:
    with signed_in(served, "administrator") as client:
        for path, go in TRIED:
            answer = change(served, client, path, {**GOOD, **typed, **go})
            assert answer.status_code == 422
            assert told in answer.text
            assert 'id="trial"' not in answer.text


def test_a_cluster_gets_a_meter_and_loses_it_again(served: Served) -> None:
    [building] = served.book.state.site.meters
    with signed_in(served, "administrator") as client:
        change(served, client, "/clusters/c2/meter", GOOD)
        of_cluster = MeterSetup("c2", "shelly_pro_3em", "good")
        site = attrs.evolve(served.book.state.site, meters=(building, of_cluster))
        served.book.state = attrs.evolve(served.book.state, site=site)
        assert "Add a meter" in client.get("/clusters").text  # the other cluster has none
        assert 'value="good"' in client.get("/clusters/c2/meter").text
        refused = change(served, client, "/clusters/c2/remove", {})
        assert "Take its meter away first." in refused.text
        change(served, client, "/clusters/c2/meter", {**GOOD, "model": ""})
        assert client.get("/clusters/nowhere/meter").status_code == 404
    put, removed = served.book.asked
    assert put == SiteEdited("administrator", PutMeters((building, of_cluster)))
    assert removed == SiteEdited("administrator", PutMeters((building,)))
    assert not any(isinstance(event, SiteEdited) and isinstance(event.edit, PutClusters) for event in served.book.asked)


def test_the_meter_of_a_cluster_tells_what_it_reads(served: Served) -> None:
    state, now_ms = served.book.state, served.desk.clock.monotonic_ms()
    site = attrs.evolve(state.site, meters=(*state.site.meters, MeterSetup("c2", "shelly_pro_3em", "good")))
    phases = {phase: MeterPhase(current_ma=12_300, seen_ms=now_ms) for phase in Phase}
    served.book.state = attrs.evolve(state, site=site, meters={"c2": MeterState(phases=phases)})
    with signed_in(served, "administrator") as client:
        html = client.get("/clusters/c2/meter/live").text
    assert html.count("12.3") == 3


def test_a_commissioning_test_is_told_in_the_readers_language(served: Served) -> None:
    tried = (
        Tried(Trial.AMPS, Finding.YES, "Accepted"),
        Tried(Trial.DECIMALS, Finding.NO, "0.5 A became 0 A"),
        Tried(Trial.OBEYS, Finding.SKIPPED, "no car charges"),
    )
    at = NOON - timedelta(hours=1)
    commission = Commission("ST1", 1, "administrator", at, Progress.BROKEN_OFF, None, tried, why="the station is gone")
    served.book.state = attrs.evolve(served.book.state, commissions={"ST1": commission})
    with signed_in(served, "administrator") as client:
        client.cookies.set("llm_language", "de")
        html = client.get("/stations/ST1/test/live").text
    for told in ("die Station ist weg", "angenommen", "aus 0,5 A wurden 0 A", "nur ganze Ampere", "kein Auto lädt"):
        assert told in html
