"""The charging stations: the address to type into one, those that wait to be adopted, and each one's settings."""

from __future__ import annotations

from itertools import permutations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, own_path, page, render, words_for
from llm_adapters.web.qr import qr_code
from llm_adapters.web.station_lists import station_lists
from llm_adapters.web.words import Words
from llm_core import (
    DEFAULT_CLUSTER,
    Permission,
    Phase,
    PutStation,
    RemoveStation,
    Site,
    SiteEdited,
    Station,
)

BARE_SITE = "-"
"""The choice of those who hang a station on the site itself, under no cluster."""


def station_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        lists = station_lists(desk, words_for(request, desk))
        values = {**lists, "station_url": desk.station_url, "code": qr_code(desk.station_url), "in_setup": False}
        return page(request, desk, "stations.html", principal, **values)

    async def waiting(request: Request, _: Principal) -> Response:
        """Who waits to be adopted, for a page that is open already."""
        words = words_for(request, desk)
        lists = station_lists(desk, words)
        in_setup = request.query_params.get("in") == "setup"
        return HTMLResponse(render("station_lists.html", words, in_setup=in_setup, **lists))

    async def edit(request: Request, principal: Principal) -> Response:
        station_id = request.path_params["station_id"]
        stored = desk.inbox.state.site.station(station_id)
        if stored is None and station_id not in desk.inbox.state.stations:
            raise HTTPException(404)
        words = words_for(request, desk)
        if request.method == "GET":
            form = Form(words, _fields(stored or _sensible(desk.inbox.state.site, station_id), words))
        else:
            form = Form(words, await read_fields(request))
            change = PutStation(_station(form, stored or Station(station_id)))
            if await submit(desk, form, SiteEdited(principal.name, change)):
                back = own_path(request.query_params.get("next", "/stations"))
                return RedirectResponse(f"{back}?done={'adopted' if stored is None else 'saved'}", 303)
        return _show(request, desk, principal, form, station_id)

    async def remove(request: Request, principal: Principal) -> Response:
        station_id = request.path_params["station_id"]
        form = Form(words_for(request, desk), {})
        if await submit(desk, form, SiteEdited(principal.name, RemoveStation(station_id))):
            return RedirectResponse("/stations?done=removed", 303)
        stored = desk.inbox.state.site.station(station_id)
        if stored is None:
            raise HTTPException(404)
        return _show(request, desk, principal, attrs.evolve(form, fields=_fields(stored, form.words)), station_id)

    return [
        guarded(desk, "/stations", Permission.ADMINISTER, index),
        guarded(desk, "/stations/waiting", Permission.ADMINISTER, waiting),
        guarded(desk, "/stations/{station_id:path}/remove", Permission.ADMINISTER, remove, ["POST"]),
        guarded(desk, "/stations/{station_id:path}", Permission.ADMINISTER, edit, ["GET", "POST"]),
    ]


def _show(request: Request, desk: Desk, principal: Principal, form: Form, station_id: str) -> Response:
    state = desk.inbox.state
    clusters = [(cluster.id, cluster.name) for cluster in state.site.clusters]
    return page(
        request,
        desk,
        "station.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        station_id=station_id,
        is_adopted=state.site.station(station_id) is not None,
        known=state.stations.get(station_id),
        clusters=[*clusters, (BARE_SITE, form.words("Directly at the building's supply"))],
        rotations=_rotations(state.site),
        back=own_path(request.query_params.get("next", "/stations")),
    )


def _rotations(site: Site) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Every way to wire a station: the phases of the site that its own L1, L2, L3 hang on, and its wires as drawn."""
    phases = site.supply.site_phases
    orders = [*permutations(phases)] if len(phases) > 1 else []
    ways = (*orders, *((phase,) for phase in phases))
    return [
        (" ".join(way), " · ".join(way), [(_across(i), _across([*Phase].index(p))) for i, p in enumerate(way)])
        for way in ways
    ]


def _across(index: int) -> int:
    """Where the picture of the wires has its terminals."""
    return 14 + 28 * index


def _sensible(site: Site, station_id: str) -> Station:
    """What most stations need, so that adopting one is a name and a button."""
    cluster = DEFAULT_CLUSTER if any(cluster.id == DEFAULT_CLUSTER for cluster in site.clusters) else None
    return Station(station_id, cluster=cluster, phase_rotation=site.supply.site_phases)


def _fields(station: Station, words: Words) -> dict[str, str]:
    return {
        "name": station.name,
        "cluster": station.cluster if station.cluster is not None else BARE_SITE,
        "phase_rotation": " ".join(station.phase_rotation),
        "max_a": words.amps_exact(station.max_ma),
        "min_a": words.amps_exact(station.min_ma),
    }


def _station(form: Form, before: Station) -> Station:
    """The station as typed; what the form does not show stays as it was."""
    cluster = form.text("cluster")
    rotation = form.text("phase_rotation").split()
    return attrs.evolve(
        before,
        name=form.text("name", longest=60),
        cluster=None if cluster == BARE_SITE else cluster,
        phase_rotation=tuple(phase for phase in map(_phase, rotation) if phase is not None),
        max_ma=form.amps("max_a"),
        min_ma=form.amps("min_a"),
    )


def _phase(text: str) -> Phase | None:
    """A phase that is none is left out: the core refuses an order that is not whole."""
    return next((phase for phase in Phase if phase == text), None)
