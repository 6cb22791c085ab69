"""The commissioning test: what a station can do with limits, tried on itself, told in steps.

Theory of operation
    Nothing that is tried may let a car draw more than control allows. On an idle connector every limit that is written
    is 0 A or half an amp (no car can draw that, IEC 61851-1), in the place of the live limit, and it is cleared again.
    One that refuses 0 A is offered its minimum, if it counts with as much anyway.
    With a car present nothing is written here at all: control itself is asked to cap the connector, and what follows
    is seen in the readings. Where floor and live limit share one place, the floor is written again at the end.

    The test that cuts the link keeps the station out for as long as a lease lasts, then asks for a reading before
    anything else; the one that restarts it asks for its limit before control can have written one.

A station that says nothing clear is called unclear, not able.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.adoption import KEYS, Configuration, read_configuration
from llm_adapters.ocpp16.memory import Memory
from llm_adapters.ocpp16.messages import quantity
from llm_adapters.ocpp16.profiles import FLOOR_LEVEL, LIVE_LEVEL, VOLTAGE_V, Dialect, set_charging_profile
from llm_core import (
    CallFailure,
    CallOutcome,
    CapSource,
    Clock,
    CommissionTold,
    CommissionWish,
    ConnectorCapped,
    ConnectorState,
    Finding,
    Inbox,
    Json,
    Progress,
    Purpose,
    SetLimit,
    StationState,
    Trial,
    Tried,
)

Payload: TypeAlias = dict[str, Any]
Place: TypeAlias = Callable[[str, Mapping[str, Json]], Awaitable[CallOutcome]]

HALF_AMP_MA = 500
FOLLOWS_S = 60.0
RETURNS_S = 300.0
RISES_S = 120.0
CLEAR_DRAW_MA = 2_000  # a draw that far above the limit to come tells whether it is followed
DRAWS_MA = 1_000
POLL_S = 0.05
LEASE_SPARE_S = 100  # so long after a lease no reading out of a queue passes for one of the time before


class BrokenOff(Exception):
    """The test cannot go on; the text says why."""


@attrs.frozen
class Bench:
    """What the test works with: calls to the station, the facts of the core, and a way to cut the link for a while."""

    station_id: str
    by: str
    wish: CommissionWish
    place: Place
    cut: Callable[[float], None]
    memory: Memory
    inbox: Inbox
    clock: Clock

    @property
    def station(self) -> StationState:
        return self.inbox.state.stations.get(self.station_id, StationState())

    @property
    def connector(self) -> ConnectorState | None:
        return self.inbox.state.connectors.get((self.station_id, self.wish.connector))

    @property
    def is_idle(self) -> bool:
        connector = self.connector
        return connector is not None and connector.session is None and connector.preparing_ms is None

    async def until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Wait for the core to know something."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not holds():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


async def commission(bench: Bench) -> None:
    """Make every trial that is possible, and tell the core how far it is. Ends with the last one, or broken off."""
    tried: list[Tried] = []

    def tell(progress: Progress, trying: Trial | None = None, why: str = "") -> None:
        event = CommissionTold(bench.station_id, bench.wish.connector, bench.by, progress, trying, tuple(tried), why)
        bench.inbox.post(event)

    tell(Progress.RUNNING, Trial.CONFIGURATION)
    try:
        async for result in _trials(bench):
            tried.append(result)
            tell(Progress.RUNNING, _next(result.trial))
    except BrokenOff as reason:
        tell(Progress.BROKEN_OFF, why=str(reason))
    except BaseException:
        tell(Progress.BROKEN_OFF, why="the controller or the link to the station ended")
        raise
    else:
        tell(Progress.DONE)


def _next(trial: Trial) -> Trial | None:
    order = list(Trial)
    index = order.index(trial) + 1
    return order[index] if index < len(order) else None


async def _trials(bench: Bench) -> AsyncIterator[Tried]:
    answer = await bench.place("GetConfiguration", {"key": list(KEYS)})
    configuration = read_configuration(dict(answer.payload))
    yield _configured(configuration)
    if bench.is_idle:
        async for result in _on_paper(bench, configuration):
            yield result
    else:
        for trial in (Trial.AMPS, Trial.WATTS, Trial.ZERO, Trial.DECIMALS, Trial.SECOND_PERIOD):
            yield Tried(trial, Finding.SKIPPED, "the connector is in use")
        for trial in (Trial.STACKING, Trial.COMPOSITE, Trial.CLEARING):
            yield Tried(trial, Finding.SKIPPED, "the connector is in use")
    yield await _obeys(bench)
    yield _phases(bench)
    yield await _falls_back(bench)
    yield await _keeps_profiles(bench)


def _configured(configuration: Configuration) -> Tried:
    if not configuration.spelled:
        return Tried(Trial.CONFIGURATION, Finding.NO, "it tells none of its settings")
    told = {
        "units": configuration.text("ChargingScheduleAllowedChargingRateUnit"),
        "levels": configuration.text("ChargeProfileMaxStackLevel"),
        "periods": configuration.text("ChargingScheduleMaxPeriods"),
        "profiles": configuration.text("MaxChargingProfilesInstalled"),
    }
    detail = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    return Tried(Trial.CONFIGURATION, Finding.YES, detail)


# On an idle connector


async def _on_paper(bench: Bench, configuration: Configuration) -> AsyncIterator[Tried]:
    dialect = bench.memory.dialect
    try:
        amps, amps_zero = await _least(bench, attrs.evolve(dialect, in_watts=False))
        yield _answered(Trial.AMPS, amps)
        watts, watts_zero = await _least(bench, attrs.evolve(dialect, in_watts=True))
        yield _answered(Trial.WATTS, watts)
        works = dialect if _says(amps if not dialect.in_watts else watts) else _other(dialect)
        zero = watts_zero if works.in_watts else amps_zero
        yield _zero(zero, takes_any=_says(amps) or _says(watts))
        yield await _decimals(bench, works, _says(amps), takes_zero=zero)
        least_ma = 0 if zero or not (_says(amps) or _says(watts)) else _minimum_ma(bench)
        yield await _second_period(bench, works, least_ma)
        yield await _stacking(bench, works, configuration)
        yield await _composite(bench, works, least_ma)
    finally:
        cleared = await _cleared(bench, dialect)
    yield _answered(Trial.CLEARING, cleared)


async def _cleared(bench: Bench, dialect: Dialect) -> CallOutcome:
    """Take away what was written, unless somebody came meanwhile: then control's own limit may lie in its place."""
    if not bench.is_idle:
        raise BrokenOff("somebody came to charge")
    cleared = await bench.place("ClearChargingProfile", _place_of(bench, dialect))
    await _floor_again(bench)
    return cleared


async def _least(bench: Bench, dialect: Dialect) -> tuple[CallOutcome, bool]:
    """Offer 0 A, or else its minimum where it counts with as much anyway; the answer, and whether it took 0 A."""
    outcome = await _offered(bench, dialect, 0)
    connector, least_ma = bench.connector, _minimum_ma(bench)
    if _says(outcome) or outcome.failure in (CallFailure.TIMEOUT, CallFailure.OFFLINE) or connector is None:
        return outcome, _says(outcome)
    if connector.ledger.held_ma(bench.clock.monotonic_ms(), decays=False) < least_ma:
        return outcome, False
    return await _offered(bench, dialect, least_ma), False


def _minimum_ma(bench: Bench) -> int:
    station = bench.inbox.state.site.station(bench.station_id)
    return 0 if station is None else station.min_ma


def _zero(takes_zero: bool, *, takes_any: bool) -> Tried:
    if not takes_any:
        return Tried(Trial.ZERO, Finding.SKIPPED, "it takes no limit")
    return Tried(Trial.ZERO, Finding.YES if takes_zero else Finding.NO)


def _other(dialect: Dialect) -> Dialect:
    return attrs.evolve(dialect, in_watts=not dialect.in_watts)


def _says(outcome: CallOutcome) -> bool:
    return outcome.failure is None and outcome.status == "Accepted"


def _answered(trial: Trial, outcome: CallOutcome) -> Tried:
    """Yes where the station accepts, no where it refuses; what it does not answer is unclear."""
    if outcome.failure is not None and outcome.failure.value in ("timeout", "offline"):
        if outcome.failure.value == "offline":
            raise BrokenOff("the station is gone")
        return Tried(trial, Finding.UNCLEAR, "no answer")
    told = outcome.status or outcome.detail
    return Tried(trial, Finding.YES if _says(outcome) else Finding.NO, told)


async def _offered(bench: Bench, dialect: Dialect, limit_ma: int, then_ma: int | None = None) -> CallOutcome:
    """Write a limit that no car can draw in the place of the live one, with what follows it where that is asked."""
    if not bench.is_idle:
        raise BrokenOff("somebody came to charge")
    command = SetLimit(
        seq=0,
        station_id=bench.station_id,
        connector=bench.wish.connector,
        purpose=Purpose.DEFAULT,
        limit_ma=limit_ma,
        then_ma=limit_ma if then_ma is None else then_ma,
        lease_ms=None if then_ma is None else 300_000,
        transaction_id=None,
        phases=_phases_of(bench),
        lowers=False,
    )
    payload = set_charging_profile(command, dialect, bench.memory.utc(bench.clock))
    return await bench.place("SetChargingProfile", payload)


def _phases_of(bench: Bench) -> int:
    station = bench.inbox.state.site.station(bench.station_id)
    return 3 if station is None else len(station.phase_rotation)


async def _decimals(bench: Bench, dialect: Dialect, takes_amps: bool, *, takes_zero: bool) -> Tried:
    if not takes_amps or dialect.in_watts:
        return Tried(Trial.DECIMALS, Finding.SKIPPED, "it takes watts")
    if not takes_zero:
        return Tried(Trial.DECIMALS, Finding.SKIPPED, "it refuses half an amp with 0 A")
    outcome = await _offered(bench, attrs.evolve(dialect, step_ma=100), HALF_AMP_MA)
    if not _says(outcome):
        return _answered(Trial.DECIMALS, outcome)
    held = await _held(bench, "A")
    if held is None:
        return Tried(Trial.DECIMALS, Finding.YES, "accepted")
    kept = held == HALF_AMP_MA
    return Tried(Trial.DECIMALS, Finding.YES if kept else Finding.UNCLEAR, f"0.5 A became {held / 1000:g} A")


async def _second_period(bench: Bench, dialect: Dialect, least_ma: int) -> Tried:
    outcome = await _offered(bench, attrs.evolve(dialect, takes_periods=True), least_ma or HALF_AMP_MA, least_ma)
    return _answered(Trial.SECOND_PERIOD, outcome)


async def _stacking(bench: Bench, dialect: Dialect, configuration: Configuration) -> Tried:
    if not dialect.stacks:
        room = configuration.text("MaxChargingProfilesInstalled") or "too few"
        return Tried(Trial.STACKING, Finding.NO, f"levels {configuration.max_level}, profiles {room}")
    floor = await bench.place("GetCompositeSchedule", {"connectorId": bench.wish.connector, "duration": 60})
    return Tried(Trial.STACKING, Finding.YES, floor.status or "accepted")


async def _composite(bench: Bench, dialect: Dialect, least_ma: int) -> Tried:
    outcome = await _offered(bench, dialect, least_ma)
    if not _says(outcome):
        return Tried(Trial.COMPOSITE, Finding.SKIPPED, "it took no limit to ask for")
    held = await _held(bench, "W" if dialect.in_watts else "A")
    if held is None:
        return Tried(Trial.COMPOSITE, Finding.UNCLEAR, "it tells no limit")
    given = least_ma * (VOLTAGE_V * _phases_of(bench) if dialect.in_watts else 1)
    detail = f"told {held / 1000:g} of {given / 1000:g}"
    return Tried(Trial.COMPOSITE, Finding.YES if held == given else Finding.NO, detail)


async def _held(bench: Bench, unit: str) -> int | None:
    """What the station says it would follow now, in thousandths of its unit; None where it does not say."""
    asked: dict[str, Json] = {"connectorId": bench.wish.connector, "duration": 60, "chargingRateUnit": unit}
    outcome = await bench.place("GetCompositeSchedule", asked)
    schedule = outcome.payload.get("chargingSchedule")
    periods = schedule.get("chargingSchedulePeriod") if isinstance(schedule, dict) else None
    first = periods[0] if isinstance(periods, list) and periods else None
    limit = quantity(first.get("limit")) if isinstance(first, dict) else None
    if not _says(outcome) or limit is None or limit < 0 or not isinstance(schedule, dict):
        return None
    if schedule.get("chargingRateUnit", unit) != unit:
        return None
    return int(limit * 1000)


def _place_of(bench: Bench, dialect: Dialect) -> Mapping[str, Json]:
    level = LIVE_LEVEL if dialect.stacks else FLOOR_LEVEL
    return {
        "connectorId": bench.wish.connector,
        "chargingProfilePurpose": "TxDefaultProfile",
        "stackLevel": level,
    }


async def _floor_again(bench: Bench) -> None:
    """Where the one place was used for the test, the floor has to lie in it again."""
    floor = bench.memory.floors.get(bench.wish.connector)
    if floor is not None and not bench.memory.dialect.stacks:
        payload = set_charging_profile(floor, bench.memory.dialect, bench.memory.utc(bench.clock))
        await bench.place("SetChargingProfile", payload)


# With a car


def _draw_ma(connector: ConnectorState | None) -> int:
    return max(connector.readings[-1].current_ma) if connector is not None and connector.readings else 0


async def _obeys(bench: Bench) -> Tried:
    """Have control lower the car to its minimum, and see whether it follows."""
    station, connector = bench.inbox.state.site.station(bench.station_id), bench.connector
    if station is None or connector is None or connector.session is None:
        return Tried(Trial.OBEYS, Finding.SKIPPED, "no car charges")
    before_ma, goal_ma = _draw_ma(connector), station.min_ma
    if before_ma < goal_ma + CLEAR_DRAW_MA:
        return Tried(Trial.OBEYS, Finding.UNCLEAR, f"the car draws {before_ma / 1000:g} A, too little to tell")
    capped = ConnectorCapped(bench.station_id, bench.wish.connector, CapSource.TEST, goal_ma)
    bench.inbox.post(capped)
    try:
        follows = await bench.until(lambda: _draw_ma(bench.connector) <= goal_ma + goal_ma // 10 + DRAWS_MA, FOLLOWS_S)
    finally:
        bench.inbox.post(attrs.evolve(capped, limit_ma=None))
    after_ma = _draw_ma(bench.connector)
    detail = f"told {goal_ma / 1000:g} A, from {before_ma / 1000:g} to {after_ma / 1000:g} A"
    return Tried(Trial.OBEYS, Finding.YES if follows else Finding.NO, detail)


def _phases(bench: Bench) -> Tried:
    connector = bench.connector
    if connector is None or connector.session is None or not connector.readings:
        return Tried(Trial.PHASES, Finding.SKIPPED, "no car charges")
    current = connector.readings[-1].current_ma
    phases = [name for name, ma in zip(("L1", "L2", "L3"), current, strict=True) if ma > DRAWS_MA]
    if not phases:
        return Tried(Trial.PHASES, Finding.UNCLEAR, "the car draws nothing")
    return Tried(Trial.PHASES, Finding.YES, " ".join(phases))


async def _falls_back(bench: Bench) -> Tried:
    """Keep the station out for a lease, and see what the car draws when it is back."""
    if not bench.wish.link_cut:
        return Tried(Trial.FALLS_BACK, Finding.SKIPPED, "not asked for")
    connector = bench.connector
    if connector is None or connector.session is None:
        return Tried(Trial.FALLS_BACK, Finding.SKIPPED, "no car charges")
    await bench.until(lambda: _can_fall(bench.connector), RISES_S)  # a trial before this one has lowered the car
    connector = bench.connector or connector
    goal_ma, before_ma = connector.ledger.left_alone_ma(), _draw_ma(connector)
    if not _can_fall(connector):
        return Tried(Trial.FALLS_BACK, Finding.UNCLEAR, f"the car draws {before_ma / 1000:g} A, too little to tell")
    cut_s = bench.inbox.state.site.supply.lease_ms / 1000 + LEASE_SPARE_S
    since_ms = bench.clock.monotonic_ms()
    bench.cut(cut_s)
    if not await bench.until(lambda: bench.station.online and bench.station.since_ms > since_ms, cut_s + RETURNS_S):
        raise BrokenOff("the station did not come back after its link was cut")
    back_ms = bench.station.since_ms
    await bench.place("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": bench.wish.connector})
    heard = await bench.until(lambda: _read_since(bench.connector, back_ms), FOLLOWS_S)
    if not heard:
        return Tried(Trial.FALLS_BACK, Finding.UNCLEAR, "it sent no reading")
    after_ma = _draw_ma(bench.connector)
    fell = after_ma <= goal_ma + goal_ma // 10 + DRAWS_MA
    detail = f"from {before_ma / 1000:g} to {after_ma / 1000:g} A in {cut_s:g} s alone"
    return Tried(Trial.FALLS_BACK, Finding.YES if fell else Finding.NO, detail)


def _can_fall(connector: ConnectorState | None) -> bool:
    return connector is not None and _draw_ma(connector) >= connector.ledger.left_alone_ma() + CLEAR_DRAW_MA


def _read_since(connector: ConnectorState | None, since_ms: int) -> bool:
    return connector is not None and bool(connector.readings) and connector.readings[-1].at_ms >= since_ms


async def _keeps_profiles(bench: Bench) -> Tried:
    """Restart an idle station, and ask for its limit before control can have written one."""
    if not bench.wish.reboot:
        return Tried(Trial.KEEPS_PROFILES, Finding.SKIPPED, "not asked for")
    floor, dialect = bench.memory.floors.get(bench.wish.connector), bench.memory.dialect
    if not bench.is_idle or floor is None:
        return Tried(Trial.KEEPS_PROFILES, Finding.SKIPPED, "the connector is in use, or holds no limit yet")
    boots, since_ms = bench.memory.boots, bench.clock.monotonic_ms()
    outcome = await bench.place("Reset", {"type": "Hard"})
    if not _says(outcome):
        return Tried(Trial.KEEPS_PROFILES, Finding.UNCLEAR, f"it does not restart: {outcome.status or outcome.detail}")
    if not await bench.until(lambda: bench.memory.boots > boots and bench.station.since_ms > since_ms, RETURNS_S):
        raise BrokenOff("the station did not come back after its restart")
    held = await _held(bench, "W" if dialect.in_watts else "A")
    if held is None:
        return Tried(Trial.KEEPS_PROFILES, Finding.UNCLEAR, "it tells no limit")
    if bench.memory.floors.get(bench.wish.connector) is not floor:
        return Tried(Trial.KEEPS_PROFILES, Finding.UNCLEAR, "control wrote its limit before it could be asked")
    return Tried(
        Trial.KEEPS_PROFILES,
        Finding.YES if held <= floor.limit_ma else Finding.NO,
        f"{held / 1000:g} {'W' if dialect.in_watts else 'A'} after its restart",
    )
