"""Questions that the state answers by itself."""

from __future__ import annotations

import attrs

from llm_core import (
    Badge,
    BadgeRules,
    BadgeScan,
    ByteOrder,
    ConnectorState,
    ExternalLimit,
    Ledger,
    PerPhase,
    Session,
    SessionState,
    Site,
    State,
)
from llm_core.external import Ended, LimitRecord
from llm_core.state import Allowance, LimitState
from unit.strategies import NOON

BADGE = Badge("04:A1:B2:C3")
STATE = State(badges={"04a1b2c3": BADGE})


def test_a_badge_is_found_by_the_rules_of_the_site() -> None:
    backwards = attrs.evolve(STATE, site=Site(badge_rules=BadgeRules(byte_order=ByteOrder.EITHER)))
    assert STATE.badge("04A1B2C3") == BADGE
    assert STATE.badge("c3b2a104") is None
    assert backwards.badge("c3b2a104") == BADGE


def test_no_tag_is_nobodys_badge() -> None:
    assert STATE.badge(None) is None


def test_a_search_is_over_at_its_end() -> None:
    scan = BadgeScan("ann", None, until_ms=1_000)
    assert (scan.is_open(999), scan.is_open(1_000)) == (True, False)


def test_a_limit_from_outside_is_gone_once_nothing_can_bring_it_back() -> None:
    record = LimitRecord(ExternalLimit(limit_ma=PerPhase.same(16_000)), "ann", NOON)
    gone = {
        ended: LimitState(attrs.evolve(record, ended=ended), heard_ms=0).is_gone
        for ended in (None, Ended.OVER, Ended.WITHDRAWN, Ended.LIFTED, Ended.REPLACED)
    }
    assert [ended for ended, is_gone in gone.items() if is_gone] == [Ended.OVER, Ended.WITHDRAWN]


def test_of_an_open_session_the_latest_readings_are_told_and_an_ended_one_stays_as_it_was_stored() -> None:
    stored = Session(7, "ST1", 1, None, NOON, 1_000, 1_000)
    known = attrs.evolve(stored, register_wh=2_500, energy_wh=1_500)
    state = State(
        connectors={("ST1", 1): ConnectorState(Ledger(None), session=known), ("ST1", 2): ConnectorState(Ledger(None))}
    )
    assert state.latest(stored) == known
    for other in (
        attrs.evolve(stored, transaction_id=8),
        attrs.evolve(stored, connector=2),
        attrs.evolve(stored, connector=3),
        attrs.evolve(stored, state=SessionState.CLOSED, stopped_at=NOON),
    ):
        assert state.latest(other) == other


def test_an_allowance_rises_while_more_is_free() -> None:
    watched = Allowance(6_000, rising_since_ms=0, rising_to_ma=9_000)
    assert watched.is_rising
    assert not attrs.evolve(watched, rising_since_ms=None).is_rising
    assert not attrs.evolve(watched, rising_to_ma=6_000).is_rising
