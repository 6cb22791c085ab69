"""E-mail: to whom and through which server; when the monthly export is due, and when what needs attention is told.

The password is no part of it: that is kept where nothing exports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import attrs

from llm_core.effects import Alarm, AlarmCode
from llm_core.problem import Fault

FROM_HOUR = 6  # of the first day of a month, at the site: the last sessions of the night are told by then
TOLD_AFTER = timedelta(minutes=5)  # what passes by itself wakes nobody
TOLD_EVERY = timedelta(minutes=15)  # what comes and goes fills nobody's letter box


class MailSecurity(StrEnum):
    """How the link to the mail server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@attrs.frozen
class MailSetup:
    """`enabled` sends the monthly export, `attention` what needs attention; `user` empty signs in nowhere."""

    enabled: bool = False
    host: str = ""
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    user: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    attention: bool = False


class MailBook(Protocol):
    """Where the set-up, its password and what was sent are kept. Raises `StoreError`."""

    async def setup(self) -> MailSetup: ...

    async def password(self) -> str: ...

    async def replace(self, setup: MailSetup, password: str | None, by: str) -> None:
        """Another set-up, audited; `password` None keeps the present one, an empty one removes it."""

    async def sent_month(self) -> str: ...

    async def mark_sent(self, month: str) -> None: ...


def mail_faults(setup: MailSetup) -> Iterator[Fault]:
    """What is missing for a set-up that is to be used."""
    if not (setup.enabled or setup.attention):
        return
    if not setup.host:
        yield Fault("/host", "must be given")
    if not setup.sender:
        yield Fault("/sender", "must be given")
    if not setup.recipients:
        yield Fault("/recipients", "must name somebody")


def due_month(local: datetime, sent: str) -> str | None:
    """The month (like `2026-01`) whose export is to be sent now, by the site's time; None while none is.

    One that could not be sent on its day stays due until the next month is.
    """
    if local.day == 1 and local.hour < FROM_HOUR:
        return None
    year, month = (local.year, local.month - 1) if local.month > 1 else (local.year - 1, 12)
    last = f"{year:04}-{month:02}"
    return last if last > sent else None


@attrs.frozen
class AttentionTold:
    """Which alarms were told by mail, and when the last mail left; `is_open`: nobody has been told of the end yet."""

    alarms: frozenset[tuple[AlarmCode, str]] = frozenset()
    at: datetime | None = None
    is_open: bool = False


def attention_due(
    alarms: Mapping[tuple[AlarmCode, str], Alarm], told: AttentionTold, now: datetime
) -> tuple[AttentionTold, bool]:
    """Whether a mail is due, and what will have been told then.

    An alarm is told once it has stood for `TOLD_AFTER`, again if it went and came back; when none is left of those
    that were told, that is told, too. Between two mails lies `TOLD_EVERY`, unless the clock fell back.
    """
    known = told.alarms & alarms.keys()
    standing = frozenset(key for key, alarm in alarms.items() if now - alarm.since >= TOLD_AFTER)
    kept = attrs.evolve(told, alarms=known)
    if told.at is not None and timedelta() <= now - told.at < TOLD_EVERY:
        return kept, False
    if standing - known:
        return AttentionTold(known | standing, now, is_open=True), True
    if told.is_open and not alarms:
        return AttentionTold(at=now), True
    return kept, False
