"""Charging profiles of a CPO, read and evaluated: what each lets a connector have now, and when that changes.

Theory of operation
    Within a purpose the profile with the highest stack level that is in force counts; across purposes the lowest
    limit. A TxProfile of the transaction replaces the TxDefaultProfiles, of which one for the connector itself comes
    before one for all (OCPP 1.6 §3.13.2). A ChargePointMaxProfile limits all connectors together.

    A limit in watts counts with 230 V on each of its `numberPhases`; without them, on every phase the station is wired
    to. Everything rounds down, to whole milliamps.
Source: OCPP 1.6 §3.13, §7.8 to §7.14, errata 3.68.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.messages import parse_stamp, text, whole_number
from llm_adapters.ocpp16.uplink.wording import cpo_number

Payload: TypeAlias = dict[str, Any]

VOLTAGE_V = 230
HIGHEST_LEVEL = 8
MOST_PERIODS = 24
MOST_PROFILES = 20
MOST_MA = 6_300_000
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_LONGEST_S = 10 * 366 * 86_400


class Purpose(StrEnum):
    MAXIMUM = "ChargePointMaxProfile"
    DEFAULT = "TxDefaultProfile"
    TRANSACTION = "TxProfile"


class Kind(StrEnum):
    ABSOLUTE = "Absolute"
    RECURRING = "Recurring"
    RELATIVE = "Relative"


@attrs.frozen
class Period:
    """From `start_s` after the schedule's start on: `limit` in the schedule's unit."""

    start_s: int
    limit: Decimal
    phases: int | None


@attrs.frozen
class Profile:
    """A charging profile as a CPO sends it; `said` is its own JSON object, for when it is stored."""

    number: int
    level: int
    purpose: Purpose
    kind: Kind
    every: timedelta | None
    valid_from: datetime | None
    valid_to: datetime | None
    transaction_id: int | None
    in_watts: bool
    starts: datetime | None
    duration_s: int | None
    periods: tuple[Period, ...]
    least: Decimal | None
    said: Payload = attrs.field(eq=False, repr=False, factory=dict)

    def begun(self, now: datetime, since: datetime) -> datetime | None:
        """When its schedule began that is running at `now`; `since` is when the transaction did. None: it has not."""
        start = since if self.kind is Kind.RELATIVE or self.starts is None else self.starts
        if self.every is not None and now >= start:
            start += (now - start) // self.every * self.every
        return start if now >= start else None

    def limit_ma(self, now: datetime, since: datetime, phases: int) -> int | None:
        """What it lets each phase have at `now`, None where it is not in force."""
        if self.valid_from is not None and now < self.valid_from:
            return None
        if self.valid_to is not None and now >= self.valid_to:
            return None
        start = self.begun(now, since)
        if start is None or (self.duration_s is not None and now >= start + timedelta(seconds=self.duration_s)):
            return None
        period = next((p for p in reversed(self.periods) if start + timedelta(seconds=p.start_s) <= now), None)
        return None if period is None else self._ma(period, phases)

    def changes(self, now: datetime, since: datetime) -> Iterator[datetime]:
        """The instants after `now` at which it may let have another limit, at least the next of them."""
        starts = since if self.kind is Kind.RELATIVE or self.starts is None else self.starts
        start = self.begun(now, since) or starts
        rounds = (start, start + self.every) if self.every is not None else (start,)
        for begin in rounds:
            yield from (begin + timedelta(seconds=period.start_s) for period in self.periods)
            if self.duration_s is not None:
                yield begin + timedelta(seconds=self.duration_s)
        yield from (edge for edge in (self.valid_from, self.valid_to) if edge is not None)

    def _ma(self, period: Period, phases: int) -> int:
        limit = period.limit
        if self.least is not None and limit < self.least:
            limit = Decimal(0)  # below what the car can use, so nothing
        amps = limit / (VOLTAGE_V * (period.phases or phases)) if self.in_watts else limit
        return max(0, min(int((amps * 1000).to_integral_value(ROUND_FLOOR)), MOST_MA))


@attrs.frozen
class Running:
    """A transaction on a connector, as far as profiles ask: our number, the CPO's, and since when."""

    number: int
    cpo_number: int | None
    since: datetime


class Unfit(ValueError):
    """A profile that is none, or that nobody could keep."""


def read_profile(value: object) -> Profile:
    """The profile in a csChargingProfiles object. Raises `Unfit`."""
    if not isinstance(value, dict) or not isinstance(value.get("chargingSchedule"), dict):
        raise Unfit("no profile with a schedule")
    schedule: Payload = value["chargingSchedule"]
    number, level = whole_number(value.get("chargingProfileId")), whole_number(value.get("stackLevel"))
    unit = schedule.get("chargingRateUnit")
    try:
        purpose, kind = Purpose(text(value.get("chargingProfilePurpose"))), Kind(text(value.get("chargingProfileKind")))
    except ValueError:
        raise Unfit("an unknown purpose or kind") from None
    if number is None or level is None or not 0 <= level <= HIGHEST_LEVEL:
        raise Unfit(f"no id, or a stack level that is not between 0 and {HIGHEST_LEVEL}")
    if unit not in ("A", "W"):
        raise Unfit("a unit that is neither A nor W")
    every = {"Daily": _DAY, "Weekly": _WEEK}.get(text(value.get("recurrencyKind")))
    starts = _instant(schedule, "startSchedule")
    if kind is Kind.RECURRING and (every is None or starts is None):
        raise Unfit("recurring without a kind or a start")
    duration_s = _seconds(schedule.get("duration")) if schedule.get("duration") is not None else None
    return Profile(
        number=number,
        level=level,
        purpose=purpose,
        kind=kind,
        every=every if kind is Kind.RECURRING else None,
        valid_from=_instant(value, "validFrom"),
        valid_to=_instant(value, "validTo"),
        transaction_id=cpo_number(value.get("transactionId")),
        in_watts=unit == "W",
        starts=starts,
        duration_s=duration_s,
        periods=_periods(schedule.get("chargingSchedulePeriod")),
        least=_decimal(schedule["minChargingRate"]) if schedule.get("minChargingRate") is not None else None,
        said=value,
    )


def _periods(value: object) -> tuple[Period, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PERIODS:
        raise Unfit(f"not between 1 and {MOST_PERIODS} periods")
    periods = tuple(map(_period, value))
    if periods[0].start_s != 0 or any(a.start_s >= b.start_s for a, b in pairwise(periods)):
        raise Unfit("periods that do not begin at 0 and follow each other")
    return periods


def _period(value: object) -> Period:
    if not isinstance(value, dict):
        raise Unfit("a period that is none")
    phases = value.get("numberPhases")
    if phases is not None and (isinstance(phases, bool) or phases not in (1, 2, 3)):
        raise Unfit("a number of phases that is not 1, 2 or 3")
    return Period(_seconds(value.get("startPeriod")), _decimal(value.get("limit")), phases)


def _seconds(value: object) -> int:
    number = whole_number(value)
    if number is None or not 0 <= number <= _LONGEST_S:
        raise Unfit("seconds that are none")
    return number


def _decimal(value: object) -> Decimal:
    try:
        number = Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not 0 <= number < Decimal(10) ** 9:
        raise Unfit("a limit that is no number, or below 0")
    return number


def _instant(value: Payload, name: str) -> datetime | None:
    if value.get(name) is None:
        return None
    moment = parse_stamp(value[name])
    if moment is None or not 2000 <= moment.year <= 2200:
        raise Unfit(f"{name} is no instant")
    return moment


def highest(profiles: Iterable[Profile], now: datetime, since: datetime, phases: int) -> int | None:
    """The limit of the profile with the highest stack level among those in force."""
    for profile in sorted(profiles, key=lambda profile: profile.level, reverse=True):
        limit_ma = profile.limit_ma(now, since, phases)
        if limit_ma is not None:
            return limit_ma
    return None
