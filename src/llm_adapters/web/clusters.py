"""The clusters: the tree of limits as it hangs in the board, with what flows now."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import cluster_path, named
from llm_adapters.web.auth import Principal
from llm_adapters.web.bars import NodeBars, node_bars
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, shown_per_phase, submit
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.sections import meter_at
from llm_adapters.web.words import N_, Words
from llm_core import (
    SITE,
    Cluster,
    Fault,
    Permission,
    PutClusters,
    PutStations,
    Site,
    SiteEdited,
    Station,
)

BARE_SITE = "-"
"""The choice of those who hang something on the site itself, under no cluster."""
NEW = "new"
DEEPEST = 4  # further down the tree is drawn no deeper


@attrs.frozen
class TreeNode:
    """A node as drawn: `depth` steps in; `path` where it is edited, empty for the site."""

    name: str
    depth: int
    path: str
    own_limit: str
    stations: tuple[Station, ...]
    bars: NodeBars | None
    has_meter: bool


def cluster_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        nodes = tuple(_tree(desk, words_for(request, desk)))
        return page(request, desk, "clusters.html", principal, nodes=nodes)

    async def edit(request: Request, principal: Principal) -> Response:
        words, site = words_for(request, desk), desk.inbox.state.site
        is_new, wanted = request.path_params["cluster_id"] == NEW, named(request, "cluster_id")
        stored = None if is_new else next((cluster for cluster in site.clusters if cluster.id == wanted), None)
        if stored is None and not is_new:
            raise HTTPException(404)
        if request.method == "GET":
            return _show(request, desk, principal, stored, Form(words, _fields(stored, site, words)))
        form = Form(words, await read_fields(request))
        cluster = _cluster(form, stored, site)
        moved = frozenset((await request.form()).getlist("stations"))
        if await _saved(desk, form, principal, cluster, moved):
            return RedirectResponse("/clusters?done=saved", 303)
        return _show(request, desk, principal, stored, form)

    async def remove(request: Request, principal: Principal) -> Response:
        site, form = desk.inbox.state.site, Form(words_for(request, desk), {})
        cluster_id = named(request, "cluster_id")
        stored = next((cluster for cluster in site.clusters if cluster.id == cluster_id), None)
        if stored is None:
            raise HTTPException(404)
        if any(station.cluster == cluster_id for station in site.stations) or any(
            cluster.parent == cluster_id for cluster in site.clusters
        ):
            form.take((Fault("", N_("Stations or clusters hang under this one. Move them elsewhere first.")),))
        if meter_at(site, cluster_id) is not None:
            form.take((Fault("", N_("A meter measures this cluster. Take its meter away first.")),))
        left = tuple(cluster for cluster in site.clusters if cluster.id != cluster_id)
        if await submit(desk, form, SiteEdited(principal.name, PutClusters(left))):
            return RedirectResponse("/clusters?done=cluster_removed", 303)
        shown = attrs.evolve(form, fields=_fields(stored, site, form.words))
        return _show(request, desk, principal, stored, shown)

    return [
        guarded(desk, "/clusters", Permission.ADMINISTER, index),
        guarded(desk, "/clusters/{cluster_id}", Permission.ADMINISTER, edit, ["GET", "POST"]),
        guarded(desk, "/clusters/{cluster_id}/remove", Permission.ADMINISTER, remove, ["POST"]),
    ]


def cluster_choices(site: Site, words: Words) -> list[tuple[str, str]]:
    """Every place where something can hang, with its limit, so that moving shows what changes."""
    phases = site.supply.site_phases

    def named(name: str, limit: str) -> str:
        return words("%(name)s (%(limit)s A)", name=name, limit=limit) if limit else name

    choices = [
        (c.id, named(c.name, shown_per_phase(words, c.limit_ma, phases) if c.limit_ma is not None else ""))
        for c in site.clusters
    ]
    own = named(words.node_title(site, SITE), shown_per_phase(words, site.supply.limit_ma, phases))
    return [*choices, (BARE_SITE, own)]


def _tree(desk: Desk, words: Words) -> Iterator[TreeNode]:
    state = desk.inbox.state
    site, phases = state.site, state.site.supply.site_phases
    bars = {node.node: node for node in node_bars(state)}

    def under(parent: str | None, depth: int) -> Iterator[TreeNode]:
        for cluster in site.clusters:
            if cluster.parent == parent:
                limit = shown_per_phase(words, cluster.limit_ma, phases) if cluster.limit_ma is not None else ""
                stations = tuple(s for s in site.stations if s.cluster == cluster.id)
                path, has_meter = cluster_path(cluster.id), meter_at(site, cluster.id) is not None
                yield TreeNode(cluster.name, depth, path, limit, stations, bars.get(cluster.id), has_meter)
                yield from under(cluster.id, min(depth + 1, DEEPEST))

    direct = tuple(station for station in site.stations if station.cluster is None)
    limit = shown_per_phase(words, site.supply.limit_ma, phases)
    has_meter = meter_at(site, SITE) is not None
    yield TreeNode(words.node_title(site, SITE), 0, "", limit, direct, bars.get(SITE), has_meter)
    yield from under(None, 1)


def _fields(stored: Cluster | None, site: Site, words: Words) -> dict[str, str]:
    if stored is None:
        return {"name": words("Cluster #%(n)s", n=len(site.clusters) + 1), "parent": BARE_SITE, "limit_a": ""}
    limit_ma = stored.limit_ma
    return {
        "name": stored.name,
        "parent": stored.parent or BARE_SITE,
        "limit_a": shown_per_phase(words, limit_ma, site.supply.site_phases) if limit_ma is not None else "",
    }


def _cluster(form: Form, stored: Cluster | None, site: Site) -> Cluster:
    taken = {cluster.id for cluster in site.clusters}
    free = next(f"c{n}" for n in range(1, len(taken) + 2) if f"c{n}" not in taken)
    parent = form.text("parent")
    has_limit = bool(form.fields.get("limit_a", "").strip())
    name = form.text("name", longest=60)
    if not name:
        form.take((Fault("/name", N_("Give it a name.")),))
    return Cluster(
        id=stored.id if stored is not None else free,
        name=name,
        parent=None if parent == BARE_SITE else parent,
        limit_ma=form.amps_per_phase("limit_a", site.supply.site_phases) if has_limit else None,
    )


async def _saved(desk: Desk, form: Form, principal: Principal, cluster: Cluster, chosen: frozenset[object]) -> bool:
    """The cluster first, then who hangs under it."""
    site = desk.inbox.state.site
    known = any(one.id == cluster.id for one in site.clusters)
    replaced = tuple(cluster if one.id == cluster.id else one for one in site.clusters)
    clusters = replaced if known else (*site.clusters, cluster)
    if not await submit(desk, form, SiteEdited(principal.name, PutClusters(clusters))):
        return False
    moved = tuple(
        attrs.evolve(station, cluster=cluster.id)
        for station in site.stations
        if station.id in chosen and station.cluster != cluster.id
    )
    return not moved or await submit(desk, form, SiteEdited(principal.name, PutStations(moved)))


def _show(request: Request, desk: Desk, principal: Principal, stored: Cluster | None, form: Form) -> Response:
    site = desk.inbox.state.site
    own = stored.id if stored is not None else ""
    return page(
        request,
        desk,
        "cluster.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        cluster=stored,
        parents=[choice for choice in cluster_choices(site, form.words) if choice[0] != own],
        stations=site.stations,
        names={cluster.id: cluster.name for cluster in site.clusters},
    )
