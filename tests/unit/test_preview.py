"""A preview tells what the real rules would do, and does nothing."""

from __future__ import annotations

from llm_core import GrantReason, Sharing, Station, Strategy, Tick, preview, step
from unit.small_site import A, SmallSite, static
from unit.strategies import now


def two_cars_and_current_for_both() -> SmallSite:
    site = SmallSite(static(24, Station("A", priority=0), Station("B", priority=5)))
    site.plug("A")
    site.run(60)
    site.plug("B")
    site.run(60)
    return site


def test_another_strategy_shows_other_shares_and_changes_nothing() -> None:
    site = two_cars_and_current_for_both()
    before = site.state
    shares = {
        strategy: [
            grant.limit_ma / A for _, grant in sorted(preview(before, Sharing(strategy), now(site.second)).items())
        ]
        for strategy in Strategy
    }
    assert shares == {Strategy.EQUAL: [12, 12], Strategy.FIRST_COME: [16, 8], Strategy.PRIORITY: [8, 16]}
    assert site.state is before


def test_the_present_strategy_shows_what_the_next_tick_decides() -> None:
    site = two_cars_and_current_for_both()
    shown = preview(site.state, site.state.site.sharing, now(site.second))
    after = step(site.state, Tick(), now(site.second)).state
    assert shown == {key: connector.grant for key, connector in after.connectors.items()}


def test_every_share_says_why() -> None:
    site = two_cars_and_current_for_both()
    grants = preview(site.state, Sharing(Strategy.FIRST_COME), now(site.second))
    assert grants["A", 1].reason is GrantReason.OWN_MAXIMUM
    assert grants["B", 1].reason is GrantReason.SHARED_LIMIT


def test_who_wants_nothing_is_not_shown() -> None:
    site = SmallSite(static(24, Station("A")))
    site.run(5)
    assert preview(site.state, Sharing(), now(site.second)) == {}
