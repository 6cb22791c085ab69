"""The API as routes: one row per operation, one way through for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import quote

import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from llm_adapters.web.api import (
    audit,
    badges,
    commissioning,
    configuring,
    copies,
    enrolling,
    history,
    limits,
    live,
    mail,
    meters,
    onboarding,
    orders,
    sessions,
    statements,
    stations,
    uplink,
    users,
    wishes,
)
from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call, limited
from llm_adapters.web.api.metrics import MEDIA_TYPE, metrics_text
from llm_adapters.web.api.openapi import document
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import HANDLERS, problem
from llm_adapters.web.auth import refuse_unconfirmed, require
from llm_adapters.web.desk import Desk
from llm_core import Dashboard, Permission

_Endpoint = Callable[[Request], Awaitable[Response]]


def api_routes(desk: Desk) -> list[BaseRoute]:
    """Everything under `/api`, and `/metrics` and `/healthz`; errors are problem documents (RFC 9457)."""
    rows = operations(desk)
    paths = dict.fromkeys(row.path for row in rows)
    routes = [_route(path, [row for row in rows if row.path == path], desk) for path in paths]
    return [
        Mount("/api", app=_AsSent(Starlette(routes=routes, exception_handlers=HANDLERS))),
        Route("/metrics", _metrics(desk)),
        Route("/healthz", _health(desk)),
    ]


@attrs.frozen
class _AsSent:
    """Finds the route by the path as it was sent, so that an id with a slash (`%2F`) in it stays one part.

    A slash too many at the end is forgiven rather than redirected: programs seldom follow.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = scope.get("raw_path") or quote(scope["path"]).encode()
        await self.app({**scope, "path": sent.decode("ascii", "replace").rstrip("/")}, receive, send)


def operations(desk: Desk) -> tuple[Operation, ...]:
    """Every row; fixed paths stand before the patterns that they would fit."""

    async def openapi(_: Call) -> Response:
        return JsonResponse(document(rows, desk.version))

    described = Operation("GET", "/openapi.json", Permission.SEE_DASHBOARD, "This document.", openapi)
    rows = (
        described,
        *live.operations(),
        *configuring.operations(desk.meter_models),
        *stations.OPERATIONS,
        *orders.OPERATIONS,
        *commissioning.OPERATIONS,
        *onboarding.OPERATIONS,
        *badges.OPERATIONS,
        *enrolling.OPERATIONS,
        *sessions.OPERATIONS,
        *statements.OPERATIONS,
        *wishes.OPERATIONS,
        *history.OPERATIONS,
        *meters.OPERATIONS,
        *limits.OPERATIONS,
        *users.OPERATIONS,
        *audit.OPERATIONS,
        *mail.OPERATIONS,
        *copies.OPERATIONS,
        *uplink.OPERATIONS,
    )
    return tuple(sorted(rows, key=lambda row: "{" in row.path))


def _route(path: str, rows: Iterable[Operation], desk: Desk) -> Route:
    by_method = {row.method: row for row in rows}

    async def endpoint(request: Request) -> Response:
        row = by_method["GET" if request.method == "HEAD" else request.method]
        sent = limited(request, row.most_bytes)
        principal = await require(sent, desk, row.permission)
        if row.critical:
            await refuse_unconfirmed(sent, desk, principal)
        response = await row.answer(Call(sent, desk, principal))
        if request.method == "HEAD":
            return Response(status_code=response.status_code, headers=response.headers)
        return response

    return Route(f"/v1{path}", endpoint, methods=list(by_method))


def _metrics(desk: Desk) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        state = desk.inbox.state
        if state.site.system.dashboard is not Dashboard.PUBLIC:
            try:
                await require(request, desk, Permission.SEE_DASHBOARD)
            except HTTPException as refused:
                return problem(refused.status_code, refused.detail, headers=refused.headers)
        text = metrics_text(state, desk.clock.monotonic_ms(), desk.version, desk.ticks_ms())
        return Response(text, headers={"Content-Type": MEDIA_TYPE})

    return endpoint


def _health(desk: Desk) -> _Endpoint:
    async def endpoint(_: Request) -> Response:
        fault = desk.healthy()
        return JsonResponse({"status": "ok"}) if fault is None else problem(503, fault)

    return endpoint
