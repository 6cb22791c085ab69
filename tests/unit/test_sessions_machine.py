"""The account of charging sessions against what really flowed, whatever reaches the controller, in whatever order.

Two stations with three connectors live here as plain facts: a register that turns, cars that begin and end, messages
that wait. They know nothing of the core. The field delivers the messages late, twice, swapped or never; the disk fails;
controller and stations restart. The disk keeps exactly the `Save`s of steps that were committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_core import (
    AccessRule,
    Answer,
    Badge,
    BadgeRecord,
    BadgeState,
    Ceiling,
    Effect,
    Event,
    MeterValuesReceived,
    Now,
    PerPhase,
    RefusedStart,
    Reply,
    Request,
    Save,
    Session,
    SessionState,
    Site,
    Started,
    StartRequested,
    State,
    Station,
    StationBooted,
    StationConnected,
    StationDisconnected,
    Status,
    StatusChanged,
    Stopped,
    StopRequested,
    StorageFailed,
    StorageHealed,
    Stored,
    Supply,
    Tick,
    Verdict,
    recover,
    step,
)
from unit.strategies import NOON

KNOWN, BLOCKED, UNKNOWN = "04A1B2C3", "04D4E5F6", "0badbadbad"
PLACES = (("A", 1), ("B", 1), ("B", 2))
LIVE_S = 60  # an older start so fresh may come from a clock that was put right
SITE = Site(
    supply=Supply(static_max_ma=PerPhase.same(48_000)),
    stations=(Station("A"), Station("B", connectors=2)),
    access=AccessRule.BADGE,
)


# Links are good more often than not, and most badges are known.
prompt = st.sampled_from([True, True, False])
tags = st.sampled_from([KNOWN, KNOWN, KNOWN, KNOWN, BLOCKED, UNKNOWN])


# What really happens


@attrs.define(eq=False)
class Transaction:
    """A car at a connector, as the station knows it and as it really was."""

    place: tuple[str, int]
    tag: str
    started_at: datetime
    meter_start_wh: int
    flowed_wh: int = 0
    stopped_at: datetime | None = None
    meter_stop_wh: int | None = None
    id: int | None = None  # as told to the station
    settled: bool = False  # the controller has acknowledged its stop
    honest: bool = True  # no register restarted before its stop was settled
    mixed: bool = False  # readings without an id were taken for its own

    @property
    def running(self) -> bool:
        return self.stopped_at is None


@attrs.frozen(eq=False)
class Begin:
    transaction: Transaction


@attrs.frozen(eq=False)
class End:
    transaction: Transaction


@attrs.frozen(eq=False)
class Measure:
    transaction: Transaction
    register_wh: int
    at: datetime
    named: bool  # whether it carries the transaction's id


@attrs.frozen(eq=False)
class Say:
    place: tuple[str, int]
    status: Status
    at: datetime


Message = Begin | End | Measure | Say


@attrs.define
class Disk:
    """Takes what is saved, all of a step or nothing, and gives it back to the next start."""

    sessions: dict[int, Session] = attrs.field(factory=dict)
    ceilings: dict[tuple[str, int], int] = attrs.field(factory=dict)
    badges: dict[str, Badge] = attrs.field(factory=dict)
    last_transaction_id: int = 0

    def commit(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Save(Session() as session):
                    self.sessions[session.transaction_id] = session
                    self.last_transaction_id = max(self.last_transaction_id, session.transaction_id)
                case Save(Ceiling(station_id, connector, limit_ma)):
                    self.ceilings[station_id, connector] = limit_ma
                case Save(BadgeRecord(key, Badge() as badge)):
                    self.badges[key] = badge
                case Save(RefusedStart(transaction_id=int() as transaction_id)):
                    self.last_transaction_id = max(self.last_transaction_id, transaction_id)

    def stored(self) -> Stored:
        return Stored(
            site=SITE,
            badges=(Badge(KNOWN), Badge(BLOCKED, state=BadgeState.INACTIVE)),
            open_sessions=tuple(s for s in self.sessions.values() if s.is_open),
            recent_sessions=tuple(s for s in self.sessions.values() if not s.is_open),
            ceilings=dict(self.ceilings),
            last_transaction_id=self.last_transaction_id,
        )


class Account(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.disk = Disk()
        self.full = False
        self.seconds = 0
        self.registers_wh = dict.fromkeys(PLACES, 100_000)
        self.cars: dict[tuple[str, int], Transaction] = {}
        self.transactions: list[Transaction] = []
        self.queue: list[Message] = []  # what stations have yet to send
        self.sent: list[Message] = []  # what may come once more
        self.owner: dict[int, Transaction] = {}  # every id ever given out
        self.state = State()
        self.restart_controller()

    # The controller, as its shell runs it

    def now(self) -> Now:
        return Now(5_000_000 + self.seconds * 1_000, NOON + timedelta(seconds=self.seconds), 3_600)

    def post(self, event: Event) -> Answer | None:
        """One step; None when the disk did not take it and it never happened, or when nobody waits for an answer."""
        outcome = step(self.state, event, self.now())
        if self.full and any(isinstance(effect, Save) for effect in outcome.effects):
            if self.state.storage_failing is None:
                self.state = step(self.state, StorageFailed("full"), self.now()).state
                return None if isinstance(event, Request) else self.post(event)
            assert isinstance(event, Request), "a fact asks a failing disk for a promise"
            return None
        self.disk.commit(outcome.effects)
        self.state = outcome.state
        return next((effect.answer for effect in outcome.effects if isinstance(effect, Reply)), None)

    def restart_controller(self) -> None:
        state, effects = recover(self.disk.stored(), self.now(), factory=False)
        if self.full:
            return  # it starts again as soon as it can
        self.disk.commit(effects)
        self.state = state
        for station in ("A", "B"):
            self.post(StationConnected(station))

    @rule(trouble=st.sampled_from(["restart", "full disk", "disk again", "A boots", "B boots"]))
    def have_trouble(self, trouble: str) -> None:
        match trouble:
            case "restart":
                self.restart_controller()
            case "full disk":
                self.full = True
            case "disk again":
                self.full = False
                if self.state.storage_failing is not None:
                    self.post(StorageHealed())
            case _:
                station = trouble[0]
                self.post(StationDisconnected(station))
                self.post(StationConnected(station))
                self.post(StationBooted(station))

    @rule(seconds=st.sampled_from([1, 20, 59, 61, 4_000]))
    def wait(self, seconds: int) -> None:
        self.seconds += seconds
        self.post(Tick())

    # What drivers, cars and stations do

    @rule(place=st.sampled_from(PLACES), tag=tags, prompt=prompt)
    def plug_in(self, place: tuple[str, int], tag: str, prompt: bool) -> None:
        if place in self.cars:
            self.unplug(place, forgotten=False)
        self.seconds += 1
        car = Transaction(place, tag, self.now().utc, self.registers_wh[place])
        self.cars[place] = car
        self.transactions.append(car)
        self.tell(prompt, Say(place, Status.PREPARING, car.started_at), Begin(car))

    @precondition(lambda self: self.cars)
    @rule(data=st.data(), wh=st.sampled_from([0, 1, 700, 11_000]), named=st.booleans(), prompt=prompt)
    def charge(self, data: st.DataObject, wh: int, named: bool, prompt: bool) -> None:
        self.seconds += 1
        car = self.cars[data.draw(st.sampled_from(sorted(self.cars)))]
        self.registers_wh[car.place] += wh
        car.flowed_wh += wh
        self.tell(prompt, Measure(car, self.registers_wh[car.place], self.now().utc, named))

    @precondition(lambda self: self.cars)
    @rule(data=st.data(), forgotten=st.sampled_from([False, False, True]), prompt=prompt)
    def drive_off(self, data: st.DataObject, forgotten: bool, prompt: bool) -> None:
        self.unplug(data.draw(st.sampled_from(sorted(self.cars))), forgotten=forgotten)
        self.tell(prompt)

    def unplug(self, place: tuple[str, int], *, forgotten: bool) -> None:
        """The car leaves; a station that lost its power in between never sends a stop."""
        self.seconds += 1
        car = self.cars.pop(place)
        car.stopped_at, car.meter_stop_wh = self.now().utc, self.registers_wh[place]
        self.queue += (
            [Say(place, Status.AVAILABLE, car.stopped_at)]
            if forgotten
            else [
                End(car),
                Say(place, Status.AVAILABLE, car.stopped_at),
            ]
        )

    @rule(place=st.sampled_from(PLACES), left=st.sampled_from([0, 50, 99]))
    def turn_back_a_register(self, place: tuple[str, int], left: int) -> None:
        """A register restarts at 0, or runs backwards."""
        self.registers_wh[place] = self.registers_wh[place] * left // 100
        for car in self.transactions:
            if car.place == place and not car.settled:
                car.honest = False

    # What the field delivers

    def tell(self, prompt: bool, *messages: Message) -> None:
        """The station's messages wait in its queue; where the link is good they leave at once, in their order."""
        self.queue += messages
        if prompt:
            self.deliver_in_order(len(self.queue), heard=True)

    @precondition(lambda self: self.queue)
    @rule(count=st.integers(1, 8), heard=st.sampled_from([True, True, True, False]))
    def deliver_in_order(self, count: int, heard: bool) -> None:
        for message in self.queue[:count]:
            self.deliver(message, heard)
        self.sent += self.queue[:count]
        del self.queue[:count]

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def deliver_out_of_order(self, data: st.DataObject) -> None:
        message = self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))
        self.deliver(message, heard=True)
        self.sent.append(message)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.sent)), heard=True)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.queue[data.draw(st.integers(0, len(self.queue) - 1))]

    def deliver(self, message: Message, heard: bool) -> None:
        """`heard`: the answer reaches the station, which knows its transaction's id from then on."""
        before = self.open_sessions()
        match message:
            case Begin(car):
                self.delivered_begin(car, heard)
            case End(car) if car.id is not None:
                self.delivered_end(car)
            case Measure(car, register_wh, at, named) if not named or car.id is not None:
                self.note_mixed(car, at, named)
                self.post(MeterValuesReceived(*car.place, car.id if named else None, register_wh=register_wh, at=at))
                assert self.ids(self.open_sessions()) == self.ids(before)
            case Say(place, status, at):
                self.post(StatusChanged(*place, status, at=at))
                assert self.ids(self.open_sessions()) == self.ids(before)
        station = message.place[0] if isinstance(message, Say) else message.transaction.place[0]
        for place, session in before.items():
            if place[0] != station:
                assert self.open_sessions().get(place) == session, "another station's session was touched"

    def delivered_begin(self, car: Transaction, heard: bool) -> None:
        before = self.open_sessions().get(car.place)
        answer = self.post(StartRequested(*car.place, car.tag, car.meter_start_wh, car.started_at, request=1))
        if answer is None:
            assert self.full
            return
        assert isinstance(answer, Started)
        assert answer.transaction_id > 0
        assert (answer.verdict is Verdict.ACCEPTED) is (car.tag == KNOWN)
        known = self.owner.setdefault(answer.transaction_id, car)
        assert known is car, "a transaction id was used again"
        if car.tag != KNOWN:
            assert self.open_sessions().get(car.place) == before, "a refused start changed a session"
            assert answer.transaction_id not in self.disk.sessions
        else:
            assert answer.transaction_id in self.disk.sessions, "acknowledged and not stored"
            assert [i for i, owner in self.owner.items() if owner is car] == [answer.transaction_id]
            self.check_newer_stays(car, before)
        if heard:
            car.id = answer.transaction_id

    def check_newer_stays(self, car: Transaction, before: Session | None) -> None:
        """A start displaces no session that began later, unless a clock that was put right explains it."""
        if before is None or before.started_at <= car.started_at:
            return
        fresh = (self.now().utc - car.started_at).total_seconds() <= LIVE_S
        if not fresh or car.meter_start_wh < before.meter_start_wh:
            assert self.open_sessions()[car.place] == before

    def delivered_end(self, car: Transaction) -> None:
        before = self.open_sessions()
        assert car.id is not None
        answer = self.post(StopRequested(car.place[0], car.id, car.meter_stop_wh, car.stopped_at, request=1))
        if answer is None:
            assert self.full
            assert self.open_sessions() == before
            return
        assert answer == Stopped(None)
        car.settled = True
        if car.tag == KNOWN:
            assert self.disk.sessions[car.id].state is SessionState.CLOSED, "acknowledged and not stored"
        else:
            assert car.id not in self.disk.sessions
        others = {place: s for place, s in before.items() if s.transaction_id != car.id}
        assert self.open_sessions() == others, "a stop ended another session than its own"

    @rule(data=st.data(), place=st.sampled_from(PLACES), wh=st.integers(-5, 10**6))
    def speak_of_what_is_not_theirs(self, data: st.DataObject, place: tuple[str, int], wh: int) -> None:
        """Ids of another station's transactions, of another central system, of nobody."""
        others = [number for number, car in self.owner.items() if car.place[0] != place[0]]
        other = data.draw(st.sampled_from([-16, -1, 0, 2**63 - 1, *others]))
        before, stored = self.open_sessions(), dict(self.disk.sessions)
        self.post(MeterValuesReceived(*place, other, register_wh=max(wh, 0), at=self.now().utc))
        self.post(StopRequested(place[0], other, wh, self.now().utc, request=1))
        assert (self.open_sessions(), self.disk.sessions) == (before, stored)

    def note_mixed(self, car: Transaction, at: datetime, named: bool) -> None:
        """A reading without an id from a car whose start nobody has seen counts for whoever is open there."""
        session = self.open_sessions().get(car.place)
        if session is not None and not named and at >= session.started_at:
            owner = self.owner[session.transaction_id]
            owner.mixed = owner.mixed or owner is not car

    # The account

    def open_sessions(self) -> dict[tuple[str, int], Session]:
        return {key: c.session for key, c in self.state.connectors.items() if c.session is not None}

    def ids(self, sessions: dict[tuple[str, int], Session]) -> dict[tuple[str, int], int]:
        return {place: session.transaction_id for place, session in sessions.items()}

    def records(self) -> Iterator[tuple[Transaction, Session]]:
        """What is on the disk, and of the open sessions, what is known."""
        present = {session.transaction_id: session for session in self.open_sessions().values()}
        for number, session in {**self.disk.sessions, **present}.items():
            yield self.owner[number], session

    @invariant()
    def each_transaction_has_one_record_and_it_is_its_own(self) -> None:
        owners = [car for car, _ in self.records()]
        assert len({id(car) for car in owners}) == len(owners)
        for car, session in self.records():
            assert ((session.station_id, session.connector), session.id_tag) == (car.place, car.tag)
            assert (session.started_at, session.meter_start_wh) == (car.started_at, car.meter_start_wh)

    @invariant()
    def what_is_open_is_open_on_the_disk_too(self) -> None:
        stored = {s.transaction_id for s in self.disk.sessions.values() if s.is_open}
        assert stored == {session.transaction_id for session in self.open_sessions().values()}

    @invariant()
    def no_energy_is_negative_or_invented(self) -> None:
        for car, session in self.records():
            assert session.energy_wh >= 0
            if not car.mixed:
                assert session.energy_wh <= car.flowed_wh
            if session.stopped_at is not None:
                assert session.stopped_at >= session.started_at

    @invariant()
    def a_settled_session_is_exact(self) -> None:
        for car, session in self.records():
            if not car.settled:
                continue
            assert session.state is SessionState.CLOSED
            assert session.stopped_at == car.stopped_at
            if car.honest:
                assert car.meter_stop_wh is not None
                assert session.energy_wh == car.meter_stop_wh - car.meter_start_wh
                assert session.meter_stop_wh == car.meter_stop_wh
                assert not session.flagged


TestAccount = Account.TestCase
TestAccount.settings = settings(stateful_step_count=100)
