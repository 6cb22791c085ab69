"""What every page and every API route is given to work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import attrs

from llm_core import (
    Accounts,
    Archive,
    Badge,
    Clock,
    History,
    Inbox,
    KeyHandover,
    MailBook,
    MeterSetup,
    MeterTest,
    NotSaved,
    Session,
    State,
    StationCalls,
    StationKeys,
    UplinkBook,
)


class WriteSessions(Protocol):
    """Sessions as CSV: chunks of text, in constant memory."""

    def __call__(
        self, sessions: AsyncIterator[Session], state: State, *, decimal_comma: bool = False
    ) -> AsyncIterator[str]: ...


@runtime_checkable
class MeterModels(Protocol):
    """The meters that can be chosen, and why another cannot."""

    def why_not(self, model_id: str, /) -> str | None: ...


class Mail(Protocol):
    """The monthly export by e-mail: its book, and whether it would arrive."""

    @property
    def book(self) -> MailBook: ...

    async def test(self) -> str | None:
        """Why a test message could not be sent; None when it was."""


class Workshop(Protocol):
    """What is done while nothing runs: the controller starts anew and does it then."""

    async def restore(self, backup: Path) -> None:
        """Everything as in this backup. Raises `StoreError` where it is no good."""

    async def reset(self) -> None:
        """Everything erased. Raises `StoreError`."""


@attrs.frozen
class Desk:
    """The one value that routes get: where facts go, what is known, who may come in, and a few fixed facts.

    `station_url` is what an installer types into a station, `station_tls_url` into one of security profile 2 or 3
    (None: there is no such port). `hand_key` gives a station that is connected its new key. `allowed_hosts` are the
    names and addresses this controller answers to, without a port. `healthy` tells why it is not (None: it is), and
    `ticks_ms` how long the last ticks took.

    The rest comes from other rooms, which the pages do not know: the ids of the meters that can be chosen, the
    writer of session files, the reader of badge files, which is given the present badges, what sets the
    machine's clock, if this process may, and what writes a backup and a bundle for support into a file.
    """

    inbox: Inbox
    accounts: Accounts
    archive: Archive
    history: History
    test_meter: Callable[[MeterSetup], Awaitable[MeterTest]]
    clock: Clock
    station_url: str
    version: str
    allowed_hosts: frozenset[str]
    stations: StationCalls
    healthy: Callable[[], str | None]
    station_keys: StationKeys
    hand_key: Callable[[str, bytes], Awaitable[KeyHandover]]
    uplink: UplinkBook
    meter_models: Collection[str]
    write_sessions: WriteSessions
    parse_badges: Callable[[bytes, Mapping[str, Badge]], tuple[Badge, ...] | NotSaved]
    set_clock: Callable[[datetime], bool]
    back_up: Callable[[Path], Awaitable[None]]
    write_bundle: Callable[[Path], Awaitable[None]]
    station_tls_url: str | None = None
    mail: Mail | None = None
    workshop: Workshop | None = None
    ticks_ms: Callable[[], Collection[int]] = tuple
    neighbours: Callable[[], Sequence[Mapping[str, str]]] = tuple  # who announces itself on the local network
