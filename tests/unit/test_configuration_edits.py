"""Changes of the configuration, one by one: whole and audited, or refused with every fault."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    DEFAULT_CLUSTER,
    PHASES,
    SITE,
    AccessRule,
    AuditEntry,
    Badge,
    BadgeRecord,
    BadgeRules,
    BadgesEdited,
    BadgeState,
    ByteOrder,
    Ceiling,
    Cluster,
    Concurrency,
    ConnectorState,
    Effect,
    ExternalLimit,
    Fault,
    InviteBoot,
    Ledger,
    LimitPut,
    MeterSetup,
    MeterValuesReceived,
    NotSaved,
    OutOfUse,
    PerPhase,
    PutAccess,
    PutClusters,
    PutMeters,
    PutSharing,
    PutStation,
    PutStations,
    PutSupply,
    PutSystem,
    PutUplink,
    RemoveStation,
    Reply,
    Save,
    Saved,
    SessionState,
    Sharing,
    Site,
    SiteEdit,
    SiteEdited,
    StartRequested,
    State,
    Station,
    StationConnected,
    StationDisconnected,
    StationState,
    Status,
    StatusChanged,
    StopRequested,
    Supply,
    System,
    Uplink,
    UplinkStation,
    step,
)
from llm_core.ledger import Held, Inherited, Slot
from unit.small_site import A, Car, SmallSite, static
from unit.strategies import NOON, now

ROOMY = Supply(static_max_ma=PerPhase.same(63_000))


def scene(*stations: Station, online: tuple[str, ...] = ()) -> State:
    state = State(site=Site(supply=ROOMY, stations=stations, access=AccessRule.FREE), factory=False)
    for station_id in online:
        state = step(state, StationConnected(station_id), now()).state
    return state


def edit(state: State, change: SiteEdit) -> tuple[State, tuple[Effect, ...]]:
    outcome = step(state, SiteEdited("ann", change, request=9), now())
    return attrs.evolve(outcome.state, latest_utc=state.latest_utc), outcome.effects


def held_ma(state: State, station: str, connector: int = 1) -> int:
    return state.connectors[station, connector].ledger.held_ma(now().monotonic_ms, decays=True)


BEFORE = scene(Station("A"))


@pytest.mark.parametrize(
    ("change", "expected", "old", "new"),
    [
        (PutSystem(System("Depot")), {"system": System("Depot")}, repr(System()), repr(System("Depot"))),
        (PutSupply(Supply()), {"supply": Supply()}, repr(ROOMY), repr(Supply())),
        (
            PutClusters((Cluster(DEFAULT_CLUSTER, "Hall"),)),
            {"clusters": (Cluster(DEFAULT_CLUSTER, "Hall"),)},
            repr(Site().clusters),
            repr((Cluster(DEFAULT_CLUSTER, "Hall"),)),
        ),
        (
            PutMeters((MeterSetup(SITE, "x", "h"),)),
            {"meters": (MeterSetup(SITE, "x", "h"),)},
            "()",
            repr((MeterSetup(SITE, "x", "h"),)),
        ),
        (
            PutSharing(Sharing(rotation_min=30)),
            {"sharing": Sharing(rotation_min=30)},
            repr(Sharing()),
            repr(Sharing(rotation_min=30)),
        ),
        (
            PutAccess(AccessRule.CPO),
            {"access": AccessRule.CPO, "uplink": Uplink(enabled=True)},
            "rule=free, concurrent=allowed, byte_order=as_read",
            "rule=cpo, concurrent=allowed, byte_order=as_read",
        ),
        (
            PutUplink(Uplink(url="ws://cpo", enabled=True)),
            {"access": AccessRule.CPO, "uplink": Uplink(url="ws://cpo", enabled=True)},
            repr(Uplink()),
            repr(Uplink(url="ws://cpo", enabled=True)),
        ),
        (
            PutUplink(Uplink(url="ws://cpo")),
            {"uplink": Uplink(url="ws://cpo")},
            repr(Uplink()),
            repr(Uplink(url="ws://cpo")),
        ),
        (
            PutStation(Station("A", name="Left")),
            {"stations": (Station("A", name="Left"),)},
            repr(Station("A")),
            repr(Station("A", name="Left")),
        ),
        (PutStation(Station("B")), {"stations": (Station("A"), Station("B"))}, "", repr(Station("B"))),
        (RemoveStation("A"), {"stations": ()}, repr(Station("A")), ""),
    ],
)
def test_a_change_is_stored_whole_with_who_changed_what(
    change: SiteEdit, expected: dict[str, object], old: str, new: str
) -> None:
    site = attrs.evolve(BEFORE.site, **expected)  # type: ignore[arg-type]
    state, effects = edit(BEFORE, change)
    audit = AuditEntry(NOON, "ann", type(change).__name__, old, new)
    assert effects == (Save(site), Save(audit), Reply(9, Saved()))
    assert attrs.evolve(state, stations=BEFORE.stations) == attrs.evolve(BEFORE, site=site)


def test_a_wrong_change_is_refused_with_every_fault_and_changes_nothing() -> None:
    wrong = Station("A", cluster="nowhere", min_ma=5_000, connectors=0)
    state, effects = edit(BEFORE, PutStation(wrong))
    assert state == BEFORE
    (reply,) = effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)
    assert {fault.pointer for fault in reply.answer.faults} == {
        "/stations/0/cluster",
        "/stations/0/min_a",
        "/stations/0/connectors",
    }


def test_a_change_that_is_unsafe_without_control_is_refused() -> None:
    state, effects = edit(scene(Station("A", start_alone_ma=16_000)), PutSupply(Supply(static_max_ma=PerPhase())))
    assert state.site.supply == ROOMY
    assert isinstance(effects[0], Reply)
    assert isinstance(effects[0].answer, NotSaved)


# Stations come into the books


def test_a_station_created_ahead_counts_for_nothing_until_it_calls() -> None:
    state, effects = edit(BEFORE, PutStation(Station("B")))
    assert not state.connectors
    assert not [effect for effect in effects if isinstance(effect, InviteBoot)]


def test_a_waiting_station_is_adopted_at_its_maximum_and_asked_to_boot() -> None:
    state = scene(online=("B",))
    state = step(state, StatusChanged("B", 2, Status.AVAILABLE), now()).state
    state = step(state, MeterValuesReceived("B", 1, current_ma=(9_000, 9_000, 9_000)), now()).state
    assert state.strangers
    state, effects = edit(state, PutStation(Station("B", max_ma=20_000)))
    assert effects[2:] == (
        Save(Ceiling("B", 1, 20_000)),
        Save(Ceiling("B", 2, 20_000)),
        InviteBoot("B"),
        Reply(9, Saved()),
    )
    assert held_ma(state, "B", 1) == held_ma(state, "B", 2) == 20_000
    assert not state.strangers


def test_one_that_is_accepted_already_is_not_asked_to_boot() -> None:
    _, effects = edit(scene(Station("A"), online=("A",)), PutStation(Station("A", name="Left")))
    assert not [effect for effect in effects if isinstance(effect, InviteBoot)]


def test_a_larger_maximum_counts_at_once_where_nobody_knows_what_is_held() -> None:
    state, effects = edit(scene(Station("A"), online=("A",)), PutStation(Station("A", max_ma=32_000)))
    assert held_ma(state, "A") == 32_000
    assert Save(Ceiling("A", 1, 32_000)) in effects


def test_a_larger_maximum_changes_nothing_in_settled_books() -> None:
    floor = Slot(Held(1, 0, 0, 0, None))
    settled = ConnectorState(Ledger(None, floor=floor), ceiling_ma=32_000)
    state = attrs.evolve(scene(Station("A"), online=("A",)), connectors={("A", 1): settled})
    state, effects = edit(state, PutStation(Station("A", max_ma=32_000)))
    assert state.connectors["A", 1] == settled
    assert not [e for e in effects if isinstance(e, Save) and isinstance(e.record, Ceiling)]


def test_what_may_be_held_from_before_still_runs_out_when_it_would_have() -> None:
    before = ConnectorState(Ledger(Inherited(8_000, 6_000, 5)), ceiling_ma=8_000)
    state = attrs.evolve(scene(Station("A"), online=("A",)), connectors={("A", 1): before})
    state, _ = edit(state, PutStation(Station("A", max_ma=20_000)))
    assert state.connectors["A", 1].ledger.inherited == Inherited(20_000, 20_000, 5)


# Stations leave


def charging(*, online: bool = True) -> State:
    state = scene(Station("A"), Station("B"), online=("A", "B"))
    for station_id in ("A", "B"):
        state = step(state, StartRequested(station_id, 1, "04a1", 1_000, NOON), now()).state
        state = step(state, MeterValuesReceived(station_id, 1, current_ma=(9_000, 9_000, 9_000)), now()).state
    return state if online else step(state, StationDisconnected("A"), now()).state


def test_removing_a_station_ends_its_sessions_and_no_other() -> None:
    state, effects = edit(charging(), RemoveStation("A"))
    (ended,) = [e.record for e in effects[2:] if isinstance(e, Save)]
    assert ended == state.recent[1]
    assert (state.recent[1].state, state.recent[1].stop_reason) == (SessionState.INTERRUPTED, "StationRemoved")
    assert set(state.connectors) == {("B", 1)}
    assert state.connectors["B", 1].session is not None


def test_its_late_stop_still_completes_the_record() -> None:
    state, _ = edit(charging(), RemoveStation("A"))
    state = step(state, StopRequested("A", 1, 3_000, NOON), now(60)).state
    assert (state.recent[1].state, state.recent[1].energy_wh) == (SessionState.CLOSED, 2_000)


def test_a_removed_station_that_is_connected_is_a_stranger_whose_draw_counts_on() -> None:
    state, _ = edit(charging(), RemoveStation("A"))
    assert (state.stations["A"].online, state.stations["A"].accepted) == (True, False)
    assert state.strangers["A", 1].current_ma == PerPhase.same(9_000)


@pytest.mark.parametrize("online", [True, False])
def test_a_station_that_is_removed_is_out_of_use_no_more_when_it_is_adopted_again(online: bool) -> None:
    state = charging(online=online)
    taken = attrs.evolve(state.stations["A"], inoperative=frozenset({1}))
    state, effects = edit(attrs.evolve(state, stations={**state.stations, "A": taken}), RemoveStation("A"))
    assert Save(OutOfUse("A")) in effects
    assert not state.stations.get("A", StationState()).inoperative


def test_a_removed_station_that_is_away_is_forgotten() -> None:
    state, _ = edit(charging(online=False), RemoveStation("A"))
    assert "A" not in state.stations
    assert not state.strangers


# Badges


def badges(state: State, *put: Badge, remove: tuple[str, ...] = ()) -> tuple[State, tuple[Effect, ...]]:
    outcome = step(state, BadgesEdited("ann", put, remove, request=9), now())
    return attrs.evolve(outcome.state, latest_utc=state.latest_utc), outcome.effects


ANN = Badge("04:A1:B2", comment="Ann")
KNOWN = badges(scene(), ANN)[0]


def test_a_new_badge_is_stored_and_audited() -> None:
    state, effects = badges(scene(), ANN)
    assert state.badges == {"04a1b2": ANN}
    assert effects == (
        Save(BadgeRecord("04a1b2", ANN)),
        Save(AuditEntry(NOON, "ann", "badge", "", repr(ANN))),
        Reply(9, Saved()),
    )


def test_a_changed_badge_keeps_the_spelling_it_was_first_entered_with() -> None:
    state, effects = badges(KNOWN, Badge("04a1b2", comment="Anna"))
    after = Badge("04:A1:B2", comment="Anna")
    assert state.badges == {"04a1b2": after}
    assert effects[:2] == (
        Save(BadgeRecord("04a1b2", after)),
        Save(AuditEntry(NOON, "ann", "badge", repr(ANN), repr(after))),
    )


def test_a_removed_badge_is_gone_in_any_spelling() -> None:
    state, effects = badges(KNOWN, remove=("04 A1 b2",))
    assert state.badges == {}
    assert effects == (
        Save(BadgeRecord("04a1b2", None)),
        Save(AuditEntry(NOON, "ann", "badge", repr(ANN), "")),
        Reply(9, Saved()),
    )


@pytest.mark.parametrize(
    ("put", "remove", "pointers"),
    [
        ((Badge(" : "),), (), ["/0/badge_id"]),
        ((Badge("0" * 21),), (), ["/0/badge_id"]),
        ((Badge("ff"), Badge("F F")), (), ["/1/badge_id"]),
        ((), ("ff",), ["/0"]),
        ((Badge("ff"), Badge("")), ("unknown",), ["/1/badge_id", "/0"]),
    ],
)
def test_one_fault_refuses_the_whole_change(
    put: tuple[Badge, ...], remove: tuple[str, ...], pointers: list[str]
) -> None:
    state, effects = badges(KNOWN, *put, remove=remove)
    assert state == KNOWN
    (reply,) = effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)
    assert [fault.pointer for fault in reply.answer.faults] == pointers
    assert all(isinstance(fault, Fault) and fault.text for fault in reply.answer.faults)


def test_a_badge_as_long_as_a_tag_can_be_is_taken() -> None:
    assert badges(scene(), Badge(":".join("0" * 20)))[0].badges


def pending(group: str | None) -> State:
    before = attrs.evolve(BEFORE, badges={"04a1": Badge("04A1", state=BadgeState.PENDING)})
    badge = Badge("04A1", state=BadgeState.PENDING, group=group)
    return step(before, BadgesEdited("ann", put=(badge,)), now()).state


def test_a_pending_badge_may_charge_once_it_has_its_group() -> None:
    assert pending("family").badges["04a1"].state is BadgeState.ACTIVE
    assert pending(None).badges["04a1"].state is BadgeState.PENDING
    assert pending("").badges["04a1"].state is BadgeState.PENDING


def test_the_rules_for_all_badges_stay_where_only_the_access_is_changed() -> None:
    rules = BadgeRules(Concurrency.REFUSED, ByteOrder.EITHER)
    state, _ = edit(BEFORE, PutAccess(AccessRule.BADGE, rules))
    assert (state.site.access, state.site.badge_rules) == (AccessRule.BADGE, rules)
    state, _ = edit(state, PutAccess(AccessRule.FREE))
    assert (state.site.access, state.site.badge_rules) == (AccessRule.FREE, rules)


def test_several_stations_are_put_at_once_or_not_at_all() -> None:
    site = Site(stations=(Station("A"), Station("B"), Station("C")))
    a, c, d = Station("A", max_ma=32_000), Station("C", priority=3), Station("D")
    done = step(State(site=site), SiteEdited("ana", PutStations((c, a, d)), request=4), now(0))
    assert done.state.site.stations == (a, Station("B"), c, d)
    audits = [e.record for e in done.effects if isinstance(e, Save) and isinstance(e.record, AuditEntry)]
    assert [(audit.by, audit.what) for audit in audits] == [("ana", "PutStations")]
    assert audits[0].new == f"{c!r}, {a!r}, {d!r}"
    assert "D" in done.state.stations
    wrong = (a, attrs.evolve(c, min_ma=1))
    refused = step(State(site=site), SiteEdited("ana", PutStations(wrong), request=5), now(0))
    assert refused.state.site == site
    [reply] = refused.effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, NotSaved)


def test_the_access_rule_and_the_uplink_are_one_switch() -> None:
    cpo, _ = edit(BEFORE, PutUplink(Uplink(enabled=True, url="ws://cpo")))
    assert cpo.site.access is AccessRule.CPO
    off, _ = edit(cpo, PutUplink(Uplink(url="ws://cpo")))
    assert off.site.access is AccessRule.BADGE
    free, _ = edit(cpo, PutAccess(AccessRule.FREE))
    assert (free.site.uplink.enabled, free.site.uplink.url) == (False, "ws://cpo")


def test_a_station_that_goes_leaves_the_operator_too() -> None:
    known = Uplink(stations=(UplinkStation("A", "NL-1"), UplinkStation("B", "NL-2")))
    state, _ = edit(edit(BEFORE, PutUplink(known))[0], RemoveStation("A"))
    assert state.site.uplink.stations == (UplinkStation("B", "NL-2"),)


def test_a_cluster_that_is_limited_from_outside_stays_with_all_else() -> None:
    state = scene()
    for event in (
        SiteEdited("ann", PutClusters((Cluster(DEFAULT_CLUSTER, ""), Cluster("yard", "")))),
        LimitPut("grid", ExternalLimit(node="yard", limit_ma=PerPhase.same(16_000), reason="evening")),
    ):
        state = step(state, event, now()).state
    after, effects = edit(state, PutClusters((Cluster(DEFAULT_CLUSTER, ""),)))
    assert [(type(effect), type(effect.answer)) for effect in effects if isinstance(effect, Reply)] == [
        (Reply, NotSaved)
    ]
    assert after.site == state.site
    assert len(effects) == 1


def test_what_was_read_on_other_phases_is_forgotten_when_a_station_is_said_to_hang_elsewhere() -> None:
    """A's car was seen on one phase, now said to be L2: until the next reading it counts on all, and nobody is given
    what it has there."""
    phases = PHASES[1:] + PHASES[:1]
    small = SmallSite(static(16, Station("A"), Station("X", phase_rotation=(PHASES[1],))))
    small.run(12)
    small.plug("A", Car(phases=1))
    small.run(100)
    assert small.state.connectors["A", 1].phases == PHASES[:1]
    small.outlets["A"].reads_s = 6_000
    small.outlets["A"].tells_on_demand = False
    small.outlets["A"].station = turned = Station("A", phase_rotation=phases)
    small.post(SiteEdited("ann", PutStation(turned)))
    small.plug("X")
    for _ in range(60):
        small.run(1)
        assert sum(small.offered("A", "X")) <= 16
    assert small.offered("X") != [0]


def test_another_name_forgets_nothing_of_what_a_car_draws() -> None:
    small = SmallSite(static(16, Station("A")))
    small.run(12)
    small.plug("A", Car(phases=1))
    small.run(100)
    small.post(SiteEdited("ann", PutStation(Station("A", name="Left bay"))))
    assert small.state.connectors["A", 1].phases == PHASES[:1]
    assert small.load_ma == PerPhase(16 * A)
