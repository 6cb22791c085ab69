"""What the core needs from outside, and what outside needs from it. Vendors implement these; duck typing is enough."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

import attrs

from llm_core.authorisation import Badge
from llm_core.commissions import Commission, CommissionWish
from llm_core.effects import (
    Answer,
    AskCpo,
    AskReading,
    AuditEntry,
    ClearLimit,
    CpoVerdict,
    InviteBoot,
    Record,
    RefusedStart,
    SetLimit,
    StopRemotely,
    TellCpo,
    UplinkMessage,
)
from llm_core.events import Event, MeterSampled, Request
from llm_core.external import LimitRecord
from llm_core.history import Place, Slice, Span
from llm_core.local_lists import LocalList
from llm_core.orders import OutOfUse, Reservation, StationReport
from llm_core.searching import EVERYTHING, SessionFilter, SessionPage
from llm_core.sessions import Session
from llm_core.site import Site
from llm_core.state import Key, State
from llm_core.users import Role, Token, User

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class Inbox(Protocol):
    """How adapters hand facts to the core and read what is known."""

    def post(self, event: Event) -> None:
        """Hand over a fact; never blocks, never raises."""

    async def ask(self, event: Request) -> Answer:
        """Hand over a request and wait for its answer, which leaves only after its commit."""

    @property
    def state(self) -> State:
        """An immutable snapshot of all that is known now."""


class Clock(Protocol):
    """The only place where time is read."""

    def monotonic_ms(self) -> int: ...

    def utc(self) -> datetime: ...


class Meter(Protocol):
    """A meter of a node. An I/O failure is silence, never an exception: the core sees the age."""

    async def read(self) -> MeterSampled | None:
        """One reading, or None when there is none to believe."""

    async def close(self) -> None: ...


StationCommand = SetLimit | ClearLimit | StopRemotely | AskReading | InviteBoot


class Stations(Protocol):
    """The stations below. Each `SetLimit` and `ClearLimit` is answered by exactly one of `LimitConfirmed`,
    `LimitRefused`, `LimitUnanswered`; a slow station delays nobody else."""

    def perform(self, command: StationCommand) -> None:
        """Queue a command for its station; returns at once."""


class CallFailure(StrEnum):
    """Why a call to a station has no answer."""

    OFFLINE = "offline"
    TIMEOUT = "timeout"  # it may have acted on it all the same
    REFUSED = "refused"  # it answered with an error
    NOT_SUPPORTED = "not_supported"  # it does not know this action
    MALFORMED = "malformed"  # ours: the payload breaks the protocol, so it was not sent


@attrs.frozen
class CallOutcome:
    """What became of a call: the answer's `status` word ("" where it has none) and `payload`, or why there is none."""

    status: str = ""
    payload: Mapping[str, Json] = attrs.field(factory=dict)
    failure: CallFailure | None = None
    detail: str = ""


class StationCalls(Protocol):
    """What a person or a CPO asks of a station, and what it answers; limits do not go this way (`Stations`)."""

    async def call(
        self, station_id: str, action: str, payload: Mapping[str, Json], *, deadline_s: int = 10
    ) -> CallOutcome:
        """Have the station do `action` (OCPP 1.6's words, as those of the payload); returns within `deadline_s`."""

    def commission(self, station_id: str, by: str, wish: CommissionWish) -> bool:
        """Begin a commissioning test, told by `CommissionTold`; False where it is not connected or under test."""


class StationKeys(Protocol):
    """The keys by which stations prove who they are. Hashed at rest, told to nobody, in no event (ADR 5)."""

    def has_key(self, station_id: str) -> bool: ...

    async def matches(self, station_id: str, key: bytes) -> bool:
        """Whether this is the station's key, as bytes or hex-coded; False for a station without one."""

    async def set_key(self, station_id: str, key: bytes | None, by: str) -> None:
        """Replace the key (None: remove it). On the disk when it returns, else `StoreError`."""


class KeyHandover(StrEnum):
    """What became of a new key on its way into a station that is connected."""

    TAKEN = "taken"
    REFUSED = "refused"  # it has to be typed in at the station
    OFFLINE = "offline"


class ModelMemory(Protocol):
    """What was learned of stations of one model and firmware, kept over restarts; adapters say what and how."""

    def recall(self, model: str) -> str | None: ...

    def remember(self, model: str, document: str) -> None:
        """Keep it; returns at once. Written soon, and promised to nobody."""


UplinkCommand = AskCpo | TellCpo


class Uplinks(Protocol):
    """The way up to the CPO. Each `AskCpo` is answered by a `CpoAnswered` within 5 s."""

    def perform(self, command: UplinkCommand) -> None:
        """Take a command; returns at once."""


@attrs.frozen
class Queued:
    """A message that waits for the CPO. `message_id` stays the same however often it is sent; `cpo_transaction_id`
    is the CPO's own number of its transaction (None: not known yet)."""

    number: int
    message_id: str
    message: UplinkMessage
    cpo_transaction_id: int | None = None
    refusal: str = ""


@attrs.frozen
class QueueLengths:
    """What lies in a station's queue: messages that wait, that the CPO refused for good, starts that it may have
    counted twice."""

    waiting: int = 0
    refused: int = 0
    doubtful: int = 0


class UplinkQueue(Protocol):
    """Messages for the CPO on their way, durable and in order per station. What the disk refuses is `StoreError`.

    Starts and stops come in with `Store.commit`, in the commit of their session.
    """

    async def waiting(self, station_id: str, most: int) -> tuple[Queued, ...]:
        """The oldest messages of a station, in the order in which the CPO is to have them."""

    async def lengths(self, station_id: str) -> QueueLengths: ...

    async def put(self, messages: Iterable[UplinkMessage]) -> None:
        """Add meter values; of transactions that the CPO does not know they are dropped."""

    async def delivered(self, numbers: Iterable[int]) -> None:
        """The CPO has these."""

    async def started(self, number: int, cpo_transaction_id: int) -> None:
        """The CPO has this start and calls its transaction so."""

    async def sending(self, number: int) -> None:
        """This start goes out now. One that went out before and was not answered is doubtful from here on."""

    async def not_taken(self, number: int) -> None:
        """The CPO has answered that it did not take this start."""

    async def refuse(self, number: int, reason: str) -> None:
        """The CPO has refused this for good, and with a start all that follows from it: kept and shown."""

    async def retry_refused(self, station_id: str) -> None:
        """Send what was refused once more."""

    async def refused(self, station_id: str, most: int) -> tuple[Queued, ...]:
        """What the CPO refused for good, the newest first."""

    async def cpo_transaction(self, transaction_id: int) -> int | None:
        """The CPO's own number of a transaction of ours."""

    async def own_transaction(self, station_id: str, cpo_transaction_id: int) -> int | None:
        """Our number of the newest transaction that the CPO calls so."""

    async def note(self, station_id: str, name: str, value: str | None) -> None:
        """Remember a fact about a station (None: forget it): its boot, the CPO's settings and profiles."""

    async def notes(self, station_id: str) -> Mapping[str, str]: ...


class UplinkSecrets(Protocol):
    """Passwords and private keys for the CPO, apart from everything that is read, exported or logged."""

    async def secret(self, station_id: str, name: str) -> str | None: ...

    async def names(self) -> frozenset[tuple[str, str]]:
        """Which secrets there are: station and name."""

    async def keep(self, secrets: Mapping[tuple[str, str], str | None], by: str) -> None:
        """Set these (None removes one), audited without the secret itself."""


class UplinkBook(UplinkQueue, UplinkSecrets, Protocol):
    """All that is kept for the CPO."""


@attrs.frozen
class Stored:
    """What a store gives back at start-up. `ceilings` of stations that ever connected; a row that cannot be
    trusted is left out of `ceilings` and its key named in `doubtful`."""

    site: Site | None = None
    badges: tuple[Badge, ...] = ()
    open_sessions: tuple[Session, ...] = ()
    recent_sessions: tuple[Session, ...] = ()
    limits: tuple[LimitRecord, ...] = ()  # of each external limit its newest record, the latest last
    ceilings: Mapping[Key, int] = attrs.field(factory=dict)
    left_alone: Mapping[Key, int] = attrs.field(factory=dict)  # of those, what stays of it without us, where known
    doubtful: frozenset[Key] = frozenset()
    cpo_verdicts: tuple[CpoVerdict, ...] = ()
    last_transaction_id: int = 0
    latest_utc: datetime | None = None
    refusals: tuple[RefusedStart, ...] = ()  # the last ones, newest last
    reservations: tuple[Reservation, ...] = ()
    out_of_use: tuple[OutOfUse, ...] = ()
    commissions: tuple[Commission, ...] = ()
    local_lists: tuple[LocalList, ...] = ()
    reports: tuple[StationReport, ...] = ()  # oldest first


class Store(Protocol):
    """Durable records. `commit` is atomic, and on the disk when it returns; what the disk refuses is `StoreError`."""

    async def load(self) -> Stored: ...

    async def commit(self, records: Iterable[Record]) -> None: ...

    async def probe(self) -> None:
        """A small durable write: returns when the disk works, else raises `StoreError`."""

    async def close(self) -> None: ...


class Archive(Protocol):
    """The records that outlive a session: what exports and lists read, in constant memory."""

    def sessions(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter = EVERYTHING
    ) -> AsyncIterator[Session]:
        """Sessions that started in [from, to) and are meant, oldest first, open ones included."""

    async def session_page(
        self, from_utc: datetime, to_utc: datetime, wanted: SessionFilter, limit: int, skip: int
    ) -> SessionPage:
        """The same sessions a page at a time, newest first, with the number and the energy of all of them."""

    def audit(self, limit: int, *, skip: int = 0, text: str = "") -> AsyncIterator[AuditEntry]:
        """The newest changes first: at most `limit` after the first `skip`, and only those that hold `text`."""

    async def limit_records(self, most: int) -> tuple[LimitRecord, ...]:
        """What became of every limit from outside, the latest first."""


class History(Protocol):
    """What flowed over time, in bounded space; what the disk refuses is `StoreError`. Nothing else depends on it."""

    async def record(self, slices: Iterable[Slice], day_of: Callable[[datetime], datetime]) -> None:
        """Keep the slices of a minute; longer ones are made of them. `day_of` is when the day of an instant began."""

    def slices(self, place: Place, span: Span, from_utc: datetime, to_utc: datetime) -> AsyncIterator[Slice]:
        """The slices of a place that begin in [from, to), oldest first, in constant memory."""


@attrs.frozen
class WebSession:
    """A signed-in browser: `cookie` is its secret, `csrf` what every change must carry."""

    user: User
    cookie: str
    csrf: str


@attrs.frozen
class WrongPassword:
    pass


@attrs.frozen
class TryLater:
    """Too many failures for this account and address: wait so long."""

    seconds: int


class Accounts(Protocol):
    """Users, browser sessions and API tokens. Secrets are hashed at rest and shown once or never."""

    async def is_factory(self) -> bool:
        """True until somebody has set a password of their own: only then admin/1234 opens the set-password page."""

    async def sign_in(self, name: str, password: str, address: str) -> WebSession | WrongPassword | TryLater: ...

    async def web_session(self, cookie: str) -> WebSession | None: ...

    async def sign_out(self, cookie: str) -> None: ...

    async def set_password(self, name: str, password: str, by: str, *, temporary: bool = False) -> None:
        """Set a password that keeps the rules; ends the factory state and every other session of that user."""

    async def check_password(self, name: str, password: str) -> bool: ...

    async def users(self) -> tuple[User, ...]: ...

    async def add_user(self, user: User, password: str, by: str) -> bool:
        """False when the name is taken."""

    async def remove_user(self, name: str, by: str) -> bool: ...

    async def set_role(self, name: str, role: Role, by: str) -> bool:
        """Ends every session of that user; False when there is none, or nobody else is an administrator."""

    async def token(self, token: str) -> Token | None:
        """What is known of this token, None for one that was never given out or is revoked."""

    async def tokens(self) -> tuple[Token, ...]: ...

    async def create_token(self, role: Role, label: str, by: str) -> str:
        """A new token (`llm_…`), told once; ends the factory state."""

    async def revoke_token(self, label: str, by: str) -> bool: ...


class StoreError(Exception):
    """The disk did not take it: nothing of the commit may be promised."""
