"""How far the set-up is: what is done and what is missing, read from the state alone, so that nobody keeps a list."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from llm_adapters.web.sections import building_meter, is_unset
from llm_adapters.web.words import METER_ALARMS, Words
from llm_core import SITE, AccessRule, BadgeState, Mode, State


@attrs.frozen
class Item:
    """One thing to do, where, and whether it is done."""

    step: str
    title: str
    text: str
    link: str
    is_done: bool


def progress(state: State, words: Words) -> tuple[Item, ...]:
    """Everything that stands between a new controller and a charging car, in its order."""
    return tuple(_items(state, words))


def _items(state: State, words: Words) -> Iterator[Item]:
    site = state.site
    yield Item("password", words("Password"), words("Chosen."), "", True)
    zone = site.system.time_zone.replace("_", " ")
    has_country = bool(site.system.country)
    text = words("Days and hours follow %(zone)s.", zone=zone) if has_country else words("Say where this site is.")
    yield Item("clock", words("Country and clock"), text, "/system", has_country)
    yield _supply(state, words)
    if site.supply.mode is Mode.DYNAMIC:
        yield _meter(state, words)
    yield _stations(state, words)
    yield _access(state, words)
    charged = bool(state.recent) or any(connector.session is not None for connector in state.connectors.values())
    text = words("A car has charged.") if charged else words("Connect a car and see it on the overview.")
    yield Item("charge", words("First charge"), text, "/", charged)


def _supply(state: State, words: Words) -> Item:
    supply = state.site.supply
    missing = is_unset(state.site)
    if missing:
        text = words("No current is released for charging yet.")
    elif supply.mode is Mode.DYNAMIC:
        text = words("Dynamic; building and cars share %(limit)s A.", limit=words.amps_short(max(supply.limit_ma)))
    else:
        text = words("Static; all cars share %(limit)s A.", limit=words.amps_short(max(supply.limit_ma)))
    return Item("supply", words("Supply"), text, "/settings#supply", not missing)


def _meter(state: State, words: Words) -> Item:
    alarm = next((a for a in state.alarms.values() if a.code in METER_ALARMS and a.subject == SITE), None)
    answers = SITE in state.meters and alarm is None
    if building_meter(state.site) is None:
        text = words("Dynamic management needs the building's meter.")
    elif alarm is not None:
        text = words.alarm(state, alarm)
    else:
        text = words("The meter answers.") if answers else words("The meter has not answered yet.")
    return Item("meter", words("Building meter"), text, "/settings#meter", answers)


def _stations(state: State, words: Words) -> Item:
    adopted = len(state.site.stations)
    waiting = len([station_id for station_id in state.stations if state.site.station(station_id) is None])
    if waiting:
        text = words.many("%(n)s station waits to be adopted.", "%(n)s stations wait to be adopted.", waiting)
    elif adopted:
        text = words.many("%(n)s station is adopted.", "%(n)s stations are adopted.", adopted)
    else:
        text = words("Type the address of this controller into each station.")
    return Item("stations", words("Charging stations"), text, "/stations", bool(adopted) and not waiting)


def _access(state: State, words: Words) -> Item:
    rule = state.site.access
    active = sum(badge.state is BadgeState.ACTIVE for badge in state.badges.values())
    if rule is AccessRule.BADGE:
        text = words.many(
            "A badge is required; %(n)s badge is active.", "A badge is required; %(n)s badges are active.", active
        )
        return Item("access", words("Access"), text, "/badges", active > 0)
    return Item("access", words("Access"), words.access_rule(rule), "/badges", True)
