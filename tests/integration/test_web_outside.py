"""The page of limits from outside: what it hands to the core, and what it tells of each limit."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from test_web_pages import change, signed_in
from web_scene import LIMITS, Served

from llm_core import AppliesTo, ExternalLimit, Fault, Lapse, LimitPut, LimitWithdrawn, NotSaved, PerPhase

LIMIT = {"node": "c2", "kind": "power", "limit_kw": "4,2", "limit_a": "", "applies_to": "stations", "then": "keep"}


def test_a_limit_is_handed_over_with_the_hours_of_the_site(served: Served) -> None:
    times = {"starts_at": "2026-03-28T12:00", "ends_at": "2026-03-29T12:00", "reason": "§ 14a"}
    with signed_in(served, "administrator") as client:
        saved = change(served, client, "/limits/new", {**LIMIT, **times})
        assert saved.headers["location"] == "/limits?done=limit"
        change(
            served,
            client,
            "/limits/new",
            {
                **LIMIT,
                "kind": "current",
                "limit_a": "20 / 16 / 20",
                "applies_to": "total",
                "keep_alive_s": "60",
                "then": "lift",
            },
        )
    winter, summer = datetime(2026, 3, 28, 11, tzinfo=UTC), datetime(2026, 3, 29, 10, tzinfo=UTC)
    power = ExternalLimit("", "c2", limit_w=4_200, starts_at=winter, ends_at=summer, reason="§ 14a")
    watched = ExternalLimit(
        "", "c2", PerPhase(20_000, 16_000, 20_000), applies_to=AppliesTo.TOTAL, keep_alive_s=60, then=Lapse.LIFT
    )
    assert served.book.asked == [LimitPut("administrator", power), LimitPut("administrator", watched)]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"limit_kw": "much"}, "A number, such as 4.2."),
        ({"kind": "current", "limit_a": ""}, "A current in amps"),
        ({"ends_at": "tomorrow"}, "A day and an hour"),
        ({"ends_at": "0001-01-01T00:00"}, "A day and an hour"),
        ({"keep_alive_s": "1"}, "A whole number from 10 to 86400."),
        ({"applies_to": "everything"}, "Choose one of these."),
    ],
)
def test_what_is_typed_wrong_is_told_at_its_field_and_not_lost(
    served: Served, typed: dict[str, str], told: str
) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, "/limits/new", {**LIMIT, "reason": "Letter of 3 March", **typed})
    assert answer.status_code == 422
    assert told in answer.text
    assert "Letter of 3 March" in answer.text
    assert not served.book.asked


def test_what_the_core_refuses_stands_at_its_field(served: Served) -> None:
    served.book.answer = NotSaved((Fault("/ends_at", "lies before the start"),))
    with signed_in(served, "administrator") as client:
        html = change(served, client, "/limits/new", {**LIMIT, "ends_at": "2026-03-28T12:00"}).text
    assert "lies before the start" in html.split('id="ends_at-fault"')[1].split("</p>")[0]


def test_a_limit_is_changed_without_moving_its_seconds(served: Served) -> None:
    [holding] = [record.limit for record in LIMITS if record.limit.id == "1"]
    exact = attrs.evolve(holding, ends_at=datetime(2026, 3, 10, 14, 0, 30, tzinfo=UTC))
    known = served.book.state.limits["1"]
    known = attrs.evolve(known, record=attrs.evolve(known.record, limit=exact))
    served.book.state = attrs.evolve(served.book.state, limits={**served.book.state.limits, "1": known})
    fields = {**LIMIT, "node": "site", "limit_kw": "5", "ends_at": "2026-03-10T15:00", "reason": holding.reason}
    with signed_in(served, "administrator") as client:
        assert 'value="2026-03-10T15:00"' in client.get("/limits/1").text
        change(served, client, "/limits/1", fields)
    assert served.book.asked == [LimitPut("administrator", attrs.evolve(exact, limit_w=5_000))]


def test_a_limit_is_lifted_once_and_one_that_is_gone_has_no_page(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        assert "Lift this limit" in client.get("/limits/1").text
        assert change(served, client, "/limits/1/lift", {}).headers["location"] == "/limits?done=lifted"
        assert change(served, client, "/limits/77/lift", {}).status_code == 404
        assert client.get("/limits/3").status_code == 404
    assert served.book.asked == [LimitWithdrawn("administrator", "1")]


def test_each_limit_tells_its_place_its_span_and_its_effect(served: Served) -> None:
    with signed_in(served, "administrator") as client:
        html = client.get("/limits").text
    for told in (
        "4.2 kW",
        "§ 14a, letter of 3 March",
        "20.1 / 14.2 / 20 A flowed when it began; kept after 13 seconds.",
        "Planned",
        "11 Mar 2026 13:00 until it is lifted",
        "20 / 16 / 16 A",
        "1 Mar 2026 13:00 to 2 Mar 2026 13:00",
        "Nobody measures what it limits.",
    ):
        assert told in html
    assert html.count("Change or lift") == 2
