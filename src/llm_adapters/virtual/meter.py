"""What the building meter shows of the truth: late, rounded in time, noisy, and sometimes not at all.

Its registers are those of a model that people have (`registers`): an Eastron SDM630 unless said otherwise.
"""

from __future__ import annotations

import math
import random
from collections import deque

import attrs

from llm_adapters.virtual.connector import NO_AMPS, Amps3
from llm_adapters.virtual.registers import LAYOUTS, Shown


@attrs.frozen
class MeterConfig:
    """A measurement every `period_s` from `begins_s` on, shown `lag_s` later, each phase off by a normal error of
    `noise_a`."""

    period_s: float = 1.0
    begins_s: float = 0.0
    lag_s: float = 0.3
    noise_a: float = 0.0
    voltage_v: float = 230.0
    model: str = "eastron_sdm630"


@attrs.frozen
class Reading:
    """One measurement: taken at `at`, amps and watts per site phase (import positive)."""

    at: float
    current_a: Amps3
    power_w: Amps3
    voltage_v: float
    energy_import_wh: float


class Meter:
    """The meter at the supply, where `flow_a` flows at first. Set `silent`, `frozen` or `nan` to make it fail."""

    def __init__(self, config: MeterConfig, *, flow_a: Amps3 = NO_AMPS, seed: int = 0, t: float = 0.0) -> None:
        self.config = config
        self.silent = False
        self.frozen = False
        self.nan = False
        self.last_true = t
        self._random = random.Random(f"meter/{seed}")
        self._energy_wh = 0.0
        self._t = t
        self._flow = flow_a
        self._next = t + config.begins_s + config.period_s
        self._pending: deque[Reading] = deque()
        self._shown = self._measure(t)

    def advance(self, t: float, total_a: Amps3) -> None:
        """From the last call until `t` the flow was the one last told; from `t` on it is `total_a`."""
        while self._next < t:
            self._take(self._next)
        self._count(t)
        self._flow = total_a
        if self._next <= t:
            self._take(t)
        while self._pending and self._pending[0].at + self.config.lag_s <= t:
            shown = self._pending.popleft()
            if not self.frozen:
                self._shown = shown
            if not (self.frozen or self.silent or self.nan):
                self.last_true = shown.at

    def reading(self) -> Reading | None:
        """What it shows now; None while it is silent."""
        if self.silent:
            return None
        if self.nan:
            return attrs.evolve(self._shown, current_a=(math.nan, math.nan, math.nan))
        return self._shown

    def registers(self) -> list[int] | None:
        """The words of its registers from address 0 on, as its model lays them out; None while it is silent."""
        shown = self.reading()
        if shown is None:
            return None
        values = Shown(shown.current_a, shown.power_w, shown.voltage_v, shown.energy_import_wh)
        return LAYOUTS[self.config.model](values)

    def _take(self, t: float) -> None:
        self._count(t)
        self._pending.append(self._measure(t))
        self._next += self.config.period_s

    def _count(self, t: float) -> None:
        net_w = sum(self._flow) * self.config.voltage_v
        self._energy_wh += max(0.0, net_w) * (t - self._t) / 3600
        self._t = t

    def _measure(self, t: float) -> Reading:
        error = self.config.noise_a
        noisy = [a + self._random.gauss(0.0, error) if error else a for a in self._flow]
        current = (noisy[0], noisy[1], noisy[2])
        voltage = self.config.voltage_v
        power = (noisy[0] * voltage, noisy[1] * voltage, noisy[2] * voltage)
        return Reading(t, current, power, voltage, self._energy_wh)
