"""What a car shows of itself: phases, cap, sleep, obedience; each is believed only after it has lasted."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import PHASES, ConnectorState, Demand, Ledger, PerPhase, Phase, Reading, Session, Station
from llm_core.demand import demand_of, forgotten, is_finished, least_of, least_told, observed, rank_of, wants
from unit.strategies import NOON

L1, L2, L3 = PHASES
KEY = ("A", 1)
START_MS = 1_000_000
SESSION = Session(1, "A", 1, "04A1B2C3", NOON, 1_000, 1_000)
HOUR_S, WAKE_S = 3_600, 180


def offered(limit_ma: int = 16_000) -> ConnectorState:
    return ConnectorState(Ledger(None), session=SESSION, session_ms=START_MS, offered_ma=limit_ma)


def drew(
    connector: ConnectorState,
    draw_ma: tuple[int, int, int],
    *seconds: int,
    held_ma: int = 16_000,
    wired: tuple[Phase, ...] = PHASES,
) -> ConnectorState:
    """The connector after it reported the same draw at each of these seconds."""
    for second in seconds:
        reading = Reading(START_MS + second * 1_000, PerPhase(*draw_ma), held_ma)
        connector = observed(connector, reading, wired)
    return connector


# What it was told


def test_the_least_that_was_told_counts_until_a_reading_shows_its_effect() -> None:
    connector = attrs.evolve(drew(offered(9_000), (9_000, 0, 0), 0), least_told_ma=6_000)
    assert least_told(connector) == 9_000
    unsettled = attrs.evolve(connector, settled_from_ms=START_MS + 1)
    assert least_told(unsettled) == 6_000
    assert least_told(attrs.evolve(unsettled, offered_ma=0)) == 0
    assert least_told(attrs.evolve(unsettled, readings=())) == 9_000


def test_a_car_that_is_about_to_start_comes_after_all_who_have() -> None:
    charging = attrs.evolve(offered(), rank=999)
    assert rank_of(charging) == 999 < rank_of(attrs.evolve(charging, session=None, preparing_ms=0, rank=0))


# Phases in use


def test_phases_are_released_after_a_minute_of_a_clear_pattern_and_no_earlier() -> None:
    one_phase = drew(offered(), (15_800, 0, 0), 0, 10, 20, 30, 40, 50, 59)
    assert one_phase.phases is None
    assert drew(one_phase, (15_800, 0, 0), 60).phases == (L1,)


def test_eight_and_eight_is_a_two_phase_car() -> None:
    assert drew(offered(), (8_000, 8_000, 0), 0, 30, 60).phases == (L1, L2)


def test_a_phantom_current_is_no_phase() -> None:
    assert drew(offered(), (15_800, 400, 999), 0, 30, 60).phases == (L1,)


def test_a_draw_that_proves_nothing_neither_releases_a_phase_nor_flaps() -> None:
    unclear = (4_500, 1_900, 500)
    connector = drew(offered(), unclear, *range(0, 600, 10))
    assert connector.phases is None
    known = drew(offered(), (8_000, 8_000, 0), 0, 60)
    assert [drew(known, unclear, *range(70, end, 10)).phases for end in (80, 200, 600)] == [(L1, L2)] * 3


def test_a_minute_that_was_interrupted_begins_anew() -> None:
    """Half a minute on one phase, one sample that proves nothing, half a minute on one phase."""
    connector = drew(drew(offered(), (15_800, 0, 0), 0, 30), (4_000, 0, 0), 40)
    assert drew(connector, (15_800, 0, 0), 50, 100).phases is None
    assert drew(connector, (15_800, 0, 0), 50, 110).phases == (L1,)


def test_another_pattern_begins_its_own_minute() -> None:
    three = drew(offered(), (15_800, 15_800, 15_800), 0, 60)
    one = drew(three, (15_800, 0, 0), 70, 129)
    assert (three.phases, one.phases) == (PHASES, PHASES)
    assert drew(one, (15_800, 0, 0), 130).phases == (L1,)


def test_a_car_that_adds_a_phase_is_unknown_again_at_once() -> None:
    one_phase = drew(offered(), (15_800, 0, 0), 0, 60)
    after = drew(one_phase, (15_800, 1_000, 0), 70)
    assert (after.phases, after.phases_pending) == (None, None)


def test_at_nothing_the_phases_are_forgotten() -> None:
    after = drew(drew(offered(), (15_800, 0, 0), 0, 60), (900, 0, 0), 70)
    assert (after.phases, after.phases_pending) == (None, None)


def test_what_is_not_told_by_phase_proves_no_phase() -> None:
    by_phase = drew(offered(), (15_800, 0, 0), 0, 60)
    assert by_phase.phases == (L1,)
    after = observed(by_phase, Reading(START_MS + 70_000, PerPhase.same(15_800), 16_000, by_phase=False), PHASES)
    assert (after.phases, after.phases_pending) == (None, None)
    for second in range(80, 200, 10):
        reading = Reading(START_MS + second * 1_000, PerPhase.same(15_800), 16_000, by_phase=False)
        after = observed(after, reading, PHASES)
    assert after.phases is None


@pytest.mark.parametrize(("spread", "cap_ma"), [(True, None), (False, 6_834)])
def test_of_a_total_any_phase_may_draw_all_so_it_caps_nobody_at_a_third(spread: bool, cap_ma: int | None) -> None:
    connector = offered()
    for second in (0, 60):
        reading = Reading(START_MS + second * 1_000, PerPhase.same(5_334), 16_000, by_phase=False, spread=spread)
        connector = observed(connector, reading, PHASES)
    assert connector.cap_ma == cap_ma


def test_only_wired_phases_are_counted() -> None:
    """A station wired to L2 alone reports on L2; what a faulty one claims elsewhere makes no phase of it."""
    assert drew(offered(), (6_000, 15_800, 0), 0, 60, wired=(L2,)).phases == (L2,)


draws_ma = st.tuples(*[st.sampled_from([0, 500, 999, 1_000, 1_900, 4_999, 5_000, 8_000, 15_800])] * 3)


@given(st.lists(st.tuples(st.integers(1, 40), draws_ma), max_size=40))
def test_no_phase_is_released_that_carried_an_ampere_within_the_last_minute(
    samples: list[tuple[int, tuple[int, int, int]]],
) -> None:
    connector, second, past = offered(), 0, []
    for pause_s, draw_ma in samples:
        second += pause_s
        connector = drew(connector, draw_ma, second)
        past.append((second, PerPhase(*draw_ma)))
        for phase in set(PHASES) - set(connector.phases or PHASES):
            assert second - past[0][0] >= 60
            assert all(current_ma[phase] < 1_000 for at, current_ma in past if second - at <= 60)


# The cap


def test_a_car_that_draws_less_than_offered_for_a_minute_is_capped_at_its_draw_and_a_margin() -> None:
    connector = drew(offered(), (8_000, 8_000, 8_000), 0, 30, 59)
    assert connector.cap_ma is None
    assert drew(connector, (8_000, 8_000, 8_000), 60).cap_ma == 9_500


def test_a_car_that_rounds_by_an_ampere_or_two_is_not_capped() -> None:
    assert drew(offered(), (13_100, 13_100, 13_100), *range(0, 600, 10)).cap_ma is None


def test_the_minute_below_begins_anew_when_the_car_drew_it_all_for_a_moment() -> None:
    connector = drew(drew(offered(), (8_000, 0, 0), 0, 30), (15_000, 0, 0), 40)
    assert drew(connector, (8_000, 0, 0), 50, 109).cap_ma is None


def test_a_reading_from_before_the_command_has_settled_begins_no_minute() -> None:
    connector = attrs.evolve(offered(), settled_from_ms=START_MS + 6_000)
    assert drew(connector, (8_000, 0, 0), 0, 60).below_since_ms == START_MS + 60_000


def test_a_car_that_climbs_to_its_cap_has_its_share_back_at_once() -> None:
    capped = attrs.evolve(drew(offered(), (8_000, 0, 0), 0, 60), offered_ma=9_500)
    assert drew(capped, (8_700, 0, 0), 70).cap_ma == 9_500
    assert drew(capped, (8_800, 0, 0), 70).cap_ma is None


def test_a_cap_follows_a_car_down() -> None:
    capped = attrs.evolve(drew(offered(), (12_000, 0, 0), 0, 60), offered_ma=13_500)
    assert drew(capped, (7_000, 0, 0), 70, 130).cap_ma == 8_500


def test_a_car_that_charged_and_stops_by_itself_keeps_no_more_than_its_minimum_at_once() -> None:
    assert drew(offered(), (16_000, 0, 0), 0).cap_ma is None
    stopped = drew(offered(), (16_000, 0, 0), 0)
    assert drew(stopped, (0, 0, 0), 10).cap_ma == 1_500
    assert drew(stopped, (999, 0, 0), 10).cap_ma == 2_499
    assert drew(drew(stopped, (0, 0, 0), 10), (6_000, 0, 0), 20).cap_ma is None


def test_a_car_that_has_not_begun_or_was_stopped_by_us_is_not_capped_before_its_minute() -> None:
    assert drew(offered(), (0, 0, 0), 0, 10, 59).cap_ma is None
    assert drew(offered(), (0, 0, 0), 0, 60).cap_ma == 1_500
    paused = attrs.evolve(drew(offered(), (16_000, 0, 0), 0), offered_ma=0)
    assert drew(paused, (0, 0, 0), 10, 20).cap_ma is None
    lowered = attrs.evolve(drew(offered(), (16_000, 0, 0), 0), settled_from_ms=START_MS + 20_000)
    assert drew(lowered, (0, 0, 0), 10).cap_ma is None


# Finished, and waking up


def idle(connector: ConnectorState, *, since_s: int = 0) -> ConnectorState:
    return drew(connector, (0, 0, 0), since_s)


def finished_at(connector: ConnectorState, second: int, turn: int = 0) -> bool:
    return is_finished(connector, turn, START_MS + second * 1_000)


def test_a_car_that_draws_nothing_for_a_minute_although_it_could_is_finished() -> None:
    car = idle(offered())
    assert not finished_at(car, 59)
    assert finished_at(car, 60)


def test_a_car_that_was_offered_nothing_is_not_finished() -> None:
    assert idle(offered(0)).idle_since_ms is None
    assert not finished_at(idle(offered(0)), 1_000)


def test_nothing_drawn_before_a_raise_has_settled_makes_no_finished_car() -> None:
    raised = attrs.evolve(offered(), settled_from_ms=START_MS + 6_000)
    assert idle(raised, since_s=5).idle_since_ms is None
    assert idle(raised, since_s=6).idle_since_ms == START_MS + 6_000


def test_idleness_is_counted_from_its_beginning() -> None:
    assert drew(offered(), (0, 0, 0), 0, 30, 60).idle_since_ms == START_MS


def test_a_car_that_draws_again_is_not_finished() -> None:
    assert drew(idle(offered()), (1_000, 0, 0), 100).idle_since_ms is None


def test_a_finished_car_may_wake_for_three_minutes_once_an_hour() -> None:
    car = idle(offered())
    awake = [second for second in range(60, 3 * HOUR_S, 30) if not finished_at(car, second)]
    assert awake == [*range(HOUR_S, HOUR_S + WAKE_S, 30), *range(2 * HOUR_S, 2 * HOUR_S + WAKE_S, 30)]


def test_finished_cars_wake_in_turn() -> None:
    car = idle(offered())
    for second in range(HOUR_S, HOUR_S + 3 * WAKE_S, 30):
        awake = [turn for turn in range(3) if not finished_at(car, second, turn)]
        assert awake == [(second - HOUR_S) // WAKE_S]


def test_the_turns_to_wake_fill_the_hour_and_then_begin_anew() -> None:
    car = idle(offered())
    for second in range(HOUR_S, 2 * HOUR_S, 30):
        assert [turn for turn in range(20, 40) if not finished_at(car, second, turn)] == [
            (second - HOUR_S) // WAKE_S + 20
        ]


# Obedience


def test_one_reading_above_the_limit_accuses_nobody() -> None:
    assert drew(offered(10_000), (16_000, 0, 0), 0, held_ma=10_000).disobeys_ms is None


def test_two_readings_in_a_row_above_the_limit_are_disobedience() -> None:
    caught = drew(offered(10_000), (16_000, 0, 0), 0, 10, held_ma=10_000)
    assert (caught.disobeys_ms, caught.took_ma) == (START_MS + 10_000, 16_000)


def test_a_tenth_and_an_ampere_more_is_obedience() -> None:
    assert drew(offered(10_000), (12_000, 0, 0), 0, 10, held_ma=10_000).disobeyed == 0
    assert drew(offered(10_000), (12_001, 0, 0), 0, 10, held_ma=10_000).disobeyed == 2


def test_a_good_reading_between_two_bad_ones_excuses_them() -> None:
    connector = drew(offered(10_000), (16_000, 0, 0), 0, held_ma=10_000)
    connector = drew(connector, (10_000, 0, 0), 10, held_ma=10_000)
    assert drew(connector, (16_000, 0, 0), 20, held_ma=10_000).disobeys_ms is None


def test_a_car_is_judged_by_all_that_it_might_hold_in_the_last_seconds() -> None:
    """It held 16 A when it was read first; a lower limit since then is held against it once it had time to follow."""
    connector = drew(offered(), (16_000, 0, 0), 0, held_ma=16_000)
    assert drew(connector, (16_000, 0, 0), 6, held_ma=6_000).disobeyed == 0
    assert drew(connector, (16_000, 0, 0), 7, held_ma=6_000).disobeyed == 1
    assert drew(connector, (16_000, 0, 0), 5, 10, 15, held_ma=6_000).disobeys_ms == START_MS + 15_000
    assert drew(connector, (16_000, 0, 0), 10, 20, held_ma=6_000).disobeys_ms == START_MS + 20_000


def caught() -> ConnectorState:
    """Drew 16 A and then 18 A at a limit of 10 A, and goes on."""
    connector = drew(offered(10_000), (16_000, 0, 0), 0, 10, held_ma=10_000)
    return drew(connector, (18_000, 0, 0), 20, held_ma=10_000)


def test_disobedience_counts_from_its_beginning_and_remembers_the_most_that_was_taken() -> None:
    connector = drew(caught(), (16_000, 0, 0), 30, held_ma=10_000)
    assert (connector.disobeys_ms, connector.took_ma) == (START_MS + 10_000, 18_000)


def test_a_car_is_believed_again_after_five_minutes_within_its_limit() -> None:
    good = drew(caught(), (9_000, 0, 0), 30, 329, held_ma=10_000)
    assert good.disobeys_ms is not None
    believed = drew(good, (9_000, 0, 0), 330, held_ma=10_000)
    assert (believed.disobeys_ms, believed.took_ma, believed.obeys_since_ms) == (None, 0, None)


def test_at_nothing_every_car_obeys_so_it_proves_nothing() -> None:
    told_nothing = attrs.evolve(caught(), offered_ma=0)
    assert drew(told_nothing, (0, 0, 0), *range(30, 1_000, 10), held_ma=0).disobeys_ms is not None
    drew_nothing = drew(caught(), (900, 0, 0), *range(30, 1_000, 10), held_ma=10_000)
    assert drew_nothing.disobeys_ms is not None


def test_a_break_of_the_five_minutes_begins_them_anew() -> None:
    for excess in ((16_000, 0, 0), (0, 0, 0)):
        broken = drew(drew(caught(), (9_000, 0, 0), 30, 200, held_ma=10_000), excess, 210, held_ma=10_000)
        assert drew(broken, (9_000, 0, 0), 220, 519, held_ma=10_000).disobeys_ms is not None
        assert drew(broken, (9_000, 0, 0), 220, 520, held_ma=10_000).disobeys_ms is None


# The mean draw, which counts where it lies above the books


def test_the_mean_follows_over_a_minute() -> None:
    connector = drew(offered(), (6_000, 0, 0), 0)
    assert connector.mean_ma == PerPhase(6_000)
    assert drew(connector, (12_000, 0, 0), 10).mean_ma == PerPhase(7_000)
    assert drew(connector, (12_000, 0, 0), 60).mean_ma == PerPhase(12_000)
    assert drew(connector, (12_000, 0, 0), 600).mean_ma == PerPhase(12_000)


def test_after_a_change_the_old_mean_counts_until_a_settled_reading_replaces_it() -> None:
    lowered = attrs.evolve(drew(offered(), (16_000, 0, 0), 0), offered_ma=6_000, settled_from_ms=START_MS + 20_000)
    on_its_way = drew(lowered, (10_000, 0, 0), 10)
    assert on_its_way.mean_ma == PerPhase(16_000)
    assert drew(on_its_way, (6_000, 0, 0), 20, held_ma=6_000).mean_ma == PerPhase(6_000)


def test_what_is_drawn_above_the_books_counts_at_once() -> None:
    changing = attrs.evolve(offered(6_000), settled_from_ms=START_MS + 20_000)
    first = drew(changing, (0, 16_000, 0), 0, held_ma=6_000)
    assert first.mean_ma == PerPhase(0, 16_000, 0)
    assert drew(first, (18_000, 0, 0), 10, held_ma=6_000).mean_ma == PerPhase(18_000, 16_000, 0)


def test_a_car_that_begins_to_ignore_its_limit_counts_with_all_that_it_takes_at_once() -> None:
    paused = drew(offered(0), (0, 0, 0), 0, 10, held_ma=0)
    assert drew(paused, (16_000, 0, 0), 20, held_ma=0).mean_ma == PerPhase(16_000)


def test_what_a_settled_car_draws_above_its_limit_is_remembered_while_the_next_change_settles() -> None:
    above = drew(offered(10_000), (11_000, 0, 9_000), 0, 60, held_ma=10_000)
    assert above.over_ma == PerPhase(1_000, 0, 0)
    raised = attrs.evolve(above, offered_ma=12_000, settled_from_ms=START_MS + 80_000)
    assert drew(raised, (11_000, 0, 9_000), 70, held_ma=12_000).over_ma == PerPhase(1_000, 0, 0)
    assert drew(raised, (12_500, 0, 9_000), 80, held_ma=12_000).over_ma == PerPhase(500, 0, 0)


def test_the_last_two_readings_are_kept() -> None:
    connector = drew(offered(), (6_000, 0, 0), 0, 10, 20)
    assert [reading.at_ms - START_MS for reading in connector.readings] == [10_000, 20_000]


# What is asked for


def test_the_next_car_is_a_stranger() -> None:
    """Nothing of the last one stays but when its pattern began, which without a pattern means nothing."""
    known = attrs.evolve(
        drew(caught(), (0, 0, 0), 30),
        cap_ma=9_000,
        served_ms=5,
        paused_window=3,
        stop_asked_ms=7,
        over_ma=PerPhase(500),
    )
    assert attrs.evolve(forgotten(known), phases_since_ms=0) == offered(10_000)


def test_current_is_wanted_in_a_session_and_for_two_minutes_before_one() -> None:
    preparing = ConnectorState(Ledger(None), preparing_ms=START_MS)
    assert wants(offered(), START_MS)
    assert wants(preparing, START_MS + 119_999)
    assert not wants(preparing, START_MS + 120_000)
    assert not wants(ConnectorState(Ledger(None)), START_MS)


@pytest.mark.parametrize(
    ("min_ma", "step_ma", "spread", "least_ma"),
    [
        (6_000, 100, 1, 6_000),
        (6_500, 1_000, 1, 7_000),  # whole steps: 6 A would be below its minimum
        (6_000, 1_000, 2, 12_000),  # watts that one phase might get alone
        (6_000, 1_000, 3, 16_000),  # never above what the station can give
    ],
)
def test_the_least_is_the_minimum_in_whole_steps_on_each_phase(
    min_ma: int, step_ma: int, spread: int, least_ma: int
) -> None:
    assert least_of(Station("A", min_ma=min_ma), step_ma, spread) == least_ma


def test_a_demand_says_what_the_station_is_and_what_its_car_showed() -> None:
    station = Station("A", phase_rotation=(L2, L3, L1), max_ma=32_000, priority=2)
    stranger = attrs.evolve(offered(), rank=4)
    expected = Demand("A/1", "default", (L2, L3, L1), 6_000, 32_000, 1_000, priority=2, rank=4, since=START_MS)
    assert demand_of(KEY, stranger, station, 1_000, 1) == expected
    known = attrs.evolve(stranger, phases=(L2,), cap_ma=9_500)
    assert demand_of(KEY, known, station, 1_000, 1) == attrs.evolve(expected, phases=(L2,), max_ma=9_500)


def test_a_cap_below_the_minimum_asks_for_the_minimum_and_one_above_the_maximum_for_that() -> None:
    station = Station("A", min_ma=8_000)
    caps = {1_500: 8_000, 12_000: 12_000, 40_000: 16_000}
    for cap_ma, most_ma in caps.items():
        capped = attrs.evolve(offered(), cap_ma=cap_ma)
        assert demand_of(KEY, capped, station, 1_000, 1).max_ma == most_ma


def test_a_demand_is_as_old_as_its_session_or_its_plug() -> None:
    station = Station("A")
    preparing = ConnectorState(Ledger(None), preparing_ms=77, session_ms=5)
    assert demand_of(KEY, offered(), station, 1_000, 1).since == START_MS
    assert demand_of(KEY, preparing, station, 1_000, 1).since == 77
    assert demand_of(KEY, ConnectorState(Ledger(None)), station, 1_000, 1).since == 0
