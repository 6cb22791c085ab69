"""The calling side of an OCPP-J link: one call outstanding at a time, transaction messages never lost (OCPP-J §4.1.1).

Sans-I/O: frames go to the outbox it is given, answers come in through `answered`, deadlines are found by `advance`.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

Payload = dict[str, Any]
CALL_TIMEOUT_S = 30.0


class Refused(Exception):
    """A CALLERROR to send or one received: `code` and a description."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(description)
        self.code = code


@attrs.define(eq=False)
class Call:
    """`make` builds the payload when it is sent: a StopTransaction must wait for its transaction's id.

    `done` gets the answer, or None for an error, a timeout or a lost link. A `durable` call survives all of these;
    an `early` one may go out before the boot is accepted.
    """

    action: str
    make: Callable[[], Payload]
    done: Callable[[Payload | None], None]
    durable: bool = False
    early: bool = False
    failures: int = 0
    not_before: float = -math.inf


class CallQueue:
    """Calls in order of asking, one on the wire at a time."""

    def __init__(self, name: str, outbox: list[str]) -> None:
        self._outbox = outbox
        self.attempts = 3
        self.retry_s = 10.0
        self._name = name
        self._count = 0
        self._waiting: deque[Call] = deque()
        self._sent: tuple[str, float, Call] | None = None

    @property
    def durable_waiting(self) -> int:
        """Transaction messages that the central system has not acknowledged."""
        sent = 1 if self._sent is not None and self._sent[2].durable else 0
        return sent + sum(call.durable for call in self._waiting)

    def add(self, call: Call) -> None:
        self._waiting.append(call)

    def lost(self) -> None:
        """The link is gone: durable calls wait for the next one, the others have failed."""
        calls = [self._sent[2]] if self._sent is not None else []
        calls += self._waiting
        self._sent = None
        self._outbox.clear()
        self._waiting = deque(call for call in calls if call.durable)
        for call in calls:
            if not call.durable:
                call.done(None)

    def forget(self) -> None:
        """Power is gone and nothing was kept."""
        self._sent = None
        self._outbox.clear()
        self._waiting.clear()

    def answered(self, call_id: str, payload: Payload | None, t: float) -> None:
        """An answer or (None) an error for a call; an unknown id is dropped."""
        if self._sent is None or self._sent[0] != call_id:
            return
        call, self._sent = self._sent[2], None
        if payload is None and call.durable and call.failures + 1 < self.attempts:
            call.failures += 1
            call.not_before = t + self.retry_s * call.failures
            self._waiting.appendleft(call)
            return
        call.done(payload)

    def pump(self, t: float, accepted: bool) -> None:
        """Fail what is overdue, then send the next call that may go out."""
        if self._sent is not None and t >= self._sent[1] + CALL_TIMEOUT_S:
            self.answered(self._sent[0], None, t)
        if self._sent is not None:
            return
        for call in self._waiting:
            if not (accepted or call.early):
                continue
            if call.not_before > t:
                return
            self._waiting.remove(call)
            self._count += 1
            call_id = f"{self._name}-{self._count}"
            self._sent = (call_id, t, call)
            self._outbox.append(json.dumps([2, call_id, call.action, call.make()]))
            return

    @property
    def due(self) -> float:
        """When `pump` next has something to do by itself."""
        if self._sent is not None:
            return self._sent[1] + CALL_TIMEOUT_S
        return min((c.not_before for c in self._waiting if c.not_before > -math.inf), default=math.inf)
