"""Wrong configurations are refused with every fault named; right ones pass, and their floors fit every node (I6)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    STATIONS,
    AccessRule,
    Cluster,
    CurrentTransformer,
    MeterSetup,
    Mode,
    Network,
    PerPhase,
    Phase,
    Sharing,
    Site,
    SiteError,
    Station,
    Supply,
    check,
    floors,
    meter_faults,
)
from llm_core.site import MOST_MA, on_phases
from unit.strategies import sites, stations

L1, L2, L3 = PHASES
METER = MeterSetup(SITE, "eastron_sdm630", "192.0.2.1")
SERIAL = MeterSetup(SITE, "eastron_sdm630", transport="rtu", serial="/dev/ttyUSB0")


def faults(site: Site) -> list[str]:
    """The pointers of everything that is refused."""
    try:
        check(site)
    except SiteError as error:
        return [fault.pointer for fault in error.faults]
    return []


def supply(**changes: Any) -> Site:
    return Site(supply=attrs.evolve(Supply(), **changes))


def with_station(**changes: Any) -> Site:
    return Site(stations=(attrs.evolve(Station("A"), **changes),))


@given(sites())
def test_a_sound_configuration_passes(site: Site) -> None:
    assert faults(site) == []


def test_the_configuration_of_a_new_controller_passes() -> None:
    assert faults(Site()) == []


@pytest.mark.parametrize(
    ("site", "pointer"),
    [
        (supply(phases=2), "/supply/phases"),
        (supply(lease_s=29), "/supply/lease_s"),
        (supply(lease_s=301), "/supply/lease_s"),
        (supply(fuse_ma=PerPhase.same(-1)), "/supply/fuse_a"),
        (supply(fuse_ma=PerPhase.same(MOST_MA + 1)), "/supply/fuse_a"),
        (supply(derated_ma=PerPhase(50_400, 63_001, 0)), "/supply/derated_a"),
        (supply(static_max_ma=PerPhase(0, 0, 63_001)), "/supply/static_max_a"),
        (supply(static_max_ma=PerPhase(0, -1, 0)), "/supply/static_max_a"),
        (supply(fallback_ma=PerPhase(50_401, 0, 0)), "/supply/fallback_a"),
        (Site(sharing=Sharing(rotation_min=0)), "/strategy/rotation_min"),
        (Site(sharing=Sharing(rotation_min=24 * 60 + 1)), "/strategy/rotation_min"),
        (Site(sharing=Sharing(unbalance_ma=5_999)), "/strategy/unbalance_a"),
        (Site(clusters=(Cluster("", "Nameless"),)), "/clusters/0/id"),
        (Site(clusters=(Cluster(SITE, "Reserved"),)), "/clusters/0/id"),
        (Site(clusters=(Cluster("station:A", "Reserved"),)), "/clusters/0/id"),
        (Site(clusters=(Cluster("c", "One"), Cluster("c", "Two"))), "/clusters/1/id"),
        (Site(clusters=(Cluster("c", "Orphan", parent="d"),)), "/clusters/0/parent"),
        (Site(clusters=(Cluster("c", "C", parent="d"), Cluster("d", "D", parent="c"))), "/clusters/1/parent"),
        (Site(clusters=(Cluster("c", "C", parent="c"),)), "/clusters/0/parent"),
        (Site(clusters=(Cluster("c", "C", limit_ma=PerPhase(0, 0, -1)),)), "/clusters/0/limit_a"),
        (with_station(id=""), "/stations/0/id"),
        (with_station(id="A" * 65), "/stations/0/id"),
        (Site(stations=(Station("A"), Station("A"))), "/stations/1/id"),
        (with_station(cluster="nowhere"), "/stations/0/cluster"),
        (with_station(phase_rotation=()), "/stations/0/phase_rotation"),
        (with_station(phase_rotation=(L1, L2)), "/stations/0/phase_rotation"),
        (with_station(phase_rotation=(L1, L2, L2)), "/stations/0/phase_rotation"),
        (with_station(min_ma=5_999), "/stations/0/min_a"),
        (with_station(min_ma=16_001), "/stations/0/min_a"),
        (with_station(max_ma=MOST_MA + 1), "/stations/0/min_a"),
        (with_station(fallback_ma=5_999), "/stations/0/fallback_a"),
        (with_station(fallback_ma=16_001), "/stations/0/fallback_a"),
        (with_station(start_alone_ma=1), "/stations/0/start_alone_a"),
        (with_station(feed_ma=5_999), "/stations/0/feed_a"),
        (with_station(connectors=0), "/stations/0/connectors"),
        (with_station(security_profile=4), "/stations/0/security_profile"),
        (Site(meters=(attrs.evolve(METER, node="nowhere"),)), "/meters/0/node"),
        (Site(meters=(METER, METER)), "/meters/1/node"),
        (Site(meters=(attrs.evolve(METER, host=""),)), "/meters/0/host"),
        (Site(meters=(attrs.evolve(METER, model=""),)), "/meters/0/model"),
        (Site(meters=(attrs.evolve(METER, port=0),)), "/meters/0/port"),
        (Site(meters=(attrs.evolve(METER, port=65_536),)), "/meters/0/port"),
        (Site(meters=(attrs.evolve(METER, unit=256),)), "/meters/0/unit"),
        (Site(meters=(attrs.evolve(METER, transport="udp"),)), "/meters/0/transport"),
        (Site(meters=(attrs.evolve(SERIAL, serial=""),)), "/meters/0/serial"),
        (Site(meters=(attrs.evolve(SERIAL, baud=1_000),)), "/meters/0/baud"),
        (Site(meters=(attrs.evolve(SERIAL, parity="mark"),)), "/meters/0/parity"),
        (Site(meters=(attrs.evolve(SERIAL, stop_bits=3),)), "/meters/0/stop_bits"),
        (Site(meters=(SERIAL, attrs.evolve(SERIAL, node="default", baud=19_200))), "/meters/1/transport"),
        (Site(meters=(METER, attrs.evolve(METER, node="default", transport="rtu_over_tcp"))), "/meters/1/transport"),
        (Site(meters=(attrs.evolve(METER, ct=CurrentTransformer(100, 5, "us")),)), "/meters/0/ct/applied_by"),
        (Site(meters=(attrs.evolve(METER, load_ma=PerPhase(1)),)), "/meters/0/load_a"),
        (Site(meters=(MeterSetup(SITE, MANUAL),)), "/meters/0/load_a"),
        (Site(meters=(MeterSetup(SITE, STATIONS, load_ma=PerPhase(-1)),)), "/meters/0/load_a"),
        (Site(meters=(attrs.evolve(METER, ct=CurrentTransformer(74, 5)),)), "/meters/0/ct"),
        (Site(meters=(attrs.evolve(METER, ct=CurrentTransformer(75, 2)),)), "/meters/0/ct"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(site: Site, pointer: str) -> None:
    assert pointer in faults(site)


@pytest.mark.parametrize(
    "site",
    [
        supply(lease_s=30),
        supply(lease_s=300),
        supply(derated_ma=PerPhase.same(63_000), static_max_ma=PerPhase.same(63_000)),
        supply(phases=1, fuse_ma=PerPhase(40_000), derated_ma=PerPhase(32_000)),
        Site(sharing=Sharing(rotation_min=24 * 60, unbalance_ma=6_000)),
        Site(clusters=(Cluster("d", "D", parent="c"), Cluster("c", "C", limit_ma=PerPhase()))),
        Site(meters=(METER, attrs.evolve(METER, node="default"))),
        Site(meters=(SERIAL, attrs.evolve(SERIAL, node="default", unit=2))),
        Site(meters=(MeterSetup(SITE, MANUAL, load_ma=PerPhase(1, 0, 0)), MeterSetup("default", STATIONS))),
        Site(meters=(attrs.evolve(METER, ct=CurrentTransformer(75, 1)),)),
        Site(meters=(attrs.evolve(METER, ct=CurrentTransformer(6_000, 5)),)),
        with_station(cluster=None, min_ma=16_000, feed_ma=16_000),
        with_station(id="A" * 64, phase_rotation=(L3, L1, L2)),
    ],
)
def test_what_just_can_be_passes(site: Site) -> None:
    assert faults(site) == []


def test_a_station_cannot_be_wired_to_a_phase_that_the_site_has_not() -> None:
    single = supply(phases=1)
    assert faults(attrs.evolve(single, stations=(Station("A", phase_rotation=(L2,)),))) == [
        "/stations/0/phase_rotation"
    ]
    assert faults(attrs.evolve(single, stations=(Station("A", phase_rotation=(L1,)),))) == []


def test_every_fault_is_named_at_once_in_words() -> None:
    with pytest.raises(SiteError, match=r"/supply/lease_s: must lie between .*; /clusters/0/id: .*") as refused:
        check(Site(supply=Supply(lease_s=1), clusters=(Cluster("", ""),), stations=(Station("", connectors=0),)))
    assert [fault.pointer for fault in refused.value.faults] == [
        "/supply/lease_s",
        "/clusters/0/id",
        "/stations/0/id",
        "/stations/0/cluster",
        "/stations/0/connectors",
    ]


# I6: what stations give without us fits


def alone(station: Station) -> int:
    """What each connector gives by itself, as the manual's fields say it."""
    return max(station.start_alone_ma, station.fallback_ma or 0)


@given(st.data())
def test_a_configuration_is_refused_exactly_when_what_stations_give_by_themselves_fits_no_node(
    data: st.DataObject,
) -> None:
    site = data.draw(sites())
    floors = st.sampled_from([0, 6_000, 8_000])
    site = attrs.evolve(
        site,
        stations=tuple(
            attrs.evolve(
                station,
                min_ma=6_000,
                start_alone_ma=data.draw(floors),
                fallback_ma=data.draw(st.none() | floors),
                out_of_service=data.draw(st.booleans()),
            )
            for station in site.stations
        ),
    )
    assert (faults(site) == []) is (overloads(site) == set())


def overloads(site: Site) -> set[tuple[str, Phase]]:
    """Where floors add up to more than is safe without control: walked upwards from each station."""
    clusters = {cluster.id: cluster for cluster in site.clusters}
    load: dict[tuple[str, Phase], int] = {}
    for station in site.stations:
        above = [SITE] if station.feed_ma is None else [station.node, SITE]
        cluster = clusters[station.cluster] if station.cluster else None
        while cluster is not None:
            above.append(cluster.id)
            cluster = clusters[cluster.parent] if cluster.parent else None
        for node in above if not station.out_of_service else ():
            for phase in station.phase_rotation:
                load[node, phase] = load.get((node, phase), 0) + alone(station) * station.connectors
    limits: dict[str, PerPhase] = {f"station:{s.id}": PerPhase.same(s.feed_ma) for s in site.stations if s.feed_ma}
    limits |= {cluster.id: cluster.limit_ma for cluster in site.clusters if cluster.limit_ma is not None}
    dynamic = site.supply.mode is Mode.DYNAMIC
    limits[SITE] = site.supply.fallback_ma if dynamic else site.supply.static_max_ma
    return {(node, phase) for (node, phase), ma in load.items() if node in limits and ma > limits[node][phase]}


def test_the_refusal_of_floors_shows_the_sum_and_the_place() -> None:
    site = Site(
        supply=Supply(mode=Mode.DYNAMIC, fallback_ma=PerPhase.same(10_000)),
        stations=(Station("A", start_alone_ma=6_000), Station("B", fallback_ma=6_500, phase_rotation=(L2,))),
    )
    with pytest.raises(SiteError, match=r"12\.5 A on L2 of “site”, more than the 10 A"):
        check(site)


# The limit tree


@given(sites())
def test_parents_come_first_in_the_limit_tree_and_every_station_finds_its_node(site: Site) -> None:
    seen: set[str | None] = {None}
    for node in site.limit_tree():
        assert node.parent in seen
        seen.add(node.id)
    assert {station.node for station in site.stations} <= seen


def test_each_node_has_its_own_limit_and_an_unlimited_cluster_limits_nobody() -> None:
    site = Site(
        supply=Supply(static_max_ma=PerPhase(1, 2, 3)),
        clusters=(Cluster("a", "A", limit_ma=PerPhase(4, 5, 6)), Cluster("b", "B", parent="a")),
        stations=(Station("S", cluster="b", feed_ma=20_000), Station("T", cluster=None, feed_ma=16_000)),
    )
    assert [(node.id, node.parent, node.limit_ma) for node in site.limit_tree()] == [
        (SITE, None, PerPhase(1, 2, 3)),
        ("a", SITE, PerPhase(4, 5, 6)),
        ("b", "a", PerPhase.same(MOST_MA)),
        ("station:S", "b", PerPhase.same(20_000)),
        ("station:T", SITE, PerPhase.same(16_000)),
    ]


def test_the_mode_decides_which_limit_holds_and_how_long_a_lease_is() -> None:
    both = Supply(derated_ma=PerPhase.same(40_000), static_max_ma=PerPhase.same(20_000))
    static, dynamic = attrs.evolve(both, mode=Mode.STATIC), attrs.evolve(both, mode=Mode.DYNAMIC)
    assert (static.limit_ma, static.lease_ms) == (PerPhase.same(20_000), 300_000)
    assert (dynamic.limit_ma, dynamic.lease_ms) == (PerPhase.same(40_000), 120_000)
    assert attrs.evolve(static, lease_s=45).lease_ms == 45_000


def test_a_single_phase_site_has_only_the_first_phase() -> None:
    assert Supply(phases=1).site_phases == (L1,)
    assert Supply(phases=3).site_phases == PHASES


@given(stations("A") | stations("B"))
def test_a_station_is_found_by_its_id_and_hangs_under_its_cluster_the_site_or_its_own_feed(station: Station) -> None:
    site = Site(stations=(Station("X"), station))
    assert site.station(station.id) == station
    assert site.station("nobody") is None
    if station.feed_ma is not None:
        assert station.node == f"station:{station.id}"
    else:
        assert station.node == (station.cluster or SITE)


def test_a_value_lies_on_the_named_phases_only() -> None:
    assert on_phases(7, (L3, L1)) == PerPhase(7, 0, 7)
    assert on_phases(7, ()) == PerPhase()


def test_the_floors_of_every_node_are_told_with_what_is_safe_there() -> None:
    a = Station("A", fallback_ma=6_000, phase_rotation=(Phase.L2,))
    b = Station("B", cluster=None, start_alone_ma=8_000, connectors=2)
    out = Station("C", fallback_ma=16_000, out_of_service=True)
    supply = Supply(Mode.DYNAMIC, derated_ma=PerPhase.same(50_000), fallback_ma=PerPhase.same(20_000))
    site, cluster = floors(Site(supply=supply, stations=(a, b, out)))
    assert (site.node, site.total_ma, site.limit_ma) == (
        "site",
        PerPhase(16_000, 22_000, 16_000),
        PerPhase.same(20_000),
    )
    assert (cluster.node, cluster.total_ma) == ("default", PerPhase(0, 6_000, 0))
    static = Site(supply=Supply(static_max_ma=PerPhase.same(40_000)))
    assert floors(static)[0].limit_ma == PerPhase.same(40_000)


def test_what_stands_in_for_a_meter_is_no_device_and_in_static_mode_no_building() -> None:
    assumed = MeterSetup(SITE, MANUAL, load_ma=PerPhase.same(5_000))
    sub = MeterSetup("default", STATIONS)
    dynamic = Site(supply=Supply(Mode.DYNAMIC), meters=(assumed, sub, attrs.evolve(METER, node="b")))
    assert [meter.node for meter in dynamic.read_meters] == ["b"]
    assert dynamic.assumed(SITE) is assumed
    assert dynamic.assumed("default") is sub
    assert dynamic.assumed("b") is None
    static = attrs.evolve(dynamic, supply=Supply(Mode.STATIC))
    assert static.assumed(SITE) is None
    assert static.assumed("default") is sub


def test_a_meter_is_judged_by_itself_too() -> None:
    assert list(meter_faults(METER)) == []
    assert [fault.pointer for fault in meter_faults(attrs.evolve(METER, host="", unit=300))] == ["/host", "/unit"]
    assert [fault.pointer for fault in meter_faults(MeterSetup(SITE, "", "h"))] == ["/model"]


def test_an_operator_judges_badges_exactly_while_the_connection_to_it_is_on() -> None:
    assert faults(Site(access=AccessRule.CPO)) == ["/access/rule"]


def test_a_network_without_neutral_is_refused_with_the_reason() -> None:
    supply = Supply(network=Network.WITHOUT_NEUTRAL)
    with pytest.raises(SiteError) as refused:
        check(Site(supply=supply))
    (fault,) = refused.value.faults
    assert (fault.pointer, "two lines" in fault.text) == ("/supply/network", True)
