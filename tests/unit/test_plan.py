"""Who is to get how much, who stands apart, and what each is told as the reason."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    Allowance,
    Binding,
    Capabilities,
    Cluster,
    ConnectorState,
    Grant,
    GrantReason,
    Ledger,
    MeterPhase,
    MeterSetup,
    MeterState,
    Mode,
    PerPhase,
    Reading,
    Session,
    Sharing,
    Site,
    State,
    Station,
    StationState,
    Strategy,
    Supply,
)
from llm_core.budget import Room, survey
from llm_core.demand import observed
from llm_core.ledger import Held, Inherited, Slot, Trail
from llm_core.plan import is_apart, plan
from unit.strategies import NOON, now

L1, L2, L3 = PHASES
OWN, SHARED, WAITING = GrantReason.OWN_MAXIMUM, GrantReason.SHARED_LIMIT, GrantReason.WAITING
CLEARED = Slot(Held(1, None, 0, 0, None))
LARGE = PerPhase.same(1_000_000)
AT_L1 = Binding(SITE, L1)
WINDOW = 7


def at(seconds: int) -> int:
    return now(seconds).monotonic_ms


def car(told_ma: int = 0, *, held_ma: int | None = None, **known: object) -> ConnectorState:
    """A car that charges by permission: told so much last, holding that or more, drawing what it was told."""
    lies_ma = told_ma if held_ma is None else held_ma
    lies = Slot(Held(3, lies_ma, 0, at(0), None, 1)) if lies_ma else CLEARED
    connector = ConnectorState(
        Ledger(None, floor=Slot(Held(2, 0, 0, 0, None)), default=CLEARED, transaction=lies),
        session=Session(1, "A", 1, "04A1B2C3", NOON, 0, 0),
        offered_ma=told_ma,
    )
    return attrs.evolve(connector, **known)  # type: ignore[arg-type]


def scene(
    limit_ma: int,
    *connectors: ConnectorState,
    stations: tuple[Station, ...] = (),
    mode: Mode = Mode.STATIC,
    phases: int = 3,
    clusters: tuple[Cluster, ...] = (Cluster("default", "all"),),
    **sharing: object,
) -> State:
    """Stations A, B, C, … with these connectors in 0.1 A steps, below one limit on all phases."""
    names = "ABCDEFGH"[: len(connectors)]
    limit = PerPhase.same(limit_ma)
    supply = Supply(mode, phases, derated_ma=limit, static_max_ma=limit)
    known = StationState(online=True, accepted=True, clock_ahead_ms=0, capabilities=Capabilities(step_ma=100))
    return State(
        site=Site(
            supply=supply,
            clusters=clusters,
            stations=stations or tuple(Station(name) for name in names),
            meters=(MeterSetup(SITE, "any", "meter"),) if mode is Mode.DYNAMIC else (),
            sharing=Sharing(**sharing),  # type: ignore[arg-type]
        ),
        factory=False,
        stations=dict.fromkeys(names, known),
        connectors={(name, 1): connector for name, connector in zip(names, connectors, strict=True)},
        window=WINDOW,
    )


def station_changed(state: State, name: str, **changes: object) -> State:
    known = attrs.evolve(state.stations[name], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, stations={**state.stations, name: known})


def grants(state: State, second: int = 100, *, raise_ma: int | None = None, keep_ma: int | None = None) -> list[Grant]:
    """The grants in the order of the stations; the site's room is its limit unless said."""
    rooms = {node.id: Room(node.limit_ma, node.limit_ma) for node in state.site.limit_tree()}
    raise_to = rooms[SITE].raise_ma if raise_ma is None else PerPhase.same(raise_ma)
    rooms[SITE] = Room(raise_to, rooms[SITE].keep_ma if keep_ma is None else PerPhase.same(keep_ma))
    return list(plan(state, survey(state, at(second)), rooms, at(second)).grants.values())


def limits(state: State, second: int = 100, *, raise_ma: int | None = None, keep_ma: int | None = None) -> list[int]:
    return [grant.limit_ma for grant in grants(state, second, raise_ma=raise_ma, keep_ma=keep_ma)]


# Sharing


def test_what_is_there_is_shared_in_equal_parts() -> None:
    assert limits(scene(35_000, car(), car(), car())) == [11_700, 11_700, 11_600]


def test_only_who_wants_current_and_is_heard_is_given_any() -> None:
    state = scene(32_000, car(), ConnectorState(Ledger(None)), car())
    state = station_changed(state, "C", online=False)
    assert grants(state) == [Grant("A/1", 16_000, OWN)]


def test_what_others_may_draw_is_gone_before_anyone_shares() -> None:
    """B is offline and holds 10 A; C has no car and may still hold 8 A from before we knew it."""
    state = scene(32_000, car(), car(held_ma=10_000), ConnectorState(Ledger(Inherited(8_000, 8_000, None))))
    assert limits(station_changed(state, "B", online=False)) == [14_000]


def test_what_a_sharer_is_seen_to_draw_above_its_limit_is_gone_as_well() -> None:
    above = car(10_000)
    for second in (0, 60):
        above = observed(above, Reading(at(second), PerPhase.same(12_000), 10_000), PHASES)
    assert limits(scene(26_000, above, car(10_000))) == [12_000, 12_000]


def test_without_a_password_nobody_is_given_anything() -> None:
    before = {(SITE, L1): Allowance(5_000)}
    state = attrs.evolve(scene(32_000, car(), car(16_000)), factory=True, allowances=before)
    assert grants(state) == [
        Grant("A/1", 0, GrantReason.NOT_AUTHORISED),
        Grant("B/1", 0, GrantReason.NOT_AUTHORISED),
    ]
    assert plan(state, survey(state, at(0)), {}, at(0)).allowances == before


def test_a_narrow_node_below_the_site_stops_its_own_stations_only() -> None:
    yard = Cluster("yard", "yard", limit_ma=PerPhase.same(16_000))
    stations = (Station("A", cluster=None), Station("B", cluster="yard"), Station("C", cluster="yard"))
    state = scene(32_000, car(), car(), car(), stations=stations, clusters=(yard,))
    assert limits(state) == [16_000, 8_000, 8_000]


# Finished cars come last


def finished(told_ma: int = 16_000) -> ConnectorState:
    return car(told_ma, idle_since_ms=at(0))


def test_a_finished_car_gets_its_minimum_while_nobody_is_short_of_it() -> None:
    assert limits(scene(32_000, finished(), car())) == [6_000, 16_000]


def test_a_finished_car_gets_nothing_where_another_can_use_it() -> None:
    assert limits(scene(16_000, finished(), car())) == [0, 16_000]
    assert grants(scene(16_000, finished(), car()))[0] == Grant("A/1", 0, WAITING, AT_L1)


def test_finished_cars_share_what_the_others_leave_at_every_node() -> None:
    yard = Cluster("yard", "yard", limit_ma=PerPhase.same(21_900))
    stations = (Station("A", cluster=None), Station("B", cluster="yard"), Station("C", cluster="yard"))
    cars = (finished(6_000), finished(6_000), car())
    assert limits(scene(28_000, *cars, stations=stations, clusters=(yard,))) == [6_000, 0, 16_000]
    assert limits(scene(27_000, *cars, stations=stations, clusters=(yard,))) == [6_000, 0, 16_000]
    wider = attrs.evolve(yard, limit_ma=PerPhase.same(22_000))
    assert limits(scene(28_000, *cars, stations=stations, clusters=(wider,))) == [6_000, 6_000, 16_000]


def test_a_finished_car_in_its_wake_minutes_is_a_car_like_any_other() -> None:
    assert limits(scene(16_000, finished(), car()), 3_600) == [8_000, 8_000]
    assert limits(scene(16_000, finished(), car()), 3_780) == [0, 16_000]


def test_the_turn_to_wake_goes_by_the_place_among_all_connectors_whoever_is_there() -> None:
    """The second of three bays wakes in the second 3 minutes, with or without a car beside it."""
    for first in (car(), ConnectorState(Ledger(None))):
        site = scene(16_000, first, finished(), car())
        assert [limits(site, second)[-2] > 0 for second in (3_600, 3_780, 3_960)] == [False, True, False]


# Steady cars


def test_where_nothing_may_be_given_nothing_is_taken_from_one_car_for_another() -> None:
    state = scene(40_000, car(16_000), car(10_000))
    assert limits(state, raise_ma=20_000) == [16_000, 10_000]
    assert limits(state) == [16_000, 16_000]


def test_no_more_is_given_than_may_be_given_however_much_may_be_kept() -> None:
    assert limits(scene(40_000, car(6_000)), raise_ma=10_000) == [10_000]


def test_where_nothing_may_be_given_nobody_starts_and_waits_for_what_it_waited_for() -> None:
    told = Grant("B/1", 0, GrantReason.METER_LOST, Binding("default", L3))
    state = scene(40_000, car(16_000), car(grant=told), car())
    assert grants(state, raise_ma=10_000) == [
        Grant("A/1", 16_000, OWN),
        Grant("B/1", 0, WAITING, Binding("default", L3)),
        Grant("C/1", 0, WAITING, None),
    ]


def test_nobody_waits_for_a_node_that_was_removed() -> None:
    gone = Binding("gone", L3)
    told, waits = Grant("A/1", 10_000, SHARED, gone), Grant("B/1", 0, WAITING, gone)
    state = scene(40_000, car(10_000, grant=told), car(grant=waits))
    assert grants(state, raise_ma=5_000) == [attrs.evolve(grant, limited_by=None) for grant in (told, waits)]


def test_a_cut_takes_from_the_largest_shares_first_and_no_more_than_it_has_to() -> None:
    assert limits(scene(40_000, car(16_000), car(8_000)), keep_ma=21_000, raise_ma=0) == [13_000, 8_000]
    assert limits(scene(40_000, car(16_000)), keep_ma=10_000, raise_ma=0) == [10_000]


def test_a_cut_pauses_only_whom_it_has_to() -> None:
    state = scene(40_000, car(8_000), car(8_000))
    assert limits(state, keep_ma=12_000, raise_ma=0) == [6_000, 6_000]
    assert limits(state, keep_ma=11_900, raise_ma=0) == [8_000, 0]
    assert limits(state, keep_ma=-3_000, raise_ma=0) == [0, 0]


def test_a_cut_on_one_phase_leaves_the_cars_on_others_untouched() -> None:
    stations = (Station("A", phase_rotation=(L1,)), Station("B", phase_rotation=(L3,)))
    state = scene(40_000, car(16_000), car(16_000), stations=stations)
    room = Room(PerPhase(16_000, 0, 0), PerPhase(16_000, 0, 9_000))
    planned = plan(state, survey(state, at(0)), {SITE: room, "default": Room(LARGE, LARGE)}, at(0))
    assert [grant.limit_ma for grant in planned.grants.values()] == [16_000, 9_000]


def test_a_share_is_not_lowered_by_less_than_an_ampere_only_to_make_others_equal() -> None:
    """9.0 and 8.2 A of 17.2: equal parts would be 8.6 and 8.6."""
    steady = scene(17_200, car(9_000), car(8_200))
    assert limits(steady) == [9_000, 8_600]
    assert limits(scene(17_200, car(9_700), car(7_500))) == [8_600, 8_600]


def test_a_small_lowering_that_lets_another_start_is_made() -> None:
    assert limits(scene(13_400, car(7_000), car())) == [6_700, 6_700]


def test_a_small_cut_is_made() -> None:
    state = scene(40_000, car(9_000), car(9_000))
    assert sum(limits(state, keep_ma=17_900, raise_ma=0)) <= 17_900


def test_a_car_that_was_paused_starts_again_only_with_some_margin_within_the_window() -> None:
    paused = car(paused_window=WINDOW)
    assert limits(scene(7_900, paused)) == [0]
    assert limits(scene(8_000, paused)) == [8_000]
    assert limits(attrs.evolve(scene(7_900, paused), window=WINDOW + 1)) == [7_900]
    assert limits(scene(7_900, car(6_000, paused_window=WINDOW))) == [7_900]
    small = Station("A", max_ma=6_000)
    assert limits(scene(7_000, paused, stations=(small,))) == [6_000]


def test_a_car_that_was_paused_is_the_last_to_be_paused_again_within_the_window() -> None:
    first, once_paused = car(6_000), car(6_000, paused_window=WINDOW, rank=1)
    assert limits(scene(7_000, first, once_paused)) == [0, 6_000]
    assert limits(attrs.evolve(scene(7_000, first, once_paused), window=WINDOW + 1)) == [6_000, 0]


def test_a_car_that_was_paused_starts_again_within_the_window_only_from_what_all_others_leave() -> None:
    paused, other = car(paused_window=WINDOW), car(12_000)
    assert limits(scene(24_000, paused, other)) == [8_000, 16_000]
    assert limits(scene(23_900, paused, other)) == [0, 16_000]
    assert limits(attrs.evolve(scene(23_900, paused, other), window=WINDOW + 1)) == [12_000, 11_900]
    assert limits(scene(23_900, paused, paused)) == [12_000, 11_900]


def test_finished_cars_come_after_all_others_also_after_those_that_were_paused() -> None:
    first, paused, finished = car(10_000), car(paused_window=WINDOW), car(6_000, idle_since_ms=at(0))
    stations = (Station("A", max_ma=10_000), Station("B"), Station("C"))
    assert limits(scene(32_000, first, paused, finished, stations=stations)) == [10_000, 16_000, 6_000]
    assert limits(scene(31_900, first, paused, finished, stations=stations)) == [10_000, 16_000, 0]


def test_a_car_that_was_paused_does_not_wait_for_those_of_a_lower_priority() -> None:
    paused, other = car(paused_window=WINDOW), car(12_000)
    ordinary, important = Station("A", priority=1), Station("A", priority=2)

    def shares(first: Station, strategy: Strategy) -> list[int]:
        stations = (first, Station("B", priority=1))
        return limits(scene(20_000, paused, other, stations=stations, strategy=strategy))

    assert shares(ordinary, Strategy.PRIORITY) == [0, 16_000]
    assert shares(important, Strategy.PRIORITY) == [14_000, 6_000]
    assert shares(important, Strategy.EQUAL) == [0, 16_000]


def test_a_small_cut_takes_from_one_car_and_names_the_place() -> None:
    state = scene(40_000, car(9_000), car(9_000))
    one, other = grants(state, keep_ma=17_900, raise_ma=0)
    assert (one.limit_ma, other.limit_ma) == (9_000, 8_200)
    assert (other.reason, other.limited_by) == (SHARED, AT_L1)


# Apart: who disobeys, and whose decrease is late


def test_who_disobeys_or_is_late_stands_apart() -> None:
    state = scene(40_000, car(disobeys_ms=at(0)), car(lowering_ms=at(0)), car())
    apart = {second: [is_apart(entry, at(second)) for entry in survey(state, at(second))] for second in (2, 3)}
    assert apart == {2: [True, False, False], 3: [True, True, False]}


def disobeying(draw_ma: int, told_ma: int = 10_000, **known: object) -> ConnectorState:
    return car(told_ma, mean_ma=PerPhase.same(draw_ma), took_ma=draw_ma, disobeys_ms=at(0), **known)


def test_one_that_disobeys_counts_at_what_it_draws_and_is_told_its_minimum_if_that_fits() -> None:
    assert grants(scene(30_000, disobeying(16_000), car(10_000))) == [
        Grant("A/1", 6_000, GrantReason.DISOBEYS),
        Grant("B/1", 14_000, SHARED, AT_L1),
    ]
    assert limits(scene(15_900, disobeying(16_000))) == [0]


def test_one_that_disobeys_is_told_nothing_where_what_it_took_at_worst_would_not_fit() -> None:
    quiet = attrs.evolve(disobeying(16_000), took_ma=32_000)
    assert limits(scene(31_900, quiet)) == [0]
    assert limits(scene(32_000, quiet)) == [6_000]
    beside = attrs.evolve(disobeying(16_000), took_ma=16_001)
    assert limits(scene(30_000, beside, car(10_000))) == [0, 14_000]


def late(told_ma: int, held_ma: int, **known: object) -> ConnectorState:
    return car(told_ma, held_ma=held_ma, lowering_ms=at(0), **known)


def test_a_late_decrease_is_taken_from_others_down_to_their_minimum() -> None:
    """A still holds the 16 A that it should have left; B has to make room, but is not paused for it yet."""
    state = scene(20_000, late(6_000, 16_000), car(14_000))
    assert limits(state, 2) == [10_000, 10_000]
    assert limits(state, 3) == limits(state, 10) == [6_000, 6_000]


def test_after_ten_seconds_a_late_decrease_pauses_others() -> None:
    state = scene(20_000, late(6_000, 16_000), car(14_000))
    assert [limits(state, second)[1] for second in (10, 11)] == [6_000, 0]


def left(held_ma: int, **known: object) -> ConnectorState:
    """A connector whose car has left, and whose limit is being cleared since the beginning unless said."""
    return car(held_ma=held_ma, **{"session": None, "lowering_ms": at(0)} | known)


def test_nobody_is_lowered_for_what_a_car_leaves_behind_unless_clearing_it_is_late() -> None:
    """As with any decrease: taken from others after two seconds, who are paused for it only after ten."""
    state = scene(20_000, left(16_000), car(14_000))
    assert [limits(state, second) for second in (0, 2, 3, 10, 11)] == [[16_000], [16_000], [6_000], [6_000], [0]]


def test_what_was_cleared_and_may_still_be_followed_is_given_on_already() -> None:
    """Raises wait for it (I2); shares do not."""
    gone = left(0, lowering_ms=None)
    followed = attrs.evolve(gone.ledger, trails=(Trail(16_000, at(6)),))
    state = scene(20_000, attrs.evolve(gone, ledger=followed), car(14_000))
    assert survey(state, at(2))[0].held_ma == 16_000
    assert limits(state, 2) == [16_000]


@pytest.mark.parametrize(
    "known",
    [
        {"lowering_ms": None},
        {"ledger": Ledger(Inherited(16_000, 16_000, None), floor=CLEARED, default=CLEARED, transaction=CLEARED)},
        {"ledger": attrs.evolve(left(16_000).ledger, floor=Slot())},
        {"readings": (Reading(at(1), PerPhase.same(16_000), 16_000),), "settled_from_ms": at(0)},
    ],
    ids=["nobody clears it", "it is from before", "no floor is known to lie below", "somebody draws"],
)
def test_what_may_stay_counts_at_its_worst(known: dict[str, object]) -> None:
    assert limits(scene(20_000, left(16_000, **known), car(14_000)), 2) == [0]


def test_what_a_car_is_lowered_by_that_is_about_to_start_is_left_behind_by_nobody() -> None:
    about_to = left(0, preparing_ms=at(0), lowering_ms=at(0))
    lies = attrs.evolve(about_to.ledger, default=Slot(Held(3, 16_000, 0, at(0), None)))
    assert limits(scene(20_000, attrs.evolve(about_to, ledger=lies), car(14_000)), 2) == [10_000, 10_000]


def test_what_a_lost_station_was_left_with_counts_at_its_worst() -> None:
    state = scene(20_000, left(16_000), car(14_000))
    assert limits(station_changed(state, "A", online=False), 2) == [0]


def test_a_floor_stays_when_a_car_has_left() -> None:
    started = (Station("A", start_alone_ma=6_000), Station("B"))
    assert limits(scene(20_000, left(16_000), car(14_000), stations=started), 2) == [14_000]
    lies = attrs.evolve(left(0).ledger, floor=Slot(Held(2, 6_000, 6_000, 0, None)))
    assert limits(scene(20_000, left(0, ledger=lies, lowering_ms=None), car(14_000), stations=started)) == [14_000]
    higher = attrs.evolve(left(16_000).ledger, floor=Slot(Held(2, 8_000, 8_000, 0, None)))
    assert limits(scene(20_000, left(16_000, ledger=higher), car(14_000)), 2) == [12_000]


def test_what_a_car_leaves_behind_stays_with_charging_and_need_not_be_watched_again() -> None:
    state = scene(20_000, left(10_000), car(6_000), mode=Mode.DYNAMIC)
    state = attrs.evolve(state, allowances={(SITE, phase): Allowance(16_000) for phase in PHASES})
    room = Room(PerPhase.same(9_000), PerPhase.same(20_000))
    planned = plan(state, survey(state, at(2)), {SITE: room, "default": Room(LARGE, LARGE)}, at(2))
    assert {planned.allowances[SITE, phase].limit_ma for phase in PHASES} == {16_000}


def test_the_minimum_of_watts_is_what_any_one_phase_might_get() -> None:
    """18 A for a car on unknown phases: 6 A of them would reach none of its phases for sure."""
    big = tuple(Station(name, max_ma=32_000) for name in "AB")
    state = scene(40_000, late(6_000, 30_000), car(20_000), stations=big)
    state = station_changed(state, "B", capabilities=Capabilities(step_ma=100, in_watts=True))
    assert [limits(state, second)[1] for second in (10, 11)] == [18_000, 0]


def test_a_late_decrease_starts_nobody() -> None:
    assert limits(scene(20_000, late(6_000, 16_000), car()), 5) == [6_000, 0]


def test_a_late_one_keeps_its_target_and_its_reason() -> None:
    told = Grant("A/1", 9_000, SHARED, AT_L1)
    assert grants(scene(40_000, late(9_000, 16_000, grant=told)), 3) == [Grant("A/1", 9_000, SHARED)]
    assert grants(scene(40_000, late(9_000, 16_000)), 3) == [Grant("A/1", 9_000, WAITING)]


def test_a_late_one_whose_phases_were_forgotten_is_told_nothing_below_its_minimum() -> None:
    """14.8 A in watts were right for one phase; spread over three that any of them may be, they are 4.9 A."""
    state = scene(40_000, late(14_800, 16_000), stations=(Station("A", max_ma=16_000),))
    assert limits(state, 20) == [14_800]
    assert limits(station_changed(state, "A", capabilities=Capabilities(step_ma=100, in_watts=True)), 20) == [0]


def test_a_late_one_is_lowered_further_by_what_is_too_much_even_so() -> None:
    assert limits(scene(8_050, late(9_000, 16_000)), 20) == [8_000]
    assert limits(scene(5_900, late(9_000, 16_000)), 20) == [0]


# Unbalance


def test_cars_that_may_load_phases_unevenly_share_the_unbalance_limit() -> None:
    stations = tuple(Station(name, max_ma=32_000) for name in "ABC")
    one, unknown, three = car(phases=(L1,)), car(), car(phases=PHASES)
    state = scene(100_000, one, unknown, three, stations=stations, unbalance_ma=20_000)
    assert grants(state) == [
        Grant("A/1", 10_000, GrantReason.UNBALANCE, Binding("unbalance", L1)),
        Grant("B/1", 10_000, GrantReason.UNBALANCE, Binding("unbalance", L1)),
        Grant("C/1", 32_000, OWN),
    ]


def test_who_is_served_later_gets_of_the_unbalance_limit_only_what_is_left_on_its_phase() -> None:
    stations = tuple(Station(name, max_ma=16_000, phase_rotation=PHASES) for name in "ABCD")
    one, three = car(phases=(L1,)), car(phases=PHASES)
    for later in (car(6_000, idle_since_ms=at(0)), car(paused_window=WINDOW)):
        beside, on_another = attrs.evolve(later, phases=(L1,)), attrs.evolve(later, phases=(L2,))
        state = scene(100_000, one, beside, on_another, three, stations=stations, unbalance_ma=20_000)
        first, same_phase, other_phase, even = limits(state)
        assert (first, same_phase, even) == (16_000, 0, 16_000)
        assert other_phase >= 6_000


def test_the_unbalance_limit_counts_those_who_take_no_part_in_sharing() -> None:
    """One is lost with a lease, one ignores its limit, one has not answered to a lower one for 3 s."""
    stations = tuple(Station(name, max_ma=32_000) for name in "AB")
    lost, free = car(16_000, phases=(L1,)), car(4_000, phases=(L1,))
    state = station_changed(scene(100_000, lost, free, stations=stations, unbalance_ma=25_000), "A", online=False)
    assert limits(state) == [9_000], "a lost one counts on all phases"
    ignores = attrs.evolve(disobeying(16_000), phases=(L1,), mean_ma=PerPhase(16_000))
    assert limits(scene(100_000, ignores, free, stations=stations, unbalance_ma=25_000))[1] == 9_000
    slow = attrs.evolve(late(6_000, 16_000), phases=(L1,))
    assert limits(scene(100_000, slow, free, stations=stations, unbalance_ma=25_000), 3)[1] == 9_000
    assert limits(scene(100_000, slow, free, stations=stations, unbalance_ma=20_000), 3)[1] == 0
    even = attrs.evolve(slow, phases=PHASES)
    assert limits(scene(100_000, even, free, stations=stations, unbalance_ma=25_000), 3)[1] == 25_000


def test_there_is_no_unbalance_among_three_phase_cars_without_a_limit_or_on_one_phase() -> None:
    big = (Station("A", max_ma=32_000),)
    assert limits(scene(100_000, car(phases=PHASES), stations=big, unbalance_ma=20_000)) == [32_000]
    assert limits(scene(100_000, car(phases=(L1,)), stations=big)) == [32_000]
    single = (Station("A", max_ma=32_000, phase_rotation=(L1,)),)
    assert limits(scene(100_000, car(), stations=single, phases=1, unbalance_ma=20_000)) == [32_000]


# Reasons


def test_a_car_at_its_cap_is_the_reason_itself() -> None:
    assert grants(scene(40_000, car(9_500, cap_ma=9_500))) == [Grant("A/1", 9_500, GrantReason.VEHICLE)]


def test_a_car_told_its_share_is_stopped_by_what_it_shares() -> None:
    assert grants(scene(10_000, car())) == [Grant("A/1", 10_000, SHARED, AT_L1)]


def test_a_car_that_is_held_at_its_share_keeps_the_reason_of_that_share() -> None:
    """Under pressure its maximum is what it was told, which is no maximum of its own."""
    told = Grant("A/1", 10_000, SHARED, Binding("default", L2))
    assert grants(scene(40_000, car(10_000, grant=told)), raise_ma=5_000) == [told]
    holding = attrs.evolve(told, reason=GrantReason.HOLDING)
    assert grants(scene(40_000, car(10_000, grant=holding)), raise_ma=5_000) == [told]


def test_a_car_that_is_held_at_what_it_was_told_has_not_its_own_maximum() -> None:
    """It had what the car took, and takes more now, while nobody may get more."""
    alone = Grant("A/1", 10_000, GrantReason.VEHICLE)
    held = scene(40_000, car(10_000, grant=alone))
    assert grants(held, raise_ma=5_000) == [attrs.evolve(alone, reason=GrantReason.HOLDING)]
    assert grants(scene(40_000, car(16_000, grant=alone)), raise_ma=5_000) == [Grant("A/1", 16_000, OWN)]
    odd = scene(40_000, car(16_000), stations=(Station("A", max_ma=16_099),))
    assert grants(odd, raise_ma=5_000) == [Grant("A/1", 16_000, OWN)]


def dynamic(known: MeterPhase | None, connector: ConnectorState) -> State:
    state = scene(10_000, connector, mode=Mode.DYNAMIC)
    phases = dict.fromkeys(PHASES, known) if known is not None else {}
    return attrs.evolve(state, meters={SITE: MeterState(phases)})  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [None, MeterPhase(), MeterPhase(5_000, seen_ms=0, lost=True)])
def test_a_limit_that_holds_because_the_meter_is_lost_says_so(known: MeterPhase | None) -> None:
    assert grants(dynamic(known, car())) == [Grant("A/1", 10_000, GrantReason.METER_LOST, AT_L1)]
    no_meter = attrs.evolve(dynamic(known, car()), meters={})
    assert grants(no_meter)[0].reason is GrantReason.METER_LOST


def test_a_rise_that_the_meter_does_not_allow_yet_is_to_come() -> None:
    state = dynamic(MeterPhase(5_000, seen_ms=0), car(10_000))
    assert grants(state)[0].reason is SHARED
    lacking = grants(attrs.evolve(state, connectors={("A", 1): car(12_000)}), raise_ma=-1_000)
    assert lacking == [Grant("A/1", 10_000, GrantReason.HOLDING, AT_L1)]
    paused = attrs.evolve(state, connectors={("A", 1): car(grant=Grant("A/1", 0, WAITING, AT_L1))})
    assert grants(paused, raise_ma=-1_000)[0].reason is WAITING


def test_a_rise_that_waits_whether_the_current_stays_free_is_to_come() -> None:
    state = dynamic(MeterPhase(5_000, seen_ms=0), car(7_000))
    for allowance, reason in (
        (Allowance(7_000), GrantReason.HOLDING),
        (Allowance(7_000, at(95), 16_000), GrantReason.HOLDING),
        (Allowance(15_900), SHARED),
    ):
        held = attrs.evolve(state, allowances=dict.fromkeys(((SITE, phase) for phase in PHASES), allowance))
        assert grants(held, keep_ma=16_000, raise_ma=16_000)[0] == Grant("A/1", allowance.limit_ma, reason, AT_L1)


def test_where_the_building_is_assumed_no_meter_is_lost() -> None:
    state = dynamic(None, car())
    assumed = (MeterSetup(SITE, MANUAL, load_ma=PerPhase.same(5_000)),)
    assert grants(attrs.evolve(state, site=attrs.evolve(state.site, meters=assumed)))[0].reason is SHARED


# Budgets


def test_a_metered_budget_grows_only_after_its_hold_time_and_keeps_what_is_taken() -> None:
    state = dynamic(MeterPhase(5_000, seen_ms=0), car(6_000))
    state = attrs.evolve(state, allowances={(SITE, phase): Allowance(7_000) for phase in PHASES})
    assert limits(state, keep_ma=16_000, raise_ma=16_000) == [7_000]
    static = attrs.evolve(scene(16_000, car(6_000)), allowances=state.allowances)
    assert limits(static) == [16_000]


def test_the_phases_of_a_rotated_station_are_the_sites() -> None:
    stations = (Station("A", phase_rotation=(L2,)), Station("B", phase_rotation=(L3,)))
    state = scene(10_000, car(), car(), stations=stations)
    assert [grant.limited_by for grant in grants(state)] == [Binding(SITE, L2), Binding(SITE, L3)]
