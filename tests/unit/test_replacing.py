"""A whole configuration in place of the present one: all of it or nothing, and what stations and badges make of it."""

from __future__ import annotations

import attrs

from llm_core import (
    AccessRule,
    AuditEntry,
    Badge,
    BadgeRecord,
    Cluster,
    ConfigurationReplaced,
    Effect,
    ExternalLimit,
    InviteBoot,
    LimitPut,
    NotSaved,
    PerPhase,
    Reply,
    Save,
    Saved,
    Session,
    SessionState,
    Site,
    StartRequested,
    State,
    Station,
    StationConnected,
    Supply,
    step,
)
from unit.strategies import NOON, now

ROOMY = Supply(static_max_ma=PerPhase.same(63_000))
SITE = Site(supply=ROOMY, stations=(Station("A"), Station("B")), access=AccessRule.FREE)
ANN, BEA = Badge("A1", comment="Ann"), Badge("B2", comment="Bea")


def scene() -> State:
    state = State(site=SITE, factory=False, badges={"a1": ANN, "b2": BEA})
    for station_id in ("A", "B", "C"):
        state = step(state, StationConnected(station_id), now()).state
    return state


def replaced(site: Site, badges: tuple[Badge, ...] | None = None) -> tuple[State, tuple[Effect, ...]]:
    outcome = step(scene(), ConfigurationReplaced("ann", site, badges, request=4), now())
    return outcome.state, outcome.effects


def test_a_site_takes_the_place_of_another_and_the_audit_shows_what_differs() -> None:
    site = attrs.evolve(SITE, access=AccessRule.BADGE)
    state, effects = replaced(site)
    audit = AuditEntry(NOON, "ann", "configuration", f"access={AccessRule.FREE!r}", f"access={AccessRule.BADGE!r}")
    assert effects == (Save(site), Save(audit), Reply(4, Saved()))
    assert (state.site, state.badges) == (site, {"a1": ANN, "b2": BEA})


def test_a_cluster_that_is_limited_from_outside_stays() -> None:
    clusters = (*SITE.clusters, Cluster("yard", ""))
    state = step(scene(), ConfigurationReplaced("ann", attrs.evolve(SITE, clusters=clusters)), now()).state
    limit = ExternalLimit(node="yard", limit_ma=PerPhase.same(16_000), reason="evening")
    state = step(state, LimitPut("grid", limit), now()).state
    outcome = step(state, ConfigurationReplaced("ann", SITE, request=4), now())
    assert outcome.state.site == state.site
    (reply,) = outcome.effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)
    assert "evening" in reply.answer.faults[0].text


def test_a_station_that_is_gone_ends_its_session_and_one_that_waits_is_adopted() -> None:
    state = step(scene(), StartRequested("B", 1, "A1", 0, NOON), now()).state
    site = attrs.evolve(SITE, stations=(Station("A"), Station("C")))
    outcome = step(state, ConfigurationReplaced("ann", site), now())
    ended = [e.record for e in outcome.effects if isinstance(e, Save) and isinstance(e.record, Session)]
    assert [session.state for session in ended] == [SessionState.INTERRUPTED]
    assert InviteBoot("C") in outcome.effects
    assert InviteBoot("A") not in outcome.effects
    assert ("B", 1) not in outcome.state.connectors
    assert ("C", 1) in outcome.state.connectors


def test_badges_become_those_of_the_document_and_what_is_unchanged_is_not_written() -> None:
    new = attrs.evolve(BEA, comment="Beatrix")
    state, effects = replaced(SITE, (new, Badge("C3")))
    assert set(state.badges) == {"b2", "c3"}
    assert state.badges["b2"].comment == "Beatrix"
    written = [e.record for e in effects if isinstance(e, Save) and isinstance(e.record, BadgeRecord)]
    assert written == [BadgeRecord("a1", None), BadgeRecord("b2", new), BadgeRecord("c3", Badge("C3"))]
    _, effects = replaced(SITE, (ANN, BEA))
    assert not [e for e in effects if isinstance(e, Save) and isinstance(e.record, BadgeRecord)]


def test_a_site_that_is_wrong_changes_nothing() -> None:
    state, effects = replaced(attrs.evolve(SITE, stations=(Station("A", cluster="nowhere"),)), ())
    (reply,) = effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)
    assert [fault.pointer for fault in reply.answer.faults] == ["/stations/0/cluster"]
    assert (state.site, state.badges) == (SITE, {"a1": ANN, "b2": BEA})


def test_a_badge_that_is_wrong_changes_nothing_either() -> None:
    site = attrs.evolve(SITE, access=AccessRule.BADGE)
    state, effects = replaced(site, (ANN, Badge("C3"), Badge("c:3")))
    (reply,) = effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)
    assert [fault.pointer for fault in reply.answer.faults] == ["/badges/2/badge_id"]
    assert (state.site, state.badges) == (SITE, {"a1": ANN, "b2": BEA})
