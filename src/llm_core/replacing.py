"""A whole configuration takes the place of the present one: checked whole, saved whole, then effective."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from llm_core.authorisation import normalise
from llm_core.configuration import badges_edited, station_put, station_removed
from llm_core.curtailment import limits_lost
from llm_core.effects import AuditEntry, Effect, NotSaved, Reply, Save, Saved
from llm_core.events import BadgesEdited, ConfigurationReplaced
from llm_core.problem import Fault
from llm_core.quantities import Now
from llm_core.site import Site, SiteError, check
from llm_core.state import State

Result = tuple[State, tuple[Effect, ...]]


def configuration_replaced(state: State, event: ConfigurationReplaced, now: Now) -> Result:
    """The new site and badges, or every fault and no change; stations that are gone or new follow as one by one."""
    try:
        check(event.site)
    except SiteError as error:
        return state, (Reply(event.request, NotSaved(error.faults)),)
    if lost := tuple(limits_lost(state, event.site)):
        return state, (Reply(event.request, NotSaved(lost)),)
    changed, effects = badges_edited(state, _difference(state, event), now)
    answers = [effect.answer for effect in effects if isinstance(effect, Reply)]
    if refused := [answer for answer in answers if isinstance(answer, NotSaved)]:
        faults = tuple(Fault(f"/badges{fault.pointer}", fault.text) for fault in refused[0].faults)
        return state, (Reply(event.request, NotSaved(faults)),)
    saved = tuple(effect for effect in effects if not isinstance(effect, Reply))
    old, new = ("; ".join(_shown(site, other)) for site, other in ((state.site, event.site), (event.site, state.site)))
    audit = AuditEntry(now.utc, event.by, "configuration", old, new)
    changed, followed = _stations_follow(attrs.evolve(changed, site=event.site), state.site, now)
    return changed, (Save(event.site), Save(audit), *saved, *followed, Reply(event.request, Saved()))


def _difference(state: State, event: ConfigurationReplaced) -> BadgesEdited:
    """What is to happen to the badges; a badge that stays as it is is no change. None: they all stay."""
    if event.badges is None:
        return BadgesEdited(event.by)
    wanted = [normalise(badge.badge_id) for badge in event.badges]
    twice = len(set(wanted)) < len(wanted)
    put = tuple(badge for badge in event.badges if twice or state.badges.get(normalise(badge.badge_id)) != badge)
    return BadgesEdited(event.by, put, tuple(key for key in state.badges if key not in set(wanted)))


def _stations_follow(state: State, before: Site, now: Now) -> Result:
    effects: tuple[Effect, ...] = ()
    for station in before.stations:
        if state.site.station(station.id) is None:
            state, more = station_removed(state, station.id, now)
            effects = (*effects, *more)
    for station in state.site.stations:
        if before.station(station.id) != station:
            state, more = station_put(state, station, before.station(station.id), now)
            effects = (*effects, *more)
    return state, effects


def _shown(site: Site, other: Site) -> Iterator[str]:
    """The parts of a site that differ from the other's, as text for the audit trail."""
    for field in attrs.fields(Site):
        value = getattr(site, field.name)
        if value != getattr(other, field.name):
            yield f"{field.name}={value!r}"
