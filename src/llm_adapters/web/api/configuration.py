"""The whole configuration as one document: what `config export` prints and `config import` takes.

Its parts have the shapes of the API, and the core's faults about a site point into it as they are. No secret is in it.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from llm_adapters.web.api.exact import Json, Member, Record, listed, text, word
from llm_adapters.web.api.shapes import (
    ACCESS,
    BADGE,
    MOST_ENTRIES,
    STATION_IN_FILE,
    STRATEGY,
    SUPPLY,
    SYSTEM,
    Access,
    clusters,
    meters,
    new_station,
)
from llm_adapters.web.api.uplink import UPLINK
from llm_core import (
    PHASES,
    Badge,
    Cluster,
    MeterSetup,
    Phase,
    PutAccess,
    PutUplink,
    Role,
    Sharing,
    Site,
    Station,
    Supply,
    System,
    Uplink,
    User,
    edited,
)

MOST_BADGES = 100_000


@attrs.frozen
class Configuration:
    """Everything that an administrator configures; the passwords of the users are not part of it."""

    system: System
    supply: Supply
    clusters: tuple[Cluster, ...]
    meters: tuple[MeterSetup, ...]
    stations: tuple[Station, ...]
    sharing: Sharing
    access: Access
    uplink: Uplink
    badges: tuple[Badge, ...]
    users: tuple[User, ...]

    @classmethod
    def of(cls, site: Site, badges: tuple[Badge, ...] = (), users: tuple[User, ...] = ()) -> Configuration:
        parts = attrs.asdict(site, filter=attrs.filters.exclude("badge_rules"), recurse=False)
        return cls(**{**parts, "access": Access.of(site)}, badges=badges, users=users)

    @property
    def site(self) -> Site:
        return Site(
            system=self.system,
            supply=self.supply,
            clusters=self.clusters,
            stations=self.stations,
            meters=self.meters,
            sharing=self.sharing,
            access=self.access.rule,
            badge_rules=self.access.badge_rules,
            uplink=self.uplink,
        )


def write_configuration(configuration: Configuration) -> dict[str, Json]:
    return _document(configuration.supply.site_phases, ()).write(configuration)


def read_configuration(document: object, base: Configuration, meter_models: Collection[str] = ()) -> Configuration:
    """`base` with the parts that the document names, each replaced as a whole; the core has yet to check it.

    Raises `Wrong` with every fault, pointing into the document.
    """
    supply = document.get("supply") if isinstance(document, dict) else None
    phases = base.supply.site_phases
    if isinstance(supply, dict):
        phases = PHASES[:1] if supply.get("phases") == 1 else PHASES
    read = _document(phases, meter_models).read(document, base)
    if isinstance(document, dict) and ("access" in document) is not ("uplink" in document):
        site = edited(base.site, PutAccess(read.access.rule) if "access" in document else PutUplink(read.uplink))
        return attrs.evolve(read, access=attrs.evolve(read.access, rule=site.access), uplink=site.uplink)
    return read


def _document(phases: tuple[Phase, ...], meter_models: Collection[str]) -> Record[Configuration]:
    site = Site(supply=Supply(phases=len(phases)))
    stations = listed(STATION_IN_FILE.shape(new_station("", site)), MOST_ENTRIES)
    return Record(
        Member("system", "system", SYSTEM.shape(System())),
        Member("supply", "supply", SUPPLY),
        Member("clusters", "clusters", clusters(phases)),
        Member("meters", "meters", meters(meter_models, phases)),
        Member("stations", "stations", stations),
        Member("strategy", "sharing", STRATEGY.shape(Sharing())),
        Member("access", "access", ACCESS.shape(Access())),
        Member("uplink", "uplink", UPLINK),
        Member("badges", "badges", listed(BADGE.shape(Badge("")), MOST_BADGES)),
        Member("users", "users", listed(_USER.shape(User("", Role.STANDARD)), MOST_ENTRIES)),
    )


_USER: Record[User] = Record(
    Member("name", "name", text(64, least=1), required=True), Member("role", "role", word(Role), required=True)
)
