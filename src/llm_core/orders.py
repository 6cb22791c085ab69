"""What people ask of a station, beside charging: the words of it, and what is told about it.

The core judges whether an order may be given (`StationOrdered`), an adapter gives it, and tells how it ended
(`OrderEnded`). So the audit trail has each with its outcome, and control knows of what changes the station.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs


class Order(StrEnum):
    """What can be asked of a station, as the API calls it."""

    RESET = "reset"
    UNLOCK = "unlock"
    REMOTE_START = "remote-start"
    REMOTE_STOP = "remote-stop"
    AVAILABILITY = "availability"
    CLEAR_CACHE = "clear-cache"
    GET_CONFIGURATION = "get-configuration"
    CHANGE_CONFIGURATION = "change-configuration"
    TRIGGER = "trigger"
    DATA_TRANSFER = "data-transfer"


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


@attrs.frozen
class StationOrdered:
    """Somebody wants a station to do something. Answer: `OrderGranted` or `OrderRefused`.

    `at` is when a reservation ends; `detail` is for the audit trail and holds no secret.
    """

    by: str
    station_id: str
    order: Order
    connector: int | None = None
    id_tag: str | None = None
    transaction_id: int | None = None
    at: datetime | None = None
    detail: str = ""
    request: int = 0


@attrs.frozen
class OrderEnded:
    """What became of an order that was granted: `outcome` as the station said it, or why there is none."""

    by: str
    station_id: str
    order: Order
    done: bool
    outcome: str
    connector: int | None = None
    detail: str = ""


@attrs.frozen
class OrderGranted:
    """The order as it is to be given: the tag as it was first entered, the transaction that is meant."""

    connector: int | None = None
    id_tag: str | None = None
    transaction_id: int | None = None


@attrs.frozen
class OrderRefused:
    fault: OrderFault
    detail: str = ""
