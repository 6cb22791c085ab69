"""What one badge charged in a month, with the meter readings: for a bill, as JSON or as a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date
from zoneinfo import ZoneInfo

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.periods import Period, read_month
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.queries import Query
from llm_adapters.web.api.sessions import attachment
from llm_adapters.web.api.views import session_json
from llm_adapters.web.desk import Desk
from llm_core import Badge, Permission, Session, normalise, session_filter

MOST = 10_000  # sessions of one badge in one month: more is no driver
_QUERY = {
    "month": "The month at the site, like 2026-01; left out, the last whole month.",
    "format": "json (default) or csv.",
    "decimal": "For csv: point (default), or comma with ; between the fields.",
}


@attrs.frozen
class Statement:
    """The sessions of a badge that started in a month, oldest first, open ones included."""

    badge: Badge
    period: Period
    sessions: tuple[Session, ...]

    @property
    def energy_wh(self) -> int:
        return sum(session.energy_wh for session in self.sessions)


async def statement_of(desk: Desk, badge: Badge, month: str | None) -> Statement:
    """The statement of this month, or of the last whole one. Raises `Wrong`."""
    zone = ZoneInfo(desk.inbox.state.site.system.time_zone)
    period = read_month(month if month is not None else last_month(desk.clock.utc().astimezone(zone).date()))
    wanted = session_filter(desk.inbox.state, badge_id=badge.badge_id)
    sessions: list[Session] = []
    async for session in desk.archive.sessions(*period.utc(zone), wanted):
        sessions.append(session)
        if len(sessions) == MOST:
            break
    return Statement(badge, period, tuple(sessions))


def last_month(today: date) -> str:
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{year:04}-{month:02}"


async def _statement(call: Call) -> Response:
    query = Query(call.request.query_params, _QUERY)
    form, decimal = query.word("format", "json", "csv"), query.word("decimal", "point", "comma")
    query.close()
    badge = call.state.badges.get(normalise(call.named("id")))
    if badge is None:
        raise Refusal(404, f"There is no badge “{call.named('id')}”.")
    statement = await statement_of(call.desk, badge, call.request.query_params.get("month"))
    if form == "json":
        return JsonResponse(
            {
                "badge_id": badge.badge_id,
                "badge_name": badge.comment,
                "from": statement.period.first.isoformat(),
                "to": statement.period.last.isoformat(),
                "sessions": [session_json(session, call.state) for session in statement.sessions],
                "energy_kwh": statement.energy_wh / 1000,
            }
        )
    chunks = call.desk.write_sessions(each(statement.sessions), call.state, decimal_comma=decimal == "comma")
    return attachment(chunks, file_name(statement))


async def each(sessions: tuple[Session, ...]) -> AsyncIterator[Session]:
    for session in sessions:
        yield session


def file_name(statement: Statement) -> str:
    """A name that every file system takes, whatever is printed on the badge."""
    plain = re.sub(r"[^0-9A-Za-z]+", "", statement.badge.badge_id)
    return f"statement_{plain}_{statement.period.first:%Y-%m}.csv"


OPERATIONS = (
    Operation(
        "GET",
        "/badges/{id}/statement",
        Permission.MANAGE_BADGES,
        "What one badge charged in a month, with the meter readings.",
        _statement,
        query=_QUERY,
    ),
)
