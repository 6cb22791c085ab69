"""The profiles that a CPO has set at a station, which the station itself never sees: what they let its connectors have.

They are kept and answered for as the station would do; what they allow ends as a cap of each connector. A profile that
came with a remote start waits for its transaction, and counts for the connector until then. All of them outlive a
restart, those of a transaction with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, TypeAlias

import attrs

from llm_adapters.ocpp16.messages import stamp, text, whole_number
from llm_adapters.ocpp16.uplink.schedules import (
    MOST_MA,
    MOST_PROFILES,
    VOLTAGE_V,
    Profile,
    Purpose,
    Running,
    Unfit,
    highest,
    read_profile,
)

Payload: TypeAlias = dict[str, Any]

AWAITED = timedelta(minutes=5)  # so long a profile waits for the start that it came with
MOST_INSTANTS = 500
LONGEST_COMPOSITE_S = 7 * 86_400


@attrs.frozen
class Awaited:
    """A profile on its way with a remote start; `connector` None: wherever the badge starts.

    Its transaction is the first that gets a number above `after`: stations stamp a start by clocks of their own.
    """

    profile: Profile
    connector: int | None
    until: datetime
    after: int


class Shadow:
    """The profiles of one station. `phases` is how many it is wired to; connectors count from 1."""

    def __init__(self, stored: str = "") -> None:
        self._profiles: dict[int, tuple[int, Profile]] = {}  # by id: connector, profile
        self._awaited: dict[int | None, Awaited] = {}  # by connector
        for row in json.loads(stored) if stored else ():
            self._restore(*row)

    def _restore(
        self,
        connector: int | None,
        said: Payload,
        transaction_id: int | None = None,
        until: str | None = None,
        after: int = 0,
    ) -> None:
        profile = read_profile(said)
        if until is not None:
            self._awaited[connector] = Awaited(profile, connector, datetime.fromisoformat(until), after)
        elif connector is not None:
            self._profiles[profile.number] = (connector, attrs.evolve(profile, transaction_id=transaction_id))

    def __bool__(self) -> bool:
        return bool(self._profiles or self._awaited)

    def stored(self) -> str:
        """What to give to the next start-up."""
        kept = [[connector, one.said, one.transaction_id] for connector, one in self._profiles.values()]
        waiting = [
            [one.connector, one.profile.said, None, one.until.isoformat(), one.after] for one in self._awaited.values()
        ]
        return json.dumps([*kept, *waiting])

    # What the CPO asks

    def put(self, payload: Payload, running: Mapping[int, Running], connectors: int) -> str:
        """Take a SetChargingProfile.req; the status to answer. Raises `Unfit` for one that is none."""
        connector = whole_number(payload.get("connectorId"))
        profile = read_profile(payload.get("csChargingProfiles"))
        if connector is None or not 0 <= connector <= connectors:
            return "Rejected"
        if profile.purpose is Purpose.MAXIMUM and connector != 0:
            return "Rejected"
        if profile.purpose is Purpose.TRANSACTION:
            present = running.get(connector)
            if present is None or profile.transaction_id not in (None, present.cpo_number):
                return "Rejected"
            profile = attrs.evolve(profile, transaction_id=present.number)
        place = (connector, profile.purpose, profile.level)
        kept = {
            number: (where, other)
            for number, (where, other) in self._profiles.items()
            if number != profile.number and (where, other.purpose, other.level) != place
        }
        if len(kept) >= MOST_PROFILES:
            return "Rejected"
        self._profiles = {**kept, profile.number: (connector, profile)}
        return "Accepted"

    def clear(self, payload: Payload) -> str:
        """Take a ClearChargingProfile.req; the status to answer."""
        number, connector = whole_number(payload.get("id")), whole_number(payload.get("connectorId"))
        purpose, level = text(payload.get("chargingProfilePurpose")), whole_number(payload.get("stackLevel"))

        def meant(where: int, profile: Profile) -> bool:
            if number is not None:
                return profile.number == number
            return (
                connector in (None, where) and purpose in ("", profile.purpose.value) and level in (None, profile.level)
            )

        gone = [key for key, (where, profile) in self._profiles.items() if meant(where, profile)]
        for key in gone:
            del self._profiles[key]
        return "Accepted" if gone else "Unknown"

    def expect(self, value: object, connector: int | None, running: Mapping[int, Running], now: datetime) -> Awaited:
        """A remote start brings this profile. Raises `Unfit`, also for one that is not of a transaction."""
        profile = read_profile(value)
        if profile.purpose is not Purpose.TRANSACTION:
            raise Unfit("a profile of a remote start that is not one of its transaction")
        latest = max((present.number for present in running.values()), default=0)
        awaited = self._awaited[connector or None] = Awaited(profile, connector or None, now + AWAITED, latest)
        return awaited

    def dismiss(self, awaited: Awaited) -> None:
        """The station refused the start that this profile came with."""
        if self._awaited.get(awaited.connector) is awaited:
            del self._awaited[awaited.connector]

    # Transactions

    def follow(self, running: Mapping[int, Running], now: datetime) -> bool:
        """What ended takes its profiles along, what began gets the one that waited; whether anything changed."""
        before = (self._profiles, dict(self._awaited))
        numbers = {present.number for present in running.values()}
        self._profiles = {
            key: (connector, profile)
            for key, (connector, profile) in self._profiles.items()
            if profile.purpose is not Purpose.TRANSACTION or profile.transaction_id in numbers
        }
        for awaited in list(self._awaited.values()):
            begun = [
                (connector, present)
                for connector, present in running.items()
                if awaited.connector in (None, connector) and present.number > awaited.after
            ]
            if begun:
                connector, present = min(begun, key=lambda one: one[1].number)
                profile = attrs.evolve(awaited.profile, transaction_id=present.number)
                self._profiles[profile.number] = (connector, profile)
            if begun or now >= awaited.until:
                del self._awaited[awaited.connector]
        return (self._profiles, self._awaited) != before

    # What they allow

    def cap_ma(self, connector: int, running: Mapping[int, Running], now: datetime, phases: int) -> int | None:
        """What the connector may have on each phase at `now`; None where nothing limits it."""
        limits_ma = [self._transaction_ma(connector, running.get(connector), now, phases)]
        maximum_ma = highest(self._of(0, Purpose.MAXIMUM), now, now, phases)
        if maximum_ma is not None:
            limits_ma.append(maximum_ma // max(1, len({*running, connector})))
        return min((limit_ma for limit_ma in limits_ma if limit_ma is not None), default=None)

    def _transaction_ma(self, connector: int, present: Running | None, now: datetime, phases: int) -> int | None:
        since = now if present is None else present.since
        own = self._of(connector, Purpose.TRANSACTION) if present is not None else self._waiting(connector, now)
        for profiles in (own, self._of(connector, Purpose.DEFAULT), self._of(0, Purpose.DEFAULT)):
            limit_ma = highest(profiles, now, since, phases)
            if limit_ma is not None:
                return limit_ma
        return None

    def _of(self, connector: int, purpose: Purpose) -> list[Profile]:
        return [
            profile for where, profile in self._profiles.values() if where == connector and profile.purpose is purpose
        ]

    def _waiting(self, connector: int, now: datetime) -> list[Profile]:
        return [
            awaited.profile
            for awaited in self._awaited.values()
            if awaited.connector in (None, connector) and now < awaited.until
        ]

    def next_change(self, running: Mapping[int, Running], now: datetime) -> datetime | None:
        """The next instant at which a cap may be another one; None where they stay as they are."""
        return min((instant for instant in self._changes(running, now) if instant > now), default=None)

    def _changes(self, running: Mapping[int, Running], now: datetime) -> Iterator[datetime]:
        for connector, profile in self._profiles.values():
            sinces = [present.since for where, present in running.items() if connector in (0, where)]
            for since in sinces or [now]:
                yield from profile.changes(now, since)
        for awaited in self._awaited.values():
            yield from awaited.profile.changes(now, now)
            yield awaited.until

    def composite(
        self,
        payload: Payload,
        local_ma: Callable[[int], int],
        running: Mapping[int, Running],
        connectors: int,
        now: datetime,
        phases: int,
    ) -> Payload:
        """GetCompositeSchedule.conf: the lower of what these profiles and `local_ma` (of each connector) allow."""
        connector, duration_s = whole_number(payload.get("connectorId")), whole_number(payload.get("duration"))
        unit = payload.get("chargingRateUnit") or "A"
        if connector is None or not 0 <= connector <= connectors or duration_s is None or unit not in ("A", "W"):
            return {"status": "Rejected"}
        places = range(1, connectors + 1) if connector == 0 else (connector,)
        until = now + timedelta(seconds=min(max(duration_s, 1), LONGEST_COMPOSITE_S))

        def allowed_ma(instant: datetime) -> int:
            caps = ((self.cap_ma(n, running, instant, phases), local_ma(n)) for n in places)
            return min(sum(local if cap is None else min(cap, local) for cap, local in caps), MOST_MA)

        periods: list[Payload] = []
        instant: datetime | None = now
        while instant is not None and instant < until and len(periods) < MOST_INSTANTS:
            limit = _told(allowed_ma(instant), unit, phases)
            if not periods or periods[-1]["limit"] != limit:
                start_s = int((instant - now).total_seconds())
                periods.append({"startPeriod": start_s, "limit": limit, "numberPhases": phases})
            instant = self.next_change(running, instant)
        schedule = {
            "duration": int((until - now).total_seconds()),
            "startSchedule": stamp(now),
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": periods,
        }
        return {
            "status": "Accepted",
            "connectorId": connector,
            "scheduleStart": stamp(now),
            "chargingSchedule": schedule,
        }


def _told(limit_ma: int, unit: str, phases: int) -> float:
    amps = Decimal(limit_ma) / 1000
    value = amps * VOLTAGE_V * phases if unit == "W" else amps
    return float(value.quantize(Decimal("0.1"), ROUND_FLOOR))
