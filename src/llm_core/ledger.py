"""What a connector may hold: the entitlement ledger.

Theory of operation
-------------------
A limit that was sent is not one that the station holds, and one that it holds is not yet one that the car follows.
A station keeps up to three limits for a connector (`Purpose`). For each we keep the one it acknowledged last and
every later one that it may or may not have received; a higher value leaves the books only when a lower one was
acknowledged *and* the car has had `FOLLOW_MS` to follow it (IEC 61851-1 gives it 5 s).

What lies at a station from before we knew it (a boot, our own restart) is `inherited`: it counts until the floor is
acknowledged and the live profiles are acknowledged as replaced or cleared.

A leased limit falls to `then_ma` when its lease and a margin have passed since it was *sent*, acknowledged or not,
and only on stations whose clock is known to agree; else it counts for ever. A lease never rises when it runs out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import assert_never

import attrs

from llm_core.effects import ClearLimit, Purpose, SetLimit

FOLLOW_MS = 6_000
LEASE_MARGIN_MS = 30_000
CLOCK_MS = 10_000  # so much earlier than we think a lease may be over on a clock that agrees
NOBODYS_SEQ = 0  # no answer ever names it
MOST_OPEN = 4
NEVER_MS = 1 << 62
LIVE = (Purpose.DEFAULT, Purpose.TRANSACTION)


@attrs.frozen
class Held:
    """One limit as it may lie in a station. `limit_ma` None: the place is empty (cleared)."""

    seq: int
    limit_ma: int | None
    then_ma: int
    sent_ms: int
    lease_ms: int | None
    transaction_id: int | None = None
    spread: int = 1  # in watts, over so many phases: each of them may get it all, or this part of it

    def most_ma(self, now_ms: int, decays: bool) -> int:
        """The most this gives at `now_ms` or later."""
        if self.limit_ma is None:
            return 0
        if decays and self.is_over(now_ms):
            return self.then_ma
        return self.limit_ma

    def least_ma(self, now_ms: int) -> int:
        """The least that the station may have fallen to by `now_ms`, if it holds this; several in one give nothing."""
        if self.seq == NOBODYS_SEQ:
            return 0
        if self.lease_ms is not None and now_ms >= self.sent_ms + self.lease_ms - CLOCK_MS:
            return min(self.then_ma, self.limit_ma or 0)
        return self.limit_ma or 0

    @property
    def left_ma(self) -> int:
        """What this gives when nothing more is heard."""
        if self.limit_ma is None:
            return 0
        return self.limit_ma if self.lease_ms is None else self.then_ma

    def is_over(self, now_ms: int) -> bool:
        return self.lease_ms is not None and now_ms >= self.sent_ms + self.lease_ms + LEASE_MARGIN_MS


@attrs.frozen
class Slot:
    """One place for a limit: the last acknowledged, and later ones whose fate is open."""

    acknowledged: Held | None = None
    open: tuple[Held, ...] = ()

    def candidates(self) -> Iterator[Held]:
        if self.acknowledged is not None:
            yield self.acknowledged
        yield from self.open

    def most_ma(self, now_ms: int, decays: bool) -> int:
        most_ma = self.acknowledged.most_ma(now_ms, decays) if self.acknowledged is not None else 0
        for held in self.open:
            most_ma = max(most_ma, held.most_ma(now_ms, decays))
        return most_ma

    def left_ma(self) -> int:
        """The most that this gives for ever: last periods, and limits without a lease."""
        return max((held.left_ma for held in self.candidates()), default=0)


@attrs.frozen
class Inherited:
    """What a station may hold from before: `limit_ma` until `until_ms` (None: for ever), `then_ma` afterwards."""

    limit_ma: int
    then_ma: int
    until_ms: int | None


@attrs.frozen
class Trail:
    """What the car may still draw of an older, higher limit, and until when."""

    limit_ma: int
    until_ms: int


@attrs.frozen
class Ledger:
    """The books of one connector. Every change returns new books."""

    inherited: Inherited | None
    floor: Slot = Slot()
    default: Slot = Slot()
    transaction: Slot = Slot()
    trails: tuple[Trail, ...] = ()
    in_flight: int | None = None  # the one command that waits for its answer
    in_flight_ms: int = 0
    refused_ms: int | None = None  # when a command was last refused or unanswered: retries wait for it
    refusals: int = 0
    zero_refused_ms: int | None = None  # when the station last refused a live limit of 0, and…
    zero_refusals: int = 0  # …how often in a row, with no other live limit refused in between
    floor_refused_ms: int | None = None  # when it last refused the floor, none having been taken since…
    floor_refused_ma: int = 0  # …and what that was

    def held_ma(self, now_ms: int, decays: bool) -> int:
        """The largest limit that the connector may offer now, as far as anyone can know."""
        return max(self.by_this_car_ma(now_ms, decays), self.by_any_car_ma(now_ms, decays))

    def by_this_car_ma(self, now_ms: int, decays: bool) -> int:
        """The part of it that ends with the transaction, or is still being followed down: on this car's phases."""
        if now_ms < self._nothing_ends_before_ms:
            return self._by_this_car_as_sent_ma
        return self._by_this_car_ma(now_ms, decays)

    def by_any_car_ma(self, now_ms: int, decays: bool) -> int:
        """The part that the next car gets as well, whatever phases it uses."""
        if now_ms < self._nothing_ends_before_ms:
            return self._by_any_car_as_sent_ma
        return self._by_any_car_ma(now_ms, decays)

    @cached_property
    def _nothing_ends_before_ms(self) -> int:
        """Until then the books say the same at every tick: no lease is over, no trail ends, nothing inherited does."""
        ends = [trail.until_ms for trail in self.trails]
        helds = (*self.floor.candidates(), *self.live())
        ends += [held.sent_ms + held.lease_ms + LEASE_MARGIN_MS for held in helds if held.lease_ms is not None]
        if self.inherited is not None and self.inherited.until_ms is not None:
            ends.append(self.inherited.until_ms)
        return min(ends, default=NEVER_MS)

    @cached_property
    def _by_this_car_as_sent_ma(self) -> int:
        return self._by_this_car_ma(self._nothing_ends_before_ms - 1, decays=True)

    @cached_property
    def _by_any_car_as_sent_ma(self) -> int:
        return self._by_any_car_ma(self._nothing_ends_before_ms - 1, decays=True)

    def _by_this_car_ma(self, now_ms: int, decays: bool) -> int:
        trailing = (trail.limit_ma for trail in self.trails if now_ms < trail.until_ms)
        return max(self.transaction.most_ma(now_ms, decays), *trailing, 0)

    def _by_any_car_ma(self, now_ms: int, decays: bool) -> int:
        most_ma = max(self.floor.most_ma(now_ms, decays), self.default.most_ma(now_ms, decays))
        if self.inherited is None:
            return most_ma
        over = decays and self.inherited.until_ms is not None and now_ms >= self.inherited.until_ms
        return max(most_ma, self.inherited.then_ma if over else self.inherited.limit_ma)

    def limits_ma(self, now_ms: int, decays: bool) -> int:
        """The largest limit that may lie there: what a car may be following down aside."""
        of_this_car_ma = self.transaction.most_ma(now_ms, decays)
        return max(of_this_car_ma, self._by_any_car_ma(now_ms, decays))

    def left_alone_ma(self) -> int:
        """What the connector gives once every lease has run out: its part of I6."""
        return self._left_alone_ma

    @cached_property
    def _left_alone_ma(self) -> int:
        inherited_ma = self.inherited.then_ma if self.inherited is not None else 0
        return max(inherited_ma, self.floor.left_ma(), self.default.left_ma(), self.transaction.left_ma())

    def slot(self, purpose: Purpose) -> Slot:
        match purpose:
            case Purpose.FLOOR:
                return self.floor
            case Purpose.DEFAULT:
                return self.default
            case Purpose.TRANSACTION:
                return self.transaction
            case _:
                assert_never(purpose)

    def with_slot(self, purpose: Purpose, slot: Slot) -> Ledger:
        match purpose:
            case Purpose.FLOOR:
                return attrs.evolve(self, floor=slot)
            case Purpose.DEFAULT:
                return attrs.evolve(self, default=slot)
            case Purpose.TRANSACTION:
                return attrs.evolve(self, transaction=slot)
            case _:
                assert_never(purpose)

    @property
    def has_floor(self) -> bool:
        return self.floor.acknowledged is not None

    def live(self) -> tuple[Held, ...]:
        """Every live limit that the station may hold, cleared places aside."""
        both = (*self.default.candidates(), *self.transaction.candidates())
        return tuple(held for held in both if held.limit_ma is not None)


def booted(ledger: Ledger, max_ma: int, *, keeps_profiles: bool) -> Ledger:
    """The station restarted: unless it has proven to keep its profiles, anything up to its maximum may hold."""
    if keeps_profiles:
        return unanswered_all(ledger)
    return Ledger(Inherited(max_ma, max_ma, None))


def sent(ledger: Ledger, command: SetLimit | ClearLimit, now_ms: int, *, spread: int = 1) -> Ledger:
    """Enter a command before it goes out, at what it may give any one phase: from here on the station may hold it."""
    entered = attrs.evolve(ledger, in_flight=command.seq, in_flight_ms=now_ms)
    match command:
        case SetLimit():
            held = Held(
                command.seq,
                command.limit_ma,
                command.then_ma,
                now_ms,
                command.lease_ms,
                command.transaction_id,
                spread,
            )
            return _opened(entered, command.purpose, held)
        case ClearLimit():
            cleared = Held(command.seq, None, 0, now_ms, None)
            for purpose in LIVE if command.purpose is None else (command.purpose,):
                entered = _opened(entered, purpose, cleared)
            return entered
        case _:
            assert_never(command)


def _opened(ledger: Ledger, purpose: Purpose, held: Held) -> Ledger:
    slot = ledger.slot(purpose)
    unsure = slot.open if len(slot.open) < MOST_OPEN else (_worst_of(slot.open),)
    return ledger.with_slot(purpose, attrs.evolve(slot, open=(*unsure, held)))


def _worst_of(helds: tuple[Held, ...]) -> Held:
    """One entry that stands for several of open fate, so that a station that never answers costs no memory.

    It leaves the books only when a later command is acknowledged: a refusal of one says nothing of the others.
    """
    leases = [held.lease_ms for held in helds if held.limit_ma is not None]
    limits = [held.limit_ma for held in helds if held.limit_ma is not None]
    return Held(
        seq=NOBODYS_SEQ,
        limit_ma=max(limits, default=None),
        then_ma=max(held.then_ma for held in helds),
        sent_ms=max(held.sent_ms for held in helds),
        lease_ms=None if None in leases else max((ms for ms in leases if ms is not None), default=None),
    )


def confirmed(ledger: Ledger, seq: int, now_ms: int, *, decays: bool) -> Ledger:
    """The station holds `seq`: earlier ones are gone from its slot, what it allowed trails for `FOLLOW_MS`."""
    after = attrs.evolve(ledger, trails=())
    before_ma = after.held_ma(now_ms, decays)
    for purpose in Purpose:
        slot = ledger.slot(purpose)
        held = next((held for held in slot.open if held.seq == seq), None)
        if held is not None:
            later = tuple(other for other in slot.open if other.seq > seq)
            after = _taken(after.with_slot(purpose, Slot(held, later)), purpose, held)
    if after.in_flight == seq:
        after = attrs.evolve(after, in_flight=None, refused_ms=None, refusals=0)
    after = _settled(after)
    trails = tuple(trail for trail in ledger.trails if now_ms < trail.until_ms)
    if after.held_ma(now_ms, decays) < before_ma:
        trails = (*(trail for trail in trails if trail.limit_ma > before_ma), Trail(before_ma, now_ms + FOLLOW_MS))
    return attrs.evolve(after, trails=trails)


def _settled(ledger: Ledger) -> Ledger:
    """What was inherited is gone once the floor lies and each live place was written or cleared by us.

    A TxProfile of before hides behind nothing: it must have been replaced or cleared as well.
    """
    if ledger.inherited is None or not ledger.has_floor:
        return ledger
    if ledger.default.acknowledged is None or ledger.transaction.acknowledged is None:
        return ledger
    return attrs.evolve(ledger, inherited=None)


def refused(ledger: Ledger, seq: int, now_ms: int, *, untold: bool = False) -> Ledger:
    """The station does not hold `seq`: only what came before counts. `untold`: it never heard of it."""
    after = ledger
    for purpose in Purpose:
        slot = ledger.slot(purpose)
        gone = next((held for held in slot.open if held.seq == seq), None)
        if gone is not None:
            kept = tuple(held for held in slot.open if held.seq != seq)
            after = after.with_slot(purpose, attrs.evolve(slot, open=kept))
            after = after if untold else _rejected(after, purpose, gone, now_ms)
    return _answered_badly(after, seq, now_ms)


def _rejected(ledger: Ledger, purpose: Purpose, held: Held, now_ms: int) -> Ledger:
    """The station itself said no to this limit: remembered where it may take others."""
    if purpose is Purpose.FLOOR:
        return attrs.evolve(ledger, floor_refused_ms=now_ms, floor_refused_ma=held.limit_ma or 0)
    if held.limit_ma == 0:
        return attrs.evolve(ledger, zero_refused_ms=now_ms, zero_refusals=ledger.zero_refusals + 1)
    return attrs.evolve(ledger, zero_refused_ms=None, zero_refusals=0) if held.limit_ma else ledger


def _taken(ledger: Ledger, purpose: Purpose, held: Held) -> Ledger:
    """The station took this limit after all."""
    if purpose is Purpose.FLOOR:
        return attrs.evolve(ledger, floor_refused_ms=None)
    return attrs.evolve(ledger, zero_refused_ms=None, zero_refusals=0) if held.limit_ma == 0 else ledger


def unanswered(ledger: Ledger, seq: int, now_ms: int) -> Ledger:
    """Nobody knows whether the station holds `seq`: it goes on counting beside what came before."""
    return _answered_badly(ledger, seq, now_ms)


def _answered_badly(ledger: Ledger, seq: int, now_ms: int) -> Ledger:
    if ledger.in_flight != seq:
        return ledger
    return attrs.evolve(ledger, in_flight=None, refused_ms=now_ms, refusals=ledger.refusals + 1)


def unanswered_all(ledger: Ledger) -> Ledger:
    """The link is gone: whatever was in flight stays in the books as possible."""
    return attrs.evolve(ledger, in_flight=None)
