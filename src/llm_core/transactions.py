"""Badges and transactions as stations really send them: repeated, late, out of order, never.

One record per transaction whatever arrives. A repeated request gives the first answer again (and is saved again, so
that an answer never rests on a write that did not reach the disk). Timestamps decide, not arrival: a start that comes
out of a queue ends no newer session, and a stop frees only the session it names, at the station it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import attrs

from llm_core.authorisation import Verdict, authorise, is_same_badge, may_stop, normalise
from llm_core.demand import forgotten
from llm_core.effects import (
    Authorised,
    Ceiling,
    Effect,
    Note,
    RefusedStart,
    Reply,
    Save,
    Started,
    Stopped,
    StopRemotely,
)
from llm_core.enrolling import scanned
from llm_core.events import BadgePresented, StartRequested, Status, StopRequested
from llm_core.pausing import without_late_refusals
from llm_core.presence import MOST_CONNECTORS, stranger_ledger
from llm_core.quantities import Now
from llm_core.reservations import reserved_for_another, used_reservation
from llm_core.sessions import (
    AHEAD,
    STRONGEST_MA,
    Session,
    SessionState,
    believed,
    close_session,
    interrupt_session,
    open_session,
    overtake_session,
)
from llm_core.site import AccessRule, Concurrency
from llm_core.state import ConnectorState, Key, State

Result = tuple[State, tuple[Effect, ...]]

ABANDONED_MS = 60_000  # a connector that says Available so long has lost its stop message
LIVE = timedelta(minutes=1)  # a start stamped longer ago came out of a queue
RECENT = 1_000  # ended sessions kept for late messages
REFUSALS = 100
HELD_AGAIN = timedelta(minutes=1)  # a badge refused again so soon is no news
_UNUSABLE = (Status.RESERVED, Status.UNAVAILABLE, Status.FAULTED)


def presented(state: State, event: BadgePresented, now: Now) -> Result:
    """The verdict on a badge. One refused at an adopted station is kept to be enrolled; strangers fill no list."""
    state, found = scanned(state, event.station_id, event.id_tag, now)
    verdict = _verdict(state, event.station_id, event.id_tag, now)
    if verdict is Verdict.ACCEPTED and _charges(state, event.id_tag, but=event.station_id):
        verdict = Verdict.CONCURRENT
    if verdict is Verdict.ACCEPTED and is_kept_out(state, event.station_id, event.id_tag, now):
        verdict = Verdict.BLOCKED
    reply = Reply(event.request, Authorised(verdict))
    if verdict is Verdict.ACCEPTED:
        return state, (*found, reply, *_stopping(state, event))
    if found:
        return state, (*found, reply)
    return kept_refusal(state, RefusedStart(now.utc, event.station_id, event.id_tag, verdict), (reply,))


def kept_refusal(state: State, refusal: RefusedStart, replies: tuple[Effect, ...]) -> Result:
    """The replies, and the refusal to be enrolled from unless it is no news or a stranger's."""
    if state.site.station(refusal.station_id) is None or _is_no_news(state, refusal):
        return state, replies
    return _with_refusal(state, refusal), (Note(refusal), *replies)


def started(state: State, event: StartRequested, now: Now) -> Result:
    """Open a session for an accepted badge; a repeated start gives the first answer again."""
    known = repeated(state, event, now)
    if known is not None:
        return state, (Save(known), Reply(event.request, Started(known.transaction_id, Verdict.ACCEPTED)))
    transaction_id = state.next_transaction_id
    state, found = scanned(attrs.evolve(state, next_transaction_id=transaction_id + 1), *_held(event), now)
    verdict = _start_verdict(state, event, now)
    reply = Reply(event.request, Started(transaction_id, verdict))
    if verdict is not Verdict.ACCEPTED:
        refusal = RefusedStart(now.utc, event.station_id, event.id_tag, verdict, transaction_id)
        return _refused(state, event, refusal), (*found, Save(refusal), reply)
    state, met = with_known(state, (event.station_id, event.connector))
    state, saves = opened(state, session_of(event, transaction_id, now), now)
    state, over = used_reservation(state, event.station_id, event.connector, event.id_tag)
    return state, (*found, *met, *saves, *over, reply)


def _held(event: StartRequested) -> tuple[str, str]:
    return event.station_id, event.id_tag


def stopped(state: State, event: StopRequested, now: Now) -> Result:
    """Close the session that the stop names, however late; a stop for another station's session changes nothing."""
    key, session = _find(state, event.station_id, event.transaction_id)
    reply = Reply(event.request, Stopped(_stop_verdict(state, event, now)))
    if session is None or _is_foreign(event, session, now):
        return state, (reply,)
    if session.state is not SessionState.CLOSED:
        stopped_at = believed(event.at, now)
        station = state.site.station(event.station_id)
        most_ma = STRONGEST_MA if station is None else station.max_ma
        session = close_session(session, stopped_at, event.meter_stop_wh, event.reason, most_ma)
        session = attrs.evolve(session, flagged=session.flagged or stopped_at != event.at)
    return concluded(state, key, session, now), (Save(session), reply)


def abandoned(state: State, now: Now) -> Result:
    """Close sessions whose connector has been free for a minute although no stop came."""
    effects: list[Effect] = []
    for key, connector in state.connectors.items():
        free_ms = now.monotonic_ms - connector.available_ms if connector.available_ms is not None else 0
        if free_ms >= ABANDONED_MS and connector.session is not None and state.storage_failing is None:
            since = now.utc - timedelta(milliseconds=free_ms)
            ended = interrupt_session(connector.session, since, "NoStop")
            effects.append(Save(ended))
            state = concluded(state, key, ended, now)
    return state, tuple(effects)


# Badges


def _verdict(state: State, station_id: str, id_tag: str, now: Now) -> Verdict:
    station = state.site.station(station_id)
    order = state.site.badge_rules.byte_order
    return authorise(id_tag, station, state.site.access, state.badges, now, latest_utc=state.latest_utc, order=order)


def _start_verdict(state: State, event: StartRequested, now: Now) -> Verdict:
    verdict = _verdict(state, event.station_id, event.id_tag, now)
    if verdict is not Verdict.ACCEPTED:
        return verdict
    if not has_connector(state, event):
        return Verdict.INVALID
    if is_taken(state, event.station_id, event.connector, event.id_tag, event.at, now):
        return Verdict.BLOCKED
    return Verdict.CONCURRENT if _charges(state, event.id_tag, but=(event.station_id, event.connector)) else verdict


def _charges(state: State, id_tag: str, but: str | Key) -> bool:
    """Whether that badge charges already, where one badge may do so only once. Of the station `but` it says nothing,
    because there the badge may be held to stop; nor of the connector `but`, whose session a start replaces."""
    rules = state.site.badge_rules
    if state.site.access is not AccessRule.BADGE or rules.concurrent is not Concurrency.REFUSED:
        return False
    return any(
        connector.session is not None and is_same_badge(id_tag, connector.session.id_tag, rules.byte_order)
        for key, connector in state.connectors.items()
        if but not in (key, key[0])
    )


def is_taken(state: State, station_id: str, connector: int, id_tag: str, at: datetime | None, now: Now) -> bool:
    """The connector is reserved for another badge. A start out of a queue was let in before anybody could know."""
    if at is not None and now.utc - at > LIVE:
        return False
    return reserved_for_another(state, station_id, connector, id_tag, now) is not None


def is_kept_out(state: State, station_id: str, id_tag: str, now: Now) -> bool:
    """Every place there is reserved for somebody else; whoever charges there may still end it."""
    order = state.site.badge_rules.byte_order
    here = [connector.session for key, connector in state.connectors.items() if key[0] == station_id]
    if any(session is not None and may_stop(id_tag, session.id_tag, state.badges, order) for session in here):
        return False
    return reserved_for_another(state, station_id, None, id_tag, now) is not None


def _stop_verdict(state: State, event: StopRequested, now: Now) -> Verdict | None:
    """What the badge is worth from now on: the session is over, but the station will remember the answer."""
    if event.id_tag is None or state.site.access is AccessRule.CPO:
        return None
    return _verdict(state, event.station_id, event.id_tag, now)


def _stopping(state: State, event: BadgePresented) -> tuple[Effect, ...]:
    """A super user's badge, where nothing can be started, ends the one session there (manual §05.06).

    The station ends a session by the badge that began it, and of no other badge does it know that it may; a parent id
    would tell it, and then every badge of that parent could stop the others' sessions out of the station's cache.
    """
    here = [connector for key, connector in state.connectors.items() if key[0] == event.station_id]
    sessions = [connector.session for connector in here if connector.session is not None]
    startable = any(connector.session is None and connector.status not in _UNUSABLE for connector in here)
    if state.site.access is not AccessRule.BADGE or startable or len(sessions) != 1:
        return ()
    session, order = sessions[0], state.site.badge_rules.byte_order
    own = is_same_badge(event.id_tag, session.id_tag, order)
    if own or not may_stop(event.id_tag, session.id_tag, state.badges, order):
        return ()
    return (StopRemotely(event.station_id, session.transaction_id),)


def _is_no_news(state: State, refusal: RefusedStart) -> bool:
    return any(
        _is_same_badge(known, refusal) and known.verdict is refusal.verdict and abs(refusal.at - known.at) < HELD_AGAIN
        for known in state.refusals
    )


def _is_same_badge(one: RefusedStart, other: RefusedStart) -> bool:
    return one.station_id == other.station_id and normalise(one.id_tag) == normalise(other.id_tag)


def _with_refusal(state: State, refusal: RefusedStart) -> State:
    """The last refusals, one for each badge at each station, so that nobody's badge pushes out all others."""
    others = (known for known in state.refusals if not _is_same_badge(known, refusal))
    return attrs.evolve(state, refusals=(*others, refusal)[-REFUSALS:])


def _refused(state: State, event: StartRequested, refusal: RefusedStart) -> State:
    """No session, and the share that was kept for the car is free again."""
    if state.site.station(event.station_id) is not None:
        state = _with_refusal(state, refusal)
    return unprepared(state, (event.station_id, event.connector))


def unprepared(state: State, key: Key) -> State:
    """The share that was kept for a car at this connector is free again."""
    connector = state.connectors.get(key)
    if connector is None or connector.preparing_ms is None:
        return state
    free = attrs.evolve(connector, preparing_ms=None)
    return attrs.evolve(state, connectors={**state.connectors, key: free})


# Starts


def has_connector(state: State, event: StartRequested) -> bool:
    """Whether the start can come from there: no connector 0, none of a station that never called."""
    known = state.stations.get(event.station_id)
    return 1 <= event.connector <= MOST_CONNECTORS and known is not None and known.met


def with_known(state: State, key: Key) -> Result:
    """A connector that speaks of itself by a start for the first time may hold anything up to its maximum."""
    station = state.site.station(key[0])
    if key in state.connectors or station is None:
        return state, ()
    connector = ConnectorState(stranger_ledger(station), ceiling_ma=station.max_ma)
    state = attrs.evolve(state, connectors={**state.connectors, key: connector})
    return state, (Save(Ceiling(*key, station.max_ma)),)


def session_of(event: StartRequested, transaction_id: int, now: Now) -> Session:
    started_at, meter_start_wh = believed(event.at, now), max(event.meter_start_wh, 0)
    session = open_session(transaction_id, event.station_id, event.connector, event.id_tag, started_at, meter_start_wh)
    return attrs.evolve(session, flagged=started_at != event.at or meter_start_wh != event.meter_start_wh)


def opened(state: State, session: Session, now: Now) -> Result:
    """The session at its connector, in place of an older one; one that comes too late for that has ended already."""
    key = (session.station_id, session.connector)
    present = state.connectors[key].session
    if present is None:
        return _with_session(state, key, session, now), (Save(session),)
    if _is_late(session, present, now):
        late = overtake_session(session, present)
        return concluded(state, None, late, now), (Save(late),)
    ended = overtake_session(present, session)
    state = concluded(state, key, ended, now)
    return _with_session(state, key, session, now), (Save(ended), Save(session))


def _is_late(session: Session, present: Session, now: Now) -> bool:
    """Whether the start comes out of a queue, behind the newer one, and not from a clock that was just put right."""
    if session.started_at >= present.started_at:
        return False
    return now.utc - session.started_at > LIVE or session.meter_start_wh < present.meter_start_wh


def repeated(state: State, event: StartRequested, now: Now, waiting: Iterable[Session] = ()) -> Session | None:
    """The session that an earlier copy of this start has opened.

    Copies carry the same stamp. Where it cannot be believed, the open session of the same badge that began with the
    same register is taken for it: at worst one driver's two sessions become one. `waiting` are open ones elsewhere.
    """
    connector = state.connectors.get((event.station_id, event.connector))
    present = connector.session if connector is not None else None
    open_ones = (*((present,) if present is not None else ()), *waiting)
    if believed(event.at, now) != event.at:
        return next((session for session in open_ones if _is_alike(session, event)), None)
    candidates = (*open_ones, *state.recent.values())
    return next((s for s in candidates if s.started_at == event.at and _is_alike(s, event)), None)


def _is_alike(session: Session, event: StartRequested) -> bool:
    return (
        (session.station_id, session.connector) == (event.station_id, event.connector)
        and session.meter_start_wh == max(event.meter_start_wh, 0)
        and normalise(session.id_tag or "") == normalise(event.id_tag)
    )


def _with_session(state: State, key: Key, session: Session, now: Now) -> State:
    before = state.connectors[key]
    connector = attrs.evolve(
        before,
        session=session,
        session_ms=now.monotonic_ms,
        preparing_ms=None,
        available_ms=now.monotonic_ms if _is_over(session, before, now) else None,
        served_ms=_least_served(state),
        rank=1 + max((c.rank for c in state.connectors.values() if c.session is not None), default=-1),
    )
    return attrs.evolve(state, connectors={**state.connectors, key: connector})


def _is_over(session: Session, connector: ConnectorState, now: Now) -> bool:
    """Whether a start that waited in a queue is of a car that has left since, as the connector says itself."""
    if connector.status is not Status.AVAILABLE or connector.status_at is None:
        return False
    return now.utc - session.started_at > LIVE and connector.status_at > session.started_at


def _least_served(state: State) -> int:
    """A newcomer starts level with whoever was served least, so that it neither waits for hours nor rules them."""
    return min((c.served_ms for c in state.connectors.values() if c.session is not None), default=0)


# Ends


def _find(state: State, station_id: str, transaction_id: int) -> tuple[Key | None, Session | None]:
    for key, connector in state.connectors.items():
        session = connector.session
        if key[0] == station_id and session is not None and session.transaction_id == transaction_id:
            return key, session
    ended = state.recent.get(transaction_id)
    return None, ended if ended is not None and ended.station_id == station_id else None


def _is_foreign(event: StopRequested, session: Session, now: Now) -> bool:
    """Whether the stop belongs to an older transaction of the same number, from another central system's time."""
    if session.flagged or event.at is None or believed(event.at, now) != event.at:
        return False
    metered = event.meter_stop_wh is not None and event.meter_stop_wh > session.meter_start_wh
    return event.at < session.started_at - AHEAD and not metered


def _ended_ms(state: State, key: Key, session: Session, now: Now) -> int:
    """When the session ended, on our clock, as far as its station's clock tells."""
    known = state.stations.get(key[0])
    ahead_ms = known.clock_ahead_ms or 0 if known is not None else 0
    ago = timedelta(0) if session.stopped_at is None else now.utc - session.stopped_at
    return now.monotonic_ms - ago // timedelta(milliseconds=1) - ahead_ms


def concluded(state: State, key: Key | None, session: Session, now: Now) -> State:
    """The session among the ended ones, its connector free; what the station still holds stays in the ledger."""
    recent = {**state.recent, session.transaction_id: session}
    while len(recent) > RECENT:
        recent.pop(next(iter(recent)))
    connectors = dict(state.connectors)
    if key is not None:
        connectors[key] = attrs.evolve(
            forgotten(connectors[key]),
            ledger=without_late_refusals(connectors[key].ledger, _ended_ms(state, key, session, now)),
            session=None,
            preparing_ms=None,
            available_ms=None,
            offered_ma=0,
            settled_from_ms=now.monotonic_ms,
            changed_ms=None,
            lowering_ms=now.monotonic_ms if connectors[key].ledger.live() else None,
        )
    return attrs.evolve(state, recent=recent, connectors=connectors)
