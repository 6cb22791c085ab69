"""What is left for charging, as long as the meter can be trusted and when it cannot."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    STATIONS,
    ZERO,
    Allowance,
    Capabilities,
    Cluster,
    ConnectorState,
    Key,
    Ledger,
    MeterPhase,
    MeterSampled,
    MeterSetup,
    MeterState,
    Mode,
    PerPhase,
    Phase,
    Reading,
    Session,
    Site,
    State,
    Station,
    StationState,
    Supply,
    decays,
)
from llm_core.budget import (
    ABSURD_FACTOR,
    DEADBAND_MA,
    RISES_MS,
    Room,
    Seen,
    aged,
    allowed,
    interval,
    is_repeating,
    rooms,
    sampled,
    silent_from_ms,
    sum_per_node,
    survey,
)
from llm_core.ledger import Held, Inherited, Slot, Trail
from unit.strategies import NOON, now

L1, L2, L3 = PHASES
A, B = ("A", 1), ("B", 1)
LIMIT_MA, FALLBACK_MA = PerPhase(50_000, 40_000, 30_000), PerPhase.same(10_000)
THE_METER = MeterSetup(SITE, "any", "meter")
CLUSTERS = (Cluster("yard", "yard", limit_ma=PerPhase.same(20_000)), Cluster("default", "row", parent="yard"))
RIGID = Capabilities(decays=False)
CLEARED = Slot(Held(1, None, 0, 0, None))


def at(seconds: int) -> int:
    return now(seconds).monotonic_ms


def held(limit_ma: int, then_ma: int = 0, floor_ma: int = 0, lease_ms: int | None = 120_000) -> Ledger:
    """The books of a connector that holds a limit since second 0, with its floor."""
    return Ledger(
        None,
        floor=Slot(Held(2, floor_ma, floor_ma, at(0), None)),
        default=CLEARED,
        transaction=Slot(Held(3, limit_ma, then_ma, at(0), lease_ms, 1)),
    )


def drawing(limit_ma: int, draw_ma: PerPhase = ZERO, second: int = 0) -> ConnectorState:
    """A connector that holds a limit and reported what it draws."""
    return ConnectorState(held(limit_ma), readings=(Reading(at(second), draw_ma),))


def charging(limit_ma: int, draw_ma: PerPhase) -> ConnectorState:
    """The same with a session."""
    return attrs.evolve(drawing(limit_ma, draw_ma), session=Session(1, "A", 1, "04A1B2C3", NOON, 0, 0))


def scene(
    connectors: dict[Key, ConnectorState] | None = None,
    *,
    mode: Mode = Mode.DYNAMIC,
    meters: tuple[MeterSetup, ...] = (THE_METER,),
    stations: tuple[Station, ...] = (Station("A"), Station("B")),
) -> State:
    supply = Supply(mode, derated_ma=LIMIT_MA, static_max_ma=LIMIT_MA, fallback_ma=FALLBACK_MA)
    known = StationState(online=True, accepted=True, clock_ahead_ms=0)
    return State(
        site=Site(supply=supply, clusters=CLUSTERS, stations=stations, meters=meters),
        stations={station.id: known for station in stations},
        connectors=connectors or {},
    )


def station_changed(state: State, station_id: str, **changes: object) -> State:
    known = attrs.evolve(state.stations[station_id], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, stations={**state.stations, station_id: known})


def reports(state: State, key: Key, draw_ma: PerPhase, second: int) -> State:
    connector = state.connectors[key]
    readings = (*connector.readings[-1:], Reading(at(second), draw_ma))
    return attrs.evolve(state, connectors={**state.connectors, key: attrs.evolve(connector, readings=readings)})


def shows(state: State, second: int, *current_ma: int | None, registers: int | None = None, node: str = SITE) -> State:
    """The meter shows these currents (one value for all phases, or three); other registers than ever unless said."""
    l1, l2, l3 = current_ma if len(current_ma) == 3 else current_ma * 3
    fingerprint = second if registers is None else registers
    return ticked(sampled(state, MeterSampled(node, (l1, l2, l3), at(second), fingerprint), at(second)), second)


def ticked(state: State, second: int) -> State:
    """What a tick does with the meters."""
    now_ms = at(second)
    return attrs.evolve(state, meters=interval(state, aged(state, now_ms), survey(state, now_ms), now_ms))


def room(state: State, second: int, node: str = SITE, strangers: PerPhase = ZERO) -> Room:
    return rooms(state.site, state.meters, survey(state, at(second)), strangers, at(second))[node]


def phase_of(state: State, phase: Phase = L1, node: str = SITE) -> MeterPhase:
    return state.meters[node].phases[phase]


def only(state: State, second: int = 0) -> Seen:
    (entry,) = survey(state, at(second))
    return entry


# What each connector counts for


def test_connectors_of_adopted_stations_that_ever_connected_are_counted_in_the_order_of_their_keys() -> None:
    state = scene({B: drawing(6_000), ("gone", 1): drawing(6_000), A: drawing(6_000)})
    assert [entry.key for entry in survey(state, at(0))] == [A, B]
    assert survey(attrs.evolve(state, stations={}), at(0)) == ()


def test_a_station_out_of_service_counts_nothing_until_it_connects() -> None:
    state = scene({A: drawing(6_000)}, stations=(Station("A", out_of_service=True),))
    assert only(state).worst_ma == PerPhase.same(6_000)
    assert survey(station_changed(state, "A", online=False), at(0)) == ()


def test_measured_phases_bear_this_cars_limit_and_the_others_what_any_car_might_get() -> None:
    connector = ConnectorState(held(16_000, floor_ma=6_000), phases=(L2,))
    state = scene({A: connector})
    assert (only(state).phases, only(state).worst_ma) == ((L2,), PerPhase(6_000, 16_000, 6_000))


def test_an_offline_station_counts_on_all_phases_that_it_is_wired_to_and_not_with_its_draw() -> None:
    above = PerPhase(20_000, 0, 0)
    state = scene({A: ConnectorState(held(16_000), phases=(L2,), mean_ma=above, readings=(Reading(at(0), above),))})
    assert only(state).worst_ma == PerPhase(20_000, 16_000, 0)
    offline = only(station_changed(state, "A", online=False))
    assert (offline.phases, offline.worst_ma) == (PHASES, PerPhase.same(16_000))
    assert (offline.lo_ma, offline.hi_ma) == (ZERO, PerPhase.same(16_000))


def test_one_that_disobeys_counts_with_its_draw_also_when_its_link_is_lost() -> None:
    above = PerPhase(20_000, 0, 0)
    takes = ConnectorState(held(6_000), phases=(L1,), mean_ma=above, readings=(Reading(at(0), above),), disobeys_ms=1)
    lost = only(station_changed(scene({A: takes}), "A", online=False))
    assert lost.worst_ma == PerPhase(20_000, 6_000, 6_000)


def test_what_is_taken_off_the_meter_as_a_cars_draw_counts_as_its_own() -> None:
    rounding = attrs.evolve(drawing(6_900, PerPhase(7_000)), mean_ma=PerPhase(6_200), phases=(L1,))
    assert only(scene({A: rounding})).worst_ma == PerPhase(7_000)


def test_the_place_of_a_car_that_was_lowered_and_raised_counts_until_its_reading_tells() -> None:
    """Behind a meter it may be filled unseen: A said 10 A and was told 6, so 4 A may be others' by now."""
    told = attrs.evolve(
        drawing(12_000, PerPhase(10_000)), settled_from_ms=at(6), least_told_ma=6_000, offered_ma=12_000, phases=(L1,)
    )
    entry = only(scene({A: told}), 3)
    assert (entry.worst_ma, entry.let_go_ma) == (PerPhase(12_000), PerPhase(4_000))
    in_whole_amps = only(scene({A: attrs.evolve(told, least_told_ma=9_600)}), 3)  # 9 A of 9.6
    assert in_whole_amps.let_go_ma == PerPhase(1_000)
    heard = only(reports(scene({A: told}), A, PerPhase(6_000), 7), 7)
    steady = only(scene({A: attrs.evolve(told, least_told_ma=10_000)}), 3)
    unmetered = only(scene({A: told}, meters=()), 3)
    for other in (heard, steady, unmetered):
        assert (other.worst_ma, other.let_go_ma) == (PerPhase(12_000), ZERO)


def test_what_any_car_might_get_counts_on_all_wired_phases() -> None:
    """What the station gives by itself, before we know that it holds it, and what it holds from before we knew it."""
    station = Station("A", phase_rotation=(L3,), start_alone_ma=8_000)
    assert only(scene({A: ConnectorState(held(0))}, stations=(station,))).worst_ma == PerPhase(0, 0, 8_000)
    inherited = ConnectorState(Ledger(Inherited(32_000, 32_000, None)), phases=(L1,))
    entry = only(scene({A: inherited}))
    assert (entry.worst_ma, entry.held_ma) == (PerPhase.same(32_000), 32_000)


def test_one_that_forgets_its_limits_counts_with_its_maximum_while_it_is_out_of_sight() -> None:
    state = scene({A: ConnectorState(held(6_000))})
    forgetful = station_changed(state, "A", capabilities=Capabilities(forgets=True))
    assert only(forgetful).worst_ma == PerPhase.same(6_000)
    most = PerPhase.same(state.site.stations[0].max_ma)
    assert only(station_changed(forgetful, "A", online=False)).worst_ma == most


def test_an_offline_station_counts_with_its_limit_until_its_lease_is_over_and_then_with_what_follows() -> None:
    state = station_changed(scene({A: ConnectorState(held(16_000, 6_000))}), "A", online=False)
    assert only(state, 149).worst_ma == PerPhase.same(16_000)
    assert only(state, 150).worst_ma == PerPhase.same(6_000)


def test_what_a_car_rounds_up_counts_also_while_nobody_hears_it_as_long_as_it_may_draw() -> None:
    rounds_up = ConnectorState(held(6_600, 0), over_ma=PerPhase(400, 0, 0))
    state = station_changed(scene({A: rounds_up}), "A", online=False)
    assert only(state, 149).worst_ma == PerPhase(7_000, 6_600, 6_600)
    assert only(state, 150).worst_ma == ZERO, "at 0 A it rounds nothing"


@pytest.mark.parametrize(("mean_ma", "worst_ma"), [(6_900, 6_900), (7_000, 7_000), (16_000, 7_000)])
def test_what_it_may_have_rounded_up_already_counts_when_its_link_is_lost(mean_ma: int, worst_ma: int) -> None:
    """Its limit was changed a moment ago: what it takes above it is read, and not yet known to last."""
    rounds_up = ConnectorState(held(6_600, 0), mean_ma=PerPhase(mean_ma, 0, 0))
    state = station_changed(scene({A: rounds_up}), "A", online=False)
    assert only(state, 149).worst_ma == PerPhase(worst_ma, 6_600, 6_600)
    assert only(state, 150).worst_ma == ZERO, "at 0 A it rounds nothing"
    just_above = ConnectorState(held(7_001, 0), mean_ma=PerPhase(9_000, 0, 0))
    assert only(station_changed(scene({A: just_above}), "A", online=False), 149).worst_ma.l1 == 8_000


@pytest.mark.parametrize("changes", [{"clock_ahead_ms": None}, {"clock_ahead_ms": -10_001}, {"capabilities": RIGID}])
def test_a_lease_frees_nothing_where_the_clock_or_the_second_period_is_not_known(changes: dict[str, object]) -> None:
    agrees = scene({A: ConnectorState(held(16_000, 6_000))})
    assert decays(station_changed(agrees, "A", clock_ahead_ms=-10_000), "A")
    state = station_changed(agrees, "A", **changes)
    assert not decays(state, "A")
    assert only(state, 10_000).worst_ma == PerPhase.same(16_000)


def test_watts_count_for_every_phase_that_might_get_them_all() -> None:
    state = station_changed(scene({A: drawing(6_000)}), "A", capabilities=Capabilities(in_watts=True))
    assert only(state).spread == 3
    assert only(attrs.evolve(state, connectors={A: attrs.evolve(drawing(6_000), phases=(L1,))})).spread == 1
    assert only(scene({A: drawing(6_000)})).spread == 1


def test_a_settled_reading_is_the_draw_and_after_a_command_it_lies_between_two_readings_and_what_it_may_draw() -> None:
    above = PerPhase(0, 0, 500)  # it rounds up: it was seen to draw a little more than its limit
    settled = attrs.evolve(drawing(16_000, PerPhase(9_000, 20_000, 0)), over_ma=above)
    assert only(scene({A: settled})).lo_ma == only(scene({A: settled})).hi_ma == PerPhase(9_000, 20_000, 0)
    state = scene({A: attrs.evolve(settled, settled_from_ms=at(20))})
    entry = only(reports(state, A, PerPhase(12_000, 18_000, 0), 10), 12)
    assert (entry.lo_ma, entry.hi_ma) == (PerPhase(9_000, 18_000, 0), PerPhase(16_000, 18_000, 16_500))


def test_a_station_that_reported_nothing_for_half_a_minute_may_draw_anything_it_may() -> None:
    state = scene({A: drawing(16_000, PerPhase.same(9_000)), B: ConnectorState(held(6_000))})
    a, b = survey(state, at(36))
    assert (a.lo_ma, a.hi_ma, b.lo_ma, b.hi_ma) == (ZERO, PerPhase.same(16_000), ZERO, PerPhase.same(6_000))


def test_a_load_counts_at_its_node_and_at_every_node_above() -> None:
    loads = [("default", PerPhase(1, 2, 3)), ("yard", PerPhase(10, 20, 30)), (SITE, PerPhase(100, 200, 300))]
    sums = sum_per_node(scene().site.limit_tree(), loads)
    assert sums == {SITE: [111, 222, 333], "yard": [11, 22, 33], "default": [1, 2, 3]}


# The building as an interval


def test_the_building_is_what_the_meter_shows_less_what_the_stations_draw() -> None:
    state = shows(scene({A: drawing(16_000, PerPhase(16_000, 0, 0))}), 1, 20_000)
    assert room(state, 1) == Room(*[LIMIT_MA - PerPhase(4_000, 20_000, 20_000)] * 2)


def test_without_a_charging_car_every_change_of_the_building_counts_at_once() -> None:
    state = scene({A: drawing(16_000)})
    for second, building_ma in enumerate([5_000, 25_000, 8_000], 1):
        state = shows(state, second, building_ma)
        assert room(state, second).raise_ma == LIMIT_MA - PerPhase.same(building_ma)


def test_a_car_that_stops_by_itself_is_no_falling_building() -> None:
    """Building 10 A, car 16 A; the car stops, its station tells only 8 s later."""
    state = shows(scene({A: drawing(16_000, PerPhase.same(16_000), 0)}), 1, 26_000)
    for second in range(2, 10):
        state = shows(state, second, 10_000)
        assert room(state, second).raise_ma == LIMIT_MA - PerPhase.same(10_000)
    state = shows(reports(state, A, ZERO, 10), 10, 10_000)
    assert room(state, 10).raise_ma == LIMIT_MA - PerPhase.same(10_000)


def test_a_fall_counts_once_every_charging_station_has_reported_since() -> None:
    draw = PerPhase.same(8_000)
    state = shows(scene({A: drawing(16_000, draw), B: drawing(16_000, draw)}), 1, 36_000)
    state = shows(state, 2, 21_000)
    assert phase_of(state).high_ma == 20_000
    state = shows(reports(state, A, draw, 3), 3, 20_500)
    assert phase_of(state).high_ma == 20_000
    state = shows(reports(state, B, draw, 4), 4, 20_500)
    assert phase_of(state).high_ma == 5_000  # the highest since the fall, not the last


def test_a_second_fall_asks_every_station_again() -> None:
    """Two cars that stop one after the other: the first to have reported may be the second to have stopped."""
    draw = PerPhase.same(16_000)
    state = shows(scene({A: drawing(16_000, draw), B: drawing(16_000, draw)}), 1, 42_000)
    state = reports(shows(state, 2, 26_000), A, draw, 3)  # B stopped, A still draws
    state = reports(shows(state, 4, 10_000), B, PerPhase(), 5)  # now A has stopped as well, and B says so of itself
    assert phase_of(shows(state, 5, 10_000)).high_ma >= 10_000


def test_a_building_that_comes_back_ends_the_fall() -> None:
    draw = PerPhase.same(8_000)
    state = shows(shows(scene({A: drawing(16_000, draw)}), 1, 28_000), 2, 18_000)
    state = reports(shows(shows(state, 3, 28_000), 4, 18_000), A, draw, 4)
    assert phase_of(shows(state, 4, 18_000)).high_ma == 20_000
    assert phase_of(shows(reports(state, A, draw, 5), 5, 18_000)).high_ma == 10_000


def test_feed_in_earns_nothing_and_a_building_above_the_limit_leaves_less_than_nothing() -> None:
    assert room(shows(scene(), 1, -30_000), 1) == Room(LIMIT_MA, LIMIT_MA)
    assert room(shows(scene(), 1, 45_000), 1).keep_ma == PerPhase(5_000, -5_000, -15_000)


def test_a_command_under_way_is_not_answered_twice() -> None:
    """A car was cut from 16 A to 6 A and may have followed: it may stay, but nothing may be given."""
    cut = attrs.evolve(drawing(16_000, PerPhase.same(16_000)), settled_from_ms=at(20))
    state = shows(scene({A: cut}), 1, 46_000)
    state = shows(reports(state, A, PerPhase.same(6_000), 2), 2, 46_000)
    assert room(state, 2).keep_ma == LIMIT_MA - PerPhase.same(30_000)
    assert room(state, 2).raise_ma == LIMIT_MA - PerPhase.same(40_000)


def test_twenty_cars_that_ramp_up_between_their_readings_cut_nobody() -> None:
    keys = [(f"S{i:02}", 1) for i in range(20)]
    ramping = attrs.evolve(drawing(16_000), settled_from_ms=at(20))
    state = scene(dict.fromkeys(keys, ramping), stations=tuple(Station(key[0]) for key in keys))
    wide = attrs.evolve(state.site.supply, derated_ma=PerPhase.same(330_000))
    state = attrs.evolve(state, site=attrs.evolve(state.site, supply=wide))
    state = shows(state, 5, 320_000)
    assert room(state, 5).keep_ma == PerPhase.same(330_000)


OVER_MA = LIMIT_MA.l3 + 1_001


def kept_under(connector: ConnectorState, second: int, over_ma: int = OVER_MA, **known: object) -> int:
    """What the cars may keep on L3 while the meter shows so much there, as if the rest were the building's."""
    state = station_changed(shows(scene({A: connector}), second, 0, 0, over_ma), "A", **known)
    return over_ma + room(state, second).keep_ma.l3 - LIMIT_MA.l3


def test_in_an_overload_a_car_that_may_still_follow_a_raise_draws_what_it_said() -> None:
    raised = attrs.evolve(
        charging(16_000, PerPhase.same(8_000)), settled_from_ms=at(10), offered_ma=16_000, raised_ms=at(4)
    )
    assert kept_under(raised, 5) == 8_000
    assert kept_under(raised, 5, OVER_MA - 1) == 16_000, "so much may be noise"
    assert kept_under(raised, 4 + RISES_MS // 1000) == 16_000
    assert kept_under(raised, 5, online=False) == 16_000
    assert kept_under(attrs.evolve(raised, disobeys_ms=0), 5) == 16_000
    assert kept_under(attrs.evolve(raised, readings=()), 5) == 0


def test_in_an_overload_a_car_draws_what_it_was_told_once_it_must_have_followed() -> None:
    lowered = attrs.evolve(charging(6_000, PerPhase.same(16_000)), settled_from_ms=at(10), offered_ma=6_000)
    assert kept_under(lowered, 9) == 6_000
    assert kept_under(attrs.evolve(lowered, over_ma=PerPhase.same(500)), 9) == 6_500
    on_its_way = attrs.evolve(lowered, ledger=attrs.evolve(lowered.ledger, trails=(Trail(16_000, at(10)),)))
    assert (kept_under(on_its_way, 9), kept_under(on_its_way, 10)) == (16_000, 6_000)
    a_little = attrs.evolve(
        on_its_way, offered_ma=15_000, ledger=attrs.evolve(held(15_000), trails=(Trail(16_000, at(10)),))
    )
    assert kept_under(a_little, 9) == 15_000, "so little may be cut twice"


def test_in_an_overload_a_little_of_each_car_is_not_cut_twice_where_it_is_much_together() -> None:
    """Ten cars were cut from 10 to 9 A and follow: no more is to be cut while that is under way."""
    keys = [(f"S{i:02}", 1) for i in range(10)]
    on_its_way = attrs.evolve(held(9_000), trails=(Trail(10_000, at(10)),))
    cut = attrs.evolve(
        charging(9_000, PerPhase.same(10_000)), settled_from_ms=at(10), offered_ma=9_000, ledger=on_its_way
    )
    state = scene(dict.fromkeys(keys, cut), stations=tuple(Station(key[0]) for key in keys))
    supply = attrs.evolve(state.site.supply, derated_ma=PerPhase.same(100_000))
    state = shows(attrs.evolve(state, site=attrs.evolve(state.site, supply=supply)), 9, 110_000)
    assert room(state, 9).keep_ma == PerPhase.same(90_000)
    assert room(state, 10).keep_ma == PerPhase.same(80_000), "who must have followed by now has"


def test_in_an_overload_the_share_of_a_car_that_has_not_started_covers_nothing() -> None:
    """It draws nothing, so cutting it helps nobody; one that tells that it draws counts with that."""
    about_to = attrs.evolve(drawing(10_000), offered_ma=10_000, preparing_ms=at(0), readings=(), settled_from_ms=at(9))
    assert kept_under(about_to, 9) == 0
    assert kept_under(about_to, 8, OVER_MA - 1) == 10_000, "so much may be noise"
    telling = Reading(at(8), PerPhase.same(7_000), 10_000)
    assert kept_under(attrs.evolve(about_to, readings=(telling,)), 9) == 7_000


def test_a_meter_of_the_other_consumers_is_the_building_itself() -> None:
    others = attrs.evolve(THE_METER, includes_stations=False)
    state = shows(scene({A: drawing(16_000, PerPhase.same(16_000))}, meters=(others,)), 1, 7_000)
    assert room(state, 1).raise_ma == room(state, 1).keep_ma == LIMIT_MA - PerPhase.same(7_000)


def test_a_meter_of_a_part_counts_the_stations_of_that_part_only() -> None:
    stations = (Station("A"), Station("B", cluster=None))
    cars = {key: drawing(16_000, PerPhase.same(8_000)) for key in (A, B)}
    state = scene(cars, meters=(THE_METER, MeterSetup("yard", "any", "yard")), stations=stations)
    state = shows(shows(state, 1, 30_000), 1, 11_000, node="yard")
    assert room(state, 1, "yard").keep_ma == PerPhase.same(20_000 - 3_000)
    assert room(state, 1).keep_ma == LIMIT_MA - PerPhase.same(14_000)


Act = tuple[int, int, bool]  # after so many seconds the car draws so much, and its station tells or not
acts = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 6_000, 11_000, 16_000]), st.booleans()), max_size=20)


@given(acts)
def test_whatever_a_car_does_by_itself_the_building_is_never_taken_for_smaller(acts: list[Act]) -> None:
    """The building draws 10 A all the time; the car may change its draw at any second and tell of it or not."""
    state, second = scene({A: drawing(16_000, ZERO)}), 0
    for pause_s, draw_ma, told in acts:
        second += pause_s
        if told:
            state = reports(state, A, PerPhase.same(draw_ma), second)
        state = shows(state, second, 10_000 + draw_ma)
        assert phase_of(state).high_ma >= 10_000


# How far the meter can be trusted


def good(state: State, seconds: range) -> State:
    """The meter gives good samples at these seconds."""
    for second in seconds:
        state = shows(state, second, 5_000)
    return state


def test_a_silent_meter_raises_nobody_after_five_seconds_and_is_lost_after_ten() -> None:
    state = shows(scene(), 0, 5_000)
    left = LIMIT_MA - PerPhase.same(5_000)
    assert room(ticked(state, 4), 4) == Room(left, left)
    assert room(ticked(state, 5), 5).keep_ma == left
    assert max(room(ticked(state, 5), 5).raise_ma) < -1_000_000  # no sum of worst cases fits
    assert room(ticked(state, 9), 9).keep_ma == left
    assert room(ticked(state, 10), 10) == Room(FALLBACK_MA, FALLBACK_MA)


def test_a_meter_will_be_silent_when_the_first_phase_that_is_believed_is() -> None:
    quick = MeterState({L1: MeterPhase(seen_ms=7_000), L2: MeterPhase(seen_ms=3_000), L3: MeterPhase()})
    lost = attrs.evolve(quick, phases={**quick.phases, L2: MeterPhase(seen_ms=3_000, lost=True)})
    slow = MeterState({L1: MeterPhase(seen_ms=1_000)}, period_ms=4_000)
    state = attrs.evolve(scene(), meters={SITE: quick, "yard": slow})
    assert silent_from_ms(state, (SITE,)) == 8_000
    assert silent_from_ms(state, ("row", "yard", SITE)) == 8_000
    assert silent_from_ms(state, ("row", "yard")) == 13_000
    assert silent_from_ms(attrs.evolve(state, meters={SITE: lost}), (SITE,)) == 12_000
    assert silent_from_ms(state, ("row",)) is None
    assert silent_from_ms(state, ()) is None


def test_a_slow_meter_has_three_of_its_own_periods() -> None:
    state = good(scene(), range(0, 120, 4))
    assert state.meters[SITE].period_ms == pytest.approx(4_000, abs=5)
    assert room(ticked(state, 116 + 11), 116 + 11).raise_ma == LIMIT_MA - PerPhase.same(5_000)
    assert room(ticked(state, 116 + 13), 116 + 13).raise_ma.l1 < 0
    assert not phase_of(ticked(state, 116 + 23)).lost
    assert phase_of(ticked(state, 116 + 25)).lost


def test_a_pause_of_hours_makes_no_slow_meter_and_a_burst_no_fast_one() -> None:
    slow = shows(shows(scene(), 0, 5_000), 7_200, 5_000)
    assert slow.meters[SITE].period_ms == 10_000
    state = slow
    for ms in range(1, 60):
        state = sampled(state, MeterSampled(SITE, (0, 0, 0), at(7_200) + ms, ms), at(7_200) + ms)
    assert state.meters[SITE].period_ms == 200


@pytest.mark.parametrize("broken", [None, ABSURD_FACTOR * 63_000 + 1, -ABSURD_FACTOR * 63_000 - 1])
def test_a_phase_without_a_believable_value_ages_alone(broken: int | None) -> None:
    assert phase_of(shows(scene(), 0, ABSURD_FACTOR * 63_000)).current_ma == ABSURD_FACTOR * 63_000
    state = shows(scene(), 0, 5_000)
    for second in range(1, 12):
        state = shows(state, second, 5_000, broken, 5_000)
    assert room(state, 11) == Room(*[PerPhase(45_000, FALLBACK_MA.l2, 25_000)] * 2)
    assert phase_of(state, L2) == attrs.evolve(phase_of(state, L2), current_ma=5_000, lost=True, seen_ms=at(0))


def test_a_lost_meter_is_back_after_thirty_seconds_of_good_samples_without_a_gap() -> None:
    lost = ticked(shows(scene(), 0, 5_000), 11)
    assert room(good(lost, range(20, 50)), 49).raise_ma == FALLBACK_MA
    assert room(good(lost, range(20, 51)), 50).raise_ma == LIMIT_MA - PerPhase.same(5_000)
    gap = good(good(lost, range(20, 41)), range(46, 76))
    assert phase_of(gap).lost
    assert not phase_of(shows(gap, 76, 5_000)).lost


def test_a_meter_that_is_back_but_not_trusted_yet_only_takes() -> None:
    lost = ticked(shows(scene(), 0, 5_000), 11)
    most_ma = min(FALLBACK_MA)
    for ma in (0, min(LIMIT_MA) - most_ma, min(LIMIT_MA) - most_ma + 1, min(LIMIT_MA), min(LIMIT_MA) + 9_000):
        back = shows(lost, 20, ma)
        assert phase_of(back).lost
        left = (LIMIT_MA - PerPhase.same(ma)).smaller(FALLBACK_MA)
        assert room(back, 20) == Room(left, left)
        assert room(ticked(back, 80), 80) == Room(FALLBACK_MA, FALLBACK_MA)  # it fell silent again


def test_registers_that_stand_still_for_a_minute_are_a_frozen_meter() -> None:
    state = scene()
    for second in range(61):
        state = shows(state, second, 5_000, registers=7)
        assert phase_of(state).lost is state.meters[SITE].frozen is (second == 60)
    assert room(state, 60) == Room(FALLBACK_MA, FALLBACK_MA)
    thawed = shows(state, 61, 5_000, registers=8)
    assert not thawed.meters[SITE].frozen
    assert phase_of(good(thawed, range(62, 91))).lost
    assert not phase_of(good(thawed, range(62, 92))).lost


def stands_still(moved_ma: int, seconds: int) -> State:
    """The registers stand still although a station tells since second 1 that it draws so much more, or less."""
    cars = {A: drawing(16_000, PerPhase.same(8_000)), B: ConnectorState(held(6_000))}
    state = shows(scene(cars), 0, 15_000, registers=7)
    state = reports(state, A, PerPhase(8_000, 8_000 + moved_ma, 8_000), 1)
    for second in range(1, seconds + 1):
        state = shows(state, second, 15_000, registers=7)
    return state


def repeats(state: State) -> bool:
    return is_repeating(state, SITE, state.meters[SITE])


def test_a_meter_that_does_not_follow_three_amps_within_fifteen_seconds_is_frozen() -> None:
    for moved_ma in (3_000, -3_000):
        assert [phase_of(stands_still(moved_ma, seconds)).lost for seconds in (14, 15)] == [False, True]
    assert not stands_still(2_999, 59).meters[SITE].frozen


def test_a_repeated_sample_tells_nothing_while_the_stations_draw_otherwise() -> None:
    assert [repeats(stands_still(moved_ma, 2)) for moved_ma in (999, 1_000)] == [False, True]
    assert not repeats(shows(stands_still(1_000, 2), 3, 5_000, registers=8))
    assert repeats(stands_still(0, 60))


def test_a_sample_that_is_not_newer_or_of_no_known_meter_changes_nothing() -> None:
    state = shows(scene(), 5, 20_000)
    for second in (4, 5):
        assert sampled(state, MeterSampled(SITE, (0, 0, 0), at(second), 99), at(6)) == state
    assert sampled(state, MeterSampled("nowhere", (0, 0, 0), at(9), 99), at(9)) == state


# What charging may take


def test_a_static_site_has_its_limit_less_what_strangers_draw() -> None:
    state = scene(mode=Mode.STATIC, meters=())
    left = LIMIT_MA - PerPhase(4_000, 0, 0)
    assert room(state, 0, strangers=PerPhase(4_000, 0, 0)) == Room(left, left)


def test_a_dynamic_site_without_a_meter_or_before_its_first_sample_has_its_safe_limit() -> None:
    for state in (scene(meters=()), ticked(scene(), 0)):
        assert room(state, 0) == Room(FALLBACK_MA, FALLBACK_MA)
        supply = attrs.evolve(state.site.supply, fallback_ma=PerPhase.same(35_000))
        generous = attrs.evolve(state, site=attrs.evolve(state.site, supply=supply))
        assert room(generous, 0).raise_ma == PerPhase(35_000, 35_000, 30_000)


def test_a_part_without_a_meter_has_its_own_limit_and_with_a_lost_one_nothing() -> None:
    assert room(ticked(scene(), 0), 0, "yard") == Room(*[PerPhase.same(20_000)] * 2)
    state = shows(scene(meters=(MeterSetup("yard", "any", "yard"),)), 0, 5_000, node="yard")
    assert room(ticked(state, 11), 11, "yard") == Room(ZERO, ZERO)


def grown(*wanted_ma: int, metered: bool = True) -> list[int]:
    """What charging may take, second by second, when so much is free."""
    allowances: dict[tuple[str, Phase], Allowance] = {}
    taken = []
    for second, ma in enumerate(wanted_ma):
        allowances = allowed(allowances, SITE, PerPhase.same(ma), at(second), metered=metered)
        taken.append(allowances[SITE, L1].limit_ma)
    return taken


def test_a_budget_falls_at_once_and_where_no_meter_decides_it_grows_at_once() -> None:
    assert grown(20_000, 5_000, -3_000) == [20_000, 5_000, -3_000]
    assert grown(10_000, 20_000, 20_100, metered=False) == [10_000, 20_000, 20_100]


def test_a_budget_grows_to_what_was_free_for_ten_seconds_on_end() -> None:
    assert grown(*[10_000] * 2, *[20_000] * 11) == [*[10_000] * 12, 20_000]
    assert grown(10_000, *[20_000] * 5, 15_000, *[20_000] * 5)[-1] == 15_000
    assert grown(10_000, *[20_000] * 9, 10_000, *[20_000] * 10)[-1] == 10_000


def test_a_budget_that_goes_on_growing_is_held_up_again() -> None:
    """20 A are free from second 1, 30 A from second 11: each is given at the end of ten seconds in which it was."""
    assert grown(10_000, *[20_000] * 10, *[30_000] * 20)[11:] == [*[20_000] * 10, *[30_000] * 10]
    assert grown(10_000, *[20_000] * 11, *[30_000] * 20)[11:] == [*[20_000] * 20, 30_000]


def test_a_little_more_is_not_worth_moving() -> None:
    assert grown(10_000, *[10_000 + DEADBAND_MA] * 30)[-1] == 10_000
    assert grown(10_000, *[10_001 + DEADBAND_MA] * 11)[-1] == 10_001 + DEADBAND_MA


# No meter at all


@pytest.mark.parametrize("model", [MANUAL, STATIONS])
def test_an_assumed_load_is_taken_off_all_the_time_and_nothing_is_read(model: str) -> None:
    meters = (MeterSetup(SITE, model, load_ma=PerPhase(5_000, 0, 1_000)), MeterSetup("yard", model))
    state = scene({A: drawing(16_000)}, meters=meters)
    left = LIMIT_MA - PerPhase(5_000, 0, 1_000)
    assert room(state, 5) == Room(left, left)
    assert room(state, 5, "yard") == Room(PerPhase.same(20_000), PerPhase.same(20_000))
    assert shows(state, 5, 60_000).meters == {}
