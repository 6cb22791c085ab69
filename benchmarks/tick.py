"""What a tick costs, in ratios measured in one run: `uv run python benchmarks/tick.py [--quick]`.

- the whole tick (state to effects) against the allocation it contains;
- 1 000 connectors against 20 (linear would be 50);
- the share of a core that one tick a second takes at 1 000 connectors;
- the memory of the state per connector.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from llm_core import (
    SITE,
    AccessRule,
    Cluster,
    Demand,
    LimitConfirmed,
    MeterSampled,
    MeterSetup,
    MeterValuesReceived,
    Mode,
    Now,
    PerPhase,
    Problem,
    SetLimit,
    Site,
    StartRequested,
    State,
    Station,
    StationBooted,
    StationClockRead,
    StationConnected,
    Status,
    StatusChanged,
    Supply,
    Tick,
    allocate,
    step,
)
from llm_core.effects import ClearLimit

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PER_CLUSTER = 20


def site_of(connectors: int) -> Site:
    """Clusters of 20 stations; the supply has 10 A for each, so that everyone shares and nobody waits."""
    clusters = tuple(
        Cluster(f"c{i}", f"Cluster {i}", None, PerPhase.same(9_000 * PER_CLUSTER))
        for i in range(-(-connectors // PER_CLUSTER))
    )
    stations = tuple(Station(f"S{i:04}", cluster=f"c{i // PER_CLUSTER}") for i in range(connectors))
    limit_ma = PerPhase.same(10_000 * connectors + 20_000)
    supply = Supply(Mode.DYNAMIC, fuse_ma=limit_ma, derated_ma=limit_ma, fallback_ma=limit_ma)
    meters = (MeterSetup(SITE, "model", "host"),)
    return Site(supply=supply, clusters=clusters, stations=stations, meters=meters, access=AccessRule.FREE)


class Running:
    """A site whose cars all charge; `tick` is what a second of control costs."""

    def __init__(self, connectors: int) -> None:
        self.ids = [station.id for station in site_of(connectors).stations]
        self.state = State(site=site_of(connectors), factory=False)
        self.ms = 1_000
        self.draws = dict.fromkeys(self.ids, 0)
        for number, name in enumerate(self.ids):
            self.apply(StationConnected(name))
            self.apply(StationBooted(name))
            self.apply(StationClockRead(name, 0))
            self.apply(StatusChanged(name, 1, Status.CHARGING))
            self.apply(StartRequested(name, 1, f"tag{number}", 0))
        for second in range(40):
            self.second(report=second % 10 == 0)

    def now(self) -> Now:
        return Now(self.ms, BEGIN + timedelta(milliseconds=self.ms))

    def apply(self, event: object) -> tuple[object, ...]:
        outcome = step(self.state, event, self.now())  # type: ignore[arg-type]
        self.state = outcome.state
        return outcome.effects

    def sample(self) -> None:
        total_ma = 15_000 + self.ms % 700 + sum(self.draws.values())
        self.apply(MeterSampled(SITE, (total_ma,) * 3, self.ms, self.ms))

    def second(self, *, report: bool = False) -> None:
        self.ms += 1_000
        self.sample()
        if report:
            self.report()
        self.answer(self.apply(Tick()))

    def report(self) -> None:
        for name, draw_ma in self.draws.items():
            self.apply(MeterValuesReceived(name, 1, current_ma=(draw_ma,) * 3))

    def answer(self, effects: tuple[object, ...]) -> None:
        """The stations acknowledge at once, and their cars follow."""
        for effect in effects:
            if isinstance(effect, SetLimit | ClearLimit):
                self.apply(LimitConfirmed(effect.station_id, effect.connector, effect.seq))
            if isinstance(effect, SetLimit):
                self.draws[effect.station_id] = effect.limit_ma

    def tick_seconds(self) -> float:
        self.ms += 1_000
        self.sample()
        if self.ms % 10_000 == 0:
            self.report()
        effects: list[object] = []
        seconds = timed(lambda: effects.extend(self.apply(Tick())))
        self.answer(tuple(effects))
        return seconds

    def problem(self) -> Problem:
        demands = tuple(
            Demand(f"{s.id}/1", s.node, s.phase_rotation, s.min_ma, s.max_ma, since=i)
            for i, s in enumerate(self.state.site.stations)
        )
        return Problem(self.state.site.limit_tree(), demands, self.state.site.sharing.strategy)


def timed(work: Callable[[], object]) -> float:
    """Seconds of this thread's own work: what else the machine does meanwhile does not count."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, up to 200 connectors")
    quick = parser.parse_args().quick
    sizes = (20, 200) if quick else (20, 200, 1_000)
    ticks: dict[int, float] = {}
    for size in sizes:
        tracemalloc.start()
        running = Running(size)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        problem = running.problem()
        pairs = [(running.tick_seconds(), timed(lambda: allocate(problem))) for _ in range(20 if quick else 60)]  # noqa: B023
        ticks[size] = statistics.median(tick for tick, _ in pairs)
        ratio = statistics.median(tick / alone for tick, alone in pairs)
        print(
            f"{size:5} connectors: tick / allocation = {ratio:.2f}"
            f"   (tick {ticks[size] * 1000:.2f} ms, {100 * ticks[size]:.2f} % of a core at one a second;"
            f" {held / size / 1024:.1f} KiB of state per connector)"
        )
    least, most = min(sizes), max(sizes)
    print(f"tick at {most} / tick at {least} = {ticks[most] / ticks[least]:.1f}   (linear is {most / least:g})")


if __name__ == "__main__":
    main()
