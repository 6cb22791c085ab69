"""Facts that come in. Each is a value: it can be journalled and replayed.

An event with a `request` waits for a `Reply` with the same number; the shell gives the number out. `at` is a stamp
by the sender's clock (None: none, or not believable); when an event *arrived* is the `now` of its step.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.authorisation import Badge, Verdict
from llm_core.external import ConnectorCapped, LimitHeard, LimitPut, LimitWithdrawn
from llm_core.orders import OrderEnded, StationCare, StationOrdered, StationScanStarted, StationScanStopped
from llm_core.site import (
    AccessRule,
    BadgeRules,
    Cluster,
    MeterSetup,
    Sharing,
    Site,
    Station,
    Supply,
    System,
)
from llm_core.uplink import Uplink, UplinkState
from llm_core.wish import WishPut


class Status(StrEnum):
    """What a connector says of itself, in OCPP 1.6's words (§7.7)."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


@attrs.frozen
class Tick:
    """Time passed: the only event on which limits are computed."""


@attrs.frozen
class MeterSampled:
    """A reading of the meter at a node. A phase that could not be read or believed is None: it ages as silent.

    `taken_ms` is the monotonic instant the question was sent; `fingerprint` stands for all registers read, so that
    a meter that repeats itself is seen. The other quantities are for people and history.
    """

    node: str
    current_ma: tuple[int | None, int | None, int | None]
    taken_ms: int
    fingerprint: int
    voltage_mv: tuple[int | None, int | None, int | None] = (None, None, None)
    power_w: int | None = None
    energy_import_wh: int | None = None
    energy_export_wh: int | None = None
    frequency_mhz: int | None = None


@attrs.frozen
class StationConnected:
    station_id: str
    address: str = ""
    path: str = ""


@attrs.frozen
class StationDisconnected:
    station_id: str


class TurnedAwayFor(StrEnum):
    """Why somebody who calls himself a station was not let in."""

    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    NOT_ENCRYPTED = "not_encrypted"
    NO_CERTIFICATE = "no_certificate"
    ID_IN_USE = "id_in_use"  # somebody is connected who answers to this id


@attrs.frozen
class StationTurnedAway:
    """Somebody at `address` used the id of a station and was refused; the station itself keeps its link."""

    station_id: str
    address: str
    reason: TurnedAwayFor


@attrs.frozen
class StationBooted:
    """The station started: what it held may be gone, and what it holds is unknown. Answer: `BootAnswer`."""

    station_id: str
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    request: int = 0


@attrs.frozen
class Capabilities:
    """What a station can do with limits; the cautious assumption until a probe says otherwise."""

    step_ma: int = 1_000
    in_watts: bool = False
    stacks: bool = True  # a live profile can lie above the permanent floor
    decays: bool = True  # a second schedule period is kept to
    keeps_profiles: bool = False  # proven: profiles survive a reboot
    takes_limits: bool = True  # False: it refused every wording, so it counts with its maximum all the time
    forgets: bool = False  # proven: left alone or restarted it may give its maximum


@attrs.frozen
class CapabilitiesFound:
    station_id: str
    capabilities: Capabilities


@attrs.frozen
class StationClockRead:
    """A live stamp of the station, `ahead_ms` of our UTC on arrival (negative: behind).

    Told on each link anew: without one the station is not raised, and after 30 s its clock counts as unknown.
    """

    station_id: str
    ahead_ms: int


@attrs.frozen
class StatusChanged:
    station_id: str
    connector: int
    status: Status
    error: str = ""
    at: datetime | None = None


@attrs.frozen
class BadgePresented:
    """A driver holds a badge to a station. Answer: `Authorised`."""

    station_id: str
    id_tag: str
    request: int = 0


@attrs.frozen
class StartRequested:
    """A station starts a transaction. Answer: `Started`. `said` are its own words, for the CPO."""

    station_id: str
    connector: int
    id_tag: str
    meter_start_wh: int
    at: datetime | None = None
    request: int = 0
    said: str = attrs.field(default="", repr=False)


@attrs.frozen
class StopRequested:
    """A station ended a transaction, perhaps long ago. Answer: `Stopped`. `said` are its own words, for the CPO."""

    station_id: str
    transaction_id: int
    meter_stop_wh: int | None
    at: datetime | None = None
    reason: str = "Local"
    id_tag: str | None = None
    request: int = 0
    said: str = attrs.field(default="", repr=False)


@attrs.frozen
class MeterValuesReceived:
    """A station's own reading. `current_ma` follows the *station's* phases; None where it says nothing, and a single
    value where it does not say of which. `spread` where only a total is measured: their sum counts, not each."""

    station_id: str
    connector: int
    transaction_id: int | None = None
    current_ma: tuple[int | None, ...] | None = None
    register_wh: int | None = None
    at: datetime | None = None
    spread: bool = False


@attrs.frozen
class LimitConfirmed:
    """The station acknowledged the command `seq` (a `SetLimit` or `ClearLimit`)."""

    station_id: str
    connector: int
    seq: int


@attrs.frozen
class LimitRefused:
    """The station does not hold the command `seq`: it said so, or (`untold`) it never heard of it."""

    station_id: str
    connector: int
    seq: int
    reason: str = ""
    untold: bool = False


@attrs.frozen
class LimitUnanswered:
    """Nobody knows whether the station holds the command `seq`: no answer in time, or the link was lost."""

    station_id: str
    connector: int
    seq: int


@attrs.frozen
class PutSystem:
    system: System


@attrs.frozen
class PutSupply:
    supply: Supply


@attrs.frozen
class PutClusters:
    clusters: tuple[Cluster, ...]


@attrs.frozen
class PutMeters:
    meters: tuple[MeterSetup, ...]


@attrs.frozen
class PutSharing:
    sharing: Sharing


@attrs.frozen
class PutAccess:
    """Who may charge; `badge_rules` None leaves those as they are."""

    rule: AccessRule
    badge_rules: BadgeRules | None = None


@attrs.frozen
class PutUplink:
    """The CPO takes over the badges while it is enabled: the access rule follows."""

    uplink: Uplink


@attrs.frozen
class PutStation:
    """Add a station (adopting it when it waits) or replace the one with this id."""

    station: Station


@attrs.frozen
class PutStations:
    """Several stations at once, all or none."""

    stations: tuple[Station, ...]


@attrs.frozen
class RemoveStation:
    station_id: str


SiteEdit = (
    PutSystem
    | PutSupply
    | PutClusters
    | PutMeters
    | PutSharing
    | PutAccess
    | PutUplink
    | PutStation
    | PutStations
    | RemoveStation
)


@attrs.frozen
class SiteEdited:
    """Somebody changes the configuration. Answer: `Saved` or `NotSaved` with every fault; nothing half applied."""

    by: str
    edit: SiteEdit
    request: int = 0


@attrs.frozen
class ConfigurationReplaced:
    """A whole site, and all badges (None: they stay), in place of the present ones. Answer: `Saved` or `NotSaved`."""

    by: str
    site: Site
    badges: tuple[Badge, ...] | None = None
    request: int = 0


@attrs.frozen
class BadgesEdited:
    """Somebody adds, changes (by `badge_id`) or removes badges, all or none. Answer: `Saved` or `NotSaved`."""

    by: str
    put: tuple[Badge, ...] = ()
    remove: tuple[str, ...] = ()
    request: int = 0


@attrs.frozen
class BadgeScanStarted:
    """Unknown badges held to these stations (None: all) become pending ones. Answer: `Saved` or `NotSaved`."""

    by: str
    stations: frozenset[str] | None = None
    duration_s: int = 180
    request: int = 0


@attrs.frozen
class BadgeScanStopped:
    """Enough badges. Answer: `Saved`, also where no scan ran."""

    by: str
    request: int = 0


@attrs.frozen
class UplinkReported:
    """How a station stands with the CPO now; `error` is the last one, in words. `failed`: it was tried in vain."""

    station_id: str
    state: UplinkState
    queued: int = 0
    refused: int = 0
    doubtful: int = 0
    error: str = ""
    failed: bool = False


@attrs.frozen
class CpoAnswered:
    """What the CPO says of a badge: to the question `ask`, or to the start of `transaction_id`.

    `verdict` None: it cannot be asked, or does not answer. A verdict that nobody waits for is remembered all the same.
    """

    station_id: str
    id_tag: str
    verdict: Verdict | None
    ask: int | None = None
    transaction_id: int | None = None
    expires_at: datetime | None = None


@attrs.frozen
class CpoCacheCleared:
    """The CPO wants all that it ever said of badges forgotten."""


@attrs.frozen
class SetUpDone:
    """The factory state is over: somebody has set a password of their own, stations may be given current."""


@attrs.frozen
class ClockStepped:
    """Our own UTC jumped by `by_ms` against the monotonic clock."""

    by_ms: int


@attrs.frozen
class StorageFailed:
    """A commit failed: until `StorageHealed` nothing is promised and no limit is raised."""

    reason: str


@attrs.frozen
class StorageHealed:
    pass


Event = (
    Tick
    | MeterSampled
    | StationConnected
    | StationDisconnected
    | StationTurnedAway
    | StationBooted
    | CapabilitiesFound
    | StationClockRead
    | StatusChanged
    | BadgePresented
    | StartRequested
    | StopRequested
    | MeterValuesReceived
    | LimitConfirmed
    | LimitRefused
    | LimitUnanswered
    | SiteEdited
    | ConfigurationReplaced
    | BadgesEdited
    | StationCare
    | BadgeScanStarted
    | BadgeScanStopped
    | LimitPut
    | LimitHeard
    | LimitWithdrawn
    | ConnectorCapped
    | WishPut
    | UplinkReported
    | CpoAnswered
    | CpoCacheCleared
    | SetUpDone
    | ClockStepped
    | StorageFailed
    | StorageHealed
)
Request = (
    StationBooted
    | BadgePresented
    | StartRequested
    | StopRequested
    | SiteEdited
    | ConfigurationReplaced
    | BadgesEdited
    | StationOrdered
    | OrderEnded
    | StationScanStarted
    | StationScanStopped
    | BadgeScanStarted
    | BadgeScanStopped
    | LimitPut
    | LimitHeard
    | LimitWithdrawn
    | WishPut
)
