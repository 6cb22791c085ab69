"""The charge point operator: whom the stations' sessions are told to, each station's id there, and how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import WHOLE_FORM, Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.uplink_words import trouble_in_words
from llm_adapters.web.words import N_, OFFLINE_HELP, OFFLINE_POLICIES, UPLINK_KINDS, UPLINK_STATES, StatusWord, Words
from llm_core import (
    CpoServer,
    Fault,
    OfflinePolicy,
    Permission,
    PutUplink,
    Site,
    SiteEdited,
    SiteError,
    StoreError,
    Uplink,
    UplinkKind,
    UplinkState,
    UplinkStation,
    check,
    edited,
)

PASSWORD = "password"
YES = "yes"
MOST_SHOWN, MOST_SERVERS, LONGEST_PEM = 20, 100, 65_536


@attrs.frozen
class UplinkRow:
    """A station and how it stands with the operator; `key` is the name of its fields."""

    key: str
    station_id: str
    name: str
    status: StatusWord
    queued: int
    refused: int
    doubtful: int
    error: str
    has_password: bool
    refusals: tuple[str, ...] = ()


def uplink_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, site = words_for(request, desk), desk.inbox.state.site
        if request.method == "GET":
            return await _show(request, desk, principal, Form(words, _fields(site)))
        form = Form(words, await read_fields(request))
        uplink = _uplink(form, site)
        form.take(tuple(_faults(site, uplink)))
        if not form.faults:  # else no secret may change
            await _keep(desk, form, site, uplink, principal)
        if await submit(desk, form, SiteEdited(principal.name, PutUplink(uplink))):
            return RedirectResponse("/uplink?done=saved", 303)
        return await _show(request, desk, principal, form)

    async def live(request: Request, _: Principal) -> Response:
        words = words_for(request, desk)
        return HTMLResponse(render("uplink_rows.html", words, rows=await _rows(desk, words)))

    async def again(request: Request, principal: Principal) -> Response:
        """What the operator refused is sent once more: the settings, put again, wake the ways up."""
        form = Form(words_for(request, desk), await read_fields(request))
        site = desk.inbox.state.site
        if site.uplink.station(form.fields.get("station", "")) is not None:
            try:
                await desk.uplink.retry_refused(form.fields["station"])
            except StoreError:
                form.take((Fault(WHOLE_FORM, N_("Nothing can be stored at the moment. Try again later.")),))
        if await submit(desk, form, SiteEdited(principal.name, PutUplink(site.uplink))):
            return RedirectResponse("/uplink?done=saved", 303)
        return await _show(request, desk, principal, Form(form.words, _fields(site), form.faults))

    return [
        guarded(desk, "/uplink", Permission.ADMINISTER, index, ["GET", "POST"]),
        guarded(desk, "/uplink/again", Permission.ADMINISTER, again, ["POST"]),
        guarded(desk, "/uplink/live", Permission.ADMINISTER, live),
    ]


async def _show(request: Request, desk: Desk, principal: Principal, form: Form) -> Response:
    words, uplink = form.words, desk.inbox.state.site.uplink
    servers = [(server.url, f"{server.name} ({server.url})") for server in uplink.servers]
    values: dict[str, Any] = {
        "servers": servers,
        "entries": range(sum(name.startswith("server_url_") for name in form.fields)),
        "enabled": uplink.enabled,
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
                status.doubtful if status is not None and is_in else 0,
                trouble_in_words(status.error, words) if status is not None and is_in else "",
                (station.id, PASSWORD) in names,
                await _refusals(desk, station.id, words) if status is not None and is_in and status.refused else (),
            )
        )
    return tuple(rows)


async def _refusals(desk: Desk, station_id: str, words: Words) -> tuple[str, ...]:
    """What the operator refused, the newest first: of which transaction, and why."""
    rows = await desk.uplink.refused(station_id, MOST_SHOWN)
    kinds = {UplinkKind.START: words("start"), UplinkKind.STOP: words("stop"), UplinkKind.METER: words("reading")}
    return tuple(
        f"{kinds[row.message.kind]} {row.message.transaction_id}: {trouble_in_words(row.refusal, words)}"
        for row in rows
    )


def _fields(site: Site) -> dict[str, str]:
    uplink = site.uplink
    fields: dict[str, str] = {"enabled": YES if uplink.enabled else "", "url": uplink.url, "offline": uplink.offline}
    fields["ca"] = uplink.ca
    for index, server in enumerate((*uplink.servers, CpoServer("", ""))):
        fields[f"server_name_{index}"], fields[f"server_url_{index}"] = server.name, server.url
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
        before,
        enabled=enabled,
        url=url,
        offline=form.choice("offline", OfflinePolicy),
        stations=tuple(entries),
        servers=tuple(_servers(form)) if "server_url_0" in form.fields else before.servers,
        ca=_authority(form) if "ca" in form.fields else before.ca,
    )


def _servers(form: Form) -> Iterator[CpoServer]:
    """The list to choose from as it was typed; a row without an address is none."""
    for index in range(MOST_SERVERS):
        name, url = form.text(f"server_name_{index}"), form.text(f"server_url_{index}", longest=512)
        if url:
            yield CpoServer(name or url, url)


def _authority(form: Form) -> str:
    typed = form.fields["ca"].replace("\r\n", "\n").strip()
    if typed and ("-----BEGIN CERTIFICATE-----" not in typed or len(typed) > LONGEST_PEM or not typed.isascii()):
        form.take((Fault("/ca", N_("Give certificates as they stand in a PEM file.")),))
    return typed


def _faults(site: Site, uplink: Uplink) -> Iterator[Fault]:
    """What the core would refuse, each at the field that it was typed into."""
    try:
        check(edited(site, PutUplink(uplink)))
    except SiteError as error:
        places = {f"/uplink/stations/{station.id}/ocpp_id": i for i, station in enumerate(site.stations)}
        for fault in error.faults:
            if fault.pointer in places:
                yield attrs.evolve(fault, pointer=f"/ocpp_id_{places[fault.pointer]}")
            elif fault.pointer.startswith("/uplink/servers/"):
                _, _, _, index, name = fault.pointer.split("/")
                yield attrs.evolve(fault, pointer=f"/server_{name}_{index}")
            else:
                yield fault


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
