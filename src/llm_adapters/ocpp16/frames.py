"""The frame guard and codec of OCPP-J 1.6: any bytes become one of four values, never an exception.

A frame comes from the network, so everything about it is bounded before Python builds objects of it: its
size, how deep it nests and how long its numbers are. What has the right shape but small faults (a payload
of null, an id of 40 characters, a missing error description) is read as it was meant; what has not becomes
`Malformed`, with the id a CALLERROR can carry back if one is readable.

Nothing here validates payloads against a schema: that is for what we send, not for what stations say.
Source: OCPP-J 1.6 §4.1 (calls), §4.2 (message types), table 7 (error codes).
"""

from __future__ import annotations

import json
import math
import re
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Any, NoReturn, TypeAlias

import attrs

MAX_FRAME_BYTES = 1024 * 1024
MAX_FRAME_BYTES_BEFORE_AUTHENTICATION = 64 * 1024
MAX_DEPTH = 32
MAX_NUMBER_CHARS = 64
MAX_ID_CHARS = 128  # §4.1.4 says 36; a longer one is still answered
MAX_ACTION_CHARS = 64
MAX_DESCRIPTION_CHARS = 255

NO_ID = "-1"
"""The id of a CALLERROR for a frame without a readable id; 1.6 leaves it open, 2.0.1 §4.2.3 sets it."""

Payload: TypeAlias = dict[str, Any]


class ErrorCode(StrEnum):
    """The error codes that we send, spelled as in OCPP-J 1.6 table 7."""

    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    INTERNAL_ERROR = "InternalError"
    PROTOCOL_ERROR = "ProtocolError"
    SECURITY_ERROR = "SecurityError"
    FORMATION_VIOLATION = "FormationViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    OCCURENCE_CONSTRAINT_VIOLATION = "OccurenceConstraintViolation"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"
    GENERIC_ERROR = "GenericError"


_LATER_SPELLINGS = {
    "FormatViolation": ErrorCode.FORMATION_VIOLATION.value,
    "OccurrenceConstraintViolation": ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION.value,
}


@attrs.frozen
class Call:
    """A request: `[2, id, action, payload]`."""

    unique_id: str
    action: str
    payload: Payload


@attrs.frozen
class CallResult:
    """The answer to a request: `[3, id, payload]`."""

    unique_id: str
    payload: Payload


@attrs.frozen
class CallError:
    """A request that failed: `[4, id, code, description, details]`.

    `code` is in the spelling of table 7 where it is one of them, else what the peer sent. Details that are
    no object are kept under the key `details`.
    """

    unique_id: str
    code: str
    description: str
    details: Payload


@attrs.frozen
class Malformed:
    """A frame that is no message; `unique_id` where one is readable, `is_answer` where it began like one."""

    reason: str
    unique_id: str | None
    is_answer: bool


Answer: TypeAlias = CallResult | CallError
Message: TypeAlias = Call | Answer | Malformed


def decode(frame: str | bytes, max_bytes: int = MAX_FRAME_BYTES) -> Message:
    """The message in `frame`, for any content whatever; never raises. `max_bytes` counts UTF-8."""
    try:
        value = _parse(frame, max_bytes)
    except ValueError as error:
        return _malformed_at_head(frame, str(error)[:MAX_DESCRIPTION_CHARS])
    if not isinstance(value, list) or len(value) < 2:
        is_answer = isinstance(value, list) and value[:1] in ([3], [4])
        return Malformed("not an array of a message type and an id", None, is_answer)
    return _message(value)


def is_answer(frame: str | bytes) -> bool:
    """Whether `frame` begins like a CALLRESULT or CALLERROR, told from its first bytes only."""
    head = frame[:_HEAD_CHARS]
    return _ANSWER.match(head if isinstance(head, str) else head.decode("latin-1")) is not None


def action_of(frame: str | bytes) -> str | None:
    """The action of a call that is written as usual, told from its first bytes only; None where it is not."""
    found = _CALL.match(frame) if isinstance(frame, str) else None
    return found[1] if found is not None else None


def encode_call(unique_id: str, action: str, payload: Payload) -> str:
    """A CALL as compact ASCII JSON; `ValueError` or `TypeError` where the payload is not JSON."""
    return _ENCODER.encode([2, unique_id, action, payload])


def encode_result(unique_id: str, payload: Payload) -> str:
    """A CALLRESULT as compact ASCII JSON; `ValueError` or `TypeError` where the payload is not JSON."""
    if not payload:  # as most answers are
        return f"[3,{encode_basestring_ascii(unique_id)},{{}}]"
    return _ENCODER.encode([3, unique_id, payload])


def encode_error(unique_id: str, code: ErrorCode, description: str, details: Payload | None = None) -> str:
    """A CALLERROR as compact ASCII JSON, its description cut at 255 characters (§4.2.3)."""
    return _ENCODER.encode([4, unique_id, code.value, description[:MAX_DESCRIPTION_CHARS], details or {}])


def _message(value: list[Any]) -> Message:
    kind, unique_id = value[0], value[1]
    answers = kind in (3, 4)
    if not isinstance(unique_id, str) or len(unique_id) > MAX_ID_CHARS:
        return Malformed(f"the id is not a string of at most {MAX_ID_CHARS} characters", None, answers)
    if kind == 4:
        return _call_error(unique_id, value)
    if kind == 3:
        payload = _payload(value, 2)
        if payload is None:
            return Malformed("the payload is not an object", unique_id, answers)
        return CallResult(unique_id, payload)
    if kind != 2:
        return Malformed("the message type is not 2, 3 or 4", unique_id, answers)
    action = value[2] if len(value) > 2 else None
    if not isinstance(action, str) or not 0 < len(action) <= MAX_ACTION_CHARS:
        return Malformed("the action is not a name", unique_id, answers)
    payload = _payload(value, 3)
    if payload is None:
        return Malformed("the payload is not an object", unique_id, answers)
    return Call(unique_id, action, payload)


def _payload(value: list[Any], index: int) -> Payload | None:
    """The object at `index`; missing, null and the empty array (how PHP writes `{}`) are the empty object."""
    payload = value[index] if len(value) > index else None
    if isinstance(payload, dict):
        return payload
    return {} if payload is None or payload == [] else None


def _call_error(unique_id: str, value: list[Any]) -> CallError:
    """A CALLERROR in whatever state it came: its caller waits for it, so it is never refused."""
    code, description, details = (*value[2:5], None, None, None)[:3]
    if not isinstance(code, str) or not code:
        code = ErrorCode.GENERIC_ERROR.value
    if not isinstance(details, dict):
        details = {"details": details} if details else {}
    return CallError(
        unique_id,
        _LATER_SPELLINGS.get(code, code[:MAX_ACTION_CHARS]),
        description[:MAX_DESCRIPTION_CHARS] if isinstance(description, str) else "",
        details,
    )


def _parse(frame: str | bytes, max_bytes: int) -> Any:
    """The JSON value in `frame`; `ValueError` where it is over a bound or no JSON."""
    # A character takes at least one byte, so this refuses before a huge text is encoded only to be measured.
    if len(frame) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    text = frame if isinstance(frame, str) else frame.decode()
    if not text.isascii() and len(text.encode()) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    # Fewer brackets than levels cannot nest too deep: the usual frame pays for two counts and no more.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(text):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    try:
        value = _DECODER.decode(text)
    except ValueError:
        bare = text.strip(_AROUND)
        if bare == text:
            raise
        value = _DECODER.decode(bare)
    if _SURROGATE.search(text):
        # Half a surrogate pair is legal JSON and no text: it would break the database and the page later.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _is_deep(text: str) -> bool:
    """Whether brackets outside of strings nest deeper than `MAX_DEPTH`, without recursing.

    With its strings taken out, a text is its brackets; each round removes the innermost pairs, so what is
    left after `MAX_DEPTH` rounds is deeper (or unbalanced, which is no JSON either). All of it runs at the
    speed of `str.replace`.
    """
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    brackets = "".join(_NO_BRACKET.sub("", part) for part in text.split('"')[::2])
    brackets = brackets.replace("{", "[").replace("}", "]")
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace("[]", "")
    return bool(brackets)


def _malformed_at_head(frame: str | bytes, reason: str) -> Malformed:
    """What can still be told of an unreadable frame: its type and id, if it begins with them."""
    head = frame[:_HEAD_CHARS]
    found = _HEAD.match(head if isinstance(head, str) else head.decode("latin-1"))
    return Malformed(reason, found["id"] if found else None, is_answer(frame))


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARS:
        raise ValueError(f"a number of more than {MAX_NUMBER_CHARS} characters")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits) if len(digits) <= MAX_NUMBER_CHARS else math.inf
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_AROUND = "\ufeff\x00 \t\r\n"  # a mark of byte order, and the end of a text in C, are no part of it
_HEAD_CHARS = MAX_ID_CHARS + 32
_ANSWER = re.compile(r"[ \t\r\n]*\[[ \t\r\n]*[34][ \t\r\n]*[,\]]")
_CALL = re.compile(rf'\[2, ?"[^"\\]{{0,{MAX_ID_CHARS}}}", ?"(\w{{1,{MAX_ACTION_CHARS}}})"')
_HEAD = re.compile(rf'[ \t\r\n]*\[[ \t\r\n]*\d{{1,2}}[ \t\r\n]*,[ \t\r\n]*"(?P<id>[ !#-\[\]-~]{{1,{MAX_ID_CHARS}}})"')
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_real, parse_constant=_no_number)
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
