"""Which badges a station opens for by itself: exactly those that may charge there, the most useful first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import attrs
import pytest

from llm_core import (
    AccessRule,
    Badge,
    BadgeState,
    BadgeType,
    ConnectorState,
    Ledger,
    ListedBadge,
    LocalList,
    LocalListTold,
    Note,
    Now,
    Site,
    State,
    Station,
    listed_badges,
    open_session,
    step,
)
from unit.strategies import NOON, now


def house(*badges: Badge, rule: AccessRule = AccessRule.BADGE) -> State:
    site = Site(stations=(Station("A"), Station("B", badges=frozenset({"bb22"}))), access=rule)
    return State(site=site, badges={badge.badge_id.replace(":", "").lower(): badge for badge in badges})


def tags(state: State, station: str = "A") -> list[str]:
    return [badge.id_tag for badge in listed_badges(state, station, now())]


def test_the_list_holds_who_may_charge_there() -> None:
    state = house(
        Badge("AA11"),
        Badge("BB22"),
        Badge("CC33", state=BadgeState.INACTIVE),
        Badge("DD44", stations=frozenset({"B"})),
        Badge("EE55", expires_on=NOON.date() - timedelta(days=1)),
    )
    assert tags(state) == ["AA11", "BB22"]
    assert tags(state, "B") == ["BB22"]
    assert tags(state, "stranger") == []


@pytest.mark.parametrize("rule", [AccessRule.FREE, AccessRule.CPO])
def test_where_badges_decide_nothing_the_list_is_empty(rule: AccessRule) -> None:
    assert tags(house(Badge("AA11"), rule=rule)) == []


def test_super_users_and_badges_in_use_come_first_and_stand_as_they_were_presented() -> None:
    state = house(Badge("AA11"), Badge("BB22"), Badge("CC33", type=BadgeType.SUPER), Badge("DD:44"), Badge("FF66"))
    ended = open_session(1, "B", 1, "bb 22", NOON, 0)
    foreign = open_session(2, "B", 1, "x" * 21, NOON, 0)
    nobody = open_session(3, "B", 1, None, NOON, 0)
    running = attrs.evolve(ConnectorState(Ledger(None)), session=open_session(4, "A", 1, "FF:66", NOON, 0))
    idle = ConnectorState(Ledger(None))
    state = attrs.evolve(
        state, recent={1: ended, 2: foreign, 3: nobody}, connectors={("A", 1): running, ("A", 2): idle}
    )
    assert tags(state) == ["CC33", "bb 22", "FF:66", "AA11", "DD:44"]


def test_an_id_that_is_too_long_as_entered_goes_without_its_colons() -> None:
    assert tags(house(Badge("04:A2:19:FF:8B:5E:80"), Badge("04:A2:19:FF:8B:5E:80:11"))) == [
        "04:A2:19:FF:8B:5E:80",
        "04a219ff8b5e8011",
    ]


def test_a_badge_runs_out_at_the_end_of_its_day_by_the_clock_of_the_site() -> None:
    state = house(Badge("AA11", expires_on=date(2030, 1, 31)), Badge("BB22", expires_on=date(2050, 1, 31)))
    summer = Now(0, NOON, 7_200)
    assert listed_badges(state, "A", summer) == (
        ListedBadge("AA11", datetime(2030, 1, 31, 22, 0, tzinfo=UTC)),
        ListedBadge("BB22", datetime(2037, 12, 31, tzinfo=UTC)),
    )


def test_what_lies_in_a_station_is_kept_and_the_same_again_is_no_news() -> None:
    told = LocalList("A", 7, "d", 2, 3)
    after = step(house(), LocalListTold(told), now())
    assert after.state.local_lists == {"A": told}
    assert after.effects == (Note(told),)
    assert step(after.state, LocalListTold(told), now()).effects == ()
    assert step(house(), LocalListTold(attrs.evolve(told, station_id="X")), now()).effects == ()
