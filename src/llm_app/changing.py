"""What a command changes, the same whether a server runs or not: read, judged by the core, stored, or refused.

`Changes` works on any `Inbox`. A running server answers with its controller; where none runs, `Resting` takes one step
of the core on what is stored. So a command, the API and a page give the same answer to the same input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

import attrs

from llm_adapters.files.badges_csv import MOST_BYTES, parse_badges
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.web.api.configuration import Configuration, read_configuration
from llm_adapters.web.api.exact import Malformed, Wrong, load
from llm_app.faults import Failure, WrongInput
from llm_core import (
    Accounts,
    Answer,
    Badge,
    BadgesEdited,
    Clock,
    ConfigurationReplaced,
    Event,
    Fault,
    Inbox,
    NotSaved,
    NotStored,
    Now,
    Reply,
    Request,
    Save,
    Saved,
    Site,
    SiteError,
    State,
    check,
    normalise,
    recover,
    step,
)

BY = "command line"


class Resting:
    """The core without its loop (port `Inbox`): one request at a time on what the store holds."""

    def __init__(self, state: State, store: SqliteStore, clock: Clock) -> None:
        self.state = state
        self._store = store
        self._clock = clock

    @classmethod
    async def of(cls, store: SqliteStore, accounts: SqliteAccounts, clock: Clock) -> Resting:
        now = Now(clock.monotonic_ms(), clock.utc())
        state, _ = recover(await store.load(), now, factory=await accounts.is_factory())
        return cls(state, store, clock)

    def post(self, event: Event) -> None:
        raise TypeError(f"{event} comes from a running server only")

    async def ask(self, event: Request) -> Answer:
        """The answer, once what it promises is stored. Raises `StoreError`."""
        now = Now(self._clock.monotonic_ms(), self._clock.utc())
        outcome = step(self.state, attrs.evolve(event, request=1), now)
        await self._store.commit([effect.record for effect in outcome.effects if isinstance(effect, Save)])
        self.state = outcome.state
        return next(effect.answer for effect in outcome.effects if isinstance(effect, Reply))


@attrs.frozen
class Changes:
    """The commands that change what is stored. Each raises `WrongInput` with a line for every fault, or `Failure`."""

    inbox: Inbox
    accounts: Accounts
    meter_models: Collection[str]

    async def import_configuration(self, text: bytes) -> str:
        """Replace what the document names, all of it or nothing; tells what could not be brought.

        A user without a password of their own cannot sign in, and a document holds none: users stay as they are.
        """
        state, users = self.inbox.state, await self.accounts.users()
        before = Configuration.of(state.site, tuple(state.badges.values()), users)
        wanted = read_configuration_text(text, before, self.meter_models)
        await self._ask(ConfigurationReplaced(BY, wanted.site, wanted.badges))
        known = {user.name.casefold() for user in users}
        missing = sum(user.name.casefold() not in known for user in wanted.users)
        if not missing:
            return ""
        return f"{missing} users are not there yet: add them with a password by `llm-app user add`"

    async def import_badges(self, data: bytes, *, dry_run: bool = False) -> str:
        """Add or renew the badges of a CSV file, all or none; tells how many."""
        before = self.inbox.state.badges
        badges = _taken(await asyncio.to_thread(parse_badges, data, before))
        if not dry_run:
            await self._ask(BadgesEdited(BY, put=badges))
        return added_message(badges, before.keys(), dry_run=dry_run)

    async def _ask(self, event: ConfigurationReplaced | BadgesEdited) -> None:
        match await self.inbox.ask(event):
            case Saved():
                return
            case NotSaved(faults=faults):
                raise WrongInput(_lines(map(told, faults)))
            case NotStored(reason=reason):
                raise Failure(f"nothing can be stored: {reason}")
            case answer:
                raise TypeError(f"{answer} does not answer a change")


def _taken(badges: tuple[Badge, ...] | NotSaved) -> tuple[Badge, ...]:
    if isinstance(badges, NotSaved):
        raise WrongInput(_lines(fault.text for fault in badges.faults))
    return badges


def refuse_oversized(data: bytes) -> None:
    """A file of badges that no server need be shown. Raises `WrongInput` in the words it would use."""
    if len(data) > MOST_BYTES:
        _taken(parse_badges(data, {}))


def added_message(badges: Iterable[Badge], known: Iterable[str], *, dry_run: bool) -> str:
    keys = {normalise(badge.badge_id) for badge in badges}
    added = len(keys - set(known))
    updated = len(keys) - added
    counted = "1 badge" if added == 1 else f"{added} badges"
    also = f", {updated} updated" if updated else ""
    return f"{counted} {'would be ' if dry_run else ''}added{also}"


def read_configuration_text(
    text: bytes, base: Configuration | None = None, meter_models: Collection[str] = ()
) -> Configuration:
    """The configuration that a document stands for. Raises `WrongInput` with a line for every fault."""
    try:
        wanted = read_configuration(load(text), base or Configuration.of(Site()), meter_models)
        check(wanted.site)
    except (Malformed, Wrong, SiteError) as error:
        raise WrongInput(_lines(map(told, error.faults)) or str(error).replace("The body", "The file")) from error
    return wanted


def told(fault: Fault) -> str:
    return f"{fault.pointer} {fault.text}".strip()


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)
