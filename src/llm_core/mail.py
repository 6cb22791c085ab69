"""The monthly export by e-mail: to whom and through which server, and when it is due.

The password is no part of it: that is kept where nothing exports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import attrs

from llm_core.problem import Fault

FROM_HOUR = 6  # of the first day of a month, at the site: the last sessions of the night are told by then


class MailSecurity(StrEnum):
    """How the link to the mail server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@attrs.frozen
class MailSetup:
    """Off until it is enabled; `user` empty signs in nowhere."""

    enabled: bool = False
    host: str = ""
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    user: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()


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
    if not setup.enabled:
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
