"""Questions that the state answers by itself."""

from __future__ import annotations

import attrs

from llm_core import Badge, BadgeRules, BadgeScan, ByteOrder, Site, State

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
