"""Sends last month's sessions on the first day of each month, once, and what needs attention when it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs

from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.mail import MailError, message, send
from llm_adapters.web.letters import attention_letter, has_decimal_comma, month_letter, trial_letter
from llm_core import (
    Archive,
    AttentionTold,
    Clock,
    Inbox,
    MailBook,
    MailSetup,
    Session,
    StoreError,
    attention_due,
    due_month,
)

LOOK_EVERY_S = 3600.0
ATTENTION_EVERY_S = 30.0
MOST_BYTES = 20 * 1024 * 1024  # what mail servers take
log = logging.getLogger("llm.mail")


class Mailer:
    """What cannot be sent is told in the log, tried again later, and delays nothing else."""

    def __init__(self, book: MailBook, archive: Archive, inbox: Inbox, clock: Clock) -> None:
        self.book = book
        self._archive = archive
        self._inbox = inbox
        self._clock = clock
        self._told = AttentionTold()

    async def run(self) -> None:
        """Look for what is due, until cancelled."""
        await asyncio.gather(
            _again_and_again(self.send_if_due, LOOK_EVERY_S, "the monthly export was not sent"),
            _again_and_again(self.tell_if_needed, ATTENTION_EVERY_S, "what needs attention was not told"),
        )

    async def tell_if_needed(self) -> bool:
        """Write about alarms that stand for a while and were not told yet, or that all are over; whether a mail left.

        Raises `MailError`, `StoreError`; it is tried again as long after as any next mail.
        """
        setup, now, state = await self.book.setup(), self._clock.utc(), self._inbox.state
        if not setup.attention:
            self._told = AttentionTold()
            return False
        told, is_due = attention_due(state.alarms, self._told, now)
        if not is_due:
            self._told = told
            return False
        self._told = attrs.evolve(self._told, at=now)
        await self._send(setup, *attention_letter(state, now))
        self._told = told
        return True

    async def send_if_due(self) -> str | None:
        """The month that was sent, if one was due. Raises `MailError`, `StoreError`."""
        setup = await self.book.setup()
        month = due_month(self._clock.utc().astimezone(self._zone()), await self.book.sent_month())
        if not setup.enabled or month is None:
            return None
        first = date.fromisoformat(f"{month}-01")
        count, energy_wh, content = await self._file(first)
        letter = month_letter(self._inbox.state, first, count, energy_wh)
        await self._send(setup, *letter, name=f"sessions_{month}.csv", content=content)
        await self.book.mark_sent(month)
        log.info("the export of %s was sent", month)
        return month

    async def test(self) -> str | None:
        """Why a test message could not be sent; None when it was."""
        try:
            await self._send(await self.book.setup(), *trial_letter(self._inbox.state))
        except MailError as error:
            return str(error)
        return None

    async def _send(self, setup: MailSetup, subject: str, text: str, *, name: str = "", content: str = "") -> None:
        site = self._inbox.state.site.system.name
        mail = message(setup, f"{site}: {subject}", text, self._clock.utc(), name=name, content=content)
        refused = await asyncio.to_thread(send, setup, await self.book.password(), mail)
        if refused:  # the others have it: to send it again would be to send it to them every hour
            log.warning("the mail server refused %d of %d recipients", len(refused), len(setup.recipients))

    async def _file(self, first: date) -> tuple[int, int, str]:
        """The sessions of the month that began on `first`: how many, their energy, and a line for each."""
        following = (first + timedelta(days=31)).replace(day=1)
        span = [datetime.combine(day, time(), self._zone()) for day in (first, following)]
        count = energy_wh = 0

        async def counted() -> AsyncIterator[Session]:
            nonlocal count, energy_wh
            async for session in self._archive.sessions(span[0], span[1]):
                count, energy_wh = count + 1, energy_wh + session.energy_wh
                yield session

        parts: list[str] = []
        size, state = 0, self._inbox.state
        async for chunk in write_sessions(counted(), state, decimal_comma=has_decimal_comma(state)):
            size += len(chunk)
            if size > MOST_BYTES:
                raise MailError("the export is too large for a mail; take it from the page of sessions")
            parts.append(chunk)
        return count, energy_wh, "".join(parts)

    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self._inbox.state.site.system.time_zone)


async def _again_and_again(work: Callable[[], Awaitable[object]], every_s: float, trouble: str) -> None:
    while True:
        try:
            await work()
        except (MailError, StoreError) as error:
            log.warning("%s: %s", trouble, error)
        await asyncio.sleep(every_s)
