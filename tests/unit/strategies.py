"""What the tests of the core draw from, and the short ways to build its values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from llm_core import (
    DEFAULT_CLUSTER,
    PHASES,
    AccessRule,
    Badge,
    BadgeState,
    BadgeType,
    Cluster,
    Mode,
    Now,
    PerPhase,
    Phase,
    Purpose,
    SetLimit,
    Sharing,
    Site,
    Station,
    Strategy,
    Supply,
    Uplink,
)

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def now(seconds: int = 0, *, utc: datetime = NOON, utc_offset_s: int = 3_600) -> Now:
    """The instant so many seconds after noon UTC on an ordinary day in Amsterdam."""
    return Now(1_000_000 + seconds * 1_000, utc + timedelta(seconds=seconds), utc_offset_s)


def limit(
    seq: int,
    limit_ma: int,
    then_ma: int = 0,
    *,
    purpose: Purpose = Purpose.TRANSACTION,
    lease_ms: int | None = 120_000,
) -> SetLimit:
    """A live limit for connector 1 of station A."""
    return SetLimit(seq, "A", 1, purpose, limit_ma, then_ma, lease_ms, None, 3, lowers=False)


def floor(seq: int, limit_ma: int) -> SetLimit:
    """A permanent floor for connector 1 of station A."""
    return limit(seq, limit_ma, limit_ma, purpose=Purpose.FLOOR, lease_ms=None)


# Amps in whole tenths, as people enter them, from nothing to more than any station takes.
amounts_ma = st.integers(0, 800).map(lambda tenths: tenths * 100)
any_ma = st.integers(-10_000_000, 10_000_000)
phases = st.sampled_from(PHASES)
per_phase = st.builds(PerPhase, any_ma, any_ma, any_ma)

# Badge ids as readers and people write them: with colons, blanks, either case.
tags = st.text("0123456789abcdefABCDEF: ", min_size=1, max_size=20).filter(lambda tag: tag.strip(": ") != "")


@st.composite
def rotations(draw: st.DrawFn, site_phases: tuple[Phase, ...] = PHASES) -> tuple[Phase, ...]:
    """How a station is wired: to one phase of the site, or to all three in any order."""
    if len(site_phases) == 3 and draw(st.booleans()):
        return tuple(draw(st.permutations(site_phases)))
    return (draw(st.sampled_from(site_phases)),)


@st.composite
def stations(
    draw: st.DrawFn,
    station_id: str = "A",
    clusters: tuple[str | None, ...] = (DEFAULT_CLUSTER, None),
    site_phases: tuple[Phase, ...] = PHASES,
) -> Station:
    """A station that gives nothing by itself, so that it fits anywhere."""
    min_ma = draw(st.sampled_from([6_000, 8_000, 10_000]))
    max_ma = draw(st.sampled_from([10_000, 13_000, 16_000, 32_000]))
    return Station(
        id=station_id,
        cluster=draw(st.sampled_from(clusters)),
        phase_rotation=draw(rotations(site_phases)),
        max_ma=max_ma,
        min_ma=min_ma,
        priority=draw(st.integers(0, 3)),
        feed_ma=draw(st.none() | st.just(max_ma)),
        connectors=draw(st.integers(1, 2)),
    )


@st.composite
def sites(draw: st.DrawFn, most_stations: int = 6) -> Site:
    """A configuration that `check` accepts: any mode and phases, nested clusters, stations wired any way."""
    phase_count = draw(st.sampled_from([1, 3]))
    fuse_ma = draw(st.integers(10, 250)) * 1_000
    mode = draw(st.sampled_from(Mode))
    supply = Supply(
        mode=mode,
        phases=phase_count,
        fuse_ma=PerPhase.same(fuse_ma),
        derated_ma=PerPhase.same(fuse_ma * 4 // 5),
        static_max_ma=PerPhase.same(draw(st.integers(0, fuse_ma))),
        fallback_ma=PerPhase.same(draw(st.integers(0, fuse_ma * 4 // 5))),
    )
    names = [DEFAULT_CLUSTER, *(f"c{i}" for i in range(draw(st.integers(0, 3))))]
    clusters = tuple(
        Cluster(
            name,
            name,
            parent=draw(st.sampled_from([None, *names[:i]])),
            limit_ma=draw(st.none() | st.integers(0, fuse_ma).map(PerPhase.same)),
        )
        for i, name in enumerate(names)
    )
    count = draw(st.integers(0, most_stations))
    access = draw(st.sampled_from(AccessRule))
    return Site(
        supply=supply,
        clusters=clusters,
        stations=tuple(draw(stations(f"S{i}", (None, *names), supply.site_phases)) for i in range(count)),
        sharing=Sharing(strategy=draw(st.sampled_from(Strategy)), minimum_first=draw(st.booleans())),
        access=access,
        uplink=Uplink(enabled=access is AccessRule.CPO),
    )


@st.composite
def badges(draw: st.DrawFn) -> Badge:
    """Any badge, in any state."""
    return Badge(
        badge_id=draw(tags),
        type=draw(st.sampled_from(BadgeType)),
        state=draw(st.sampled_from(BadgeState)),
        expires_on=draw(st.none() | st.dates(NOON.date() - timedelta(days=3), NOON.date() + timedelta(days=3))),
        stations=draw(st.none() | st.frozensets(st.sampled_from(["A", "B"]))),
    )
