"""The charge point operator: whom the stations' sessions are told to, each station's id there, and how it stands."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import WHOLE_FORM, Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.words import N_, OFFLINE_HELP, OFFLINE_POLICIES, UPLINK_KINDS, UPLINK_STATES, StatusWord, Words
from llm_core import (
    Fault,
    OfflinePolicy,
    Permission,
    PutUplink,
    Site,
    SiteEdited,
    SiteError,
    StoreError,
    Uplink,
    UplinkState,
    UplinkStation,
    check,
    edited,
)

PASSWORD = "password"
YES = "yes"


@attrs.frozen
class UplinkRow:
    """A station and how it stands with the operator; `key` is the name of its fields."""

    key: str
    station_id: str
    name: str
    status: StatusWord
    queued: int
    refused: int
    error: str
    has_password: bool


def uplink_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, site = words_for(request, desk), desk.inbox.state.site
        if request.method == "GET":
            return await _show(request, desk, principal, Form(words, _fields(site)))
        form = Form(words, await read_fields(request))
        uplink = _uplink(form, site)
        if not form.faults and _fits(site, uplink):  # else the edit is refused and no secret may change
            await _keep(desk, form, site, uplink, principal)
        if await submit(desk, form, SiteEdited(principal.name, PutUplink(uplink))):
            return RedirectResponse("/uplink?done=saved", 303)
        return await _show(request, desk, principal, form)

    async def live(request: Request, _: Principal) -> Response:
        words = words_for(request, desk)
        return HTMLResponse(render("uplink_rows.html", words, rows=await _rows(desk, words), form=None))

    return [
        guarded(desk, "/uplink", Permission.ADMINISTER, index, ["GET", "POST"]),
        guarded(desk, "/uplink/live", Permission.ADMINISTER, live),
    ]


async def _show(request: Request, desk: Desk, principal: Principal, form: Form) -> Response:
    words, uplink = form.words, desk.inbox.state.site.uplink
    servers = [(server.url, f"{server.name} ({server.url})") for server in uplink.servers]
    values: dict[str, Any] = {
        "servers": servers,
        "policies": [(kind, words(OFFLINE_POLICIES[kind]), words(OFFLINE_HELP[kind])) for kind in OfflinePolicy],
        "rows": await _rows(desk, words),
    }
    return page(request, desk, "uplink.html", principal, status_code=422 if form.faults else 200, form=form, **values)


async def _rows(desk: Desk, words: Words) -> tuple[UplinkRow, ...]:
    state = desk.inbox.state
    names = await desk.uplink.names()
    rows = []
    for index, station in enumerate(state.site.stations):
        status = state.uplink.get(station.id)
        is_in = state.site.uplink.enabled and state.site.uplink.station(station.id) is not None
        kind = UplinkState.OFF if not is_in else UplinkState.CONNECTING if status is None else status.state
        rows.append(
            UplinkRow(
                str(index),
                station.id,
                station.name or station.id,
                StatusWord(words(UPLINK_STATES[kind]), UPLINK_KINDS[kind]),
                status.queued if status is not None and is_in else 0,
                status.refused if status is not None and is_in else 0,
                status.error if status is not None and is_in else "",
                (station.id, PASSWORD) in names,
            )
        )
    return tuple(rows)


def _fields(site: Site) -> dict[str, str]:
    uplink = site.uplink
    fields = {"enabled": YES if uplink.enabled else "", "url": uplink.url, "offline": uplink.offline}
    for index, station in enumerate(site.stations):
        entry = uplink.station(station.id)
        fields[f"ocpp_id_{index}"] = entry.ocpp_id if entry is not None else ""
    return fields


def _uplink(form: Form, site: Site) -> Uplink:
    """What was typed; a station without an id there takes no part. Certificates and addresses of its own stay."""
    before = site.uplink
    entries = []
    for index, station in enumerate(site.stations):
        ocpp_id = form.text(f"ocpp_id_{index}", longest=64)
        if ocpp_id:
            entry = before.station(station.id) or UplinkStation(station.id)
            entries.append(attrs.evolve(entry, ocpp_id=ocpp_id))
    enabled, url = form.fields.get("enabled") == YES, form.text("url", longest=512)
    if enabled and not url:
        form.take((Fault("/url", N_("Give the address of the operator's server.")),))
    return attrs.evolve(
        before, enabled=enabled, url=url, offline=form.choice("offline", OfflinePolicy), stations=tuple(entries)
    )


def _fits(site: Site, uplink: Uplink) -> bool:
    try:
        check(edited(site, PutUplink(uplink)))
    except SiteError:
        return False
    return True


async def _keep(desk: Desk, form: Form, site: Site, uplink: Uplink, principal: Principal) -> None:
    """The passwords that were typed, before anyone connects with them; those of stations that left are dropped."""
    taking_part = {entry.station_id for entry in uplink.stations}
    secrets: dict[tuple[str, str], str | None] = {}
    for index, station in enumerate(site.stations):
        typed = form.fields.get(f"password_{index}", "")
        if station.id in taking_part and (typed or form.fields.get(f"forget_{index}") == YES):
            secrets[station.id, PASSWORD] = typed or None
    try:
        dropped = {key: None for key in await desk.uplink.names() if key[0] not in taking_part}
        await desk.uplink.keep({**dropped, **secrets}, principal.name)
    except StoreError:
        form.take((Fault(WHOLE_FORM, N_("Nothing can be stored at the moment. Try again later.")),))
