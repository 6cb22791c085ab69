"""Badges while the controller is down: which ones a station is to open for by itself.

The list holds exactly the badges that may charge there now. Where charging is free, or a CPO decides, it is empty: the
first needs none, and under the second local badges are inactive (manual §05.05).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta

import attrs

from llm_core.authorisation import LONGEST_TAG, Badge, BadgeType, Verdict, authorise, normalise
from llm_core.effects import Effect, Note
from llm_core.local_lists import ListedBadge, LocalListTold
from llm_core.quantities import Now
from llm_core.sessions import Session
from llm_core.site import AccessRule
from llm_core.state import State

LAST_DATE = datetime(2037, 12, 31, tzinfo=UTC)  # some stations refuse later ones

Result = tuple[State, tuple[Effect, ...]]


def listed_badges(state: State, station_id: str, now: Now) -> tuple[ListedBadge, ...]:
    """The badges of the list, most useful first: a station with little room keeps the first ones.

    Super users come first, then badges that were used lately, then the others. A badge stands there as it was last
    presented, since many stations compare letter by letter.
    """
    station = state.site.station(station_id)
    if station is None or state.site.access is not AccessRule.BADGE:
        return ()
    order = state.site.badge_rules.byte_order
    presented = _presented(state)
    usable = [
        (key, badge)
        for key, badge in state.badges.items()
        if authorise(key, station, AccessRule.BADGE, state.badges, now, latest_utc=state.latest_utc, order=order)
        is Verdict.ACCEPTED
    ]
    ranked = sorted(usable, key=lambda one: (one[1].type is not BadgeType.SUPER, one[0] not in presented, one[0]))
    return tuple(ListedBadge(_as_presented(badge, presented.get(key)), _until(badge, now)) for key, badge in ranked)


def _presented(state: State) -> Mapping[str, str]:
    """The tags of the sessions that are known, as stations told them, by what they compare as."""
    tags: dict[str, str] = {}
    for session in (*state.recent.values(), *_open_sessions(state)):
        if session.id_tag is not None and len(session.id_tag) <= LONGEST_TAG:
            tags[normalise(session.id_tag)] = session.id_tag
    return tags


def _open_sessions(state: State) -> Iterator[Session]:
    for connector in state.connectors.values():
        if connector.session is not None:
            yield connector.session


def _as_presented(badge: Badge, presented: str | None) -> str:
    if presented is not None:
        return presented
    return badge.badge_id if len(badge.badge_id) <= LONGEST_TAG else normalise(badge.badge_id)


def _until(badge: Badge, now: Now) -> datetime | None:
    """The end of its last day by the site's clock, no later than stations can read."""
    if badge.expires_on is None:
        return None
    midnight = datetime.combine(badge.expires_on, time(), UTC) + timedelta(days=1, seconds=-now.utc_offset_s)
    return min(midnight, LAST_DATE)


def local_list_told(state: State, event: LocalListTold) -> Result:
    """What lies in a station now; kept, so that nothing is written twice after a restart."""
    told = event.local_list
    if state.site.station(told.station_id) is None or state.local_lists.get(told.station_id) == told:
        return state, ()
    return attrs.evolve(state, local_lists={**state.local_lists, told.station_id: told}), (Note(told),)
