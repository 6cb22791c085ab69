"""The installation as configured: supply, limit tree, stations, meters, rules. Wrong configurations do not exist.

`check` is the one gate: whoever changes a `Site` passes it, and gets every fault at once, not the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property, lru_cache

import attrs

from llm_core.problem import Fault, LimitNode, Strategy
from llm_core.quantities import PHASES, PerPhase, Phase
from llm_core.uplink import Uplink, uplink_faults

SITE = "site"
DEFAULT_CLUSTER = "default"
LEAST_MINIMUM_MA = 6_000  # IEC 61851-1: there is nothing between 0 and 6 A
MOST_MA = 6_300_000
MAX_LEASE_S = 300
TRANSPORTS = ("tcp", "rtu", "rtu_over_tcp")
PARITIES = ("none", "even", "odd")
MANUAL = "manual"  # no meter: a load that is assumed
STATIONS = "stations"  # no meter: what the stations say of themselves, the last resort


class Mode(StrEnum):
    DYNAMIC = "dynamic"
    STATIC = "static"


class AccessRule(StrEnum):
    """Who may charge: one rule, since a CPO replaces badges (manual 05.05)."""

    FREE = "free"
    BADGE = "badge"
    CPO = "cpo"


class Concurrency(StrEnum):
    """Whether one badge may charge at two connectors at once: a family shares a badge."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class ByteOrder(StrEnum):
    """How a badge's number is matched: some readers tell its bytes backwards."""

    AS_READ = "as_read"
    EITHER = "either"


class Dashboard(StrEnum):
    PUBLIC = "public"
    RESTRICTED = "restricted"


class Network(StrEnum):
    """Whether a one-phase car hangs between a line and the neutral, or between two lines."""

    WITH_NEUTRAL = "with_neutral"
    WITHOUT_NEUTRAL = "without_neutral"


@attrs.frozen
class Supply:
    """The building's connection. Dynamic mode is limited by `derated_ma` (building and stations together),
    static mode by `static_max_ma` (stations only); `fallback_ma` is what charging may draw while the meter is lost."""

    mode: Mode = Mode.STATIC
    phases: int = 3
    fuse_ma: PerPhase = PerPhase.same(63_000)
    derated_ma: PerPhase = PerPhase.same(50_400)
    static_max_ma: PerPhase = PerPhase()
    fallback_ma: PerPhase = PerPhase()
    lease_s: int | None = None  # None: 120 s in dynamic, 300 s in static mode
    network: Network = Network.WITH_NEUTRAL

    @property
    def limit_ma(self) -> PerPhase:
        return self.derated_ma if self.mode is Mode.DYNAMIC else self.static_max_ma

    @property
    def lease_ms(self) -> int:
        seconds = self.lease_s if self.lease_s is not None else 120 if self.mode is Mode.DYNAMIC else MAX_LEASE_S
        return seconds * 1000

    @property
    def site_phases(self) -> tuple[Phase, ...]:
        return PHASES[: self.phases]


@attrs.frozen
class Cluster:
    """A node of the limit tree; `parent` None is the site, `limit_ma` None adds no limit of its own."""

    id: str
    name: str
    parent: str | None = None
    limit_ma: PerPhase | None = None


@attrs.frozen
class Station:
    """A station as configured; `max_ma`, `min_ma`, `fallback_ma`, `start_alone_ma` are per connector and phase."""

    id: str
    name: str = ""
    cluster: str | None = DEFAULT_CLUSTER
    phase_rotation: tuple[Phase, ...] = PHASES
    max_ma: int = 16_000
    min_ma: int = LEAST_MINIMUM_MA
    fallback_ma: int | None = None
    start_alone_ma: int = 0
    priority: int = 0
    feed_ma: int | None = None
    out_of_service: bool = False
    badges: frozenset[str] | None = None  # None: all badges
    connectors: int = 1  # grows by itself when the station reports more
    security_profile: int = 0  # OCPP: 0 none, 1 key, 2 key over TLS, 3 certificates

    @cached_property
    def node(self) -> str:
        """The node of the limit tree that its connectors hang under."""
        return f"station:{self.id}" if self.feed_ma is not None else self.cluster or SITE


@attrs.frozen
class CurrentTransformer:
    primary_a: int
    secondary_a: int
    applied_by: str = "meter"  # or "manager"


@attrs.frozen
class MeterSetup:
    """A meter and the node it measures; without `includes_stations` it sees the other consumers only.

    `transport` is one of `TRANSPORTS`: `host` and `port` lead to a meter or a gateway, `serial` and what follows it to
    a line of our own. The models `MANUAL` and `STATIONS` stand for no meter at all: nothing is read, and the other
    consumers are taken to draw `load_ma` all the time.
    """

    node: str
    model: str
    host: str = ""
    port: int = 502
    unit: int = 1
    transport: str = "tcp"
    includes_stations: bool = True
    ct: CurrentTransformer | None = None
    invert: bool = False
    serial: str = ""
    baud: int = 9_600
    parity: str = "none"
    stop_bits: int = 1
    load_ma: PerPhase = PerPhase()

    @property
    def is_read(self) -> bool:
        """Whether there is a device that answers."""
        return self.model not in (MANUAL, STATIONS)

    @property
    def line(self) -> tuple[str, str, int]:
        """What its requests travel on: meters on the same line are asked one after the other."""
        return ("rtu", self.serial, 0) if self.transport == "rtu" else ("tcp", self.host, self.port)

    @property
    def line_speech(self) -> tuple[object, ...]:
        """How that line is spoken on: the same for every meter on it."""
        return (self.transport, *((self.baud, self.parity, self.stop_bits) if self.transport == "rtu" else ()))


@attrs.frozen
class Sharing:
    """The load shedding strategy."""

    strategy: Strategy = Strategy.EQUAL
    minimum_first: bool = True
    rotation_min: int = 15
    unbalance_ma: int | None = None


@attrs.frozen
class System:
    name: str = "Local Load Manager"
    country: str = ""
    time_zone: str = "Europe/Amsterdam"
    language: str = "en"
    dashboard: Dashboard = Dashboard.RESTRICTED


@attrs.frozen
class BadgeRules:
    """What holds for all badges, whoever has one."""

    concurrent: Concurrency = Concurrency.ALLOWED
    byte_order: ByteOrder = ByteOrder.AS_READ


@attrs.frozen
class Site:
    """Everything an administrator configures. Immutable; a change is a new `Site` that passed `check`."""

    system: System = System()
    supply: Supply = Supply()
    clusters: tuple[Cluster, ...] = (Cluster(DEFAULT_CLUSTER, "Cluster #1"),)
    stations: tuple[Station, ...] = ()
    meters: tuple[MeterSetup, ...] = ()
    sharing: Sharing = Sharing()
    access: AccessRule = AccessRule.BADGE  # CPO exactly while the uplink is enabled
    badge_rules: BadgeRules = BadgeRules()
    uplink: Uplink = Uplink()

    def station(self, station_id: str) -> Station | None:
        return self._by_id.get(station_id)

    @property
    def read_meters(self) -> tuple[MeterSetup, ...]:
        """The meters that are devices."""
        return tuple(meter for meter in self.meters if meter.is_read)

    def assumed(self, node: str) -> MeterSetup | None:
        """What stands in for a meter at this node, where nothing is read: its load is assumed all the time.

        Static mode knows no building at the site: there `static_max_ma` is for stations only.
        """
        if node == SITE and self.supply.mode is Mode.STATIC:
            return None
        return next((meter for meter in self.meters if meter.node == node and not meter.is_read), None)

    def limit_tree(self) -> tuple[LimitNode, ...]:
        """Site, clusters and double stations, parents first, each with its configured limit."""
        return self._tree

    @cached_property
    def _by_id(self) -> dict[str, Station]:
        return {station.id: station for station in reversed(self.stations)}

    @cached_property
    def _tree(self) -> tuple[LimitNode, ...]:
        site = LimitNode(SITE, None, self.supply.limit_ma)
        unlimited = PerPhase.same(MOST_MA)
        clusters = [LimitNode(c.id, c.parent or SITE, c.limit_ma or unlimited) for c in self._clusters_by_depth()]
        feeds = [
            LimitNode(s.node, s.cluster or SITE, PerPhase.same(s.feed_ma))
            for s in self.stations
            if s.feed_ma is not None
        ]
        return (site, *clusters, *feeds)

    def _clusters_by_depth(self) -> Iterator[Cluster]:
        placed: set[str | None] = {None}
        waiting = list(self.clusters)
        while waiting:
            ready = [cluster for cluster in waiting if cluster.parent in placed]
            if not ready:
                return  # a loop or a missing parent: `check` names it
            yield from ready
            placed.update(cluster.id for cluster in ready)
            waiting = [cluster for cluster in waiting if cluster.id not in placed]


class SiteError(ValueError):
    """A configuration that is refused, with every fault."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.text}" for fault in faults))
        self.faults = faults


def check(site: Site) -> None:
    """Raise `SiteError` with every fault; a `Site` that passes is safe to run (I6 included)."""
    faults = (
        *_supply_faults(site),
        *_tree_faults(site),
        *_station_faults(site),
        *_meter_faults(site),
        *_access_faults(site),
    )
    if not faults:
        faults = tuple(_floor_faults(site))
    if faults:
        raise SiteError(faults)


def _supply_faults(site: Site) -> Iterator[Fault]:
    supply = site.supply
    if supply.phases not in (1, 3):
        yield Fault("/supply/phases", "must be 1 or 3")
        return
    if supply.network is Network.WITHOUT_NEUTRAL:
        yield Fault("/supply/network", "without a neutral (3 × 230 V) a one-phase car loads two lines: not supported")
    if supply.lease_s is not None and not 30 <= supply.lease_s <= MAX_LEASE_S:
        yield Fault("/supply/lease_s", f"must lie between 30 and {MAX_LEASE_S} seconds")
    if not 1 <= site.sharing.rotation_min <= 24 * 60:
        yield Fault("/strategy/rotation_min", "must lie between 1 minute and a day")
    if site.sharing.unbalance_ma is not None and site.sharing.unbalance_ma < LEAST_MINIMUM_MA:
        yield Fault("/strategy/unbalance_a", "less than 6 A would never let a one-phase car charge")
    for phase in supply.site_phases:
        for name, value in (
            ("fuse_a", supply.fuse_ma),
            ("derated_a", supply.derated_ma),
            ("static_max_a", supply.static_max_ma),
            ("fallback_a", supply.fallback_ma),
        ):
            if not 0 <= value[phase] <= MOST_MA:
                yield Fault(f"/supply/{name}", f"{phase} must lie between 0 and {MOST_MA // 1000} A")
        if supply.derated_ma[phase] > supply.fuse_ma[phase]:
            yield Fault("/supply/derated_a", f"{phase} is above the installation protection")
        if supply.static_max_ma[phase] > supply.fuse_ma[phase]:
            yield Fault("/supply/static_max_a", f"{phase} is above the installation protection")
        if supply.fallback_ma[phase] > supply.derated_ma[phase]:
            yield Fault("/supply/fallback_a", f"{phase} is above the derated current")


def _tree_faults(site: Site) -> Iterator[Fault]:
    ids = [cluster.id for cluster in site.clusters]
    reachable = {cluster.id for cluster in site._clusters_by_depth()}
    for index, cluster in enumerate(site.clusters):
        at = f"/clusters/{index}"
        if not cluster.id or cluster.id == SITE or ":" in cluster.id or ids.count(cluster.id) > 1:
            yield Fault(f"{at}/id", f"“{cluster.id}” is empty, reserved or used twice")
        elif cluster.parent is not None and cluster.parent not in ids:
            yield Fault(f"{at}/parent", f"there is no cluster “{cluster.parent}”")
        elif cluster.id not in reachable:
            yield Fault(f"{at}/parent", "the clusters hang on each other in a circle")
        if cluster.limit_ma is not None and min(cluster.limit_ma) < 0:
            yield Fault(f"{at}/limit_a", "must not be negative")


def _station_faults(site: Site) -> Iterator[Fault]:
    clusters = {cluster.id for cluster in site.clusters}
    ids = [station.id for station in site.stations]
    for index, station in enumerate(site.stations):
        at = f"/stations/{index}"
        if not 1 <= len(station.id) <= 64 or ids.count(station.id) > 1:
            yield Fault(f"{at}/id", "must have 1 to 64 characters and be unique")
        if station.cluster is not None and station.cluster not in clusters:
            yield Fault(f"{at}/cluster", f"there is no cluster “{station.cluster}”")
        rotation = station.phase_rotation
        allowed = set(site.supply.site_phases)
        if len(rotation) not in (1, 3) or len(set(rotation)) != len(rotation) or not set(rotation) <= allowed:
            yield Fault(f"{at}/phase_rotation", "must name one phase of the site, or all three in their order")
        if not LEAST_MINIMUM_MA <= station.min_ma <= station.max_ma <= MOST_MA:
            yield Fault(f"{at}/min_a", "6 A ≤ minimum ≤ maximum must hold")
        for name, value in (("fallback_a", station.fallback_ma), ("start_alone_a", station.start_alone_ma)):
            if value is not None and value != 0 and not station.min_ma <= value <= station.max_ma:
                yield Fault(f"{at}/{name}", "must be 0 or lie between the minimum and the maximum")
        if station.feed_ma is not None and station.feed_ma < station.min_ma:
            yield Fault(f"{at}/feed_a", "is below the minimum of one connector")
        if station.connectors < 1:
            yield Fault(f"{at}/connectors", "must be at least 1")
        if not 0 <= station.security_profile <= 3:
            yield Fault(f"{at}/security_profile", "must be 0, 1, 2 or 3")


def _meter_faults(site: Site) -> Iterator[Fault]:
    nodes = {SITE, *(cluster.id for cluster in site.clusters)}
    measured = [meter.node for meter in site.meters]
    speeches: dict[tuple[str, str, int], tuple[object, ...]] = {}
    for index, meter in enumerate(site.meters):
        at = f"/meters/{index}"
        if meter.node not in nodes or measured.count(meter.node) > 1:
            yield Fault(f"{at}/node", f"“{meter.node}” is no node, or has two meters")
        yield from (Fault(f"{at}{fault.pointer}", fault.text) for fault in meter_faults(meter))
        if meter.is_read and speeches.setdefault(meter.line, meter.line_speech) != meter.line_speech:
            yield Fault(f"{at}/transport", "another meter speaks differently on the same line")


def meter_faults(meter: MeterSetup) -> Iterator[Fault]:
    """What is wrong with a meter by itself, pointing into it."""
    if not meter.model:
        yield Fault("/model", "must be given")
    if not meter.is_read:
        yield from _assumed_load_faults(meter)
        return
    yield from _line_faults(meter)
    ct = meter.ct
    if ct is not None and not (75 <= ct.primary_a <= 6000 and ct.secondary_a in (1, 5)):
        yield Fault("/ct", "primary must lie between 75 and 6000 A, secondary must be 1 or 5 A")
    if ct is not None and ct.applied_by not in ("meter", "manager"):
        yield Fault("/ct/applied_by", "must be meter or manager")
    if any(meter.load_ma):
        yield Fault("/load_a", "a meter that is read needs no assumed load")


def _assumed_load_faults(meter: MeterSetup) -> Iterator[Fault]:
    if not all(0 <= load_ma <= MOST_MA for load_ma in meter.load_ma):
        yield Fault("/load_a", f"must lie between 0 and {MOST_MA // 1000} A")
    if meter.model == MANUAL and not any(meter.load_ma):
        yield Fault("/load_a", "must say what the other consumers draw at the most")


def _line_faults(meter: MeterSetup) -> Iterator[Fault]:
    if meter.transport not in TRANSPORTS:
        yield Fault("/transport", f"must be one of {', '.join(TRANSPORTS)}")
    elif meter.transport == "rtu":
        if not meter.serial:
            yield Fault("/serial", "must name the serial line, like /dev/ttyUSB0")
        if not 1_200 <= meter.baud <= 115_200:
            yield Fault("/baud", "must lie between 1200 and 115200")
        if meter.parity not in PARITIES:
            yield Fault("/parity", f"must be one of {', '.join(PARITIES)}")
        if meter.stop_bits not in (1, 2):
            yield Fault("/stop_bits", "must be 1 or 2")
    elif not meter.host:
        yield Fault("/host", "model and host must be given")
    if not 1 <= meter.port <= 65_535:
        yield Fault("/port", "must lie between 1 and 65535")
    if not 0 <= meter.unit <= 255:
        yield Fault("/unit", "must lie between 0 and 255")


def _access_faults(site: Site) -> Iterator[Fault]:
    if (site.access is AccessRule.CPO) is not site.uplink.enabled:
        yield Fault("/access/rule", "is cpo exactly while the connection to the operator is switched on")
    yield from uplink_faults(site.uplink)


@attrs.frozen
class Floor:
    """What the stations under a node may give without us, and what is safe there without control."""

    node: str
    total_ma: PerPhase
    limit_ma: PerPhase


def floors(site: Site) -> tuple[Floor, ...]:
    """For every node, parents first, the sum that I6 is about; the site's own limit is its fallback in dynamic mode."""
    nodes = {node.id: node for node in site.limit_tree()}
    sums: dict[str, PerPhase] = dict.fromkeys(nodes, PerPhase())
    for station in site.stations:
        if station.out_of_service:
            continue
        left_alone_ma = max(station.start_alone_ma, station.fallback_ma or 0) * station.connectors
        floor = on_phases(left_alone_ma, station.phase_rotation)
        node: str | None = station.node
        while node is not None:
            sums[node] += floor
            node = nodes[node].parent
    is_dynamic = site.supply.mode is Mode.DYNAMIC
    safe = {SITE: nodes[SITE].limit_ma.smaller(site.supply.fallback_ma)} if is_dynamic else {}
    return tuple(Floor(node_id, total, safe.get(node_id, nodes[node_id].limit_ma)) for node_id, total in sums.items())


def _floor_faults(site: Site) -> Iterator[Fault]:
    """I6: what stations may give without us fits every node, and the site's fallback in dynamic mode."""
    for floor in floors(site):
        for phase in site.supply.site_phases:
            if floor.total_ma[phase] > floor.limit_ma[phase]:
                yield Fault(
                    "/stations",
                    f"what stations may give by themselves adds up to {floor.total_ma[phase] / 1000:g} A on {phase} of"
                    f" “{floor.node}”, more than the {floor.limit_ma[phase] / 1000:g} A that are safe there"
                    " without control",
                )


@lru_cache(maxsize=4_096)  # a tick asks this several times for each connector, mostly for the same few limits
def on_phases(value_ma: int, phases: tuple[Phase, ...]) -> PerPhase:
    """`value_ma` on the named phases, 0 on the others."""
    return PerPhase(
        value_ma if Phase.L1 in phases else 0,
        value_ma if Phase.L2 in phases else 0,
        value_ma if Phase.L3 in phases else 0,
    )
