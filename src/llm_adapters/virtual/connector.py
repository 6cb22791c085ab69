"""One outlet of a station: the physical truth of what it offers and what flows.

Amps are per phase, energy is Wh, time is plant seconds unless a name says `utc`. Site phases are indices 0, 1, 2.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from llm_adapters.virtual.car import PILOT_MIN_A, Car
from llm_adapters.virtual.config import SITE_PHASES, StationConfig
from llm_adapters.virtual.profiles import Transaction

Amps3 = tuple[float, float, float]
NO_AMPS: Amps3 = (0.0, 0.0, 0.0)


@attrs.define
class Session:
    """A transaction as the station keeps it; `transaction_id` is None until the central system has answered."""

    id_tag: str
    parent_tag: str | None
    started_utc: float
    transaction_id: int | None = None

    def seen_by_profiles(self) -> Transaction:
        return Transaction(self.transaction_id, self.started_utc)

    def named(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A message of this transaction with its id, -1 where none was given."""
        return payload | {"transactionId": -1 if self.transaction_id is None else self.transaction_id}


class Connector:
    """The contactor, the pilot, the energy register and the car on the cable."""

    def __init__(self, config: StationConfig, number: int, t: float) -> None:
        self.number = number
        self.rotation = tuple(SITE_PHASES.index(name) for name in config.rotations[number - 1])
        self.max_a = config.max_a
        self.step_a = config.step_a
        self.voltage_v = config.voltage_v
        self.car: Car | None = None
        self.session: Session | None = None
        self.authorised: tuple[str, str | None, float] | None = None  # tag, its parent, until when it may plug in
        self.ended = False
        self.available = True
        self.reported = ""
        self.told_a = math.inf  # by its profiles
        self.limit_a = math.inf  # that it heeds
        self.pilot_a = 0.0
        self.draw_a: Amps3 = NO_AMPS
        self.energy_wh = 0.0
        self.due = math.inf
        self._closed = False
        self._at = t

    @property
    def phases(self) -> tuple[int, ...]:
        """The site phases that may carry current here: those of the car, all wired ones when there is none."""
        return self.rotation if self.car is None else self.rotation[: self.car.phases]

    @property
    def entitled_a(self) -> float:
        """The most that it may offer on its present profiles."""
        return max(0.0, min(self.limit_a, self.max_a))

    @property
    def granted_a(self) -> float:
        """The most that its present profiles let it offer, whether it heeds them or not."""
        return max(0.0, min(self.told_a, self.max_a))

    def on_site_phases(self, amps: float) -> Amps3:
        """`amps` on each phase that may carry current here, 0 on the others."""
        return _on(self.phases, amps)

    def on_wired_phases(self, amps: float) -> Amps3:
        """`amps` on each phase wired here, whatever car there is."""
        return _on(self.rotation, amps)

    def plug(self, car: Car, t: float) -> None:
        self.advance(t)
        self.car = car
        car.wired = len(self.rotation)
        car.cut(t)

    def unplug(self, t: float) -> Car | None:
        self.advance(t)
        car, self.car = self.car, None
        if car is not None:
            car.cut(t)
        self._closed, self.pilot_a, self.draw_a, self.due = False, 0.0, NO_AMPS, math.inf
        return car

    def advance(self, t: float) -> None:
        """Let time pass until `t` at the present draw, then follow the car."""
        drawn = sum(self.draw_a)
        if drawn and t > self._at:
            self.energy_wh += drawn * self.voltage_v * (t - self._at) / 3600
        self._at = t
        if self.car is None:
            return
        if self._closed:
            self.car.advance(t)
        flows = self.car.draw_a
        self.draw_a = self.on_site_phases(flows) if flows else NO_AMPS
        self.due = self.car.due

    def energise(self, powered: bool, t: float) -> None:
        """Set contactor and pilot from the session and the limit: floored to the step, 0 below 6 A."""
        closed = powered and self.session is not None and self.car is not None
        pilot = math.floor(self.entitled_a / self.step_a + 1e-6) * self.step_a if closed else 0.0
        if pilot < PILOT_MIN_A:
            pilot = 0.0
        if (closed, pilot) == (self._closed, self.pilot_a):
            return
        self.advance(t)
        if self.car is not None:
            if closed:
                self.car.offer(pilot, t)
            else:
                self.car.cut(t)
        self._closed, self.pilot_a = closed, pilot
        self.advance(t)

    def status(self, hides_pause: bool = False) -> str:
        """Its status as OCPP 1.6 §4.9 names it."""
        if self.session is None:
            if self.car is not None:
                return "Finishing" if self.ended else "Preparing"
            if self.authorised is not None:
                return "Preparing"
            return "Available" if self.available else "Unavailable"
        if self.car is None:
            return "SuspendedEV"
        if self.pilot_a == 0:
            return "Charging" if hides_pause else "SuspendedEVSE"
        if any(self.draw_a) or not self.car.settled:
            return "Charging"
        return "SuspendedEV"


def _on(phases: tuple[int, ...], amps: float) -> Amps3:
    return (amps if 0 in phases else 0.0, amps if 1 in phases else 0.0, amps if 2 in phases else 0.0)
