"""Badges and transactions while a charge point operator (CPO) decides.

Theory of operation
    A badge is judged by the CPO: the question goes out as an effect, the verdict comes as an event of its own, and the
    station is answered by the step that it arrives in. Who cannot be asked, or does not answer in time, is replaced by
    the offline policy. While a link is made for the first time after a start, the question waits for it as for a slow
    CPO, because stations are back sooner than that; once it has failed, nobody waits.

    A start is saved, together with its message for the CPO, before the CPO is asked: whatever happens then, both know
    of the transaction. It gets its place at the connector, and with it current, only with the verdict. One that is
    refused is a session that ended as it began; if the station sends no stop for it, we do. That holds without the CPO
    too: a start that the offline policy refuses has happened at the station, which a CPO hears of ordinary stations.

    A place that is kept for another badge opens for none that the CPO accepts, whoever made the reservation.

    A stop that never came is told to the CPO in our words a while after its session was closed here, so that no
    transaction stays open there for ever. If it comes all the same it completes our books; the CPO gets one stop.
"""

from __future__ import annotations

from typing import assert_never

import attrs

from llm_core import transactions as books
from llm_core.authorisation import LONGEST_TAG, Verdict, authorise, normalise
from llm_core.effects import (
    AskCpo,
    Authorised,
    CpoForgotten,
    CpoVerdict,
    Effect,
    Note,
    RefusedStart,
    Reply,
    Save,
    Started,
    StopRemotely,
    TellCpo,
    UplinkKind,
    UplinkMessage,
)
from llm_core.enrolling import scanned
from llm_core.events import BadgePresented, CpoAnswered, CpoCacheCleared, StartRequested, StopRequested, UplinkReported
from llm_core.quantities import Now
from llm_core.reservations import used_reservation
from llm_core.sessions import Session, SessionState, interrupt_session
from llm_core.site import AccessRule
from llm_core.state import CpoAsk, State
from llm_core.uplink import AWAY, OfflinePolicy, UplinkStatus

Result = tuple[State, tuple[Effect, ...]]

DEADLINE_MS = 6_000  # the adapter gives up after 5 s and says so; this is for one that does not
UNSTOPPED_MS = 900_000  # so long a stop that was lost is waited for…
REFUSED_UNSTOPPED_MS = 60_000  # …and so long that of a start that was refused
DEAUTHORIZED = "DeAuthorized"
MOST_VERDICTS = 5_000


def presented(state: State, event: BadgePresented, now: Now) -> Result:
    """The verdict on a badge, now or with the CPO's answer."""
    if state.site.access is not AccessRule.CPO or not _can_be(state, event.station_id, event.id_tag):
        return books.presented(state, event, now)
    state, found = scanned(state, event.station_id, event.id_tag, now)
    ask = CpoAsk(event.station_id, event.id_tag, now.monotonic_ms, (event.request,))
    can = _can_be_asked(state, event.station_id)
    state, effects = _asked(state, ask) if can else _decided(state, ask, None, now)
    return state, (*found, *effects)


def started(state: State, event: StartRequested, now: Now) -> Result:
    """Open a session for a badge that the CPO accepts; a repeated start gets the answer of the first."""
    if state.site.access is not AccessRule.CPO or not _can_be(state, event.station_id, event.id_tag):
        return books.started(state, event, now)
    waiting = [session for session in (ask.session for ask in state.cpo_asks.values()) if session is not None]
    known = books.repeated(state, event, now, waiting)
    if known is not None:
        return _again(state, event, known, now)
    if not books.has_connector(state, event):
        return books.started(state, event, now)  # which refuses it
    transaction_id = state.next_transaction_id
    state = attrs.evolve(state, next_transaction_id=transaction_id + 1)
    session = books.session_of(event, transaction_id, now)
    told = state.site.uplink.station(event.station_id) is not None
    saves = (Save(session), *((Save(_start_message(event, transaction_id)),) if told else ()))
    ask = CpoAsk(event.station_id, event.id_tag, now.monotonic_ms, (event.request,), session)
    if not _can_be_asked(state, event.station_id):
        state, effects = _decided(state, ask, None, now)
    else:
        state, effects = _asked(state, ask)
    return state, (*saves, *effects, *((TellCpo(event.station_id),) if told else ()))


def stopped(state: State, event: StopRequested, now: Now) -> Result:
    """Close the session here, and tell the CPO."""
    after, effects = books.stopped(state, event, now)
    session = after.recent.get(event.transaction_id)
    told = any(isinstance(effect, Save) for effect in effects)
    if session is None or not told or state.site.uplink.station(event.station_id) is None:
        return after, effects
    message = UplinkMessage(
        event.station_id,
        UplinkKind.STOP,
        session.transaction_id,
        session.connector,
        event.id_tag,
        session.meter_stop_wh,
        event.at,
        event.reason,
        event.said,
    )
    return after, (Save(message), *effects, TellCpo(event.station_id))


def heard(state: State, event: UplinkReported | CpoAnswered | CpoCacheCleared, now: Now) -> Result:
    """What comes from above: how a station stands there, a verdict, an order to forget all of them."""
    match event:
        case UplinkReported():
            return _reported(state, event, now), ()
        case CpoAnswered():
            return _answered(state, event, now)
        case CpoCacheCleared():
            return attrs.evolve(state, cpo_verdicts={}), (Note(CpoForgotten()),)
        case _:
            assert_never(event)


def _answered(state: State, event: CpoAnswered, now: Now) -> Result:
    """The CPO's word on a badge: remembered, and the answer to whoever waits for it."""
    state, noted = _remembered(state, event)
    number = _waits(state, event)
    if number is not None:
        state, effects = _decided(_without(state, number), state.cpo_asks[number], event.verdict, now)
        return state, (*effects, *noted)
    if event.verdict in (None, Verdict.ACCEPTED) or event.transaction_id is None:
        return state, noted
    return state, (*noted, *_stopping(state, event.station_id, event.transaction_id))


def overdue(state: State, now: Now) -> Result:
    """Answer in the CPO's place whoever has waited too long, and tell it of stops that never came."""
    effects: list[Effect] = []
    for number, ask in state.cpo_asks.items():
        if now.monotonic_ms - ask.since_ms > DEADLINE_MS:
            state, more = _decided(_without(state, number), ask, None, now)
            effects += more
    if state.site.uplink.stations:
        state, more = _unstopped(state, now)
        effects += more
    return state, tuple(sorted(effects, key=lambda effect: not isinstance(effect, Save)))


def _reported(state: State, event: UplinkReported, now: Now) -> State:
    """How a station stands with the CPO."""
    before = state.uplink.get(event.station_id)
    since, since_ms = now.utc, now.monotonic_ms
    if before is not None and (before.state is event.state or {before.state, event.state} == AWAY):
        since, since_ms = before.since, before.since_ms
    status = UplinkStatus(
        event.state, since, since_ms, event.queued, event.refused, event.doubtful, event.error, event.failed
    )
    return attrs.evolve(state, uplink={**state.uplink, event.station_id: status})


def _can_be(state: State, station_id: str, id_tag: str) -> bool:
    """Whether it is a badge at an adopted station at all: nobody need be asked where it is not."""
    return state.site.station(station_id) is not None and len(id_tag) <= LONGEST_TAG and bool(normalise(id_tag))


def _can_be_asked(state: State, station_id: str) -> bool:
    """Whether the CPO is there, or may be in a moment: right after a start nobody has tried to reach it yet."""
    status = state.uplink.get(station_id)
    if status is None:
        return state.site.uplink.enabled and state.site.uplink.station(station_id) is not None
    return status.may_be_there


def _asked(state: State, ask: CpoAsk) -> Result:
    number = state.next_ask
    state = attrs.evolve(state, next_ask=number + 1, cpo_asks={**state.cpo_asks, number: ask})
    transaction_id = ask.session.transaction_id if ask.session is not None else None
    return state, (AskCpo(number, ask.station_id, ask.id_tag, transaction_id),)


def _waits(state: State, event: CpoAnswered) -> int | None:
    """The number of the ask that this answers."""
    if event.ask is not None:
        return event.ask if event.ask in state.cpo_asks else None
    return next(
        (
            number
            for number, ask in state.cpo_asks.items()
            if ask.session is not None and ask.session.transaction_id == event.transaction_id
        ),
        None,
    )


def _without(state: State, number: int) -> State:
    return attrs.evolve(state, cpo_asks={key: ask for key, ask in state.cpo_asks.items() if key != number})


# Verdicts


def _remembered(state: State, event: CpoAnswered) -> Result:
    if event.verdict is None or event.verdict is Verdict.CONCURRENT:  # that one is about the moment, not the badge
        return state, ()
    key = normalise(event.id_tag)
    verdict = CpoVerdict(key, event.verdict, event.expires_at)
    if state.cpo_verdicts.get(key) == verdict:
        return state, ()
    verdicts = {known: before for known, before in state.cpo_verdicts.items() if known != key} | {key: verdict}
    notes = [Note(verdict)]
    while len(verdicts) > MOST_VERDICTS:
        oldest = next(iter(verdicts))
        del verdicts[oldest]
        notes.append(Note(CpoVerdict(oldest, None)))
    return attrs.evolve(state, cpo_verdicts=verdicts), tuple(notes)


def _offline(state: State, station_id: str, id_tag: str, now: Now) -> Verdict:
    """The verdict without the CPO."""
    policy = state.site.uplink.offline
    match policy:
        case OfflinePolicy.CACHED:
            return _cached(state, id_tag, now)
        case OfflinePolicy.LOCAL:
            station = state.site.station(station_id)
            order = state.site.badge_rules.byte_order
            return authorise(
                id_tag, station, AccessRule.BADGE, state.badges, now, latest_utc=state.latest_utc, order=order
            )
        case OfflinePolicy.REFUSE:
            return Verdict.INVALID
        case _:
            assert_never(policy)


def _cached(state: State, id_tag: str, now: Now) -> Verdict:
    known = state.cpo_verdicts.get(normalise(id_tag))
    if known is None or known.verdict is None:
        return Verdict.INVALID
    known_utc = now.utc if state.latest_utc is None else max(now.utc, state.latest_utc)
    if known.verdict is Verdict.ACCEPTED and known.expires_at is not None and known_utc >= known.expires_at:
        return Verdict.EXPIRED
    return known.verdict


def _is_reserved(state: State, ask: CpoAsk, now: Now) -> bool:
    """Whether the place is kept for another badge."""
    if ask.session is None:
        return books.is_kept_out(state, ask.station_id, ask.id_tag, now)
    return books.is_taken(state, ask.station_id, ask.session.connector, ask.id_tag, ask.session.started_at, now)


def _decided(state: State, ask: CpoAsk, verdict: Verdict | None, now: Now) -> Result:
    """Answer everybody who waits: as the CPO says, or as the offline policy does in its place."""
    if state.site.station(ask.station_id) is None:
        verdict = Verdict.INVALID  # removed while it waited
    elif verdict is None:
        verdict = _offline(state, ask.station_id, ask.id_tag, now)
    if verdict is Verdict.ACCEPTED and _is_reserved(state, ask, now):
        verdict = Verdict.BLOCKED
    if ask.session is None:
        replies = tuple(Reply(request, Authorised(verdict)) for request in ask.requests)
        return _noted_refusal(state, ask, verdict, replies, now)
    transaction_id = ask.session.transaction_id
    replies = tuple(Reply(request, Started(transaction_id, verdict)) for request in ask.requests)
    if verdict is Verdict.ACCEPTED:
        state, met = books.with_known(state, (ask.station_id, ask.session.connector))
        state, saves = books.opened(state, ask.session, now)
        state, over = used_reservation(state, ask.station_id, ask.session.connector, ask.id_tag)
        return state, (*met, *saves, *over, *replies)
    ended = interrupt_session(ask.session, ask.session.started_at, DEAUTHORIZED)
    state = books.concluded(state, None, ended, now)
    state, effects = _noted_refusal(state, ask, verdict, replies, now)
    return books.unprepared(state, (ask.station_id, ask.session.connector)), (Save(ended), *effects)


def _noted_refusal(state: State, ask: CpoAsk, verdict: Verdict, replies: tuple[Effect, ...], now: Now) -> Result:
    if verdict is Verdict.ACCEPTED:
        return state, replies
    return books.kept_refusal(state, RefusedStart(now.utc, ask.station_id, ask.id_tag, verdict), replies)


def _again(state: State, event: StartRequested, known: Session, now: Now) -> Result:
    """The first answer again; while there is none yet, both wait for it."""
    for number, ask in state.cpo_asks.items():
        if ask.session is not None and ask.session.transaction_id == known.transaction_id:
            joined = attrs.evolve(ask, requests=(*ask.requests, event.request))
            return attrs.evolve(state, cpo_asks={**state.cpo_asks, number: joined}), (Save(known),)
    verdict = Verdict.ACCEPTED
    if known.stop_reason == DEAUTHORIZED and known.started_at == known.stopped_at:
        cached = _cached(state, event.id_tag, now)
        verdict = Verdict.INVALID if cached is Verdict.ACCEPTED else cached
    return state, (Save(known), Reply(event.request, Started(known.transaction_id, verdict)))


def _start_message(event: StartRequested, transaction_id: int) -> UplinkMessage:
    return UplinkMessage(
        event.station_id,
        UplinkKind.START,
        transaction_id,
        event.connector,
        event.id_tag,
        event.meter_start_wh,
        event.at,
        said=event.said,
    )


# Stops


def _stopping(state: State, station_id: str, transaction_id: int) -> tuple[Effect, ...]:
    """The CPO refuses a transaction that runs already: the station is to end it (OCPP 1.6 §4.8)."""
    running = any(
        key[0] == station_id and connector.session is not None and connector.session.transaction_id == transaction_id
        for key, connector in state.connectors.items()
    )
    return (StopRemotely(station_id, transaction_id),) if running else ()


def _unstopped(state: State, now: Now) -> Result:
    """Stops in our words for sessions that ended here without one. None in the book: it was told."""
    present: dict[int, int | None] = {}
    effects: list[Effect] = []
    for transaction_id, session in state.recent.items():
        if session.state is not SessionState.INTERRUPTED or state.site.uplink.station(session.station_id) is None:
            continue
        since_ms = state.cpo_unstopped.get(transaction_id, now.monotonic_ms)
        patience_ms = REFUSED_UNSTOPPED_MS if session.stop_reason == DEAUTHORIZED else UNSTOPPED_MS
        if since_ms is not None and now.monotonic_ms - since_ms >= patience_ms and state.storage_failing is None:
            since_ms = None
            effects += (Save(_own_stop(session)), TellCpo(session.station_id))
        present[transaction_id] = since_ms
    if present == state.cpo_unstopped:
        return state, ()
    return attrs.evolve(state, cpo_unstopped=present), tuple(effects)


def _own_stop(session: Session) -> UplinkMessage:
    return UplinkMessage(
        session.station_id,
        UplinkKind.STOP,
        session.transaction_id,
        session.connector,
        None,
        session.meter_stop_wh,
        session.stopped_at,
        DEAUTHORIZED if session.stop_reason == DEAUTHORIZED else "Other",
    )
