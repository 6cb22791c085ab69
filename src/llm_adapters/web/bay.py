"""A bay's page, for those who stand beside it or hang a screen there: free or charging, since when, and why so fast.

Its address never changes, so it can be printed. Without signing in it opens while the overview is public, and then
shows no names.
"""

from __future__ import annotations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import named
from llm_adapters.web.dashboard import OLD_MS, viewer
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import page, render, to_sign_in, words_for
from llm_adapters.web.rows import Row, table
from llm_adapters.web.words import Words
from llm_core import Presence, overview


@attrs.frozen
class Bay:
    name: str
    rows: tuple[Row, ...]
    phases: tuple[str, ...]
    is_old: bool


def bay_routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        allowed, principal = await viewer(request, desk)
        if not allowed:
            return to_sign_in(request)
        bay = _bay(desk, named(request, "station_id"), words_for(request, desk), names=principal is not None)
        return page(request, desk, "bay.html", principal, bay=bay)

    async def live(request: Request) -> Response:
        allowed, principal = await viewer(request, desk)
        if not allowed:
            return Response(status_code=401, headers={"HX-Refresh": "true"})
        words = words_for(request, desk)
        bay = _bay(desk, named(request, "station_id"), words, names=principal is not None)
        return HTMLResponse(render("bay_live.html", words, bay=bay))

    return [Route("/bay/{station_id}/live", live), Route("/bay/{station_id}", show)]


def _bay(desk: Desk, station_id: str, words: Words, *, names: bool) -> Bay:
    state = desk.inbox.state
    seen = overview(state, desk.clock.monotonic_ms())
    station = next((s for s in seen.stations if s.id == station_id and s.presence is not Presence.PENDING), None)
    if station is None:
        raise HTTPException(404)
    only = attrs.evolve(seen, stations=(station,))
    age_ms = desk.clock.monotonic_ms() - state.ticked_ms if state.ticked_ms is not None else 0
    phases = tuple(state.site.supply.site_phases)
    return Bay(station.name, table(state, only, words, desk.clock.utc(), names=names), phases, age_ms > OLD_MS)
