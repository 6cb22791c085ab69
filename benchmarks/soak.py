"""Simulated hours of trouble: random sites with every fault on, judged by the plant.

    python benchmarks/soak.py --hours 100 --seeds 100 [--first-seed 0] [--processes 2]
    python benchmarks/soak.py --hours 2000 --seeds 2000 --log soak.jsonl                 the long one
    python benchmarks/soak.py --hours 200 --seeds 200 --odd                              slow meters, odd stations too

Each seed is a site of 3 to 20 stations and gets its share of the hours. Prints every violation with its seed and
instant and the command that repeats it alone, and how fast time passed. With `--log` each seed is a line of that file
as soon as it has ended; seeds that the file has already are not played again, so a run that was broken off goes on
where it was. Exit code 1 when there was a violation or a breaker tripped.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import attrs

from llm_app.simulate import simulate
from llm_app.trouble import troubled, with_odd_hardware


@attrs.frozen
class Soaked:
    """What became of one seed."""

    seed: int
    hours: float
    stations: int
    cpu_s: float
    violations: dict[str, int]
    findings: list[str]
    trips: int
    energy_kwh: float
    longest_above_s: float
    odd: bool = False

    @property
    def is_clean(self) -> bool:
        return not self.violations and not self.trips


def soak(seed: int, hours: float, *, odd: bool = False) -> Soaked:
    """Play one seed."""
    logging.disable(logging.CRITICAL)
    began = time.process_time()
    scenario = with_odd_hardware(troubled(seed, hours)) if odd else troubled(seed, hours)
    outcome = simulate(scenario)
    figures = outcome.figures
    return Soaked(
        seed=seed,
        hours=hours,
        stations=len(scenario.plant.stations),
        cpu_s=time.process_time() - began,
        violations={name: count for name, count in figures["violations"].items() if count},
        findings=[f"{finding.at:.0f} s {finding.invariant} {finding.text}" for finding in outcome.findings],
        trips=figures["breaker_trips"],
        energy_kwh=figures["energy_kwh"],
        odd=odd,
        longest_above_s=max(second for phases in figures["longest_above_s"].values() for second in phases.values()),
    )


def played(seeds: Iterable[int], hours: float, processes: int, *, odd: bool) -> Iterator[Soaked]:
    """Each seed as it ends."""
    with ProcessPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(soak, seed, hours, odd=odd) for seed in seeds]):
            yield done.result()


def logged(path: Path, hours: float, *, odd: bool) -> dict[int, Soaked]:
    """What the log of an earlier run holds of seeds that were played as long."""
    if not path.exists():
        return {}
    lines = [Soaked(**json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
    return {line.seed: line for line in lines if line.hours == hours and line.odd == odd}


def tell(result: Soaked, shown: int) -> None:
    """One that was not clean, and how to see it again."""
    print(f"seed {result.seed}: {result.stations} stations, {result.violations}, trips {result.trips}")
    for finding in result.findings[:shown]:
        print(f"    {finding}")
    command = f"benchmarks/soak.py --first-seed {result.seed} --seeds 1 --hours {result.hours:g} --shown 200"
    print(f"    again: uv run python {command}{' --odd' if result.odd else ''}", flush=True)


def told(results: Iterable[Soaked], shown: int, log: Path | None) -> list[Soaked]:
    """The results, each written down and told as it comes."""
    kept = []
    for result in results:
        kept.append(result)
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(attrs.asdict(result)) + "\n")
        if not result.is_clean:
            tell(result, shown)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=100.0, help="simulated hours in all")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shown", type=int, default=3, help="findings shown for each seed")
    parser.add_argument("--odd", action="store_true", help="slow meters and odd stations as well")
    parser.add_argument("--log", type=Path, help="a file to which each seed is added as it ends")
    asked = parser.parse_args()
    each_h = asked.hours / asked.seeds
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    before = (
        {} if asked.log is None else {n: r for n, r in logged(asked.log, each_h, odd=asked.odd).items() if n in seeds}
    )
    began = time.perf_counter()
    now = told(
        played([n for n in seeds if n not in before], each_h, asked.processes, odd=asked.odd), asked.shown, asked.log
    )
    wall_s = time.perf_counter() - began
    results = [*before.values(), *now]
    found: Counter[str] = Counter()
    for result in results:
        found.update(result.violations)
    trips, energy_kwh = sum(r.trips for r in results), sum(r.energy_kwh for r in results)
    speed = sum(r.hours for r in now) * 3600 / max(sum(r.cpu_s for r in now), 1e-9)
    print(f"{sum(r.hours for r in results):.1f} simulated hours over {len(results)} seeds, {energy_kwh:.0f} kWh")
    print(f"{wall_s:.0f} s on {asked.processes} processes; a second of a core is {speed:.0f} simulated ones")
    print(f"violations: {sum(found.values())} {dict(found) if found else ''}, trips {trips}")
    return 1 if found or trips else 0


if __name__ == "__main__":
    sys.exit(main())
