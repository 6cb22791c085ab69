"""Registers in the order of their stamps: what is late counts for nothing, what was read too soon is given back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import Session, SessionState, close_session, interrupt_session, meter_session, open_session
from llm_core.sessions import overtake_session
from unit.strategies import NOON


def opened(transaction_id: int = 7, minutes: int = 0, meter_start_wh: int = 5_000) -> Session:
    return open_session(transaction_id, "A", 1, "04a1b2c3", NOON + timedelta(minutes=minutes), meter_start_wh)


def read(session: Session, *readings: tuple[int, int]) -> Session:
    """The session after readings of (register, minutes since noon), in the order of their arrival."""
    for register_wh, minutes in readings:
        session = meter_session(session, register_wh, NOON + timedelta(minutes=minutes))
    return session


def test_readings_out_of_order_count_as_in_order() -> None:
    session = read(opened(), (6_000, 10), (5_400, 4), (5_700, 7), (6_000, 10), (6_300, 13))
    assert (session.energy_wh, session.register_wh, session.flagged) == (1_300, 6_300, False)


def test_a_reading_from_before_the_session_is_no_part_of_it() -> None:
    session = read(opened(), (9_000, -1), (100, -1))
    assert session == opened()


def test_one_slipped_reading_counts_for_nothing() -> None:
    session = read(opened(), (5_500, 1), (0, 2), (5_600, 3))
    assert (session.energy_wh, session.flagged) == (600, True)


def test_a_register_that_restarted_counts_on_from_there() -> None:
    session = read(opened(), (5_500, 1), (0, 2), (0, 3), (200, 4), (250, 5))
    assert (session.energy_wh, session.flagged) == (750, True)


def test_a_register_that_leapt_counts_on_from_there_once_that_is_certain() -> None:
    session = read(opened(), (5_500, 1), (90_000_000, 2), (90_000_100, 3))
    assert (session.energy_wh, session.flagged) == (600, True)


def test_a_stop_that_shows_a_fallen_register_keeps_what_was_counted() -> None:
    session = close_session(read(opened(), (5_500, 1)), NOON + timedelta(minutes=2), 20, "Local")
    assert (session.energy_wh, session.meter_stop_wh, session.flagged) == (500, 20, True)


def test_a_negative_stop_reading_is_none() -> None:
    session = close_session(read(opened(), (5_500, 1)), NOON + timedelta(minutes=2), -1, "Local")
    assert (session.energy_wh, session.meter_stop_wh, session.flagged) == (500, 5_500, True)


def test_a_late_stop_gives_back_what_the_next_car_drew() -> None:
    polluted = read(opened(), (6_000, 10), (6_500, 30))
    session = close_session(polluted, NOON + timedelta(minutes=20), 6_200, "Local")
    assert (session.energy_wh, session.meter_stop_wh, session.flagged) == (1_200, 6_200, False)


def test_a_stop_counts_in_full_although_the_stations_clock_went_back() -> None:
    session = close_session(read(opened(), (6_000, 10)), NOON + timedelta(minutes=5), 6_200, "Local")
    assert session.energy_wh == 1_200


def test_a_stop_from_before_a_restart_of_the_register_counts_nothing_twice() -> None:
    """The next car's readings, 0 and 20, came first: 3000 Wh after 20 Wh is no increase."""
    polluted = read(opened(), (8_000, 10), (0, 30), (20, 31))
    session = close_session(polluted, NOON + timedelta(minutes=20), 8_000, "Local")
    assert session.energy_wh == 3_020


def test_a_stop_decides_that_a_doubted_reading_was_not_its_own() -> None:
    session = close_session(read(opened(), (8_000, 10), (0, 30)), NOON + timedelta(minutes=20), 8_100, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (3_100, 8_100)


@pytest.mark.parametrize("readings", [((6_000, 10),), ((6_000, 10), (6_400, 30))])
def test_an_overtaken_session_ends_when_the_next_began_at_the_latest(readings: tuple[tuple[int, int], ...]) -> None:
    session = overtake_session(read(opened(), *readings), opened(8, minutes=20, meter_start_wh=6_000))
    assert (session.energy_wh, session.meter_stop_wh, session.stop_reason) == (1_000, 6_000, "Superseded")
    assert session.state is SessionState.INTERRUPTED
    assert session.stopped_at is not None
    assert session.stopped_at <= NOON + timedelta(minutes=20)


def test_an_interrupted_session_ends_at_the_stamp_of_its_last_reading() -> None:
    session = interrupt_session(read(opened(), (6_000, 10)), NOON + timedelta(days=3), "NoStop")
    assert session.stopped_at == NOON + timedelta(minutes=10)


def test_a_reading_without_a_stamp_counts_as_it_arrives() -> None:
    session = meter_session(read(opened(), (6_000, 10)), 6_100)
    assert (session.energy_wh, session.register_at) == (1_100, NOON + timedelta(minutes=10))


# Registers that come back


def closed(session: Session, minutes: int, meter_stop_wh: int, most_ma: int = 16_000) -> Session:
    return close_session(session, NOON + timedelta(minutes=minutes), meter_stop_wh, "Local", most_ma)


@pytest.mark.parametrize("lifetime_wh", [20_000, 180_000, 90_000_000])
@pytest.mark.parametrize(
    "told_wh",
    [
        (40, None, None, None, 160, 180),  # a register that shows zeros for a while
        (40, None, None, 160, None, None, 180),  # twice
        (None, None, 40, 160),
        (40, None, None),  # the stop alone shows it again
        (40, None, 35, 180),  # a little less than before
        (40, None, None, 35, 180),
        (40, None, None, 35),
    ],
)
def test_a_register_that_comes_back_invents_and_loses_nothing(
    told_wh: tuple[int | None, ...], lifetime_wh: int
) -> None:
    readings = [(0 if wh is None else lifetime_wh + wh, number + 1) for number, wh in enumerate(told_wh)]
    session = read(opened(meter_start_wh=lifetime_wh), *readings)
    assert session.energy_wh == max(wh for wh in told_wh if wh is not None)
    session = closed(session, 8, lifetime_wh + 200)
    assert (session.energy_wh, session.meter_stop_wh, session.flagged) == (200, lifetime_wh + 200, True)


@pytest.mark.parametrize("lifetime_wh", [20_000, 90_000_000])
@pytest.mark.parametrize(
    "told_wh",
    [
        (0, 50, 100, 150),
        (10, 60, 110),
        (0, 50, 201),  # rounded otherwise
        (0, 900),  # what start and stop tell of one register settles it
        (0, 150, 0, 0),
    ],
)
def test_readings_from_0_between_a_start_and_a_stop_of_a_lifetime_invent_nothing(
    told_wh: tuple[int, ...], lifetime_wh: int
) -> None:
    readings = [(wh, number + 1) for number, wh in enumerate(told_wh)]
    session = closed(read(opened(meter_start_wh=lifetime_wh), *readings), 6, lifetime_wh + 200)
    assert (session.energy_wh, session.meter_stop_wh, session.flagged) == (200, lifetime_wh + 200, True)


@pytest.mark.parametrize(
    ("readings", "stop", "charged_wh"),
    [
        (((20_100, 1), (0, 2), (50, 3)), (4, 80), 180),
        (((20_100, 1), (0, 2), (50, 3)), (180, 21_000), 100 + 21_000),  # three hours for it: it may have grown so far
        (((20_100, 1), (0, 2), (50, 3)), (4, 8_000), 100 + 8_000),  # nothing that it ever showed
        (((20_100, 1), (0, 2), (50, 3), (21_000, 123)), (124, 21_100), 100 + 21_100),
        (((20_100, 1), (0, 2), (50, 3)), (4, 25_000), 100 + 25_000),  # it cannot have come back so far either
        (((24_000, 0), (0, 0), (0, 0)), (0, 26_000), 4_000 + 26_000),  # stamps that tell no time
    ],
)
def test_a_register_that_restarted_and_grew_counts_in_full(
    readings: tuple[tuple[int, int], ...], stop: tuple[int, int], charged_wh: int
) -> None:
    session = closed(read(opened(meter_start_wh=20_000), *readings), *stop)
    assert (session.energy_wh, session.flagged) == (charged_wh, True)


@pytest.mark.parametrize(
    ("start_wh", "readings", "stop", "charged_wh"),
    [
        (0, ((100, 1), (0, 2), (50, 3)), (4, 80), 180),
        (0, ((100, 1), (0, 2), (50, 3), (20, 4), (60, 5)), (6, 80), 180),  # it slips once more
        (900, ((1_000, 10), (0, 11)), (1, 150), 250),  # its clock fell back
    ],
)
def test_a_young_register_that_restarted_counts_in_full(
    start_wh: int, readings: tuple[tuple[int, int], ...], stop: tuple[int, int], charged_wh: int
) -> None:
    session = closed(read(opened(meter_start_wh=start_wh), *readings), *stop)
    assert (session.energy_wh, session.flagged) == (charged_wh, True)


def test_more_than_a_station_delivers_in_the_whole_session_gives_way_to_what_start_and_stop_tell() -> None:
    spike = read(opened(meter_start_wh=20_000), (20_040, 1), (35_000, 2), (20_080, 3), (20_120, 4))
    assert closed(spike, 5, 20_200).energy_wh == 200
    assert closed(spike, 5, 19_000).energy_wh > 15_000  # those are not of one register
    assert closed(spike, 5, 20_200, most_ma=500_000).energy_wh > 15_000  # such a station delivers it


@pytest.mark.parametrize("most_ma", [6_000, 63_000])
def test_a_register_that_never_fell_counts_in_full_however_short_the_time(most_ma: int) -> None:
    """Stamps of a station without a clock: what happened in hours came in a second."""
    session = opened(meter_start_wh=20_000)
    for register_wh in (28_000, 39_000):
        session = meter_session(session, register_wh, NOON, most_ma)
    session = closed(session, 0, 45_000, most_ma)
    assert (session.energy_wh, session.flagged) == (25_000, False)


def test_what_a_station_can_deliver_in_the_time_decides() -> None:
    """Ten minutes at 16 A on three phases, and one for coarse stamps, are 2024 Wh; coarse registers, 1000 Wh."""
    restarted = read(opened(meter_start_wh=2_900), (2_940, 1), (0, 2), (0, 3))
    for register_wh, energy_wh in ((3_024, 40 + 3_024), (3_025, 3_025 - 2_900)):
        at = NOON + timedelta(minutes=13)
        assert meter_session(restarted, register_wh, at, 16_000).energy_wh == energy_wh
        assert closed(restarted, 13, register_wh).energy_wh == energy_wh


@given(
    st.lists(st.tuples(st.integers(0, 180), st.booleans()), max_size=30),
    st.integers(10_000, 10**8),
    st.integers(0, 180),
)
def test_whatever_readings_show_zero_the_stop_tells_it_exactly(
    steps: list[tuple[int, bool]], lifetime_wh: int, last_wh: int
) -> None:
    session, register_wh = opened(meter_start_wh=lifetime_wh), lifetime_wh
    for number, (step_wh, shown) in enumerate(steps):
        register_wh += step_wh
        session = meter_session(session, register_wh if shown else 0, NOON + timedelta(minutes=number + 1), 16_000)
        assert session.energy_wh <= register_wh - lifetime_wh
    session = closed(session, len(steps) + 1, register_wh + last_wh)
    assert session.energy_wh == register_wh + last_wh - lifetime_wh
