"""Sends last month's sessions on the first day of each month, once; tries again every hour until it worked."""

from __future__ import annotations

import asyncio
import logging
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.mail import MailError, message, send
from llm_core import Archive, Clock, Inbox, MailBook, MailSetup, StoreError, due_month

LOOK_EVERY_S = 3600.0
MOST_BYTES = 20 * 1024 * 1024  # what mail servers take
log = logging.getLogger("llm.mail")


class Mailer:
    """The monthly export by e-mail; what cannot be sent is told in the log, and delays nothing else."""

    def __init__(self, book: MailBook, archive: Archive, inbox: Inbox, clock: Clock) -> None:
        self.book = book
        self._archive = archive
        self._inbox = inbox
        self._clock = clock

    async def run(self) -> None:
        """Look every hour, until cancelled."""
        while True:
            try:
                await self.send_if_due()
            except (MailError, StoreError) as error:
                log.warning("the monthly export was not sent: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def send_if_due(self) -> str | None:
        """The month that was sent, if one was due. Raises `MailError`, `StoreError`."""
        setup = await self.book.setup()
        month = due_month(self._clock.utc().astimezone(self._zone()), await self.book.sent_month())
        if not setup.enabled or month is None:
            return None
        await self._send(setup, f"sessions {month}", *await self._file(month))
        await self.book.mark_sent(month)
        log.info("the export of %s was sent", month)
        return month

    async def test(self) -> str | None:
        """Why a test message could not be sent; None when it was."""
        try:
            await self._send(await self.book.setup(), "a test", "", "")
        except MailError as error:
            return str(error)
        return None

    async def _send(self, setup: MailSetup, subject: str, name: str, content: str) -> None:
        site = self._inbox.state.site.system.name
        text = f"From the load manager of {site}.\n"
        mail = message(setup, f"{site}: {subject}", text, self._clock.utc(), name=name, content=content)
        refused = await asyncio.to_thread(send, setup, await self.book.password(), mail)
        if refused:  # the others have it: to send it again would be to send it to them every hour
            log.warning("the mail server refused %d of %d recipients", len(refused), len(setup.recipients))

    async def _file(self, month: str) -> tuple[str, str]:
        first = date.fromisoformat(f"{month}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        span = [datetime.combine(day, time(), self._zone()) for day in (first, following)]
        sessions = self._archive.sessions(span[0], span[1])
        parts: list[str] = []
        size = 0
        async for chunk in write_sessions(sessions, self._inbox.state):
            size += len(chunk)
            if size > MOST_BYTES:
                raise MailError("the export is too large for a mail; take it from the page of sessions")
            parts.append(chunk)
        return f"sessions_{month}.csv", "".join(parts)

    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self._inbox.state.site.system.time_zone)
