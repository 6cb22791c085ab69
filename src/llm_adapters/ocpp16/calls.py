"""What people and CPOs ask of a station, on the wire: strict out, and every outcome a value.

What we send is checked against the schemas of OCPP 1.6 first: these calls are rare, so there is time for it. A
badge goes out as it was first entered where that fits; old firmware keeps 16 characters of a remote tag, so colons
and blanks are left out of a longer one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from ocpp.messages import MessageType, get_validator

from llm_adapters.ocpp16.messages import text
from llm_adapters.ocpp16.rpc import CallAbandoned, CallFailed, CallRefused, CallTimeout, LinkLost
from llm_core import CallFailure, CallOutcome, Json

Payload: TypeAlias = dict[str, Any]
Place: TypeAlias = Callable[[str, Payload], Awaitable[Payload]]

SHORT_TAG_CHARS = 16
LONGEST_DETAIL = 200
MOST_TAGS = 50
OFFLINE = CallOutcome(failure=CallFailure.OFFLINE, detail="the station is not connected")
_NOT_KNOWN = ("NotImplemented", "NotSupported")
_TRIES = 2  # a call that was given up for a limit is made once more, where that can do no harm
_REPEATABLE = frozenset(
    {
        "ChangeAvailability",
        "ChangeConfiguration",
        "ClearCache",
        "GetCompositeSchedule",
        "GetConfiguration",
        "GetInstalledCertificateIds",
        "GetLocalListVersion",
        "SendLocalList",
        "TriggerMessage",
    }
)


async def place(call: Place, action: str, payload: Mapping[str, Json]) -> CallOutcome:
    """Make one call by `call`, which raises as `Session.call` does; never raises for what a station did."""
    sent = worded(action, payload)
    fault = schema_fault(action, sent)
    if fault is not None:
        return CallOutcome(failure=CallFailure.MALFORMED, detail=fault)
    for attempt in range(1, _TRIES + 1):
        try:
            answer = await call(action, sent)
            return CallOutcome(status=text(answer.get("status")), payload=answer)
        except CallAbandoned as failure:
            if attempt == _TRIES or action not in _REPEATABLE:
                return failed(failure)
        except CallFailed as failure:
            return failed(failure)
    return OFFLINE


def failed(failure: CallFailed) -> CallOutcome:
    """A call without a result, as a value."""
    match failure:
        case CallRefused():
            kind = CallFailure.NOT_SUPPORTED if failure.code in _NOT_KNOWN else CallFailure.REFUSED
        case CallTimeout():
            kind = CallFailure.TIMEOUT
        case LinkLost():
            kind = CallFailure.OFFLINE
        case _:
            kind = CallFailure.REFUSED
    return CallOutcome(failure=kind, detail=str(failure)[:LONGEST_DETAIL])


def worded(action: str, payload: Mapping[str, Json]) -> Payload:
    """The payload as stations take it: without absent fields, a long tag in its short form."""
    sent = {name: value for name, value in payload.items() if value is not None}
    tag = sent.get("idTag")
    if isinstance(tag, str) and action in ("RemoteStartTransaction", "ReserveNow"):
        sent["idTag"] = wire_tag(tag)
    return sent


def wire_tag(tag: str) -> str:
    """A tag as it was entered, or without colons and blanks where that is too long for some stations."""
    return tag if len(tag) <= SHORT_TAG_CHARS else "".join(tag.split()).replace(":", "")


def schema_fault(action: str, payload: Payload) -> str | None:
    """What is wrong with a call of ours by the schema of OCPP 1.6, None where nothing is."""
    try:
        validator = get_validator(MessageType.Call, action, "1.6", parse_float=Decimal)
    except (OSError, ValueError):
        return f"{action} is no action of OCPP 1.6"
    # Decimals throughout: the schema's "multiples of 0.1" are none in binary.
    exact = json.loads(json.dumps(payload), parse_float=Decimal)
    for error in validator.iter_errors(exact):
        where = "/".join(str(step) for step in error.absolute_path)
        return f"{where} {error.message}".strip()[:LONGEST_DETAIL]
    return None


def known_fields(action: str, payload: Mapping[str, Json]) -> Payload:
    """The fields of a call that OCPP 1.6 knows: what somebody added for others is left out, and no reason to refuse."""
    try:
        properties = get_validator(MessageType.Call, action, "1.6", parse_float=Decimal).schema.get("properties", {})
    except (OSError, ValueError):
        return dict(payload)
    return {name: value for name, value in payload.items() if name in properties}


class LongTags:
    """Tags longer than old firmware keeps: what comes back cut short is read as the one that was sent."""

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}

    def sent(self, action: str, payload: Mapping[str, Json]) -> None:
        """Remember the tag of a call that the station will present again."""
        tag = worded(action, payload).get("idTag")
        if action == "RemoteStartTransaction" and isinstance(tag, str) and len(tag) > SHORT_TAG_CHARS:
            self._sent.pop(tag[:SHORT_TAG_CHARS], None)
            self._sent[tag[:SHORT_TAG_CHARS]] = tag
            while len(self._sent) > MOST_TAGS:
                del self._sent[next(iter(self._sent))]

    def whole(self, payload: Payload) -> Payload:
        """The payload of a station with its tag as it was sent."""
        tag = payload.get("idTag")
        whole = self._sent.get(tag) if isinstance(tag, str) else None
        return payload if whole is None else {**payload, "idTag": whole}
