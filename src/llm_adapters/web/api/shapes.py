"""The resources of the API as tables: which field of which JSON object is which attribute of which core value.

`GET` and `PUT` come from the same `Record`, so a configuration that was read can be sent back unchanged. Amps carry
at most three decimals, so nothing is lost on the way to milliamps. Every reader raises `Wrong`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from llm_adapters.web.api.exact import (
    AMPS,
    BOOLEAN,
    DAY,
    Json,
    Member,
    Record,
    Schema,
    Shape,
    all_or_chosen,
    choice,
    listed,
    nullable,
    on_phases,
    per_phase,
    text,
    whole,
    word,
    wrong,
)
from llm_adapters.web.desk import MeterModels
from llm_adapters.web.languages import LANGUAGES
from llm_core import (
    DEFAULT_CLUSTER,
    LONGEST,
    LONGEST_TAG,
    MANUAL,
    PARITIES,
    PHASES,
    SITE,
    STATIONS,
    TRANSPORTS,
    AccessRule,
    Badge,
    BadgeRules,
    BadgeState,
    BadgeType,
    ByteOrder,
    Cluster,
    Concurrency,
    CurrentTransformer,
    Dashboard,
    MeterSetup,
    Mode,
    Network,
    Phase,
    PutAccess,
    PutClusters,
    PutMeters,
    PutSharing,
    PutSupply,
    PutSystem,
    Role,
    Sharing,
    Site,
    SiteEdit,
    Station,
    Strategy,
    Supply,
    System,
    normalise,
)

NAME = text(100)
ID = text(64, least=1)
MOST_ENTRIES = 10_000
LEAST_KEY, LONGEST_KEY = 16, 40  # bytes: OCPP-J 1.6 §6.2 asks for 16 to 20, the security white paper for up to 40


def _judged(shape: Shape[str], judge: Callable[[str], str | None]) -> Shape[str]:
    """`shape`, and what else `judge` finds wrong with it."""

    def read(value: object) -> str:
        read = shape.read(value)
        fault = judge(read)
        if fault is not None:
            raise wrong(fault)
        return read

    return Shape(read, shape.write, shape.schema)


# Supply


def _supply(phases: tuple[Phase, ...]) -> Record[Supply]:
    amps = per_phase(phases)
    return Record(
        Member("mode", "mode", word(Mode)),
        Member("phases", "phases", choice(1, 3)),
        Member("fuse_a", "fuse_ma", amps),
        Member("derated_a", "derated_ma", amps),
        Member("static_max_a", "static_max_ma", amps),
        Member("fallback_a", "fallback_ma", amps),
        Member("lease_s", "lease_s", nullable(whole(0, 3600))),
        Member("network", "network", word(Network)),
    )


def read_supply(body: object) -> Supply:
    """A whole supply; `derated_a` left out is 80 % of the protection."""
    given: Mapping[object, object] = body if isinstance(body, dict) else {}
    phases = PHASES[:1] if given.get("phases") == 1 else PHASES
    supply = _supply(phases).read(body, Supply(phases=len(phases)))
    if "derated_a" not in given:
        supply = attrs.evolve(supply, derated_ma=supply.fuse_ma.map(lambda fuse_ma: fuse_ma * 8 // 10))
    return attrs.evolve(
        supply, fuse_ma=on_phases(supply.fuse_ma, phases), derated_ma=on_phases(supply.derated_ma, phases)
    )


def write_supply(supply: Supply) -> dict[str, Json]:
    return _supply(supply.site_phases).write(supply)


SUPPLY: Shape[Supply] = Shape(read_supply, write_supply, _supply(PHASES).schema)


# Clusters, meters, and the smaller settings


def clusters(phases: tuple[Phase, ...]) -> Shape[tuple[Cluster, ...]]:
    """All clusters; one without a name is called by its id."""
    record: Record[Cluster] = Record(
        Member("id", "id", ID, required=True),
        Member("name", "name", NAME),
        Member("parent", "parent", nullable(ID)),
        Member("limit_a", "limit_ma", nullable(per_phase(phases))),
    )

    def read(value: object) -> Cluster:
        cluster = record.read(value, Cluster("", ""))
        return attrs.evolve(cluster, name=cluster.name or cluster.id)

    return listed(Shape(read, record.write, record.schema), MOST_ENTRIES)


_TRANSFORMER: Record[CurrentTransformer] = Record(
    Member("primary_a", "primary_a", whole(0, 100_000), required=True),
    Member("secondary_a", "secondary_a", whole(0, 100), required=True),
    Member("applied_by", "applied_by", choice("meter", "manager")),
)


def meters(models: Collection[str], phases: tuple[Phase, ...] = PHASES) -> Shape[tuple[MeterSetup, ...]]:
    return listed(meter(models, phases).shape(MeterSetup(SITE, "")), MOST_ENTRIES)


def meter(models: Collection[str], phases: tuple[Phase, ...] = PHASES) -> Record[MeterSetup]:
    """A meter of one of these models (empty: any), or of those that stand for none."""
    return Record(
        Member("node", "node", ID),
        Member("model", "model", _model(models), required=True),
        Member("transport", "transport", choice(*TRANSPORTS)),
        Member("host", "host", text(255)),
        Member("port", "port", whole(1, 65_535)),
        Member("serial", "serial", text(255)),
        Member("baud", "baud", whole(1, 1_000_000)),
        Member("parity", "parity", choice(*PARITIES)),
        Member("stop_bits", "stop_bits", choice(1, 2)),
        Member("unit", "unit", whole(0, 255)),
        Member("includes_stations", "includes_stations", BOOLEAN),
        Member("ct", "ct", nullable(_TRANSFORMER.shape(CurrentTransformer(0, 0)))),
        Member("invert", "invert", BOOLEAN),
        Member("load_a", "load_ma", per_phase(phases)),
    )


def _model(models: Collection[str]) -> Shape[str]:
    """The id of a meter; one that is refused is refused with the reason where there is one."""
    known = sorted({*models, MANUAL, STATIONS})

    def fault(name: str) -> str | None:
        if not models or name in known:
            return None
        return models.why_not(name) if isinstance(models, MeterModels) else f"must be one of {', '.join(known)}"

    judged = _judged(ID, fault)
    return Shape(judged.read, judged.write, {"enum": [*known]} if models else judged.schema)


def _time_zone_fault(name: str) -> str | None:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return "is no time zone like Europe/Amsterdam"
    return None


SYSTEM: Record[System] = Record(
    Member("name", "name", NAME),
    Member("country", "country", NAME),
    Member("time_zone", "time_zone", _judged(NAME, _time_zone_fault)),
    Member("language", "language", choice(*LANGUAGES)),
    Member("dashboard", "dashboard", word(Dashboard)),
)
STRATEGY: Record[Sharing] = Record(
    Member("strategy", "strategy", word(Strategy)),
    Member("minimum_first", "minimum_first", BOOLEAN),
    Member("rotation_min", "rotation_min", whole(0, 10_000)),
    Member("unbalance_a", "unbalance_ma", nullable(AMPS)),
)


@attrs.frozen
class Access:
    """Who may charge, and what holds for every badge."""

    rule: AccessRule = AccessRule.BADGE
    concurrent: Concurrency = Concurrency.ALLOWED
    byte_order: ByteOrder = ByteOrder.AS_READ

    @classmethod
    def of(cls, site: Site) -> Access:
        return cls(site.access, site.badge_rules.concurrent, site.badge_rules.byte_order)

    @property
    def badge_rules(self) -> BadgeRules:
        return BadgeRules(self.concurrent, self.byte_order)


ACCESS: Record[Access] = Record(
    Member("rule", "rule", word(AccessRule)),
    Member("concurrent", "concurrent", word(Concurrency)),
    Member("byte_order", "byte_order", word(ByteOrder)),
)


def _read_access(body: object, _: Site) -> PutAccess:
    access = ACCESS.read(body, Access())
    return PutAccess(access.rule, access.badge_rules)


@attrs.frozen
class Setting:
    """A part of the site that is read and replaced as a whole.

    Its path, and where the core's pointers to it begin, is `/name`; `pointer` is where it begins in the body.
    """

    name: str
    read: Callable[[object, Site], SiteEdit]
    write: Callable[[Site], Json]
    schema: Schema
    pointer: str = ""


def settings(meter_models: Collection[str]) -> tuple[Setting, ...]:
    """Every setting; a meter must be of one of these models (empty: any)."""

    def all_clusters(phases: tuple[Phase, ...]) -> Record[Site]:
        return Record(Member("clusters", "clusters", clusters(phases)))

    def all_meters(phases: tuple[Phase, ...]) -> Record[Site]:
        return Record(Member("meters", "meters", meters(meter_models, phases)))

    return (
        Setting(
            "supply",
            lambda body, _: PutSupply(read_supply(body)),
            lambda site: write_supply(site.supply),
            SUPPLY.schema,
        ),
        Setting(
            "clusters",
            lambda body, site: PutClusters(all_clusters(site.supply.site_phases).read(body, Site()).clusters),
            lambda site: all_clusters(site.supply.site_phases).write(site),
            all_clusters(PHASES).schema,
            "/clusters",
        ),
        Setting(
            "meters",
            lambda body, site: PutMeters(all_meters(site.supply.site_phases).read(body, Site()).meters),
            lambda site: all_meters(site.supply.site_phases).write(site),
            all_meters(PHASES).schema,
            "/meters",
        ),
        Setting(
            "strategy",
            lambda body, _: PutSharing(STRATEGY.read(body, Sharing())),
            lambda site: STRATEGY.write(site.sharing),
            STRATEGY.schema,
        ),
        Setting("access", _read_access, lambda site: ACCESS.write(Access.of(site)), ACCESS.schema),
        Setting(
            "system",
            lambda body, _: PutSystem(SYSTEM.read(body, System())),
            lambda site: SYSTEM.write(site.system),
            SYSTEM.schema,
        ),
    )


# Stations


def _read_no_password(value: object) -> None:
    if value not in (None, ""):
        raise wrong("is set by the API or on the station's page: a file holds no secret")


def _read_password(value: object) -> bytes | None:
    """A new key; empty to remove it; None to keep what there is."""
    password = nullable(text(LONGEST_KEY * 2)).read(value)
    if password is None or password == "":
        return None if password is None else b""
    key = password.encode()
    if not LEAST_KEY <= len(bytes.fromhex(password) if is_hex(password) else key) <= LONGEST_KEY:
        raise wrong(f"must have {LEAST_KEY} to {LONGEST_KEY} characters, or be the hex digits of so many bytes")
    return key


def is_hex(password: str) -> bool:
    """Whether it is a key of 16 bytes or more in hex digits, as OCPP hands keys over."""
    return len(password) % 2 == 0 and len(password) >= 2 * LEAST_KEY and set(password) <= set("0123456789abcdefABCDEF")


_NO_PASSWORD: Shape[None] = Shape(_read_no_password, lambda _: None, {"enum": [None, ""]})
_PASSWORD: Shape[bytes | None] = Shape(
    _read_password, lambda _: None, {"anyOf": [{"type": "string", "maxLength": LONGEST_KEY * 2}, {"type": "null"}]}
)

_STATION = (
    Member("id", "id", _judged(ID, lambda name: "must not contain /" if "/" in name else None), required=True),
    Member("name", "name", NAME),
    Member("cluster", "cluster", nullable(ID)),
    Member("phase_rotation", "phase_rotation", listed(word(Phase), 3)),
    Member("max_a", "max_ma", AMPS),
    Member("min_a", "min_ma", AMPS),
    Member("fallback_a", "fallback_ma", nullable(AMPS)),
    Member("start_alone_a", "start_alone_ma", AMPS),
    Member("priority", "priority", whole(-1_000, 1_000)),
    Member("feed_a", "feed_ma", nullable(AMPS)),
    Member("out_of_service", "out_of_service", BOOLEAN),
    Member("badges", "badges", all_or_chosen(ID, MOST_ENTRIES)),
    Member("security_profile", "security_profile", choice(0, 1, 2, 3)),
)
STATION: Record[Station] = Record(*_STATION, Member("password", None, _PASSWORD))
STATION_IN_FILE: Record[Station] = Record(*_STATION, Member("password", None, _NO_PASSWORD))


def password_of(body: object) -> bytes | None:
    """The password in the body of a station that was read already; empty to remove it, None to keep what there is."""
    return _read_password(body.get("password")) if isinstance(body, dict) else None


def new_station(station_id: str, site: Site) -> Station:
    """A station with nothing said about it yet: wired to every phase that the site has, in the default cluster.

    Where somebody removed that cluster, the station hangs on the site itself.
    """
    cluster = DEFAULT_CLUSTER if any(cluster.id == DEFAULT_CLUSTER for cluster in site.clusters) else None
    return Station(station_id, cluster=cluster, phase_rotation=site.supply.site_phases)


# Badges and users


def _badge_id_fault(badge_id: str) -> str | None:
    fits = 1 <= len(normalise(badge_id)) <= LONGEST_TAG
    return None if fits else f"must have 1 to {LONGEST_TAG} characters, colons and blanks aside"


def _email_fault(address: str) -> str | None:
    name, at, host = address.partition("@")
    good = not address or (name and at and host and not any(letter.isspace() for letter in address))
    return None if good else "is no e-mail address"


def email(most: int) -> Shape[str]:
    """An e-mail address, or nothing."""
    return _judged(text(most), _email_fault)


BADGE: Record[Badge] = Record(
    Member("badge_id", "badge_id", _judged(ID, _badge_id_fault), required=True),
    Member("type", "type", word(BadgeType)),
    Member("state", "state", word(BadgeState)),
    Member("group", "group", nullable(NAME)),
    Member("comment", "comment", text(200)),
    Member("email", "email", _judged(text(200), _email_fault)),
    Member("expires_on", "expires_on", nullable(DAY)),
    Member("stations", "stations", all_or_chosen(ID, MOST_ENTRIES)),
)


@attrs.frozen
class NewUser:
    """A user to be: the password is temporary."""

    name: str = ""
    role: Role = Role.STANDARD
    password: str = attrs.field(default="", repr=False)


@attrs.frozen
class ChangedUser:
    """What is to be changed of a user; a new password is temporary again."""

    role: Role | None = None
    password: str | None = attrs.field(default=None, repr=False)


CHANGED_USER: Record[ChangedUser] = Record(
    Member("role", "role", word(Role)), Member("password", "password", text(LONGEST, least=1))
)


@attrs.frozen
class NewToken:
    """A token to be: what it may do and what it is for."""

    role: Role = Role.STANDARD
    label: str = ""


NEW_TOKEN: Record[NewToken] = Record(
    Member("role", "role", word(Role), required=True), Member("label", "label", text(64, least=1), required=True)
)
NEW_USER: Record[NewUser] = Record(
    Member(
        "name",
        "name",
        _judged(text(64, least=1), lambda name: None if name == name.strip() else "has blanks around"),
        required=True,
    ),
    Member("role", "role", word(Role), required=True),
    Member("password", "password", text(LONGEST, least=1), required=True),
)
