"""The sessions of a date range: who charged, when, how much."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.rows import PAGE_SIZES, Listing, Part
from llm_adapters.web.words import Words
from llm_core import Permission, Session, State, session_filter

LONGEST_RANGE = timedelta(days=366)
USUAL_DAYS = 31


@attrs.frozen
class Range:
    """Days in the site's time zone, both inclusive; `fault` tells why what was asked for is not shown."""

    first: date
    last: date
    fault: str = ""


@attrs.frozen
class SessionRow:
    transaction_id: int
    station: str
    who: str
    started: str
    stopped: str
    duration: str
    energy: str
    is_open: bool
    is_running: bool


def session_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, zone = words_for(request, desk), ZoneInfo(desk.inbox.state.site.system.time_zone)
        days = _range(request, words, desk.clock.utc().astimezone(zone).date())
        listing = Listing.of(request.query_params)
        part, energy_wh = await _newest(desk, days, zone, listing)
        shown = tuple(_row(desk.inbox.state, session, words) for session in part.items)
        return page(
            request,
            desk,
            "sessions.html",
            principal,
            status_code=422 if days.fault else 200,
            days=days,
            listing=listing,
            sizes=PAGE_SIZES,
            rows=Part(shown, part.page, part.pages, part.total),
            energy=words.kwh(energy_wh),
            may_wish=principal.may(Permission.ADMINISTER),
            decimal="point" if words.language == "en" else "comma",
        )

    return [guarded(desk, "/sessions", Permission.SEE_DASHBOARD, index)]


def _range(request: Request, words: Words, today: date) -> Range:
    usual = Range(today - timedelta(days=USUAL_DAYS - 1), today)
    texts = request.query_params.get("from", ""), request.query_params.get("to", "")
    if not any(texts):
        return usual
    try:
        first, last = map(date.fromisoformat, texts)
    except ValueError:
        return attrs.evolve(usual, fault=words("Give both dates, such as 2026-01-31."))
    if last < first:
        return attrs.evolve(usual, fault=words("The last day is before the first."))
    if last - first >= LONGEST_RANGE or last.year > 9000 or first.year < 1970:
        return attrs.evolve(usual, fault=words("At most one year at a time."))
    return Range(first, last)


async def _newest(desk: Desk, days: Range, zone: ZoneInfo, listing: Listing) -> tuple[Part[Session], int]:
    """The page asked for, newest first, and the energy of the whole range."""
    begin = datetime.combine(days.first, time(), zone)
    end = datetime.combine(days.last + timedelta(days=1), time(), zone)
    size, number = listing.size, listing.page
    wanted = session_filter(desk.inbox.state, text=listing.query)
    found = await desk.archive.session_page(begin, end, wanted, size, (number - 1) * size)
    pages = max(1, -(-found.total // size))
    if number > pages:
        number = pages
        found = await desk.archive.session_page(begin, end, wanted, size, (number - 1) * size)
    return Part(found.sessions, number, pages, found.total), found.energy_wh


def _row(state: State, session: Session, words: Words) -> SessionRow:
    session = state.latest(session)
    station = state.site.station(session.station_id)
    badge = state.badge(session.id_tag)
    who = (session.id_tag or "", badge.comment if badge is not None else "")
    name = (station.name if station is not None else "") or session.station_id
    several = station is not None and station.connectors > 1
    length = session.stopped_at - session.started_at if session.stopped_at is not None else None
    return SessionRow(
        transaction_id=session.transaction_id,
        station=f"{name} · {session.connector}" if several else name,
        who=" · ".join(part for part in who if part),
        started=words.stamp(session.started_at),
        stopped=words.end_stamp(session.stopped_at, session.started_at) if session.stopped_at is not None else "",
        duration=words.duration(length // timedelta(milliseconds=1)) if length is not None else "",
        energy=words.kwh(session.energy_wh),
        is_open=session.is_open,
        is_running=_is_running(state, session),
    )


def _is_running(state: State, session: Session) -> bool:
    """Whether it is the session at its connector now; others that are open wait to be closed."""
    connector = state.connectors.get((session.station_id, session.connector))
    present = connector.session if connector is not None else None
    return present is not None and present.transaction_id == session.transaction_id
