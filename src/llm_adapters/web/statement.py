"""A month of one badge on one sheet of paper: every session with its meter readings, and the sum."""

from __future__ import annotations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.statements import Statement, statement_of
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import Words
from llm_core import Permission, Session, SessionState, State, normalise


@attrs.frozen
class Line:
    """A session as it is printed."""

    transaction_id: int
    station: str
    serial: str
    started: str
    stopped: str
    meter_start: str
    meter_stop: str
    energy: str
    remark: str


def statement_routes(desk: Desk) -> list[Route]:
    async def show(request: Request, principal: Principal) -> Response:
        words, state = words_for(request, desk), desk.inbox.state
        badge = state.badges.get(normalise(request.query_params.get("id", "")))
        if badge is None:
            raise HTTPException(404)
        fault = ""
        try:
            statement = await statement_of(desk, badge, request.query_params.get("month"))
        except Wrong:
            fault = words("Choose a month.")
            statement = await statement_of(desk, badge, None)
        return page(
            request,
            desk,
            "statement.html",
            principal,
            status_code=422 if fault else 200,
            statement=statement,
            month=f"{statement.period.first:%Y-%m}",
            first=words.day(statement.period.first),
            last=words.day(statement.period.last),
            made=words.stamp(desk.clock.utc()),
            lines=[_line(session, state, words) for session in statement.sessions],
            total=_kwh(words, statement.energy_wh),
            is_open=_has_open(statement),
            decimal="point" if words.language == "en" else "comma",
            fault=fault,
        )

    return [guarded(desk, "/badges/statement", Permission.MANAGE_BADGES, show)]


def _has_open(statement: Statement) -> bool:
    return any(session.is_open for session in statement.sessions)


def _line(session: Session, state: State, words: Words) -> Line:
    station, known = state.site.station(session.station_id), state.stations.get(session.station_id)
    name = words.station(state.site, session.station_id)
    several = station is not None and station.connectors > 1
    stopped_at = session.stopped_at
    return Line(
        transaction_id=session.transaction_id,
        station=f"{name} · {session.connector}" if several else name,
        serial=known.serial if known is not None else "",
        started=words.stamp(session.started_at),
        stopped=words.stamp(stopped_at) if stopped_at is not None else "",
        meter_start=_kwh(words, session.meter_start_wh),
        meter_stop=_kwh(words, session.meter_stop_wh) if session.meter_stop_wh is not None else "",
        energy=_kwh(words, session.energy_wh),
        remark=_remark(session, words),
    )


def _remark(session: Session, words: Words) -> str:
    """What an accountant should know of this line."""
    if session.is_open:
        return words("still open")
    if session.state is SessionState.INTERRUPTED:
        return words("ended without a stop of the station: the last reading counts")
    if session.meter_stop_wh is not None and session.meter_stop_wh - session.meter_start_wh != session.energy_wh:
        return words("the station's meter jumped: the sum of its increases counts")
    return words("the station's clock or meter was in doubt") if session.flagged else ""


def _kwh(words: Words, energy_wh: int) -> str:
    """To the watt-hour, as in the spreadsheet: a bill is not rounded on the way."""
    mark = "." if words.language == "en" else ","
    return f"{energy_wh // 1000}{mark}{energy_wh % 1000:03}"
