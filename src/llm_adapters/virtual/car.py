"""A car on a cable: what it draws when it is offered a current.

It follows each new pilot after its reaction time (IEC 61851-1 allows 5 s), draws nothing below 6 A, tapers when
nearly full, and may have the habits that cars in the field have: whole amps, a wobble, sleep after pauses, or no
obedience at all. Amps are per phase, time is plant seconds. `due` names the next instant at which it changes by
itself, so that nobody needs to ask before.
"""

from __future__ import annotations

import math
from collections import deque

import attrs

PILOT_MIN_A = 6.0
_TAPER_STEP_S = 10.0
_WOBBLE_S = 4.0


@attrs.frozen
class CarModel:
    """The kind of car. `phases` 1, 2 or 3 of the station's, the first ones; `start_a` is what it needs to begin.

    `begins_on` so many of them until it has drawn for `begins_for_s`, then it uses all of its own.

    `step_a` 1.0 rounds to the *nearest* amp, so it may draw half an amp too much; `excess` is a share drawn above
    the offer; `sleeps_after` that many pauses it draws nothing until it is plugged in again; `ignores_limit` draws
    its maximum whatever is offered, `ignores_pause` even when the offer is 0.
    """

    phases: int = 3
    max_a: float = 16.0
    capacity_wh: float = 60_000.0
    start_a: float = PILOT_MIN_A
    taper_from: float = 0.8
    reaction_s: float = 3.0
    step_a: float = 0.0
    wobble_a: float = 0.0
    excess: float = 0.0
    sleeps_after: int | None = None
    ignores_limit: bool = False
    ignores_pause: bool = False
    begins_on: int | None = None
    begins_for_s: float = 300.0


class Car:
    """One car with its battery; `draw_a` is what it takes on each of its `phases` since the last `advance`.

    `wired` is how many phases the outlet has; the car uses no more.
    """

    def __init__(self, model: CarModel, soc: float = 0.4, target_soc: float = 1.0, voltage_v: float = 230.0) -> None:
        self.model = model
        self.soc = soc
        self.target_soc = target_soc
        self.voltage_v = voltage_v
        self.wired = 3
        self.draw_a = 0.0
        self.pauses = 0
        self.due = math.inf
        self._closed = False
        self._pilot_a = 0.0
        self._pilots: deque[tuple[float, float]] = deque()  # offers that it has not followed yet, and when it will
        self._at = -math.inf
        self._drew_s = 0.0

    @property
    def phases(self) -> int:
        """How many phases it uses now."""
        early = self.model.begins_on is not None and self._drew_s < self.model.begins_for_s
        return min((early and self.model.begins_on) or self.model.phases, self.wired)

    @property
    def asleep(self) -> bool:
        return self.model.sleeps_after is not None and self.pauses >= self.model.sleeps_after

    @property
    def full(self) -> bool:
        return self.soc >= self.target_soc - 1e-9

    @property
    def settled(self) -> bool:
        """Whether it has followed the last offer."""
        return not self._pilots

    @property
    def follows_a(self) -> float:
        """The offer that it follows now; a later one may be out."""
        return self._pilot_a

    def offer(self, pilot_a: float, t: float) -> None:
        """The station closes its contactor with a new pilot; the car follows after its reaction time."""
        self.advance(t)
        self._closed = True
        self._pilots.append((t + self.model.reaction_s, pilot_a))
        self.due = min(self.due, t + self.model.reaction_s)

    def cut(self, t: float) -> None:
        """The contactor opens: no current from this instant, and nothing to follow."""
        self.advance(t)
        self._closed, self._pilot_a = False, 0.0
        self._pilots.clear()
        self.draw_a, self.due = 0.0, math.inf

    def advance(self, t: float) -> None:
        """Let time pass until `t`: charge the battery, then settle on a new draw."""
        if t > self._at > -math.inf:
            power_w = self.draw_a * self.voltage_v * self.phases
            self.soc += power_w * (t - self._at) / 3600 / self.model.capacity_wh
            self._drew_s += t - self._at if self.draw_a > 0 else 0.0
        self._at = t
        while self._pilots and t >= self._pilots[0][0]:
            _, self._pilot_a = self._pilots.popleft()
            if self.draw_a > 0 and self._pilot_a < PILOT_MIN_A:
                self.pauses, self.draw_a = self.pauses + 1, 0.0
        self.draw_a = self._wanted_a(t)
        self.due = self._due(t)

    def _wanted_a(self, t: float) -> float:
        model = self.model
        most = model.max_a * self._taper()
        if not self._closed or self.full or self.asleep:
            return 0.0
        if model.ignores_pause or (model.ignores_limit and self._pilot_a >= PILOT_MIN_A):
            return most
        needed = PILOT_MIN_A if self.draw_a > 0 else max(PILOT_MIN_A, model.start_a)
        if self._pilot_a < needed:
            return 0.0
        wanted = min(self._pilot_a * (1 + model.excess), most)
        if model.step_a:
            wanted = math.floor(wanted / model.step_a + 0.5) * model.step_a
        if model.wobble_a and math.floor(t / _WOBBLE_S) % 2:
            wanted -= min(model.wobble_a, wanted)
        return wanted

    def _taper(self) -> float:
        if self.model.taper_from >= 1:
            return 1.0
        past = (self.soc - self.model.taper_from) / (1 - self.model.taper_from)
        return 1.0 if past <= 0 else max(0.05, 1 - 0.9 * past)

    def _due(self, t: float) -> float:
        due = self._pilots[0][0] if self._pilots else math.inf
        if self.draw_a <= 0:
            return due
        if self.phases < min(self.model.phases, self.wired):
            due = min(due, t + max(0.01, self.model.begins_for_s - self._drew_s))
        if self.model.wobble_a:
            due = min(due, (math.floor(t / _WOBBLE_S) + 1) * _WOBBLE_S)
        goal = self.target_soc
        if self.soc < self.model.taper_from:
            goal = min(goal, self.model.taper_from)
        elif self.soc < 1:
            due = min(due, t + _TAPER_STEP_S)
        power_w = self.draw_a * self.voltage_v * self.phases
        return min(due, t + max(0.01, (goal - self.soc) * self.model.capacity_wh * 3600 / power_w))
