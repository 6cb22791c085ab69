"""Who may charge, against the rules of the manual (§05.05, §05.06) written out a second time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_core import (
    AccessRule,
    Badge,
    BadgeState,
    BadgeType,
    ByteOrder,
    Now,
    Station,
    Verdict,
    authorise,
    find_badge,
    is_same_badge,
    may_stop,
    normalise,
    usable_badges,
)
from unit.strategies import badges, now, stations, tags

BADGE = Badge("04:A1:B2:C3", comment="Müller")
HERE = Station("A")


def book(*known: Badge) -> dict[str, Badge]:
    return {normalise(badge.badge_id): badge for badge in known}


def verdict(badge: Badge, station: Station = HERE, at: Now | None = None, *, tag: str = "04a1b2c3") -> Verdict:
    return authorise(tag, station, AccessRule.BADGE, book(badge), at or now())


@given(tags)
def test_badges_compare_without_case_colons_and_blanks(tag: str) -> None:
    spelt = normalise(tag)
    assert spelt == normalise(tag.upper()) == normalise(tag.lower()) == normalise(f" {tag} ") == normalise(spelt)
    assert normalise(":".join(tag)) == spelt


def test_a_known_active_badge_may_charge() -> None:
    assert verdict(BADGE) is Verdict.ACCEPTED


def test_an_unknown_badge_is_invalid() -> None:
    assert authorise("ffff", HERE, AccessRule.BADGE, book(BADGE), now()) is Verdict.INVALID


@pytest.mark.parametrize("state", [BadgeState.PENDING, BadgeState.INACTIVE])
def test_a_badge_that_is_not_active_is_blocked(state: BadgeState) -> None:
    assert verdict(attrs.evolve(BADGE, state=state)) is Verdict.BLOCKED


@pytest.mark.parametrize(
    ("utc", "judged"),
    [
        (datetime(2026, 6, 30, 21, 59, 59, tzinfo=UTC), Verdict.ACCEPTED),  # 23:59:59 in Amsterdam, summer time
        (datetime(2026, 6, 30, 22, 0, 0, tzinfo=UTC), Verdict.EXPIRED),  # midnight there
    ],
)
def test_a_badge_is_valid_to_the_end_of_its_last_day_at_the_site(utc: datetime, judged: Verdict) -> None:
    badge = attrs.evolve(BADGE, expires_on=date(2026, 6, 30))
    assert verdict(badge, at=now(utc=utc, utc_offset_s=7_200)) is judged


def test_a_clock_that_fell_back_opens_nothing() -> None:
    badge = attrs.evolve(BADGE, expires_on=date(2026, 6, 30))
    fallen = now(utc=datetime(2020, 1, 1, tzinfo=UTC))
    latest = datetime(2026, 7, 2, tzinfo=UTC)
    assert verdict(badge, at=fallen) is Verdict.ACCEPTED
    judged = authorise("04a1b2c3", HERE, AccessRule.BADGE, book(badge), fallen, latest_utc=latest)
    assert judged is Verdict.EXPIRED


def test_the_latest_instant_on_record_does_not_hold_back_a_clock_that_goes_on() -> None:
    badge = attrs.evolve(BADGE, expires_on=date(2026, 3, 13))
    judged = authorise(
        "04a1b2c3", HERE, AccessRule.BADGE, book(badge), now(), latest_utc=datetime(2026, 3, 12, tzinfo=UTC)
    )
    assert judged is Verdict.EXPIRED


def test_a_badge_for_other_stations_is_blocked_here() -> None:
    badge = attrs.evolve(BADGE, stations=frozenset({"B"}))
    assert verdict(badge) is Verdict.BLOCKED
    assert verdict(badge, Station("B")) is Verdict.ACCEPTED


def test_a_station_for_other_badges_blocks_this_one_and_knows_its_own_in_any_spelling() -> None:
    assert verdict(BADGE, Station("A", badges=frozenset({"ffff"}))) is Verdict.BLOCKED
    assert verdict(BADGE, Station("A", badges=frozenset({"04-x", "04 A1 b2 C3"}))) is Verdict.ACCEPTED


@given(tags, badges(), stations())
def test_free_access_lets_every_badge_charge(tag: str, badge: Badge, station: Station) -> None:
    assert authorise(tag, station, AccessRule.FREE, book(badge), now()) is Verdict.ACCEPTED


@given(tags, badges(), stations())
def test_under_a_cpo_local_badges_are_inactive(tag: str, badge: Badge, station: Station) -> None:
    assert authorise(tag, station, AccessRule.CPO, book(badge), now()) is Verdict.INVALID


@given(st.sampled_from(AccessRule), badges())
def test_nobody_charges_at_a_station_that_was_never_adopted(rule: AccessRule, badge: Badge) -> None:
    assert authorise(badge.badge_id, None, rule, book(badge), now()) is Verdict.INVALID


@pytest.mark.parametrize("rule", AccessRule)
@pytest.mark.parametrize("tag", ["", "  ", ":", "0" * 21])
def test_an_empty_or_overlong_tag_is_invalid_whatever_the_rule(rule: AccessRule, tag: str) -> None:
    assert authorise(tag, HERE, rule, {}, now()) is Verdict.INVALID


def test_a_tag_of_exactly_twenty_characters_is_taken() -> None:
    assert authorise("0" * 20, HERE, AccessRule.FREE, {}, now()) is Verdict.ACCEPTED


@given(badges(), stations(), st.integers(-5, 5))
def test_a_badge_charges_exactly_when_nothing_speaks_against_it(badge: Badge, station: Station, day: int) -> None:
    at = now(day * 86_400)
    speaks_against = (
        badge.state is not BadgeState.ACTIVE,
        badge.expires_on is not None and badge.expires_on < (at.utc + timedelta(hours=1)).date(),
        badge.stations is not None and station.id not in badge.stations,
    )
    assert (verdict(badge, station, at, tag=badge.badge_id) is Verdict.ACCEPTED) is not any(speaks_against)


# Stopping


def test_a_badge_stops_the_session_that_it_started_even_when_it_is_blocked_by_now() -> None:
    assert may_stop("04a1b2c3", "04:A1:B2:C3", {})
    assert may_stop("04a1b2c3", "04:A1:B2:C3", book(attrs.evolve(BADGE, state=BadgeState.INACTIVE)))


@given(tags, tags)
def test_an_ordinary_badge_stops_nobody_elses_session(tag: str, starter: str) -> None:
    assume(normalise(tag) != normalise(starter))
    assert not may_stop(tag, starter, book(Badge(tag)))
    assert not may_stop(tag, None, book(Badge(tag)))


@given(st.none() | tags)
def test_a_super_user_stops_any_session(starter: str | None) -> None:
    assert may_stop("04a1b2c3", starter, book(attrs.evolve(BADGE, type=BadgeType.SUPER)))


@pytest.mark.parametrize("state", [BadgeState.PENDING, BadgeState.INACTIVE])
def test_a_super_user_who_is_not_active_stops_nobody_elses_session(state: BadgeState) -> None:
    assert not may_stop("04a1b2c3", "ffff", book(attrs.evolve(BADGE, type=BadgeType.SUPER, state=state)))


def test_a_stranger_stops_nothing() -> None:
    assert not may_stop("ffff", "04a1b2c3", book(BADGE))


# Numbers read backwards


@pytest.mark.parametrize("tag", ["C3B2A104", "c3:b2:a1:04", "04A1B2C3"])
def test_a_number_told_backwards_is_the_same_badge_where_the_site_says_so(tag: str) -> None:
    assert authorise(tag, HERE, AccessRule.BADGE, book(BADGE), now(), order=ByteOrder.EITHER) is Verdict.ACCEPTED
    assert is_same_badge(tag, BADGE.badge_id, ByteOrder.EITHER)
    assert may_stop(tag, BADGE.badge_id, {}, ByteOrder.EITHER)


def test_backwards_means_nothing_unless_the_site_says_so() -> None:
    assert verdict(BADGE, tag="C3B2A104") is Verdict.INVALID
    assert not is_same_badge("C3B2A104", BADGE.badge_id)


def test_of_two_that_fit_the_one_as_read_is_meant() -> None:
    other = Badge("C3B2A104")
    assert find_badge("c3b2a104", book(BADGE, other), ByteOrder.EITHER) == other


@pytest.mark.parametrize("tag", ["04A1B2C", "Müller", "04"])
def test_what_is_no_row_of_bytes_has_no_other_order(tag: str) -> None:
    assert find_badge(tag[::-1] + "x", book(Badge(tag)), ByteOrder.EITHER) is None
    assert find_badge(tag, book(Badge(tag)), ByteOrder.EITHER) == Badge(tag)


def test_no_tag_is_the_same_as_no_tag_of_nobody() -> None:
    assert not is_same_badge(None, None)
    assert not is_same_badge("04", None)


# What a station should know by itself


@given(badges(), stations(), st.integers(0, 400))
def test_a_stations_own_list_holds_exactly_the_badges_that_would_be_let_in(
    badge: Badge, station: Station, day: int
) -> None:
    at = now(day * 86_400)
    let_in = authorise(badge.badge_id, station, AccessRule.BADGE, book(badge), at) is Verdict.ACCEPTED
    assume(len(badge.badge_id) <= 20)
    assert list(usable_badges(station, book(badge), at)) == ([badge] if let_in else [])
