"""Who may move: what keeps cars from being shaken by every change of the building.

At each node and phase there is either room to give more (`FREE`), or what charging takes may stay while nobody knows
whether there is room (`STILL`), or it must come down (`CUT`). Where nothing may be given, nothing is taken from one
car for another either: the current taken could not be passed on. A cut lowers the largest shares first, and nobody
further than it has to. Where a little is too much, as the noise of a building asks for every few seconds, it is taken
from one car rather than a tenth of an ampere from each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TypeVar

from llm_core.budget import Room
from llm_core.problem import Binding, Demand, LimitNode
from llm_core.quantities import PHASES, Phase
from llm_core.site import MOST_MA

SMALL_MA = 1_000  # a share is not lowered by less only to make others equal
SLACK_MA = 700
RESTART_MA = 2_000  # so much more than its minimum must be free before a car that was paused starts again


class Pressure(IntEnum):
    FREE = 0
    STILL = 1
    CUT = 2


Pressures = Mapping[tuple[str, Phase], Pressure]
_K = TypeVar("_K")


def pressures(tree: Iterable[LimitNode], rooms: Mapping[str, Room], taken: Mapping[str, list[int]]) -> Pressures:
    """The pressure at each node and phase; `taken` is all that counts there: told limits and what is reserved."""
    result: dict[tuple[str, Phase], Pressure] = {}
    for node in tree:
        room = rooms[node.id]
        for index, phase in enumerate(PHASES):
            taken_ma = taken[node.id][index]
            if taken_ma > room.keep_ma[phase]:
                result[node.id, phase] = Pressure.CUT
            elif taken_ma > room.raise_ma[phase]:
                result[node.id, phase] = Pressure.STILL
            else:
                result[node.id, phase] = Pressure.FREE
    return result


def pressure_on(phases: tuple[Phase, ...], chain: Iterable[str], pressure: Pressures) -> Pressure:
    """The highest pressure on these phases on the way to the root."""
    return max((pressure[node, phase] for node in chain for phase in phases), default=Pressure.FREE)


def bound_of(pressure: Pressure, told_ma: int, least_ma: int) -> int | None:
    """The most that a car may ask for now; None when it has to wait.

    Under pressure nobody gets more than it was told, and nobody starts.
    """
    if pressure is Pressure.FREE:
        return MOST_MA
    return told_ma if told_ma >= least_ma else None


def small_excesses(
    tree: Iterable[LimitNode], rooms: Mapping[str, Room], taken: Mapping[str, list[int]]
) -> dict[Binding, int]:
    """Where a little more than may be kept is taken, and how much more."""
    over = {}
    for node in tree:
        keep = rooms[node.id].keep_ma
        for index, phase in enumerate(PHASES):
            over_ma = taken[node.id][index] - keep[phase]
            if 0 < over_ma < SMALL_MA:
                over[Binding(node.id, phase)] = over_ma
    return over


def cut_few(
    demands: Mapping[_K, Demand], over: Mapping[Binding, int], chains: Mapping[str, tuple[str, ...]]
) -> tuple[dict[_K, Demand], dict[_K, Binding]]:
    """The demands with each small excess taken from the largest that uses its place, and who was cut for which.

    It is cut by `SLACK_MA` more, so that the next breath of the building does not ask again, but nobody below its
    minimum: an excess that would ask for that is shared out like any other.
    """
    after, cut = dict(demands), {}
    for place, over_ma in over.items():
        there = [key for key, d in demands.items() if place.phase in d.phases and place.node in chains[d.node]]
        if not there:
            continue
        left_ma = over_ma - sum(demands[key].max_ma - after[key].max_ma for key in there)
        key = max(there, key=lambda key: (after[key].max_ma, after[key].id))
        demand = after[key]
        if left_ma > 0 and demand.max_ma - left_ma >= demand.min_ma:
            most_ma = (demand.max_ma - left_ma - SLACK_MA) // demand.step_ma * demand.step_ma
            after[key], cut[key] = demand.at_most(max(most_ma, demand.min_ma)), place
    return after, cut
