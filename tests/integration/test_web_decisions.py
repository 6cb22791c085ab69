"""The page of decisions: why each limit is what it is, and the last ones that were sent."""

from __future__ import annotations

import attrs
from test_web_pages import signed_in
from web_scene import Served, empty

from llm_adapters.web.decisions import CAUSES
from llm_core import GrantReason


def test_every_reason_has_a_cause() -> None:
    assert set(CAUSES) == set(GrantReason)


def test_a_shared_limit_names_its_place_in_figures(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = client.get("/decisions").text
    assert "L1 of Cluster #1: limit 32 A, for charging 32 A, kept for cars 20 A, free 12 A." in html
    assert "The car takes what it wants (9.8 A)." in html


def test_the_last_limits_stand_newest_first_with_their_seconds(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = client.get("/decisions/live").text
    last = html.split("Last limits")[1]
    assert last.index("No car charges there.") < last.index("The car wants no more.") < last.index("is shared.")
    assert "10 Mar 2026 12:59:58" in last
    assert "Paused: others have their turn on L1 of Cluster #1." in last


def test_one_station_can_be_looked_at_alone(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = client.get("/decisions?q=bay+6").text
    assert "Bay 6" in html
    assert "Bay 2" not in html
    assert "/decisions/live?q=bay%206" in html


def test_a_change_of_a_station_that_is_gone_is_still_told(served: Served) -> None:
    [first, *_] = served.book.state.changes
    gone = attrs.evolve(first, station_id="GONE", limited_by=None)
    served.book.state = attrs.evolve(served.book.state, changes=(gone,))
    with signed_in(served, "administrator") as client:
        assert "GONE" in client.get("/decisions").text
        served.book.state = empty()
        assert "No decision yet" in client.get("/decisions").text
