"""The charging profiles that one OCPP 1.6 station holds, kept as received and evaluated as the standard says.

Theory of operation. At any instant each purpose has at most one *leading* schedule: that of the highest stack level
whose profile is valid (validFrom, validTo) and whose schedule has a period for that instant (OCPP 1.6 §3.13.2). A
schedule that is over lets the next level beneath apply. During a transaction a TxProfile replaces the
TxDefaultProfile (§3.13.1); a TxDefaultProfile on a connector overrules the one on connector 0. The
ChargePointMaxProfile is a minimum on top of it (§3.13.3). Where nothing leads, nothing limits: the answer is
`math.inf` and the hardware decides.

All instants are seconds since 1970 on the *station's* clock, which may be wrong: absolute schedules run on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

MAX = "ChargePointMaxProfile"
DEFAULT = "TxDefaultProfile"
TX = "TxProfile"
_PURPOSES = (MAX, DEFAULT, TX)
_EVERY_S = {"Daily": 86_400.0, "Weekly": 7 * 86_400.0}


@attrs.frozen
class Transaction:
    """What the evaluation must know of a running transaction: its id (None until answered) and its start."""

    transaction_id: int | None
    started_at: float


@attrs.frozen
class Period:
    start_s: float
    limit: float
    number_phases: int | None


@attrs.frozen
class Profile:
    """One installed profile: `raw` as it came over the wire, the rest read from it once."""

    connector: int
    raw: Mapping[str, Any]
    profile_id: int
    stack_level: int
    purpose: str
    kind: str
    unit: str
    periods: tuple[Period, ...]
    transaction_id: int | None = None
    valid_from: float = -math.inf
    valid_to: float = math.inf
    start: float | None = None
    duration_s: float = math.inf
    every_s: float = math.inf

    def _origin(self, now: float, started_at: float) -> float:
        """When the schedule that matters at `now` began (or will begin)."""
        if self.kind == "Relative" or self.start is None:
            return started_at
        if self.every_s < math.inf and now >= self.start:
            return self.start + math.floor((now - self.start) / self.every_s) * self.every_s
        return self.start

    def period_at(self, now: float, started_at: float) -> Period | None:
        """The period that holds at `now`, None where the profile or its schedule says nothing (§7.13)."""
        if not self.valid_from <= now < self.valid_to:
            return None
        offset = now - self._origin(now, started_at)
        if not 0 <= offset < self.duration_s:
            return None
        found = None
        for period in self.periods:
            if period.start_s > offset:
                break
            found = period
        return found

    def edges(self, now: float, started_at: float) -> Iterator[float]:
        """Every instant at which this profile may begin to say something else."""
        origin = self._origin(now, started_at)
        yield from (self.valid_from, self.valid_to, origin + self.duration_s, origin + self.every_s)
        for period in self.periods:
            yield origin + period.start_s


def read_profile(connector: int, raw: Mapping[str, Any]) -> Profile:
    """The profile in a `csChargingProfiles` object; ValueError, KeyError or TypeError where it is none (§7.8)."""
    schedule = raw["chargingSchedule"]
    periods = tuple(
        Period(float(p["startPeriod"]), float(p["limit"]), p.get("numberPhases"))
        for p in schedule["chargingSchedulePeriod"]
    )
    purpose, kind, unit = raw["chargingProfilePurpose"], raw["chargingProfileKind"], schedule["chargingRateUnit"]
    if purpose not in _PURPOSES:
        raise ValueError(f"unknown purpose {purpose}")
    if kind not in ("Absolute", "Recurring", "Relative"):
        raise ValueError(f"unknown kind {kind}")
    if unit not in ("A", "W"):
        raise ValueError(f"unknown unit {unit}")
    if not periods or [p.start_s for p in periods] != sorted(p.start_s for p in periods):
        raise ValueError("periods are missing or out of order")
    return Profile(
        connector=connector,
        raw=raw,
        profile_id=int(raw["chargingProfileId"]),
        stack_level=int(raw["stackLevel"]),
        purpose=purpose,
        kind=kind,
        unit=unit,
        periods=periods,
        transaction_id=raw.get("transactionId"),
        valid_from=_instant(raw.get("validFrom"), -math.inf),
        valid_to=_instant(raw.get("validTo"), math.inf),
        start=None if schedule.get("startSchedule") is None else _instant(schedule["startSchedule"], 0.0),
        duration_s=float(schedule.get("duration") or math.inf),
        every_s=_EVERY_S[raw.get("recurrencyKind", "Daily")] if kind == "Recurring" else math.inf,
    )


def _instant(text: str | None, absent: float) -> float:
    if text is None:
        return absent
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


@attrs.frozen
class StoreRules:
    """How this station departs from the standard in keeping profiles.

    `stacking` False: one profile per purpose and connector, whatever its level. `exhausted_hides_lower`: a profile
    that is still valid but whose schedule is over goes on hiding what lies beneath, so nothing limits.
    `full_refuses_replacement`: with `max_installed` profiles even a replacement is refused. A limit below `least_a`
    is refused, 0 as well.
    """

    max_installed: int = 10
    max_stack_level: int = 8
    max_periods: int = 24
    units: tuple[str, ...] = ("A", "W")
    rejected_purposes: tuple[str, ...] = ()
    rejects_relative: bool = False
    stacking: bool = True
    exhausted_hides_lower: bool = False
    full_refuses_replacement: bool = False
    least_a: float = 0.0


class ProfileStore:
    """The profiles of one station, and what they allow at an instant of the station's clock."""

    def __init__(self, rules: StoreRules | None = None, voltage_v: float = 230.0) -> None:
        self.rules = rules or StoreRules()
        self.voltage_v = voltage_v
        self.installed: list[Profile] = []

    # -- keeping -------------------------------------------------------------------------------------------------

    def install(self, connector: int, raw: Mapping[str, Any], transaction: Transaction | None) -> bool:
        """Keep a profile as §5.16 asks; False where it must be, or by this station's rules is, refused.

        It replaces the one with the same id, and the one of the same purpose and level on the same connector. A
        TxProfile needs the running transaction it names. Raises as `read_profile` does.
        """
        new = read_profile(connector, raw)
        if self._refused(new, transaction):
            return False
        kept = [old for old in self.installed if not self._replaced(old, new)]
        full = len(self.installed if self.rules.full_refuses_replacement else kept) >= self.rules.max_installed
        if full:
            return False
        self.installed = [*kept, new]
        return True

    def _refused(self, new: Profile, transaction: Transaction | None) -> bool:
        rules = self.rules
        if new.purpose in rules.rejected_purposes or new.unit not in rules.units:
            return True
        if new.stack_level > rules.max_stack_level or len(new.periods) > rules.max_periods:
            return True
        if new.kind == "Relative" and rules.rejects_relative:
            return True
        if any(self._amps(new, period, 3) < rules.least_a for period in new.periods):
            return True
        if new.purpose == MAX:
            return new.connector != 0
        if new.purpose == TX:
            return new.connector == 0 or transaction is None or not _names(new, transaction)
        return False

    def _replaced(self, old: Profile, new: Profile) -> bool:
        if old.profile_id == new.profile_id:
            return True
        same_place = old.connector == new.connector and old.purpose == new.purpose
        return same_place and (old.stack_level == new.stack_level or not self.rules.stacking)

    def clear(
        self,
        profile_id: int | None = None,
        connector: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Forget every profile that meets all criteria given (§5.5); returns how many there were."""
        before = len(self.installed)
        self.installed = [
            p
            for p in self.installed
            if (profile_id is not None and p.profile_id != profile_id)
            or (connector is not None and p.connector != connector)
            or (purpose is not None and p.purpose != purpose)
            or (stack_level is not None and p.stack_level != stack_level)
        ]
        return before - len(self.installed)

    # -- evaluating ----------------------------------------------------------------------------------------------

    def limit_a(self, connector: int, now: float, transaction: Transaction | None, phases: int = 3) -> float:
        """Amps per phase that the profiles allow a connector; `inf` where none applies.

        Outside a transaction it is what one that starts at `now` would get. Watts are spread over the period's
        `numberPhases` (3 when absent), but over no more than `phases`.
        """
        own = self._session_a(connector, now, transaction, phases)
        return min(own, self.station_max_a(now, phases))

    def station_max_a(self, now: float, phases: int = 3) -> float:
        """What the ChargePointMaxProfile allows the station as a whole, amps per phase."""
        of_station = (p for p in self.installed if p.purpose == MAX)
        found = self._leading(of_station, now, now, phases)
        return math.inf if found is None else found

    def _session_a(self, connector: int, now: float, transaction: Transaction | None, phases: int) -> float:
        started_at = now if transaction is None else transaction.started_at
        found = None
        if transaction is not None:
            own = (p for p in self._on(connector, TX) if _names(p, transaction))
            found = self._leading(own, now, started_at, phases)
        if found is None:
            found = self._leading(self._on(connector, DEFAULT), now, started_at, phases)
        if found is None:
            found = self._leading(self._on(0, DEFAULT), now, started_at, phases)
        return math.inf if found is None else found

    def _on(self, connector: int, purpose: str) -> Iterator[Profile]:
        return (p for p in self.installed if p.connector == connector and p.purpose == purpose)

    def _leading(self, profiles: Iterable[Profile], now: float, started_at: float, phases: int) -> float | None:
        for profile in sorted(profiles, key=lambda p: -p.stack_level):
            period = profile.period_at(now, started_at)
            if period is not None:
                return self._amps(profile, period, phases)
            if self.rules.exhausted_hides_lower and profile.valid_from <= now < profile.valid_to:
                return math.inf
        return None

    def _amps(self, profile: Profile, period: Period, phases: int) -> float:
        if profile.unit == "A":
            return period.limit
        return period.limit / self.voltage_v / min(period.number_phases or 3, phases)

    def next_change(self, now: float, transactions: Iterable[Transaction | None] = ()) -> float:
        """The first instant after `now` at which some limit may differ without a message; `inf` if never."""
        starts = [t.started_at for t in transactions if t is not None] or [now]
        edges = (e for p in self.installed for s in starts for e in p.edges(now, s) if e > now)
        return min(edges, default=math.inf)

    def composite(
        self,
        connector: int,
        now: float,
        duration_s: float,
        transaction: Transaction | None,
        hardware_a: float,
        phases: int = 3,
    ) -> list[tuple[float, float]]:
        """(seconds from now, amps per phase) for each change of the limit within `duration_s` (§5.7)."""
        periods: list[tuple[float, float]] = []
        at = now
        while at < now + duration_s:
            limit = min(self.limit_a(connector, at, transaction, phases), hardware_a)
            if not periods or periods[-1][1] != limit:
                periods.append((at - now, limit))
            at = self.next_change(at, [transaction])
        return periods


def _names(profile: Profile, transaction: Transaction) -> bool:
    return profile.transaction_id is None or profile.transaction_id == transaction.transaction_id
