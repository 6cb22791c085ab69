"""Start-up is recovery: the state from what the store gave back, as if the power had failed a moment ago."""

from __future__ import annotations

import attrs

from llm_core.authorisation import normalise
from llm_core.commissioning import has_forgotten
from llm_core.curtailment import ENDED_KEPT
from llm_core.effects import Effect, Save
from llm_core.events import Capabilities
from llm_core.ledger import Inherited, Ledger
from llm_core.orders import StationReport
from llm_core.ports import Stored
from llm_core.quantities import Now
from llm_core.sessions import Session, interrupt_session, overtake_session
from llm_core.site import MAX_LEASE_S, Site, Station
from llm_core.state import ConnectorState, Key, LimitState, State, StationState

SETTLED_MS = (MAX_LEASE_S + 30) * 1000  # by then every station that falls back has done so


def recover(stored: Stored, now: Now, *, factory: bool) -> tuple[State, tuple[Effect, ...]]:
    """Nothing is known but what may be held: each connector that ever connected counts with its last ceiling (its
    maximum where the row is doubtful) until it has acknowledged. Open sessions go on under the same ids.

    The effects close sessions that a newer one on the same connector has overtaken.
    """
    site = stored.site if stored.site is not None else Site()
    stations = {station.id: station for station in site.stations}
    forgetful = {test.station_id for test in stored.commissions if has_forgotten(test)}
    charging = {(session.station_id, session.connector) for session in stored.open_sessions}
    connectors = {
        key: _recovered(
            stations[key[0]],
            None if key in stored.doubtful else stored.ceilings.get(key),
            stored.left_alone.get(key),
            now,
        )
        for key in sorted({*stored.ceilings, *stored.doubtful, *charging})
        if key[0] in stations
    }
    ended = _resume(connectors, stored.open_sessions, now)
    recent = (*stored.recent_sessions, *ended)
    inoperative = {known.station_id: known.connectors for known in stored.out_of_use}
    given = (session.transaction_id for session in (*stored.open_sessions, *recent))
    state = State(
        site=site,
        factory=factory,
        stations={
            station_id: StationState(
                met=any(key[0] == station_id for key in connectors),
                since_ms=now.monotonic_ms,
                inoperative=inoperative.get(station_id, frozenset()),
                capabilities=Capabilities(forgets=station_id in forgetful),
            )
            for station_id in stations
        },
        connectors=connectors,
        badges={normalise(badge.badge_id): badge for badge in stored.badges},
        recent={session.transaction_id: session for session in recent},
        next_transaction_id=max(stored.last_transaction_id, *given, 0) + 1,
        limits=_limits(stored, now),
        next_limit=max((int(record.limit.id) for record in stored.limits), default=0) + 1,
        latest_utc=stored.latest_utc,
        refusals=stored.refusals,
        reservations={reservation.key: reservation for reservation in stored.reservations},
        commissions={commission.station_id: commission for commission in stored.commissions},
        local_lists={known.station_id: known for known in stored.local_lists},
        reports=_reports(stored),
        cpo_verdicts={verdict.id_tag: verdict for verdict in stored.cpo_verdicts},
        noted_ms=now.monotonic_ms,
    )
    return state, tuple(Save(session) for session in ended)


def _limits(stored: Stored, now: Now) -> dict[str, LimitState]:
    """Limits from outside go on; a sender that keeps one alive is taken to have been heard just now."""
    known = {record.limit.id: LimitState(record, now.monotonic_ms) for record in stored.limits}
    gone = [limit_id for limit_id, limit in known.items() if limit.is_gone]
    return {limit_id: limit for limit_id, limit in known.items() if limit_id not in gone[:-ENDED_KEPT]}


def _recovered(station: Station, ceiling_ma: int | None, left_ma: int | None, now: Now) -> ConnectorState:
    if ceiling_ma is None:
        books = Ledger(Inherited(station.max_ma, station.max_ma, None))
        return ConnectorState(books, ceiling_ma=station.max_ma, ceiling_left_ma=station.max_ma)
    if left_ma is None:
        left_ma = station.min_ma if station.fallback_ma is None else station.fallback_ma
    then_ma = min(ceiling_ma, max(left_ma, station.start_alone_ma))
    inherited = Inherited(ceiling_ma, then_ma, now.monotonic_ms + SETTLED_MS)
    return ConnectorState(Ledger(inherited), ceiling_ma=ceiling_ma, ceiling_left_ma=then_ma)


def _reports(stored: Stored) -> dict[str, tuple[StationReport, ...]]:
    by_station: dict[str, tuple[StationReport, ...]] = {}
    for report in stored.reports:
        by_station[report.station_id] = (*by_station.get(report.station_id, ()), report)
    return by_station


def _resume(connectors: dict[Key, ConnectorState], sessions: tuple[Session, ...], now: Now) -> list[Session]:
    """Give each connector its open session; an older one on the same connector, or of a removed station, ended."""
    ended = []
    for session in sorted(sessions, key=lambda session: (session.started_at, session.transaction_id)):
        key = (session.station_id, session.connector)
        connector = connectors.get(key)
        if connector is None:
            ended.append(interrupt_session(session, now.utc, "StationRemoved"))
            continue
        if connector.session is not None:
            ended.append(overtake_session(connector.session, session))
        connectors[key] = attrs.evolve(connector, session=session, session_ms=now.monotonic_ms)
    return ended
