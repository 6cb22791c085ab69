"""A round robin over whole amps, to compare the controller with.

It gives whole amps, one at a time, round and round, nobody between 0 and 6 A; every 15 minutes the turn moves on to
those who waited. It knows at once who came, left or is full. There are two of it: `ideal`, whose cars obey at once, so
that no ampere is ever on its way; and one with cars as they are, which draw less `FOLLOWS_S` after they were told, and
to whom more is told only when that has been seen, `SEEN_S` after (I2). In steps of a tenth of an ampere, obeyed at
once, it is what equal shares among those who are there can reach when nothing at all is lost on the way; `foresees`
gives the turns to those who leave first, as if they had said so.
"""

from __future__ import annotations

import heapq
import math

from llm_app.garage import Calendar, Garage, Stay

WINDOW_S = 900
LEAST_A = 6
FOLLOWS_S = 3.0
SEEN_S = 7.0


class RoundRobin:
    """One run over a garage; `run` returns what each stay got, in Wh."""

    def __init__(
        self, garage: Garage, limit_a: float, *, ideal: bool, step_a: float = 1.0, foresees: bool = False
    ) -> None:
        self._garage, self._step_a, self._foresees = garage, step_a, foresees
        self._limit = math.floor(limit_a / step_a + 1e-9)
        self._lower_s, self._raise_s = (0.0, 0.0) if ideal else (FOLLOWS_S, SEEN_S + FOLLOWS_S)
        self._queue: list[Stay] = []
        self._got: dict[Stay, float] = {}
        self._told: dict[Stay, int] = {}  # in steps, like all that is given
        self._draws: dict[Stay, int] = {}
        self._due: list[tuple[float, int, Stay, int]] = []  # when a car will draw what it was told
        self._count = 0

    def run(self) -> list[float]:
        calendar = Calendar(self._garage.stays)
        t, turn_s = 0.0, 0.0
        while (due := calendar.next_s) < math.inf:
            full = (t + self._hours_to_full(stay, a) * 3600 for stay, a in self._draws.items() if a)
            follows = self._due[0][0] if self._due else math.inf
            then = min(due, follows, turn_s, *full) if self._told else due
            for stay, a in self._draws.items():
                self._got[stay] += self._power_w(stay, a) * (then - t) / 3600
            t = then
            changed = self._come_and_go(calendar, t)
            if t >= turn_s:
                self._turn()
                turn_s, changed = (t // WINDOW_S + 1) * WINDOW_S, True
            if changed:
                self._tell(self._shared(), t)
            self._follow(t)
        return [self._got[stay] for stay in self._garage.stays]

    def _come_and_go(self, calendar: Calendar, t: float) -> bool:
        """Whether anyone came, left or is full."""
        left, came = calendar.until(t)
        full = [stay for stay in self._queue if self._got[stay] >= stay.wanted_wh - 1e-6]
        for stay in {*left, *full}:
            self._told.pop(stay, None)
            self._draws.pop(stay, None)
        self._queue = [stay for stay in self._queue if stay not in left and stay not in full] + came
        self._got |= dict.fromkeys(came, 0.0)
        return bool(left or came or full)

    def _turn(self) -> None:
        served = [stay for stay in self._queue if self._told.get(stay)]
        self._queue = [stay for stay in self._queue if not self._told.get(stay)] + served
        if self._foresees:
            self._queue.sort(key=lambda stay: stay.leave_s)

    def _tell(self, amps: dict[Stay, int], t: float) -> None:
        for stay, a in amps.items():
            if a != self._told.get(stay, 0):
                self._count += 1
                after_s = self._lower_s if a < self._draws.get(stay, 0) else self._raise_s
                heapq.heappush(self._due, (t + after_s, self._count, stay, a))
        self._told = amps

    def _follow(self, t: float) -> None:
        while self._due and self._due[0][0] <= t:
            _, _, stay, a = heapq.heappop(self._due)
            if self._told.get(stay) == a:  # else it left, or was told something else since
                self._draws[stay] = a

    def _power_w(self, stay: Stay, steps: int) -> float:
        return steps * self._step_a * stay.phases * self._garage.voltage_v

    def _hours_to_full(self, stay: Stay, steps: int) -> float:
        return (stay.wanted_wh - self._got[stay]) / self._power_w(stay, steps)

    def _shared(self) -> dict[Stay, int]:
        left = [self._limit] * 3
        uses = {stay: [p for p, used in enumerate(self._garage.on_phases(stay, 1.0)) if used] for stay in self._queue}
        most = {stay: round(stay.max_a / self._step_a) for stay in self._queue}
        least = round(LEAST_A / self._step_a)
        given = dict.fromkeys(self._queue, 0)
        asking, steps = self._queue, least
        while asking:
            served = []
            for stay in asking:
                if given[stay] + steps <= most[stay] and min(left[p] for p in uses[stay]) >= steps:
                    given[stay] += steps
                    served.append(stay)
                    for p in uses[stay]:
                        left[p] -= steps
            asking, steps = served, 1
        return given
