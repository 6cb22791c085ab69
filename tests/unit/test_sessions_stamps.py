"""Registers in the order of their stamps: what is late counts for nothing, what was read too soon is given back."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
