"""What can be asked of a station by hand: restart, unlock, start, stop, in and out of use. Each order is audited."""

from __future__ import annotations

from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import named, station_path
from llm_adapters.web.api.commands import COMMANDS, Wish
from llm_adapters.web.api.orders import carry_out, is_done
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import read_fields
from llm_adapters.web.pages import guarded
from llm_adapters.web.words import N_
from llm_core import CallFailure, CallOutcome, Order, OrderFault, OrderRefused, Permission

TOLD = {
    "done": N_("The station does it."),
    "declined": N_("The station answered that it does not do this now."),
    "test_begun": N_("The test has begun."),
    "test_not_begun": N_("The station is not connected, or is under test already."),
    "saved": N_("Saved."),
    "key_taken": N_("Saved, and the station has taken its new password."),
    "key_refused": N_("Saved. The station did not take the new password: type it in at the station."),
    "key_offline": N_("Saved. The station is not connected: type the new password in at the station."),
    "key_needed": N_("This profile asks for a password, and none is set."),
    "key_unfit": N_("A password for a station has 16 to 40 characters, or the hex digits of so many bytes."),
    "not_stored": N_("Nothing can be stored at the moment. Try again later."),
    CallFailure.OFFLINE: N_("The station is not connected."),
    CallFailure.TIMEOUT: N_("The station did not answer in time; it may do it all the same."),
    CallFailure.REFUSED: N_("The station refuses this."),
    CallFailure.NOT_SUPPORTED: N_("The station does not know this command."),
    CallFailure.MALFORMED: N_("This cannot be sent to a station."),
    OrderFault.UNKNOWN_STATION: N_("There is no such station."),
    OrderFault.NOT_ADOPTED: N_("The station waits to be adopted first."),
    OrderFault.NO_CONNECTOR: N_("The station has no such connector."),
    OrderFault.CONNECTOR_NEEDED: N_("Choose the connector: this station has several."),
    OrderFault.BADGE_NEEDED: N_("Choose a badge: charging needs one here."),
    OrderFault.BADGE_REFUSED: N_("This badge may not charge here."),
    OrderFault.OCCUPIED: N_("A session runs there already."),
    OrderFault.NO_SESSION: N_("No session runs there."),
    OrderFault.RESERVED: N_("It is reserved for another badge."),
    OrderFault.NO_RESERVATION: N_("There is no such reservation."),
    OrderFault.IN_THE_PAST: N_("The end of a reservation lies in the future."),
}
"""How an order ended, in words."""

GOOD_NEWS = frozenset({"done", "test_begun", "saved", "key_taken"})
BY_HAND = (Order.RESET, Order.UNLOCK, Order.REMOTE_START, Order.REMOTE_STOP, Order.AVAILABILITY)
_COMMANDS = {command.order: command for command in COMMANDS}


def order_routes(desk: Desk) -> list[Route]:
    async def give(request: Request, principal: Principal) -> Response:
        station_id = named(request, "station_id")
        fields = await read_fields(request)
        order = next((order for order in BY_HAND if order == fields.get("order")), None)
        if order is None:
            raise HTTPException(400)
        outcome = await carry_out(desk, principal.name, station_id, _COMMANDS[order], _wish(order, fields))
        return RedirectResponse(f"{station_path(station_id)}?told={quote(told_of(outcome))}#orders", 303)

    return [guarded(desk, "/stations/{station_id}/order", Permission.ADMINISTER, give, ["POST"])]


def connector_of(fields: dict[str, str]) -> int | None:
    text = fields.get("connector", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 3 else None


def _wish(order: Order, fields: dict[str, str]) -> Wish:
    connector = connector_of(fields)
    if order is Order.AVAILABILITY:
        operative = "inoperative" if fields.get("operative") == "inoperative" else "operative"
        return Wish(connector=connector or 0, type=operative)
    return Wish(connector=connector, badge_id=fields.get("badge_id") or None)


def told_of(outcome: object) -> str:
    """How an order ended, as a key of `TOLD`."""
    match outcome:
        case CallOutcome(failure=CallFailure() as failure):
            return failure
        case CallOutcome() as answered:
            return "done" if is_done(answered) else "declined"
        case OrderRefused(fault=fault):
            return fault
        case _:
            return "not_stored"
