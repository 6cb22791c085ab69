"""What limits from outside leave of the room at a node, with a meter, without one, and behind one that is lost."""

from __future__ import annotations

import attrs

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    ZERO,
    Cluster,
    MeterPhase,
    MeterSetup,
    MeterState,
    Mode,
    PerPhase,
    Phase,
    Site,
    Supply,
)
from llm_core.budget import Room, rooms
from llm_core.external import NodeCap
from unit.strategies import now

NOW_MS = now().monotonic_ms
METERED = Site(
    supply=Supply(Mode.DYNAMIC, derated_ma=PerPhase.same(60_000), fallback_ma=PerPhase.same(30_000)),
    meters=(MeterSetup(SITE, "any", "meter"),),
)
STATIC = Site(
    supply=Supply(static_max_ma=PerPhase.same(40_000), derated_ma=PerPhase.same(50_000)),
    clusters=(Cluster("c1", "one", None, PerPhase.same(32_000)),),
)


def meter(building_ma: int, lost: tuple[Phase, ...] = ()) -> dict[str, MeterState]:
    known = MeterPhase(building_ma, seen_ms=NOW_MS, high_ma=building_ma)
    return {SITE: MeterState({phase: attrs.evolve(known, lost=phase in lost) for phase in PHASES})}


def room(
    site: Site,
    cap: NodeCap,
    meters: dict[str, MeterState] | None = None,
    *,
    node: str = SITE,
    strangers: PerPhase = ZERO,
) -> Room:
    return rooms(site, meters or {}, (), strangers, NOW_MS, {node: cap})[node]


def same(ma: int) -> PerPhase:
    return PerPhase.same(ma)


def test_a_limit_of_the_stations_leaves_them_that_much_beside_any_building() -> None:
    assert room(METERED, NodeCap(stations_ma=same(20_000)), meter(10_000)) == Room(same(20_000), same(20_000), PHASES)
    assert room(METERED, NodeCap(stations_ma=same(55_000)), meter(10_000)) == Room(same(50_000), same(50_000))


def test_a_limit_of_the_total_leaves_what_the_building_does_not_take() -> None:
    assert room(METERED, NodeCap(total_ma=same(40_000)), meter(10_000)) == Room(same(30_000), same(30_000), PHASES)


def test_behind_a_lost_meter_the_safe_limit_is_less_by_as_much_and_never_below_nothing() -> None:
    lost = meter(10_000, PHASES)
    assert room(METERED, NodeCap(total_ma=same(50_000)), lost) == Room(same(20_000), same(20_000), PHASES)
    assert room(METERED, NodeCap(total_ma=same(20_000)), lost) == Room(ZERO, ZERO, PHASES)
    unset = attrs.evolve(METERED, meters=())
    assert room(unset, NodeCap(total_ma=same(50_000))) == Room(same(20_000), same(20_000), PHASES)


def test_in_static_mode_a_limit_of_the_total_takes_off_what_it_takes_off_the_derated_current() -> None:
    assert room(STATIC, NodeCap(total_ma=same(45_000))) == Room(same(35_000), same(35_000), PHASES)
    assert room(STATIC, NodeCap(total_ma=same(50_000))) == Room(same(40_000), same(40_000))


def test_what_strangers_draw_is_taken_from_the_stations_of_the_site() -> None:
    left = room(STATIC, NodeCap(stations_ma=same(20_000)), strangers=PerPhase(4_000, 0, 0))
    assert left == Room(PerPhase(16_000, 20_000, 20_000), PerPhase(16_000, 20_000, 20_000), PHASES)


def test_what_strangers_draw_is_taken_off_what_is_safe_where_no_meter_shows_it() -> None:
    strange = PerPhase(4_000, 0, 31_000)
    left = PerPhase(26_000, 30_000, 0)
    for blind in (
        room(METERED, NodeCap(), meter(0, PHASES), strangers=strange),
        room(attrs.evolve(METERED, meters=()), NodeCap(), strangers=strange),
    ):
        assert blind == Room(left, left)
    seen = room(METERED, NodeCap(), meter(10_000), strangers=strange)
    assert seen == Room(same(50_000), same(50_000))
    assumed = attrs.evolve(METERED, meters=(MeterSetup(SITE, MANUAL, load_ma=same(20_000)),))
    left = PerPhase(36_000, 40_000, 9_000)
    assert room(assumed, NodeCap(), strangers=strange) == Room(left, left)


def test_a_cluster_without_a_meter_carries_stations_only() -> None:
    for cap in (NodeCap(stations_ma=same(10_000)), NodeCap(total_ma=same(10_000))):
        assert room(STATIC, cap, node="c1", strangers=same(9_000)) == Room(same(10_000), same(10_000), PHASES)


def test_one_phase_may_be_limited_alone() -> None:
    cap = NodeCap(stations_ma=PerPhase(10_000, 63_000, 63_000))
    assert room(STATIC, cap).external == PHASES[:1]
