"""What the shell is to do after a step, in a fixed order: commit every `Save`, then `Reply`, then command.

A step whose saves cannot be committed never happened: the shell keeps the old state, fails the request and posts
`StorageFailed`. A `Note` may be lost (it is written with the next flush).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.authorisation import Badge, Verdict
from llm_core.commissions import Commission
from llm_core.external import LimitRecord
from llm_core.local_lists import LocalList
from llm_core.orders import OrderGranted, OrderRefused, OutOfUse, ReservationRecord, StationReport
from llm_core.problem import Fault
from llm_core.sessions import Session
from llm_core.site import Site


class Purpose(StrEnum):
    """The three places where a station keeps a limit for a connector (OCPP 1.6 §3.13.2)."""

    FLOOR = "floor"  # the permanent TxDefaultProfile at the lowest stack level
    DEFAULT = "default"  # a leased TxDefaultProfile above it, for a connector that prepares
    TRANSACTION = "transaction"  # a leased TxProfile, replaces both while the transaction runs


@attrs.frozen
class SetLimit:
    """Give a connector a limit per phase: `limit_ma` now, `then_ma` once `lease_ms` have passed without renewal.

    `lease_ms` None is permanent. `phases` is the number of phases that a limit in watts is counted with.
    `lowers` tells that nobody gains by it, so that it may overtake another call on its link. One that has not been sent
    by `not_after_ms` (monotonic) is not sent any more: what it was decided on is too old by then.
    """

    seq: int
    station_id: str
    connector: int
    purpose: Purpose
    limit_ma: int
    then_ma: int
    lease_ms: int | None
    transaction_id: int | None
    phases: int
    lowers: bool
    not_after_ms: int | None = None

    def is_too_late(self, now_ms: int) -> bool:
        return self.not_after_ms is not None and now_ms >= self.not_after_ms


@attrs.frozen
class ClearLimit:
    """Remove the live limits of a connector; the floor stays. `purpose` None means both live purposes."""

    seq: int
    station_id: str
    connector: int
    purpose: Purpose | None = None
    lowers: bool = True


@attrs.frozen
class StopRemotely:
    """Ask the station to end a transaction (RemoteStopTransaction)."""

    station_id: str
    transaction_id: int


@attrs.frozen
class AskReading:
    """Ask a connector for its readings now: what it draws decides how much is left for the others, after a change of
    its limit, and where a station reports seldom."""

    station_id: str
    connector: int


@attrs.frozen
class InviteBoot:
    """Ask a station that was adopted just now to boot again, so that it is accepted."""

    station_id: str


@attrs.frozen
class AskCpo:
    """Have the CPO judge a badge; it waits for a `CpoAnswered` with this `ask`, for 5 s at most.

    With a `transaction_id` the badge has begun a transaction whose start is in the queue: its answer will do.
    """

    ask: int
    station_id: str
    id_tag: str
    transaction_id: int | None = None


@attrs.frozen
class TellCpo:
    """Something new lies in a station's queue for the CPO."""

    station_id: str


class UplinkKind(StrEnum):
    START = "start"
    METER = "meter"
    STOP = "stop"


@attrs.frozen
class UplinkMessage:
    """A message for the CPO, kept until it has it: in the station's own words (`said`), and what we took from them.

    A start and a stop of one transaction are taken once, a stop only where there was a start.
    """

    station_id: str
    kind: UplinkKind
    transaction_id: int
    connector: int = 0
    id_tag: str | None = None
    meter_wh: int | None = None
    at: datetime | None = None
    reason: str = ""
    said: str = attrs.field(default="", repr=False)


@attrs.frozen
class CpoVerdict:
    """What the CPO last said of a badge, under its normalised id; `verdict` None forgets it."""

    id_tag: str
    verdict: Verdict | None
    expires_at: datetime | None = None


@attrs.frozen
class CpoForgotten:
    """Forget what the CPO said of any badge."""


@attrs.frozen
class Ceiling:
    """The most that a connector may hold, and what of it stays when nothing more is heard (None: not known).

    Promised to the disk before it is sent to the station.
    """

    station_id: str
    connector: int
    limit_ma: int
    left_ma: int | None = None


@attrs.frozen
class BadgeRecord:
    """A badge as stored; `badge` None removes the one with this normalised id."""

    key: str
    badge: Badge | None


@attrs.frozen
class AuditEntry:
    """Who changed what, when: `old` and `new` are shown to people and never hold a secret."""

    at: datetime
    by: str
    what: str
    old: str
    new: str


@attrs.frozen
class RefusedStart:
    """A badge that was not let in: no session, but a badge to enrol and a line to show."""

    at: datetime
    station_id: str
    id_tag: str
    verdict: Verdict
    transaction_id: int | None = None  # given away with the refusal of a start, so never to be used again


Record = (
    Session
    | Ceiling
    | Site
    | BadgeRecord
    | AuditEntry
    | RefusedStart
    | ReservationRecord
    | OutOfUse
    | Commission
    | LocalList
    | StationReport
    | LimitRecord
    | UplinkMessage
    | CpoVerdict
    | CpoForgotten
)


@attrs.frozen
class Save:
    """Must be on the disk before this step's replies and raises leave."""

    record: Record


@attrs.frozen
class Note:
    """Worth keeping, promised to nobody: written with the next flush."""

    record: Record


@attrs.frozen
class BootAnswer:
    accepted: bool  # False: pending until adopted
    interval_s: int


@attrs.frozen
class Authorised:
    verdict: Verdict


@attrs.frozen
class Started:
    transaction_id: int
    verdict: Verdict


@attrs.frozen
class Stopped:
    verdict: Verdict | None


@attrs.frozen
class Saved:
    id: str = ""  # of what was new and is numbered by us


@attrs.frozen
class NotSaved:
    faults: tuple[Fault, ...]


@attrs.frozen
class NotStored:
    """The shell's own answer when the disk failed: nothing was promised, nothing happened."""

    reason: str


Answer = BootAnswer | Authorised | Started | Stopped | Saved | NotSaved | OrderGranted | OrderRefused | NotStored


@attrs.frozen
class Reply:
    request: int
    answer: Answer


class AlarmCode(StrEnum):
    METER_SILENT = "meter_silent"
    METER_FROZEN = "meter_frozen"
    METER_IMPLAUSIBLE = "meter_implausible"
    STATION_OFFLINE = "station_offline"
    STATION_DISOBEYS = "station_disobeys"
    STATION_REJECTS_LIMITS = "station_rejects_limits"
    STATION_CANNOT_FALL_BACK = "station_cannot_fall_back"
    STATION_NOT_USABLE = "station_not_usable"
    STRANGER_DRAWS = "stranger_draws"
    LIMIT_EXCEEDED = "limit_exceeded"
    GUARD_INTERVENED = "guard_intervened"
    STORAGE_FAILING = "storage_failing"
    CLOCK_WRONG = "clock_wrong"
    CAR_ASLEEP = "car_asleep"
    LIMIT_SENDER_SILENT = "limit_sender_silent"
    CPO_OFFLINE = "cpo_offline"
    CPO_REFUSES = "cpo_refuses"
    PHASE_ORDER_SUSPECT = "phase_order_suspect"


@attrs.frozen
class Alarm:
    """Something needs attention: `subject` is a station, a node, or empty."""

    code: AlarmCode
    subject: str
    since: datetime


@attrs.frozen
class RaiseAlarm:
    alarm: Alarm


@attrs.frozen
class ClearAlarm:
    alarm: Alarm


Effect = (
    SetLimit
    | ClearLimit
    | StopRemotely
    | AskReading
    | InviteBoot
    | AskCpo
    | TellCpo
    | Save
    | Note
    | Reply
    | RaiseAlarm
    | ClearAlarm
)
