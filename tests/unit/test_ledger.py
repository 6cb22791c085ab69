"""The books of one connector, case by case (`test_ledger_model.py` lets a station judge them)."""

from __future__ import annotations

import pytest

from llm_core import ClearLimit, Ledger, Purpose, SetLimit
from llm_core.ledger import (
    FOLLOW_MS,
    LEASE_MARGIN_MS,
    MOST_OPEN,
    Inherited,
    booted,
    confirmed,
    refused,
    sent,
    unanswered,
    unanswered_all,
)
from unit.strategies import floor, limit

MAX_MA = 32_000
CAR_FOLLOWS_MS = 5_000  # IEC 61851-1: what a car has to follow a change

FLOOR, DEFAULT, TRANSACTION = Purpose.FLOOR, Purpose.DEFAULT, Purpose.TRANSACTION


def given_and_confirmed(ledger: Ledger, *commands: SetLimit | ClearLimit, at_ms: int = 0) -> Ledger:
    for command in commands:
        ledger = confirmed(sent(ledger, command, at_ms), command.seq, at_ms, decays=True)
    return ledger


# Commands and their answers


def test_a_raise_counts_from_the_moment_it_is_sent() -> None:
    at_six = given_and_confirmed(Ledger(None), limit(1, 6_000))
    assert sent(at_six, limit(2, 16_000), 10_000).held_ma(10_000, decays=True) == 16_000


def test_a_refused_raise_counts_no_longer() -> None:
    at_six = given_and_confirmed(Ledger(None), limit(1, 6_000))
    after = refused(sent(at_six, limit(2, 16_000), 10_000), 2, 10_500)
    assert after.held_ma(10_500, decays=True) == 6_000


def test_a_0_a_that_the_station_refused_is_remembered_until_it_takes_one_or_refuses_more_than_that() -> None:
    def zero_refused(ledger: Ledger, *commands: SetLimit, untold: bool = False) -> int:
        for command in commands:
            ledger = refused(sent(ledger, command, 0), command.seq, 9_000, untold=untold)
        return ledger.zero_refusals

    at_six = given_and_confirmed(Ledger(None), limit(1, 6_000))
    twice = (limit(2, 0), limit(3, 0))
    assert zero_refused(at_six, *twice) == 2
    assert zero_refused(at_six, *twice, untold=True) == 0
    assert zero_refused(at_six, *twice, limit(4, 8_000)) == 0
    after = refused(sent(at_six, limit(2, 0), 0), 2, 9_000)
    assert after.zero_refused_ms == 9_000
    assert given_and_confirmed(after, limit(3, 6_000)).zero_refusals == 1
    assert given_and_confirmed(after, limit(3, 0)).zero_refusals == 0
    cleared = refused(sent(after, ClearLimit(3, "A", 1), 0), 3, 10_000)
    assert cleared.zero_refusals == 1


def test_a_floor_that_the_station_refused_is_remembered_until_it_takes_one() -> None:
    at_first = refused(sent(Ledger(None), floor(1, 6_000), 0), 1, 500)
    assert (at_first.floor_refused_ms, at_first.floor_refused_ma) == (500, 6_000)
    assert refused(sent(Ledger(None), floor(1, 0), 0), 1, 500, untold=True).floor_refused_ms is None
    assert given_and_confirmed(at_first, floor(2, 6_000)).floor_refused_ms is None


def test_a_raise_that_nobody_answered_goes_on_counting() -> None:
    at_six = given_and_confirmed(Ledger(None), limit(1, 6_000))
    after = unanswered(sent(at_six, limit(2, 16_000), 10_000), 2, 20_000)
    assert after.held_ma(20_000, decays=True) == 16_000


def test_an_acknowledged_lowering_ends_the_doubt_about_every_earlier_command() -> None:
    doubtful = unanswered(sent(given_and_confirmed(Ledger(None), limit(1, 6_000)), limit(2, 16_000), 0), 2, 10_000)
    after = given_and_confirmed(doubtful, limit(3, 6_000), at_ms=20_000)
    assert after.held_ma(20_000 + FOLLOW_MS, decays=True) == 6_000


def test_a_lowering_frees_nothing_before_it_is_acknowledged() -> None:
    at_sixteen = given_and_confirmed(Ledger(None), limit(1, 16_000))
    lowered = sent(at_sixteen, limit(2, 6_000), 10_000)
    assert lowered.held_ma(60_000, decays=True) == 16_000
    assert unanswered(lowered, 2, 60_000).held_ma(60_000, decays=True) == 16_000


def test_a_lowering_frees_nothing_before_the_car_has_followed() -> None:
    at_sixteen = given_and_confirmed(Ledger(None), limit(1, 16_000))
    lowered = confirmed(sent(at_sixteen, limit(2, 6_000), 10_000), 2, 11_000, decays=True)
    assert lowered.held_ma(11_000 + FOLLOW_MS - 1, decays=True) == 16_000
    assert lowered.held_ma(11_000 + FOLLOW_MS, decays=True) == 6_000
    assert FOLLOW_MS > CAR_FOLLOWS_MS


def test_what_a_car_follows_down_is_no_limit_that_lies_there() -> None:
    after = given_and_confirmed(Ledger(None), limit(1, 16_000), limit(2, 6_000), at_ms=0)
    assert (after.held_ma(1, decays=True), after.limits_ma(1, decays=True)) == (16_000, 6_000)
    assert given_and_confirmed(after, floor(3, 8_000)).limits_ma(1, decays=True) == 8_000


def test_two_lowerings_in_a_row_are_each_followed_in_their_own_time() -> None:
    """32 A → 16 A acknowledged at 0 s, 16 A → 6 A at 4 s: 32 A are free at 6 s, 16 A at 10 s."""
    ledger = given_and_confirmed(Ledger(None), limit(1, 32_000))
    ledger = given_and_confirmed(ledger, limit(2, 16_000), at_ms=0)
    ledger = given_and_confirmed(ledger, limit(3, 6_000), at_ms=4_000)
    held_ma = {at_ms: ledger.held_ma(at_ms, decays=True) for at_ms in (5_999, 6_000, 9_999, 10_000)}
    assert held_ma == {5_999: 32_000, 6_000: 16_000, 9_999: 16_000, 10_000: 6_000}


def test_a_lowering_after_a_raise_trails_with_what_was_raised() -> None:
    ledger = given_and_confirmed(Ledger(None), limit(1, 16_000))
    ledger = given_and_confirmed(ledger, limit(2, 6_000), limit(3, 10_000), limit(4, 6_000), at_ms=1_000)
    assert ledger.held_ma(1_000, decays=True) == 16_000
    assert ledger.held_ma(1_000 + FOLLOW_MS, decays=True) == 6_000


def test_a_lease_counts_until_its_margin_has_passed_since_it_was_sent() -> None:
    ledger = confirmed(sent(Ledger(None), limit(1, 16_000, 6_000, lease_ms=120_000), 1_000), 1, 9_000, decays=True)
    assert ledger.held_ma(1_000 + 120_000 + 29_999, decays=True) == 16_000
    assert ledger.held_ma(1_000 + 120_000 + 30_000, decays=True) == 6_000


def test_a_lease_of_a_station_whose_clock_is_unknown_counts_for_ever() -> None:
    ledger = given_and_confirmed(Ledger(None), limit(1, 16_000, 6_000))
    assert ledger.held_ma(10**9, decays=False) == 16_000


def test_a_lease_may_be_over_ten_seconds_early_on_a_clock_that_agrees() -> None:
    (held,) = given_and_confirmed(Ledger(None), limit(1, 16_000, 6_000, lease_ms=120_000), at_ms=1_000).live()
    assert held.least_ma(1_000 + 110_000 - 1) == 16_000
    assert held.least_ma(1_000 + 110_000) == 6_000


def test_a_permanent_limit_surely_lasts_and_an_empty_place_gives_nothing_surely() -> None:
    ledger = given_and_confirmed(Ledger(None), floor(1, 6_000), ClearLimit(2, "A", 1))
    assert [held.least_ma(10**9) for held in (*ledger.floor.candidates(), *ledger.default.candidates())] == [6_000, 0]


def test_what_ends_with_the_transaction_is_this_cars_and_the_rest_any_cars() -> None:
    ledger = given_and_confirmed(
        Ledger(None), floor(1, 6_000), limit(2, 8_000, purpose=DEFAULT), limit(3, 16_000), at_ms=0
    )
    assert (ledger.by_this_car_ma(0, decays=True), ledger.by_any_car_ma(0, decays=True)) == (16_000, 8_000)
    lowered = given_and_confirmed(ledger, limit(4, 10_000), at_ms=1_000)
    assert (lowered.by_this_car_ma(1_000, decays=True), lowered.by_any_car_ma(1_000, decays=True)) == (16_000, 8_000)
    inherited = Ledger(Inherited(MAX_MA, MAX_MA, None))
    assert (inherited.by_this_car_ma(0, decays=True), inherited.by_any_car_ma(0, decays=True)) == (0, MAX_MA)


def test_a_station_without_a_known_clock_trails_with_its_limit_and_not_with_what_it_would_fall_to() -> None:
    ledger = given_and_confirmed(Ledger(None), limit(1, 16_000, 6_000))
    at_ms = 10**9
    lowered = confirmed(sent(ledger, limit(2, 6_000), at_ms), 2, at_ms, decays=False)
    assert lowered.held_ma(at_ms, decays=False) == 16_000


def test_a_permanent_limit_never_runs_out() -> None:
    ledger = given_and_confirmed(Ledger(None), floor(1, 6_000))
    assert ledger.held_ma(10**9, decays=True) == 6_000


def test_left_alone_a_connector_gives_the_largest_of_what_its_leases_fall_to_and_its_floor() -> None:
    ledger = given_and_confirmed(Ledger(None), floor(1, 6_000), limit(2, 16_000, 8_000))
    assert ledger.left_alone_ma() == 8_000
    assert given_and_confirmed(ledger, ClearLimit(3, "A", 1)).left_alone_ma() == 6_000
    assert Ledger(None).left_alone_ma() == 0


def test_left_alone_a_permanent_limit_stays() -> None:
    assert given_and_confirmed(Ledger(None), limit(1, 16_000, 0, lease_ms=None)).left_alone_ma() == 16_000


def test_a_late_confirmation_leaves_later_commands_in_doubt() -> None:
    ledger = sent(unanswered(sent(Ledger(None), limit(1, 6_000), 0), 1, 5_000), limit(2, 16_000), 5_000)
    after = confirmed(ledger, 1, 6_000, decays=True)
    assert after.held_ma(60_000, decays=True) == 16_000
    assert after.in_flight == 2


def test_the_end_of_a_transaction_frees_nothing_before_its_limit_is_acknowledged_as_cleared() -> None:
    charging = given_and_confirmed(Ledger(None), floor(1, 0), limit(2, 16_000))
    clearing = sent(charging, ClearLimit(3, "A", 1, TRANSACTION), 10_000)
    assert clearing.held_ma(10_000, decays=True) == 16_000
    assert confirmed(clearing, 3, 10_000, decays=True).held_ma(10_000 + FOLLOW_MS, decays=True) == 0


def test_clearing_without_a_purpose_empties_both_live_places_and_leaves_the_floor() -> None:
    ledger = given_and_confirmed(
        Ledger(None), floor(1, 6_000), limit(2, 10_000, purpose=DEFAULT), limit(3, 16_000), ClearLimit(4, "A", 1)
    )
    assert ledger.live() == ()
    assert ledger.has_floor
    assert ledger.held_ma(FOLLOW_MS, decays=True) == 6_000


def test_clearing_one_place_leaves_the_other() -> None:
    ledger = given_and_confirmed(
        Ledger(None), limit(1, 10_000, purpose=DEFAULT), limit(2, 16_000), ClearLimit(3, "A", 1, TRANSACTION)
    )
    assert [held.limit_ma for held in ledger.live()] == [10_000]


# What lay there before


OURS = {
    FLOOR: floor(1, 6_000),
    DEFAULT: limit(2, 6_000, purpose=DEFAULT),
    TRANSACTION: limit(3, 6_000, purpose=TRANSACTION),
}


def test_what_was_inherited_is_gone_once_every_place_was_written_by_us() -> None:
    ledger = given_and_confirmed(Ledger(Inherited(MAX_MA, MAX_MA, None)), *OURS.values())
    assert ledger.held_ma(FOLLOW_MS, decays=True) == 6_000
    assert ledger.left_alone_ma() == 6_000


@pytest.mark.parametrize("left_out", Purpose)
def test_what_was_inherited_counts_while_one_place_is_not_known_to_be_ours(left_out: Purpose) -> None:
    written = [command for purpose, command in OURS.items() if purpose is not left_out]
    ledger = given_and_confirmed(Ledger(Inherited(MAX_MA, MAX_MA, None)), *written)
    assert ledger.held_ma(10**9, decays=True) == MAX_MA
    assert ledger.left_alone_ma() == MAX_MA


def test_what_was_inherited_with_a_lease_falls_when_that_is_over() -> None:
    ledger = Ledger(Inherited(16_000, 6_000, until_ms=330_000))
    assert ledger.held_ma(329_999, decays=True) == 16_000
    assert ledger.held_ma(330_000, decays=True) == 6_000
    assert ledger.held_ma(330_000, decays=False) == 16_000
    assert ledger.left_alone_ma() == 6_000


def test_a_boot_puts_the_maximum_into_the_books() -> None:
    ledger = booted(given_and_confirmed(Ledger(None), *OURS.values()), MAX_MA, keeps_profiles=False)
    assert ledger.held_ma(10**9, decays=True) == MAX_MA
    assert ledger.left_alone_ma() == MAX_MA
    assert not ledger.has_floor


def test_a_boot_of_a_station_that_keeps_its_profiles_changes_no_limit() -> None:
    before = sent(given_and_confirmed(Ledger(None), *OURS.values()), limit(9, 10_000), 0)
    after = booted(before, MAX_MA, keeps_profiles=True)
    assert after.held_ma(FOLLOW_MS, decays=True) == 10_000
    assert after.in_flight is None


# One command in flight, and how badly it goes


def test_a_command_is_in_flight_until_it_is_answered() -> None:
    waiting = sent(Ledger(None), limit(7, 6_000), 1_000)
    assert (waiting.in_flight, waiting.in_flight_ms) == (7, 1_000)
    assert confirmed(waiting, 7, 2_000, decays=True).in_flight is None
    assert refused(waiting, 7, 2_000).in_flight is None
    assert unanswered(waiting, 7, 2_000).in_flight is None
    assert unanswered_all(waiting).in_flight is None


def test_failures_are_counted_with_the_time_of_the_last_until_one_is_confirmed() -> None:
    ledger = refused(sent(Ledger(None), limit(1, 6_000), 0), 1, 1_000)
    assert (ledger.refusals, ledger.refused_ms) == (1, 1_000)
    ledger = unanswered(sent(ledger, limit(2, 6_000), 2_000), 2, 3_000)
    assert (ledger.refusals, ledger.refused_ms) == (2, 3_000)
    ledger = given_and_confirmed(ledger, limit(3, 6_000), at_ms=4_000)
    assert (ledger.refusals, ledger.refused_ms) == (0, None)


def test_an_answer_that_nobody_waits_for_fails_nothing() -> None:
    waiting = sent(Ledger(None), limit(2, 6_000), 0)
    assert unanswered(waiting, 1, 1_000) == waiting
    assert refused(waiting, 1, 1_000) == waiting
    assert confirmed(waiting, 1, 1_000, decays=True) == waiting


def test_a_lost_link_takes_nothing_out_of_the_books() -> None:
    waiting = sent(Ledger(None), limit(1, 16_000), 0)
    assert unanswered_all(waiting).held_ma(0, decays=True) == 16_000


def never_answered(*commands: SetLimit | ClearLimit) -> Ledger:
    ledger = Ledger(None)
    for command in commands:
        ledger = unanswered(sent(ledger, command, command.seq * 1_000), command.seq, command.seq * 1_000)
    return ledger


def test_many_unanswered_commands_count_as_the_worst_of_them() -> None:
    ledger = never_answered(
        limit(1, 16_000, 8_000, lease_ms=60_000),
        limit(2, 10_000, 0, lease_ms=300_000),
        ClearLimit(3, "A", 1),
        limit(4, 12_000, 6_000, lease_ms=30_000),
        limit(5, 6_000, 0, lease_ms=30_000),
    )
    assert len(ledger.transaction.open) < 5
    last_over_ms = 4_000 + 300_000 + LEASE_MARGIN_MS
    assert ledger.held_ma(last_over_ms - 1, decays=True) == 16_000
    assert ledger.held_ma(last_over_ms, decays=True) == 8_000
    assert ledger.left_alone_ma() == 8_000


def test_many_unanswered_assure_nothing() -> None:
    """Any of them may be the last that came, the least of them too."""
    ledger = never_answered(limit(1, 6_000), *[limit(seq, 16_000) for seq in range(2, MOST_OPEN + 2)])
    assert [held.least_ma(0) for held in ledger.transaction.open] == [0, 16_000]


def test_a_permanent_one_among_many_unanswered_stays() -> None:
    leased = [limit(seq, 6_000) for seq in range(2, MOST_OPEN + 2)]
    ledger = never_answered(limit(1, 16_000, 16_000, lease_ms=None), *leased)
    assert ledger.held_ma(10**9, decays=True) == 16_000


def test_a_refusal_of_the_last_says_nothing_of_many_unanswered_before() -> None:
    ledger = never_answered(*[limit(seq, 16_000) for seq in range(1, MOST_OPEN + 3)])
    for seq in range(1, MOST_OPEN + 3):
        ledger = refused(ledger, seq, 60_000)
    assert ledger.held_ma(60_000, decays=True) == 16_000


def test_many_unanswered_clearings_give_nothing() -> None:
    ledger = never_answered(*[ClearLimit(seq, "A", 1) for seq in range(1, MOST_OPEN + 3)])
    assert ledger.held_ma(10**9, decays=False) == 0
