"""The load shedding strategy, with a preview of who would get what now, by the real rules."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.words import STRATEGIES, STRATEGY_HELP, Words
from llm_core import (
    Grant,
    GrantReason,
    Now,
    Permission,
    PutSharing,
    Sharing,
    SiteEdited,
    Strategy,
    preview,
)

MOST_PREVIEWED = 50
YES = "yes"


@attrs.frozen
class PreviewRow:
    """A car that wants current, what it gets now, and what it would get under each strategy."""

    label: str
    now: str
    shares: tuple[tuple[Strategy, str, bool], ...]  # the strategy, its amps, whether the car would wait


def strategy_routes(desk: Desk) -> list[Route]:
    async def edit(request: Request, principal: Principal) -> Response:
        words, site = words_for(request, desk), desk.inbox.state.site
        if request.method == "GET":
            form = Form(words, _fields(site.sharing, words))
        else:
            form = Form(words, await read_fields(request))
            if await submit(desk, form, SiteEdited(principal.name, PutSharing(_sharing(form)))):
                return RedirectResponse("/strategy?done=saved", 303)
        return page(
            request,
            desk,
            "strategy.html",
            principal,
            status_code=422 if form.faults else 200,
            form=form,
            strategies=[(kind, words(STRATEGIES[kind]), words(STRATEGY_HELP[kind])) for kind in Strategy],
            rows=previewed(desk, words, site.sharing),
            has_priorities=len({station.priority for station in site.stations}) > 1,
        )

    async def tried(request: Request, _: Principal) -> Response:
        """The preview with what is typed at the moment; what makes no sense counts as stored."""
        words, site = words_for(request, desk), desk.inbox.state.site
        form = Form(words, await read_fields(request))
        sharing = _sharing(form)
        rows = previewed(desk, words, site.sharing if form.faults else sharing)
        return HTMLResponse(render("strategy_preview.html", words, rows=rows, form=form))

    return [
        guarded(desk, "/strategy", Permission.ADMINISTER, edit, ["GET", "POST"]),
        guarded(desk, "/strategy/preview", Permission.ADMINISTER, tried, ["POST"]),
    ]


def previewed(desk: Desk, words: Words, sharing: Sharing) -> tuple[PreviewRow, ...]:
    """Every car that wants current now, under all strategies."""
    state, utc = desk.inbox.state, desk.clock.utc()
    offset = utc.astimezone(ZoneInfo(state.site.system.time_zone)).utcoffset() or timedelta()
    now = Now(desk.clock.monotonic_ms(), utc, int(offset.total_seconds()))
    shares = {kind: preview(state, attrs.evolve(sharing, strategy=kind), now) for kind in Strategy}
    places = {station.id: place for place, station in enumerate(state.site.stations)}
    wanting = {key for grants in shares.values() for key in grants}
    keys = sorted(wanting, key=lambda key: (places.get(key[0], len(places)), key))[:MOST_PREVIEWED]
    rows = []
    for key in keys:
        station = state.site.station(key[0])
        several = station is not None and station.connectors > 1
        name = words.station(state.site, key[0])
        told = tuple((kind, *_told(words, grants.get(key))) for kind, grants in shares.items())
        offered_ma = state.connectors[key].offered_ma
        rows.append(PreviewRow(f"{name} · {key[1]}" if several else name, words.amps(offered_ma), told))
    return tuple(rows)


def _told(words: Words, grant: Grant | None) -> tuple[str, bool]:
    if grant is None:
        return "", False
    return words.amps(grant.limit_ma), grant.limit_ma == 0 and grant.reason is GrantReason.WAITING


def _fields(sharing: Sharing, words: Words) -> dict[str, str]:
    return {
        "strategy": sharing.strategy,
        "minimum_first": YES if sharing.minimum_first else "",
        "rotation_min": str(sharing.rotation_min),
        "unbalance_a": words.amps_exact(sharing.unbalance_ma) if sharing.unbalance_ma is not None else "",
    }


def _sharing(form: Form) -> Sharing:
    return Sharing(
        strategy=form.choice("strategy", Strategy),
        minimum_first=form.fields.get("minimum_first") == YES,
        rotation_min=form.whole("rotation_min", 1, 24 * 60),
        unbalance_ma=form.amps("unbalance_a") if form.fields.get("unbalance_a", "").strip() else None,
    )
