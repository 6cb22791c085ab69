"""Recorded sessions as a garage: outlets, and cars that come, want energy and leave.

How a session is modelled. A car takes what it is offered, up to the current of its outlet, until it has what it wanted
or leaves; nobody can be given more than one car alone could take in its stay. Outlets are one-phase, 32 A, spread over
L1, L2 and L3 in the order of their ids, as in the recorded garages; only where a session took more than one phase can
carry has the outlet three, and that car uses them (at 16 A, or 32 A above 11 kW).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from llm_adapters.files.recorded import Recorded
from llm_adapters.virtual.config import SITE_PHASES

OUTLET_A = 32.0
ACN_VOLTAGE_V = 208.0
OWN_VOLTAGE_V = 230.0
_THREE_PHASE_A = 16.0
_METERED = 1.03  # a meter's and a clock's error, before a session is taken for more than one phase

Amps3 = tuple[float, float, float]


@attrs.frozen
class Claim:
    """What a driver said on arrival: the car leaves at `leave_s`, and wants `wh`."""

    leave_s: int
    wh: int


@attrs.frozen
class Stay:
    """One car at one outlet, seconds from the garage's `began_at`; `claim` None where the driver said nothing."""

    outlet: int
    arrive_s: int
    leave_s: int
    wanted_wh: float
    phases: int = 1
    max_a: float = OUTLET_A
    claim: Claim | None = None


@attrs.frozen
class Garage:
    """`rotations`: for each outlet the site phases it hangs on. `turned_away`: sessions whose outlet was taken."""

    names: tuple[str, ...]
    rotations: tuple[tuple[str, ...], ...]
    stays: tuple[Stay, ...]
    began_at: datetime
    voltage_v: float = ACN_VOLTAGE_V
    taper_from: float = 1.0
    turned_away: int = 0

    @property
    def wanted_wh(self) -> float:
        return sum(stay.wanted_wh for stay in self.stays)

    def power_w(self, stay: Stay) -> float:
        """What this car can take at the most."""
        return stay.max_a * stay.phases * self.voltage_v

    def on_phases(self, stay: Stay, amps: float) -> Amps3:
        """`amps` on the site phases that this car uses."""
        used = self.rotations[stay.outlet][: stay.phases]
        a, b, c = (amps if phase in used else 0.0 for phase in SITE_PHASES)
        return (a, b, c)


def garage_of(sessions: Sequence[Recorded], *, energy: str = "requested", voltage_v: float = ACN_VOLTAGE_V) -> Garage:
    """The garage of these sessions; `energy` tells which figure a car wants: `requested` or `delivered`."""
    outlets = sorted({(session.station_id, session.connector) for session in sessions})
    index = {outlet: number for number, outlet in enumerate(outlets)}
    began_at = min(session.arrived_at for session in sessions).replace(minute=0, second=0, microsecond=0)
    stays, free_at, turned_away = [], Counter[int](), 0
    for session in sorted(sessions, key=lambda session: session.arrived_at):
        stay = _stay(session, index[session.station_id, session.connector], began_at, energy, voltage_v)
        if stay.arrive_s < free_at[stay.outlet]:
            turned_away += 1
        elif stay.wanted_wh > 0:
            free_at[stay.outlet] = stay.leave_s
            stays.append(stay)
    three = {stay.outlet for stay in stays if stay.phases == 3}
    rotations = tuple(
        (*SITE_PHASES[i % 3 :], *SITE_PHASES[: i % 3]) if i in three else (SITE_PHASES[i % 3],)
        for i in range(len(outlets))
    )
    names = tuple(station if number == 1 else f"{station}/{number}" for station, number in outlets)
    return Garage(names, rotations, tuple(stays), began_at, voltage_v, turned_away=turned_away)


def _stay(session: Recorded, outlet: int, began_at: datetime, energy: str, voltage_v: float) -> Stay:
    arrive_s = round((session.arrived_at - began_at).total_seconds())
    leave_s = max(arrive_s + 1, round((session.left_at - began_at).total_seconds()))
    hours = (leave_s - arrive_s) / 3600
    took_w = session.delivered_wh / hours
    phases, max_a = 1, OUTLET_A
    if took_w > OUTLET_A * voltage_v * _METERED:
        phases = 3
        max_a = OUTLET_A if took_w > 3 * _THREE_PHASE_A * voltage_v * _METERED else _THREE_PHASE_A
    asked_wh = session.requested_wh if energy == "requested" else session.delivered_wh
    wanted_wh = min(asked_wh, phases * max_a * voltage_v * hours)
    return Stay(outlet, arrive_s, leave_s, wanted_wh, phases, max_a, _claim(session, began_at))


def _claim(session: Recorded, began_at: datetime) -> Claim | None:
    if session.claimed_until is None:
        return None
    return Claim(round((session.claimed_until - began_at).total_seconds()), session.requested_wh)


def uncontrolled_peak_a(garage: Garage) -> Amps3:
    """The most that would flow on each phase if every car took all it can from the moment it comes."""
    changes: list[tuple[float, float, Stay]] = []
    for stay in garage.stays:
        full_s = stay.arrive_s + stay.wanted_wh / garage.power_w(stay) * 3600
        changes += [(stay.arrive_s, stay.max_a, stay), (min(full_s, stay.leave_s), -stay.max_a, stay)]
    flows, peaks = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    for _, change_a, stay in sorted(changes, key=lambda change: change[:2]):
        for phase, amps in enumerate(garage.on_phases(stay, change_a)):
            flows[phase] += amps
            peaks[phase] = max(peaks[phase], flows[phase])
    return (peaks[0], peaks[1], peaks[2])


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: 1 when all shares are the same, 1/n when one has everything."""
    known = list(shares)
    squares = sum(share * share for share in known)
    return sum(known) ** 2 / (len(known) * squares) if squares else 1.0


class Calendar:
    """Arrivals and departures in order of time."""

    def __init__(self, stays: Sequence[Stay]) -> None:
        self._coming = sorted(stays, key=lambda stay: (-stay.arrive_s, stay.outlet))
        self._leaving: list[tuple[int, int, Stay]] = []

    @property
    def next_s(self) -> float:
        """When the next car comes or leaves; infinite when none does."""
        leaving = self._leaving[0][0] if self._leaving else float("inf")
        return min(leaving, self._coming[-1].arrive_s if self._coming else leaving)

    def until(self, t: float) -> tuple[list[Stay], list[Stay]]:
        """Who has left and who has come by `t`; both at once in one outlet are in this order."""
        came = []
        while self._coming and self._coming[-1].arrive_s <= t:
            stay = self._coming.pop()
            came.append(stay)
            heapq.heappush(self._leaving, (stay.leave_s, stay.outlet, stay))
        left = []
        while self._leaving and self._leaving[0][0] <= t:
            left.append(heapq.heappop(self._leaving)[2])
        return left, [stay for stay in came if stay not in left]
