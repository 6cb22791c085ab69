"""The 27 behaviours that must hold, each a claim with its number.

Amps per phase; minimum 6 A, equal weight and priority, three-phase 16 A cars unless said. What is pure allocation is
asked of `allocate`, the rest of the whole `step` on a small site.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    PHASES,
    Binding,
    Demand,
    Grant,
    GrantReason,
    Group,
    LimitNode,
    MeterValuesReceived,
    PerPhase,
    Phase,
    Problem,
    Station,
    Stored,
    Strategy,
    Tick,
    allocate,
    recover,
    step,
)
from unit.small_site import A, Car, SmallSite, dynamic, static
from unit.strategies import now

L1, L2, L3 = PHASES
WINDOW_S = 15 * 60


def node(*limits_a: float, name: str = "site", parent: str | None = None) -> LimitNode:
    each = limits_a * 3 if len(limits_a) == 1 else limits_a
    return LimitNode(name, parent, PerPhase(*(round(limit * A) for limit in each)))


def car(name: str, at: str = "site", phases: tuple[Phase, ...] = PHASES, **other: Any) -> Demand:
    return Demand(name, at, phases, **({"min_ma": 6 * A, "max_ma": 16 * A} | other))


def shares(limit: LimitNode | float, *cars: Demand, **rules: Any) -> list[float]:
    site = limit if isinstance(limit, LimitNode) else node(limit)
    return [grant.limit_ma / A for grant in allocate(Problem((site,), cars, **rules))]


def stations(names: str, **other: Any) -> tuple[Station, ...]:
    return tuple(Station(name, **other) for name in names)


def charging(site: SmallSite, *names: str, seconds: int = 30) -> SmallSite:
    """The site after cars came to these stations, one after the other, and settled."""
    site.run(12)
    for name in names or site.outlets:
        site.plug(name)
        site.run(seconds)
    return site


# 1 to 3


@st.composite
def loaded_sites(draw: st.DrawFn) -> tuple[dict[str, PerPhase], dict[str, PerPhase], tuple[Demand, ...]]:
    """Limits and base loads of a site and a sub-node, and cars of any wiring under either."""
    amps = st.builds(PerPhase, *(st.integers(0, 80) for _ in PHASES)).map(lambda each: each.map(lambda a: a * A))
    limits, loads = ({name: draw(amps) for name in ("site", "sub")} for _ in range(2))
    wirings = st.sampled_from([PHASES, (L1,), (L2,), (L3,), (L2, L3)])
    places = draw(st.lists(st.tuples(st.sampled_from(["site", "sub"]), wirings), max_size=8))
    return limits, loads, tuple(car(f"{i}", at, phases) for i, (at, phases) in enumerate(places))


@given(loaded_sites(), st.sampled_from(Strategy), st.booleans())
def test_base_load_and_grants_fit_or_nobody_is_admitted_there(
    problem: tuple[dict[str, PerPhase], dict[str, PerPhase], tuple[Demand, ...]], strategy: Strategy, first: bool
) -> None:
    """1. Any input: per node and phase, base load + grants ≤ limit, or no admitted demand there uses that phase."""
    limits, loads, cars = problem
    free = {name: limits[name] - loads[name] for name in limits}
    nodes = LimitNode("site", None, free["site"]), LimitNode("sub", "site", free["sub"])
    granted = [grant.limit_ma for grant in allocate(Problem(nodes, cars, strategy, first))]
    for name in limits:
        for phase in PHASES:
            here = [
                ma for ma, c in zip(granted, cars, strict=True) if name in (c.node, "site") and phase in c.phases and ma
            ]
            assert not here or loads[name][phase] + sum(here) <= limits[name][phase]


def test_what_a_full_branch_leaves_goes_to_the_others() -> None:
    """2. Site 32, sub-node 16 {B, C}, A at the site → 16/8/8 (a one-pass split leaves 5 A idle here)."""
    nodes = node(32), node(16, name="sub", parent="site")
    grants = allocate(Problem(nodes, (car("A"), car("B", "sub"), car("C", "sub"))))
    assert [grant.limit_ma for grant in grants] == [16 * A, 8 * A, 8 * A]


def test_reordering_stations_only_permutes() -> None:
    """3. Reordering stations only permutes."""
    cars = car("A", max_ma=10 * A), car("B", phases=(L1,)), car("C", min_ma=8 * A), car("D")
    expected = {grant.id: grant for grant in allocate(Problem((node(31),), cars))}
    for order in permutations(cars):
        assert {grant.id: grant for grant in allocate(Problem((node(31),), order))} == expected


# 4 to 6: the late car


def test_a_late_car_gets_its_share() -> None:
    """4. Limit 35, two cars at 16, a third plugs in → 11.7/11.7/11.6 (0.1 A steps), not 16/16/0."""
    site = charging(SmallSite(static(35, *stations("ABC"))), "A", "B")
    assert site.offered() == [16, 16, 0]
    site.plug("C")
    site.run(16)
    assert site.offered() == [11.7, 11.7, 11.6]
    assert max(site.most_ma) <= 35 * A


def test_nobody_is_given_less_than_the_minimum_but_nothing_with_a_reason() -> None:
    """5. Limit 13, three cars → 6.5/6.5/0 with a reason; nothing between 0 and 6."""
    grants = allocate(Problem((node(13),), (car("A"), car("B"), car("C"))))
    assert [grant.limit_ma for grant in grants] == [6_500, 6_500, 0]
    assert (grants[2].reason, grants[2].limited_by) == (GrantReason.WAITING, Binding("site", L1))


def test_turns_give_equal_cars_equal_time() -> None:
    """6. Case 5 over six windows → served time differs by at most one window."""
    site = SmallSite(static(13, *stations("ABC"), rotation_min=WINDOW_S // 60))
    for name in site.outlets:
        site.plug(name)
    for _ in range(6):
        site.run(40)
        assert sorted(site.offered()) == [0, 6.5, 6.5]
        site.run(WINDOW_S - 40, every=20)
    served = [outlet.charged_s for outlet in site.outlets.values()]
    assert max(served) - min(served) <= WINDOW_S
    assert min(served) >= 3 * WINDOW_S
    assert max(site.most_ma) <= 13 * A


# 7 to 10: minimums and phases


def test_each_car_has_its_own_minimum() -> None:
    """7. Minimums 6 and 8, limit 15 → 7/8; limit 13 → one charges."""
    cars = car("A"), car("B", min_ma=8 * A)
    assert shares(15, *cars) == [7, 8]
    assert shares(13, *cars) == [13, 0]


def test_an_overload_touches_only_those_who_use_the_phase() -> None:
    """8. Limit 25, building 1/16/16, one-phase car on L1 → 16; an overload on L3 leaves it untouched."""
    one_phase = car("A", phases=(L1,))
    assert shares(node(25 - 1, 25 - 16, 25 - 16), one_phase) == [16]
    assert shares(node(25 - 1, 25 - 16, 25 - 30), one_phase) == [16]


def test_rotated_one_phase_cars_do_not_share() -> None:
    """9. Three one-phase 16 A cars rotated over L1/L2/L3, limit 20 → 16 each."""
    assert shares(20, *(car(phase, phases=(phase,)) for phase in PHASES)) == [16, 16, 16]


def test_a_one_phase_car_of_unknown_mapping_counts_on_all_three() -> None:
    """10. One-phase car with unknown mapping → counted on all three."""
    known = car("A", phases=(L1,)), car("B", phases=(L2,)), car("C", phases=(L3,))
    assert shares(20, car("unknown"), *known) == [10, 10, 10, 10]


# 11: which phases a car uses


def phases_after(*readings_ma: tuple[int, int, int], count: int = 12) -> tuple[Phase, ...] | None:
    """What is known of a car's phases after so many of these readings came in turn, one every 10 s."""
    site = charging(SmallSite(static(16, Station("A"))), "A", seconds=1)
    transaction_id = site.outlets["A"].transaction_id
    site.outlets["A"].car = None  # from here on the test is the meter
    for i in range(count):
        site.run(10)
        site.post(MeterValuesReceived("A", 1, transaction_id, readings_ma[i % len(readings_ma)]))
    return site.state.connectors["A", 1].phases


@pytest.mark.parametrize(
    ("readings_ma", "phases"),
    [
        ([(15_800, 0, 0)], (L1,)),
        ([(8_000, 8_000, 0)], (L1, L2)),
        ([(16_000, 16_000, 16_000)], PHASES),
        ([(15_800, 0, 0), (16_100, 200, 300), (15_500, 0, 900)], (L1,)),
        ([(4_500, 1_900, 500)], None),
        ([(5_100, 1_900, 500), (4_500, 700, 0)], None),
        ([(400, 300, 600)], None),
    ],
    ids=["one", "two", "three", "one with a phantom", "between", "noise", "phantoms only"],
)
def test_phases_are_measured_and_noise_is_none(
    readings_ma: list[tuple[int, int, int]], phases: tuple[Phase, ...] | None
) -> None:
    """11. Detection does not flap on noise (15.8/0/0, 8/8/0, 4.5/1.9/0.5); a phantom voltage is not a phase."""
    assert phases_after(*readings_ma) == phases


def test_a_measured_one_phase_car_does_not_lose_its_phase_to_noise() -> None:
    """11. Released after 60 s of consistent samples, and not taken back for what lies between a phantom and a car."""
    assert phases_after((15_800, 0, 0), count=6) is None
    assert phases_after((15_800, 0, 0), count=7) == (L1,)
    assert phases_after(*[(15_800, 0, 0)] * 8, (4_500, 0, 0), (15_800, 0, 0), (3_000, 900, 0)) == (L1,)


# 12 and 13


def test_unbalance_limits_one_phase_cars_only() -> None:
    """12. Unbalance limit 20, others idle, one-phase 32 A car → 20; measured three-phase cars unaffected."""
    group = Group("unbalance", frozenset({"one"}), 20 * A)
    one, three = car("one", phases=(L1,), max_ma=32 * A), car("three", max_ma=32 * A)
    assert shares(63, one, groups=(group,)) == [20]
    assert shares(63, one, three, groups=(group,)) == [20, 32]


def test_the_smallest_fuse_limits_a_three_phase_car() -> None:
    """13. Fuses 32/25/20, a 32 A station → three-phase car 20."""
    assert shares(node(32, 25, 20), car("A", max_ma=32 * A)) == [20]


# 14 and 15: what a car does not use


def modest(site: SmallSite) -> SmallSite:
    """Two cars at 16 A; then the one at A takes no more than 8 A."""
    charging(site, "A", "B")
    assert site.offered() == [16, 16]
    site.outlets["A"].car = Car(most_ma=8 * A)
    site.run(190)
    return site


def two() -> SmallSite:
    return SmallSite(static(32, Station("A"), Station("B", max_ma=32 * A)))


def test_what_a_car_does_not_use_goes_to_others() -> None:
    """14. Offered 16, draws 8 for 60 s → command falls to draw + margin, others gain; the *commands* still fit."""
    site = modest(two())
    assert site.offered() == [9.5, 22.5]
    site.outlets["A"].car = Car()
    site.run(120)
    assert max(site.most_ma) <= 32 * A


def test_a_car_that_climbs_to_its_cap_gets_its_share_again() -> None:
    """15. It then draws up to its cap → fair share again."""
    site = modest(two())
    site.outlets["A"].car = Car()
    site.run(25)
    assert site.offered() == [16, 16]


# 16 to 21: the meter


def test_two_cars_that_start_at_once_get_no_more_than_there_is() -> None:
    """16. Two cars start in one tick while the meter still shows 0 → the sum of commands ≤ headroom."""
    site = SmallSite(dynamic(20, *stations("AB")))
    site.run(12)
    site.plug("A")
    site.plug("B")
    for _ in range(30):
        site.run(1)
        assert sum(site.offered()) <= 20
    assert site.offered() == [10, 10]
    assert max(site.most_ma) <= 20 * A


def crowded() -> SmallSite:
    """A car at 10 A of 16, beside a building that has stopped drawing since, which no sample has told."""
    site = SmallSite(dynamic(25, Station("A")))
    site.building(15)
    charging(site)
    assert site.offered() == [10]
    site.building(0)
    site.meter_works = False
    return site


@pytest.mark.parametrize(("late_s", "fingerprint"), [(0, 7), (-1, 8)], ids=["repeated", "older"])
def test_a_repeated_or_older_reading_never_raises(late_s: int, fingerprint: int) -> None:
    """17. A repeated or older reading never raises a limit."""
    site = crowded()
    last_s = site.second
    for _ in range(30):
        site.sample((10 * A, 10 * A, 10 * A), taken_s=last_s + late_s, fingerprint=fingerprint)
        site.run(1)
    assert max(site.sent_since(last_s), default=0) <= 10
    site.meter_works = True
    site.run(90)
    assert site.offered() == [16]


def test_an_overload_is_answered_in_one_tick() -> None:
    """18. 20 stations, 10 A overload → at least 10 A removed in one tick."""
    names = "ABCDEFGHIJKLMNOPQRST"
    site = SmallSite(dynamic(200, *stations(names)))
    site.building(40)
    site.run(12)
    for name in names:
        site.plug(name)
    site.run(90)
    before, since = sum(site.offered()), site.second
    assert before == 160
    site.building(50)
    site.run(2)  # the meter is a second late
    told = {c.station_id: c.limit_ma / A for at, c in site.sent if at == since + 2}
    assert sum(site.offered(*told)) - sum(told.values()) >= 10


def test_a_car_is_throttled_before_it_is_paused() -> None:
    """19. Limit 25, car at 16, building 5 → 15 → car to 10, not to 0 (throttle before pausing)."""
    site = SmallSite(dynamic(25, Station("A")))
    site.building(5)
    charging(site)
    assert site.offered() == [16]
    since = site.second
    site.building(15)
    site.run(60)
    assert site.offered() == [10]
    assert min(site.sent_since(since)) >= 6


def test_whole_steps_are_handed_out_to_the_last() -> None:
    """20. 32 A over three 1-A-step stations → 11/11/10."""
    assert shares(32, *(car(name, step_ma=A) for name in "ABC")) == [11, 11, 10]


@pytest.mark.parametrize("off_ma", [(A, A), (A, -A), (-A, -A)])
def test_cars_that_round_cause_no_oscillation(off_ma: tuple[int, int]) -> None:
    """21. A car that rounds ± 1 A causes no oscillation."""
    site = SmallSite(dynamic(30, *stations("AB")))
    site.building(8)
    charging(site, seconds=40)
    for outlet, off in zip(site.outlets.values(), off_ma, strict=True):
        outlet.car = Car(off_ma=off)
    site.run(120)
    settled, since = site.offered(), site.second
    site.run(180)
    assert site.load_ma.l1 <= 30 * A
    assert set(site.sent_since(since, "A")) == {settled[0]}  # renewals of its lease
    assert set(site.sent_since(since, "B")) == {settled[1]}


# 22 and 23: what is not heard


def test_a_lost_station_stays_reserved_and_comes_back_without_a_jump() -> None:
    """22. Station offline: reserved as in the ledger; comes back: no jump."""
    site = charging(SmallSite(static(20, *stations("AB"))))
    assert site.offered() == [10, 10]
    site.cut("B")
    site.run(200)
    assert site.offered() == [10, 10]
    site.run(300, every=5)
    assert site.offered() == [14, 6]  # its lease is over: the last period is its minimum
    site.link("B")
    since = site.second
    site.run(30)
    assert site.offered() == [10, 10]
    assert set(site.sent_since(since, "A")) == {10}
    assert max(site.most_ma) <= 20 * A


def test_at_a_cold_start_nothing_is_given_while_one_limit_is_unknown() -> None:
    """23. Cold start: stations not yet seen are reserved before anything is given out."""
    site = static(20, *stations("AB"))
    stored = Stored(site=site, ceilings={("A", 1): 16 * A, ("B", 1): 16 * A})
    state, _ = recover(stored, now(), factory=False)
    small = SmallSite(site, state=state, links=False)
    small.link("A")
    small.plug("A")
    small.run(120)
    assert not any(small.sent_since(0))
    small.link("B")
    small.run(30)
    assert small.offered() == [16, 0]


# 24 to 27


def test_a_full_car_makes_room_for_a_hungry_one() -> None:
    """24. Car 1 full, car 2 plugs in, limit 16 → 0/16, not 8/8 (car 1's wake minutes aside)."""
    site = charging(SmallSite(static(16, *stations("AB"))), "A")
    site.outlets["A"].car = Car(most_ma=0)
    site.run(120)
    site.plug("B")
    site.run(60)
    assert site.offered() == [0, 16]


def test_high_priority_takes_the_surplus_and_stops_nobody() -> None:
    """25. High priority takes the surplus without starting and stopping others."""
    site = SmallSite(static(30, *stations("AB"), Station("C", priority=1), strategy=Strategy.PRIORITY))
    charging(site, "A", "B")
    assert site.offered() == [15, 15, 0]
    since = site.second
    site.plug("C")
    site.run(60)
    assert site.offered() == [7, 7, 16]
    site.unplug("C")
    site.run(60)
    assert site.offered() == [15, 15, 0]
    assert min(site.sent_since(since, "A", "B")) >= 6


def test_no_deficit_is_hidden_by_clamping_at_zero() -> None:
    """26. No deficit is hidden by clamping at zero: a negative budget reduces."""
    site = SmallSite(dynamic(25, *stations("AB"), Station("C", phase_rotation=(L2,))))
    site.building(5, -20, 5)
    charging(site)
    assert site.offered() == [8.4, 8.3, 8.3]  # what L2 feeds in earns nothing
    site.building(5, -20, 40)
    site.run(6)
    assert site.offered() == [0, 0, 8.3]
    site.run(60)
    assert site.offered() == [0, 0, 16]
    site.building(5, 40, 40)
    site.run(6)
    assert site.offered() == [0, 0, 0]


def test_the_same_input_gives_the_same_output_with_reasons() -> None:
    """27. Same input → same output, with reasons."""
    cars = car("A"), car("B", max_ma=8 * A), car("C", priority=1), car("D")
    grants = allocate(Problem((node(28),), cars))
    assert allocate(Problem((node(28),), tuple(attrs.evolve(c) for c in cars))) == grants
    assert {grant.reason for grant in grants} >= {GrantReason.SHARED_LIMIT}
    site = charging(SmallSite(static(13, *stations("ABC"))))
    assert step(site.state, Tick(), now(site.second + 1)) == step(site.state, Tick(), now(site.second + 1))
    reasons = [connector.grant and connector.grant.reason for connector in site.state.connectors.values()]
    assert reasons == [GrantReason.SHARED_LIMIT, GrantReason.SHARED_LIMIT, GrantReason.WAITING]
    assert site.state.connectors["C", 1].grant == Grant("C/1", 0, GrantReason.WAITING, Binding("site", L1))
