"""What can be asked of a station over HTTP: reset, unlock, remote start and stop, and the rest of OCPP 1.6.

`carry_out` is the one way an order goes, from the API and from pages alike: the core judges it, the station is
asked, and how it ended goes back to the core and into the audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.commands import COMMANDS, Command, Ordered, Wish
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
    Station,
    StationOrdered,
    shown_value,
)


async def carry_out(
    desk: Desk, by: str, station_id: str, command: Command, wish: Wish
) -> CallOutcome | OrderRefused | NotStored:
    """Give an order in somebody's name, audited with its outcome; refusals of the core and the disk as they are."""
    detail = command.detail(wish)
    event = StationOrdered(
        by,
        station_id,
        command.order,
        wish.connector,
        wish.badge_id,
        wish.transaction_id,
        wish.until if command.order is Order.RESERVE else None,
        wish.reservation_id,
        detail,
    )
    match await desk.inbox.ask(event):
        case OrderGranted() as granted:
            station = desk.inbox.state.site.station(station_id) or Station(station_id)
            payload = command.payload(Ordered(wish, granted, station, desk.clock.utc()))
            outcome = await desk.stations.call(station_id, command.action, payload)
            told = outcome.failure.value if outcome.failure is not None else outcome.status or "done"
            ended = OrderEnded(by, station_id, command.order, is_done(outcome), told, granted, detail)
            await desk.inbox.ask(ended)  # stored before anybody is told; what the disk refuses is told by its alarm
            return outcome
        case OrderRefused() | NotStored() as refusal:
            return refusal
        case other:
            raise TypeError(f"{other} does not answer an order")


def is_done(outcome: CallOutcome) -> bool:
    """Whether the station does what it was asked, or will."""
    return outcome.failure is None and outcome.status in ("", "Accepted", "Scheduled", "RebootRequired", "Unlocked")


_REFUSED: dict[OrderFault, tuple[int, str]] = {
    OrderFault.UNKNOWN_STATION: (404, "There is no station “{id}”."),
    OrderFault.NOT_ADOPTED: (409, "The station “{id}” waits to be adopted first."),
    OrderFault.NO_CONNECTOR: (422, "connector: the station “{id}” has no such connector."),
    OrderFault.CONNECTOR_NEEDED: (422, "connector must be given: the station “{id}” has several."),
    OrderFault.BADGE_NEEDED: (422, "badge_id must be given: charging needs a badge here."),
    OrderFault.BADGE_REFUSED: (409, "The badge may not charge at “{id}”: {detail}."),
    OrderFault.OCCUPIED: (409, "A session runs there already."),
    OrderFault.NO_SESSION: (409, "No session runs there."),
    OrderFault.RESERVED: (409, "It is reserved for another badge."),
    OrderFault.NO_RESERVATION: (409, "There is no such reservation."),
    OrderFault.IN_THE_PAST: (422, "until must lie in the future."),
}
_AT = {
    OrderFault.NO_CONNECTOR: Fault("/connector", "is none of this station's"),
    OrderFault.CONNECTOR_NEEDED: Fault("/connector", "must be given: there are several"),
    OrderFault.BADGE_NEEDED: Fault("/badge_id", "must be given: charging needs a badge here"),
    OrderFault.IN_THE_PAST: Fault("/until", "must lie in the future"),
}


def order_refusal(station_id: str, refused: OrderRefused) -> Refusal:
    """A refusal of the core in words, pointing at the field to change."""
    status, words = _REFUSED[refused.fault]
    faults = (_AT[refused.fault],) if refused.fault in _AT else ()
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


def shown_payload(payload: Mapping[str, Json]) -> dict[str, Json]:
    """The answer of a station; secrets among its configuration keys are never read back."""
    keys = payload.get("configurationKey")
    if not isinstance(keys, list):
        return dict(payload)
    return {**payload, "configurationKey": [_shown_key(entry) for entry in keys]}


def _shown_key(entry: Json) -> Json:
    if not isinstance(entry, dict) or not isinstance(entry.get("value"), str):
        return entry
    return {**entry, "value": shown_value(str(entry.get("key")), str(entry["value"]))}


def _operation(command: Command) -> Operation:
    async def answer(call: Call) -> Response:
        station_id = call.named("id")
        wish = command.body.read(await call.json(), Wish())
        match await carry_out(call.desk, call.principal.name, station_id, command, wish):
            case CallOutcome(failure=None) as outcome:
                told = {"station_id": station_id, "command": command.order, "done": is_done(outcome)}
                return JsonResponse({**told, "status": outcome.status, "payload": shown_payload(outcome.payload)})
            case CallOutcome(failure=failure) as outcome if failure is not None:
                raise failure_refusal(station_id, outcome, failure)
            case OrderRefused() as refused:
                raise order_refusal(station_id, refused)
            case _:
                raise Refusal(503, NOT_STORED)

    path = f"/stations/{{id}}/commands/{command.order}"
    return Operation("POST", path, Permission.ADMINISTER, command.summary, answer, takes=command.body.schema)


OPERATIONS = tuple(_operation(command) for command in COMMANDS)
