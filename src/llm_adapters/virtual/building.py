"""What the rest of the building draws: the shape of a real day, noise, and appliances that switch.

The day shapes follow the German standard load profiles (BDEW): `office` has the form of G1 (business on weekdays,
8 to 18 o'clock), `flats` that of H0 (households, evening peak). The 24 figures of each are our own, rounded from the
form of those curves and scaled to a peak of 1; they are not the published tables. `flat` is a constant load.
Amps per site phase, time in plant seconds.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from datetime import UTC, datetime

import attrs

from llm_adapters.virtual.connector import Amps3

_OFFICE = (12, 12, 12, 12, 13, 16, 30, 58, 88, 98, 100, 99, 90, 92, 90, 80, 58, 36, 24, 18, 16, 14, 13, 12)
_OFFICE_WEEKEND = (12, 12, 12, 12, 12, 12, 12, 13, 14, 15, 16, 16, 16, 16, 15, 14, 14, 13, 13, 13, 12, 12, 12, 12)
_FLATS = (35, 27, 24, 22, 22, 25, 42, 60, 66, 65, 65, 70, 78, 72, 62, 60, 64, 76, 93, 100, 94, 82, 68, 50)
_FLATS_WEEKEND = (42, 33, 27, 24, 23, 23, 27, 40, 60, 78, 88, 95, 100, 90, 76, 70, 70, 76, 90, 96, 88, 78, 66, 52)
_FLAT = (100,) * 24
SHAPES = {"office": (_OFFICE, _OFFICE_WEEKEND), "flats": (_FLATS, _FLATS_WEEKEND), "flat": (_FLAT, _FLAT)}

_APPLIANCES_S = {"lift": (8.0, 30.0), "pump": (120.0, 900.0), "oven": (600.0, 2700.0)}
_HISTORY_S = 180.0


@attrs.frozen
class BuildingConfig:
    """`peak_a` at the day's peak; `noise` as a share of the load; appliances of 0.5 to 3 times `step_a`."""

    shape: str = "office"
    peak_a: Amps3 = (20.0, 20.0, 20.0)
    noise: float = 0.04
    noise_every_s: float = 5.0
    step_a: float = 4.0
    steps_per_hour: float = 6.0
    utc_offset_s: float = 3600.0


class Building:
    """The other consumers; `load_a` is what they draw since the last `advance`."""

    def __init__(self, config: BuildingConfig, *, epoch: float, seed: int = 0, t: float = 0.0) -> None:
        self.config = config
        self.load_a: Amps3 = (0.0, 0.0, 0.0)
        self.due = t
        self._epoch = epoch
        self._random = random.Random(f"building/{seed}")
        self._noise = [0.0, 0.0, 0.0]
        self._running = [0.0, 0.0, 0.0]
        self._scripted = [0.0, 0.0, 0.0]
        self._events: list[tuple[float, int, str, int, float]] = []
        self._count = 0
        self._next_noise = t
        self._next_appliance = t + self._pause()
        self._history: deque[tuple[float, Amps3]] = deque([(-math.inf, self.load_a)])
        self.advance(t)
        self._history = deque([(-math.inf, self.load_a)])

    def set_step(self, t: float, phase: int, a: float) -> None:
        """From `t` on an extra load of `a` on site phase 0, 1 or 2, in place of the last one there."""
        self._at(t, "scripted", phase, a)
        self.due = min(self.due, t)

    def advance(self, t: float) -> None:
        """Let time pass until `t`."""
        if t < self.due:
            return
        while self._events and self._events[0][0] <= t:
            _, _, kind, phase, amps = heapq.heappop(self._events)
            if kind == "scripted":
                self._scripted[phase] = amps
            else:
                self._running[phase] = max(0.0, self._running[phase] + amps)
        while self._next_appliance <= t:
            self._switch_on(t)
            self._next_appliance += self._pause()
        while self._next_noise <= t:
            self._noise = [0.8 * n + 0.6 * self._random.gauss(0.0, self.config.noise) for n in self._noise]
            self._next_noise += self.config.noise_every_s
        self._remember(t)
        events = self._events[0][0] if self._events else math.inf
        self.due = min(self._next_noise, self._next_appliance, events)

    def smallest_a(self, t: float, window_s: float) -> Amps3:
        """Phase by phase the smallest load that stood at some instant of the last `window_s`."""
        least = [math.inf, math.inf, math.inf]
        for since, load in reversed(self._history):
            least = [min(a, b) for a, b in zip(least, load, strict=True)]
            if since <= t - window_s:
                break
        return (least[0], least[1], least[2])

    def _remember(self, t: float) -> None:
        share = self._share(t)
        rows = zip(self.config.peak_a, self._noise, self._running, self._scripted, strict=True)
        load = [max(0.0, peak * share * (1 + noise)) + on + extra for peak, noise, on, extra in rows]
        self.load_a = (load[0], load[1], load[2])
        self._history.append((t, self.load_a))
        while len(self._history) > 2 and self._history[1][0] < t - _HISTORY_S:
            self._history.popleft()

    def _share(self, t: float) -> float:
        local = datetime.fromtimestamp(self._epoch + t + self.config.utc_offset_s, UTC)
        shape = SHAPES[self.config.shape][local.weekday() >= 5]
        past = (local.minute * 60 + local.second) / 3600
        here, there = shape[local.hour], shape[(local.hour + 1) % 24]
        return (here + past * (there - here)) / 100

    def _pause(self) -> float:
        rate = self.config.steps_per_hour
        return self._random.expovariate(rate) * 3600 if rate else math.inf

    def _switch_on(self, t: float) -> None:
        kind = self._random.choice(sorted(_APPLIANCES_S))
        lasts_s = self._random.uniform(*_APPLIANCES_S[kind])
        amps = self.config.step_a * self._random.uniform(0.5, 3.0)
        for phase in (0, 1, 2) if kind == "lift" else (self._random.randrange(3),):
            self._running[phase] += amps
            self._at(t + lasts_s, kind, phase, -amps)

    def _at(self, t: float, kind: str, phase: int, amps: float) -> None:
        self._count += 1
        heapq.heappush(self._events, (t, self._count, kind, phase, amps))
