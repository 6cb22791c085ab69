"""The commands of the core on their way into one station.

Theory of operation
    Two lanes lead to the station. A decrease goes out at once and as an urgent call; the session gives up whatever
    else is out after one more second. Everything else waits its turn in one line, where a newer command for the same
    place supersedes an older one that was not sent yet, and a decrease also one whose call still waits for its turn:
    on the wire nothing older follows it. A raise that has waited until what it was decided on is too old is not sent:
    the core decides anew. Each command ends in exactly one fact for the core:
    `LimitConfirmed`; `LimitRefused` where the station cannot hold it (it said so, or was never told);
    `LimitUnanswered` where nobody knows.

    Stations differ in what they take (`Dialect`). A limit that is refused is offered once, after each boot and for
    each purpose, in every other wording; what is taken then is remembered, and the core told. Where a decrease
    for another connector cuts that short at a slow station, the next limit goes on with those not refused yet. A
    station that may have one level only, without saying so, is offered everything in that one place last.

    A raise that was decided in amps per phase is never given in watts over several phases, of which a car on one phase
    would get all; nor is one that was to end with its lease given without an end. It is tried with nothing, and decided
    anew by who knows what the station takes.

    A first floor is confirmed only when others' profiles above it are gone as well, since it limits nothing beneath
    them. They go one place at a time, so that a charging car is never without a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Protocol, TypeAlias

import attrs

from llm_adapters.ocpp16.memory import Memory, tell_capabilities
from llm_adapters.ocpp16.messages import text
from llm_adapters.ocpp16.profiles import (
    Dialect,
    Payload,
    clear_charging_profile,
    clear_foreign_profiles,
    set_charging_profile,
)
from llm_adapters.ocpp16.rpc import CallRefused, CallTimeout, CallWithdrawn, LinkLost
from llm_core import (
    ClearLimit,
    Clock,
    Inbox,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    Purpose,
    SetLimit,
)

LimitCommand: TypeAlias = SetLimit | ClearLimit
Outcome: TypeAlias = LimitConfirmed | LimitRefused | LimitUnanswered

DEADLINE_S = 10.0
CLEARING_S = 60.0  # for others' profiles, at a first floor, and for other wordings of what was refused
USUAL_MAX_LEVEL = 8
HIGHEST_LEVEL_CLEARED = 20
_WHOLE_AMPS_MA = 1_000
_LIVE = frozenset((Purpose.DEFAULT, Purpose.TRANSACTION))
_NO = ("rejected", "notsupported", "notimplemented", "unknown")


class Call(Protocol):
    """A call to the station; raises as `Session.call` does."""

    async def __call__(
        self,
        action: str,
        payload: Payload,
        *,
        deadline_s: float,
        urgent: bool = False,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Payload: ...


class Unclear(Exception):
    """An answer that says neither yes nor no."""


class LimitWriter:
    """Writes limits into one station over one link and posts what became of each.

    `turn` is held while a command that is not urgent is out, so that a command is known to be sent or not.
    """

    def __init__(self, memory: Memory, call: Call, turn: asyncio.Lock, inbox: Inbox, clock: Clock) -> None:
        self._memory = memory
        self._call = call
        self._turn = turn
        self._inbox = inbox
        self._clock = clock
        self._waiting: list[LimitCommand] = []  # not sent
        self._decreases: asyncio.Queue[SetLimit] = asyncio.Queue()
        self._newest: dict[tuple[int, Purpose], int] = {}  # for each live place the newest decrease
        self._filled = asyncio.Event()
        self._closed = False

    def submit(self, command: LimitCommand) -> None:
        """Take a command; returns at once."""
        if self._closed:
            self._inbox.post(untold(command, "not sent: link lost"))
            return
        for older in [older for older in self._waiting if _supersedes(command, older)]:
            self._waiting.remove(older)
            self._inbox.post(untold(older, "superseded"))
        self._waiting.append(command)
        if isinstance(command, SetLimit) and command.lowers:
            if command.purpose in _LIVE:
                self._newest[command.connector, command.purpose] = command.seq
            self._decreases.put_nowait(command)
        else:
            self._filled.set()

    async def run(self) -> None:
        """Write until cancelled; what is out then is posted as unanswered."""
        async with asyncio.TaskGroup() as writing:
            writing.create_task(self._write_in_turn())
            while True:
                writing.create_task(self._write(await self._decreases.get(), urgent=True))

    def close(self) -> None:
        """Refuse what was not sent, now and later; called once the link is gone and `run` is over."""
        self._closed = True
        for command in self._waiting:
            self._inbox.post(untold(command, "not sent: link lost"))
        self._waiting.clear()

    async def _write_in_turn(self) -> None:
        while not self._closed:
            await self._filled.wait()
            async with self._turn:
                ordinary = (c for c in self._waiting if not (isinstance(c, SetLimit) and c.lowers))
                command = next(ordinary, None)
                if command is None:
                    self._filled.clear()
                else:
                    await self._write(command, urgent=False)

    async def _write(self, command: LimitCommand, *, urgent: bool) -> None:
        """See one command through, to exactly one outcome."""
        if self._closed or command not in self._waiting:
            return  # the link is gone, or it was superseded before its turn came
        self._waiting.remove(command)
        outcome: Outcome = LimitUnanswered(command.station_id, command.connector, command.seq)
        taken = False
        try:
            with contextlib.suppress(TimeoutError, CallTimeout, Unclear):
                async with asyncio.timeout(DEADLINE_S) as deadline:
                    match command:
                        case SetLimit():
                            reason = await self._set(command, urgent, deadline)
                            taken = reason is None
                            if taken and self._may_be_covered(command):
                                deadline.reschedule(asyncio.get_running_loop().time() + CLEARING_S)
                                reason = await self._clear_the_way(command)
                        case ClearLimit():
                            reason = await self._clear(command)
                if reason is None:
                    outcome = LimitConfirmed(command.station_id, command.connector, command.seq)
                else:
                    outcome = LimitRefused(command.station_id, command.connector, command.seq, reason)
        except CallWithdrawn:
            if not taken:  # else it lies there, and only the way above it was not cleared to the end
                outcome = untold(command, "not sent in time" if self._is_newest(command) else "superseded")
        except LinkLost:
            self._closed = True  # what still waits is not sent any more
        finally:
            self._inbox.post(outcome)

    async def _set(self, command: SetLimit, urgent: bool, deadline: asyncio.Timeout) -> str | None:
        """Have the station take the limit, in one wording or another; returns why it did not."""
        memory = self._memory
        if command.purpose is Purpose.DEFAULT and memory.dialect.stacks:
            memory.covered.add(command.connector)
        reason = await self._offer(command, memory.dialect, urgent)
        holds_one = reason is None  # of this purpose, be it of 0 A
        if reason is None:
            memory.refused.pop(command.purpose, None)  # what it refused before was not for its wording
        elif command.purpose not in memory.explored:
            memory.explored.add(command.purpose)  # one command at a time looks for another wording…
            deadline.reschedule(asyncio.get_running_loop().time() + CLEARING_S)
            try:
                taken = await self._in_another_wording(command, urgent)
            except BaseException:
                memory.explored.discard(command.purpose)  # …and where it was cut short, the next one goes on
                raise
            if taken is not None:
                reason = None if taken is command else "taken in another wording: nothing was given"
                holds_one = True
        if holds_one and not memory.dialect.stacks:
            memory.single[command.connector] = command.purpose
        elif reason is None and command.purpose is Purpose.FLOOR:
            memory.floor_lies(command.connector)
        return reason

    async def _in_another_wording(self, command: SetLimit, urgent: bool) -> SetLimit | None:
        """What of the command the station takes in a wording that it has not refused yet; None where it takes none."""
        memory = self._memory
        refused = memory.refused.setdefault(command.purpose, set())
        wordings = other_wordings(command, memory.dialect, unit_known=memory.unit_known)
        for dialect in (wording for wording in wordings if wording not in refused):
            one_level = memory.dialect.stacks and not dialect.stacks
            if one_level and not memory.may_have_one_level:
                return None
            if one_level and self._is_over(command):
                memory.explored.discard(command.purpose)  # that says nothing of levels: the next one goes on here
                return None
            offered = command if _gives_no_more(command, memory.dialect, dialect) else _nothing_of(command)
            if await self._offer(offered, dialect, urgent) is None:
                memory.one_level |= one_level
                memory.speaks(dialect)
                tell_capabilities(memory, self._inbox)
                return offered
            refused.add(dialect)
        return None

    def _is_over(self, command: SetLimit) -> bool:
        """Whether the transaction that a limit was for is known to have ended."""
        connector = self._inbox.state.connectors.get((command.station_id, command.connector))
        if command.transaction_id is None or connector is None:
            return False
        return connector.session is None or connector.session.transaction_id != command.transaction_id

    def _may_be_covered(self, command: SetLimit) -> bool:
        """Whether a profile may lie above this one: where all limits share one place, also one that we wrote before we
        knew. Then no limit holds until that is gone."""
        first_in_one_place = not self._memory.dialect.stacks and self._memory.foreign.get(command.connector) != []
        return command.purpose is Purpose.FLOOR or first_in_one_place

    async def _clear_the_way(self, command: SetLimit) -> str | None:
        """Clear other profiles from above a limit, once for each connector; after a time-out it goes on there."""
        memory, connector = self._memory, command.connector
        if command.purpose is Purpose.FLOOR:
            memory.floors[connector] = command
        if connector not in memory.foreign:
            level = USUAL_MAX_LEVEL if memory.max_level is None else min(memory.max_level, HIGHEST_LEVEL_CLEARED)
            memory.foreign[connector] = list(clear_foreign_profiles(connector, level, memory.dialect))
        places = memory.foreign[connector]
        cleared = False
        while places:
            place = places[0]
            if await self._ask(command, "ClearChargingProfile", place) is None:
                cleared = True
                memory.clears_broadly.add(connector)
            if place in places:  # a second floor, on its way at the same time, may have been here as well
                places.remove(place)
        if not cleared:
            return None
        # A station that reads a clear too broadly may have dropped this one with the rest.
        return await self._offer(command, memory.dialect, urgent=False)

    async def _clear(self, command: ClearLimit) -> str | None:
        """Have the live limits cleared; where the floor shared its place with one, or may have lost it, it is written
        again."""
        memory = self._memory
        if memory.dialect.stacks and self._has_no_floor_beneath(command):
            reason = await self._lay_floor(command.connector)
            if reason is not None:
                return reason
        was_lost = command.connector in memory.floor_lost
        if command.connector in memory.clears_broadly:
            memory.floor_lost.add(command.connector)  # also where no answer comes
        reason = await self._ask(command, "ClearChargingProfile", clear_charging_profile(command, memory.dialect))
        if reason is not None and not was_lost:
            memory.floor_lost.discard(command.connector)  # nothing was cleared
        if reason not in (None, "unknown"):  # "Unknown": there was nothing to clear
            return reason
        if memory.dialect.stacks:
            return await self._lay_floor(command.connector) if command.connector in memory.floor_lost else None
        lies = memory.single.get(command.connector)
        if lies is Purpose.FLOOR or (lies is not None and command.purpose not in (None, lies)):
            return None
        floor = memory.floors.get(command.connector)
        if floor is None:
            return "no floor to put in its place"
        reason = await self._offer(floor, memory.dialect, urgent=False)
        if reason is None:
            memory.single[command.connector] = Purpose.FLOOR
        return reason

    def _has_no_floor_beneath(self, command: ClearLimit) -> bool:
        """Some stations keep one profile of a purpose whatever they say of levels: there the live default has taken the
        floor's place, and once it is cleared nothing would limit the next car. So the floor is laid first. So it is
        where a live limit was written into its place while the station was thought to have one only."""
        memory = self._memory
        covered = command.connector in memory.covered and command.purpose is not Purpose.TRANSACTION
        return covered or memory.single.get(command.connector) in _LIVE

    async def _lay_floor(self, connector: int) -> str | None:
        """Write the floor again where limits stack; returns why it does not lie there."""
        memory = self._memory
        floor = memory.floors.get(connector)
        if floor is None:
            return None  # one is on its way: it is the first that the core sends
        reason = await self._offer(floor, memory.dialect, urgent=False)
        if reason is None:
            memory.covered.discard(connector)
            memory.floor_lies(connector)
        return reason

    async def _offer(self, command: SetLimit, dialect: Dialect, urgent: bool) -> str | None:
        payload = set_charging_profile(command, dialect, self._memory.utc(self._clock))
        return await self._ask(command, "SetChargingProfile", payload, urgent=urgent)

    def _is_wanted(self, command: LimitCommand) -> bool:
        too_late = isinstance(command, SetLimit) and command.is_too_late(self._clock.monotonic_ms())
        return not too_late and self._is_newest(command)

    def _is_newest(self, command: LimitCommand) -> bool:
        """Whether no decrease for any of its places has been asked for since; one that has may have passed it."""
        return all(self._newest.get((command.connector, place), 0) <= command.seq for place in _places(command))

    async def _ask(self, command: LimitCommand, action: str, payload: Payload, *, urgent: bool = False) -> str | None:
        """None where the station accepts, else the word or error it refuses with; `Unclear` where it does neither."""
        wanted = partial(self._is_wanted, command)
        try:
            answer = await self._call(action, payload, deadline_s=DEADLINE_S, urgent=urgent, wanted=wanted)
        except CallRefused as refusal:
            return text(str(refusal)) or "refused"
        status = text(answer.get("status")).lower()
        if status == "accepted":
            return None
        if status not in _NO:
            raise Unclear
        return status


def untold(command: LimitCommand, reason: str) -> LimitRefused:
    """The station does not hold `command`, because it never heard of it."""
    return LimitRefused(command.station_id, command.connector, command.seq, reason, untold=True)


def other_wordings(command: SetLimit, dialect: Dialect, *, unit_known: bool) -> Iterator[Dialect]:
    """The dialects in which a refused `command` may still be taken, those nearest to `dialect` first; those that do not
    stack come after all that do. A floor is the same in both."""
    permanent = command.lease_ms is None
    whole = command.limit_ma % _WHOLE_AMPS_MA == command.then_ma % _WHOLE_AMPS_MA == 0
    choices = product(
        (dialect.in_watts,) if unit_known else (dialect.in_watts, not dialect.in_watts),
        (True, False) if permanent and dialect.takes_relative else (dialect.takes_relative,),
        (True, False) if not permanent and dialect.takes_periods else (dialect.takes_periods,),
        (dialect.step_ma,) if whole else (dialect.step_ma, _WHOLE_AMPS_MA),
        (True, False) if dialect.stacks and command.purpose is not Purpose.FLOOR else (dialect.stacks,),
    )
    wordings = {
        Dialect(in_watts=in_watts, takes_relative=relative, takes_periods=periods, step_ma=step_ma, stacks=stacks)
        for in_watts, relative, periods, step_ma, stacks in choices
    }
    nearest_first = sorted(wordings - {dialect}, key=lambda other: (_changes(other, dialect), str(other)))
    yield from sorted(nearest_first, key=lambda other: other.stacks != dialect.stacks)


def _gives_no_more(command: SetLimit, meant: Dialect, wording: Dialect) -> bool:
    """Whether in this wording no phase gets more, nor for longer, than was decided when `meant` was thought to be
    spoken."""
    shares_watts = wording.in_watts and not meant.in_watts and command.phases > 1
    has_no_end = command.lease_ms is not None and meant.takes_periods and not wording.takes_periods
    return command.lowers or not (shares_watts or has_no_end)


def _nothing_of(command: SetLimit) -> SetLimit:
    return attrs.evolve(command, limit_ma=0, then_ma=0)


def _changes(one: Dialect, other: Dialect) -> int:
    return sum(a != b for a, b in zip(attrs.astuple(one), attrs.astuple(other), strict=True))


def _supersedes(newer: LimitCommand, older: LimitCommand) -> bool:
    return newer.connector == older.connector and _places(older) <= _places(newer)


def _places(command: LimitCommand) -> frozenset[Purpose]:
    return _LIVE if command.purpose is None else frozenset((command.purpose,))
