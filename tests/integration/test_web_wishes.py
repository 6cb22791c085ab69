"""What a driver needs, said of a session that runs; and the sessions that are looked for."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from test_web_pages import change, signed_in
from web_scene import NOON, Served

from llm_core import Fault, NotSaved, Wish, WishPut

RUNNING = "/sessions/41/wish"
TYPED = {"energy_kwh": "22,5", "departs_at": "2026-03-10T18:30"}


def test_a_wish_is_said_changed_and_taken_back(served: Served) -> None:
    wish = Wish(datetime(2026, 3, 10, 17, 30, tzinfo=UTC), 22_500)
    with signed_in(served, "administrator") as client:
        saved = change(served, client, f"{RUNNING}?next=/stations/ST1", TYPED)
        assert saved.headers["location"] == "/stations/ST1?done=wish"
        assert "Take the wish back" not in client.get(RUNNING).text
        state = served.book.state
        key = ("ST1", 1)
        told = {**state.connectors, key: attrs.evolve(state.connectors[key], wish=wish)}
        served.book.state = attrs.evolve(state, connectors=told)
        html = client.get(RUNNING).text
        assert 'value="22.5"' in html
        assert 'value="2026-03-10T18:30"' in html
        change(served, client, RUNNING, {**TYPED, "go": "remove"})
    assert served.book.asked == [WishPut("administrator", 41, wish), WishPut("administrator", 41, None)]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"energy_kwh": "", "departs_at": ""}, "Say how much, or by when"),
        ({"energy_kwh": "a lot"}, "A number, such as 22.5."),
        ({"departs_at": "later"}, "A day and an hour"),
    ],
)
def test_a_wish_that_makes_no_sense_is_told_at_its_field(served: Served, typed: dict[str, str], told: str) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, RUNNING, {**TYPED, **typed})
    assert answer.status_code == 422
    assert told in answer.text
    assert not served.book.asked


def test_what_the_core_refuses_stands_at_its_field(served: Served) -> None:
    served.book.answer = NotSaved((Fault("/departs_at", "lies in the past"),))
    with signed_in(served, "administrator") as client:
        html = change(served, client, RUNNING, TYPED).text
    assert "lies in the past" in html.split('id="departs_at-fault"')[1].split("</p>")[0]


def test_only_a_session_that_runs_has_a_wish_and_only_an_administrator_says_it(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert client.get("/sessions/7/wish").status_code == 404
        assert RUNNING in client.get("/stations/ST1").text
    with signed_in(served, "standard") as client:
        assert client.get(RUNNING).status_code == 403
        assert "/wish" not in client.get("/sessions").text


def test_sessions_are_found_by_station_badge_and_name(served: Served) -> None:
    days = f"from=2026-02-20&to={NOON.date().isoformat()}"
    with signed_in(served, "standard") as client:
        every = client.get(f"/sessions?{days}&size=50").text
        found = client.get(f"/sessions?{days}&size=50&q=müller").text
        none = client.get(f"/sessions?{days}&q=nobody").text
    assert every.count("<tr>") > found.count("<tr>") > 1
    assert "Jansen" in every
    assert "Jansen" not in found
    assert "text=m%C3%BCller&amp;format=csv" in found  # the file holds what is shown
    assert "No session matches" in none


def test_a_station_with_two_places_starts_the_one_that_is_free(served: Served) -> None:
    state = served.book.state
    free = attrs.evolve(state.connectors["ST9", 1])
    served.book.state = attrs.evolve(state, connectors={**state.connectors, ("ST1", 2): free})
    with signed_in(served, "administrator") as client:
        html = client.get("/stations/ST1").text
    start = html.split('value="remote-start"')[1].split("</form>")[0]
    stop = html.split('value="remote-stop"')[1].split("</form>")[0]
    assert 'name="connector" value="2"' in start
    assert 'name="connector" value="1"' in stop
