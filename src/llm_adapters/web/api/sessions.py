"""Sessions over HTTP: JSON for scripts, CSV for spreadsheets; streamed, or a page at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

import attrs
from starlette.responses import Response, StreamingResponse

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.periods import Period, read_month, read_period
from llm_adapters.web.api.queries import Query
from llm_adapters.web.api.views import session_json
from llm_core import Permission, Session, SessionFilter, SessionState, State, session_filter

MOST = 1_000
_QUERY = {
    "from": "The first day at the site, inclusive; left out, the last 31 days.",
    "to": "The last day at the site, inclusive; at most one year after the first.",
    "month": "In place of the days: a month at the site, like 2026-01.",
    "format": "json (default) or csv.",
    "decimal": "For csv: point (default), or comma with ; between the fields.",
    "station": "Only the sessions of this station.",
    "badge": "Only the sessions of this badge, in any spelling.",
    "state": "Only open, closed or interrupted sessions.",
    "text": "Only sessions whose station, badge or number holds this text, in its id or its name.",
    "limit": f"The newest first, and at most so many (up to {MOST}); X-Total-Count tells how many there are.",
    "skip": "With limit: leave out so many of the newest.",
}


@attrs.frozen
class _Asked:
    """What an address asks for; `limit` None: all of them, oldest first."""

    period: Period
    wanted: SessionFilter
    as_csv: bool
    decimal_comma: bool
    limit: int | None
    skip: int


async def _sessions(call: Call) -> Response:
    asked = _read(call)
    span = asked.period.utc(_zone(call))
    if asked.limit is not None:
        found = await call.desk.archive.session_page(*span, asked.wanted, asked.limit, asked.skip)
        headers = {"X-Total-Count": str(found.total), "X-Total-Energy-Wh": str(found.energy_wh)}
        return JsonResponse([session_json(session, call.state) for session in found.sessions], 200, headers)
    sessions = call.desk.archive.sessions(*span, asked.wanted)
    if not asked.as_csv:
        return StreamingResponse(_as_json(sessions, call.state), media_type="application/json")
    chunks = call.desk.write_sessions(sessions, call.state, decimal_comma=asked.decimal_comma)
    return attachment(chunks, f"sessions_{asked.period.first}_{asked.period.last}.csv")


def _read(call: Call) -> _Asked:
    """Raises `Wrong` with every fault."""
    query = Query(call.request.query_params, _QUERY)
    form, decimal = query.word("format", "json", "csv"), query.word("decimal", "point", "comma")
    limit = query.whole("limit", 0, 1, MOST) or None
    skip = query.whole("skip", 0, 0, 100_000_000)
    if limit is not None and form == "csv":
        query.refuse("limit", "is for json only: a file is exported whole")
    if query.has("skip") and not query.has("limit"):
        query.refuse("skip", "needs a limit")
    wanted = session_filter(
        call.state,
        station_id=query.text("station") or None,
        badge_id=query.text("badge") or None,
        session_state=query.member("state", SessionState),
        text=query.text("text"),
    )
    query.close()
    return _Asked(asked_period(call), wanted, form == "csv", decimal == "comma", limit, skip)


def asked_period(call: Call) -> Period:
    """The days or the month that the address names. Raises `Wrong`."""
    given = call.request.query_params
    today = call.desk.clock.utc().astimezone(_zone(call)).date()
    if "month" in given:
        return read_month(given["month"], alone="from" not in given and "to" not in given)
    return read_period(given.get("from"), given.get("to"), today)


def _zone(call: Call) -> ZoneInfo:
    return ZoneInfo(call.state.site.system.time_zone)


def attachment(chunks: AsyncIterator[str], name: str) -> Response:
    """A file to save."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chunks, headers=headers, media_type="text/csv")


async def _as_json(sessions: AsyncIterator[Session], state: State) -> AsyncIterator[str]:
    before = "["
    async for session in sessions:
        yield before + json.dumps(session_json(session, state))
        before = ",\n"
    yield "[]" if before == "[" else "]"


OPERATIONS = (
    Operation(
        "GET",
        "/sessions",
        Permission.SEE_DASHBOARD,
        "The sessions that started on these days, open ones included; oldest first unless there is a limit.",
        _sessions,
        query=_QUERY,
    ),
)
