"""The charging stations: the address to type into one, those that wait to be adopted, and each one's settings."""

from __future__ import annotations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import bay_path, named, station_path
from llm_adapters.web.auth import Principal
from llm_adapters.web.clusters import BARE_SITE, cluster_choices
from llm_adapters.web.commissioning import commission_look
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.orders import GOOD_NEWS, TOLD
from llm_adapters.web.pages import guarded, own_path, page, render, words_for
from llm_adapters.web.qr import qr_code
from llm_adapters.web.station_form import (
    PRIORITIES,
    floor_rows,
    form_choices,
    read_station,
    refuse_empty_choice,
    sensible,
    station_fields,
    with_station,
)
from llm_adapters.web.station_lists import SCAN_S, nameless, station_lists, with_id
from llm_adapters.web.station_notes import notes_look
from llm_adapters.web.station_security import security_look
from llm_adapters.web.words import N_
from llm_core import (
    AccessRule,
    Fault,
    Permission,
    PutStation,
    PutStations,
    RemoveStation,
    SiteEdited,
    State,
    Station,
    StationScanStarted,
    StationScanStopped,
)

LONGEST_ID = 64
LEAVE = ""
"""The choice of those who change several stations and leave this as it is."""


def station_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        return _list(request, desk, principal, Form(words_for(request, desk), {}))

    async def bulk(request: Request, principal: Principal) -> Response:
        """Several stations alike, all or none; an empty field leaves what it was."""
        posted = await request.form()
        form = Form(words_for(request, desk), await read_fields(request))
        chosen = frozenset(posted.getlist("stations"))
        stations = tuple(s for s in desk.inbox.state.site.stations if s.id in chosen)
        if not stations:
            form.take((Fault("", N_("Tick the stations that are to change.")),))
        changed = tuple(_alike(form, station) for station in stations)
        if await submit(desk, form, SiteEdited(principal.name, PutStations(changed))):
            return RedirectResponse("/stations?done=saved", 303)
        return _list(request, desk, principal, form)

    async def waiting(request: Request, _: Principal) -> Response:
        """Who waits to be adopted, for a page that is open already."""
        words = words_for(request, desk)
        lists = station_lists(desk, words)
        in_setup = request.query_params.get("in") == "setup"
        return HTMLResponse(render("station_lists.html", words, in_setup=in_setup, **lists))

    async def scan(request: Request, principal: Principal) -> Response:
        """Look for stations for three minutes, or look no longer."""
        form = Form(words_for(request, desk), await read_fields(request))
        stop = form.fields.get("go") == "stop"
        change = StationScanStopped(principal.name) if stop else StationScanStarted(principal.name, SCAN_S)
        if await submit(desk, form, change):
            return RedirectResponse(f"{own_path(form.fields.get('next', '/stations'))}#search", 303)
        return _list(request, desk, principal, form)

    async def ahead(request: Request, principal: Principal) -> Response:
        """A station that has not connected yet: it is accepted as soon as it does."""
        form = Form(words_for(request, desk), await read_fields(request))
        station_id, site = form.text("station_id", longest=LONGEST_ID), desk.inbox.state.site
        if not station_id or "://" in station_id:
            form.take((Fault("/station_id", N_("Type the id alone: what the station adds to the address.")),))
        elif site.station(station_id) is not None:
            form.take((Fault("/station_id", N_("This station is in use already.")),))
        station = attrs.evolve(sensible(site, station_id), name=form.text("name", longest=60))
        if await submit(desk, form, SiteEdited(principal.name, PutStation(station))):
            return RedirectResponse(f"{station_path(station_id)}?done=ahead", 303)
        return _list(request, desk, principal, form)

    return [
        guarded(desk, "/stations", Permission.ADMINISTER, index),
        guarded(desk, "/stations/scan", Permission.ADMINISTER, scan, ["POST"]),
        guarded(desk, "/stations/ahead", Permission.ADMINISTER, ahead, ["POST"]),
        guarded(desk, "/stations/bulk", Permission.ADMINISTER, bulk, ["POST"]),
        guarded(desk, "/stations/waiting", Permission.ADMINISTER, waiting),
        *_one_station(desk),
    ]


def _one_station(desk: Desk) -> list[Route]:
    async def edit(request: Request, principal: Principal) -> Response:
        station_id = named(request, "station_id")
        stored = desk.inbox.state.site.station(station_id)
        if stored is None and station_id not in desk.inbox.state.stations:
            raise HTTPException(404)
        words = words_for(request, desk)
        before = stored or sensible(desk.inbox.state.site, station_id)
        if request.method == "GET":
            form, station = Form(words, station_fields(before, words)), before
        else:
            form = Form(words, await read_fields(request))
            station = read_station(form, await request.form(), stored or Station(station_id))
            refuse_empty_choice(form, station)
            if await submit(desk, form, SiteEdited(principal.name, PutStation(station))):
                back = own_path(request.query_params.get("next", "/stations"))
                return RedirectResponse(f"{back}?done={'adopted' if stored is None else 'saved'}", 303)
        return _show(request, desk, principal, form, station)

    async def sums(request: Request, _: Principal) -> Response:
        """The sum of fallbacks with what is typed at the moment."""
        station_id = named(request, "station_id")
        site, words = desk.inbox.state.site, words_for(request, desk)
        form = Form(words, await read_fields(request))
        station = read_station(form, await request.form(), site.station(station_id) or sensible(site, station_id))
        tried = site if form.faults else with_station(site, station)
        return HTMLResponse(render("floors.html", words, floors=floor_rows(tried, words)))

    async def remove(request: Request, principal: Principal) -> Response:
        station_id = named(request, "station_id")
        form = Form(words_for(request, desk), {})
        if await submit(desk, form, SiteEdited(principal.name, RemoveStation(station_id))):
            return RedirectResponse("/stations?done=removed", 303)
        stored = desk.inbox.state.site.station(station_id)
        if stored is None:
            raise HTTPException(404)
        fields = station_fields(stored, form.words)
        return _show(request, desk, principal, attrs.evolve(form, fields=fields), stored)

    return [
        guarded(desk, "/stations/{station_id}/remove", Permission.ADMINISTER, remove, ["POST"]),
        guarded(desk, "/stations/{station_id}/sums", Permission.ADMINISTER, sums, ["POST"]),
        guarded(desk, "/stations/{station_id}", Permission.ADMINISTER, edit, ["GET", "POST"]),
    ]


def _alike(form: Form, station: Station) -> Station:
    """A station with what was typed for several; what was left empty stays as it is."""
    fields = form.fields
    cluster, service = fields.get("cluster", LEAVE), fields.get("service", LEAVE)
    if cluster != LEAVE:
        station = attrs.evolve(station, cluster=None if cluster == BARE_SITE else cluster)
    if fields.get("max_a", "").strip():
        station = attrs.evolve(station, max_ma=form.amps("max_a"))
    if fields.get("fallback_a", "").strip():
        station = attrs.evolve(station, fallback_ma=form.amps("fallback_a"))
    if fields.get("priority", "").strip():
        station = attrs.evolve(station, priority=form.whole("priority", *PRIORITIES))
    if service != LEAVE:
        station = attrs.evolve(station, out_of_service=service == "out")
    return station


def _list(request: Request, desk: Desk, principal: Principal, form: Form) -> Response:
    words = form.words
    leave = (LEAVE, words("as it is"))
    return page(
        request,
        desk,
        "stations.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        station_url=desk.station_url,
        code=qr_code(desk.station_url),
        in_setup=False,
        bulk_clusters=[leave, *cluster_choices(desk.inbox.state.site, words)],
        services=[leave, ("in", words("in service")), ("out", words("out of service"))],
        **station_lists(desk, words),
    )


def _show(request: Request, desk: Desk, principal: Principal, form: Form, station: Station) -> Response:
    state, words = desk.inbox.state, form.words
    tried = state.site if form.faults else with_station(state.site, station)
    sessions_at = _sessions_at(state, station.id)
    address = f"{str(request.base_url).rstrip('/')}{bay_path(station.id)}"
    return page(
        request,
        desk,
        "station.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        station=station,
        station_id=station.id,
        is_adopted=state.site.station(station.id) is not None,
        known=state.stations.get(station.id),
        floors=floor_rows(tried, words),
        nameless=nameless(desk.station_url),
        with_id=with_id(desk.station_url),
        back=own_path(request.query_params.get("next", "/stations")),
        bay=qr_code(address),
        told=TOLD.get(request.query_params.get("told", "")),
        told_well=request.query_params.get("told") in GOOD_NEWS,
        **commission_look(desk, words, station.id),
        **security_look(desk, words, station.id),
        **notes_look(desk, words, station.id),
        connectors=[key[1] for key in sorted(state.connectors) if key[0] == station.id],
        running=list(sessions_at),
        sessions_at=sessions_at,
        needs_badge=state.site.access is not AccessRule.FREE,
        **form_choices(state, words, station.badges or frozenset()),
    )


def _sessions_at(state: State, station_id: str) -> dict[int, int]:
    """The connectors of a station at which a session runs, each with its number."""
    here = ((key[1], connector.session) for key, connector in sorted(state.connectors.items()) if key[0] == station_id)
    return {number: session.transaction_id for number, session in here if session is not None}
