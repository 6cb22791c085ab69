"""The last gate does not believe that a command lowers: it asks what surely lies in the station."""

from __future__ import annotations

import attrs

from llm_core import (
    PHASES,
    ClearLimit,
    Ledger,
    PerPhase,
    Purpose,
    SetLimit,
    State,
    Supply,
)
from llm_core.ledger import Inherited, confirmed, sent, unanswered
from llm_core.state import Reading
from unit.strategies import floor, limit
from unit.test_guard import A_AND_B, LEASE_MS, NOW_MS, changed, holding, lowering, passed, raising, supply

L1 = PHASES[0]


def doubtful(*open_a: int, acknowledged_a: int | None = 6) -> State:
    """B was told these amps since it acknowledged the first, and never answered; A holds 6 A."""
    ledger = confirmed(sent(Ledger(None), floor(1, 0), 0), 1, 0, decays=True)
    if acknowledged_a is not None:
        ledger = confirmed(sent(ledger, limit(2, acknowledged_a * 1_000), 0), 2, 0, decays=True)
    for seq, a in enumerate(open_a, 3):
        ledger = unanswered(sent(ledger, limit(seq, a * 1_000), 0), seq, 0)
    return changed(A_AND_B, "B", ledger=ledger)


def is_a_raise(state: State, command: SetLimit, at_ms: int = NOW_MS) -> bool:
    """The site is too small for anybody: whoever gives more is named."""
    full = attrs.evolve(state, site=attrs.evolve(state.site, supply=supply(5)))
    return any(text.startswith("I1") for text in passed(full, command, at_ms=at_ms).violations)


def raises_above(state: State, command: SetLimit, at_ms: int = NOW_MS) -> int:
    """The highest whole number of amps at which the command gives nobody more, whatever it says."""
    told = (attrs.evolve(command, limit_ma=a * 1_000) for a in (0, *range(6, 33)))
    return max(c.limit_ma // 1_000 for c in told if not is_a_raise(state, c, at_ms))


def test_what_says_that_it_lowers_is_asked_like_a_raise_above_what_surely_lies_there() -> None:
    assert raises_above(doubtful(), lowering("B", 6)) == 6
    assert raises_above(doubtful(16), lowering("B", 6)) == 6  # the raise may have been lost…
    assert raises_above(doubtful(16, acknowledged_a=16), lowering("B", 6)) == 16
    assert raises_above(doubtful(6, 16, acknowledged_a=16), lowering("B", 6)) == 6  # …or the decrease have come
    assert raises_above(doubtful(16, acknowledged_a=None), lowering("B", 6)) == 0  # nothing but the floor is sure
    assert is_a_raise(doubtful(), raising("B", 6))  # says so itself


def test_where_no_limit_lies_its_car_has_what_lies_below() -> None:
    default = limit(3, 10_000, purpose=Purpose.DEFAULT)
    bare = doubtful(acknowledged_a=None)
    ledger = confirmed(sent(bare.connectors["B", 1].ledger, default, 0), 3, 0, decays=True)
    state = changed(bare, "B", ledger=ledger)
    assert raises_above(state, lowering("B", 6)) == 10
    assert raises_above(state, attrs.evolve(lowering("B", 6), purpose=Purpose.DEFAULT)) == 10
    assert raises_above(state, attrs.evolve(lowering("B", 6), purpose=Purpose.FLOOR)) == 0
    cleared = confirmed(sent(ledger, ClearLimit(4, "B", 1), 0), 4, 0, decays=True)
    assert raises_above(changed(bare, "B", ledger=cleared), lowering("B", 6)) == 0


def test_a_limit_of_another_transaction_assures_nothing() -> None:
    held = attrs.evolve(limit(2, 16_000), transaction_id=1)
    ledger = confirmed(sent(doubtful(acknowledged_a=None).connectors["B", 1].ledger, held, 0), 2, 0, decays=True)
    state = changed(A_AND_B, "B", ledger=ledger)
    assert raises_above(state, attrs.evolve(lowering("B", 6), transaction_id=1)) == 16
    assert raises_above(state, attrs.evolve(lowering("B", 6), transaction_id=2)) == 0


def test_a_lease_that_may_be_over_assures_its_last_period() -> None:
    state = changed(A_AND_B, "B", ledger=holding(16, 6).ledger)
    assert raises_above(state, lowering("B", 6), LEASE_MS - 10_001) == 16
    assert raises_above(state, lowering("B", 6), LEASE_MS - 10_000) == 6


def test_a_limit_for_any_car_gives_more_than_one_for_the_car_that_is_there() -> None:
    """B's car draws on L1 alone; what lies there for any car counts on all three."""
    state = changed(A_AND_B, "B", phases=(L1,))
    assert raises_above(state, attrs.evolve(lowering("B", 6), purpose=Purpose.DEFAULT)) == 0
    full = attrs.evolve(state, site=attrs.evolve(state.site, supply=Supply(static_max_ma=PerPhase(63_000, 9_000, 0))))
    default = attrs.evolve(raising("B", 10), purpose=Purpose.DEFAULT)
    assert passed(full, default).violations == ("I1: site L2: 16000 mA", "I1: site L3: 16000 mA")


def test_after_a_restart_a_car_surely_has_what_it_was_just_seen_to_draw() -> None:
    inherited = changed(A_AND_B, "B", ledger=Ledger(Inherited(16_000, 6_000, None)))
    assert raises_above(inherited, lowering("B", 6)) == 0
    drawing = Reading(NOW_MS - 10_000, PerPhase(0, 9_000, 0))
    assert raises_above(changed(inherited, "B", readings=(drawing,)), lowering("B", 6)) == 9
    assert raises_above(changed(inherited, "B", readings=(drawing,)), lowering("B", 6), NOW_MS + 1) == 0
    assert raises_above(changed(doubtful(), "B", readings=(drawing,)), lowering("B", 6)) == 6
