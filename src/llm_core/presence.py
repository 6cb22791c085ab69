"""Stations come, go, boot, and tell how they are: facts about links, clocks, connectors and readings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import assert_never

import attrs

from llm_core import ledger as books
from llm_core.budget import decays
from llm_core.commissioning import learned
from llm_core.copies import changed
from llm_core.demand import forgotten, least_told, observed
from llm_core.dispatch import told
from llm_core.effects import BootAnswer, Ceiling, Effect, Note, NotStored, Reply, Save
from llm_core.events import (
    CapabilitiesFound,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterValuesReceived,
    StationBooted,
    StationConnected,
    StationTurnedAway,
    Status,
    StatusChanged,
)
from llm_core.external import doubted
from llm_core.ledger import Inherited, Ledger
from llm_core.quantities import PHASES, Now, PerPhase, Phase
from llm_core.sessions import UJ_PER_WH, Session, believed, drawn_uj, integrate_session, meter_session
from llm_core.site import Station, on_phases
from llm_core.state import ConnectorState, Key, Reading, State, StationState, TurnedAway

HEARTBEAT_S = 30  # well below the 40 s after which a silent station that answers no ping is hung up on
PENDING_S = 30
FORGOTTEN_MS = 600_000
CLOCK_DUE_MS = 30_000  # a station says something with a stamp within so long, if it is asked
MOST_DEPARTED = 20
MOST_CONNECTORS = 64  # more is no station but a flood
LIVE_MS = 60_000  # a reading stamped longer ago came out of a queue

Result = tuple[State, tuple[Effect, ...]]


def with_station(state: State, station_id: str, known: StationState) -> State:
    return changed(state, stations={**state.stations, station_id: known})


def with_connector(state: State, key: Key, connector: ConnectorState) -> State:
    return changed(state, connectors={**state.connectors, key: connector})


def connected(state: State, event: StationConnected, now: Now) -> Result:
    """A link is up. What the station holds is as unknown as before; an adopted one need not boot to be heard."""
    known = state.stations.get(event.station_id, StationState())
    station = state.site.station(event.station_id)
    known = attrs.evolve(
        known,
        online=True,
        met=True,
        since_ms=now.monotonic_ms,
        accepted=station is not None,
        address=event.address,
        path=event.path,
        reset_ms=None,
        turned_away=None,  # whatever kept it out does so no longer
        clock_due_ms=None if known.clock_ahead_ms is None else now.monotonic_ms + CLOCK_DUE_MS,
    )
    state = with_station(state, event.station_id, known)
    state = _each(state, event.station_id, lambda c: attrs.evolve(c, ledger=books.unanswered_all(c.ledger)))
    return introduced(state, station) if station is not None else (state, ())


def introduced(state: State, station: Station) -> Result:
    """The station's connectors exist in the books; a new one may hold anything up to its maximum."""
    count = max(station.connectors, *(key[1] for key in state.connectors if key[0] == station.id), 1)
    saves: list[Effect] = []
    connectors = dict(state.connectors)
    for number in range(1, count + 1):
        key = (station.id, number)
        if key not in connectors:
            connectors[key] = ConnectorState(stranger_ledger(station), ceiling_ma=station.max_ma)
            saves.append(Save(Ceiling(*key, station.max_ma)))
    return changed(state, connectors=connectors), tuple(saves)


def stranger_ledger(station: Station) -> Ledger:
    """The books of a connector of which nothing is known: its maximum, for ever."""
    return Ledger(Inherited(station.max_ma, station.max_ma, None))


def _each(state: State, station_id: str, change: Callable[[ConnectorState], ConnectorState]) -> State:
    connectors = {key: change(c) if key[0] == station_id else c for key, c in state.connectors.items()}
    return changed(state, connectors=connectors)


def disconnected(state: State, station_id: str, now: Now) -> State:
    """The link is gone: whatever was in flight may lie there, and the worst case is reserved at once."""
    known = state.stations.get(station_id)
    if known is None:
        return state
    state = with_station(state, station_id, attrs.evolve(known, online=False, since_ms=now.monotonic_ms))
    if state.site.station(station_id) is not None:
        return _each(state, station_id, _lost)
    strangers = {key: value for key, value in state.strangers.items() if key[0] != station_id}
    connectors = {key: value for key, value in state.connectors.items() if key[0] != station_id}
    state = changed(state, strangers=strangers, connectors=connectors)
    gone = _departed(state)
    return without_stations(state, gone[: max(len(gone) - MOST_DEPARTED, 0)])


def strangers_forgotten(state: State, now_ms: int) -> State:
    """Who left before anybody adopted it can still be adopted for ten minutes."""
    gone = _departed(state)
    return without_stations(state, [name for name in gone if now_ms - state.stations[name].since_ms >= FORGOTTEN_MS])


def without_stations(state: State, names: Collection[str]) -> State:
    if not names:
        return state
    return changed(state, stations={key: value for key, value in state.stations.items() if key not in names})


def _departed(state: State) -> list[str]:
    """Strangers that have left, those first that left first."""
    gone = [name for name, known in state.stations.items() if not known.online and state.site.station(name) is None]
    return sorted(gone, key=lambda name: state.stations[name].since_ms)


def turned_away(state: State, event: StationTurnedAway, now: Now) -> State:
    """Somebody was refused under this id: said on its page, and nothing else changes."""
    known = state.stations.get(event.station_id)
    if known is None:
        return state
    refused = TurnedAway(now.utc, event.address, event.reason)
    return with_station(state, event.station_id, attrs.evolve(known, turned_away=refused))


def _lost(connector: ConnectorState) -> ConnectorState:
    """Out of sight: the car may be another by the time that the station is heard again."""
    ledger = books.unanswered_all(connector.ledger)
    return changed(connector, ledger=ledger, preparing_ms=None, phases=None, phases_pending=None)


def booted(state: State, event: StationBooted) -> Result:
    """The station started: its profiles may be gone, its clock is unknown, its readings tell nothing any more.

    While the disk fails that is no less true: it counts at once. But the station is not welcomed before what it may
    hold can be written: it will ask again.
    """
    station = state.site.station(event.station_id)
    known = attrs.evolve(
        state.stations.get(event.station_id, StationState(online=True, met=True)),
        accepted=station is not None,
        vendor=event.vendor,
        model=event.model,
        firmware=event.firmware,
        serial=event.serial,
        clock_ahead_ms=None,
        clock_due_ms=None,
    )
    state = with_station(state, event.station_id, known)
    answer = Reply(event.request, BootAnswer(station is not None, HEARTBEAT_S if station is not None else PENDING_S))
    if station is None:
        return state, (answer,)
    keeps = known.capabilities.keeps_profiles
    state = _each(state, station.id, lambda c: _rebooted(c, station, keeps_profiles=keeps))
    state, saves = promised_maximum(state, station)
    if state.storage_failing is not None:
        return state, (
            *(Note(save.record) for save in saves),
            Reply(event.request, NotStored(state.storage_failing)),
        )
    return state, (*saves, answer)


def promised_maximum(state: State, station: Station) -> tuple[State, tuple[Save, ...]]:
    """Every connector of the station may hold its maximum: say so to the disk wherever less was promised."""
    connectors = dict(state.connectors)
    saves: list[Save] = []
    for key, connector in state.connectors.items():
        if key[0] == station.id and connector.ceiling_ma < station.max_ma:
            connectors[key] = changed(connector, ceiling_ma=station.max_ma)
            saves.append(Save(Ceiling(*key, station.max_ma)))
    return changed(state, connectors=connectors), tuple(saves)


def _rebooted(connector: ConnectorState, station: Station, *, keeps_profiles: bool) -> ConnectorState:
    return attrs.evolve(
        connector,
        ledger=books.booted(connector.ledger, station.max_ma, keeps_profiles=keeps_profiles),
        offered_ma=0,
        changed_ms=None,
        lowering_ms=None,
        readings=(),
        mean_ma=None,
        phases=None,
        phases_pending=None,
        status_at=None,
    )


def clock_read(state: State, station_id: str, ahead_ms: int) -> State:
    known = state.stations.get(station_id)
    if known is None:
        return state
    return with_station(state, station_id, attrs.evolve(known, clock_ahead_ms=ahead_ms, clock_due_ms=None))


def clocks_doubted(state: State, now_ms: int) -> State:
    """Whose clock no stamp has borne out since its link is up again may have been set meanwhile: it is unknown."""
    for name, known in state.stations.items():
        if known.online and known.clock_due_ms is not None and now_ms >= known.clock_due_ms:
            state = with_station(state, name, attrs.evolve(known, clock_ahead_ms=None, clock_due_ms=None))
    return state


def clock_stepped(state: State, by_ms: int, now: Now) -> State:
    """Our own clock jumped: stations are now off by as much, and every lease is due again."""
    stations = {
        key: known if known.clock_ahead_ms is None else attrs.evolve(known, clock_ahead_ms=known.clock_ahead_ms - by_ms)
        for key, known in state.stations.items()
    }
    doubt = doubted(state.clock_doubt, by_ms, now.monotonic_ms)
    return changed(state, stations=stations, leases_from_ms=now.monotonic_ms, clock_doubt=doubt)


def found_capable(state: State, event: CapabilitiesFound) -> State:
    """What a station can do with limits, less what a commissioning test has disproved."""
    known = state.stations.get(event.station_id)
    if known is None:
        return state
    found = learned(state, event.station_id, event.capabilities)
    return with_station(state, event.station_id, attrs.evolve(known, capabilities=found))


def status_changed(state: State, event: StatusChanged, now: Now) -> Result:
    """What a connector says of itself. A connector we have not met is entered at its maximum."""
    if not 1 <= event.connector <= MOST_CONNECTORS or event.station_id not in state.stations:
        return state, ()
    key = (event.station_id, event.connector)
    saves: tuple[Effect, ...] = ()
    connector = state.connectors.get(key)
    station = state.site.station(event.station_id)
    if connector is None:
        connector = ConnectorState(stranger_ledger(station) if station is not None else Ledger(None))
        if station is not None:
            connector = changed(connector, ceiling_ma=station.max_ma)
            saves = (Save(Ceiling(*key, station.max_ma)),)
    known = state.stations[event.station_id]
    if _is_overtaken(connector, event, known, now):
        return state, ()
    if connector.status is not event.status or _is_news(connector, event.status, known):
        connector = _in_status(changed(connector, status_ms=now.monotonic_ms), event, now)
    at = max((at for at in (event.at, connector.status_at) if at is not None), default=None)
    return with_connector(state, key, changed(connector, status=event.status, status_at=at)), saves


def _is_overtaken(connector: ConnectorState, event: StatusChanged, known: StationState, now: Now) -> bool:
    """Whether a newer status has come before this one, which waited in a queue.

    By its own clock and by ours: a station that puts its clock right says nothing old.
    """
    if event.at is None or connector.status_at is None or event.at >= connector.status_at:
        return False
    ahead_ms = min(known.clock_ahead_ms or 0, 0)
    return now.utc + timedelta(milliseconds=ahead_ms - LIVE_MS) > event.at


def _is_news(connector: ConnectorState, status: Status, known: StationState) -> bool:
    """Whether a status that is told again says something new: of a link that was lost, or of a session begun since."""
    if status is Status.PREPARING:
        return connector.session is None and connector.preparing_ms is None and connector.status_ms < known.since_ms
    return status is Status.AVAILABLE and connector.session is not None and connector.available_ms is None


def _in_status(connector: ConnectorState, event: StatusChanged, now: Now) -> ConnectorState:
    now_ms = now.monotonic_ms
    match event.status:
        case Status.PREPARING:
            return changed(connector, preparing_ms=now_ms, available_ms=None)
        case Status.AVAILABLE | Status.RESERVED | Status.UNAVAILABLE:
            return changed(forgotten(connector), preparing_ms=None, available_ms=_left_ms(connector, event, now))
        case Status.CHARGING:
            settled_ms = max(connector.settled_from_ms, now_ms + books.FOLLOW_MS)
            least_ma = least_told(connector)
            return changed(connector, available_ms=None, settled_from_ms=settled_ms, least_told_ma=least_ma)
        case Status.SUSPENDED_EV | Status.SUSPENDED_EVSE:
            return changed(connector, available_ms=None)
        case Status.FINISHING:
            return changed(connector, preparing_ms=None, available_ms=None)
        case Status.FAULTED:
            return changed(connector, preparing_ms=None)
        case _:
            assert_never(event.status)


def _left_ms(connector: ConnectorState, event: StatusChanged, now: Now) -> int | None:
    """Since when the car of the open session is gone; a stamp from before that session speaks of an earlier one."""
    session = connector.session
    if session is None or (event.at is not None and event.at < session.started_at):
        return None
    return connector.available_ms if connector.available_ms is not None else now.monotonic_ms


def metered(state: State, event: MeterValuesReceived, now: Now) -> State:
    """A station's own reading: its register counts for the session, its current if it is live."""
    key = (event.station_id, event.connector)
    station, connector = state.site.station(event.station_id), state.connectors.get(key)
    reading = _reading(state, event, now)
    before = connector.readings[-1] if connector is not None and connector.readings else None
    if station is None or connector is None:
        if reading is None or event.station_id not in state.stations or station is not None:
            return state
        return changed(state, strangers={**state.strangers, key: reading})
    if reading is not None:
        held_ma = connector.ledger.held_ma(now.monotonic_ms, decays(state, event.station_id))
        connector = observed(connector, attrs.evolve(reading, held_ma=held_ma), station.phase_rotation)
    session = connector.session
    if session is not None and event.register_wh is not None and event.transaction_id in (None, session.transaction_id):
        session = meter_session(session, event.register_wh, believed(event.at, now), station.max_ma)
        connector = changed(connector, session=session)
    elif reading is not None and session is not None:
        connector = _integrated(connector, session, before, reading)
    return with_connector(state, key, connector)


def _integrated(
    connector: ConnectorState, session: Session, before: Reading | None, reading: Reading
) -> ConnectorState:
    """The session with what was drawn since the last reading, in whole watt-hours; the rest is kept."""
    since_ms, drawn_ma = connector.session_ms, PerPhase()
    if before is not None and before.at_ms >= connector.session_ms:
        since_ms, drawn_ma = before.at_ms, before.current_ma
    uj = connector.uncounted_uj + drawn_uj(drawn_ma, reading.current_ma, reading.at_ms - since_ms)
    whole_wh, rest_uj = divmod(uj, UJ_PER_WH)
    counted = integrate_session(session, whole_wh)
    return changed(connector, session=counted, uncounted_uj=rest_uj)


def _reading(state: State, event: MeterValuesReceived, now: Now) -> Reading | None:
    if event.current_ma is None or event.station_id not in state.stations:
        return None
    ahead_ms = state.stations[event.station_id].clock_ahead_ms or 0
    if event.at is not None and now.utc + timedelta(milliseconds=ahead_ms - LIVE_MS) > event.at:
        return None
    known = [ma for ma in event.current_ma if ma is not None]
    if not known:
        return None
    station = state.site.station(event.station_id)
    if station is None:  # on which phases it is wired nobody knows
        return Reading(now.monotonic_ms, on_phases(max(*known, 0), state.site.supply.site_phases))
    drawn = _on_site(event.current_ma, known, station.phase_rotation)
    wired = len(station.phase_rotation)
    each_told = len(event.current_ma) >= wired and None not in event.current_ma[:wired]
    return Reading(now.monotonic_ms, drawn, by_phase=each_told and not event.spread, spread=event.spread)


def _on_site(current_ma: tuple[int | None, ...], known: Iterable[int], rotation: tuple[Phase, ...]) -> PerPhase:
    """The station's phases on the site's; where it does not say which, its largest value counts on each."""
    most_ma = max(known)
    values = dict.fromkeys(PHASES, 0)
    for index, phase in enumerate(rotation):
        told_ma = current_ma[index] if index < len(current_ma) else None
        values[phase] = max(most_ma if told_ma is None else told_ma, 0)
    return PerPhase(*values.values())


def answered(state: State, event: LimitConfirmed | LimitRefused | LimitUnanswered, now: Now) -> State:
    """What became of a command: only an acknowledgement lowers what the connector counts for."""
    key = (event.station_id, event.connector)
    connector = state.connectors.get(key)
    if connector is None:
        return state
    match event:
        case LimitConfirmed():
            return with_connector(state, key, _confirmed(state, key, connector, event.seq, now.monotonic_ms))
        case LimitRefused():
            ledger = books.refused(connector.ledger, event.seq, now.monotonic_ms, untold=event.untold)
        case LimitUnanswered():
            ledger = books.unanswered(connector.ledger, event.seq, now.monotonic_ms)
        case _:
            assert_never(event)
    connector = changed(connector, ledger=ledger)
    offered_ma = told(connector, now.monotonic_ms, decays(state, key[0])) if ledger.live() else 0
    return with_connector(state, key, changed(connector, offered_ma=offered_ma))


def _confirmed(state: State, key: Key, connector: ConnectorState, seq: int, now_ms: int) -> ConnectorState:
    newest = connector.ledger.in_flight == seq
    ledger = books.confirmed(connector.ledger, seq, now_ms, decays=decays(state, key[0]))
    after = changed(connector, ledger=ledger)
    if not newest:  # it answers, late: the command that overtook this one has only begun to wait
        still_waits = connector.lowering_ms is not None and ledger.in_flight is not None
        return changed(after, lowering_ms=ledger.in_flight_ms) if still_waits else after
    if connector.changed_ms is not None and connector.changed_ms == connector.ledger.in_flight_ms:
        after = changed(after, settled_from_ms=max(connector.settled_from_ms, now_ms + books.FOLLOW_MS))
    return changed(after, lowering_ms=None)
