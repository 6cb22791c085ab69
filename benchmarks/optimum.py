"""The most energy that cars can be given by one who knows everything beforehand, by linear programming (HiGHS).

    python benchmarks/optimum.py

holds the bound below against the exact optimum of small problems made up at random.

Theory of operation
    A variable is the current of one car in one step. Its rows are the places (node, phase, step) that it loads, and the
    wish of its car. `best` is the optimum when every current may be had. But a car takes 0 or at least 6 A (IEC
    61851-1), so no schedule that cars can follow need get there.

    `ceiling_wh` bounds what such a schedule can reach. It sells energy: each watt-hour of a car costs λ, the dual of
    its wish at `best`, and no wish is a limit any more (Lagrange). What a schedule that keeps to the wishes delivers is
    at most its profit and Σ λ·wish, for any λ ≥ 0: so no duality gap can make the bound too small. Without wishes the
    steps, and in a step the phases that no car joins, are small programs of their own, whose currents are 0 or from
    6 A on (semicontinuous). They are solved exactly, equal ones once.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Hashable, Iterator, Sequence

import attrs
import highspy
import numpy

LEAST_A = 6.0
PRICED = 9  # decimals of a gain by which two small programs are the same

Place = tuple[Hashable, ...]  # its last part is the step
Row = tuple[Sequence[int], Sequence[float], float]  # variables, their weights, and the most of the sum


@attrs.frozen
class Best:
    """The optimum: the current of each variable, and what a further watt-hour of each wish would be worth."""

    amps: list[float]
    prices: list[float]


@attrs.define
class Program:
    """Cars with wishes, their currents step by step, and the places that these load."""

    wishes: list[float] = attrs.field(factory=list)
    owner: list[int] = attrs.field(factory=list)
    upper: list[float] = attrs.field(factory=list)
    gain: list[float] = attrs.field(factory=list)
    places: dict[Place, list[int]] = attrs.field(factory=dict)
    room: dict[Place, float] = attrs.field(factory=dict)

    def car(self, wish_wh: float) -> int:
        self.wishes.append(wish_wh)
        return len(self.wishes) - 1

    def variable(self, car: int, most_a: float, wh_per_a: float) -> int:
        self.owner.append(car)
        self.upper.append(most_a)
        self.gain.append(wh_per_a)
        return len(self.upper) - 1

    def uses(self, place: Place, room: float, variable: int) -> None:
        self.places.setdefault(place, []).append(variable)
        self.room[place] = room

    def best(self) -> Best:
        """The optimum when a car may take any current."""
        solution = _solved(_problem(self.gain, [0.0] * len(self.upper), self.upper, self.rows()))
        prices = [min(max(-dual, 0.0), 1.0) for dual in solution.row_dual[: len(self.wishes)]]
        return Best(list(solution.col_value), prices)

    def rows(self) -> list[Row]:
        """The wishes first, then the places."""
        wishes: list[list[int]] = [[] for _ in self.wishes]
        for variable, car in enumerate(self.owner):
            wishes[car].append(variable)
        rows: list[Row] = [
            (variables, [self.gain[v] for v in variables], wh)
            for variables, wh in zip(wishes, self.wishes, strict=True)
        ]
        return rows + [(variables, [1.0] * len(variables), self.room[p]) for p, variables in self.places.items()]

    def delivered_wh(self, amps: Sequence[float]) -> list[float]:
        """What each car has got at these currents."""
        delivered = [0.0] * len(self.wishes)
        for car, current_a, wh in zip(self.owner, amps, self.gain, strict=True):
            delivered[car] += current_a * wh
        return delivered

    def ceiling_wh(self, prices: Sequence[float]) -> float:
        """No schedule that gives each car 0 or at least 6 A delivers more; best with the prices of `best`."""
        profit = [wh * (1 - prices[car]) for wh, car in zip(self.gain, self.owner, strict=True)]
        known: dict[Hashable, float] = {}
        total = sum(price * wh for price, wh in zip(prices, self.wishes, strict=True))
        for places in self._apart():
            variables = sorted({v for place in places for v in self.places[place] if profit[v] > 0})
            if not variables:
                continue
            index = {v: n for n, v in enumerate(variables)}
            rows = [([index[v] for v in self.places[p] if v in index], self.room[p]) for p in places]
            most = max(profit[v] for v in variables)
            cars = tuple((round(profit[v] / most, PRICED), self.upper[v]) for v in variables)
            key = (cars, tuple((tuple(row), room) for row, room in rows))
            if key not in known:
                known[key] = _fullest(cars, rows)
            total += known[key] * most
        return total

    def _apart(self) -> Iterator[list[Place]]:
        """The places in groups that no car joins."""
        joined: dict[Place, list[Place]] = {}
        first: dict[int, Place] = {}
        for place, variables in self.places.items():
            joined[place] = [place]
            for variable in variables:
                other = joined[first.setdefault(variable, place)]
                mine = joined[place]
                if other is not mine:
                    other += mine
                    joined |= dict.fromkeys(mine, other)
        seen: set[int] = set()
        for group in joined.values():
            if id(group) not in seen:
                seen.add(id(group))
                yield group


def _fullest(cars: Sequence[tuple[float, float]], rows: Sequence[tuple[Sequence[int], float]]) -> float:
    """The best that currents of 0 or at least 6 A can make of this room, a car being worth so much an ampere."""
    upper = [most_a for _, most_a in cars]
    least = [min(LEAST_A, most_a) for most_a in upper]
    gain = [worth for worth, _ in cars]
    problem = _problem(gain, least, upper, [(row, [1.0] * len(row), room) for row, room in rows])
    problem.integrality_ = [highspy.HighsVarType.kSemiContinuous] * len(cars)
    solution = _solved(problem)
    return sum(worth * amps for worth, amps in zip(gain, solution.col_value, strict=True))


def exactly_wh(program: Program) -> float:
    """The optimum with currents of 0 or at least 6 A, in one mixed-integer program: for small ones only."""
    least = [min(LEAST_A, most_a) for most_a in program.upper]
    problem = _problem(program.gain, least, program.upper, program.rows())
    problem.integrality_ = [highspy.HighsVarType.kSemiContinuous] * len(least)
    return sum(program.delivered_wh(_solved(problem).col_value))


def _problem(
    gain: Sequence[float], lower: Sequence[float], upper: Sequence[float], rows: Sequence[Row]
) -> highspy.HighsLp:
    problem = highspy.HighsLp()
    problem.num_col_, problem.num_row_ = len(gain), len(rows)
    problem.col_cost_ = -numpy.array(gain)
    problem.col_lower_, problem.col_upper_ = numpy.array(lower), numpy.array(upper)
    problem.row_lower_ = numpy.full(len(rows), -highspy.kHighsInf)
    problem.row_upper_ = numpy.array([most for _, _, most in rows])
    problem.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    problem.a_matrix_.start_ = numpy.array([0, *itertools.accumulate(len(row) for row, _, _ in rows)])
    problem.a_matrix_.index_ = numpy.array([variable for row, _, _ in rows for variable in row])
    problem.a_matrix_.value_ = numpy.array([weight for _, weights, _ in rows for weight in weights])
    return problem


def _solved(problem: highspy.HighsLp) -> highspy.HighsSolution:
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    model.setOptionValue("threads", 1)
    model.setOptionValue("mip_rel_gap", 0.0)
    model.passModel(problem)
    model.run()
    if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"no optimum: {model.getModelStatus()}")
    return model.getSolution()


def made_up(seed: int) -> Program:
    """A few cars and steps, and so little room that 6 A matter."""
    dice, program = random.Random(seed), Program()
    steps = dice.randint(2, 6)
    for _ in range(dice.randint(2, 6)):
        phases, most_a = dice.choice([(0, 1, 2), (0,), (1,), (2,), (0, 1)]), dice.choice([16.0, 16.0, 32.0])
        came, wh = dice.randrange(steps), 230 * len(phases) / 360
        left = dice.randint(came + 1, steps)
        car = program.car(dice.uniform(0.1, 1.0) * most_a * wh * (left - came))
        for step in range(came, left):
            variable = program.variable(car, most_a, wh)
            for phase in phases:
                program.uses((phase, step), random.Random(f"{seed}/{phase}/{step}").uniform(0, 30), variable)
    return program


def main() -> int:
    exact_wh = any_wh = ceiling_wh = 0.0
    for seed in range(200):
        program = made_up(seed)
        best, exact = program.best(), exactly_wh(program)
        ceiling = program.ceiling_wh(best.prices)
        if ceiling < exact - 1e-6:
            print(f"problem {seed}: the bound {ceiling:.3f} Wh is below what can be reached, {exact:.3f} Wh")
            return 1
        exact_wh, any_wh, ceiling_wh = (
            exact_wh + exact,
            any_wh + sum(program.delivered_wh(best.amps)),
            ceiling_wh + ceiling,
        )
    print(f"200 small problems: the bound is never below the exact optimum, which is {exact_wh / ceiling_wh:.1%} of it")
    print(f"and {exact_wh / any_wh:.1%} of the optimum for any current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
