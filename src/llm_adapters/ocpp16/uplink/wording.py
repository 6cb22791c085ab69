"""What goes up, as the CPO is to read it: the station's own words, with the CPO's number of the transaction in them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, TypeAlias

from llm_adapters.ocpp16.messages import parse_stamp, stamp, whole_number
from llm_core import Queued, UplinkKind, UplinkMessage, Verdict

Payload: TypeAlias = dict[str, Any]

ACTIONS = {
    UplinkKind.START: "StartTransaction",
    UplinkKind.METER: "MeterValues",
    UplinkKind.STOP: "StopTransaction",
}
_ENDS = (  # what a session, or its WebSocket, says at its end
    (re.compile(r"received (\d+) .*"), r"it hung up (\1)"),
    (re.compile(r"no close frame received or sent"), "it was cut off"),
    (re.compile(r"sent 1009 .*"), "it sends messages that are too long (1009)"),
    (re.compile(r"sent (1002|1007) .*"), r"what it sends cannot be read (\1)"),
    (re.compile(r"silent, and no answer to a ping"), "it gives no sign of life"),
    (re.compile(r"the peer does not read"), "it takes nothing of what is sent"),
)


def in_words(why: str) -> str:
    """Why a link ended, for people who know no WebSockets."""
    found = ((pattern.fullmatch(why), words) for pattern, words in _ENDS)
    return next((match.expand(words) for match, words in found if match is not None), why)


def payload_of(queued: Queued, cpo_transaction_id: int | None, now: datetime) -> Payload:
    """The payload of a message that waited; `now` stands in for a stamp that nobody ever had."""
    message = queued.message
    said = _said(message)
    match message.kind:
        case UplinkKind.START:
            return said or _start(message, now)
        case UplinkKind.METER:
            payload = dict(said or {"connectorId": message.connector, "meterValue": []})
            payload.pop("transactionId", None)
        case UplinkKind.STOP:
            payload = dict(said or _stop(message, now))
    if cpo_transaction_id is not None:
        payload["transactionId"] = cpo_transaction_id
    return payload


def _said(message: UplinkMessage) -> Payload | None:
    if not message.said:
        return None
    try:
        said = json.loads(message.said)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _start(message: UplinkMessage, now: datetime) -> Payload:
    return {
        "connectorId": message.connector,
        "idTag": message.id_tag or "",
        "meterStart": message.meter_wh or 0,
        "timestamp": stamp(message.at or now),
    }


def _stop(message: UplinkMessage, now: datetime) -> Payload:
    payload: Payload = {"meterStop": message.meter_wh or 0, "timestamp": stamp(message.at or now)}
    if message.reason and message.reason != "Local":
        payload["reason"] = message.reason
    if message.id_tag:
        payload["idTag"] = message.id_tag
    return payload


def verdict_of(answer: Payload) -> tuple[Verdict | None, datetime | None]:
    """What an idTagInfo says of a badge and until when; None where there is none."""
    info = answer.get("idTagInfo")
    if not isinstance(info, dict):
        return None, None
    try:
        verdict = Verdict(str(info.get("status")))
    except ValueError:
        return Verdict.INVALID, None
    return verdict, parse_stamp(info.get("expiryDate"))


def cpo_number(value: object) -> int | None:
    """The CPO's number of a transaction: any integer, however large, and one written as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return whole_number(value)
