"""What people ask of a station, beside charging: the words of it, and what stations tell of it afterwards.

The core judges whether an order may be given (`StationOrdered`), an adapter gives it, and tells how it ended
(`OrderEnded`). So the audit trail has each with its outcome, and control knows of what changes the station.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.commissions import CommissionTold
from llm_core.local_lists import LocalListTold


class Order(StrEnum):
    """What can be asked of a station, as the API calls it."""

    RESET = "reset"
    UNLOCK = "unlock"
    REMOTE_START = "remote-start"
    REMOTE_STOP = "remote-stop"
    AVAILABILITY = "availability"
    RESERVE = "reserve"
    CANCEL_RESERVATION = "cancel-reservation"
    CLEAR_CACHE = "clear-cache"
    GET_CONFIGURATION = "get-configuration"
    CHANGE_CONFIGURATION = "change-configuration"
    PHASE_ROTATION = "phase-rotation"
    COMPOSITE_SCHEDULE = "composite-schedule"
    TRIGGER = "trigger"
    EXTENDED_TRIGGER = "extended-trigger"
    DIAGNOSTICS = "diagnostics"
    LOG = "log"
    FIRMWARE = "firmware"
    SIGNED_FIRMWARE = "signed-firmware"
    LOCAL_LIST_VERSION = "local-list-version"
    CERTIFICATES = "certificates"
    INSTALL_CERTIFICATE = "install-certificate"
    DELETE_CERTIFICATE = "delete-certificate"
    SEND_CERTIFICATE = "send-certificate"
    DATA_TRANSFER = "data-transfer"
    COMMISSION = "commission"  # a sequence of calls, told by `CommissionTold`


class OrderFault(StrEnum):
    """Why an order is not given."""

    UNKNOWN_STATION = "unknown_station"
    NOT_ADOPTED = "not_adopted"
    NO_CONNECTOR = "no_connector"
    CONNECTOR_NEEDED = "connector_needed"
    BADGE_NEEDED = "badge_needed"
    BADGE_REFUSED = "badge_refused"
    OCCUPIED = "occupied"
    NO_SESSION = "no_session"
    RESERVED = "reserved"
    NO_RESERVATION = "no_reservation"
    IN_THE_PAST = "in_the_past"


@attrs.frozen
class Reservation:
    """A connector is kept for one badge until it comes or the time is over.

    The number is the station's own, so two stations may have the same: a CPO counts as it likes. `for_group`: others of
    the badge's group may come too, and who they are only the CPO and the station know.
    """

    number: int
    station_id: str
    connector: int  # 0: any one of the station's
    id_tag: str
    until: datetime
    for_group: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """The station and its number: what no other reservation has."""
        return self.station_id, self.number


@attrs.frozen
class ReservationRecord:
    """A reservation as stored; `reservation` None removes the one of this number at this station."""

    station_id: str
    number: int
    reservation: Reservation | None


@attrs.frozen
class OutOfUse:
    """The connectors of a station that people took out of use, as stored; 0 is the whole station, none: all in use."""

    station_id: str
    connectors: frozenset[int] = frozenset()


@attrs.frozen
class StationOrdered:
    """Somebody wants a station to do something. Answer: `OrderGranted` or `OrderRefused`.

    `until` is when a reservation ends, `number` which one is meant; `detail` is for the audit trail and holds no
    secret.
    """

    by: str
    station_id: str
    order: Order
    connector: int | None = None
    id_tag: str | None = None
    transaction_id: int | None = None
    until: datetime | None = None
    number: int | None = None
    detail: str = ""
    request: int = 0


@attrs.frozen
class OrderGranted:
    """The order as it is to be given: the tag as it was first entered, the transaction that is meant.

    `number` is new for each order, and that of the reservation where one is made or ended.
    """

    connector: int | None = None
    id_tag: str | None = None
    transaction_id: int | None = None
    number: int = 0
    until: datetime | None = None
    for_group: bool = False


@attrs.frozen
class OrderRefused:
    fault: OrderFault
    detail: str = ""


@attrs.frozen
class OrderEnded:
    """What became of an order that was granted: `outcome` as the station said it, or why there is none.

    Answer: `Saved`, once what it changes is stored.
    """

    by: str
    station_id: str
    order: Order
    done: bool
    outcome: str
    granted: OrderGranted = OrderGranted()
    detail: str = ""
    request: int = 0


class ReportKind(StrEnum):
    """What a station reports on beside charging."""

    FIRMWARE = "firmware"
    DIAGNOSTICS = "diagnostics"
    LOG = "log"
    SECURITY = "security"


@attrs.frozen
class StationReported:
    """A station tells how an update or upload goes, or what it noticed; `status` in its own word."""

    station_id: str
    kind: ReportKind
    status: str
    detail: str = ""
    at: datetime | None = None


@attrs.frozen
class StationReport:
    """What a station reported, as kept; `at` is its own stamp where that can be believed."""

    at: datetime
    station_id: str
    kind: ReportKind
    status: str
    detail: str = ""


@attrs.frozen
class ConfigurationRead:
    """Configuration keys as a station told them: key to value, nothing secret among them."""

    station_id: str
    values: Mapping[str, str]


@attrs.frozen
class StationScanStarted:
    """Somebody looks for stations. Answer: `Saved` or `NotSaved`."""

    by: str
    duration_s: int = 180
    request: int = 0


@attrs.frozen
class StationScanStopped:
    """Enough stations. Answer: `Saved`, also where no search ran."""

    by: str
    request: int = 0


@attrs.frozen
class StationScan:
    """The last search for stations."""

    by: str
    since_ms: int
    until_ms: int

    def is_open(self, now_ms: int) -> bool:
        return now_ms < self.until_ms


StationCare = (
    StationOrdered
    | OrderEnded
    | StationReported
    | ConfigurationRead
    | StationScanStarted
    | StationScanStopped
    | CommissionTold
    | LocalListTold
)
