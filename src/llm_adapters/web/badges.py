"""The badges: who may charge; added by hand, by holding one to a station, or from a refused attempt."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.badge_form import badge_fields, new_badge, read_alike, read_badge, stations_alike
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.rows import PAGE_SIZES, Listing, cut
from llm_adapters.web.sections import access_fields, options, read_access
from llm_adapters.web.words import N_, Words
from llm_core import (
    LONGEST_TAG,
    AccessRule,
    Badge,
    BadgeScanStarted,
    BadgeScanStopped,
    BadgesEdited,
    BadgeState,
    BadgeType,
    Fault,
    Permission,
    RefusedStart,
    SiteEdited,
    State,
    normalise,
)

RECENT_REFUSALS = 5
SCAN_S = 180


def badge_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        if request.method == "GET":
            scanned = request.query_params.get("badge_id", "")[:LONGEST_TAG]
            return _show(request, desk, principal, _blank(words, scanned))
        form = Form(words, await read_fields(request))
        badge = new_badge(form, desk.inbox.state)
        if await submit(desk, form, BadgesEdited(principal.name, put=(badge,))):
            return RedirectResponse("/badges?done=badge", 303)
        return _show(request, desk, principal, form)

    async def rule(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), await read_fields(request))
        edit = read_access(form, desk.inbox.state.site)
        if await submit(desk, form, SiteEdited(principal.name, edit)):
            return RedirectResponse("/badges?done=saved", 303)
        return _show(request, desk, principal, _blank(form.words), rule=form)

    async def edit(request: Request, principal: Principal) -> Response:
        before = _known(desk.inbox.state, request.query_params.get("id", ""))
        words = words_for(request, desk)
        if request.method == "GET":
            return _show_one(request, desk, principal, Form(words, badge_fields(before)), before)
        form = Form(words, await read_fields(request))
        changed = read_badge(form, await request.form(), before)
        if await submit(desk, form, BadgesEdited(principal.name, put=(changed,))):
            return RedirectResponse("/badges?done=badge", 303)
        return _show_one(request, desk, principal, form, changed)

    async def bulk(request: Request, principal: Principal) -> Response:
        """Several badges alike, all or none: what was left empty stays; or all of them removed."""
        form = Form(words_for(request, desk), await read_fields(request))
        state = desk.inbox.state
        ids = [str(value) for value in (await request.form()).getlist("badges")]
        chosen = [badge for badge in map(state.badges.get, map(normalise, ids)) if badge is not None]
        if not chosen:
            form.take((Fault("", N_("Tick the badges that are to change.")),))
        if form.fields.get("go") == "remove":
            change = BadgesEdited(principal.name, remove=tuple(badge.badge_id for badge in chosen))
        else:
            where = stations_alike(form, await request.form())
            change = BadgesEdited(principal.name, put=tuple(read_alike(form, badge, where) for badge in chosen))
        if await submit(desk, form, change):
            return RedirectResponse("/badges?done=saved", 303)
        return _show(request, desk, principal, _blank(form.words), bulk=form)

    return [
        guarded(desk, "/badges/rule", Permission.ADMINISTER, rule, ["POST"]),
        guarded(desk, "/badges", Permission.MANAGE_BADGES, index, ["GET", "POST"]),
        guarded(desk, "/badges/edit", Permission.MANAGE_BADGES, edit, ["GET", "POST"]),
        guarded(desk, "/badges/bulk", Permission.MANAGE_BADGES, bulk, ["POST"]),
        *_scan_routes(desk),
    ]


def _scan_routes(desk: Desk) -> list[Route]:
    async def scan(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), await read_fields(request))
        stop = form.fields.get("go") == "stop"
        change = BadgeScanStopped(principal.name) if stop else BadgeScanStarted(principal.name, None, SCAN_S)
        if await submit(desk, form, change):
            return RedirectResponse("/badges#scan", 303)
        return _show(request, desk, principal, _blank(form.words), bulk=form)

    async def found(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        return HTMLResponse(render("badge_scan.html", words, principal=principal, **_scan(desk, words)))

    return [
        guarded(desk, "/badges/scan", Permission.MANAGE_BADGES, scan, ["POST"]),
        guarded(desk, "/badges/scan/live", Permission.MANAGE_BADGES, found),
    ]


def _known(state: State, badge_id: str) -> Badge:
    badge = state.badges.get(normalise(badge_id))
    if badge is None:
        raise HTTPException(404)
    return badge


def _scan(desk: Desk, words: Words) -> dict[str, Any]:
    """The search that runs, or what the last one found."""
    state, now_ms, utc = desk.inbox.state, desk.clock.monotonic_ms(), desk.clock.utc()
    scan = state.badge_scan
    is_open = scan is not None and scan.is_open(now_ms)
    left_s = max(0, -((now_ms - scan.until_ms) // 1000)) if scan is not None else 0
    found = [
        (
            one.id_tag,
            words.station(state.site, one.station_id),
            words.since(one.at, utc),
            badge.state if (badge := state.badge(one.id_tag)) is not None else None,
        )
        for one in (scan.found if scan is not None else ())
    ]
    return {"scanning": is_open, "scan_left": left_s, "found": found}


def _show(
    request: Request,
    desk: Desk,
    principal: Principal,
    form: Form,
    *,
    rule: Form | None = None,
    bulk: Form | None = None,
) -> Response:
    """The whole page; of its forms (a new badge, the rule, several badges alike) the one that was sent, as typed."""
    state, words = desk.inbox.state, form.words
    sent = [one for one in (form, rule, bulk) if one is not None]
    listing = Listing.of(request.query_params)
    wanted = listing.query.casefold()
    found = [
        badge
        for badge in state.badges.values()
        if wanted in f"{badge.badge_id} {badge.comment} {badge.group or ''}".casefold()
    ]
    utc = desk.clock.utc()
    leave = ("", words("as it is"))
    return page(
        request,
        desk,
        "badges.html",
        principal,
        status_code=422 if any(one.faults for one in sent) else 200,
        form=form,
        bulk=bulk or Form(words, {}),
        listing=listing,
        sizes=PAGE_SIZES,
        rows=cut(sorted(found, key=_order), listing),
        refused=[(refusal, words.since(refusal.at, utc)) for refusal in _recent_refusals(state)],
        types=[(kind, words.badge_type(kind)) for kind in BadgeType],
        bulk_types=[leave, *((kind, words.badge_type(kind)) for kind in BadgeType)],
        bulk_states=[leave, *((s, words.badge_state(s)) for s in (BadgeState.ACTIVE, BadgeState.INACTIVE))],
        bulk_where=[leave, ("all", words("All stations")), ("chosen", words("Chosen stations only"))],
        stations=state.site.stations,
        groups=_groups(state),
        in_use=state.site.access is AccessRule.BADGE,
        rule=rule or Form(words, access_fields(state.site)),
        **_scan(desk, words),
        **options(words, desk),
    )


def _show_one(request: Request, desk: Desk, principal: Principal, form: Form, badge: Badge) -> Response:
    state, words = desk.inbox.state, form.words
    return page(
        request,
        desk,
        "badge.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        badge=badge,
        types=[(kind, words.badge_type(kind)) for kind in BadgeType],
        states=[(s, words.badge_state(s)) for s in BadgeState if s is not BadgeState.PENDING or badge.state is s],
        groups=_groups(state),
        stations=[(s, badge.stations is not None and s.id in badge.stations) for s in state.site.stations],
    )


def _blank(words: Words, badge_id: str = "") -> Form:
    """The form of a new badge."""
    return Form(words, {"badge_id": badge_id, "type": BadgeType.STANDARD})


def _order(badge: Badge) -> tuple[bool, str, str]:
    """Those that wait for somebody first, then by name."""
    return badge.state is not BadgeState.PENDING, badge.comment.casefold(), badge.badge_id


def _groups(state: State) -> list[str]:
    return sorted({badge.group for badge in state.badges.values() if badge.group})


def _recent_refusals(state: State) -> list[RefusedStart]:
    """The newest attempts with badges that nobody has added yet, each badge once."""
    newest: dict[str, RefusedStart] = {}
    for refusal in sorted(state.refusals, key=lambda refusal: refusal.at, reverse=True):
        newest.setdefault(normalise(refusal.id_tag), refusal)
    return [refusal for key, refusal in newest.items() if key and state.badge(key) is None][:RECENT_REFUSALS]
