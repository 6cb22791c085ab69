"""Sessions: opened, metered, closed, and accounted for to the watt-hour.

Energy is the sum of the register's increases, so a register that restarts or runs backwards never gives a negative
or an invented kWh; it flags the session instead.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

IMPLAUSIBLE_STEP_WH = 200_000  # more than any car takes between two readings: not believed


class SessionState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    INTERRUPTED = "interrupted"


@attrs.frozen
class Session:
    """One charging session. Times are UTC; `register_wh` is the last believed reading of the station's meter."""

    transaction_id: int
    station_id: str
    connector: int
    id_tag: str | None
    started_at: datetime
    meter_start_wh: int
    register_wh: int
    energy_wh: int = 0
    charging_ms: int = 0
    idle_ms: int = 0
    stopped_at: datetime | None = None
    meter_stop_wh: int | None = None
    stop_reason: str | None = None
    state: SessionState = SessionState.OPEN
    flagged: bool = False  # a register that fell or jumped, or a stamp that could not be

    @property
    def is_open(self) -> bool:
        return self.state is SessionState.OPEN


def open_session(
    transaction_id: int,
    station_id: str,
    connector: int,
    id_tag: str | None,
    started_at: datetime,
    meter_start_wh: int,
) -> Session:
    return Session(transaction_id, station_id, connector, id_tag, started_at, meter_start_wh, meter_start_wh)


def meter_session(session: Session, register_wh: int) -> Session:
    """Count a register reading: increases add up, a fall starts a new base and flags the session."""
    step_wh = register_wh - session.register_wh
    if step_wh < 0 or step_wh > IMPLAUSIBLE_STEP_WH:
        return attrs.evolve(session, register_wh=register_wh, flagged=True)
    return attrs.evolve(session, register_wh=register_wh, energy_wh=session.energy_wh + step_wh)


def clock_session(session: Session, elapsed_ms: int, *, charging: bool) -> Session:
    """Count elapsed time as charging or idle."""
    if charging:
        return attrs.evolve(session, charging_ms=session.charging_ms + elapsed_ms)
    return attrs.evolve(session, idle_ms=session.idle_ms + elapsed_ms)


def close_session(session: Session, stopped_at: datetime, meter_stop_wh: int | None, reason: str) -> Session:
    """Close with the station's own stop reading; also completes a session that was interrupted before."""
    metered = session if meter_stop_wh is None else meter_session(session, meter_stop_wh)
    return attrs.evolve(
        metered,
        stopped_at=max(stopped_at, session.started_at),
        meter_stop_wh=metered.register_wh,
        stop_reason=reason,
        state=SessionState.CLOSED,
    )


def interrupt_session(session: Session, stopped_at: datetime, reason: str) -> Session:
    """Close a session whose stop never came, at its last reading."""
    return attrs.evolve(
        session,
        stopped_at=max(stopped_at, session.started_at),
        meter_stop_wh=session.register_wh,
        stop_reason=reason,
        state=SessionState.INTERRUPTED,
    )
