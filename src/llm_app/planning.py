"""Recorded sessions replayed under the controller: would this supply have carried these cars?

Theory of operation
    The core is the real one, from `step` on; cars and outlets are the plant's. Only the wire is left out: months of
    frames would teach nothing about a supply, and a planner assumes stations that answer at once and obey. So time
    goes from event to event. The core ticks within a second of whatever happens: a car that comes, leaves or is full,
    a reading, a limit that was told or cleared; and again when something may have come of it. While no car is there,
    time skips to the next arrival. Stations report every minute, and every 10 s where it still has to be seen which
    phases a car uses. Between two ticks nobody is given more, so a tick left out can only cost energy; `tick_s=1`
    leaves none out.

The run judges the controller by what lies in the outlets: the sum of what they may offer against the limit at every
change (I1), with what cars still draw at every raise (I2), limits between 0 and the minimum (I4), what is left when
every lease has run out (I6). I3 and I5 are about the wire and the meter, which are not there.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import attrs

from llm_adapters.virtual.car import PILOT_MIN_A, Car, CarModel
from llm_adapters.virtual.config import SITE_PHASES, StationConfig
from llm_adapters.virtual.connector import Connector, Session
from llm_app.garage import Amps3, Calendar, Claim, Garage, Stay, jain
from llm_core import (
    OLDEST_STAMP,
    AccessRule,
    Answer,
    AskReading,
    Capabilities,
    CapabilitiesFound,
    ClearLimit,
    Event,
    LimitConfirmed,
    MeterValuesReceived,
    Mode,
    Now,
    PerPhase,
    Phase,
    Purpose,
    Reply,
    SetLimit,
    Site,
    Started,
    StartRequested,
    Station,
    StationBooted,
    StationClockRead,
    StationConnected,
    Status,
    StatusChanged,
    StopRequested,
    Stored,
    Supply,
    Tick,
    Wish,
    WishPut,
    recover,
    step,
)

DERATED = 0.8
_EPS_A = 0.011
_BEGIN_MS = 1_000_000
_READING_S = 60
_WATCHED_S = 120  # so long after a start it still has to be seen which phases a car uses…
_WATCHING_S = 10  # …from readings that come so often
_SLOWER = 10  # readings while no car draws anything
_ECHOES_S = (1, 7, 61, 91)  # what a change brings: room is free, a car has followed, is finished, has waited enough
_CAPABLE = Capabilities(step_ma=100, stacks=True, decays=True, keeps_profiles=True)


@attrs.frozen
class Replayed:
    """What became of the sessions under one supply. `above_s`: the longest time that cars drew more than the limit."""

    limit_a: float
    wanted_kwh: float
    delivered_kwh: float
    sessions: int
    served_less_than_half: int
    jain: float
    peak_a: Amps3
    above_s: float
    limit_changes_per_car_minute: float
    pauses_per_car: float
    violations: dict[str, int]
    days: tuple[tuple[float, float], ...]  # for each day, by arrival: kWh wanted and delivered

    @property
    def share(self) -> float:
        return self.delivered_kwh / self.wanted_kwh if self.wanted_kwh else 1.0

    @property
    def carried(self) -> bool:
        """Whether the cars got what they wanted: 99 % of it in all, and nobody less than half."""
        return self.share >= 0.99 and self.served_less_than_half == 0

    def as_dict(self) -> dict[str, Any]:
        return {
            **attrs.asdict(self),
            "energy_kwh": self.delivered_kwh,
            "share": self.share,
            "carried": self.carried,
        }


def site_of(garage: Garage, limit_a: float) -> Site:
    """The garage as it would be configured: static mode, free access, one node."""
    limit_ma = PerPhase.same(math.floor(limit_a * 1000))
    return Site(
        supply=Supply(mode=Mode.STATIC, fuse_ma=limit_ma, derated_ma=limit_ma, static_max_ma=limit_ma),
        stations=tuple(
            Station(name, cluster=None, phase_rotation=tuple(Phase(phase) for phase in rotation), max_ma=32_000)
            for name, rotation in zip(garage.names, garage.rotations, strict=True)
        ),
        access=AccessRule.FREE,
    )


class Wishes(StrEnum):
    """What is known of a car when it comes: nothing; what its driver claimed, right or wrong; or how it will be."""

    NONE = "none"
    CLAIMED = "claimed"
    TRUE = "true"


def replay(
    garage: Garage,
    limit_a: float,
    *,
    tick_s: int | None = None,
    site: Site | None = None,
    progress: Callable[[float], None] | None = None,
    wishes: Wishes = Wishes.NONE,
) -> Replayed:
    """Replay the garage under `limit_a` per phase (`site` may set it up differently); `progress` hears a share.

    `tick_s`: tick at least so often while a car is there, beside the ticks that are needed; 1 is second by second.
    """
    return _Replay(garage, site or site_of(garage, limit_a), tick_s, wishes).run(progress or (lambda _: None))


def _believable(began_at: datetime) -> datetime:
    """The same weekday and time of day when a clock that is set may say so: the core trusts none from before."""
    weeks = max(0, -((began_at - OLDEST_STAMP) // timedelta(weeks=1)))
    return began_at + timedelta(weeks=weeks)


def _said(stay: Stay, wishes: Wishes) -> Claim | None:
    match wishes:
        case Wishes.NONE:
            return None
        case Wishes.CLAIMED:
            return stay.claim
        case Wishes.TRUE:
            return Claim(stay.leave_s, round(stay.wanted_wh))


class _Bay:
    """An outlet that keeps its limits as a station does: a floor, a default, one for the transaction."""

    def __init__(self, garage: Garage, number: int) -> None:
        self.name = garage.names[number]
        config = StationConfig(self.name, (garage.rotations[number],), max_a=32.0, voltage_v=garage.voltage_v)
        self.outlet = Connector(config, 1, 0.0)
        self.stay: Stay | None = None
        self.began_wh = 0.0
        self.full = False
        self.watched_until = -math.inf
        self.changes = 0
        self._held: dict[Purpose, tuple[SetLimit, float]] = {}

    @property
    def transaction_id(self) -> int | None:
        return None if self.outlet.session is None else self.outlet.session.transaction_id

    def take(self, command: SetLimit | ClearLimit, t: float) -> None:
        """Keep or forget a limit."""
        match command:
            case SetLimit():
                self._held[command.purpose] = (command, t)
            case ClearLimit():
                gone = (Purpose.DEFAULT, Purpose.TRANSACTION) if command.purpose is None else (command.purpose,)
                for purpose in gone:
                    self._held.pop(purpose, None)
        self.settle(t)

    def settle(self, t: float) -> None:
        """Offer what the limits say now."""
        self.outlet.limit_a = self.entitled_a(t)
        before = self.outlet.pilot_a
        self.outlet.energise(True, t)
        self.changes += self.outlet.pilot_a != before
        if before == 0 < self.outlet.pilot_a and len(self.outlet.rotation) > 1:
            self.watched_until = t + _WATCHED_S

    def entitled_a(self, t: float, *, left_alone: bool = False) -> float:
        """The most that it may offer; `left_alone`, once every lease has run out."""
        order = [Purpose.DEFAULT, Purpose.FLOOR]
        if self.outlet.session is not None:
            order.insert(0, Purpose.TRANSACTION)
        for purpose in order:
            if purpose in self._held:
                command, sent = self._held[purpose]
                over = command.lease_ms is not None and (left_alone or t >= sent + command.lease_ms / 1000)
                return (command.then_ma if over else command.limit_ma) / 1000
        return self.outlet.max_a

    def advance(self, t: float) -> None:
        """Let the car charge until `t`, through every change of its own."""
        while self.outlet.due < t:
            self.outlet.advance(self.outlet.due)
        self.outlet.advance(t)


class _Replay:
    """One run."""

    def __init__(self, garage: Garage, site: Site, tick_s: int | None, wishes: Wishes) -> None:
        self._garage = garage
        self._wishes = wishes
        self._began_at = _believable(garage.began_at)
        self._site = site
        self._limit_a: Amps3 = _amps(site.supply.limit_ma)
        self._tick_s = tick_s
        self._bays = [_Bay(garage, number) for number in range(len(garage.names))]
        self._by_name = {bay.name: bay for bay in self._bays}
        self._busy: dict[str, _Bay] = {}
        self._calendar = Calendar(garage.stays)
        self._state, _ = recover(Stored(site=site), self._now(0), factory=False)
        self._ticks: list[float] = []
        self._read_at = self._read_all_at = math.inf
        self._answers: list[Answer] = []
        self._served: list[tuple[Stay, float]] = []
        self._pauses = self._changes = 0
        self._parked_s = 0
        self._peak = [0.0, 0.0, 0.0]
        self._above_since: float | None = None
        self._above_s = 0.0
        self.violations: Counter[str] = Counter({f"I{n}": 0 for n in range(1, 7)})

    def run(self, progress: Callable[[float], None]) -> Replayed:
        self._adopt()
        end_s = max(stay.leave_s for stay in self._garage.stays)
        while (t := min(self._calendar.next_s, self._tick_at(), self._read_at, self._full_at())) < math.inf:
            progress(min(t / end_s, 1.0))
            for bay in self._busy.values():
                bay.advance(t)
            self._tell_who_is_full(t)
            self._come_and_go(t)
            if t >= self._read_at:
                self._read(t)
            if t >= self._tick_at():
                self._tick(t)
            self._look(t)
        return self._result()

    def _now(self, t: float) -> Now:
        offset = self._began_at.utcoffset() or timedelta(0)
        return Now(_BEGIN_MS + round(t * 1000), self._began_at + timedelta(seconds=t), int(offset.total_seconds()))

    # -- the controller ------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Every station connects and is told its floor before the first car comes."""
        for bay in self._bays:
            self._post(StationConnected(bay.name), 0)
            self._post(StationBooted(bay.name), 0)
            self._post(CapabilitiesFound(bay.name, _CAPABLE), 0)
            self._post(StationClockRead(bay.name, 0), 0)
            self._post(StatusChanged(bay.name, 1, Status.AVAILABLE), 0)
        for second in range(3):
            self._tick(second * 0.1)
        self._echoing(0)

    def _post(self, event: Event, t: float) -> bool:
        """Apply an event and all that follows at this instant; whether any station was told something."""
        outcome = step(self._state, event, self._now(t))
        self._state = outcome.state
        told: list[SetLimit | ClearLimit] = []
        for effect in outcome.effects:
            match effect:
                case SetLimit() | ClearLimit():
                    self._obey(effect, t)
                    told.append(effect)
                case AskReading():
                    self._post(self._reading(self._by_name[effect.station_id]), t)
                    self._soon(t)
                case Reply():
                    self._answers.append(effect.answer)
        for command in told:
            self._post(LimitConfirmed(command.station_id, command.connector, command.seq), t)
        if told:
            self._judge(t)
        return bool(told)

    def _tick(self, t: float) -> None:
        while self._tick_at() <= t:
            heapq.heappop(self._ticks)
        if self._post(Tick(), t):
            self._echoing(t)
        if self._tick_s is not None and self._busy:
            self._soon(t + self._tick_s - 1)

    def _tick_at(self) -> float:
        return self._ticks[0] if self._ticks else math.inf

    def _echoing(self, t: float) -> None:
        """Something happened: tick at the next second, and whenever it may have led to something."""
        for after_s in _ECHOES_S:
            self._soon(t + after_s - 1)

    def _soon(self, t: float) -> None:
        """Tick at the next second."""
        at = math.floor(t) + 1
        if at not in self._ticks:
            heapq.heappush(self._ticks, at)

    # -- the cars ------------------------------------------------------------------------------------------------

    def _come_and_go(self, t: float) -> None:
        left, came = self._calendar.until(t)
        for stay in left:
            self._leave(self._bays[stay.outlet], stay, t)
        for stay in came:
            self._arrive(self._bays[stay.outlet], stay, t)
        if left or came:
            self._echoing(t)

    def _arrive(self, bay: _Bay, stay: Stay, t: float) -> None:
        model = CarModel(
            phases=stay.phases, max_a=stay.max_a, capacity_wh=stay.wanted_wh, taper_from=self._garage.taper_from
        )
        bay.advance(t)
        bay.stay, bay.began_wh, bay.full, bay.changes = stay, bay.outlet.energy_wh, False, 0
        bay.outlet.plug(Car(model, soc=0.0, voltage_v=self._garage.voltage_v), t)
        self._post(StatusChanged(bay.name, 1, Status.PREPARING), t)
        self._answers.clear()
        self._post(StartRequested(bay.name, 1, "driver", round(bay.outlet.energy_wh), request=1), t)
        (started,) = (answer for answer in self._answers if isinstance(answer, Started))
        bay.outlet.session = Session("driver", None, t, started.transaction_id)
        claim = _said(stay, self._wishes)
        if claim is not None and claim.leave_s > t:
            wish = Wish(self._began_at + timedelta(seconds=claim.leave_s), max(claim.wh, 1))
            self._post(WishPut("driver", started.transaction_id, wish), t)
        bay.settle(t)
        self._post(StatusChanged(bay.name, 1, Status.CHARGING), t)
        self._busy[bay.name] = bay
        self._read_all_at = min(self._read_all_at, math.ceil((t + 1) / _READING_S) * _READING_S)
        self._read_at = min(self._read_at, self._read_all_at, t + _WATCHING_S)

    def _leave(self, bay: _Bay, stay: Stay, t: float) -> None:
        transaction_id, outlet = bay.transaction_id, bay.outlet
        if transaction_id is None or outlet.car is None:
            return
        self._served.append((stay, outlet.energy_wh - bay.began_wh))
        self._pauses += outlet.car.pauses
        self._changes += bay.changes
        self._parked_s += stay.leave_s - stay.arrive_s
        outlet.session, bay.stay = None, None
        outlet.unplug(t)
        bay.take(ClearLimit(0, bay.name, 1, Purpose.TRANSACTION), t)
        self._post(StopRequested(bay.name, transaction_id, round(outlet.energy_wh), request=1), t)
        self._post(StatusChanged(bay.name, 1, Status.AVAILABLE), t)
        del self._busy[bay.name]

    def _read(self, t: float) -> None:
        all_due = t >= self._read_all_at
        for bay in self._busy.values():
            if all_due or t < bay.watched_until:
                bay.settle(t)
                self._post(self._reading(bay), t)
        if all_due:
            drawing = any(max(bay.outlet.draw_a) > 0 for bay in self._busy.values())
            self._read_all_at = t + _READING_S * (1 if drawing else _SLOWER)
        if not self._busy:
            self._read_all_at = math.inf
        watched = any(t < bay.watched_until for bay in self._busy.values())
        self._read_at = min(self._read_all_at, t + _WATCHING_S if watched else math.inf)
        self._soon(t)

    def _full_at(self) -> float:
        """When the next car is full, if no limit changes before."""
        return min((bay.outlet.due for bay in self._busy.values() if not bay.full), default=math.inf)

    def _tell_who_is_full(self, t: float) -> None:
        """As stations do: a status at once, with what the car draws now."""
        for bay in self._busy.values():
            if bay.outlet.car is not None and bay.outlet.car.full and not bay.full:
                bay.full = True
                self._post(StatusChanged(bay.name, 1, Status.SUSPENDED_EV), t)
                self._post(self._reading(bay), t)
                self._echoing(t)

    def _reading(self, bay: _Bay) -> MeterValuesReceived:
        drawn = tuple(math.ceil(bay.outlet.draw_a[phase] * 1000) for phase in bay.outlet.rotation)
        return MeterValuesReceived(bay.name, 1, bay.transaction_id, drawn, round(bay.outlet.energy_wh))

    def _obey(self, command: SetLimit | ClearLimit, t: float) -> None:
        bay = self._by_name[command.station_id]
        before = bay.outlet.entitled_a
        bay.advance(t)
        bay.take(command, t)
        if isinstance(command, SetLimit) and 0 < command.limit_ma < PILOT_MIN_A * 1000:
            self.violations["I4"] += 1
        if bay.outlet.entitled_a > before + _EPS_A and self._exceeds(_larger):
            self.violations["I2"] += 1

    # -- judging -------------------------------------------------------------------------------------------------

    def _sum(self, of: Callable[[_Bay], float]) -> Iterator[float]:
        """Per site phase, the sum over all outlets that use it."""
        sums = [0.0, 0.0, 0.0]
        for bay in self._bays:
            amps = of(bay)
            for phase in bay.outlet.phases if amps else ():
                sums[phase] += amps
        yield from sums

    def _exceeds(self, of: Callable[[_Bay], float]) -> bool:
        return any(amps > limit + _EPS_A for amps, limit in zip(self._sum(of), self._limit_a, strict=True))

    def _judge(self, t: float) -> None:
        self.violations["I1"] += self._exceeds(lambda bay: bay.outlet.entitled_a)
        self.violations["I6"] += self._exceeds(lambda bay: bay.entitled_a(t, left_alone=True))

    def _look(self, t: float) -> None:
        """What flows now, for the peak and the time above the limit."""
        flows = list(self._sum(lambda bay: max(bay.outlet.draw_a)))
        self._peak = [max(pair) for pair in zip(self._peak, flows, strict=True)]
        if all(flow <= limit + _EPS_A for flow, limit in zip(flows, self._limit_a, strict=True)):
            self._above_since = None
        else:
            self._above_since = t if self._above_since is None else self._above_since
            self._above_s = max(self._above_s, t - self._above_since)

    def _result(self) -> Replayed:
        shares = [delivered_wh / stay.wanted_wh for stay, delivered_wh in self._served]
        a, b, c = self._peak
        return Replayed(
            limit_a=min(self._limit_a),
            wanted_kwh=sum(stay.wanted_wh for stay, _ in self._served) / 1000,
            delivered_kwh=sum(delivered_wh for _, delivered_wh in self._served) / 1000,
            sessions=len(shares),
            served_less_than_half=sum(share < 0.5 for share in shares),
            jain=jain(shares),
            peak_a=(a, b, c),
            above_s=self._above_s,
            limit_changes_per_car_minute=self._changes / (self._parked_s / 60),
            pauses_per_car=self._pauses / len(shares),
            violations=dict(self.violations),
            days=tuple(self._days()),
        )

    def _days(self) -> Iterator[tuple[float, float]]:
        """Energy by the day of arrival, kWh wanted and delivered."""
        midnight_s = self._garage.began_at.hour * 3600
        sums: dict[int, tuple[float, float]] = {}
        for stay, delivered_wh in self._served:
            day = int((stay.arrive_s + midnight_s) // 86_400)
            wanted_kwh, delivered_kwh = sums.get(day, (0.0, 0.0))
            sums[day] = (wanted_kwh + stay.wanted_wh / 1000, delivered_kwh + delivered_wh / 1000)
        for day in range(max(sums, default=-1) + 1):
            yield sums.get(day, (0.0, 0.0))


def _larger(bay: _Bay) -> float:
    return max(bay.outlet.entitled_a, *bay.outlet.draw_a)


def _amps(limit_ma: PerPhase) -> Amps3:
    a, b, c = (limit_ma[Phase(phase)] / 1000 for phase in SITE_PHASES)
    return (a, b, c)
