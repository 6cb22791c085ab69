"""Allocation problems and their answers as JSON, the format of `llm-app allocate`.

Strict: a field that the format does not know, a key given twice, a boolean for a number, an amp with a fourth
decimal are all refused, and all at once. Only what a collection of solved problems adds, `seed` and `optimum_a`, is
read over. Numbers are decimal from the text to the milliamp; no float comes near a limit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

import attrs

from llm_core import (
    PHASES,
    Demand,
    Fault,
    Grant,
    Group,
    LimitNode,
    PerPhase,
    Phase,
    Problem,
    ProblemError,
    Strategy,
    allocate,
    faults_of,
)

_MOST_A = 1_000_000
_MOST_COUNT = 10**15
_WEIGHT_UNIT = 10**9

_Word = TypeVar("_Word", bound=StrEnum)


def solve_text(text: str) -> str:
    """The answer, as JSON, to one problem or to an array of problems.

    Raises `ProblemError` with the faults of all problems.
    """
    data = _load(text)
    if not isinstance(data, list):
        return json.dumps(answer(allocate(parse_problem(data))), indent=2)
    problems, faults = [], []
    for i, item in enumerate(data):
        try:
            problems.append(parse_problem(item))
        except ProblemError as refused:
            faults += [Fault(f"/{i}{fault.pointer}", fault.text) for fault in refused.faults]
    if faults:
        raise ProblemError(tuple(faults))
    return json.dumps([answer(allocate(problem)) for problem in problems], indent=2)


def parse_problem(data: object) -> Problem:
    """The problem that this JSON value (numbers as `int` or `Decimal`) describes.

    Weights are scaled to the smallest integers of the same ratio. Raises `ProblemError`.
    """
    reader = _Reader()
    fields = reader.fields(data, "", ("nodes", "demands"), ("strategy", "minimum_first", "groups", "seed"))
    limits = [reader.node(value, at) for value, at in reader.items(fields, "", "nodes")]
    demands = [reader.demand(value, at) for value, at in reader.items(fields, "", "demands")]
    divisor = math.gcd(*(demand.weight for demand in demands)) or 1
    problem = Problem(
        tuple(node for node, _ in limits),
        tuple(attrs.evolve(demand, weight=demand.weight // divisor) for demand in demands),
        reader.word(fields, "", "strategy", Strategy, Strategy.EQUAL),
        reader.flag(fields, "", "minimum_first", True),
        tuple(reader.group(value, at) for value, at in reader.items(fields, "", "groups")),
    )
    found = [*faults_of(problem), *_missing_phases(problem, [phases for _, phases in limits])]
    broken = [fault.pointer for fault in reader.faults]
    for fault in found:
        pointer = fault.pointer.removesuffix("_ma") + "_a" * fault.pointer.endswith("_ma")
        if not any(f"{pointer}/".startswith(f"{known}/") for known in broken):
            reader.faults.append(Fault(pointer, fault.text))
    if reader.faults:
        raise ProblemError(tuple(reader.faults))
    return problem


def answer(grants: Iterable[Grant]) -> dict[str, object]:
    """The grants as a JSON value, amps as numbers."""
    return {
        "grants": [
            {
                "id": grant.id,
                "limit_a": grant.limit_ma / 1_000,
                "reason": grant.reason.value,
                "limited_by": grant.limited_by
                and {"node": grant.limited_by.node, "phase": grant.limited_by.phase.value},
            }
            for grant in grants
        ]
    }


def _missing_phases(problem: Problem, phases: list[frozenset[Phase]]) -> Iterator[Fault]:
    """A demand on a phase that a node on its way does not have."""
    parents = {node.id: node.parent for node in problem.nodes}
    has = {node.id: there for node, there in zip(problem.nodes, phases, strict=True)}
    for i, demand in enumerate(problem.demands):
        path: dict[str, None] = {}
        above: str | None = demand.node
        while above in parents and above not in path:
            path[above] = None
            above = parents[above]
        for node in path:
            for phase in demand.phases:
                if phase not in has[node]:
                    yield Fault(f"/demands/{i}/phases", f"node {node!r} has no {phase}")


# From text to values


class _Repeating(dict[str, object]):
    """An object in whose text some keys came twice."""

    repeated: tuple[str, ...] = ()


def _load(text: str) -> object:
    try:
        return json.loads(
            text, parse_int=_number, parse_float=_number, parse_constant=Decimal, object_pairs_hook=_pairs
        )
    except json.JSONDecodeError as error:
        fault = Fault("", f"this is no JSON: {error.msg} in line {error.lineno}, column {error.colno}")
        raise ProblemError((fault,)) from None
    except RecursionError:
        raise ProblemError((Fault("", "this is nested too deeply"),)) from None


def _number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")


def _pairs(pairs: list[tuple[str, object]]) -> _Repeating:
    found = _Repeating(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        found.repeated = tuple(key for key in found if keys.count(key) > 1)
    return found


@attrs.define
class _Reader:
    """Reads the parts of a problem; on a fault it notes the fault and goes on with a harmless value."""

    faults: list[Fault] = attrs.field(factory=list)

    def fields(self, value: object, at: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, object]:
        if not isinstance(value, dict):
            self._fault(at, "must be an object")
            return {}
        for key in value:
            if key not in required and key not in optional:
                self._fault(_below(at, key), "is not a field of this object")
        for key in required:
            if key not in value:
                self._fault(_below(at, key), "is missing")
        for key in getattr(value, "repeated", ()):
            self._fault(_below(at, key), "is given more than once")
        return value

    def items(self, fields: dict[str, object], at: str, name: str) -> list[tuple[object, str]]:
        values = fields.get(name, [])
        if not isinstance(values, list):
            self._fault(f"{at}/{name}", "must be an array")
            return []
        return [(value, f"{at}/{name}/{i}") for i, value in enumerate(values)]

    def node(self, value: object, at: str) -> tuple[LimitNode, frozenset[Phase]]:
        """The node, and the phases it has: L1 alone or all three (assumed when it does not say it properly)."""
        known_faults = len(self.faults)
        fields = self.fields(value, at, ("id", "limit_a"), ("parent",))
        limits = self.fields(fields.get("limit_a", {"L1": 0}), f"{at}/limit_a", ("L1",), ("L2", "L3"))
        if ("L2" in limits) != ("L3" in limits):
            self._fault(f"{at}/limit_a", "must name L1 alone, or L1, L2 and L3")
        each = (self.amps(limits, f"{at}/limit_a", phase.value, 0) for phase in PHASES)
        parent = None if fields.get("parent") is None else self.text(fields, at, "parent")
        node = LimitNode(self.text(fields, at, "id"), parent, PerPhase(*each))
        sound = len(self.faults) == known_faults
        return node, frozenset(phase for phase in PHASES if phase.value in limits or not sound)

    def demand(self, value: object, at: str) -> Demand:
        """The demand, its weight in billionths."""
        fields = self.fields(
            value,
            at,
            ("id", "node", "phases", "min_a", "max_a"),
            ("step_a", "weight", "priority", "rank", "since", "optimum_a"),
        )
        return Demand(
            id=self.text(fields, at, "id"),
            node=self.text(fields, at, "node"),
            phases=self.phases(fields, at),
            min_ma=self.amps(fields, at, "min_a", 0),
            max_ma=self.amps(fields, at, "max_a", _MOST_A * 1_000),
            step_ma=self.amps(fields, at, "step_a", 100),
            weight=self.weight(fields, at),
            priority=self.count(fields, at, "priority"),
            rank=self.count(fields, at, "rank"),
            since=self.count(fields, at, "since"),
        )

    def group(self, value: object, at: str) -> Group:
        fields = self.fields(value, at, ("id", "members", "limit_a"), ())
        members = []
        for member, place in self.items(fields, at, "members"):
            if isinstance(member, str):
                members.append(member)
            else:
                self._fault(place, "must be the id of a demand")
        return Group(self.text(fields, at, "id"), frozenset(members), self.amps(fields, at, "limit_a", 0))

    def text(self, fields: dict[str, object], at: str, name: str) -> str:
        value = fields.get(name, "-")
        if isinstance(value, str) and value:
            return value
        self._fault(f"{at}/{name}", "must be a text that is not empty")
        return ""

    def phases(self, fields: dict[str, object], at: str) -> tuple[Phase, ...]:
        found = []
        for value, place in self.items(fields, at, "phases"):
            if value in tuple(Phase):
                found.append(Phase(str(value)))
            else:
                self._fault(place, "must be L1, L2 or L3")
        return tuple(found)

    def word(self, fields: dict[str, object], at: str, name: str, words: type[_Word], default: _Word) -> _Word:
        value = fields.get(name, default)
        if isinstance(value, str) and value in tuple(words):
            return words(value)
        self._fault(f"{at}/{name}", f"must be one of {', '.join(words)}")
        return default

    def flag(self, fields: dict[str, object], at: str, name: str, default: bool) -> bool:
        value = fields.get(name, default)
        if isinstance(value, bool):
            return value
        self._fault(f"{at}/{name}", "must be true or false")
        return default

    def amps(self, fields: dict[str, object], at: str, name: str, default_ma: int) -> int:
        """Milliamps."""
        if name not in fields:
            return default_ma
        value = _decimal(fields[name])
        if value is None or abs(value) > _MOST_A:
            self._fault(f"{at}/{name}", f"must be a number of amps, {_MOST_A} at most")
            return default_ma
        if value != round(value, 3):
            self._fault(f"{at}/{name}", "has more than three decimals")
            return default_ma
        return int(value * 1_000)

    def weight(self, fields: dict[str, object], at: str) -> int:
        value = _decimal(fields.get("weight", 1))
        if value is None or abs(value) > _MOST_COUNT or value != round(value, 9):
            self._fault(f"{at}/weight", "must be a number with at most nine decimals")
            return 1
        return int(value * _WEIGHT_UNIT)

    def count(self, fields: dict[str, object], at: str, name: str) -> int:
        value = _decimal(fields.get(name, 0))
        if value is None or abs(value) > _MOST_COUNT or value != round(value):
            self._fault(f"{at}/{name}", "must be a whole number")
            return 0
        return int(value)

    def _fault(self, pointer: str, text: str) -> None:
        self.faults.append(Fault(pointer, text))


def _decimal(value: object) -> Decimal | None:
    """The number, if it is a finite one; `true` is none."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite():
        return Decimal(value)
    return None


def _below(at: str, key: str) -> str:
    """The JSON pointer (RFC 6901) to a field whose name may be anything."""
    return f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
