"""What goes on now: the overview, the same as a stream of events, and why every limit is what it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count

from starlette.responses import Response, StreamingResponse

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.decisions import decisions_json
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.views import overview_json
from llm_adapters.web.auth import identify
from llm_core import Permission, State

EVERY_MS = 1_000
_ALIVE_EVERY = 15  # looks: so often a silent stream says that it lives, and asks whether its reader still may


def operations() -> tuple[Operation, ...]:
    picture = Picture()

    async def events(call: Call) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_changes(call, picture), headers=headers, media_type="text/event-stream")

    see, administer = Permission.SEE_DASHBOARD, Permission.ADMINISTER
    return (
        Operation("GET", "/overview", see, "Status, alarms, nodes, stations, sessions.", _overview),
        Operation(
            "GET",
            "/events",
            see,
            "The overview as server-sent events, at most once a second.",
            events,
            gives_type="text/event-stream",
        ),
        Operation("GET", "/decisions", administer, "Why each connector has the limit it has.", _decisions),
    )


async def _overview(call: Call) -> Response:
    return JsonResponse(overview_json(call.state, call.now_ms))


async def _decisions(call: Call) -> Response:
    return JsonResponse(decisions_json(call.state, call.now_ms))


class Picture:
    """The overview as text, made at most once a second however many streams tell it: watching delays no limit."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._made_ms = 0
        self._text = ""

    def of(self, state: State, now_ms: int) -> str:
        if state is not self._state and (self._state is None or now_ms - self._made_ms >= EVERY_MS):
            self._state, self._made_ms = state, now_ms
            self._text = json.dumps(overview_json(state, now_ms))
        return self._text


async def _changes(call: Call, picture: Picture) -> AsyncIterator[str]:
    """The overview when it differs from the last one sent; ends when its reader may no longer see it."""
    sent = ""
    for look in count(1):
        if look % _ALIVE_EVERY == 0:
            reader = await identify(call.request, call.desk)
            if reader is None or not reader.may(Permission.SEE_DASHBOARD):
                return
            yield ": alive\n\n"
        seen = picture.of(call.state, call.now_ms)
        if seen != sent:
            yield f"event: overview\ndata: {seen}\n\n"
            sent = seen
        await asyncio.sleep(EVERY_MS / 1000)
