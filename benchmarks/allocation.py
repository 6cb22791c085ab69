"""How fast `allocate` is: against a lexicographic max-min by linear programming, and against its own cost bound.

    python benchmarks/allocation.py [--quick]

The linear program raises one common level per solve and fixes whom that stops: one program per level, HiGHS, each
warm started from the one before. Both are timed from the problem to the answer, the fastest of a few runs counts,
and both optima are compared in the same run; the command fails when they differ.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable

import highspy

from llm_core.allocation import Demand, LimitNode, Problem, allocate, continuous
from llm_core.quantities import PHASES, PerPhase, Phase

PER_CLUSTER = 10
BLOCKED = 1e-9
AGREED_MA = 0.1


def site(connectors: int, seed: int = 1) -> Problem:
    """Clusters of ten, most of them short on some phase; a quarter of the cars take less than they are offered."""
    draw = random.Random(seed)
    nodes = [LimitNode("site", None, PerPhase.same(9_500 * connectors))]
    demands = []
    for i in range(connectors):
        cluster = f"c{i // PER_CLUSTER}"
        if i % PER_CLUSTER == 0:
            limits = (draw.randrange(60_000, 140_000, 100) for _ in PHASES)
            nodes.append(LimitNode(cluster, "site", PerPhase(*limits)))
        phases = draw.choice([PHASES, PHASES, PHASES[i % 3 : i % 3 + 1], PHASES[:2]])
        most = draw.choice([16_000, 16_000, 32_000, draw.randrange(7_000, 16_000, 100)])
        demands.append(Demand(f"S{i:05}/1", cluster, phases, 6_000, most, weight=draw.choice([1, 2])))
    return Problem(tuple(nodes), tuple(demands))


class LinearProgram:
    """Maximise the level t with x >= w t for everyone still free, fix whom it stops, repeat."""

    def __init__(self, problem: Problem) -> None:
        self.demands = problem.demands
        self.model = model = highspy.Highs()
        model.setOptionValue("output_flag", False)
        for demand in self.demands:
            model.addVar(demand.min_ma, demand.max_ma)
        self.level = len(self.demands)
        model.addVar(0, highspy.kHighsInf)
        model.changeColCost(self.level, -1.0)
        for i, demand in enumerate(self.demands):
            model.addRow(0, highspy.kHighsInf, 2, [i, self.level], [1.0, -float(demand.weight)])
        parents = {node.id: node.parent for node in problem.nodes}
        users: dict[tuple[str, Phase], list[int]] = {}
        for i, demand in enumerate(self.demands):
            node: str | None = demand.node
            while node is not None:
                for phase in demand.phases:
                    users.setdefault((node, phase), []).append(i)
                node = parents[node]
        limits = {(node.id, phase): node.limit_ma[phase] for node in problem.nodes for phase in PHASES}
        for place, members in users.items():
            model.addRow(-highspy.kHighsInf, limits[place], len(members), members, [1.0] * len(members))

    def solve(self) -> tuple[dict[str, float], int]:
        """The optimum in mA and the number of programs it took."""
        free = set(range(len(self.demands)))
        share: dict[str, float] = {}
        programs = 0
        while free:
            top = min(self.demands[i].max_ma / self.demands[i].weight for i in free)
            self.model.changeColBounds(self.level, 0, top)
            self.model.run()
            programs += 1
            solution = self.model.getSolution()
            level = solution.col_value[self.level]
            duals = solution.row_dual
            stopped = {i for i in free if self.reached(i, level) or abs(duals[i]) > BLOCKED}
            for i in stopped:
                demand = self.demands[i]
                held = min(max(level * demand.weight, demand.min_ma), demand.max_ma)
                share[demand.id] = held
                self.model.changeColBounds(i, held - BLOCKED, held)
                self.model.changeRowBounds(i, -highspy.kHighsInf, highspy.kHighsInf)
            if not stopped:
                sys.exit("the linear program stopped nobody")
            free -= stopped
        return share, programs

    def reached(self, i: int, level: float) -> bool:
        return level * self.demands[i].weight >= self.demands[i].max_ma - BLOCKED * self.demands[i].max_ma


def fastest(runs: int, solve: Callable[[], object]) -> float:
    best = math.inf
    for _ in range(runs):
        start = time.perf_counter()
        solve()
        best = min(best, time.perf_counter() - start)
    return best


def compare(connectors: int) -> bool:
    problem = site(connectors)
    quick = fastest(9, lambda: allocate(problem))
    slow = fastest(3 if connectors <= 200 else 1, lambda: LinearProgram(problem).solve())
    share, programs = LinearProgram(problem).solve()
    exact = continuous(problem)
    apart = max(abs(float(exact[name]) - share[name]) for name in share)
    print(
        f"{connectors:6} connectors  allocate {quick * 1e3:8.3f} ms   {programs:5} programs {slow * 1e3:10.1f} ms"
        f"   {slow / quick:7.0f} x faster   optima at most {apart / 1e3:.0e} A apart"
    )
    return apart <= AGREED_MA


def bound(connectors: int) -> None:
    problem = site(connectors)
    took = fastest(5, lambda: allocate(problem))
    bottlenecks = len({grant.limited_by for grant in allocate(problem)} - {None})
    depth = 2
    cost = (connectors + bottlenecks) * depth * math.log2(connectors)
    print(f"{connectors:6} connectors  {bottlenecks:5} bottlenecks   c = {took / cost * 1e9:6.0f} ns")


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the allocation.")
    parser.add_argument("--quick", action="store_true", help="leave out the largest sites")
    quick = parser.parse_args().quick
    print("against lexicographic max-min by linear programming")
    agreed = [compare(connectors) for connectors in ((20, 200) if quick else (20, 200, 2_000))]
    print("against the bound: seconds <= c * (connectors + bottlenecks) * depth * log2(connectors)")
    for connectors in (20, 200, 2_000) if quick else (20, 200, 2_000, 20_000):
        bound(connectors)
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
