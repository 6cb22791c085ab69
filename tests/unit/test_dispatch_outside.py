"""A limit from outside is kept without us too, as far as it is ours to choose what stations fall back to."""

from __future__ import annotations

import attrs

from llm_core import SITE, AppliesTo, Cluster, ExternalLimit, LimitRecord, LimitState, PerPhase, State, Station
from unit.strategies import NOON
from unit.test_dispatch import METERED, NOW_MS, charging, read, scene, site, then_of

THREE = scene(site(32), **{name: charging(name, 0) for name in "ABC"})


def below(state: State, limit_a: float, node: str = SITE, applies_to: AppliesTo = AppliesTo.STATIONS) -> State:
    limit = ExternalLimit("1", node, PerPhase.same(int(limit_a * 1_000)), applies_to=applies_to)
    return attrs.evolve(state, limits={"1": LimitState(LimitRecord(limit, "grid", NOON), 0, holds=True)})


def test_what_is_left_behind_fits_a_limit_of_the_stations() -> None:
    assert then_of(below(THREE, 18), A=6, B=6, C=6) == {"A": 6, "B": 6, "C": 6}
    assert then_of(below(THREE, 17), A=6, B=6, C=6) == {"A": 6, "B": 6, "C": 0}
    assert then_of(below(THREE, 11), A=6, B=6, C=6) == {"A": 6, "B": 0, "C": 0}


def test_what_is_left_behind_fits_a_limit_of_a_cluster() -> None:
    attic = attrs.evolve(
        THREE.site, clusters=(*THREE.site.clusters, Cluster("c", "", None, PerPhase.same(30_000))),
        stations=tuple(attrs.evolve(s, cluster="c" if s.id != "C" else None) for s in THREE.site.stations),
    )  # fmt: skip
    state = attrs.evolve(THREE, site=attic)
    assert then_of(below(state, 6, "c"), A=6, B=6, C=6) == {"A": 6, "B": 0, "C": 6}
    assert then_of(below(state, 6, "c", AppliesTo.TOTAL), A=6, B=6, C=6) == {"A": 6, "B": 0, "C": 6}


def test_a_limit_of_the_total_takes_off_what_is_safe_what_it_takes_off_the_node() -> None:
    metered = read(attrs.evolve(THREE, site=METERED), NOW_MS, 0, 0, 0)
    derated_a = METERED.supply.derated_ma.l1 / 1_000
    assert then_of(metered, A=8, B=8, C=8) == {"A": 6, "B": 6, "C": 0}
    assert then_of(below(metered, derated_a - 6, applies_to=AppliesTo.TOTAL), A=8, B=8, C=8) == {
        "A": 6,
        "B": 0,
        "C": 0,
    }


def test_what_was_configured_to_be_left_behind_is_and_nothing_is_said_again_and_again() -> None:
    fixed = scene(site(32, Station("A", fallback_ma=8_000)), A=charging("A", 8, 8))
    assert then_of(below(fixed, 6), A=8) == {}
    unseen = (Station("A"), Station("B", fallback_ma=8_000))
    assert then_of(below(scene(site(32, *unseen), A=charging("A", 0)), 6), A=6) == {"A": 0}
