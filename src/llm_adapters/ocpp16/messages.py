"""What stations say, as facts of the core; what the core answers, as payloads.

Plain functions without a clock, for the hot path. They read tolerantly: stations leave out fields, invent enum values
and send numbers as text, and a sanity check must not prevent an answer (OCPP 1.6 §4.7, §4.8). `Refuse` is raised only
where nobody can tell what was meant. Loads round up to whole milliamps, energy to the nearest watt-hour.
Source: OCPP 1.6 §4 (operations), §7 (types).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from llm_adapters.ocpp16.frames import ErrorCode
from llm_adapters.ocpp16.rpc import Refuse
from llm_core import (
    Authorised,
    BadgePresented,
    BootAnswer,
    Started,
    StartRequested,
    StationBooted,
    Status,
    StatusChanged,
    Stopped,
    StopRequested,
)

Payload: TypeAlias = dict[str, Any]

LONGEST_TEXT = 64
LONGEST_REASON = 80
SHORTEST_STAMP = len("20200101T000000")  # a date alone is no instant
FIRST_BELIEVABLE = datetime(2020, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(minutes=5)
NO_TRANSACTION = -1
_LARGEST_ID = 2**63
_INTEGER = re.compile(r"\s*[+-]?\d{1,20}\s*")
_DECIMAL = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?", re.ASCII)  # as nearly every station writes it
_MOST_DIGITS = 16  # of a quantity, before the decimal point
_STATUS = {"".join(filter(str.isalpha, status.value)).lower(): status for status in Status}


def parse_boot(station_id: str, payload: Payload) -> StationBooted:
    """What a BootNotification.req tells of the station; whatever is missing is empty."""
    return StationBooted(
        station_id,
        vendor=text(payload.get("chargePointVendor")),
        model=text(payload.get("chargePointModel")),
        firmware=text(payload.get("firmwareVersion")),
        serial=text(payload.get("chargePointSerialNumber")) or text(payload.get("chargeBoxSerialNumber")),
    )


def parse_status(station_id: str, payload: Payload, now: datetime) -> StatusChanged | None:
    """The status in a StatusNotification.req, None where the word for it is unknown."""
    connector = required_number(payload, "connectorId")
    word = "".join(filter(str.isalpha, text(payload.get("status")))).lower()
    status = _STATUS.get(word)
    if status is None:
        return None
    error = text(payload.get("errorCode"))
    details = [text(payload.get(name)) for name in ("vendorErrorCode", "info")]
    return StatusChanged(
        station_id,
        connector,
        status,
        error="" if error in ("", "NoError") else " ".join(part for part in (error, *details) if part)[:LONGEST_REASON],
        at=believed(parse_stamp(payload.get("timestamp")), now),
    )


def parse_authorize(station_id: str, payload: Payload) -> BadgePresented:
    """The badge in an Authorize.req, an empty one where there is none: it is answered Invalid."""
    return BadgePresented(station_id, text(payload.get("idTag")))


def parse_start(station_id: str, payload: Payload, now: datetime) -> StartRequested:
    """A StartTransaction.req; `Refuse` without a connector or a meter reading."""
    return StartRequested(
        station_id,
        required_number(payload, "connectorId"),
        text(payload.get("idTag")),
        required_number(payload, "meterStart"),
        at=believed(parse_stamp(payload.get("timestamp")), now),
    )


def parse_stop(station_id: str, payload: Payload, now: datetime) -> StopRequested:
    """A StopTransaction.req; `Refuse` without a transaction id. A reading that is missing is None.

    An id that cannot be read is none of ours: refused, it would come again and again, and hold up all that waits
    behind it in the station.
    """
    id_tag = text(payload.get("idTag"))
    transaction_id = whole_number(payload.get("transactionId"))
    if transaction_id is None and payload.get("transactionId") is None:
        raise Refuse(ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION, "transactionId is missing")
    return StopRequested(
        station_id,
        NO_TRANSACTION if transaction_id is None else transaction_id,
        whole_number(payload.get("meterStop")),
        at=believed(parse_stamp(payload.get("timestamp")), now),
        reason=text(payload.get("reason")) or "Local",
        id_tag=id_tag or None,
    )


def boot_payload(answer: BootAnswer, now: datetime) -> Payload:
    """BootNotification.conf."""
    status = "Accepted" if answer.accepted else "Pending"
    return {"status": status, "currentTime": stamp(now), "interval": answer.interval_s}


def heartbeat_payload(now: datetime) -> Payload:
    """Heartbeat.conf."""
    return {"currentTime": stamp(now)}


def authorize_payload(answer: Authorised) -> Payload:
    """Authorize.conf."""
    return {"idTagInfo": {"status": answer.verdict.value}}


def start_payload(answer: Started) -> Payload:
    """StartTransaction.conf."""
    return {"transactionId": answer.transaction_id, "idTagInfo": {"status": answer.verdict.value}}


def stop_payload(answer: Stopped) -> Payload:
    """StopTransaction.conf; without a verdict the station keeps what it knows of the badge."""
    return {} if answer.verdict is None else {"idTagInfo": {"status": answer.verdict.value}}


def stamp(moment: datetime) -> str:
    """A timestamp as we send it: UTC to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(value: object) -> datetime | None:
    """The instant in a timestamp, UTC where it names no zone; None where it is none."""
    if not isinstance(value, str) or not SHORTEST_STAMP <= len(value) <= LONGEST_TEXT:
        return None
    try:
        moment = datetime.fromisoformat(value.strip().upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def believed(moment: datetime | None, now: datetime) -> datetime | None:
    """`moment`, unless it shows a clock that was never set (before 2020) or runs more than 5 minutes ahead."""
    if moment is None or moment < FIRST_BELIEVABLE or moment > now + MOST_AHEAD:
        return None
    return moment


def text(value: object) -> str:
    """Printable text of at most 64 characters; numbers count as text, anything else is empty."""
    if type(value) is str and len(value) <= LONGEST_TEXT and value.isprintable():
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    cut = str(value)[: 4 * LONGEST_TEXT]
    return "".join(filter(str.isprintable, cut)).strip()[:LONGEST_TEXT]


def quantity(value: object) -> Decimal | None:
    """A number, also as text and with a decimal comma; None where it is none or absurdly large."""
    if type(value) is str and _DECIMAL.fullmatch(value):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = str(value).strip()
    if len(written) > LONGEST_TEXT:
        return None
    try:
        number = Decimal(written if "." in written else written.replace(",", ".", 1))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < _MOST_DIGITS else None


def whole_number(value: object) -> int | None:
    """An integer, also as text or with decimals (rounded); None where it is none or over 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_LARGEST_ID <= value < _LARGEST_ID else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return whole_number(int(value))
    number = quantity(value)
    return None if number is None else int(number.to_integral_value())


def required_number(payload: Payload, name: str) -> int:
    """The integer `name` of a request; `Refuse` where it is missing or no number."""
    if payload.get(name) is None:
        raise Refuse(ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION, f"{name} is missing")
    number = whole_number(payload[name])
    if number is None:
        raise Refuse(ErrorCode.TYPE_CONSTRAINT_VIOLATION, f"{name} is not an integer")
    return number
