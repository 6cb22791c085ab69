"""Starts at a place that is kept for somebody else: refused as a badge that is not allowed here is."""

from __future__ import annotations

import attrs

from llm_core import BadgePresented, ConnectorState, Ledger, Verdict, step
from unit.strategies import now
from unit.test_reservations import house, start, verdict


def test_another_badge_is_blocked_and_kept_to_be_seen() -> None:
    after = step(house(1), start("bb22"), now())
    assert [refusal.verdict for refusal in after.state.refusals] == [Verdict.BLOCKED]
    assert after.state.connectors["A", 1] == ConnectorState(Ledger(None))
    assert verdict(house(1), BadgePresented("A", "bb22")) is Verdict.BLOCKED


def test_a_start_from_a_queue_is_not_judged_by_what_was_reserved_since() -> None:
    assert verdict(house(1), start("bb22", seconds_ago=90)) is Verdict.ACCEPTED


def test_a_super_user_and_who_charges_there_are_let_through() -> None:
    assert verdict(house(1), BadgePresented("A", "50")) is Verdict.BLOCKED, "there is nothing to stop"
    charging = step(house(1), start("aa11"), now()).state
    assert verdict(charging, BadgePresented("A", "aa11")) is Verdict.ACCEPTED
    kept = attrs.evolve(charging, reservations=house(1, tag="cc33").reservations)
    assert verdict(kept, BadgePresented("A", "50")) is Verdict.ACCEPTED
    assert verdict(kept, BadgePresented("A", "aa11")) is Verdict.ACCEPTED
    assert verdict(kept, BadgePresented("A", "bb22")) is Verdict.BLOCKED
