"""Limits from outside: what the grid operator or somebody else asks for, planned, holding and past, with its effect."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, shown_moment, shown_per_phase, submit
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import N_, StatusWord, Words
from llm_core import (
    AppliesTo,
    Ended,
    ExternalLimit,
    Lapse,
    LimitPut,
    LimitRecord,
    LimitState,
    LimitWithdrawn,
    Permission,
    PerPhase,
    Phase,
    Site,
)

POWER, CURRENT = "power", "current"
PAST_ROWS = 50
APPLIES_TO = {
    AppliesTo.STATIONS: (N_("Charging only"), N_("All charging stations there together stay below it.")),
    AppliesTo.TOTAL: (N_("Everything there"), N_("Building and cars together stay below it; a meter must see them.")),
}
LAPSES = {
    Lapse.KEEP: N_("it goes on holding"),
    Lapse.LIFT: N_("it is lifted until the sender is heard again"),
}
ENDINGS = {
    Ended.OVER: N_("Over"),
    Ended.WITHDRAWN: N_("Lifted"),
    Ended.REPLACED: N_("Changed"),
    Ended.LIFTED: N_("Sender silent"),
}


@attrs.frozen
class LimitRow:
    """A limit as shown; `id` is empty where nothing can be done about it any more."""

    id: str
    place: str
    amount: str
    share: str
    standing: StatusWord
    span: str
    reason: str
    by: str
    effect: str


def limit_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        return await _show(request, desk, principal, Form(words, _fields(None, words, desk.inbox.state.site)))

    async def add(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), await read_fields(request))
        limit = _read(form, desk.inbox.state.site, ExternalLimit())
        if await submit(desk, form, LimitPut(principal.name, limit)):
            return RedirectResponse("/limits?done=limit", 303)
        return await _show(request, desk, principal, form)

    async def edit(request: Request, principal: Principal) -> Response:
        known, words = _known(desk, request.path_params["limit_id"]), words_for(request, desk)
        site, limit = desk.inbox.state.site, known.record.limit
        if request.method == "GET":
            return _show_one(request, desk, principal, Form(words, _fields(limit, words, site)), known)
        form = Form(words, await read_fields(request))
        if await submit(desk, form, LimitPut(principal.name, _read(form, site, limit))):
            return RedirectResponse("/limits?done=limit", 303)
        return _show_one(request, desk, principal, form, known)

    async def lift(request: Request, principal: Principal) -> Response:
        known, form = _known(desk, request.path_params["limit_id"]), Form(words_for(request, desk), {})
        if await submit(desk, form, LimitWithdrawn(principal.name, known.record.limit.id)):
            return RedirectResponse("/limits?done=lifted", 303)
        return _show_one(request, desk, principal, form, known)

    return [
        guarded(desk, "/limits", Permission.ADMINISTER, index),
        guarded(desk, "/limits/new", Permission.ADMINISTER, add, ["POST"]),
        guarded(desk, "/limits/{limit_id}", Permission.ADMINISTER, edit, ["GET", "POST"]),
        guarded(desk, "/limits/{limit_id}/lift", Permission.ADMINISTER, lift, ["POST"]),
    ]


def _known(desk: Desk, limit_id: str) -> LimitState:
    known = desk.inbox.state.limits.get(limit_id)
    if known is None or known.is_gone:
        raise HTTPException(404)
    return known


# The form


def _fields(limit: ExternalLimit | None, words: Words, site: Site) -> dict[str, str]:
    shown = limit or ExternalLimit(limit_w=0)
    limit_ma = shown.limit_ma
    watts = shown.limit_w if limit is not None else None
    return {
        "node": shown.node,
        "kind": CURRENT if limit_ma is not None else POWER,
        "limit_kw": words.amps_exact(watts) if watts is not None else "",
        "limit_a": shown_per_phase(words, limit_ma, site.supply.site_phases) if limit_ma is not None else "",
        "applies_to": shown.applies_to,
        "starts_at": shown_moment(words, shown.starts_at),
        "ends_at": shown_moment(words, shown.ends_at),
        "keep_alive_s": str(shown.keep_alive_s) if shown.keep_alive_s is not None else "",
        "then": shown.then,
        "reason": shown.reason,
    }


def _read(form: Form, site: Site, before: ExternalLimit) -> ExternalLimit:
    by_power = form.fields.get("kind") != CURRENT
    watched = bool(form.fields.get("keep_alive_s", "").strip())
    return attrs.evolve(
        before,
        node=form.text("node"),
        limit_w=form.kilo("limit_kw", "4.2") if by_power else None,
        limit_ma=None if by_power else form.amps_per_phase("limit_a", site.supply.site_phases),
        applies_to=form.choice("applies_to", AppliesTo),
        starts_at=_same_minute(form.moment("starts_at"), before.starts_at),
        ends_at=_same_minute(form.moment("ends_at"), before.ends_at),
        keep_alive_s=form.whole("keep_alive_s", 10, 86_400) if watched else None,
        then=form.choice("then", Lapse),
        reason=form.text("reason", longest=200),
    )


def _same_minute(typed: datetime | None, stored: datetime | None) -> datetime | None:
    """The form shows minutes: what was stored with seconds stays as it was while nobody types another minute."""
    if typed is None or stored is None or stored.replace(second=0, microsecond=0) != typed:
        return typed
    return stored


def _choices(site: Site, words: Words) -> dict[str, Any]:
    return {
        "places": [(node.id, words.node_title(site, node.id)) for node in site.limit_tree()],
        "kinds": [
            (POWER, words("As a power"), words("In kilowatts over all phases, as grid operators say it.")),
            (CURRENT, words("As a current"), words("In amps on each phase, as fuses say it.")),
        ],
        "shares": [(value, words(title), words(help_)) for value, (title, help_) in APPLIES_TO.items()],
        "lapses": [(value, words(text)) for value, text in LAPSES.items()],
    }


# What is shown


async def _show(request: Request, desk: Desk, principal: Principal, form: Form) -> Response:
    state, words, utc = desk.inbox.state, form.words, desk.clock.utc()
    present = [known for known in state.limits.values() if not known.is_gone]
    records = [record for record in await desk.archive.limit_records(PAST_ROWS) if _is_past(record)]
    return page(
        request,
        desk,
        "limits.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        rows=[_row(known, state.site, words, utc) for known in sorted(present, key=_order)],
        past=[_past_row(record, state.site, words, utc) for record in records],
        **_choices(state.site, words),
    )


def _show_one(request: Request, desk: Desk, principal: Principal, form: Form, known: LimitState) -> Response:
    site, words = desk.inbox.state.site, form.words
    return page(
        request,
        desk,
        "limit.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        row=_row(known, site, words, desk.clock.utc()),
        **_choices(site, words),
    )


def _is_past(record: LimitRecord) -> bool:
    return record.ended in (Ended.OVER, Ended.WITHDRAWN, Ended.REPLACED)


def _order(known: LimitState) -> tuple[bool, str]:
    """What holds first, then what comes first."""
    starts_at = known.record.limit.starts_at
    return not known.holds, starts_at.isoformat() if starts_at is not None else ""


def _row(known: LimitState, site: Site, words: Words, utc: datetime) -> LimitRow:
    if known.holds:
        standing = StatusWord(words("Holds"), "limit")
        if known.silent:
            standing = StatusWord(words("Holds; its sender is silent"), "attention")
    elif known.silent:
        standing = StatusWord(words(ENDINGS[Ended.LIFTED]), "attention")
    else:
        standing = StatusWord(words("Planned"), "waiting")
    return _shown(known.record, standing, site, words, utc, known.record.limit.id)


def _past_row(record: LimitRecord, site: Site, words: Words, utc: datetime) -> LimitRow:
    word = ENDINGS[record.ended] if record.ended is not None else ENDINGS[Ended.OVER]
    return _shown(record, StatusWord(words(word), "off"), site, words, utc, "")


def _shown(
    record: LimitRecord, standing: StatusWord, site: Site, words: Words, utc: datetime, limit_id: str
) -> LimitRow:
    limit = record.limit
    return LimitRow(
        limit_id,
        words.node_title(site, limit.node),
        words.limit_amount(site, limit),
        words(APPLIES_TO[limit.applies_to][0]),
        standing,
        _span(record, words, utc),
        limit.reason,
        record.by,
        _effect(record, site, words),
    )


def _span(record: LimitRecord, words: Words, utc: datetime) -> str:
    """From when to when it held, or is to hold."""
    begins = record.began_at or record.limit.starts_at or record.set_at
    ends = record.ended_at if _is_past(record) else record.limit.ends_at
    if ends is None:
        return words("from %(start)s until it is lifted", start=words.since(begins, utc))
    return words("%(start)s to %(end)s", start=words.stamp(begins), end=words.end_stamp(ends, begins))


def _effect(record: LimitRecord, site: Site, words: Words) -> str:
    """What became of it: what flowed when it began, and how soon no more than it allows did."""
    if record.began_at is None:
        return words("It never held.") if _is_past(record) else ""
    if record.drawn_ma is None:
        return words("Nobody measures what it limits.")
    phases = site.supply.site_phases
    drawn = _amps(record.drawn_ma, phases, words)
    if record.held_after_ms is None:
        return words("%(drawn)s A flowed when it began; it was not reached.", drawn=drawn)
    if record.held_after_ms == 0:
        return words("%(drawn)s A flowed when it began: kept at once.", drawn=drawn)
    seconds = -(-record.held_after_ms // 1000)
    return words.many(
        "%(drawn)s A flowed when it began; kept after %(n)s second.",
        "%(drawn)s A flowed when it began; kept after %(n)s seconds.",
        seconds,
        drawn=drawn,
    )


def _amps(value: PerPhase, phases: tuple[Phase, ...], words: Words) -> str:
    shown = [words.amps_short(value[phase]) for phase in phases]
    return shown[0] if len(set(shown)) == 1 else " / ".join(shown)
