"""How much energy the controller delivers, against an optimum that knows the future.

    python benchmarks/energy.py [--quick] [--losses] [--sessions FILE.csv.gz ...]

The optimum (`optimum.py`) knows every arrival, departure, wish and the building's load beforehand, and may follow them
at once: nobody can deliver more. It is printed for any current, also between 0 and 6 A, and as a bound for currents of
0 or at least 6 A, which is all that cars can take.

A demo-like day: eight stations and a building, played second by second with meter, wire and cars as they are. The
program has steps of 10 s, each with the mean building load of its step. `--losses` (`losses.py`) tells for every ampere
that was free while a car wanted more why it was not given.

Recorded sessions: a supply that uncontrolled charging would overrun sixfold. The limit is the same all the time, so
steps of 10 s between two arrivals or departures can share a variable without changing the optimum (their mean is as
good). Beside the controller run two round robins over whole amps (`round_robin.py`): one that is obeyed at once, and
one whose cars take the time that the controller's take; and equal shares in tenths that are obeyed at once, which is
what the controller's rule could reach if nothing were lost on the way.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
from losses import Losses
from optimum import Program
from round_robin import RoundRobin

from llm_adapters.files.recorded import read_sessions
from llm_adapters.virtual import clockwork
from llm_adapters.virtual.demo import BADGES
from llm_adapters.virtual.driver import COMMON_CARS, endless_visits
from llm_app.garage import Garage, Stay, garage_of, jain, uncontrolled_peak_a
from llm_app.planning import Wishes, replay
from llm_app.scenario import Scenario
from llm_app.simulate import Outcome, _Run, made_up

STEP_S = 10
PHASES = ("L1", "L2", "L3")
OVERRUN = 6.0
ENOUGH = 0.6
TOLD = {
    Wishes.NONE: "cars as they are",
    Wishes.CLAIMED: "told what drivers claim",
    Wishes.TRUE: "told when they leave",
}
AT_ONCE, AS_THEY_ARE = "round robin, obeyed at once", "round robin, cars as they are"


# A day second by second


def demo_day(
    hours: float, seed: int, losses: Losses, supply_a: float = 63.0, phases: int | None = None
) -> tuple[Outcome, Program]:
    """The run of a day, and the program of what could have been delivered."""
    scenario = made_up(8, hours, seed, supply_a)
    common = [(model, weight) for model, weight in COMMON_CARS if phases in (None, model.phases)]
    cars = [(attrs.evolve(model, taper_from=1.0), weight) for model, weight in common]
    bays = [(s.station_id, n + 1) for s in scenario.plant.stations for n in range(len(s.rotations))]
    stations = tuple(attrs.evolve(s, quirks=attrs.evolve(s.quirks, offline=())) for s in scenario.plant.stations)
    visits = endless_visits(bays, BADGES, seed=seed, cars=cars)
    plant = attrs.evolve(scenario.plant, visits=visits, stations=stations)
    outcome = clockwork.run(_watched(attrs.evolve(scenario, plant=plant), losses))
    return outcome, demo_program(outcome)


async def _watched(scenario: Scenario, losses: Losses) -> Outcome:
    run = _Run(scenario, 1.0)
    losses.watch(run._plant, lambda: run._controller.state)
    return await run.played()


def demo_program(outcome: Outcome) -> Program:
    """What could be had on this day: every car that came, and each 10 s the room beside the mean building load."""
    plant, trace = outcome.scenario.plant, outcome.trace
    steps = len(trace.at) // STEP_S
    building = [
        [sum(row[p] for row in trace.building_a[i * STEP_S : (i + 1) * STEP_S]) / STEP_S for p in range(3)]
        for i in range(steps)
    ]
    nodes = {str(node["id"]): node for node in plant.nodes}
    configs = {config.station_id: config for config in plant.stations}
    program = Program()
    for stay in outcome.stays:
        config = configs[stay.station_id]
        most_a = min(stay.car.model.max_a, config.max_a)
        wh = config.voltage_v * stay.car.phases * STEP_S / 3600
        car = program.car(stay.need_wh)
        for i in range(int(stay.came_at // STEP_S), min(steps, math.ceil(stay.left_at / STEP_S))):
            variable = program.variable(car, most_a, wh)
            node: str | None = config.node
            while node is not None:
                for p in stay.outlet.rotation[: stay.car.phases]:
                    load = building[i][p] if node == "site" else 0.0
                    program.uses((node, p, i), max(0.0, nodes[node]["limit_a"][PHASES[p]] - load), variable)
                node = nodes[node]["parent"]
    return program


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


def garage_program(garage: Garage, limit_a: float) -> Program:
    """What could be had: one variable for a car between two arrivals or departures."""
    edges = sorted({edge for stay in garage.stays for edge in _on_steps(stay)})
    index = {edge: i for i, edge in enumerate(edges)}
    program = Program()
    for stay in garage.stays:
        car = program.car(stay.wanted_wh)
        first, last = _on_steps(stay)
        for i in range(index[first], index[last]):
            wh = garage.voltage_v * stay.phases * (edges[i + 1] - edges[i]) / 3600
            variable = program.variable(car, stay.max_a, wh)
            for p, used in enumerate(garage.on_phases(stay, 1.0)):
                if used:
                    program.uses((p, i), limit_a, variable)
    return program


def _on_steps(stay: Stay) -> tuple[int, int]:
    """Its stay on the grid of steps, never shorter than it was."""
    return stay.arrive_s // STEP_S * STEP_S, -(-stay.leave_s // STEP_S) * STEP_S


def compare(path: Path, days: float | None, tick_s: int | None, wishes: Wishes) -> list[str]:
    """One garage: the controller beside bounds and round robins; lines for people."""
    logging.disable(logging.CRITICAL)
    garage = recorded(path, days)
    limit_a = max(uncontrolled_peak_a(garage)) / OVERRUN
    best, ceiling_kwh, others = without_controller(garage, limit_a)
    run = replay(garage, limit_a, tick_s=tick_s, wishes=wishes)
    ours = Figures(run.delivered_kwh, run.jain, run.served_less_than_half)
    gaps = [_gaps(best, ours, others[name]) for name in (AT_ONCE, AS_THEY_ARE)]
    shown = f"controller, {TOLD[wishes]}"
    return [
        *_table(path, garage, limit_a, best, {**others, shown: ours}),
        f"  bound for currents of 0 or at least 6 A: {ceiling_kwh:.1f} kWh, of which the controller"
        f" {ours.kwh / ceiling_kwh:.2%}",
        f"  the controller's gap against the round robin's: {gaps[0]:.3f} (obeyed at once), {gaps[1]:.3f} (cars as they"
        " are)",
        f"  {run.limit_changes_per_car_minute:.3f} limit changes per car and minute, {run.pauses_per_car:.2f} pauses"
        f" per car, violations {sum(run.violations.values())}",
    ]


def reach(path: Path, days: float | None) -> list[str]:
    """One garage without the controller: what rules can reach, in a minute or two for months."""
    garage = recorded(path, days)
    limit_a = max(uncontrolled_peak_a(garage)) / OVERRUN
    best, ceiling_kwh, others = without_controller(garage, limit_a)
    return [
        *_table(path, garage, limit_a, best, others),
        f"  bound for currents of 0 or at least 6 A: {ceiling_kwh:.1f} kWh",
    ]


def without_controller(garage: Garage, limit_a: float) -> tuple[Figures, float, dict[str, Figures]]:
    """The optimum, the bound for currents of 0 or at least 6 A in kWh, and the rules to compare with."""
    program = garage_program(garage, limit_a)
    optimum = program.best()
    robins = {
        AT_ONCE: RoundRobin(garage, limit_a, ideal=True),
        AS_THEY_ARE: RoundRobin(garage, limit_a, ideal=False),
        "equal shares, obeyed at once": RoundRobin(garage, limit_a, ideal=True, step_a=0.1),
        "the same, who leaves first first": RoundRobin(garage, limit_a, ideal=True, step_a=0.1, foresees=True),
    }
    others = {name: figures(garage.stays, robin.run()) for name, robin in robins.items()}
    best = figures(garage.stays, program.delivered_wh(optimum.amps))
    return best, program.ceiling_wh(optimum.prices) / 1000, others


def _table(path: Path, garage: Garage, limit_a: float, best: Figures, others: dict[str, Figures]) -> list[str]:
    return [
        f"{path.name}: {len(garage.stays)} sessions, {limit_a:.1f} A per phase, a sixth of the uncontrolled peak",
        f"  {'':32}      energy  ÷ bound    Jain   under half   gap, kWh   ÷ round robin's",
        *(
            f"  {name:32} {_row(shown, best)}   {_gaps(best, shown, others[AT_ONCE]):15.3f}"
            for name, shown in {"bound": best, **others}.items()
        ),
    ]


def _row(shown: Figures, best: Figures) -> str:
    gap_kwh = best.kwh - shown.kwh
    return (
        f"{shown.kwh:8.1f} kWh {shown.kwh / best.kwh:7.2%}  {shown.jain:6.4f}  {shown.under_half:11}   {gap_kwh:8.1f}"
    )


def _gaps(best: Figures, ours: Figures, robin: Figures) -> float:
    return (best.kwh - ours.kwh) / (best.kwh - robin.kwh) if best.kwh > robin.kwh else math.nan


def recorded(path: Path, days: float | None) -> Garage:
    garage = garage_of(read_sessions(path, ZoneInfo("UTC")))
    stays = garage.stays if days is None else tuple(s for s in garage.stays if s.arrive_s < days * 86_400)
    return attrs.evolve(garage, stays=stays)


def taper(path: Path, days: float | None, tick_s: int | None) -> list[str]:
    """Cars that taper from 80 % on, under a supply that is enough for all but the peak."""
    logging.disable(logging.CRITICAL)
    garage = attrs.evolve(recorded(path, days), taper_from=0.8)
    peak_a = max(uncontrolled_peak_a(garage))
    free, held = (replay(garage, a, tick_s=tick_s) for a in (peak_a, ENOUGH * peak_a))
    return [
        f"{path.name}: {len(garage.stays)} cars that taper, {ENOUGH:.0%} of the uncontrolled peak"
        f" ({ENOUGH * peak_a:.0f} A): {held.delivered_kwh:.1f} of {free.delivered_kwh:.1f} kWh,"
        f" {held.delivered_kwh / free.delivered_kwh:.2%} of uncontrolled charging, violations"
        f" {sum(held.violations.values())}"
    ]


def day(hours: float, seed: int, supply_a: float, phases: int | None, *, losses: bool) -> list[str]:
    """A day second by second: lines for people."""
    lost = Losses()
    outcome, program = demo_day(hours, seed, lost, supply_a, phases)
    optimum = program.best()
    best_kwh, ceiling_kwh = sum(program.delivered_wh(optimum.amps)) / 1000, program.ceiling_wh(optimum.prices) / 1000
    shown = outcome.figures
    kwh = shown["energy_kwh"]
    lines = [
        f"demo, {hours:g} h second by second under {supply_a:g} A, seed {seed}"
        f"{'' if phases is None else f', cars of {phases} phases'}: {kwh:.1f} kWh",
        f"  {kwh / best_kwh:.2%} of the bound for any current, {best_kwh:.1f} kWh",
        f"  {kwh / ceiling_kwh:.2%} of the bound for currents of 0 or at least 6 A, {ceiling_kwh:.1f} kWh",
        f"  {shown['limit_changes_per_car_minute']:.2f} limit changes per car and minute,"
        f" {shown['pauses_per_car']:.2f} pauses per car, findings {len(outcome.findings)}",
    ]
    if losses:
        lines.append("  unused while a car on that phase wanted more, by the first cause:")
        lines += [f"    {amount:7.2f} kWh {amount / best_kwh:6.2%}  {cause}" for cause, amount in lost.kwh.items()]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two hours of the demo and a week of each recording")
    parser.add_argument("--sessions", type=Path, nargs="*", default=[], help="recorded sessions to replay")
    parser.add_argument("--days", type=float, help="so many days of each recording")
    parser.add_argument("--hours", type=float, help="so many hours of the demo; 0: none")
    parser.add_argument("--tick", type=int, help="most seconds between ticks of the recorded sessions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--supply", type=float, default=63.0, help="amps per phase of the demo's supply")
    parser.add_argument("--phases", type=int, choices=(1, 2, 3), help="only cars of so many phases in the demo")
    parser.add_argument(
        "--wishes",
        type=Wishes,
        choices=tuple(Wishes),
        default=Wishes.NONE,
        help="what drivers say on arrival: nothing, what they claimed in the recording, or what will be",
    )
    parser.add_argument("--reach", action="store_true", help="of the recordings only what rules can reach, no replay")
    parser.add_argument("--losses", action="store_true", help="where the current of the demo went, cause by cause")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    hours = asked.hours if asked.hours is not None else 2.0 if asked.quick else 24.0
    days = asked.days if asked.days is not None else 7.0 if asked.quick else None
    with ProcessPoolExecutor(2) as pool:
        tasks = [pool.submit(day, hours, asked.seed, asked.supply, asked.phases, losses=asked.losses)] if hours else []
        if asked.reach:
            tasks += [pool.submit(reach, path, days) for path in asked.sessions]
        else:
            tasks += [pool.submit(compare, path, days, asked.tick, asked.wishes) for path in asked.sessions]
            tapering = asked.sessions if asked.wishes is Wishes.NONE else []
            tasks += [pool.submit(taper, path, min(days or 28.0, 28.0), asked.tick) for path in tapering]
        for task in tasks:
            print("\n".join(task.result()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
