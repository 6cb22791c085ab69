"""One OCPP-J 1.6 session over one link, to a station below or a CPO above.

Theory of operation
    Five tasks live as long as the link does:

    - the *reader* takes frames off the link. An answer goes to the call that waits for it, at once; anything
      else goes to the inbox. It runs no handler that could wait, so an answer is read while a handler works, and
      a handler may itself call over the same session. Only what is answered `at_once` it answers itself, as long
      as nothing waits before it: readings come so often that handing each over costs as much as taking it.
    - the *worker* takes the inbox in order: decode, handle, answer. It is the only one that decodes what is
      no answer, so a backlog is held as raw text and bounded in bytes.
    - the *caller* sends our calls one at a time, the urgent ones first, each kind in the order it came, and
      waits for each answer.
    - the *keeper* pings a silent link and ends one that gives no sign of life.
    - the *watch* ends a link whose peer takes nothing of what is sent.

    A flood of calls is back-pressured, not closed: at `waiting_calls` or `waiting_bytes` the reader stops and
    TCP slows the peer down. A station that empties its offline queue without waiting for answers would flood
    again after every reconnect, so closing would never end it. A flood of answers is dropped as it comes.

    Whoever finds that the link is gone calls `_end`, which fails every waiting call there and then; the
    exception it returns takes the five tasks down. Time is the loop's time only.
Source: OCPP-J 1.6 §4.1.1 (one call at a time in each direction), §4.2 (messages), §5.2 (pings).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeAlias, assert_never

import attrs
from websockets.exceptions import ConnectionClosed

from llm_adapters.ocpp16 import frames
from llm_adapters.ocpp16.frames import (
    MAX_FRAME_BYTES,
    Answer,
    Call,
    CallError,
    CallResult,
    ErrorCode,
    Malformed,
    Payload,
)

_log = logging.getLogger(__name__)

_CLOSE_NORMAL = 1000
_CLOSE_POLICY = 1008
_ANSWERS_AT_A_TIME = 64

Handler: TypeAlias = Callable[[str, Payload], Awaitable[Payload]]
"""What answers the peer's calls: action and payload in, payload out; raises `Refuse` for a CALLERROR."""


class Link(Protocol):
    """A connection that carries whole frames; raises `ConnectionClosed` once it is gone.

    A websockets connection is one, opened with `ping_interval=None` (the session pings by itself, through
    `link.ping()`, where the link has it), `compression=None` and a `max_size`.
    """

    async def send(self, message: str, /) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int, reason: str, /) -> None: ...


@attrs.frozen
class Bounds:
    """What one session may cost and how long it waits: bytes of frames, counts, seconds of loop time.

    The defaults are for an authenticated peer; before, `frame_bytes` is `MAX_FRAME_BYTES_BEFORE_AUTHENTICATION`.
    """

    frame_bytes: int = MAX_FRAME_BYTES
    waiting_calls: int = 64
    waiting_bytes: int = MAX_FRAME_BYTES
    remembered_answers: int = 16
    patience_s: float = 1.0
    send_s: float = 10.0
    ping_after_s: float = 20.0
    pong_within_s: float = 20.0
    close_s: float = 2.0


@attrs.frozen
class Stats:
    """What a session has seen so far: frames received, frames that are no message, answers nobody waited
    for, calls of the peer answered with CALLERROR, calls of ours given up without an answer."""

    received: int
    malformed: int
    unknown_results: int
    refused: int
    abandoned: int


class CallFailed(Exception):
    """A call got no result; one of the five below says why."""


class CallRefused(CallFailed):
    """The peer answered CALLERROR, or an answer that is no message (`FormationViolation`)."""

    def __init__(self, code: str, description: str, details: Payload, *, garbled: bool = False) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.garbled = garbled  # the answer was no message, so nobody knows what the peer did
        self.description = description
        self.details = details


class CallTimeout(CallFailed):
    """No answer within the deadline. The peer may have acted on the call all the same."""


class CallAbandoned(CallTimeout):
    """Given up before its deadline, because an urgent call could not wait any longer."""


class CallWithdrawn(CallFailed):
    """It was not wanted any more when its turn came: the peer was not told."""


class LinkLost(CallFailed):
    """The link ended before the answer came. The peer may have acted on the call all the same."""


class Refuse(Exception):
    """Raised by a handler: answer this call with CALLERROR `code`; the link stays up."""

    def __init__(self, code: ErrorCode, description: str = "") -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Session:
    """Serves the peer's calls through `handle` and makes ours, until the link ends.

    Start `run()` as a task, inside the event loop the session was made in; cancel that task to end the
    session and close the link. Every task of the session has finished when `run()` returns.
    """

    def __init__(
        self,
        link: Link,
        handle: Handler,
        bounds: Bounds | None = None,
        *,
        id_prefix: str = "",
        at_once: frozenset[str] = frozenset(),
    ) -> None:
        """`id_prefix` begins the ids of our calls; by default it is random, so that no two sessions share ids.

        `at_once` are the actions for which `handle` never waits for anything.
        """
        self._bounds = bounds or Bounds()
        self.last_heard = asyncio.get_running_loop().time()
        """When the peer last gave a sign of life, in loop time."""
        self._link = link
        self._handle = handle
        self._at_once = at_once
        self._id_prefix = id_prefix or secrets.token_hex(4)
        self._inbox = _Inbox(self._bounds)
        self._line = _Line()
        self._out: _Outgoing | None = None
        self._answered: dict[tuple[str, int], str] = {}
        self._ended: _End | None = None
        self._sending: dict[int, float] = {}  # since when each text waits to be taken
        self._sent = asyncio.Event()
        self._sends = 0
        self._calls = 0
        self._received = self._malformed = self._unknown_results = self._refused = self._abandoned = 0

    @property
    def stats(self) -> Stats:
        return Stats(self._received, self._malformed, self._unknown_results, self._refused, self._abandoned)

    async def run(self) -> str:
        """Serve the link until it ends; returns why it did, in a few words for a log."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in (self._read, self._work, self._place_calls, self._keep_alive, self._watch_sends):
                    tasks.create_task(part())
        except* LinkLost as losses:
            _log.debug("link ended: %s", losses.exceptions[0])
        finally:
            lost = self._end("ended by its owner")
            await self._close()
        return str(lost)

    async def call(
        self,
        action: str,
        payload: Payload,
        *,
        deadline_s: float,
        urgent: bool = False,
        unique_id: str | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """The peer's result for `action`, within `deadline_s` of now, waiting for its turn included.

        At most one call is out at a time. An urgent one passes those that wait and gives the one that is out
        one more second; then that one is given up and its late answer dropped. Urgent calls give each other
        up in the same way, so whoever has several at once should send the latest only. `unique_id` is for a
        call that was made before, on an earlier link, so that the peer can tell. `wanted` is asked when its turn has
        come: what an urgent call has passed may have become wrong by it.
        Raises `CallRefused`, `CallTimeout`, `CallAbandoned`, `CallWithdrawn` or `LinkLost`.
        """
        if self._ended is not None:
            raise LinkLost(self._ended.why)
        self._calls += 1
        unique_id = unique_id or f"{self._id_prefix}-{self._calls}"
        outcome: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        text = frames.encode_call(unique_id, action, payload)
        self._line.join(_Outgoing(unique_id, text, outcome, wanted), urgent)
        self._hurry()
        try:
            async with asyncio.timeout(deadline_s):
                answer = await outcome
        except TimeoutError:
            self._abandoned += 1
            raise CallTimeout(f"{action}: no answer within {deadline_s:g} s") from None
        match answer:
            case CallResult():
                return answer.payload
            case CallError():
                raise CallRefused(answer.code, answer.description, answer.details)
            case Malformed():
                raise CallRefused(ErrorCode.FORMATION_VIOLATION.value, answer.reason, {}, garbled=True)
            case CallFailed():
                raise answer
            case _:
                assert_never(answer)

    async def _read(self) -> None:
        while True:
            try:
                frame = await self._link.recv()
            except ConnectionClosed as closed:
                raise self._end(str(closed)) from None
            self.last_heard = asyncio.get_running_loop().time()
            self._received += 1
            if frames.is_answer(frame) or (self._inbox.is_idle and frames.action_of(frame) in self._at_once):
                await self._serve(frame)
                if self._received % _ANSWERS_AT_A_TIME == 0:
                    await asyncio.sleep(0)  # recv() does not yield while frames are buffered
            else:
                await self._inbox.put(frame)

    async def _work(self) -> None:
        while True:
            await self._serve(await self._inbox.get())

    async def _serve(self, frame: str | bytes) -> None:
        message = frames.decode(frame, self._bounds.frame_bytes)
        match message:
            case Call():
                await self._send(await self._answer(message, hash(frame)))
            case CallResult() | CallError():
                self._settle(message)
            case Malformed(reason, unique_id, is_answer):
                self._malformed += 1
                if is_answer:
                    self._settle(message)  # an answer is never answered (§4.2.3)
                else:
                    error = frames.encode_error(
                        frames.NO_ID if unique_id is None else unique_id, ErrorCode.FORMATION_VIOLATION, reason
                    )
                    await self._send(error)
            case _:
                assert_never(message)

    async def _answer(self, call: Call, frame_hash: int) -> str:
        """The answer to `call`; a call that is repeated gets the answer it had, and nothing acts twice.

        Repeated is what comes under its id once more word for word: some peers give one id to every call. Only results
        are remembered: a call that failed has not acted, and may work when it is tried again.
        """
        repeated = (call.unique_id, frame_hash)
        if repeated in self._answered:
            return self._answered[repeated]
        try:
            text = frames.encode_result(call.unique_id, await self._handle(call.action, call.payload))
        except Refuse as refusal:
            self._refused += 1
            return frames.encode_error(call.unique_id, refusal.code, refusal.description)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the session ends; any other cancellation is something the handler waited for
            self._refused += 1
            # Where it failed, not what it said: the message of an exception may quote a badge or a key.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("%r was not handled: %s\n%s", call.action, type(error).__name__, where)
            return frames.encode_error(call.unique_id, ErrorCode.INTERNAL_ERROR, "not handled")
        if len(self._answered) >= self._bounds.remembered_answers:
            del self._answered[next(iter(self._answered))]
        self._answered[repeated] = text
        return text

    def _settle(self, answer: Answer | Malformed) -> None:
        out = self._out
        if out is not None and out.unique_id == answer.unique_id and not out.outcome.done():
            out.outcome.set_result(answer)
        elif not isinstance(answer, Malformed):
            self._unknown_results += 1

    async def _place_calls(self) -> None:
        while True:
            self._out = await self._line.next()
            self._hurry()
            await self._send(self._out.text)
            await asyncio.wait((self._out.outcome,))
            self._out = None

    async def _keep_alive(self) -> None:
        ping: Callable[[], Awaitable[Awaitable[float]]] | None = getattr(self._link, "ping", None)
        if ping is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            silent_s = loop.time() - self.last_heard
            if silent_s < self._bounds.ping_after_s:
                await asyncio.sleep(self._bounds.ping_after_s - silent_s)
                continue
            heard_before = self.last_heard
            try:
                async with asyncio.timeout(self._bounds.pong_within_s):
                    await (await ping())
                self.last_heard = loop.time()
            except TimeoutError:
                # Some stations never pong: any message since the ping will do.
                if self.last_heard == heard_before:
                    raise self._end("silent, and no answer to a ping", _CLOSE_POLICY) from None
            except ConnectionClosed as closed:
                raise self._end(str(closed)) from None

    def _hurry(self) -> None:
        """Set the end of patience for the call that is out, once, when an urgent one waits behind it."""
        out = self._out
        if out is not None and not out.is_hurried and self._line.urgent_waits():
            out.is_hurried = True
            asyncio.get_running_loop().call_later(self._bounds.patience_s, self._give_up, out)

    def _give_up(self, out: _Outgoing) -> None:
        if not self._line.urgent_waits():
            out.is_hurried = False
        elif not out.outcome.done():
            self._abandoned += 1
            out.outcome.set_result(CallAbandoned("given up for an urgent call"))

    async def _send(self, text: str) -> None:
        self._sends += 1
        number = self._sends
        self._sending[number] = asyncio.get_running_loop().time()
        self._sent.set()
        try:
            await self._link.send(text)
        except ConnectionClosed as closed:
            raise self._end(str(closed)) from None
        finally:
            del self._sending[number]

    async def _watch_sends(self) -> None:
        """End a link whose peer does not read for `send_s`. Looks once in so long: most sends take no time at all."""
        loop = asyncio.get_running_loop()
        while True:
            await self._sent.wait()
            oldest = min(self._sending.values(), default=loop.time())
            left_s = oldest + self._bounds.send_s - loop.time()
            if left_s <= 0:
                raise self._end("the peer does not read", _CLOSE_POLICY)
            await asyncio.sleep(left_s)
            if not self._sending:
                self._sent.clear()

    def _end(self, why: str, code: int = _CLOSE_NORMAL) -> LinkLost:
        """Fail every call that waits, at once; the first reason given is the one that stays."""
        if self._ended is None:
            self._ended = _End(why, code)
            for outgoing in (*self._line, *((self._out,) if self._out else ())):
                if not outgoing.outcome.done():
                    outgoing.outcome.set_result(LinkLost(why))
        return LinkLost(self._ended.why)

    async def _close(self) -> None:
        """Close the link; a peer that does not take part in that is cut off."""
        code = self._ended.code if self._ended else _CLOSE_NORMAL
        try:
            async with asyncio.timeout(self._bounds.close_s):
                await self._link.close(code, "")
        except TimeoutError:
            # websockets waits without a deadline for a peer that reads nothing, so close() alone may hang.
            transport: asyncio.WriteTransport | None = getattr(self._link, "transport", None)
            if transport is not None:
                transport.abort()


_Outcome: TypeAlias = Answer | Malformed | CallFailed


@attrs.frozen
class _End:
    why: str
    code: int


@attrs.define(eq=False)
class _Outgoing:
    """A call of ours, from the moment it joins the line."""

    unique_id: str
    text: str
    outcome: asyncio.Future[_Outcome]
    wanted: Callable[[], bool]
    is_hurried: bool = False


class _Line:
    """Our calls that wait for their turn: urgent ones first, each kind in the order it came."""

    def __init__(self) -> None:
        self._urgent: deque[_Outgoing] = deque()
        self._ordinary: deque[_Outgoing] = deque()
        self._joined = asyncio.Event()

    def __iter__(self) -> Iterator[_Outgoing]:
        yield from self._urgent
        yield from self._ordinary

    def join(self, outgoing: _Outgoing, urgent: bool) -> None:
        (self._urgent if urgent else self._ordinary).append(outgoing)
        self._joined.set()

    def urgent_waits(self) -> bool:
        return any(not outgoing.outcome.done() for outgoing in self._urgent)

    async def next(self) -> _Outgoing:
        """The next call whose caller still waits for it."""
        while True:
            while waiting := self._urgent or self._ordinary:
                outgoing = waiting.popleft()
                if outgoing.outcome.done():
                    continue
                if outgoing.wanted():
                    return outgoing
                outgoing.outcome.set_result(CallWithdrawn("not wanted any more"))
            self._joined.clear()
            await self._joined.wait()


class _Inbox:
    """Frames that wait for the worker: `put` waits while they are too many or too large together.

    One reader puts, one worker gets. A single frame is always let in, whatever its size.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._frames: deque[str | bytes] = deque()
        self._chars = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._waits = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and the worker waits for something."""
        return self._waits and not self._frames

    async def put(self, frame: str | bytes) -> None:
        while self._frames and not self._has_room(frame):
            self._emptied.clear()
            await self._emptied.wait()
        self._frames.append(frame)
        self._chars += len(frame)
        self._filled.set()

    async def get(self) -> str | bytes:
        while not self._frames:
            self._filled.clear()
            self._waits = True
            await self._filled.wait()
        self._waits = False
        frame = self._frames.popleft()
        self._chars -= len(frame)
        self._emptied.set()
        return frame

    def _has_room(self, frame: str | bytes) -> bool:
        return len(self._frames) < self._bounds.waiting_calls and self._chars + len(frame) <= self._bounds.waiting_bytes
