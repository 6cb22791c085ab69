"""What a driver, or somebody who knows, says of a running session: how much energy it wants, and by when."""

from __future__ import annotations

from decimal import Decimal

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Member, Record, Shape, nullable, wrong
from llm_adapters.web.api.instants import INSTANT
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_core import ConnectorState, Permission, Wish, WishPut

MOST_KWH = 1_000


def _read_energy(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise wrong("must be a number of kilowatt-hours")
    if not 0 < value <= MOST_KWH:
        raise wrong(f"must lie between 0 and {MOST_KWH} kWh")
    return int(Decimal(value) * 1000)


ENERGY: Shape[int] = Shape(
    _read_energy,
    lambda watt_hours: watt_hours / 1000,
    {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_KWH},
)
WISH: Record[Wish] = Record(
    Member("departs_at", "departs_at", nullable(INSTANT)),
    Member("energy_kwh", "energy_wh", nullable(ENERGY)),
)


async def _show(call: Call) -> Response:
    return JsonResponse(WISH.write(_charging(call).wish or Wish()))


async def _put(call: Call) -> Response:
    wish = WISH.read(await call.json(), Wish())
    await call.ask(WishPut(call.principal.name, _transaction_id(call), wish))
    return JsonResponse(WISH.write(wish))


async def _take_back(call: Call) -> Response:
    await call.ask(WishPut(call.principal.name, _transaction_id(call), None))
    return Response(status_code=204)


def _transaction_id(call: Call) -> int:
    session = _charging(call).session
    return session.transaction_id if session is not None else 0


def _charging(call: Call) -> ConnectorState:
    """The connector of the session, while that runs."""
    asked = call.named("transaction_id")
    for connector in call.state.connectors.values():
        if connector.session is not None and str(connector.session.transaction_id) == asked:
            return connector
    raise Refusal(404, f"There is no running session “{asked}”.")


_SCHEMA: dict[str, Json] = WISH.optional_schema
_PATH, _ADMINISTER = "/sessions/{transaction_id}/wish", Permission.ADMINISTER
OPERATIONS = (
    Operation("GET", _PATH, _ADMINISTER, "What was said of this session.", _show, gives=_SCHEMA),
    Operation(
        "PUT",
        _PATH,
        _ADMINISTER,
        "Say how much energy a session wants since it began, and when the car leaves.",
        _put,
        takes=_SCHEMA,
        gives=_SCHEMA,
    ),
    Operation("DELETE", _PATH, _ADMINISTER, "Take that back.", _take_back, success=204),
)
