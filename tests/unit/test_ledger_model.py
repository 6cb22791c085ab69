"""The ledger against a station that may or may not have received each command: the station judges the books."""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_core import ClearLimit, Ledger, Purpose, SetLimit
from llm_core.ledger import MOST_OPEN, Inherited, booted, confirmed, refused, sent, unanswered, unanswered_all
from unit.strategies import floor, limit

MAX_MA = 32_000
CAR_FOLLOWS_MS = 5_000  # IEC 61851-1: what a car has to follow a change
CLOCKS_AGREE_MS = 10_000  # how far a station's clock may be off and still count as known

FLOOR, DEFAULT, TRANSACTION = Purpose.FLOOR, Purpose.DEFAULT, Purpose.TRANSACTION


@attrs.define
class Station:
    """A station as OCPP 1.6 §3.13 describes it, with a clock that is a little wrong. It knows nothing of the books."""

    skew_ms: int
    falls_back: bool
    places: dict[Purpose, SetLimit] = attrs.field(factory=dict)
    received_from_ms: dict[Purpose, int] = attrs.field(factory=dict)
    charging: bool = False

    def take(self, command: SetLimit | ClearLimit, sent_ms: int) -> None:
        match command:
            case SetLimit():
                self.places[command.purpose] = command
                self.received_from_ms[command.purpose] = sent_ms
            case ClearLimit():
                for purpose in (DEFAULT, TRANSACTION) if command.purpose is None else (command.purpose,):
                    self.places.pop(purpose, None)

    def offers(self, now_ms: int) -> int:
        """What the car is told now: the transaction's profile, else the upper default, else the floor, else all."""
        order = (TRANSACTION, DEFAULT, FLOOR) if self.charging else (DEFAULT, FLOOR)
        for purpose in order:
            if purpose in self.places:
                return self._gives(purpose, now_ms)
        return MAX_MA

    def _gives(self, purpose: Purpose, now_ms: int) -> int:
        profile = self.places[purpose]
        if profile.lease_ms is None or not self.falls_back:
            return profile.limit_ma
        over_ms = self.received_from_ms[purpose] + profile.lease_ms + self.skew_ms
        return profile.limit_ma if now_ms < over_ms else profile.then_ma


class Fate(StrEnum):
    """What becomes of a command; a late one is still under way when nobody waits for it any more."""

    OBEYED = "obeyed"
    REFUSED = "refused"
    OBEYED_IN_SILENCE = "obeyed in silence"
    LOST = "lost"
    LATE = "late"
    LINK_BREAKS = "link breaks"


fates = st.sampled_from(Fate)
limits_ma = st.sampled_from([0, 6_000, 10_000, 16_000, 25_000, MAX_MA])


class Books(RuleBasedStateMachine):
    """Commands are obeyed, refused, lost, late; leases run out; stations boot; cars start and stop.

    The link keeps its order: it is one stream, and what an old link held comes before what a new one brings.
    """

    @initialize(
        skew_ms=st.integers(-CLOCKS_AGREE_MS, CLOCKS_AGREE_MS),
        clock_known=st.booleans(),
        falls_back=st.booleans(),
        keeps_profiles=st.booleans(),
        adopted=st.booleans(),
    )
    def connect(self, skew_ms: int, clock_known: bool, falls_back: bool, keeps_profiles: bool, adopted: bool) -> None:
        self.now_ms = 0
        self.seq = 0
        self.booted_ms = 0
        self.decays = clock_known and falls_back
        self.keeps_profiles = keeps_profiles
        self.station = Station(skew_ms, falls_back)
        self.ledger = Ledger(Inherited(MAX_MA, MAX_MA, None))
        self.late: deque[tuple[SetLimit | ClearLimit, int]] = deque()
        self.offered: list[tuple[int, int]] = []  # (when, mA): what the car was told of late
        if adopted:
            self._send(floor(self._next(), 6_000), Fate.OBEYED)
            self._send(ClearLimit(self._next(), "A", 1), Fate.OBEYED)
            self.time_passes(7)

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _send(self, command: SetLimit | ClearLimit, fate: Fate) -> None:
        """One command from the books to the station and back."""
        self.ledger = sent(self.ledger, command, self.now_ms)
        if fate is Fate.LATE:
            self.late.append((command, self.now_ms))
        elif fate is not Fate.LOST:
            self.what_is_late_arrives()
            if fate is not Fate.REFUSED:
                self._take(command, self.now_ms)
        match fate:
            case Fate.OBEYED:
                self.ledger = confirmed(self.ledger, command.seq, self.now_ms, decays=self.decays)
            case Fate.REFUSED:
                self.ledger = refused(self.ledger, command.seq, self.now_ms)
            case Fate.LINK_BREAKS:
                self.ledger = unanswered_all(self.ledger)
            case _:
                self.ledger = unanswered(self.ledger, command.seq, self.now_ms)

    def _take(self, command: SetLimit | ClearLimit, sent_ms: int) -> None:
        self._remember_offer()
        self.station.take(command, sent_ms)

    @rule(limit_ma=limits_ma, fate=fates)
    def set_floor(self, limit_ma: int, fate: Fate) -> None:
        self._send(floor(self._next(), limit_ma), fate)

    @rule(
        purpose=st.sampled_from([DEFAULT, TRANSACTION, TRANSACTION]),
        limit_ma=limits_ma,
        then_ma=st.sampled_from([0, 6_000]),
        lease_s=st.sampled_from([30, 120, 300]),
        fate=fates,
    )
    def lease(self, purpose: Purpose, limit_ma: int, then_ma: int, lease_s: int, fate: Fate) -> None:
        then_ma = min(limit_ma, then_ma)
        self._send(limit(self._next(), limit_ma, then_ma, purpose=purpose, lease_ms=lease_s * 1000), fate)

    @rule(purpose=st.sampled_from([None, DEFAULT, TRANSACTION]), fate=fates)
    def clear(self, purpose: Purpose | None, fate: Fate) -> None:
        self._send(ClearLimit(self._next(), "A", 1, purpose), fate)

    @rule()
    def what_is_late_arrives(self) -> None:
        while self.late:
            self._take(*self.late.popleft())

    @rule()
    def what_is_late_is_lost(self) -> None:
        self.late.clear()

    @precondition(lambda self: self.now_ms > self.booted_ms + 60_000)
    @rule(forgets=st.sets(st.sampled_from(Purpose)))
    def station_boots(self, forgets: set[Purpose]) -> None:
        self._remember_offer()
        self.booted_ms = self.now_ms
        self.late.clear()
        if not self.keeps_profiles:
            for purpose in forgets:
                self.station.places.pop(purpose, None)
        self.ledger = booted(self.ledger, MAX_MA, keeps_profiles=self.keeps_profiles)

    @rule(forgets=st.booleans())
    def car_starts_or_stops(self, forgets: bool) -> None:
        self._remember_offer()
        self.station.charging = not self.station.charging
        if not self.station.charging and forgets:  # it only *should* delete the transaction's profile
            self.station.places.pop(TRANSACTION, None)

    @rule(seconds=st.sampled_from([1, 4, 7, 31, 121]))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self._remember_offer()
            self.now_ms += 1_000
            self.books_are_never_below_what_the_car_may_draw()

    def _remember_offer(self) -> None:
        self.offered.append((self.now_ms, self.station.offers(self.now_ms)))
        self.offered = [(at_ms, ma) for at_ms, ma in self.offered if at_ms > self.now_ms - CAR_FOLLOWS_MS]

    @invariant()
    def books_are_never_below_what_the_car_may_draw(self) -> None:
        told_ma = [ma for at_ms, ma in self.offered if at_ms > self.now_ms - CAR_FOLLOWS_MS]
        assert self.ledger.held_ma(self.now_ms, self.decays) >= max(self.station.offers(self.now_ms), *told_ma, 0)

    @invariant()
    def left_alone_the_station_gives_no_more_than_the_books_say(self) -> None:
        if self.decays:
            for_ever_ms = self.now_ms + 10**9
            assert self.ledger.left_alone_ma() >= self.station.offers(for_ever_ms)

    @invariant()
    def a_station_that_never_answers_costs_no_memory(self) -> None:
        assert all(len(self.ledger.slot(purpose).open) <= MOST_OPEN for purpose in Purpose)


TestBooksAreNeverBelowTheTruth = Books.TestCase
TestBooksAreNeverBelowTheTruth.settings = settings(stateful_step_count=40)
