"""What can be asked of a station over HTTP: reset, unlock, remote start and stop, and the rest of OCPP 1.6.

`carry_out` is the one way an order goes, from the API and from pages alike: the core judges it, the station is
asked, and how it ended goes back to the core and into the audit trail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, assert_never

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Member, Record, choice, listed, nullable, text, whole
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import NOT_STORED, Refusal
from llm_adapters.web.desk import Desk
from llm_core import (
    CallFailure,
    CallOutcome,
    Fault,
    Json,
    NotStored,
    Order,
    OrderEnded,
    OrderFault,
    OrderGranted,
    OrderRefused,
    Permission,
    StationOrdered,
)

MOST_KEYS = 100
MOST_DATA = 10_000
Payload: TypeAlias = Mapping[str, Json]


@attrs.frozen
class Wish:
    """The body of an order: each order takes the fields that it needs."""

    connector: int | None = None
    badge_id: str | None = None
    transaction_id: int | None = None
    type: str = "soft"
    operative: str = "operative"
    keys: tuple[str, ...] = ()
    key: str = ""
    value: str = ""
    message: str = ""
    vendor_id: str = ""
    message_id: str | None = None
    data: str | None = None


@attrs.frozen
class Command:
    """One order: the fields of its body, what the station is asked, and what the audit trail says of the wish."""

    order: Order
    summary: str
    body: Record[Wish]
    action: str
    payload: Callable[[Wish, OrderGranted], Payload]
    detail: Callable[[Wish], str] = lambda _: ""


async def carry_out(
    desk: Desk, by: str, station_id: str, command: Command, wish: Wish
) -> CallOutcome | OrderRefused | NotStored:
    """Give an order in somebody's name, audited with its outcome; refusals of the core and the disk as they are."""
    event = StationOrdered(
        by, station_id, command.order, wish.connector, wish.badge_id, wish.transaction_id, detail=command.detail(wish)
    )
    match await desk.inbox.ask(event):
        case OrderGranted() as granted:
            outcome = await desk.stations.call(station_id, command.action, command.payload(wish, granted))
            told = outcome.failure.value if outcome.failure is not None else outcome.status or "done"
            done = is_done(outcome)
            desk.inbox.post(
                OrderEnded(by, station_id, command.order, done, told, granted.connector, command.detail(wish))
            )
            return outcome
        case OrderRefused() | NotStored() as refusal:
            return refusal
        case other:
            raise TypeError(f"{other} does not answer an order")


def is_done(outcome: CallOutcome) -> bool:
    """Whether the station does what it was asked, or will."""
    return outcome.failure is None and outcome.status in ("", "Accepted", "Scheduled", "RebootRequired", "Unlocked")


def _connector(least: int = 1, *, required: bool = False) -> Member:
    shape = whole(least, 64)
    return Member("connector", "connector", shape if required else nullable(shape), required=required)


_BADGE = Member("badge_id", "badge_id", nullable(text(64, least=1)))
_NUMBER = Member("transaction_id", "transaction_id", nullable(whole(-(2**31), 2**31 - 1)))
MESSAGES = (
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
)


def _start(_: Wish, granted: OrderGranted) -> Payload:
    return {"idTag": granted.id_tag, "connectorId": granted.connector}


COMMANDS = (
    Command(
        Order.RESET,
        "Restart a station: `soft` after its sessions have ended well, `hard` at once.",
        Record(Member("type", "type", choice("soft", "hard"))),
        "Reset",
        lambda wish, _: {"type": wish.type.capitalize()},
        lambda wish: wish.type,
    ),
    Command(
        Order.UNLOCK,
        "Open the lock of a cable.",
        Record(_connector()),
        "UnlockConnector",
        lambda _, granted: {"connectorId": granted.connector},
    ),
    Command(
        Order.REMOTE_START,
        "Start charging, with a badge where the access rule asks for one.",
        Record(_connector(), _BADGE),
        "RemoteStartTransaction",
        _start,
    ),
    Command(
        Order.REMOTE_STOP,
        "End the session of this number, or the one that runs there.",
        Record(_connector(), _NUMBER),
        "RemoteStopTransaction",
        lambda _, granted: {"transactionId": granted.transaction_id},
    ),
    Command(
        Order.AVAILABILITY,
        "Take a connector, or with 0 the whole station, out of use or into use again.",
        Record(
            _connector(0, required=True),
            Member("type", "operative", choice("operative", "inoperative"), required=True),
        ),
        "ChangeAvailability",
        lambda wish, _: {"connectorId": wish.connector, "type": wish.operative.capitalize()},
        lambda wish: wish.operative,
    ),
    Command(Order.CLEAR_CACHE, "Have a station forget the badges it has seen.", Record(), "ClearCache", lambda *_: {}),
    Command(
        Order.GET_CONFIGURATION,
        "Read configuration keys of a station; all of them without `keys`.",
        Record(Member("keys", "keys", listed(text(50, least=1), MOST_KEYS))),
        "GetConfiguration",
        lambda wish, _: {"key": list(wish.keys)} if wish.keys else {},
    ),
    Command(
        Order.CHANGE_CONFIGURATION,
        "Write one configuration key of a station.",
        Record(
            Member("key", "key", text(50, least=1), required=True), Member("value", "value", text(500), required=True)
        ),
        "ChangeConfiguration",
        lambda wish, _: {"key": wish.key, "value": wish.value},
        lambda wish: wish.key,  # the value may be a secret
    ),
    Command(
        Order.TRIGGER,
        "Have a station send a message of its own.",
        Record(_connector(), Member("message", "message", choice(*MESSAGES), required=True)),
        "TriggerMessage",
        lambda wish, _: {"requestedMessage": wish.message, "connectorId": wish.connector},
        lambda wish: wish.message,
    ),
    Command(
        Order.DATA_TRANSFER,
        "Send a message in a maker's own words.",
        Record(
            Member("vendor_id", "vendor_id", text(255, least=1), required=True),
            Member("message_id", "message_id", nullable(text(50))),
            Member("data", "data", nullable(text(MOST_DATA))),
        ),
        "DataTransfer",
        lambda wish, _: {"vendorId": wish.vendor_id, "messageId": wish.message_id, "data": wish.data},
        lambda wish: f"{wish.vendor_id} {wish.message_id or ''}".strip(),
    ),
)

_REFUSED: dict[OrderFault, tuple[int, str]] = {
    OrderFault.UNKNOWN_STATION: (404, "There is no station “{id}”."),
    OrderFault.NOT_ADOPTED: (409, "The station “{id}” waits to be adopted first."),
    OrderFault.NO_CONNECTOR: (422, "connector: the station “{id}” has no such connector."),
    OrderFault.CONNECTOR_NEEDED: (422, "connector must be given: the station “{id}” has several."),
    OrderFault.BADGE_NEEDED: (422, "badge_id must be given: charging needs a badge here."),
    OrderFault.BADGE_REFUSED: (409, "The badge may not charge at “{id}”: {detail}."),
    OrderFault.OCCUPIED: (409, "A session runs there already."),
    OrderFault.NO_SESSION: (409, "No session runs there."),
}
_POINTERS = {
    OrderFault.NO_CONNECTOR: "/connector",
    OrderFault.CONNECTOR_NEEDED: "/connector",
    OrderFault.BADGE_NEEDED: "/badge_id",
}


def order_refusal(station_id: str, refused: OrderRefused) -> Refusal:
    """A refusal of the core in words, pointing at the field to change."""
    status, words = _REFUSED[refused.fault]
    pointer = _POINTERS.get(refused.fault)
    faults = (Fault(pointer, refused.fault.value),) if pointer is not None else ()
    return Refusal(status, words.format(id=station_id, detail=refused.detail), faults)


def failure_refusal(station_id: str, outcome: CallOutcome, failure: CallFailure) -> Refusal:
    """Why the station gave no answer, in words."""
    match failure:
        case CallFailure.OFFLINE:
            return Refusal(409, f"The station “{station_id}” is not connected.")
        case CallFailure.TIMEOUT:
            return Refusal(504, f"The station “{station_id}” did not answer in time; it may have acted all the same.")
        case CallFailure.REFUSED:
            return Refusal(409, f"The station “{station_id}” refuses: {outcome.detail}.")
        case CallFailure.NOT_SUPPORTED:
            return Refusal(409, f"The station “{station_id}” does not know this command.")
        case CallFailure.MALFORMED:
            return Refusal(422, f"This cannot be sent to a station: {outcome.detail}.")
        case _:
            assert_never(failure)


def _operation(command: Command) -> Operation:
    async def answer(call: Call) -> Response:
        station_id = call.named("id")
        wish = command.body.read(await call.json(), Wish())
        match await carry_out(call.desk, call.principal.name, station_id, command, wish):
            case CallOutcome(failure=None) as outcome:
                told = {"station_id": station_id, "command": command.order, "done": is_done(outcome)}
                return JsonResponse({**told, "status": outcome.status, "payload": dict(outcome.payload)})
            case CallOutcome(failure=failure) as outcome if failure is not None:
                raise failure_refusal(station_id, outcome, failure)
            case OrderRefused() as refused:
                raise order_refusal(station_id, refused)
            case _:
                raise Refusal(503, NOT_STORED)

    path = f"/stations/{{id}}/commands/{command.order}"
    return Operation("POST", path, Permission.ADMINISTER, command.summary, answer, takes=command.body.schema)


OPERATIONS = tuple(_operation(command) for command in COMMANDS)
