"""Sessions, against a register that restarts, runs backwards, jumps, or speaks out of turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    Now,
    PerPhase,
    Session,
    SessionState,
    clock_session,
    close_session,
    integrate_session,
    interrupt_session,
    meter_session,
    open_session,
)
from llm_core.sessions import IMPLAUSIBLE_STEP_WH, LONGEST_GAP_MS, believed, drawn_uj
from unit.strategies import NOON

START_WH = 5_000


def opened(meter_start_wh: int = START_WH) -> Session:
    return open_session(7, "A", 1, "04a1b2c3", NOON, meter_start_wh)


def metered(*registers_wh: int) -> Session:
    return reduce(meter_session, registers_wh, opened())


def test_a_session_opens_with_nothing_charged_and_no_end() -> None:
    session = opened()
    assert (session.transaction_id, session.station_id, session.connector) == (7, "A", 1)
    assert (session.id_tag, session.started_at) == ("04a1b2c3", NOON)
    assert (session.meter_start_wh, session.register_wh, session.energy_wh) == (START_WH, START_WH, 0)
    assert session.is_open
    assert (session.stopped_at, session.meter_stop_wh, session.stop_reason) == (None, None, None)


@given(st.lists(st.integers(0, IMPLAUSIBLE_STEP_WH)))
def test_energy_is_the_sum_of_the_registers_increases(steps_wh: list[int]) -> None:
    registers_wh = [START_WH + sum(steps_wh[: i + 1]) for i in range(len(steps_wh))]
    session = metered(*registers_wh)
    assert session.energy_wh == sum(steps_wh)
    assert session.register_wh == START_WH + sum(steps_wh)
    assert not session.flagged


@given(st.lists(st.integers(0, 10**9)))
def test_whatever_a_register_says_energy_never_falls(registers_wh: list[int]) -> None:
    session = opened()
    for register_wh in registers_wh:
        later = meter_session(session, register_wh)
        assert session.energy_wh <= later.energy_wh <= session.energy_wh + IMPLAUSIBLE_STEP_WH
        session = later


def test_a_register_that_restarts_loses_nothing_that_was_counted_and_flags_the_session() -> None:
    session = metered(6_000, 0, 500)
    assert session.energy_wh == 1_500
    assert session.flagged


def test_a_jump_that_no_car_can_take_is_not_counted_and_flags_the_session() -> None:
    session = metered(START_WH + IMPLAUSIBLE_STEP_WH + 1)
    assert session.energy_wh == 0
    assert session.flagged
    assert meter_session(session, START_WH + IMPLAUSIBLE_STEP_WH + 101).energy_wh == 100


@pytest.mark.parametrize(
    ("registers_wh", "charged_wh"),
    [
        ((5_100, 0, 5_200), 200),  # one reading of 0 between two good ones
        ((5_500, 5_300, 5_600), 600),  # an older reading arrives late
    ],
)
def test_a_register_that_dips_and_comes_back_invents_no_energy(registers_wh: tuple[int, ...], charged_wh: int) -> None:
    assert metered(*registers_wh).energy_wh == charged_wh


@given(st.lists(st.tuples(st.integers(0, 3_600_000), st.booleans())))
def test_every_millisecond_is_charging_or_idle(spans: list[tuple[int, bool]]) -> None:
    session = opened()
    for elapsed_ms, charging in spans:
        session = clock_session(session, elapsed_ms, charging=charging)
    assert session.charging_ms == sum(ms for ms, charging in spans if charging)
    assert session.idle_ms == sum(ms for ms, charging in spans if not charging)


def test_a_session_closes_with_the_stations_own_stop_reading() -> None:
    session = close_session(metered(6_000), NOON + timedelta(hours=1), 6_400, "EVDisconnected")
    assert (session.energy_wh, session.meter_stop_wh) == (1_400, 6_400)
    assert (session.stopped_at, session.stop_reason) == (NOON + timedelta(hours=1), "EVDisconnected")
    assert session.state is SessionState.CLOSED
    assert not session.is_open


def test_a_session_without_a_stop_reading_closes_at_the_last_one() -> None:
    session = close_session(metered(6_000), NOON + timedelta(hours=1), None, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (1_000, 6_000)


def test_an_interrupted_session_ends_at_its_last_reading() -> None:
    session = interrupt_session(metered(6_000), NOON + timedelta(hours=1), "PowerLoss")
    assert (session.energy_wh, session.meter_stop_wh) == (1_000, 6_000)
    assert (session.stopped_at, session.stop_reason) == (NOON + timedelta(hours=1), "PowerLoss")
    assert session.state is SessionState.INTERRUPTED
    assert not session.is_open


def test_a_late_stop_completes_an_interrupted_session() -> None:
    interrupted = interrupt_session(metered(6_000), NOON + timedelta(hours=1), "PowerLoss")
    session = close_session(interrupted, NOON + timedelta(hours=2), 7_000, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (2_000, 7_000)
    assert (session.stopped_at, session.stop_reason) == (NOON + timedelta(hours=2), "Local")
    assert session.state is SessionState.CLOSED


@pytest.mark.parametrize("days", [1, 20_000])
def test_no_session_ends_before_it_began(days: int) -> None:
    before = NOON - timedelta(days=days)
    assert close_session(opened(), before, None, "Local").stopped_at == NOON
    assert interrupt_session(opened(), before, "PowerLoss").stopped_at == NOON


def test_metering_changes_nothing_but_what_was_metered() -> None:
    before = clock_session(opened(), 60_000, charging=True)
    after = meter_session(before, 5_100)
    assert attrs.evolve(after, register_wh=before.register_wh, energy_wh=before.energy_wh) == before


# Stamps


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2019, 12, 31, tzinfo=UTC),
        NOON + timedelta(minutes=5, seconds=1),
    ],
)
def test_a_stamp_that_cannot_be_gives_way_to_the_time_of_receipt(stamp: datetime | None) -> None:
    assert believed(stamp, Now(0, NOON)) == NOON


@pytest.mark.parametrize("stamp", [NOON - timedelta(days=400), NOON + timedelta(minutes=5)])
def test_an_older_stamp_is_kept(stamp: datetime) -> None:
    assert believed(stamp, Now(0, NOON)) == stamp


def minutes(count: int) -> datetime:
    return NOON + timedelta(minutes=count)


@given(st.permutations([(1, 5_100), (2, 5_300), (3, 5_600), (4, 6_000)]))
def test_readings_count_in_the_order_of_their_stamps_whatever_order_they_come_in(
    readings: list[tuple[int, int]],
) -> None:
    session = opened()
    for minute, register_wh in readings:
        session = meter_session(session, register_wh, minutes(minute))
    assert session.energy_wh == 1_000
    assert not session.flagged


def test_a_reading_from_before_the_session_tells_nothing() -> None:
    assert meter_session(opened(), 4_000, minutes(-1)) == opened()


def test_a_reading_without_a_stamp_counts_as_the_newest() -> None:
    session = meter_session(meter_session(opened(), 5_500, minutes(2)), 5_600)
    assert (session.energy_wh, session.register_at) == (600, minutes(2))


def test_what_was_counted_after_the_stop_was_the_next_sessions() -> None:
    running_on = meter_session(opened(), 6_000, minutes(30))
    session = close_session(running_on, minutes(20), 5_700, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (700, 5_700)
    assert not session.flagged


def test_a_stop_reading_below_the_last_one_of_the_session_is_doubted() -> None:
    session = close_session(meter_session(opened(), 6_000, minutes(10)), minutes(20), 300, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (1_000, 300)
    assert session.flagged


@pytest.mark.parametrize(
    ("registers_wh", "stop_wh", "charged_wh"),
    [
        ((5, 6), 6_500, 1_500),  # kilowatt-hours labelled as watt-hours
        ((5, 6), 6_000, 1_000),
        ((5, 6), 5_000, 1 + 4_994),  # its last reading lies above its stop, even rounded: no thousandth of it
        ((5, 5), 5_000, 0),
        ((5, 6, 3), 6_500, 1_500),
        ((0, 6), 6_500, 1_500),
        ((5, 5), 4_999, 4_994),  # below its start: a register that restarted
        ((9_000, 0, 5, 6), 6_500, 4_000 + 6 + 6_494),  # it has counted before in watt-hours
        ((3, 4), 5_600, 1 + 5_596),  # its last reading lies below its start, even rounded
        ((4, 5), 5_000 + IMPLAUSIBLE_STEP_WH, IMPLAUSIBLE_STEP_WH),
        ((0, 500), 700, 700),
        ((0, 4_900), 5_100, 5_100),
        ((6_000, 0, 500), 5_100, 1_000 + 5_100),
    ],
)
def test_readings_in_thousandths_of_what_start_and_stop_tell_invent_no_energy(
    registers_wh: tuple[int, ...], stop_wh: int, charged_wh: int
) -> None:
    session = close_session(metered(*registers_wh), minutes(20), stop_wh, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (charged_wh, stop_wh)
    assert session.flagged


def test_a_negative_stop_reading_is_not_believed() -> None:
    session = close_session(metered(6_000), minutes(20), -1, "Local")
    assert (session.energy_wh, session.meter_stop_wh) == (1_000, 6_000)
    assert session.flagged


def test_an_interrupted_session_ends_when_its_register_was_last_read() -> None:
    session = interrupt_session(meter_session(opened(), 6_000, minutes(10)), minutes(60), "PowerLoss")
    assert session.stopped_at == minutes(10)


# Without a register


def integrated(*energies_wh: int) -> Session:
    return reduce(integrate_session, energies_wh, opened())


def test_energy_that_was_reckoned_is_marked_and_adds_up() -> None:
    session = integrated(30, 0, 12)
    assert (session.energy_wh, session.integrated) == (42, True)
    assert not opened().integrated


def test_a_register_that_moves_counts_in_the_place_of_what_was_reckoned() -> None:
    session = meter_session(integrated(400), START_WH + 390, NOON + timedelta(minutes=5))
    assert (session.energy_wh, session.integrated) == (390, False)
    assert integrate_session(session, 50) == session


@pytest.mark.parametrize(
    ("stop_wh", "energy_wh", "is_integrated"), [(START_WH, 400, True), (0, 400, True), (START_WH + 390, 390, False)]
)
def test_a_stop_reading_that_has_not_moved_is_none(stop_wh: int, energy_wh: int, is_integrated: bool) -> None:
    session = close_session(integrated(400), NOON + timedelta(hours=1), stop_wh, "Local")
    assert (session.energy_wh, session.integrated, session.flagged) == (energy_wh, is_integrated, False)
    assert not session.is_open


def test_the_energy_between_two_readings_is_their_mean_at_230_v_and_a_long_gap_counts_as_a_short_one() -> None:
    before, after = PerPhase(10_000, 0, 0), PerPhase(20_000, 0, 0)
    assert drawn_uj(before, after, 60_000) == 15 * 230 * 60 * 1_000_000
    assert drawn_uj(before, after, 3_600_000) == drawn_uj(before, after, LONGEST_GAP_MS)
