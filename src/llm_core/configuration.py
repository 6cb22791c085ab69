"""Changes of the configuration: validated whole, saved, then effective; or refused with every fault."""

from __future__ import annotations

from typing import assert_never

import attrs

from llm_core.authorisation import LONGEST_TAG, Badge, BadgeState, normalise
from llm_core.curtailment import limits_lost
from llm_core.demand import unread
from llm_core.effects import (
    AuditEntry,
    BadgeRecord,
    Effect,
    InviteBoot,
    NotSaved,
    Reply,
    Save,
    Saved,
)
from llm_core.events import (
    BadgesEdited,
    PutAccess,
    PutClusters,
    PutMeters,
    PutSharing,
    PutStation,
    PutStations,
    PutSupply,
    PutSystem,
    PutUplink,
    RemoveStation,
    SiteEdit,
    SiteEdited,
)
from llm_core.ledger import Inherited
from llm_core.orders import OutOfUse
from llm_core.presence import introduced, promised_maximum, with_station
from llm_core.problem import Fault
from llm_core.quantities import Now
from llm_core.sessions import interrupt_session
from llm_core.site import AccessRule, Site, SiteError, Station, check
from llm_core.state import State, StationState

Result = tuple[State, tuple[Effect, ...]]


def site_edited(state: State, event: SiteEdited, now: Now) -> Result:
    """The new configuration if it passes `check`, audited; else the faults and no change at all."""
    site = edited(state.site, event.edit)
    try:
        check(site)
    except SiteError as error:
        return state, (Reply(event.request, NotSaved(error.faults)),)
    lost = tuple(limits_lost(state, site))
    if lost:
        return state, (Reply(event.request, NotSaved(lost)),)
    old, new = _shown(state.site, event.edit), _shown(site, event.edit)
    audit = AuditEntry(now.utc, event.by, type(event.edit).__name__, old, new)
    before, state = state.site, attrs.evolve(state, site=site)
    followed: tuple[Effect, ...] = ()
    if isinstance(event.edit, PutStation | PutStations):
        for station in _stations_of(event.edit):
            state, more = station_put(state, station, before.station(station.id), now)
            followed = (*followed, *more)
    elif isinstance(event.edit, RemoveStation):
        state, followed = station_removed(state, event.edit.station_id, now)
    return state, (Save(site), Save(audit), *followed, Reply(event.request, Saved()))


def edited(site: Site, edit: SiteEdit) -> Site:
    """The site with one edit applied, not yet checked."""
    match edit:
        case PutSystem():
            return attrs.evolve(site, system=edit.system)
        case PutSupply():
            return attrs.evolve(site, supply=edit.supply)
        case PutClusters():
            return attrs.evolve(site, clusters=edit.clusters)
        case PutMeters():
            return attrs.evolve(site, meters=edit.meters)
        case PutSharing():
            return attrs.evolve(site, sharing=edit.sharing)
        case PutAccess():
            rules = edit.badge_rules if edit.badge_rules is not None else site.badge_rules
            uplink = attrs.evolve(site.uplink, enabled=edit.rule is AccessRule.CPO)
            return attrs.evolve(site, access=edit.rule, badge_rules=rules, uplink=uplink)
        case PutUplink():
            return attrs.evolve(site, access=_rule_with(edit.uplink.enabled, site.access), uplink=edit.uplink)
        case PutStation() | PutStations():
            return attrs.evolve(site, stations=_with_stations(site.stations, _stations_of(edit)))
        case RemoveStation():
            uplink = attrs.evolve(
                site.uplink, stations=tuple(s for s in site.uplink.stations if s.station_id != edit.station_id)
            )
            stations = tuple(s for s in site.stations if s.id != edit.station_id)
            return attrs.evolve(site, stations=stations, uplink=uplink)
        case _:
            assert_never(edit)


def _stations_of(edit: PutStation | PutStations) -> tuple[Station, ...]:
    return (edit.station,) if isinstance(edit, PutStation) else edit.stations


def _with_stations(before: tuple[Station, ...], put: tuple[Station, ...]) -> tuple[Station, ...]:
    """Known ones in their places, new ones at the end."""
    new = {station.id: station for station in put}
    kept = tuple(new.pop(station.id, station) for station in before)
    return (*kept, *new.values())


def _rule_with(uplink_enabled: bool, before: AccessRule) -> AccessRule:
    """The CPO replaces the badges; when it goes, badges are asked for again."""
    if uplink_enabled:
        return AccessRule.CPO
    return AccessRule.BADGE if before is AccessRule.CPO else before


def _shown(site: Site, edit: SiteEdit) -> str:
    """The edited part as text for the audit trail."""
    match edit:
        case PutSystem():
            return repr(site.system)
        case PutSupply():
            return repr(site.supply)
        case PutClusters():
            return repr(site.clusters)
        case PutMeters():
            return repr(site.meters)
        case PutSharing():
            return repr(site.sharing)
        case PutAccess():
            rules = site.badge_rules
            return f"rule={site.access}, concurrent={rules.concurrent}, byte_order={rules.byte_order}"
        case PutUplink():
            return repr(site.uplink)
        case PutStation():
            return _text(site.station(edit.station.id))
        case PutStations():
            return ", ".join(_text(site.station(station.id)) for station in edit.stations)
        case RemoveStation():
            return _text(site.station(edit.station_id))
        case _:
            assert_never(edit)


def _text(value: Badge | Station | None) -> str:
    return "" if value is None else repr(value)


def station_put(state: State, station: Station, before: Station | None, now: Now) -> Result:
    """A waiting station is adopted: from now on its maximum counts, and it is asked to boot so that it is accepted.

    Of a station that we know already, a larger maximum counts at once wherever nobody knows what it holds; and what was
    read of its phases while it was thought to hang on others is forgotten, so that it counts on all of them.
    """
    known = state.stations.get(station.id)
    if known is None or not known.met:  # created ahead: counts nothing until it connects, and is missed after a while
        return with_station(state, station.id, known or StationState(since_ms=now.monotonic_ms)), ()
    strangers = {key: reading for key, reading in state.strangers.items() if key[0] != station.id}
    connectors = dict(state.connectors)
    for key, connector in state.connectors.items():
        inherited = connector.ledger.inherited
        if key[0] == station.id and (inherited is not None or not connector.ledger.has_floor):
            until_ms = inherited.until_ms if inherited is not None else None
            ledger = attrs.evolve(connector.ledger, inherited=Inherited(station.max_ma, station.max_ma, until_ms))
            connectors[key] = attrs.evolve(connector, ledger=ledger)
        if key[0] == station.id and before is not None and before.phase_rotation != station.phase_rotation:
            connectors[key] = unread(connectors[key])
    state = attrs.evolve(state, strangers=strangers, connectors=connectors)
    state, saves = introduced(state, station)
    state, more = promised_maximum(state, station)
    saves = (*saves, *more)
    waits = known.online and not known.accepted
    return state, (*saves, InviteBoot(station.id)) if waits else saves


def station_removed(state: State, station_id: str, now: Now) -> Result:
    """Its open sessions end here; while it stays connected it is a stranger again, and what it draws counts on."""
    saves: list[Effect] = []
    recent = dict(state.recent)
    for key, connector in state.connectors.items():
        if key[0] == station_id and connector.session is not None:
            ended = interrupt_session(connector.session, now.utc, "StationRemoved")
            recent[ended.transaction_id] = ended
            saves.append(Save(ended))
    connectors = {key: c for key, c in state.connectors.items() if key[0] != station_id}
    stations = dict(state.stations)
    known = stations.pop(station_id, None)
    if known is not None and known.inoperative:
        saves.append(Save(OutOfUse(station_id)))
    strangers = dict(state.strangers)
    if known is not None and known.online:
        stations[station_id] = attrs.evolve(known, accepted=False, inoperative=frozenset())
        gone = {key: c for key, c in state.connectors.items() if key[0] == station_id and c.readings}
        strangers |= {key: connector.readings[-1] for key, connector in gone.items()}
    state = attrs.evolve(state, recent=recent, connectors=connectors, stations=stations, strangers=strangers)
    return state, tuple(saves)


def badges_edited(state: State, event: BadgesEdited, now: Now) -> Result:
    """All of the badges or none: an id that no card can have, or named twice in one change, refuses the whole."""
    keys = [normalise(badge.badge_id) for badge in event.put]
    unfit = f"must have 1 to {LONGEST_TAG} characters, colons and blanks aside"
    faults = [Fault(f"/{i}/badge_id", unfit) for i, key in enumerate(keys) if not 1 <= len(key) <= LONGEST_TAG]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    faults += [Fault(f"/{i}/badge_id", "stands twice in this change") for i, key in enumerate(keys) if first[key] < i]
    removed = dict.fromkeys(normalise(badge_id) for badge_id in event.remove)
    faults += [Fault(f"/{i}", "there is no such badge") for i, key in enumerate(removed) if key not in state.badges]
    if faults:
        return state, (Reply(event.request, NotSaved(tuple(faults))),)
    badges = {key: badge for key, badge in state.badges.items() if key not in removed}
    effects: list[Effect] = [Save(BadgeRecord(key, None)) for key in removed]
    for key, badge in zip(keys, event.put, strict=True):
        before = state.badges.get(key)
        kept = badge if before is None else _kept(before, badge)
        badges[key] = kept
        effects.append(Save(BadgeRecord(key, kept)))
        effects.append(Save(AuditEntry(now.utc, event.by, "badge", _text(before), _text(kept))))
    effects += [Save(AuditEntry(now.utc, event.by, "badge", _text(state.badges[key]), "")) for key in removed]
    return attrs.evolve(state, badges=badges), (*effects, Reply(event.request, Saved()))


def _kept(before: Badge, badge: Badge) -> Badge:
    """A badge is shown as first entered; a pending one that is given its group may charge (manual §05.06)."""
    assigned = before.state is badge.state is BadgeState.PENDING and bool(badge.group)
    return attrs.evolve(badge, badge_id=before.badge_id, state=BadgeState.ACTIVE if assigned else badge.state)
