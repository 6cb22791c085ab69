"""A disk in memory for simulations: what was committed outlives the controller, everything else dies with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from llm_core import (
    AuditEntry,
    Badge,
    Ceiling,
    LimitRecord,
    Record,
    RefusedStart,
    Session,
    Site,
    Stored,
)

RECENT_SESSIONS = 50


class VirtualStore:
    """Implements the port `Store` for what control depends on; it takes other records and forgets them."""

    def __init__(self, site: Site, badges: tuple[Badge, ...]) -> None:
        self._site = site
        self._badges = badges
        self._ceilings: dict[tuple[str, int], Ceiling] = {}
        self._sessions: dict[int, Session] = {}
        self._limits: dict[str, LimitRecord] = {}
        self._last_transaction_id = 0
        self._latest_utc: datetime | None = None

    async def load(self) -> Stored:
        return self.stored()

    def stored(self) -> Stored:
        """What a controller that starts now is given."""
        sessions = tuple(self._sessions.values())
        return Stored(
            site=self._site,
            badges=self._badges,
            open_sessions=tuple(session for session in sessions if session.is_open),
            recent_sessions=tuple(session for session in sessions if not session.is_open)[-RECENT_SESSIONS:],
            limits=tuple(self._limits.values()),
            ceilings={key: ceiling.limit_ma for key, ceiling in self._ceilings.items()},
            left_alone={key: c.left_ma for key, c in self._ceilings.items() if c.left_ma is not None},
            last_transaction_id=self._last_transaction_id,
            latest_utc=self._latest_utc,
        )

    async def commit(self, records: Iterable[Record]) -> None:
        self.keep(records)

    def keep(self, records: Iterable[Record]) -> None:
        for record in records:
            self._keep(record)

    def _keep(self, record: Record) -> None:
        match record:
            case Session():
                self._sessions[record.transaction_id] = record
                self._last_transaction_id = max(self._last_transaction_id, record.transaction_id)
                self._seen(record.started_at, record.stopped_at)
            case Ceiling():
                self._ceilings[record.station_id, record.connector] = record
            case LimitRecord():
                self._limits.pop(record.limit.id, None)  # the latest come last
                self._limits[record.limit.id] = record
                self._seen(record.set_at, record.began_at, record.ended_at)
            case RefusedStart():
                self._last_transaction_id = max(self._last_transaction_id, record.transaction_id or 0)
                self._seen(record.at)
            case AuditEntry():
                self._seen(record.at)
            case Site():
                self._site = record
            case _:
                pass

    def _seen(self, *instants: datetime | None) -> None:
        self._latest_utc = max((at for at in (self._latest_utc, *instants) if at is not None), default=None)

    async def probe(self) -> None:
        return None

    async def close(self) -> None:
        return None
