"""Limits as charging profiles: what a `SetLimit` or `ClearLimit` of the core says on the wire.

Theory of operation
    A connector has up to three profiles of ours. Stack level 0 holds the *floor*, a permanent TxDefaultProfile.
    Level 1 holds the live limits: a TxDefaultProfile while a car prepares, a TxProfile while it charges. A live
    limit is a lease, told as a schedule of two periods: the limit now, what follows once nothing more is heard.
    There is no `duration`: a schedule that ends leaves some stations without any limit. Its start lies 60 s back
    on the clock of the *station*, which decides when periods begin, so that a small error of it does no harm.

    On a station that cannot stack, all three are one TxDefaultProfile at level 0, rewritten each time. A schedule that
    has not begun would leave nothing there, so it starts more than a day back: by so much a clock may fall back while
    we do not hear it, or with ours, which it is set by.

Rounding only ever loses current: amps are cut to the station's step and to one decimal, watts to whole ones. Watts
count with 230 V a phase and `numberPhases`, which is always told (OCPP 1.6 errata 3.68: 3 where it is missing).
Source: OCPP 1.6 §3.13 (smart charging), §5.5, §5.16, §7.8 to §7.14.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, TypeAlias

import attrs

from llm_core import ClearLimit, Purpose, SetLimit

Payload: TypeAlias = dict[str, Any]

VOLTAGE_V = 230
BEGUN_S = 60
BEGUN_ALONE_S = 90_000
FLOOR_LEVEL = 0
LIVE_LEVEL = 1
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_ID = 7_000
_PLACE = {Purpose.FLOOR: 0, Purpose.DEFAULT: 1, Purpose.TRANSACTION: 2}
_TENTH_A = Decimal("0.1")
_LEAST_STEP_MA = 100


@attrs.frozen
class Dialect:
    """How a station wants its limits told: unit, step, and which of the finer points it does not take."""

    in_watts: bool = False
    step_ma: int = _LEAST_STEP_MA
    stacks: bool = True
    takes_relative: bool = True
    takes_periods: bool = True  # a second schedule period


def set_charging_profile(command: SetLimit, dialect: Dialect, station_utc: datetime) -> Payload:
    """The SetChargingProfile.req for `command`, never above its `limit_ma` nor, later, its `then_ma`.

    `station_utc` is the present time on the station's own clock.
    """
    purpose = command.purpose if dialect.stacks else Purpose.FLOOR
    profile: Payload = {
        "chargingProfileId": _profile_id(command.connector, purpose),
        "stackLevel": FLOOR_LEVEL if purpose is Purpose.FLOOR else LIVE_LEVEL,
        "chargingProfilePurpose": _wire_purpose(purpose),
    }
    if purpose is Purpose.TRANSACTION and command.transaction_id is not None:
        profile["transactionId"] = command.transaction_id
    schedule: Payload = {
        "chargingRateUnit": "W" if dialect.in_watts else "A",
        "chargingSchedulePeriod": _periods(command, dialect),
    }
    if command.lease_ms is None and dialect.takes_relative:
        profile["chargingProfileKind"] = "Relative"
    else:
        start = _LONG_AGO if command.lease_ms is None else station_utc - timedelta(seconds=_begun_s(dialect))
        profile["chargingProfileKind"] = "Absolute"
        schedule["startSchedule"] = start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    profile["chargingSchedule"] = schedule
    return {"connectorId": command.connector, "csChargingProfiles": profile}


def clear_charging_profile(command: ClearLimit, dialect: Dialect) -> Payload:
    """The ClearChargingProfile.req that removes the live limits of a connector and never its floor.

    Where the station cannot stack, the live TxDefaultProfile *is* the floor: this clears TxProfiles only, and the
    floor has to be written again in place of the rest.
    """
    if command.purpose is Purpose.FLOOR:
        raise ValueError("the floor is never cleared")
    if not dialect.stacks:
        return {"connectorId": command.connector, "chargingProfilePurpose": "TxProfile"}
    payload: Payload = {"connectorId": command.connector, "stackLevel": LIVE_LEVEL}
    if command.purpose is not None:
        payload["chargingProfilePurpose"] = _wire_purpose(command.purpose)
    return payload


def clear_foreign_profiles(connector: int, max_level: int, dialect: Dialect) -> Iterator[Payload]:
    """One ClearChargingProfile.req for each place up to `max_level` where somebody else's limit may lie.

    Ours stay, and so does a ChargePointMaxProfile: it may be the maker's protection.
    """
    ours = {("TxDefaultProfile", FLOOR_LEVEL)}
    if dialect.stacks:
        ours |= {("TxDefaultProfile", LIVE_LEVEL), ("TxProfile", LIVE_LEVEL)}
    for level in range(max_level + 1):
        for purpose in ("TxProfile", "TxDefaultProfile"):
            if (purpose, level) not in ours:
                yield {"connectorId": connector, "chargingProfilePurpose": purpose, "stackLevel": level}


def _profile_id(connector: int, purpose: Purpose) -> int:
    """A number of its own for each place, clear of the small ones that others begin with."""
    return _FIRST_ID + connector * len(_PLACE) + _PLACE[purpose]


def _wire_purpose(purpose: Purpose) -> str:
    return "TxProfile" if purpose is Purpose.TRANSACTION else "TxDefaultProfile"


def _periods(command: SetLimit, dialect: Dialect) -> list[Payload]:
    now = {"startPeriod": 0, "limit": _limit(command.limit_ma, command.phases, dialect), "numberPhases": command.phases}
    if command.lease_ms is None or not dialect.takes_periods:
        return [now]
    over_s = _begun_s(dialect) + command.lease_ms // 1000
    then_limit = _limit(command.then_ma, command.phases, dialect)
    return [now, {"startPeriod": over_s, "limit": then_limit, "numberPhases": command.phases}]


def _begun_s(dialect: Dialect) -> int:
    """How long ago a lease began on the clock of the station, s."""
    return BEGUN_S if dialect.stacks else BEGUN_ALONE_S


def _limit(limit_ma: int, phases: int, dialect: Dialect) -> int | float:
    """Amps with one decimal (a whole number as one, for stations that read only those), or whole watts."""
    amps = Decimal(limit_ma // dialect.step_ma * dialect.step_ma) / 1000
    if dialect.in_watts:
        return int(amps * VOLTAGE_V * phases)
    tenths = amps.quantize(_TENTH_A, ROUND_FLOOR)
    return int(tenths) if tenths == int(tenths) else float(tenths)
