"""The picture that people get is the state, and says why each car gets what it gets."""

from __future__ import annotations

from typing import Any

import attrs

from llm_core import (
    SITE,
    AccessRule,
    Alarm,
    AlarmCode,
    Badge,
    BadgeState,
    Binding,
    Cluster,
    ConnectorState,
    ConnectorView,
    ExternalLimit,
    Grant,
    GrantReason,
    Ledger,
    LimitRecord,
    LimitState,
    Mode,
    NodeView,
    Overview,
    PerPhase,
    Phase,
    Presence,
    Reading,
    SessionView,
    Site,
    State,
    Station,
    StationState,
    StationView,
    Status,
    System,
    open_session,
    overview,
)
from unit.strategies import NOON

FULL = Binding("hall", Phase.L1)


def station(view: Overview, station_id: str) -> StationView:
    (found,) = [station for station in view.stations if station.id == station_id]
    return found


def connector(state: State, number: int = 1) -> ConnectorView:
    (found,) = [c for c in station(overview(state, 0), "A").connectors if c.connector == number]
    return found


def scene(*connectors: ConnectorState, **known: object) -> State:
    state = State(
        site=Site(stations=(Station("A", name="Left", cluster="hall"),), clusters=(Cluster("hall", "Hall"),)),
        stations={"A": StationState(online=True, since_ms=1_000)},
        connectors={("A", number): connector for number, connector in enumerate(connectors, 1)},
    )
    return attrs.evolve(state, **known)  # type: ignore[arg-type]


def granted(limit_ma: int, reason: GrantReason, by: Binding | None = None, **more: Any) -> ConnectorState:
    return ConnectorState(Ledger(None), offered_ma=limit_ma, grant=Grant("x", limit_ma, reason, by), **more)


def test_an_empty_site_is_told_as_it_is_delivered() -> None:
    assert overview(State(), 0) == Overview(
        name="Local Load Manager",
        factory=True,
        mode=Mode.STATIC,
        access=AccessRule.BADGE,
        badges=0,
        alarms=(),
        nodes=(),
        limits=(),
        stations=(),
    )


def test_the_site_tells_its_name_mode_rule_and_how_many_badges_are_active() -> None:
    badges = {str(i): Badge(str(i), state=state) for i, state in enumerate([*BadgeState, BadgeState.ACTIVE])}
    site = Site(system=System("Depot"), access=AccessRule.FREE)
    view = overview(State(site=site, factory=False, badges=badges), 0)
    assert (view.name, view.factory, view.mode, view.access, view.badges) == (
        "Depot",
        False,
        Mode.STATIC,
        AccessRule.FREE,
        2,
    )


def test_nodes_are_the_site_and_its_clusters_without_the_feeds_of_stations() -> None:
    nodes = {
        name: NodeView(name, PerPhase(), None, PerPhase(), PerPhase(), PerPhase())
        for name in (SITE, "hall", "station:A")
    }
    assert [node.node for node in overview(scene(nodes=nodes), 0).nodes] == [SITE, "hall"]


def test_alarms_come_oldest_first() -> None:
    later = Alarm(AlarmCode.METER_SILENT, "site", NOON.replace(hour=13))
    first = Alarm(AlarmCode.STATION_OFFLINE, "A", NOON)
    same = Alarm(AlarmCode.GUARD_INTERVENED, "", NOON)
    alarms = {(alarm.code, alarm.subject): alarm for alarm in (later, first, same)}
    assert overview(scene(alarms=alarms), 0).alarms == (same, first, later)


def test_a_station_that_was_met_tells_what_it_is_and_for_how_long_it_is_there() -> None:
    met = StationState(
        online=True,
        since_ms=1_000,
        vendor="V",
        model="M",
        firmware="1.2",
        address="10.0.0.7",
        path="/A",
    )
    assert station(overview(scene(stations={"A": met}), 61_000), "A") == StationView(
        id="A",
        name="Left",
        presence=Presence.ONLINE,
        since_ms=60_000,
        vendor="V",
        model="M",
        firmware="1.2",
        address="10.0.0.7",
        path="/A",
        cluster="hall",
        connectors=(),
    )


def test_a_station_is_offline_when_it_left_and_when_it_was_never_met() -> None:
    left = station(overview(scene(stations={"A": StationState(online=False, since_ms=1_000)}), 3_000), "A")
    never = station(overview(scene(stations={}), 3_000), "A")
    assert (left.presence, left.since_ms) == (Presence.OFFLINE, 2_000)
    assert (never.presence, never.since_ms, never.vendor) == (Presence.OFFLINE, None, "")


def test_pending_stations_come_last_under_their_id() -> None:
    known = {name: StationState(online=True) for name in ("Z", "A", "Q")}
    view = overview(scene(stations=known), 0)
    assert [(s.id, s.name, s.presence, s.cluster) for s in view.stations] == [
        ("A", "Left", Presence.ONLINE, "hall"),
        ("Q", "Q", Presence.PENDING, None),
        ("Z", "Z", Presence.PENDING, None),
    ]


def test_a_station_without_a_name_is_called_by_its_id() -> None:
    state = attrs.evolve(scene(), site=Site(stations=(Station("A"),)))
    assert station(overview(state, 0), "A").name == "A"


def test_connectors_come_in_their_order() -> None:
    state = scene(ConnectorState(Ledger(None)), ConnectorState(Ledger(None)))
    swapped = attrs.evolve(state, connectors=dict(reversed(state.connectors.items())))
    assert [c.connector for c in station(overview(swapped, 0), "A").connectors] == [1, 2]


def test_a_connector_of_which_nothing_is_known_says_nothing() -> None:
    assert connector(scene(ConnectorState(Ledger(None)))) == ConnectorView(
        connector=1,
        status=None,
        limit_ma=0,
        reason=None,
        limited_by=None,
        turn=None,
        sharing=0,
        current_ma=None,
        session=None,
    )


def test_a_charging_connector_tells_its_limit_and_what_stops_it() -> None:
    charging = attrs.evolve(
        granted(9_000, GrantReason.SHARED_LIMIT, FULL),
        status=Status.CHARGING,
        readings=(Reading(0, PerPhase.same(1)), Reading(1, PerPhase.same(8_900))),
    )
    paused = granted(0, GrantReason.SHARED_LIMIT, FULL)
    elsewhere = granted(9_000, GrantReason.SHARED_LIMIT, Binding("hall", Phase.L2))
    view = connector(scene(charging, granted(6_000, GrantReason.SHARED_LIMIT, FULL), paused, elsewhere))
    assert (view.status, view.limit_ma, view.reason) == (Status.CHARGING, 9_000, GrantReason.SHARED_LIMIT)
    assert (view.limited_by, view.sharing) == (FULL, 2)  # itself and the second; the third gets nothing
    assert view.current_ma == PerPhase.same(8_900)


def test_a_waiting_car_knows_its_turn() -> None:
    session = open_session(7, "A", 1, None, NOON, 1_000)
    state = scene(
        granted(0, GrantReason.WAITING, rank=3, session=session),
        granted(0, GrantReason.WAITING, rank=1, session=session),
        granted(9_000, GrantReason.OWN_MAXIMUM, rank=0, session=session),
        granted(0, GrantReason.WAITING, rank=0),  # about to start
        ConnectorState(Ledger(None)),
    )
    assert [connector(state, number).turn for number in (1, 2, 3, 4, 5)] == [(2, 3), (1, 3), None, (3, 3), None]


def test_a_session_tells_who_charges_and_how_much() -> None:
    session = attrs.evolve(
        open_session(7, "A", 1, "04:a1", NOON, 1_000), energy_wh=4_200, charging_ms=60_000, idle_ms=5_000
    )
    state = scene(ConnectorState(Ledger(None), session=session))
    known = attrs.evolve(state, badges={"04a1": Badge("04A1", comment="Ann")})
    assert connector(known).session == SessionView(7, "04:a1", "Ann", NOON, 4_200, 60_000, 5_000)
    unknown = connector(state).session
    assert unknown is not None
    assert unknown.user == ""


def test_a_session_without_a_badge_has_no_user() -> None:
    session = open_session(7, "A", 1, None, NOON, 1_000)
    view = connector(scene(ConnectorState(Ledger(None), session=session), badges={"": Badge("", comment="no")})).session
    assert view is not None
    assert (view.id_tag, view.user) == (None, "")


def test_the_limits_from_outside_that_hold_are_told() -> None:
    limit = ExternalLimit("1", limit_w=4_200, reason="§14a")
    holding, planned = (LimitState(LimitRecord(limit, "grid", NOON), 0, holds=holds) for holds in (True, False))
    assert overview(State(limits={"1": holding, "2": planned}), 0).limits == (holding,)
