"""Simulated hours of trouble: random sites with every fault on, judged by the plant.

    python benchmarks/soak.py --hours 100 --seeds 100 [--first-seed 0] [--processes 2]
    python benchmarks/soak.py --hours 2000 --seeds 2000                                  the long one

Each seed is a site of 3 to 20 stations and gets its share of the hours. Prints every violation with its seed and
instant (`--first-seed N --seeds 1 --hours H --shown 200` repeats one of them alone), and how fast time passed. Exit
code 1 when there was a violation or a breaker tripped.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import attrs

from llm_app.simulate import simulate
from llm_app.trouble import troubled


@attrs.frozen
class Soaked:
    """What became of one seed."""

    seed: int
    stations: int
    seconds: float
    cpu_s: float
    violations: dict[str, int]
    findings: tuple[str, ...]
    trips: int
    energy_kwh: float


def soak(seed: int, hours: float) -> Soaked:
    """Play one seed."""
    logging.disable(logging.CRITICAL)
    began = time.process_time()
    scenario = troubled(seed, hours)
    outcome = simulate(scenario)
    return Soaked(
        seed=seed,
        stations=len(scenario.plant.stations),
        seconds=scenario.seconds,
        cpu_s=time.process_time() - began,
        violations={name: count for name, count in outcome.figures["violations"].items() if count},
        findings=tuple(f"{finding.at:.0f} s {finding.invariant} {finding.text}" for finding in outcome.findings),
        trips=outcome.figures["breaker_trips"],
        energy_kwh=outcome.figures["energy_kwh"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=100.0, help="simulated hours in all")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shown", type=int, default=3, help="findings shown for each seed")
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    each_h = asked.hours / asked.seeds
    began = time.perf_counter()
    found: Counter[str] = Counter()
    seconds = cpu_s = energy_kwh = 0.0
    trips = 0
    with ProcessPoolExecutor(asked.processes) as pool:
        for result in pool.map(soak, seeds, [each_h] * len(seeds)):
            seconds, cpu_s = seconds + result.seconds, cpu_s + result.cpu_s
            energy_kwh, trips = energy_kwh + result.energy_kwh, trips + result.trips
            found.update(result.violations)
            if result.violations or result.trips:
                print(f"seed {result.seed}: {result.stations} stations, {result.violations}, trips {result.trips}")
                for finding in result.findings[: asked.shown]:
                    print(f"    {finding}", flush=True)
    wall_s = time.perf_counter() - began
    print(f"{seconds / 3600:.1f} simulated hours over {asked.seeds} seeds, {energy_kwh:.0f} kWh, trips {trips}")
    print(f"{wall_s:.0f} s on {asked.processes} processes; a second of a core is {seconds / cpu_s:.0f} simulated ones")
    print(f"violations: {sum(found.values())} {dict(found) if found else ''}")
    return 1 if found or trips else 0


if __name__ == "__main__":
    sys.exit(main())
