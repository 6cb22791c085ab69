"""A station's page says in words what it can do, why it is limited or refused, and what it reported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import attrs
import httpx
import pytest
from web_scene import NOON, PASSWORD, Served, busy, serving

from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.station_notes import NOTES, notes_look
from llm_adapters.web.words import Words
from llm_core import (
    Capabilities,
    ConnectorState,
    Ledger,
    LocalList,
    ReportKind,
    State,
    StationNote,
    StationReport,
    StationState,
    TurnedAway,
    TurnedAwayFor,
)

GOOD = StationState(
    online=True,
    met=True,
    accepted=True,
    path="/ocpp/ST1",
    clock_ahead_ms=-2_140,
    capabilities=Capabilities(step_ma=100, keeps_profiles=True),
)
FLAWS = {
    StationNote.OFFLINE: attrs.evolve(GOOD, online=False),
    StationNote.WHOLE_AMPS: attrs.evolve(GOOD, capabilities=Capabilities()),
    StationNote.IN_WATTS: attrs.evolve(GOOD, capabilities=Capabilities(in_watts=True)),
    StationNote.ONE_PROFILE: attrs.evolve(GOOD, capabilities=Capabilities(step_ma=100, stacks=False)),
    StationNote.NO_FALL_BACK: attrs.evolve(GOOD, capabilities=Capabilities(step_ma=100, decays=False)),
    StationNote.TAKES_NO_LIMIT: attrs.evolve(GOOD, capabilities=Capabilities(step_ma=100, takes_limits=False)),
    StationNote.CLOCK_UNKNOWN: attrs.evolve(GOOD, clock_ahead_ms=None),
    StationNote.CLOCK_OFF: attrs.evolve(GOOD, clock_ahead_ms=61_000),
    StationNote.INOPERATIVE: attrs.evolve(GOOD, inoperative=frozenset({1})),
    StationNote.TURNED_AWAY: attrs.evolve(GOOD, turned_away=TurnedAway(NOON, "10.0.0.9", TurnedAwayFor.WRONG_KEY)),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(busy()) as running:
        yield running


def known(station: StationState, connector: ConnectorState | None = None) -> State:
    state = busy()
    connectors = {("ST1", 1): connector or ConnectorState(Ledger(None))}
    return attrs.evolve(state, stations={**state.stations, "ST1": station}, connectors=state.connectors | connectors)


def page(served: Served, state: State, language: str = "en") -> str:
    """The page of station ST1 as an administrator reads it, and the part of it that is fetched again and again."""
    served.begin_again(state)
    with httpx.Client(base_url=served.url, headers={"Accept-Language": language}) as client:
        assert client.post("/login", data={"name": "administrator", "password": PASSWORD}).status_code == 303
        whole = client.get("/stations/ST1").raise_for_status().text
        part = client.get("/stations/ST1/notes/live").raise_for_status().text
    assert part.strip() in whole
    assert "<lid>" not in whole, "what a station says is text"
    return unescape(part)


def test_a_station_without_a_flaw_is_told_to_have_none(served: Served) -> None:
    told = page(served, known(GOOD))
    assert "Nothing limits it but its share." in told
    assert not any(text in told for text in NOTES.values())
    assert "in amps, to 0.1 A" in told
    assert "2.1 s behind" in told
    assert "/ocpp/ST1" in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("note", FLAWS)
def test_what_limits_a_station_stands_on_its_page(served: Served, note: StationNote, language: str) -> None:
    told = page(served, known(FLAWS[note]), language)
    assert Words(language, "UTC")(NOTES[note]) in told


def test_a_station_that_disobeys_and_one_that_refuses_are_told_so(served: Served) -> None:
    told = page(served, known(GOOD, ConnectorState(Ledger(None, refusals=3), disobeys_ms=1)))
    assert NOTES[StationNote.DISOBEYS] in told
    assert NOTES[StationNote.REJECTS_LIMITS] in told


def test_who_was_turned_away_is_told_with_when_whence_and_why(served: Served) -> None:
    told = page(served, known(FLAWS[StationNote.TURNED_AWAY]))
    assert "10 Mar 2026 13:00, from 10.0.0.9: it showed a wrong password." in told


def test_what_it_reported_and_which_badges_it_holds_is_told(served: Served) -> None:
    reports = (
        StationReport(NOON, "ST1", ReportKind.FIRMWARE, "Downloading"),
        StationReport(NOON, "ST1", ReportKind.FIRMWARE, "Installed", "900"),
        *(
            StationReport(NOON + timedelta(minutes=n), "ST1", ReportKind.SECURITY, f"Tamper{n}", "<lid>")
            for n in range(7)
        ),
    )
    held = LocalList("ST1", held=12, wanted=14)
    told = page(served, attrs.evolve(known(GOOD), reports={"ST1": reports}, local_lists={"ST1": held}))
    assert "Installed" in told
    assert "Downloading" not in told
    assert [n for n in range(7) if f"Tamper{n}" in told] == [2, 3, 4, 5, 6]
    assert "12 of 14" in told
    refused = LocalList("ST1", wanted=14, refused="not supported")
    assert "not supported" in page(served, attrs.evolve(known(GOOD), local_lists={"ST1": refused}))


def test_a_stranger_is_told_to_wait_and_nothing_is_claimed_of_it(served: Served) -> None:
    served.begin_again(busy())
    look = notes_look(served.desk, Words("en", "UTC"), "EV-NEW-01")
    assert [note.text for note in look["notes"]] == [NOTES[StationNote.PENDING]]
    assert look["station_facts"] == []
