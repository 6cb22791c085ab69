"""The meter at the fuse of a cluster: what it tells now, tried before it is saved, or taken away."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import cluster_path, named
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.meter_look import meter_look
from llm_adapters.web.meter_trial import MeterTrial, try_meter
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.sections import meter_at, meter_fields, options, read_meters
from llm_core import Cluster, Permission, SiteEdited


def cluster_meter_routes(desk: Desk) -> list[Route]:
    async def edit(request: Request, principal: Principal) -> Response:
        cluster, words, site = _cluster(desk, request), words_for(request, desk), desk.inbox.state.site
        if request.method == "GET":
            fields = meter_fields(meter_at(site, cluster.id), words, site.supply.site_phases)
            return _show(request, desk, principal, cluster, Form(words, fields))
        form = Form(words, await read_fields(request))
        if form.fields.get("go") == "try":
            return _show(request, desk, principal, cluster, form, await try_meter(desk, form, cluster.id))
        if await submit(desk, form, SiteEdited(principal.name, read_meters(form, site, cluster.id))):
            return RedirectResponse(f"{cluster_path(cluster.id)}/meter?done=saved", 303)
        return _show(request, desk, principal, cluster, form)

    async def live(request: Request, _: Principal) -> Response:
        words, cluster = words_for(request, desk), _cluster(desk, request)
        return HTMLResponse(render("meter_look.html", words, meter=meter_look(desk, words, cluster.id)))

    return [
        guarded(desk, "/clusters/{cluster_id}/meter", Permission.ADMINISTER, edit, ["GET", "POST"]),
        guarded(desk, "/clusters/{cluster_id}/meter/live", Permission.ADMINISTER, live),
    ]


def _cluster(desk: Desk, request: Request) -> Cluster:
    wanted = named(request, "cluster_id")
    for cluster in desk.inbox.state.site.clusters:
        if cluster.id == wanted:
            return cluster
    raise HTTPException(404)


def _show(
    request: Request, desk: Desk, principal: Principal, cluster: Cluster, form: Form, trial: MeterTrial | None = None
) -> Response:
    return page(
        request,
        desk,
        "cluster_meter.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        cluster=cluster,
        meter=meter_look(desk, form.words, cluster.id),
        trial=trial,
        **options(form.words, desk),
    )
