"""Limits from outside on a site that runs: they bind at once, are explained, end, and leave their evidence."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from llm_core import (
    PHASES,
    SITE,
    AlarmCode,
    AppliesTo,
    Binding,
    CapSource,
    Cluster,
    ConnectorCapped,
    Effect,
    Ended,
    Event,
    ExternalLimit,
    GrantReason,
    Lapse,
    LimitHeard,
    LimitPut,
    LimitRecord,
    LimitState,
    LimitWithdrawn,
    NotSaved,
    PerPhase,
    PutClusters,
    PutStation,
    RemoveStation,
    Reply,
    Save,
    Saved,
    SiteEdited,
    State,
    Station,
    step,
)
from llm_core.curtailment import ENDED_KEPT, MOST_LIMITS, caps_in_force
from unit.small_site import A, Car, SmallSite, dynamic, static
from unit.strategies import NOON, now

MINUTE = timedelta(minutes=1)
EXTERNAL = GrantReason.EXTERNAL_LIMIT
THREE = (Station("A", max_ma=32 * A), Station("B", max_ma=32 * A), Station("C", max_ma=32 * A))


def amps(limit_a: float, **more: object) -> ExternalLimit:
    return ExternalLimit(limit_ma=PerPhase.same(round(limit_a * A)), **more)  # type: ignore[arg-type]


def charging(site: SmallSite) -> SmallSite:
    """Three cars at their shares."""
    for name in site.outlets:
        site.plug(name)
    site.run(150)
    return site


def asked(site: SmallSite, event: Event) -> Saved | NotSaved:
    (reply,) = [effect for effect in site.post(event) if isinstance(effect, Reply)]
    assert isinstance(reply.answer, Saved | NotSaved)
    return reply.answer


def put(site: SmallSite, limit: ExternalLimit) -> str:
    answer = asked(site, LimitPut("operator", limit))
    assert isinstance(answer, Saved)
    return answer.id


def record(site: SmallSite, limit_id: str = "1") -> LimitRecord:
    return site.state.limits[limit_id].record


def reasons(site: SmallSite) -> list[GrantReason | None]:
    return [c.grant.reason if c.grant is not None else None for c in site.state.connectors.values()]


# It binds


def test_a_limit_for_the_stations_is_shared_like_any_other_and_named() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    assert site.offered() == [21, 21, 21]
    put(site, amps(30))
    site.run(3)
    assert site.offered() == [10, 10, 10]
    assert reasons(site) == [EXTERNAL] * 3
    grant = site.state.connectors["A", 1].grant
    assert grant is not None
    assert grant.limited_by in [Binding(SITE, phase) for phase in PHASES]


def test_a_limit_that_leaves_enough_for_one_car_pauses_the_others_for_it() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    put(site, ExternalLimit(limit_w=4_200))
    site.run(20)
    assert sorted(site.offered()) == [0, 0, 6]  # 6.086 A
    assert reasons(site) == [EXTERNAL] * 3


def test_a_limit_of_the_total_counts_the_building_with_the_stations() -> None:
    site = SmallSite(dynamic(60, *THREE, fallback_a=20))
    site.building(10)
    charging(site)
    put(site, amps(40, applies_to=AppliesTo.TOTAL))
    site.run(20)
    assert sum(site.offered()) == 30
    assert max(site.load_ma) <= 40 * A
    assert set(reasons(site)) == {EXTERNAL}


def test_a_limit_of_the_stations_behind_a_meter_leaves_the_building_alone() -> None:
    site = SmallSite(dynamic(60, *THREE, fallback_a=20))
    site.building(10)
    charging(site)
    put(site, amps(20))
    site.run(20)
    assert 19 <= sum(site.offered()) <= 20


def test_a_limit_of_the_total_holds_behind_a_lost_meter_by_what_the_building_was_taken_to_draw() -> None:
    site = SmallSite(dynamic(60, *THREE, fallback_a=30))
    charging(site)
    put(site, amps(50, applies_to=AppliesTo.TOTAL))
    site.meter_works = False
    site.run(60)
    assert 19 <= sum(site.offered()) <= 20  # 30 A safe beside 30 A of building; 10 A less for both leaves 20


def test_a_limit_at_a_cluster_binds_its_stations_only() -> None:
    clusters = (Cluster("c1", "one"), Cluster("c2", "two"))
    stations = tuple(attrs.evolve(s, cluster=c) for s, c in zip(THREE, ("c1", "c1", "c2"), strict=True))
    site = charging(SmallSite(attrs.evolve(static(63, *stations), clusters=clusters)))
    put(site, amps(14, node="c1"))
    site.run(20)
    assert site.offered() == [7, 7, 32]
    assert reasons(site) == [EXTERNAL, EXTERNAL, GrantReason.OWN_MAXIMUM]


def test_what_a_stranger_draws_counts_against_a_limit_of_the_stations() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    put(site, amps(30))
    strange = attrs.evolve(site.state.connectors["A", 1].readings[-1], current_ma=PerPhase(9 * A, 0, 0))
    site.state = attrs.evolve(site.state, strangers={("X", 1): strange})
    site.run(3)
    assert site.offered() == [7, 7, 7]


def test_a_limit_never_lowers_what_a_station_may_hold() -> None:
    """The books know of no wish: a station that went silent counts with what it was given."""
    site = charging(SmallSite(static(63, *THREE)))
    site.cut("C")
    put(site, amps(30))
    site.run(20)
    assert sorted(site.offered("A", "B")) == [0, 9]  # 21 A may still be held at C


def test_when_it_is_withdrawn_the_cars_get_their_shares_back_and_the_old_reason_goes() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    limit_id = put(site, amps(30))
    site.run(20)
    assert asked(site, LimitWithdrawn("operator", limit_id)) == Saved(limit_id)
    site.run(20)
    assert site.offered() == [21, 21, 21]
    assert set(reasons(site)) == {GrantReason.SHARED_LIMIT}
    assert record(site).ended is Ended.WITHDRAWN
    assert asked(site, LimitWithdrawn("operator", limit_id)) == asked(site, LimitHeard(limit_id))


# When


def test_it_begins_and_ends_by_itself() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    start = now(site.second).utc + MINUTE
    put(site, amps(30, starts_at=start, ends_at=start + MINUTE))
    site.run(55)
    assert site.offered() == [21, 21, 21]
    site.run(10)
    assert site.offered() == [10, 10, 10]
    site.run(70)
    assert site.offered() == [21, 21, 21]
    assert (record(site).began_at, record(site).ended) == (start, Ended.OVER)


def test_by_a_clock_that_fell_while_we_were_off_it_may_have_begun_and_once_it_is_right_it_has_not() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    put(site, amps(30, starts_at=now(site.second).utc + timedelta(days=1)))
    right = site.state
    site.state = attrs.evolve(right, latest_utc=now(site.second).utc + timedelta(hours=1))
    site.run(10)
    assert site.offered() == [10, 10, 10]
    assert record(site).began_at is not None
    site.state = attrs.evolve(site.state, latest_utc=right.latest_utc)
    site.run(30)
    assert site.offered() == [21, 21, 21]
    assert (record(site).began_at, record(site).drawn_ma, record(site).held_after_ms) == (None, None, None)


@pytest.mark.parametrize(("then", "offered"), [(Lapse.KEEP, 10), (Lapse.LIFT, 21)])
def test_a_sender_who_falls_silent_has_said_what_follows(then: Lapse, offered: int) -> None:
    site = charging(SmallSite(static(63, *THREE)))
    limit_id = put(site, amps(30, keep_alive_s=60, then=then))
    site.run(50)
    assert asked(site, LimitHeard(limit_id)) == Saved(limit_id)
    site.run(58)
    assert site.offered() == [10, 10, 10]
    assert not site.state.limits[limit_id].silent
    site.run(20)
    assert site.offered() == [offered] * 3
    assert site.state.limits[limit_id].silent


def test_a_lifted_limit_holds_again_when_its_sender_is_heard_as_a_beginning_of_its_own() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    limit_id = put(site, amps(30, keep_alive_s=60, then=Lapse.LIFT))
    site.run(80)
    first = record(site)
    assert first.ended is Ended.LIFTED
    asked(site, LimitHeard(limit_id))
    site.run(10)
    assert site.offered() == [10, 10, 10]
    assert record(site).ended is None
    assert record(site).set_at > first.set_at


# What is kept of it


def test_the_record_tells_what_was_drawn_when_it_began_and_how_long_until_it_held() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    before = site.load_ma
    put(site, amps(30))
    site.run(60)
    kept = record(site)
    assert kept.drawn_ma == before
    assert kept.held_after_ms is not None
    assert 0 < kept.held_after_ms <= 15_000  # acknowledged after 1 s, followed after 3, read within 10


def saves_of(effects: tuple[Effect, ...]) -> list[LimitRecord]:
    return [e.record for e in effects if isinstance(e, Save) and isinstance(e.record, LimitRecord)]


def test_a_beginning_its_effect_and_its_end_are_saved_once_each() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    limit_id = put(site, amps(30, ends_at=now(site.second).utc + MINUTE))
    saved = []
    for _ in range(90):
        site.run(1)
        saved += saves_of(tuple(site.effects))
    assert [(r.began_at is not None, r.held_after_ms is not None, r.ended) for r in saved] == [
        (True, False, None),
        (True, True, None),
        (True, True, Ended.OVER),
    ]
    assert record(site, limit_id) == saved[-1]


def test_a_changed_limit_ends_the_old_one_on_record_and_is_heard() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    limit_id = put(site, amps(30))
    site.run(20)
    old = record(site)
    effects = site.post(LimitPut("operator", amps(45, id=limit_id)))
    ended, new = saves_of(effects)
    assert (ended.set_at, ended.ended, ended.limit) == (old.set_at, Ended.REPLACED, old.limit)
    assert new.set_at > old.set_at
    site.run(40)
    assert site.offered() == [15, 15, 15]


# What is refused


def test_a_limit_that_makes_no_sense_changes_nothing() -> None:
    site = SmallSite(static(63, *THREE))
    before = site.state
    answer = asked(site, LimitPut("operator", amps(30, node="cellar")))
    assert isinstance(answer, NotSaved)
    assert site.state.limits == before.limits


def test_a_limit_that_is_not_there_is_neither_changed_nor_heard_nor_withdrawn() -> None:
    site = SmallSite(static(63, *THREE))
    for event in (LimitPut("x", amps(30, id="9")), LimitHeard("9"), LimitWithdrawn("x", "9")):
        answer = asked(site, event)
        assert isinstance(answer, NotSaved)
        assert [fault.pointer for fault in answer.faults] == [""]
    assert site.state.limits == {}


def state_with(*records: LimitRecord) -> State:
    limits = {r.limit.id: LimitState(r, 0) for r in records}
    return State(site=static(63, *THREE), limits=limits, next_limit=len(records) + 1)


def test_a_flood_of_limits_is_refused_and_ended_ones_do_not_count() -> None:
    many = [LimitRecord(amps(30, id=str(i)), "x", NOON) for i in range(1, MOST_LIMITS + 1)]
    (refusal,) = step(state_with(*many), LimitPut("x", amps(1)), now(0)).effects
    assert isinstance(refusal, Reply)
    assert isinstance(refusal.answer, NotSaved)
    over = attrs.evolve(many[0], ended=Ended.OVER)
    effects = step(state_with(over, *many[1:]), LimitPut("x", amps(1)), now(0)).effects
    assert effects[-1] == Reply(0, Saved(str(MOST_LIMITS + 1)))


def test_of_the_ended_ones_the_newest_stay_in_sight() -> None:
    many = [LimitRecord(amps(30, id=str(i)), "x", NOON, ended=Ended.OVER) for i in range(1, ENDED_KEPT + 6)]
    after = step(state_with(*many), LimitPut("x", amps(1)), now(0)).state
    assert list(after.limits) == [str(i) for i in range(6, ENDED_KEPT + 7)]


def test_without_limits_nothing_is_capped() -> None:
    assert caps_in_force(State()) == {}


# Caps of a single connector


def capped(site: SmallSite, source: CapSource, limit_a: int | None, name: str = "A") -> None:
    site.post(ConnectorCapped(name, 1, source, None if limit_a is None else limit_a * A))
    site.run(20)


def test_a_cap_of_the_cpo_is_the_most_that_its_connector_gets_and_the_rest_goes_to_others() -> None:
    site = charging(SmallSite(static(48, *THREE)))
    capped(site, CapSource.CPO, 10)
    assert site.offered("A") == [10]
    assert reasons(site)[0] is GrantReason.CPO_LIMIT
    assert site.offered("B", "C") == [19, 19]
    capped(site, CapSource.CPO, None)
    assert site.offered() == [16, 16, 16]
    assert set(reasons(site)) == {GrantReason.SHARED_LIMIT}


def test_of_several_caps_the_smallest_counts_and_the_own_maximum_above_them_stays_its_own() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    capped(site, CapSource.CPO, 20)
    capped(site, CapSource.DRIVER, 8)
    assert site.offered("A") == [8]
    assert reasons(site)[0] is EXTERNAL
    capped(site, CapSource.DRIVER, 40)
    assert site.offered("A") == [20]
    assert reasons(site)[0] is GrantReason.CPO_LIMIT


@pytest.mark.parametrize(("source", "reason"), [(CapSource.CPO, GrantReason.CPO_LIMIT), (CapSource.DRIVER, EXTERNAL)])
def test_a_cap_below_the_minimum_pauses_and_says_whose_it_is(source: CapSource, reason: GrantReason) -> None:
    site = charging(SmallSite(static(63, *THREE)))
    capped(site, source, 5)
    assert site.offered("A") == [0]
    assert reasons(site)[0] is reason


def test_what_a_driver_wished_goes_with_the_car_and_what_the_cpo_said_stays() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    capped(site, CapSource.CPO, 20)
    capped(site, CapSource.DRIVER, 8)
    site.unplug("A")
    assert dict(site.state.connectors["A", 1].caps_ma) == {CapSource.CPO: 20 * A}
    site.unplug("B")
    assert dict(site.state.connectors["B", 1].caps_ma) == {}


def test_a_cap_for_a_connector_that_is_not_there_changes_nothing() -> None:
    site = SmallSite(static(63, *THREE))
    before = site.state.connectors
    site.post(ConnectorCapped("X", 1, CapSource.CPO, 10 * A))
    assert site.state.connectors == before


def test_one_that_disobeys_is_told_no_more_than_it_is_let_have() -> None:
    site = charging(SmallSite(static(63, *THREE)))
    site.post(ConnectorCapped("A", 1, CapSource.CPO, 5 * A))
    outlet = site.outlets["A"]
    outlet.car = Car(most_ma=20 * A, obeys=False)
    site.run(60)
    assert site.offered("A") == [0]


# The configuration around it


def edit(site: SmallSite, change: PutClusters | RemoveStation) -> Saved | NotSaved:
    return asked(site, SiteEdited("ann", change))


def test_a_cluster_that_is_limited_from_outside_does_not_vanish() -> None:
    cluster = Cluster("c1", "one")
    site = SmallSite(attrs.evolve(static(63, attrs.evolve(THREE[0], cluster=None)), clusters=(cluster,)))
    limit_id = put(site, amps(20, node="c1", reason="grid"))
    answer = edit(site, PutClusters(()))
    assert isinstance(answer, NotSaved)
    assert "grid" in answer.faults[0].text
    asked(site, LimitWithdrawn("operator", limit_id))
    assert edit(site, PutClusters(())) == Saved()


def test_a_station_goes_with_the_limit_of_its_feed() -> None:
    site = SmallSite(static(63, Station("A", feed_ma=16 * A)))
    put(site, amps(10, node="station:A"))
    assert edit(site, RemoveStation("A")) == Saved()
    site.run(2)
    assert site.state.limits["1"].holds


def test_a_feed_that_is_limited_from_outside_stays_as_long_as_its_station() -> None:
    site = SmallSite(static(63, Station("A", feed_ma=16 * A)))
    put(site, amps(10, node="station:A"))
    answer = asked(site, SiteEdited("ann", PutStation(Station("A"))))
    assert isinstance(answer, NotSaved)
    assert answer.faults[0].pointer == "/stations"


def test_a_car_that_sleeps_after_an_operators_pause_is_named_until_it_draws_again() -> None:
    site = charging(SmallSite(static(63, *(Station(name) for name in "ABC"))))
    limit_id = put(site, amps(0))
    site.run(30)
    site.outlets["A"].car = Car(most_ma=0)  # it sleeps
    asked(site, LimitWithdrawn("operator", limit_id))
    site.run(120)
    assert list(site.state.alarms) == [(AlarmCode.CAR_ASLEEP, "A")]
    site.outlets["A"].car = Car()
    site.run(60)
    assert list(site.state.alarms) == []
