"""Which stamps tell a station's clock, and which only tell that a message waited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.ocpp16.station_time import StationTime

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def after(*heard: tuple[float, float], known: StationTime | None = None) -> StationTime:
    """What is known after messages (arrival, stamp), in seconds from T0."""
    time = known or StationTime()
    for arrived_s, stamped_s in heard:
        at = timedelta(seconds=arrived_s)
        time = time.heard(T0 + timedelta(seconds=stamped_s), T0 + at, int(arrived_s * 1000))
    return time


def ahead_s(time: StationTime, at_s: float = 0) -> float | None:
    ahead_ms = time.ahead_ms(T0 + timedelta(seconds=at_s), int(at_s * 1000))
    return None if ahead_ms is None else ahead_ms / 1000


def test_a_clock_is_unknown_before_it_was_heard() -> None:
    assert StationTime().utc(0) is None
    assert ahead_s(StationTime()) is None


def test_a_stamp_that_agrees_with_ours_is_taken_at_once() -> None:
    time = after((5, -3))
    assert ahead_s(time, 5) == -8
    assert time.utc(65_000) == T0 + timedelta(seconds=57)


def test_on_a_new_link_what_was_known_is_borne_out_or_replaced_and_unsure_until_then() -> None:
    known = after((5, 3))
    assert known.is_sure
    anew = known.on_a_new_link()
    assert (anew.is_sure, ahead_s(anew)) == (False, -2)
    assert after((100, 98.5), known=anew).is_sure
    queued = after((100, 50), known=anew)
    assert (queued.is_sure, ahead_s(queued)) == (False, -2)
    step = after((100, -30), (103, -27), known=anew)
    assert (step.is_sure, ahead_s(step)) == (True, -130)
    assert after((200, 50), known=known).is_sure, "a queue puts nothing in doubt that was heard on this link"


def test_a_clock_that_is_far_off_is_known_once_it_was_heard_twice() -> None:
    assert ahead_s(after((0, 3_600))) is None
    assert ahead_s(after((0, 3_600), (1, 3_601))) is None  # too soon after the first
    assert ahead_s(after((0, 3_600), (1, 3_601), (10, 3_610.4))) == 3_600.4
    assert ahead_s(after((0, -(10**9)), (10, 10 - 10**9))) == -(10**9)


@given(
    st.floats(10.0, 3_600.0),
    st.floats(0.01, 1.0),
    st.integers(2, 50),
)
def test_messages_that_waited_in_the_station_tell_nothing(period_s: float, pace_s: float, count: int) -> None:
    oldest_s = -period_s * count - 60
    queued = [(n * pace_s, oldest_s + n * period_s) for n in range(count)]
    assert ahead_s(after(*queued)) is None
    assert ahead_s(after(*queued, known=after((0, 2)))) == 2
    assert ahead_s(after(*queued, (60, 61))) == 1


def test_whole_seconds_do_not_make_a_clock_jump() -> None:
    time = after((0.0, 0), (10.4, 10), (20.9, 20), (31.0, 31))
    assert ahead_s(time) == 0


def test_a_clock_that_was_set_is_followed() -> None:
    known = after((0, 4))
    assert ahead_s(after((10, 18), known=known)) == 8  # forward, a little: at once
    assert ahead_s(after((10, 10), known=known)) == 4  # back: it may have waited
    assert ahead_s(after((10, 10), (20, 20), known=known)) == 0  # but not twice
    assert ahead_s(after((10, 70), known=known)) == 4
    assert ahead_s(after((10, 70), (20, 80), known=known)) == 60


def test_a_stamp_of_another_century_is_not_believed_alone() -> None:
    known = after((0, 0))
    assert ahead_s(after((10, 10**10), (20, 20), known=known)) == 0


def test_when_our_clock_steps_the_station_is_off_by_that_much() -> None:
    assert after((0, 0)).ahead_ms(T0 + timedelta(days=1), 0) == -86_400_000
