"""How much energy the controller delivers, against an optimum that knows the future.

    python benchmarks/energy.py [--quick] [--sessions FILE.csv.gz ...]

The optimum is a linear program (HiGHS) that knows every arrival, departure, wish and the building's load beforehand,
may follow them at once, and may give any current, also between 0 and 6 A: nobody can deliver more.

A demo-like day: eight stations and a building, played second by second with meter, wire and cars as they are. The
program has steps of 10 s, each with the mean building load of its step.

Recorded sessions: a supply that uncontrolled charging would overrun sixfold. The limit is the same all the time, so
steps of 10 s between two arrivals or departures can share a variable without changing the optimum (their mean is as
good). Beside the controller runs a round robin over whole amps: it knows at once who came, left or is full, and its
cars obey at once; every 15 minutes the turn moves on to those who waited.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import highspy
import numpy

from llm_adapters.files.recorded import read_sessions
from llm_adapters.virtual.demo import BADGES
from llm_adapters.virtual.driver import COMMON_CARS, endless_visits
from llm_app.garage import Calendar, Garage, Stay, garage_of, jain, uncontrolled_peak_a
from llm_app.planning import replay
from llm_app.simulate import Outcome, made_up, simulate

STEP_S = 10
WINDOW_S = 900
PHASES = ("L1", "L2", "L3")
OVERRUN = 6.0


@attrs.define
class Program:
    """Maximise energy: one variable for the current of a car in a step, rows for places and for wishes."""

    lower: list[float] = attrs.field(factory=list)
    upper: list[float] = attrs.field(factory=list)
    gain: list[float] = attrs.field(factory=list)
    places: dict[tuple[object, ...], list[tuple[int, float]]] = attrs.field(factory=dict)
    room: dict[tuple[object, ...], float] = attrs.field(factory=dict)

    def variable(self, most_a: float, wh_per_a: float) -> int:
        self.upper.append(most_a)
        self.gain.append(wh_per_a)
        return len(self.upper) - 1

    def uses(self, place: tuple[object, ...], room: float, variable: int, weight: float = 1.0) -> None:
        self.places.setdefault(place, []).append((variable, weight))
        self.room[place] = room

    def solve(self) -> list[float]:
        """The current of each variable at the optimum."""
        model = highspy.Highs()
        model.setOptionValue("output_flag", False)
        problem = highspy.HighsLp()
        problem.num_col_, problem.num_row_ = len(self.upper), len(self.places)
        problem.col_cost_ = numpy.array([-wh for wh in self.gain])
        problem.col_lower_ = numpy.zeros(len(self.upper))
        problem.col_upper_ = numpy.array(self.upper)
        problem.row_lower_ = numpy.full(len(self.places), -highspy.kHighsInf)
        problem.row_upper_ = numpy.array([self.room[place] for place in self.places])
        entries = list(self.places.values())
        problem.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        problem.a_matrix_.start_ = numpy.array([0, *itertools.accumulate(len(row) for row in entries)])
        problem.a_matrix_.index_ = numpy.array([variable for row in entries for variable, _ in row])
        problem.a_matrix_.value_ = numpy.array([weight for row in entries for _, weight in row])
        model.passModel(problem)
        model.run()
        if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"no optimum: {model.getModelStatus()}")
        return list(model.getSolution().col_value)


# A day second by second


def demo_day(hours: float, seed: int) -> tuple[Outcome, float]:
    """The run of a day, and what the optimum would have delivered, kWh."""
    scenario = made_up(8, hours, seed, 63.0)
    cars = [(attrs.evolve(model, taper_from=1.0), weight) for model, weight in COMMON_CARS]
    bays = [(s.station_id, n + 1) for s in scenario.plant.stations for n in range(len(s.rotations))]
    stations = tuple(attrs.evolve(s, quirks=attrs.evolve(s.quirks, offline=())) for s in scenario.plant.stations)
    visits = endless_visits(bays, BADGES, seed=seed, cars=cars)
    plant = attrs.evolve(scenario.plant, visits=visits, stations=stations)
    outcome = simulate(attrs.evolve(scenario, plant=plant), sample_s=1.0)
    return outcome, demo_bound_kwh(outcome)


def demo_bound_kwh(outcome: Outcome) -> float:
    plant, trace = outcome.scenario.plant, outcome.trace
    steps = len(trace.at) // STEP_S
    building = [
        [sum(row[p] for row in trace.building_a[i * STEP_S : (i + 1) * STEP_S]) / STEP_S for p in range(3)]
        for i in range(steps)
    ]
    nodes = {str(node["id"]): node for node in plant.nodes}
    configs = {config.station_id: config for config in plant.stations}
    program = Program()
    for number, stay in enumerate(outcome.stays):
        config = configs[stay.station_id]
        most_a = min(stay.car.model.max_a, config.max_a)
        wh = config.voltage_v * stay.car.phases * STEP_S / 3600
        for i in range(int(stay.came_at // STEP_S), min(steps, math.ceil(stay.left_at / STEP_S))):
            variable = program.variable(most_a, wh)
            program.uses(("wish", number), stay.need_wh, variable, wh)
            node: str | None = config.node
            while node is not None:
                for p in stay.outlet.rotation[: stay.car.phases]:
                    load = building[i][p] if node == "site" else 0.0
                    program.uses((node, p, i), max(0.0, nodes[node]["limit_a"][PHASES[p]] - load), variable)
                node = nodes[node]["parent"]
    amps = program.solve()
    return sum(a * wh for a, wh in zip(amps, program.gain, strict=True)) / 1000


# Recorded sessions


@attrs.frozen
class Figures:
    """What one way of sharing has done to the sessions."""

    kwh: float
    jain: float
    under_half: int


def figures(stays: Sequence[Stay], delivered_wh: Sequence[float]) -> Figures:
    shares = [wh / stay.wanted_wh for stay, wh in zip(stays, delivered_wh, strict=True)]
    return Figures(sum(delivered_wh) / 1000, jain(shares), sum(share < 0.5 for share in shares))


def bound(garage: Garage, limit_a: float) -> Figures:
    """The optimum that knows every session beforehand."""
    edges = sorted({edge for stay in garage.stays for edge in _on_steps(stay)})
    index = {edge: i for i, edge in enumerate(edges)}
    program, owners = Program(), []
    for number, stay in enumerate(garage.stays):
        first, last = _on_steps(stay)
        for i in range(index[first], index[last]):
            wh = garage.voltage_v * stay.phases * (edges[i + 1] - edges[i]) / 3600
            variable = program.variable(stay.max_a, wh)
            owners.append(number)
            program.uses(("wish", number), stay.wanted_wh, variable, wh)
            for p, used in enumerate(garage.on_phases(stay, 1.0)):
                if used:
                    program.uses((p, i), limit_a, variable)
    delivered = [0.0] * len(garage.stays)
    for number, amps, wh in zip(owners, program.solve(), program.gain, strict=True):
        delivered[number] += amps * wh
    return figures(garage.stays, delivered)


def _on_steps(stay: Stay) -> tuple[int, int]:
    """Its stay on the grid of steps, never shorter than it was."""
    return stay.arrive_s // STEP_S * STEP_S, -(-stay.leave_s // STEP_S) * STEP_S


class RoundRobin:
    """Whole amps, one at a time, round and round; nobody between 0 and 6 A."""

    def __init__(self, garage: Garage, limit_a: float) -> None:
        self._garage, self._limit_a = garage, limit_a
        self._queue: list[Stay] = []
        self._got: dict[Stay, float] = {}

    def run(self) -> Figures:
        calendar = Calendar(self._garage.stays)
        t, turn_s = 0.0, 0.0
        amps: dict[Stay, int] = {}
        while (due := calendar.next_s) < math.inf:
            full = (t + self._hours_to_full(stay, a) * 3600 for stay, a in amps.items() if a)
            then = min(due, turn_s, *full) if amps else due
            for stay, a in amps.items():
                self._got[stay] += self._power_w(stay, a) * (then - t) / 3600
            t = then
            left, came = calendar.until(t)
            self._queue = [s for s in self._queue if s not in left and self._got[s] < s.wanted_wh - 1e-6]
            self._queue += came
            self._got |= dict.fromkeys(came, 0.0)
            if t >= turn_s:
                served = [stay for stay in self._queue if amps.get(stay)]
                self._queue = [stay for stay in self._queue if not amps.get(stay)] + served
                turn_s = (t // WINDOW_S + 1) * WINDOW_S
            amps = self._shared()
        return figures(self._garage.stays, [self._got[stay] for stay in self._garage.stays])

    def _power_w(self, stay: Stay, amps: int) -> float:
        return amps * stay.phases * self._garage.voltage_v

    def _hours_to_full(self, stay: Stay, amps: int) -> float:
        return (stay.wanted_wh - self._got[stay]) / self._power_w(stay, amps)

    def _shared(self) -> dict[Stay, int]:
        left = [self._limit_a] * 3
        uses = {stay: [p for p, used in enumerate(self._garage.on_phases(stay, 1.0)) if used] for stay in self._queue}
        amps = dict.fromkeys(self._queue, 0)
        for step_a in (6, *([1] * 26)):
            for stay in self._queue:
                wants = (step_a == 6 or amps[stay]) and amps[stay] < stay.max_a
                if wants and min(left[p] for p in uses[stay]) >= step_a:
                    amps[stay] += step_a
                    for p in uses[stay]:
                        left[p] -= step_a
        return amps


def compare(path: Path, days: float | None, tick_s: int) -> list[str]:
    """One garage: lines for people."""
    logging.disable(logging.CRITICAL)
    garage = garage_of(read_sessions(path, ZoneInfo("UTC")))
    if days is not None:
        garage = attrs.evolve(garage, stays=tuple(s for s in garage.stays if s.arrive_s < days * 86_400))
    limit_a = max(uncontrolled_peak_a(garage)) / OVERRUN
    began = time.perf_counter()
    best, robin = bound(garage, limit_a), RoundRobin(garage, limit_a).run()
    solved_s, began = time.perf_counter() - began, time.perf_counter()
    run = replay(garage, limit_a, tick_s=tick_s)
    ours = Figures(run.delivered_kwh, run.jain, run.served_less_than_half)
    gap = (best.kwh - ours.kwh) / (best.kwh - robin.kwh) if best.kwh > robin.kwh else math.nan
    lines = [
        f"{path.name}: {len(garage.stays)} sessions, {limit_a:.1f} A per phase, a sixth of the uncontrolled peak"
        f" ({solved_s:.0f} s for bound and round robin, {time.perf_counter() - began:.0f} s for the controller)",
        "                 energy  ÷ bound    Jain   under half",
    ]
    for name, shown in (("bound", best), ("round robin", robin), ("controller", ours)):
        share = shown.kwh / best.kwh
        lines.append(f"  {name:12} {shown.kwh:8.0f} kWh {share:7.2%}  {shown.jain:6.4f}  {shown.under_half:11}")
    lines.append(f"  gap to the bound against the round robin's: {gap:.3f}   violations {sum(run.violations.values())}")
    return lines


def taper(path: Path, days: float | None, tick_s: int) -> list[str]:
    """Cars that taper from 80 % on, under a supply that is enough for all but the peak."""
    logging.disable(logging.CRITICAL)
    garage = garage_of(read_sessions(path, ZoneInfo("UTC")))
    stays = garage.stays if days is None else tuple(s for s in garage.stays if s.arrive_s < days * 86_400)
    garage = attrs.evolve(garage, stays=stays, taper_from=0.8)
    peak_a = max(uncontrolled_peak_a(garage))
    free, held = (replay(garage, a, tick_s=tick_s).delivered_kwh for a in (peak_a, 0.6 * peak_a))
    return [f"{path.name}: cars that taper, 60 % of the uncontrolled peak: {held / free:.2%} of uncontrolled charging"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two hours of the demo and a week of each recording")
    parser.add_argument("--sessions", type=Path, nargs="*", default=[], help="recorded sessions to replay")
    parser.add_argument("--tick", type=int, default=10, help="seconds between ticks of the recorded sessions")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    hours, days = (2.0, 7.0) if asked.quick else (24.0, None)
    with ProcessPoolExecutor(2) as pool:
        tasks = [pool.submit(compare, path, days, asked.tick) for path in asked.sessions]
        tasks += [pool.submit(taper, path, days or 28.0, asked.tick) for path in asked.sessions]
        outcome, best_kwh = demo_day(hours, asked.seed)
        kwh = outcome.figures["energy_kwh"]
        print(f"demo, {hours:g} h second by second: {kwh:.1f} kWh of {best_kwh:.1f}, {kwh / best_kwh:.2%} of the bound")
        for task in tasks:
            print("\n".join(task.result()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
