"""A badge held to a station while badges are searched for: refused, and found instead of noted as an attempt."""

from __future__ import annotations

from llm_core import (
    Authorised,
    BadgePresented,
    BadgeScanStarted,
    BadgeState,
    Reply,
    Site,
    State,
    Station,
    StationState,
    Verdict,
    step,
)
from unit.strategies import now


def test_a_badge_found_by_a_search_is_no_refused_attempt() -> None:
    house = State(site=Site(stations=(Station("A"),)), stations={"A": StationState(online=True, met=True)})
    searching = step(house, BadgeScanStarted("ann"), now()).state
    after = step(searching, BadgePresented("A", "A1B2", request=4), now(5))
    (answer,) = [effect.answer for effect in after.effects if isinstance(effect, Reply)]
    assert answer == Authorised(Verdict.BLOCKED)
    assert after.state.badges["a1b2"].state is BadgeState.PENDING
    assert after.state.refusals == ()
