"""The overview, and the stream of events that keeps it true.

Theory of operation
-------------------
A dashboard is rendered by the server, as a whole page first and then once a second in three parts that htmx puts in
their places. All dashboards of one `Variant` (what is shown, in which language, which part of the table) share one
rendering a second, so that a hundred watchers cost one. A stream ends when its reader may no longer see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llm_adapters.web.alarm_links import alarm_link
from llm_adapters.web.auth import Principal, identify
from llm_adapters.web.bars import node_bars
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import shown_per_phase
from llm_adapters.web.pages import page, render, to_sign_in, words_for
from llm_adapters.web.rows import PAGE_SIZES, Listing, cut, matching, table
from llm_adapters.web.words import Words
from llm_core import Dashboard, Permission, Presence, Role, may, overview

MOST_STREAMS = 200
MOST_VARIANTS = 500
RECHECK_S = 10
OLD_MS = 10_000
"""Values that the control loop has not renewed for so long are called old."""
MOST_ALARMS = (5, 2)
"""As many as leave room for what follows, usually and with many rows; all of them stand under Support."""
MOST_AIRY = 12
"""More rows than this are set closely, so that twenty stations fit one screen of 1280 × 800."""


@attrs.frozen
class Variant:
    """All that a rendering depends on besides the state."""

    words: Words
    role: Role | None  # None: somebody who has not signed in, and sees no names
    listing: Listing

    @property
    def names(self) -> bool:
        return self.role is not None


def dashboard_routes(desk: Desk) -> list[Route]:
    live = Live(desk)

    async def index(request: Request) -> Response:
        allowed, principal = await viewer(request, desk)
        if not allowed:
            return to_sign_in(request)
        variant = _variant(request, desk, principal)
        values = facts(desk, variant)
        return page(request, desk, "overview.html", principal, **values, sizes=PAGE_SIZES)

    async def stream(request: Request) -> Response:
        allowed, principal = await viewer(request, desk)
        if not allowed:
            return Response(status_code=401, headers={"HX-Redirect": "/login"})
        if live.streams >= MOST_STREAMS:
            raise HTTPException(503)
        variant = _variant(request, desk, principal)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(live.follow(request, variant), media_type="text/event-stream", headers=headers)

    return [Route("/", index), Route("/live", stream)]


def facts(desk: Desk, variant: Variant) -> dict[str, Any]:
    """Everything the overview's templates show, from one snapshot of the state."""
    state, utc, now_ms = desk.inbox.state, desk.clock.utc(), desk.clock.monotonic_ms()
    seen, supply = overview(state, now_ms), state.site.supply
    rows = table(state, seen, variant.words, utc, names=variant.names)
    part = cut(list(matching(rows, variant.listing.query)), variant.listing)
    adopted = [station for station in seen.stations if station.presence is not Presence.PENDING]
    names = variant.names
    dense = len(part.items) > MOST_AIRY
    newest, most = sorted(seen.alarms, key=lambda alarm: alarm.since, reverse=True), MOST_ALARMS[dense]
    age_ms = now_ms - state.ticked_ms if state.ticked_ms is not None else 0
    return {
        "seen": seen,
        "names": variant.names,
        "links": variant.role is not None and may(variant.role, Permission.ADMINISTER),
        "phases": supply.site_phases,
        "limit": shown_per_phase(variant.words, supply.limit_ma, supply.site_phases),
        "is_unset": not any(supply.limit_ma),
        "fuse": shown_per_phase(variant.words, supply.fuse_ma, supply.site_phases),
        "stations": len(adopted),
        "online": sum(station.presence is Presence.ONLINE for station in adopted),
        "pending": len(seen.stations) - len(adopted),
        "alarms": [
            (
                variant.words.alarm(state, alarm),
                variant.words.since(alarm.since, utc),
                alarm_link(alarm, state.site),
            )
            for alarm in newest[:most]
        ],
        "alarms_left": len(newest[most:]),
        "nodes": [(variant.words.node_title(state.site, node.node), node) for node in node_bars(state)],
        "listing": variant.listing,
        "rows": part,
        "dense": dense,
        "outside": [
            (variant.words.outside(state.site, held.record.limit, utc), held.record.limit.reason if names else "")
            for held in state.limits.values()
            if held.holds
        ],
        "old_s": age_ms // 1000 if age_ms > OLD_MS else None,
    }


async def viewer(request: Request, desk: Desk) -> tuple[bool, Principal | None]:
    """Whether this reader may see the overview, and who it is; nobody in particular when it is public."""
    if await desk.accounts.is_factory():
        return False, None
    principal = await identify(request, desk)
    if principal is not None and principal.may(Permission.SEE_DASHBOARD):
        return True, principal
    return desk.inbox.state.site.system.dashboard is Dashboard.PUBLIC, None


def _variant(request: Request, desk: Desk, principal: Principal | None) -> Variant:
    role = principal.role if principal is not None else None
    return Variant(words_for(request, desk), role, Listing.of(request.query_params))


@attrs.define
class Live:
    """One rendering a second for each variant, and the streams that send them."""

    desk: Desk
    streams: int = 0
    _second: int = -1
    _rendered: dict[Variant, bytes] = attrs.field(factory=dict)

    def rendering(self, variant: Variant) -> bytes:
        """This second's message for a variant, as it goes over the wire."""
        second = self.desk.clock.monotonic_ms() // 1000
        if second != self._second or len(self._rendered) >= MOST_VARIANTS:
            self._second, self._rendered = second, {}
        if variant not in self._rendered:
            values = facts(self.desk, variant)
            html = render("live.html", variant.words, alarm_count=len(self.desk.inbox.state.alarms), **values)
            lines = (f"data: {line.strip()}\n" for line in html.splitlines() if line.strip())
            self._rendered[variant] = ("".join(lines) + "\n").encode()
        return self._rendered[variant]

    async def follow(self, request: Request, variant: Variant) -> AsyncIterator[bytes]:
        """Messages for one dashboard, until it goes away or its reader loses the right to see it."""
        self.streams += 1
        try:
            checked_ms = self.desk.clock.monotonic_ms()
            while True:
                yield self.rendering(variant)
                await asyncio.sleep(1)
                if self.desk.clock.monotonic_ms() - checked_ms >= RECHECK_S * 1000:
                    checked_ms = self.desk.clock.monotonic_ms()
                    allowed, principal = await viewer(request, self.desk)
                    if not allowed or (principal.role if principal is not None else None) is not variant.role:
                        return
        finally:
            self.streams -= 1
