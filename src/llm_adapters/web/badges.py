"""The badges: who may charge, added by hand or from an attempt that was refused."""

from __future__ import annotations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.rows import PAGE_SIZES, Listing, cut
from llm_adapters.web.sections import options, read_access
from llm_adapters.web.words import N_
from llm_core import (
    LONGEST_TAG,
    AccessRule,
    Badge,
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


def badge_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        if request.method == "GET":
            scanned = request.query_params.get("badge_id", "")[:LONGEST_TAG]
            return _show(request, desk, principal, Form(words, {"badge_id": scanned, "type": BadgeType.STANDARD}))
        form = Form(words, await read_fields(request))
        badge = _badge(form, desk.inbox.state)
        if await submit(desk, form, BadgesEdited(principal.name, put=(badge,))):
            return RedirectResponse("/badges?done=badge", 303)
        return _show(request, desk, principal, form)

    async def switch(request: Request, principal: Principal) -> Response:
        """Activate or deactivate one badge."""
        form = Form(words_for(request, desk), await read_fields(request))
        badge = desk.inbox.state.badges.get(normalise(form.text("badge_id")))
        if badge is None:
            raise HTTPException(404)
        changed = attrs.evolve(badge, state=form.choice("state", BadgeState))
        if await submit(desk, form, BadgesEdited(principal.name, put=(changed,))):
            return RedirectResponse("/badges?done=badge", 303)
        return _show(request, desk, principal, form)

    async def rule(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), await read_fields(request))
        edit = read_access(form, desk.inbox.state.site)
        if await submit(desk, form, SiteEdited(principal.name, edit)):
            return RedirectResponse("/badges?done=saved", 303)
        return _show(request, desk, principal, form)

    return [
        guarded(desk, "/badges/rule", Permission.ADMINISTER, rule, ["POST"]),
        guarded(desk, "/badges", Permission.MANAGE_BADGES, index, ["GET", "POST"]),
        guarded(desk, "/badges/state", Permission.MANAGE_BADGES, switch, ["POST"]),
    ]


def _show(request: Request, desk: Desk, principal: Principal, form: Form) -> Response:
    state = desk.inbox.state
    listing = Listing.of(request.query_params)
    wanted = listing.query.casefold()
    found = [badge for badge in state.badges.values() if wanted in f"{badge.badge_id} {badge.comment}".casefold()]
    utc = desk.clock.utc()
    return page(
        request,
        desk,
        "badges.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        listing=listing,
        sizes=PAGE_SIZES,
        rows=cut(sorted(found, key=lambda badge: (badge.comment.casefold(), badge.badge_id)), listing),
        refused=[(refusal, form.words.since(refusal.at, utc)) for refusal in _recent_refusals(state)],
        types=[(kind, form.words.badge_type(kind)) for kind in BadgeType],
        in_use=state.site.access is AccessRule.BADGE,
        rule=Form(form.words, {"rule": state.site.access}),
        **options(form.words, desk),
    )


def _badge(form: Form, state: State) -> Badge:
    """The badge as typed; one that is known already is refused, so that nothing is overwritten unseen."""
    badge_id = form.text("badge_id", longest=LONGEST_TAG)
    if not normalise(badge_id):
        form.take((Fault("/badge_id", N_("Type the number printed on the badge.")),))
    elif normalise(badge_id) in state.badges:
        form.take((Fault("/badge_id", N_("This badge is in the list already.")),))
    return Badge(
        badge_id=badge_id,
        type=form.choice("type", BadgeType),
        comment=form.text("comment"),
        expires_on=form.date("expires_on"),
    )


def _recent_refusals(state: State) -> list[RefusedStart]:
    """The newest attempts with badges that nobody has added yet, each badge once."""
    newest: dict[str, RefusedStart] = {}
    for refusal in sorted(state.refusals, key=lambda refusal: refusal.at, reverse=True):
        newest.setdefault(normalise(refusal.id_tag), refusal)
    return [refusal for key, refusal in newest.items() if key and key not in state.badges][:RECENT_REFUSALS]
