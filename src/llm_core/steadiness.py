"""Who may move: what keeps cars from being shaken by every change of the building.

At each node and phase there is either room to give more (`FREE`), or what charging takes may stay while nobody knows
whether there is room (`STILL`), or it must come down (`CUT`). Where nothing may be given, nothing is taken from one
car for another either: the current taken could not be passed on. A cut lowers the largest shares first, and nobody
further than it has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from llm_core.budget import Room
from llm_core.problem import LimitNode
from llm_core.quantities import PHASES, Phase
from llm_core.site import MOST_MA

SMALL_MA = 1_000  # a share is not lowered by less only to make others equal
RESTART_MA = 2_000  # so much more than its minimum must be free before a car that was paused starts again


class Pressure(IntEnum):
    FREE = 0
    STILL = 1
    CUT = 2


Pressures = Mapping[tuple[str, Phase], Pressure]


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
