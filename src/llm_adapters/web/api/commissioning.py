"""The commissioning test over HTTP: begun here, its progress and result a part of the station."""

from __future__ import annotations

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import BOOLEAN, Json, Member, Record, whole
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.orders import order_refusal
from llm_adapters.web.api.problems import NOT_STORED, Refusal
from llm_adapters.web.api.views import stamp
from llm_adapters.web.findings import FINDING_TEXTS
from llm_core import (
    Commission,
    CommissionWish,
    Finding,
    Order,
    OrderEnded,
    OrderGranted,
    OrderRefused,
    Permission,
    State,
    StationOrdered,
    Tried,
    lesson,
)

SKIPPED = "Not tried."
UNCLEAR = "No clear answer."
_BODY: Record[CommissionWish] = Record(
    Member("connector", "connector", whole(1, 64)),
    Member("link_cut", "link_cut", BOOLEAN),
    Member("reboot", "reboot", BOOLEAN),
)


def finding_text(tried: Tried) -> str:
    """What came of a trial, for an installer."""
    usual = SKIPPED if tried.finding is Finding.SKIPPED else UNCLEAR
    return FINDING_TEXTS[tried.trial].get(tried.finding, usual)


def commission_json(station_id: str, state: State) -> Json:
    """The last test of this station; None before the first."""
    commission = state.commissions.get(station_id)
    return None if commission is None else _written(commission)


def lesson_json(station_id: str, state: State) -> Json:
    """The test that speaks for this station, perhaps of another one of its model and firmware."""
    known = lesson(state, station_id)
    return None if known is None else {"station_id": known.station_id, "model": known.model, "at": stamp(known.at)}


def _written(commission: Commission) -> Json:
    return {
        "progress": commission.progress,
        "trying": commission.trying,
        "connector": commission.connector,
        "at": stamp(commission.at),
        "by": commission.by,
        "model": commission.model,
        "why": commission.why,
        "tried": [
            {
                "trial": tried.trial,
                "finding": tried.finding,
                "text": finding_text(tried),
                "detail": tried.detail,
            }
            for tried in commission.tried
        ],
    }


async def _commission(call: Call) -> Response:
    station_id, by = call.named("id"), call.principal.name
    wish = _BODY.read(await call.json(), CommissionWish())
    detail = " ".join(name for name in ("link_cut", "reboot") if getattr(wish, name))
    match await call.desk.inbox.ask(StationOrdered(by, station_id, Order.COMMISSION, wish.connector, detail=detail)):
        case OrderGranted() as granted:
            begun = call.desk.stations.commission(station_id, by, wish)
            outcome = "begun" if begun else "not begun"
            await call.desk.inbox.ask(OrderEnded(by, station_id, Order.COMMISSION, begun, outcome, granted, detail))
        case OrderRefused() as refused:
            raise order_refusal(station_id, refused)
        case _:
            raise Refusal(503, NOT_STORED)
    if not begun:
        raise Refusal(409, f"The station “{station_id}” is not connected, or is under test already.")
    return JsonResponse({"station_id": station_id, "commissioning": commission_json(station_id, call.state)}, 202)


OPERATIONS = (
    Operation(
        "POST",
        "/stations/{id}/commission",
        Permission.ADMINISTER,
        "Test what a station can do with limits; the result is a part of the station.",
        _commission,
        takes=_BODY.schema,
        success=202,
    ),
)
