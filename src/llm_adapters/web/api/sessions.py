"""Sessions over HTTP: JSON for scripts, CSV for spreadsheets; streamed, however many there are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

from starlette.responses import Response, StreamingResponse

from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Wrong, choice, part
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.periods import read_period
from llm_adapters.web.api.views import session_json
from llm_core import Fault, Permission, Session, State

_QUERY = {
    "from": "The first day at the site, inclusive; left out, the last 31 days.",
    "to": "The last day at the site, inclusive; at most one year after the first.",
    "format": "json (default) or csv.",
    "decimal": "For csv: point (default), or comma with ; between the fields.",
}
_FORMAT = choice("json", "csv")
_DECIMAL = choice("point", "comma")


async def _export(call: Call) -> Response:
    given = call.request.query_params
    zone = ZoneInfo(call.state.site.system.time_zone)
    faults = [Fault(f"/{name}", "is not a parameter of this address") for name in given if name not in _QUERY]
    form, decimal = "json", "point"
    with part("format", faults):
        form = _FORMAT.read(given.get("format", form))
    with part("decimal", faults):
        decimal = _DECIMAL.read(given.get("decimal", decimal))
    if faults:
        raise Wrong(*faults)
    period = read_period(given.get("from"), given.get("to"), call.desk.clock.utc().astimezone(zone).date())
    found = call.desk.archive.sessions(*period.utc(zone))
    if form == "json":
        return StreamingResponse(_as_json(found, call.state), media_type="application/json")
    chunks = call.desk.write_sessions(found, call.state, decimal_comma=decimal == "comma")
    name = f"sessions_{period.first}_{period.last}.csv"
    return StreamingResponse(
        chunks, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type="text/csv"
    )


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
        "The sessions that started on these days, oldest first, open ones included.",
        _export,
        query=_QUERY,
    ),
)
