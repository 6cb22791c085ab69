"""Badges that wait for the CPO's verdict: each is answered once, within 5 s, with a verdict or with none."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from llm_adapters.ocpp16.rpc import CallFailed, Session
from llm_adapters.ocpp16.uplink.wording import verdict_of
from llm_core import AskCpo, CpoAnswered, Inbox

Payload: TypeAlias = dict[str, Any]

VERDICT_S = 5.0
MOST_KNOWN = 1_000


class Judging:
    """The asks of one station."""

    def __init__(self, station_id: str, inbox: Inbox) -> None:
        self._station_id = station_id
        self._inbox = inbox
        self._waiting: dict[int, AskCpo] = {}
        self._held: set[int] = set()  # those of them that wait for a link
        self._in_vain = False  # one has, and nobody does any more until there is one
        self._known: dict[str, Payload] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, command: AskCpo, session: Session | None, *, started: bool, may_come: bool = False) -> None:
        """Have the CPO judge a badge. `session` None: there is nobody to ask, or (`may_come`) not yet. `started`: the
        start itself asks, and goes out now."""
        if session is None and (not may_come or self._in_vain):
            self._answer(command)
            return
        self._waiting[command.ask] = command
        asyncio.get_running_loop().call_later(VERDICT_S, self._give_up, command.ask)
        if session is None:
            self._held.add(command.ask)
        elif not started:
            self._put(session, command)

    def reached(self, session: Session) -> None:
        """There is somebody to ask now."""
        held, self._held, self._in_vain = self._held, set(), False
        for number in sorted(held & self._waiting.keys()):
            self._put(session, self._waiting[number])

    def _put(self, session: Session, command: AskCpo) -> None:
        task = asyncio.create_task(self._judge(session, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, session: Session, command: AskCpo) -> None:
        try:
            answer = await session.call("Authorize", {"idTag": command.id_tag}, deadline_s=VERDICT_S)
        except CallFailed:
            self._give_up(command.ask)
            return
        if self._waiting.pop(command.ask, None) is None:
            return
        self.learn(command.id_tag, answer)
        verdict, expires_at = verdict_of(answer)
        self._inbox.post(
            CpoAnswered(self._station_id, command.id_tag, verdict, command.ask, command.transaction_id, expires_at)
        )

    def answered(self, id_tag: str, transaction_id: int | None, answer: Payload) -> None:
        """The CPO has a start (of this transaction) or a stop (None) with this badge, and says so of it."""
        self.learn(id_tag, answer)
        verdict, expires_at = verdict_of(answer)
        if not id_tag or (verdict is None and transaction_id is None):
            return
        for number in [n for n, command in self._waiting.items() if command.transaction_id == transaction_id]:
            del self._waiting[number]
        self._inbox.post(CpoAnswered(self._station_id, id_tag, verdict, None, transaction_id, expires_at))

    def learn(self, id_tag: str, answer: Payload) -> None:
        """What else the CPO says of a badge: its expiry, its parent."""
        info = answer.get("idTagInfo")
        if not isinstance(info, dict) or not id_tag:
            return
        self._known.pop(id_tag, None)
        more = {name: info[name] for name in ("expiryDate", "parentIdTag") if isinstance(info.get(name), str)}
        if more:
            self._known[id_tag] = more
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def known(self, id_tag: str) -> Payload:
        """What else the CPO said of it last."""
        return self._known.get(id_tag, {})

    def forget(self) -> None:
        self._known.clear()

    def give_up(self) -> None:
        """Nobody is there to ask any more."""
        for number in list(self._waiting):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        command = self._waiting.pop(number, None)
        if command is not None:
            self._in_vain = self._in_vain or number in self._held
            self._held.discard(number)
            self._answer(command)

    def _answer(self, command: AskCpo) -> None:
        self._inbox.post(CpoAnswered(self._station_id, command.id_tag, None, command.ask))
