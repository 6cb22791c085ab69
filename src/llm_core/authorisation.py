"""Who may charge: one function from a badge and a place to a verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import assert_never

import attrs

from llm_core.quantities import Now
from llm_core.site import AccessRule, ByteOrder, Station

LONGEST_TAG = 20  # OCPP 1.6 §7.28: CiString20
_BYTES = re.compile(r"(?:[0-9a-f]{2}){2,}")


class Verdict(StrEnum):
    """The answer to a presented badge, in OCPP 1.6's words (§7.1)."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT = "ConcurrentTx"


class BadgeType(StrEnum):
    STANDARD = "standard"
    SUPER = "super"


class BadgeState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    INACTIVE = "inactive"


@attrs.frozen
class Badge:
    """A badge; `badge_id` is kept as first entered, `normalise` decides which are the same."""

    badge_id: str
    type: BadgeType = BadgeType.STANDARD
    state: BadgeState = BadgeState.ACTIVE
    group: str | None = None
    comment: str = ""
    email: str = ""
    expires_on: date | None = None  # valid to the end of that day, site time
    stations: frozenset[str] | None = None  # None: all stations


def normalise(id_tag: str) -> str:
    """The form in which badges compare: without case, colons and blanks."""
    return "".join(id_tag.split()).replace(":", "").lower()


def backwards(key: str) -> str | None:
    """The normalised number with its bytes in the other order; None where it is no row of bytes."""
    return bytes.fromhex(key)[::-1].hex() if _BYTES.fullmatch(key) is not None else None


def find_badge(id_tag: str, badges: Mapping[str, Badge], order: ByteOrder = ByteOrder.AS_READ) -> Badge | None:
    """The badge that a tag stands for; one that fits as it was read comes before one that fits backwards."""
    key = normalise(id_tag)
    found = badges.get(key)
    if found is None and order is ByteOrder.EITHER:
        return badges.get(backwards(key) or key)
    return found


def is_same_badge(one: str | None, other: str | None, order: ByteOrder = ByteOrder.AS_READ) -> bool:
    """Whether two tags are one badge; no tag is nobody's."""
    if one is None or other is None:
        return False
    key = normalise(other)
    return normalise(one) in ((key, backwards(key)) if order is ByteOrder.EITHER else (key,))


def authorise(
    id_tag: str,
    station: Station | None,
    rule: AccessRule,
    badges: Mapping[str, Badge],
    now: Now,
    *,
    latest_utc: datetime | None = None,
    order: ByteOrder = ByteOrder.AS_READ,
) -> Verdict:
    """Whether this badge may charge at this station now.

    `badges` is keyed by `normalise(badge_id)`; `station` None is a stranger and is never let in. Expiry is judged
    now, against the later of the clock and `latest_utc` (the latest instant ever recorded), so that a clock that
    stopped or fell back opens nothing. A CPO rule refuses here: the CPO's answer comes by another way.
    """
    if station is None or len(id_tag) > LONGEST_TAG or not normalise(id_tag):
        return Verdict.INVALID
    match rule:
        case AccessRule.FREE:
            return Verdict.ACCEPTED
        case AccessRule.CPO:
            return Verdict.INVALID
        case AccessRule.BADGE:
            badge = find_badge(id_tag, badges, order)
            return Verdict.INVALID if badge is None else _judge(badge, station, now, latest_utc)
        case _:
            assert_never(rule)


def _judge(badge: Badge, station: Station, now: Now, latest_utc: datetime | None) -> Verdict:
    if badge.state is not BadgeState.ACTIVE:
        return Verdict.BLOCKED
    known_utc = now.utc if latest_utc is None else max(now.utc, latest_utc)
    today = (known_utc + timedelta(seconds=now.utc_offset_s)).date()
    if badge.expires_on is not None and today > badge.expires_on:
        return Verdict.EXPIRED
    if badge.stations is not None and station.id not in badge.stations:
        return Verdict.BLOCKED
    if station.badges is not None and normalise(badge.badge_id) not in {normalise(b) for b in station.badges}:
        return Verdict.BLOCKED
    return Verdict.ACCEPTED


def usable_badges(
    station: Station, badges: Mapping[str, Badge], now: Now, *, latest_utc: datetime | None = None
) -> Iterator[Badge]:
    """The badges that may charge at this station now, in the order of their keys: what its own list should hold."""
    for _, badge in sorted(badges.items()):
        if _judge(badge, station, now, latest_utc) is Verdict.ACCEPTED:
            yield badge


def may_stop(
    id_tag: str, started_by: str | None, badges: Mapping[str, Badge], order: ByteOrder = ByteOrder.AS_READ
) -> bool:
    """A badge stops the session it started; an active super user's stops any (manual §05.06)."""
    if is_same_badge(id_tag, started_by, order):
        return True
    badge = find_badge(id_tag, badges, order)
    return badge is not None and badge.state is BadgeState.ACTIVE and badge.type is BadgeType.SUPER
