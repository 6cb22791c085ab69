"""Badges and transactions as stations really send them: repeated, late, out of order, never.

One record per transaction whatever arrives. A repeated request gives the first answer again (and is saved again, so
that an answer never rests on a write that did not reach the disk); a stop frees only the session it names, at the
station it came from.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

from llm_core.authorisation import Verdict, authorise, may_stop, normalise
from llm_core.demand import forgotten
from llm_core.effects import Authorised, Effect, Note, RefusedStart, Reply, Save, Started, Stopped
from llm_core.events import BadgePresented, StartRequested, StopRequested
from llm_core.quantities import Now
from llm_core.sessions import Session, SessionState, close_session, interrupt_session, open_session
from llm_core.state import ConnectorState, Key, State

Result = tuple[State, tuple[Effect, ...]]

ABANDONED_MS = 60_000  # a connector that says Available so long has lost its stop message
RECENT = 1_000  # ended sessions kept for late messages
REFUSALS = 100
OLDEST_STAMP = datetime(2020, 1, 1, tzinfo=UTC)
AHEAD = timedelta(minutes=5)


def presented(state: State, event: BadgePresented, now: Now) -> Result:
    """The verdict on a badge; a refused one is kept to be enrolled."""
    verdict = _verdict(state, event.station_id, event.id_tag, now)
    reply = Reply(event.request, Authorised(verdict))
    if verdict is Verdict.ACCEPTED:
        return state, (reply,)
    refusal = RefusedStart(now.utc, event.station_id, event.id_tag, verdict)
    return _with_refusal(state, refusal), (Note(refusal), reply)


def started(state: State, event: StartRequested, now: Now) -> Result:
    """Open a session for an accepted badge; a repeated start gives the first answer again."""
    key = (event.station_id, event.connector)
    known = _repeated(state, event)
    if known is not None:
        return state, (Save(known), Reply(event.request, Started(known.transaction_id, Verdict.ACCEPTED)))
    transaction_id = state.next_transaction_id
    state = attrs.evolve(state, next_transaction_id=transaction_id + 1)
    verdict = _verdict(state, event.station_id, event.id_tag, now)
    reply = Reply(event.request, Started(transaction_id, verdict))
    connector = state.connectors.get(key)
    if connector is None and verdict is Verdict.ACCEPTED:
        verdict = Verdict.INVALID  # no such connector
        reply = Reply(event.request, Started(transaction_id, verdict))
    if connector is None or verdict is not Verdict.ACCEPTED:
        refusal = RefusedStart(now.utc, event.station_id, event.id_tag, verdict, transaction_id)
        return _with_refusal(state, refusal), (Save(refusal), reply)
    state, ended = _superseded(state, key, connector, now)
    session = open_session(transaction_id, *key, event.id_tag, believed(event.at, now), max(event.meter_start_wh, 0))
    return _with_session(state, key, session, now), (*ended, Save(session), reply)


def stopped(state: State, event: StopRequested, now: Now) -> Result:
    """Close the session that the stop names, however late; a stop for another station's session changes nothing."""
    key, session = _find(state, event.station_id, event.transaction_id)
    verdict = _stop_verdict(state, event, session, now)
    reply = Reply(event.request, Stopped(verdict))
    if session is None:
        return state, (reply,)
    if session.state is not SessionState.CLOSED:
        session = close_session(session, believed(event.at, now), event.meter_stop_wh, event.reason)
    state = _ended(state, key, session, now)
    return state, (Save(session), reply)


def abandoned(state: State, now: Now) -> Result:
    """Close sessions whose connector has been free for a minute although no stop came."""
    effects: list[Effect] = []
    for key, connector in state.connectors.items():
        gone = connector.available_ms is not None and now.monotonic_ms - connector.available_ms >= ABANDONED_MS
        if gone and connector.session is not None and state.storage_failing is None:
            ended = interrupt_session(connector.session, now.utc, "NoStop")
            effects.append(Save(ended))
            state = _ended(state, key, ended, now)
    return state, tuple(effects)


def believed(at: datetime | None, now: Now) -> datetime:
    """A station's stamp if it can be, else the time of receipt: never 1970 in an export."""
    if at is None or at < OLDEST_STAMP or at > now.utc + AHEAD:
        return now.utc
    return at


def _verdict(state: State, station_id: str, id_tag: str, now: Now) -> Verdict:
    station = state.site.station(station_id)
    return authorise(id_tag, station, state.site.access, state.badges, now, latest_utc=state.latest_utc)


def _stop_verdict(state: State, event: StopRequested, session: Session | None, now: Now) -> Verdict | None:
    if event.id_tag is None:
        return None
    if session is not None and may_stop(event.id_tag, session.id_tag, state.badges):
        return Verdict.ACCEPTED
    return _verdict(state, event.station_id, event.id_tag, now)


def _repeated(state: State, event: StartRequested) -> Session | None:
    """The session that an earlier copy of this start has opened."""
    connector = state.connectors.get((event.station_id, event.connector))
    candidates = [connector.session] if connector is not None and connector.session is not None else []
    candidates += [s for s in state.recent.values() if s.station_id == event.station_id]
    for session in candidates:
        same = session.connector == event.connector and session.meter_start_wh == max(event.meter_start_wh, 0)
        if same and normalise(session.id_tag or "") == normalise(event.id_tag) and session.started_at == event.at:
            return session
    return None


def _superseded(state: State, key: Key, connector: ConnectorState, now: Now) -> Result:
    if connector.session is None:
        return state, ()
    ended = interrupt_session(connector.session, now.utc, "Superseded")
    return _ended(state, key, ended, now), (Save(ended),)


def _with_session(state: State, key: Key, session: Session, now: Now) -> State:
    connector = attrs.evolve(
        state.connectors[key],
        session=session,
        session_ms=now.monotonic_ms,
        preparing_ms=None,
        available_ms=None,
        served_ms=_least_served(state),
        rank=1 + max((c.rank for c in state.connectors.values() if c.session is not None), default=-1),
    )
    return attrs.evolve(state, connectors={**state.connectors, key: connector})


def _least_served(state: State) -> int:
    """A newcomer starts level with whoever was served least, so that it neither waits for hours nor rules them."""
    return min((c.served_ms for c in state.connectors.values() if c.session is not None), default=0)


def _find(state: State, station_id: str, transaction_id: int) -> tuple[Key | None, Session | None]:
    for key, connector in state.connectors.items():
        session = connector.session
        if key[0] == station_id and session is not None and session.transaction_id == transaction_id:
            return key, session
    ended = state.recent.get(transaction_id)
    return None, ended if ended is not None and ended.station_id == station_id else None


def _ended(state: State, key: Key | None, session: Session, now: Now) -> State:
    """The session among the ended ones, its connector free; what the station still holds stays in the ledger."""
    recent = {**state.recent, session.transaction_id: session}
    while len(recent) > RECENT:
        recent.pop(next(iter(recent)))
    connectors = dict(state.connectors)
    if key is not None:
        connectors[key] = attrs.evolve(
            forgotten(connectors[key]),
            session=None,
            preparing_ms=None,
            available_ms=None,
            offered_ma=0,
            settled_from_ms=now.monotonic_ms,
            changed_ms=None,
            lowering_ms=None,
        )
    return attrs.evolve(state, recent=recent, connectors=connectors)


def _with_refusal(state: State, refusal: RefusedStart) -> State:
    return attrs.evolve(state, refusals=(*state.refusals, refusal)[-REFUSALS:])
