"""What goes on now: the overview, the same as a stream of events, and why every limit is what it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse, Response, StreamingResponse

from llm_adapters.web.api.call import Call
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.views import decisions_json, overview_json
from llm_adapters.web.auth import identify
from llm_core import Permission

EVERY_S = 1.0
_ALIVE_EVERY = 15  # looks: so often a silent stream says that it lives, and asks whether its reader still may


async def _overview(call: Call) -> Response:
    return JSONResponse(overview_json(call.state, call.now_ms))


async def _decisions(call: Call) -> Response:
    return JSONResponse(decisions_json(call.state, call.now_ms))


async def _events(call: Call) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_changes(call), headers=headers, media_type="text/event-stream")


async def _changes(call: Call) -> AsyncIterator[str]:
    """The overview when it differs from the last one sent; ends when its reader may no longer see it."""
    sent = ""
    looks = 0
    while True:
        if looks % _ALIVE_EVERY == _ALIVE_EVERY - 1:
            reader = await identify(call.request, call.desk)
            if reader is None or not reader.may(Permission.SEE_DASHBOARD):
                return
            yield ": alive\n\n"
        seen = json.dumps(overview_json(call.state, call.now_ms))
        if seen != sent:
            yield f"event: overview\ndata: {seen}\n\n"
            sent = seen
        looks += 1
        await asyncio.sleep(EVERY_S)


_SEE = Permission.SEE_DASHBOARD
OPERATIONS = (
    Operation("GET", "/overview", _SEE, "Status, alarms, nodes, stations, sessions.", _overview),
    Operation(
        "GET",
        "/events",
        _SEE,
        "The overview as server-sent events, at most once a second.",
        _events,
        gives_type="text/event-stream",
    ),
    Operation("GET", "/decisions", Permission.ADMINISTER, "Why each connector has the limit it has.", _decisions),
)
