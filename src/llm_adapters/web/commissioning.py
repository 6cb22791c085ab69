"""The commissioning test of a station: begun here, watched live, told in plain results."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import named, station_path
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.findings import FINDING_TEXTS
from llm_adapters.web.forms import read_fields
from llm_adapters.web.orders import connector_of
from llm_adapters.web.pages import guarded, render, words_for
from llm_adapters.web.told import told_plainly
from llm_adapters.web.words import FINDING_KINDS, FINDINGS, TRIALS, StatusWord, Words
from llm_core import (
    CommissionWish,
    Finding,
    Order,
    OrderEnded,
    OrderGranted,
    OrderRefused,
    Permission,
    Progress,
    StationOrdered,
    Tried,
)

YES = "yes"


@attrs.frozen
class TrialRow:
    """What was tried, what came of it, and what was seen."""

    title: str
    finding: StatusWord
    meaning: str
    detail: str


def commissioning_routes(desk: Desk) -> list[Route]:
    async def begin(request: Request, principal: Principal) -> Response:
        station_id, fields = named(request, "station_id"), await read_fields(request)
        wish = CommissionWish(
            connector_of(fields) or 1, link_cut=fields.get("link_cut") == YES, reboot=fields.get("reboot") == YES
        )
        told = await _begun(desk, principal.name, station_id, wish)
        return RedirectResponse(f"{station_path(station_id)}?told={told}#test", 303)

    async def live(request: Request, _: Principal) -> Response:
        words = words_for(request, desk)
        values = commission_look(desk, words, named(request, "station_id"))
        return HTMLResponse(render("commission.html", words, **values))

    return [
        guarded(desk, "/stations/{station_id}/test", Permission.ADMINISTER, begin, ["POST"]),
        guarded(desk, "/stations/{station_id}/test/live", Permission.ADMINISTER, live),
    ]


async def _begun(desk: Desk, by: str, station_id: str, wish: CommissionWish) -> str:
    """Begin the test in somebody's name, audited; how that went, as a key of `TOLD`."""
    detail = " ".join(name for name in ("link_cut", "reboot") if getattr(wish, name))
    match await desk.inbox.ask(StationOrdered(by, station_id, Order.COMMISSION, wish.connector, detail=detail)):
        case OrderGranted() as granted:
            begun = desk.stations.commission(station_id, by, wish)
            outcome = "begun" if begun else "not begun"
            await desk.inbox.ask(OrderEnded(by, station_id, Order.COMMISSION, begun, outcome, granted, detail))
            return "test_begun" if begun else "test_not_begun"
        case OrderRefused(fault=fault):
            return fault
        case _:
            return "not_stored"


def _meaning(tried: Tried, words: Words) -> str:
    """What a bad or unclear result means here; a good one says all in its title."""
    if tried.finding in (Finding.YES, Finding.SKIPPED):
        return ""
    return words(FINDING_TEXTS[tried.trial].get(tried.finding, ""))


def commission_look(desk: Desk, words: Words, station_id: str) -> dict[str, Any]:
    """The last test of a station, as its template shows it."""
    known = desk.inbox.state.commissions.get(station_id)
    if known is None:
        return {"testing": False, "tested": "", "trying": "", "broken_off": "", "trials": ()}
    rows = tuple(
        TrialRow(
            words(TRIALS[tried.trial]),
            StatusWord(words(FINDINGS[tried.finding]), FINDING_KINDS[tried.finding]),
            _meaning(tried, words),
            told_plainly(tried.detail, words),
        )
        for tried in known.tried
    )
    return {
        "testing": known.progress is Progress.RUNNING,
        "tested": words.stamp(known.at),
        "trying": words(TRIALS[known.trying]) if known.trying is not None else "",
        "broken_off": told_plainly(known.why, words) if known.progress is Progress.BROKEN_OFF else "",
        "trials": rows,
    }
