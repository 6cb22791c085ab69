"""The way up to a charge point operator (CPO): what an administrator sets, and how each station stands with it.

Secrets (passwords, private keys) are no part of it: they lie in a table of their own and never in a `Site`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.problem import Fault

LONGEST_URL = 512
LONGEST_OCPP_ID = 64


class OfflinePolicy(StrEnum):
    """Who may charge while the CPO does not answer."""

    CACHED = "cached"  # whom the CPO let in before
    LOCAL = "local"  # whom the local badges let in
    REFUSE = "refuse"  # nobody


class UplinkState(StrEnum):
    """How a station stands with the CPO."""

    OFF = "off"
    CONNECTING = "connecting"
    ACCEPTED = "accepted"
    PENDING = "pending"
    REFUSED = "refused"
    OFFLINE = "offline"


AWAY = frozenset({UplinkState.CONNECTING, UplinkState.OFFLINE})


@attrs.frozen
class CpoServer:
    """An entry of the list to choose from."""

    name: str
    url: str


@attrs.frozen
class UplinkStation:
    """A station as the CPO knows it. `url` None is the server chosen for all; `certificate` (PEM) identifies the
    station by TLS (security profile 3)."""

    station_id: str
    ocpp_id: str = ""
    url: str | None = None
    certificate: str = ""


@attrs.frozen
class Uplink:
    """The CPO that takes over the badges while `enabled`. `ca` (PEM) is whom to trust beside the usual authorities."""

    enabled: bool = False
    url: str = ""
    offline: OfflinePolicy = OfflinePolicy.CACHED
    ca: str = ""
    servers: tuple[CpoServer, ...] = ()
    stations: tuple[UplinkStation, ...] = ()

    def station(self, station_id: str) -> UplinkStation | None:
        return next((entry for entry in self.stations if entry.station_id == station_id), None)

    def url_of(self, entry: UplinkStation) -> str:
        return self.url if entry.url is None else entry.url


@attrs.frozen
class UplinkStatus:
    """How one station stands with the CPO; `error` is the last one, in words. `queued` messages wait for the CPO,
    `refused` ones it has refused for good, `doubtful` starts it may have counted twice."""

    state: UplinkState
    since: datetime
    since_ms: int
    queued: int = 0
    refused: int = 0
    doubtful: int = 0
    error: str = ""
    failed: bool = False  # when it was last tried; not yet tried, or left because the station was away, it may be there

    @property
    def may_be_there(self) -> bool:
        """Whether it is worth to wait for a link that is being made."""
        return self.state is UplinkState.ACCEPTED or (self.state in AWAY and not self.failed)


def uplink_faults(uplink: Uplink) -> Iterator[Fault]:
    """Everything that is wrong with these settings."""
    if uplink.url:
        yield from _url_faults("/uplink/url", uplink.url)
    for index, server in enumerate(uplink.servers):
        if not server.name.strip():
            yield Fault(f"/uplink/servers/{index}/name", "must be given")
        yield from _url_faults(f"/uplink/servers/{index}/url", server.url)
    ids = [(uplink.url_of(entry), entry.ocpp_id) for entry in uplink.stations]
    for entry in uplink.stations:
        at = f"/uplink/stations/{entry.station_id}"
        if not entry.ocpp_id.strip() or len(entry.ocpp_id) > LONGEST_OCPP_ID or not entry.ocpp_id.isprintable():
            yield Fault(f"{at}/ocpp_id", f"must have 1 to {LONGEST_OCPP_ID} characters")
        elif ids.count((uplink.url_of(entry), entry.ocpp_id)) > 1:
            yield Fault(f"{at}/ocpp_id", f"“{entry.ocpp_id}” is given to two stations")
        if entry.url is not None:
            yield from _url_faults(f"{at}/url", entry.url)


def _url_faults(pointer: str, url: str) -> Iterator[Fault]:
    found = _URL.fullmatch(url)
    if found is None or len(url) > LONGEST_URL or not url.isprintable() or not 0 < int(found["port"] or 1) <= 65_535:
        yield Fault(pointer, "must be an address like wss://cpo.example/ocpp")
    elif "@" in found["host"] or found["rest"]:
        yield Fault(pointer, "must be without user, password, ? and #")


_URL = re.compile(
    r"wss?://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/?#\[\]]*?[^\s/?#\[\]:])(:(?P<port>[0-9]{1,5}))?(/[^\s?#]*)?(?P<rest>[?#]\S*)?"
)
