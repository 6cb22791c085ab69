"""Sessions: opened, metered, closed, and accounted for to the watt-hour.

Energy is the sum of the register's increases. A reading that falls or leaps is doubted, and the next one decides: it
goes on from the last believed reading (the doubted one was a slip), or from the doubted one (the register restarted
there). From there it may come back to what it would show had it never fallen: a step that no station can deliver in the
time is that, where the whole session can be, and only what lies beyond counts. So no register gives a negative or an
invented kWh; the session is flagged instead. Readings count in the order of their stamps: one that comes out of a queue
behind a newer one is no fall.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

import attrs

from llm_core.quantities import Now, PerPhase

OLDEST_STAMP = datetime(2020, 1, 1, tzinfo=UTC)
AHEAD = timedelta(minutes=5)
NOMINAL_V = 230
UJ_PER_WH = 3_600_000_000
LONGEST_GAP_MS = 120_000  # between two readings: what happened in a longer one, nobody knows
IMPLAUSIBLE_STEP_WH = 200_000  # more than any car takes between two readings: not believed
STRONGEST_MA = 63_000  # per phase, where nobody tells what a station can deliver
COARSE = timedelta(minutes=1)  # of stamps
COARSE_WH = 1_000  # of registers: some count in whole kilowatt-hours


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
    register_at: datetime | None = None  # the stamp of the last reading; None: it had none, or there was none
    doubted_wh: int | None = None  # a last reading that fell or leapt: the next one decides
    integrated: bool = False  # the station told no register: its energy is reckoned from its currents

    @property
    def is_open(self) -> bool:
        return self.state is SessionState.OPEN


def believed(at: datetime | None, now: Now) -> datetime:
    """A station's stamp if it can be, else the time of receipt: never 1970 in an export."""
    if at is None or at < OLDEST_STAMP or at > now.utc + AHEAD:
        return now.utc
    return at


def open_session(
    transaction_id: int,
    station_id: str,
    connector: int,
    id_tag: str | None,
    started_at: datetime,
    meter_start_wh: int,
) -> Session:
    return Session(transaction_id, station_id, connector, id_tag, started_at, meter_start_wh, meter_start_wh)


def meter_session(
    session: Session, register_wh: int, at: datetime | None = None, most_ma: int = STRONGEST_MA
) -> Session:
    """Count the register as read at `at` (None: just now) at a station that delivers `most_ma` per phase at most.

    A reading older than the last one, or from before the session, tells nothing new and changes nothing.
    """
    if at is not None and at < (session.register_at or session.started_at):
        return session
    return attrs.evolve(_read(session, register_wh, at, most_ma), register_at=at or session.register_at)


def _read(session: Session, register_wh: int, at: datetime | None, most_ma: int) -> Session:
    """The session after a reading that is newer than all others, whatever its stamp."""
    if _came_back(session, register_wh, at, most_ma):
        session = attrs.evolve(session, register_wh=_unbroken_wh(session), doubted_wh=None)
    base_wh = _base_wh(session, register_wh)
    if base_wh is None:
        return attrs.evolve(session, doubted_wh=register_wh, flagged=True)
    return attrs.evolve(
        session,
        register_wh=register_wh,
        energy_wh=_counted_wh(session) + register_wh - base_wh,
        integrated=False,
        doubted_wh=None,
    )


def _base_wh(session: Session, register_wh: int) -> int | None:
    """The reading that this one goes on from; None: it falls or leaps."""
    bases_wh = (session.register_wh, session.doubted_wh)
    return next((wh for wh in bases_wh if wh is not None and 0 <= register_wh - wh <= IMPLAUSIBLE_STEP_WH), None)


def _counted_wh(session: Session) -> int:
    return 0 if session.integrated else session.energy_wh


def _unbroken_wh(session: Session) -> int:
    """What the register would show had it never restarted."""
    return session.meter_start_wh + _counted_wh(session)


def _came_back(session: Session, register_wh: int, at: datetime | None, most_ma: int) -> bool:
    """Whether a register that had restarted shows again what start and increases add up to.

    Only where nothing else can be: a register that grows that far from where it restarted is believed.
    """
    base_wh, unbroken_wh = _base_wh(session, register_wh), _unbroken_wh(session)
    if not -COARSE_WH <= register_wh - unbroken_wh <= IMPLAUSIBLE_STEP_WH:
        return False
    if base_wh is None:  # it falls or it leaps
        return register_wh - session.register_wh > IMPLAUSIBLE_STEP_WH
    if base_wh >= unbroken_wh or at is None:
        return False
    step_wh, whole_wh = register_wh - base_wh, register_wh - session.meter_start_wh
    since = session.register_at or session.started_at
    return step_wh > _most_wh(since, at, most_ma) and whole_wh <= _most_wh(session.started_at, at, most_ma)


def _most_wh(since: datetime, until: datetime, most_ma: int) -> int:
    """What a station can have delivered on three phases, with a margin for coarse stamps and registers."""
    ms = (max(until - since, timedelta()) + COARSE) // timedelta(milliseconds=1)
    return 3 * most_ma * NOMINAL_V * ms // UJ_PER_WH + COARSE_WH


def integrate_session(session: Session, energy_wh: int) -> Session:
    """Count energy that was reckoned from currents; once the station has told a register, that alone counts."""
    if session.register_at is not None:
        return session
    return attrs.evolve(session, energy_wh=session.energy_wh + energy_wh, integrated=True)


def drawn_uj(before: PerPhase, after: PerPhase, elapsed_ms: int) -> int:
    """The energy between two readings, in microjoules, at the nominal voltage; a long gap counts as a short one."""
    return (sum(before) + sum(after)) * NOMINAL_V * min(elapsed_ms, LONGEST_GAP_MS) // 2


def clock_session(session: Session, elapsed_ms: int, *, charging: bool) -> Session:
    """Count elapsed time as charging or idle."""
    if charging:
        return attrs.evolve(session, charging_ms=session.charging_ms + elapsed_ms)
    return attrs.evolve(session, idle_ms=session.idle_ms + elapsed_ms)


def close_session(
    session: Session, stopped_at: datetime, meter_stop_wh: int | None, reason: str, most_ma: int = STRONGEST_MA
) -> Session:
    """Close with the station's own stop reading; also completes a session that was interrupted before."""
    metered = session if meter_stop_wh is None else _settled(session, meter_stop_wh, stopped_at, most_ma)
    return attrs.evolve(
        metered,
        stopped_at=max(stopped_at, session.started_at),
        meter_stop_wh=_last_wh(metered),
        stop_reason=reason,
        state=SessionState.CLOSED,
    )


def _settled(session: Session, meter_stop_wh: int, stopped_at: datetime, most_ma: int) -> Session:
    """The stop reading counts whatever its stamp, unless the register was seen to restart since."""
    if meter_stop_wh < 0:
        return attrs.evolve(session, flagged=True)  # no register shows less than nothing
    if session.integrated and meter_stop_wh <= session.meter_start_wh:
        return session  # a register that has not moved is none
    if _told_thousandths(session, meter_stop_wh):
        return _between_start_and_stop(session, meter_stop_wh)
    own = _up_to(session, meter_stop_wh, stopped_at)
    if own is not None:
        return own
    restarted = session.flagged and session.doubted_wh is None and _is_read_since(session, stopped_at)
    if restarted:
        return session
    read = _read(session, meter_stop_wh, stopped_at, most_ma)
    most_wh = _most_wh(session.started_at, stopped_at, most_ma)
    invented = read.energy_wh > most_wh or _came_back(session, meter_stop_wh, stopped_at, most_ma)
    believable = 0 <= meter_stop_wh - session.meter_start_wh <= most_wh
    return _between_start_and_stop(read, meter_stop_wh) if invented and believable else read


def _between_start_and_stop(session: Session, meter_stop_wh: int) -> Session:
    """What start and stop tell of one register, whatever the readings between them told."""
    energy_wh = meter_stop_wh - session.meter_start_wh
    return attrs.evolve(session, register_wh=meter_stop_wh, energy_wh=energy_wh, doubted_wh=None)


def _told_thousandths(session: Session, meter_stop_wh: int) -> bool:
    """Whether its readings were kilowatt-hours labelled as watt-hours: they fell to a thousandth of what start and stop
    tell. The stop of a register that restarted at 0 is no thousand times its last reading."""
    start_wh, last_wh = session.meter_start_wh, session.register_wh * 1_000
    grew = 0 <= meter_stop_wh - start_wh <= IMPLAUSIBLE_STEP_WH
    return grew and session.energy_wh <= session.register_wh and start_wh - 1_000 < last_wh < meter_stop_wh + 1_000


def interrupt_session(session: Session, stopped_at: datetime, reason: str) -> Session:
    """Close a session whose stop never came at its last reading, or at `stopped_at` where no reading has a stamp."""
    return attrs.evolve(
        session,
        stopped_at=max(session.register_at or stopped_at, session.started_at),
        meter_stop_wh=_last_wh(session),
        stop_reason=reason,
        state=SessionState.INTERRUPTED,
    )


def overtake_session(session: Session, by: Session) -> Session:
    """Close a session whose stop never came and whose connector has begun another one."""
    own = _up_to(session, by.meter_start_wh, by.started_at)
    return interrupt_session(session if own is None else own, by.started_at, "Superseded")


def _up_to(session: Session, register_wh: int, at: datetime) -> Session | None:
    """The session without what was counted after `at`, when the register showed `register_wh`: that is the next one's.

    None where there is nothing to take back, or nobody can tell how much.
    """
    beyond_wh = session.register_wh - register_wh
    plain = session.doubted_wh is None and 0 <= beyond_wh <= session.energy_wh
    if not plain or not _is_read_since(session, at):
        return None
    return attrs.evolve(session, register_wh=register_wh, register_at=at, energy_wh=session.energy_wh - beyond_wh)


def _is_read_since(session: Session, at: datetime) -> bool:
    return session.register_at is not None and session.register_at > at


def _last_wh(session: Session) -> int:
    """What the register showed last, believed or not."""
    return session.register_wh if session.doubted_wh is None else session.doubted_wh
