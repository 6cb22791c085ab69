"""The orders that stations take, as a table: the fields of each body, and what the station is asked for it.

The words are those of OCPP 1.6 (§5) and of its security white paper; what a field means is said in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeAlias

import attrs

from llm_adapters.web.api.exact import Member, Record, Shape, choice, listed, nullable, text, whole, wrong
from llm_core import Json, Order, OrderGranted, Station

MOST_KEYS = 100
MOST_DATA = 10_000
LONGEST_LOCATION = 512
LONGEST_PEM = 5_500
LONGEST_CHAIN = 10_000
Payload: TypeAlias = Mapping[str, Json]


@attrs.frozen
class Wish:
    """The body of an order: each order takes the fields that it needs."""

    connector: int | None = None
    badge_id: str | None = None
    transaction_id: int | None = None
    reservation_id: int | None = None
    until: datetime | None = None
    since: datetime | None = None
    type: str = "soft"
    keys: tuple[str, ...] = ()
    key: str = ""
    value: str = ""
    message: str = ""
    duration_s: int = 3_600
    unit: str | None = None
    location: str = ""
    retries: int | None = None
    signature: str = ""
    certificate: str = ""
    hash_algorithm: str = "SHA256"
    issuer_name_hash: str = ""
    issuer_key_hash: str = ""
    serial_number: str = ""
    vendor_id: str = ""
    message_id: str | None = None
    data: str | None = None


@attrs.frozen
class Ordered:
    """Everything a payload is made from."""

    wish: Wish
    granted: OrderGranted
    station: Station
    now: datetime


@attrs.frozen
class Command:
    """One order: the fields of its body, what the station is asked, and what the audit trail says of the wish."""

    order: Order
    summary: str
    body: Record[Wish]
    action: str
    payload: Callable[[Ordered], Payload]
    detail: Callable[[Wish], str] = lambda _: ""


# Fields


def _read_instant(value: object) -> datetime:
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
    raise wrong("must be an instant with its zone, like 2030-01-31T08:00:00Z")


INSTANT: Shape[datetime] = Shape(_read_instant, lambda at: at.isoformat(), {"type": "string", "format": "date-time"})


def _read_location(value: object) -> str:
    location = text(LONGEST_LOCATION, least=1).read(value)
    if "://" not in location or any(letter.isspace() for letter in location):
        raise wrong("must be an address like ftp://host/folder or https://host/file")
    return location


LOCATION: Shape[str] = Shape(
    _read_location, lambda location: location, {"type": "string", "format": "uri", "maxLength": LONGEST_LOCATION}
)


def _read_pem(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.lstrip().startswith("-----BEGIN CERTIFICATE"):
        raise wrong("must be a certificate in PEM")
    if len(value) > LONGEST_PEM:
        raise wrong(f"is longer than {LONGEST_PEM} characters")
    return value


PEM: Shape[str] = Shape(_read_pem, lambda pem: pem, {"type": "string", "maxLength": LONGEST_PEM})


def _read_chain(value: object) -> str:
    if isinstance(value, str) and len(value) > LONGEST_CHAIN:
        raise wrong(f"is longer than {LONGEST_CHAIN} characters")
    if isinstance(value, str) and value.isascii() and value.lstrip().startswith("-----BEGIN CERTIFICATE"):
        return value
    raise wrong("must be certificates in PEM, the station's own first")


CHAIN: Shape[str] = Shape(_read_chain, lambda pem: pem, {"type": "string", "maxLength": LONGEST_CHAIN})


def _connector(least: int = 1, *, required: bool = False) -> Member:
    shape = whole(least, 64)
    return Member("connector", "connector", shape if required else nullable(shape), required=required)


def _needed(name: str, shape: Shape[str] | Shape[datetime]) -> Member:
    return Member(name, name, shape, required=True)


_BADGE = Member("badge_id", "badge_id", nullable(text(64, least=1)))
_NUMBER = Member("transaction_id", "transaction_id", nullable(whole(-(2**31), 2**31 - 1)))
_RETRIES = Member("retries", "retries", nullable(whole(0, 10)))
_SINCE, _UNTIL = (Member(name, name, nullable(INSTANT)) for name in ("since", "until"))
_LOCATION = _needed("location", LOCATION)
_USE = Member("type", "type", choice("central_system", "manufacturer"), required=True)
_HASH = text(128, least=1)
_USES = {"central_system": "CentralSystemRootCertificate", "manufacturer": "ManufacturerRootCertificate"}
MESSAGES = (
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
)
EXTENDED_MESSAGES = (
    "BootNotification",
    "LogStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "SignChargePointCertificate",
    "StatusNotification",
)


# Payloads


def wire_stamp(at: datetime | None) -> str | None:
    """UTC to the second, as every station can read it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None


def _reserve(order: Ordered) -> Payload:
    return {
        "connectorId": order.granted.connector,
        "expiryDate": wire_stamp(order.wish.until),
        "idTag": order.granted.id_tag,
        "reservationId": order.granted.number,
    }


def phase_rotation(station: Station) -> str:
    """How its connectors are wired, in the words of ConnectorPhaseRotation (OCPP 1.6 §9.1.7)."""
    letters = "".join("RST"[int(phase[1]) - 1] for phase in station.phase_rotation)
    told = letters if len(letters) == 3 else "NotApplicable"
    return ",".join(f"{number}.{told}" for number in range(station.connectors + 1))


def _composite(order: Ordered) -> Payload:
    unit = order.wish.unit
    return {"connectorId": order.granted.connector, "duration": order.wish.duration_s, "chargingRateUnit": unit}


def _diagnostics(order: Ordered) -> Payload:
    wish = order.wish
    span = {"startTime": wire_stamp(wish.since), "stopTime": wire_stamp(wish.until)}
    return {"location": wish.location, "retries": wish.retries, **span}


def _log(order: Ordered) -> Payload:
    wish = order.wish
    span = {"oldestTimestamp": wire_stamp(wish.since), "latestTimestamp": wire_stamp(wish.until)}
    given: dict[str, Json] = {name: value for name, value in span.items() if value is not None}
    kind = "SecurityLog" if wish.type == "security" else "DiagnosticsLog"
    log = {"remoteLocation": wish.location, **given}
    return {"logType": kind, "requestId": order.granted.number, "log": log, "retries": wish.retries}


def _firmware(order: Ordered) -> Payload:
    at = wire_stamp(order.wish.since or order.now)
    return {"location": order.wish.location, "retrieveDate": at, "retries": order.wish.retries}


def _signed_firmware(order: Ordered) -> Payload:
    wish = order.wish
    firmware: dict[str, Json] = {
        "location": wish.location,
        "retrieveDateTime": wire_stamp(wish.since or order.now),
        "signingCertificate": wish.certificate,
        "signature": wish.signature,
    }
    return {"requestId": order.granted.number, "firmware": firmware, "retries": wish.retries}


def _hash(order: Ordered) -> Payload:
    wish = order.wish
    return {
        "certificateHashData": {
            "hashAlgorithm": wish.hash_algorithm,
            "issuerNameHash": wish.issuer_name_hash,
            "issuerKeyHash": wish.issuer_key_hash,
            "serialNumber": wish.serial_number,
        }
    }


_CHARGING = (
    Command(
        Order.UNLOCK,
        "Open the lock of a cable.",
        Record(_connector()),
        "UnlockConnector",
        lambda order: {"connectorId": order.granted.connector},
    ),
    Command(
        Order.REMOTE_START,
        "Start charging, with a badge where the access rule asks for one.",
        Record(_connector(), _BADGE),
        "RemoteStartTransaction",
        lambda order: {"idTag": order.granted.id_tag, "connectorId": order.granted.connector},
    ),
    Command(
        Order.REMOTE_STOP,
        "End the session of this number, or the one that runs there.",
        Record(_connector(), _NUMBER),
        "RemoteStopTransaction",
        lambda order: {"transactionId": order.granted.transaction_id},
    ),
    Command(
        Order.RESERVE,
        "Keep a connector for one badge until it comes or the time is over.",
        Record(_connector(0), _BADGE, _needed("until", INSTANT)),
        "ReserveNow",
        _reserve,
        lambda wish: f"until {wire_stamp(wish.until)}",
    ),
    Command(
        Order.CANCEL_RESERVATION,
        "End a reservation.",
        Record(_connector(0), Member("reservation_id", "reservation_id", nullable(whole(0, 2**31 - 1)))),
        "CancelReservation",
        lambda order: {"reservationId": order.granted.number},
    ),
    Command(
        Order.AVAILABILITY,
        "Take a connector, or with 0 the whole station, out of use or into use again.",
        Record(_connector(0, required=True), Member("type", "type", choice("operative", "inoperative"), required=True)),
        "ChangeAvailability",
        lambda order: {"connectorId": order.wish.connector, "type": order.wish.type.capitalize()},
        lambda wish: wish.type,
    ),
)
_SETTING_UP = (
    Command(
        Order.RESET,
        "Restart a station: `soft` after its sessions have ended well, `hard` at once.",
        Record(Member("type", "type", choice("soft", "hard"))),
        "Reset",
        lambda order: {"type": order.wish.type.capitalize()},
        lambda wish: wish.type,
    ),
    Command(Order.CLEAR_CACHE, "Have a station forget the badges it has seen.", Record(), "ClearCache", lambda _: {}),
    Command(
        Order.LOCAL_LIST_VERSION,
        "Ask for the version of the badge list that a station holds.",
        Record(),
        "GetLocalListVersion",
        lambda _: {},
    ),
    Command(
        Order.GET_CONFIGURATION,
        "Read configuration keys of a station; all of them without `keys`.",
        Record(Member("keys", "keys", listed(text(50, least=1), MOST_KEYS))),
        "GetConfiguration",
        lambda order: {"key": list(order.wish.keys)} if order.wish.keys else {},
    ),
    Command(
        Order.CHANGE_CONFIGURATION,
        "Write one configuration key of a station.",
        Record(_needed("key", text(50, least=1)), _needed("value", text(500))),
        "ChangeConfiguration",
        lambda order: {"key": order.wish.key, "value": order.wish.value},
        lambda wish: wish.key,  # the value may be a secret
    ),
    Command(
        Order.PHASE_ROTATION,
        "Tell a station how it is wired, as configured here.",
        Record(),
        "ChangeConfiguration",
        lambda order: {"key": "ConnectorPhaseRotation", "value": phase_rotation(order.station)},
    ),
    Command(
        Order.COMPOSITE_SCHEDULE,
        "Ask a station which limits it would follow.",
        Record(
            _connector(0),
            Member("duration_s", "duration_s", whole(1, 86_400)),
            Member("unit", "unit", nullable(choice("A", "W"))),
        ),
        "GetCompositeSchedule",
        _composite,
    ),
    Command(
        Order.TRIGGER,
        "Have a station send a message of its own.",
        Record(_connector(0), Member("message", "message", choice(*MESSAGES), required=True)),
        "TriggerMessage",
        lambda order: {"requestedMessage": order.wish.message, "connectorId": order.wish.connector},
        lambda wish: wish.message,
    ),
    Command(
        Order.EXTENDED_TRIGGER,
        "Have a station send one of the messages that the security paper adds.",
        Record(_connector(0), Member("message", "message", choice(*EXTENDED_MESSAGES), required=True)),
        "ExtendedTriggerMessage",
        lambda order: {"requestedMessage": order.wish.message, "connectorId": order.wish.connector},
        lambda wish: wish.message,
    ),
    Command(
        Order.DATA_TRANSFER,
        "Send a message in a maker's own words.",
        Record(
            _needed("vendor_id", text(255, least=1)),
            Member("message_id", "message_id", nullable(text(50))),
            Member("data", "data", nullable(text(MOST_DATA))),
        ),
        "DataTransfer",
        lambda order: {
            "vendorId": order.wish.vendor_id,
            "messageId": order.wish.message_id,
            "data": order.wish.data,
        },
        lambda wish: f"{wish.vendor_id} {wish.message_id or ''}".strip(),
    ),
)
_UPKEEP = (
    Command(
        Order.DIAGNOSTICS,
        "Have a station upload its diagnostics to a folder.",
        Record(_LOCATION, _SINCE, _UNTIL, _RETRIES),
        "GetDiagnostics",
        _diagnostics,
    ),
    Command(
        Order.LOG,
        "Have a station upload its diagnostics log or its security log.",
        Record(
            Member("type", "type", choice("diagnostics", "security"), required=True),
            _LOCATION,
            _SINCE,
            _UNTIL,
            _RETRIES,
        ),
        "GetLog",
        _log,
        lambda wish: wish.type,
    ),
    Command(
        Order.FIRMWARE,
        "Have a station fetch firmware and install it, now or after `since`.",
        Record(_LOCATION, _SINCE, _RETRIES),
        "UpdateFirmware",
        _firmware,
    ),
    Command(
        Order.SIGNED_FIRMWARE,
        "Have a station fetch firmware, check its signature and install it.",
        Record(_LOCATION, _SINCE, _RETRIES, _needed("certificate", PEM), _needed("signature", text(800, least=1))),
        "SignedUpdateFirmware",
        _signed_firmware,
    ),
    Command(
        Order.CERTIFICATES,
        "Ask which root certificates a station trusts.",
        Record(_USE),
        "GetInstalledCertificateIds",
        lambda order: {"certificateType": _USES[order.wish.type]},
        lambda wish: wish.type,
    ),
    Command(
        Order.INSTALL_CERTIFICATE,
        "Have a station trust a root certificate.",
        Record(_USE, _needed("certificate", PEM)),
        "InstallCertificate",
        lambda order: {"certificateType": _USES[order.wish.type], "certificate": order.wish.certificate},
        lambda wish: wish.type,
    ),
    Command(
        Order.SEND_CERTIFICATE,
        "Give a station the certificate that it asked to have signed.",
        Record(_needed("certificate", CHAIN)),
        "CertificateSigned",
        lambda order: {"certificateChain": order.wish.certificate},
    ),
    Command(
        Order.DELETE_CERTIFICATE,
        "Have a station trust a root certificate no longer.",
        Record(
            Member("hash_algorithm", "hash_algorithm", choice("SHA256", "SHA384", "SHA512")),
            _needed("issuer_name_hash", _HASH),
            _needed("issuer_key_hash", _HASH),
            _needed("serial_number", text(40, least=1)),
        ),
        "DeleteCertificate",
        _hash,
        lambda wish: wish.serial_number,
    ),
)
COMMANDS = (*_CHARGING, *_SETTING_UP, *_UPKEEP)
