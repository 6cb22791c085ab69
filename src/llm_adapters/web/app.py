"""The whole web application: pages, JSON API, static files, behind one gate."""

from __future__ import annotations

import logging
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from llm_adapters.web.addresses import AsSent
from llm_adapters.web.api import api_routes
from llm_adapters.web.audit import audit_routes
from llm_adapters.web.auth import identify
from llm_adapters.web.badge_import import badge_import_routes
from llm_adapters.web.badges import badge_routes
from llm_adapters.web.bay import bay_routes
from llm_adapters.web.cluster_meter import cluster_meter_routes
from llm_adapters.web.clusters import cluster_routes
from llm_adapters.web.commissioning import commissioning_routes
from llm_adapters.web.dashboard import dashboard_routes
from llm_adapters.web.decisions import decision_routes
from llm_adapters.web.desk import Desk
from llm_adapters.web.downloads import download_routes
from llm_adapters.web.gate import SECURITY_HEADERS, Gate
from llm_adapters.web.history import history_routes
from llm_adapters.web.limits import limit_routes
from llm_adapters.web.orders import order_routes
from llm_adapters.web.pages import page
from llm_adapters.web.sessions import session_routes
from llm_adapters.web.settings import settings_routes
from llm_adapters.web.setup import setup_routes
from llm_adapters.web.sign_in import sign_in_routes
from llm_adapters.web.statement import statement_routes
from llm_adapters.web.station_more import more_routes
from llm_adapters.web.station_notes import note_routes
from llm_adapters.web.station_security import security_routes
from llm_adapters.web.stations import station_routes
from llm_adapters.web.strategy import strategy_routes
from llm_adapters.web.support import support_routes
from llm_adapters.web.system import system_routes
from llm_adapters.web.uplink import uplink_routes
from llm_adapters.web.users import user_routes
from llm_adapters.web.wishes import wish_routes
from llm_adapters.web.words import N_

ERRORS = {
    400: N_("This request could not be understood."),
    403: N_("Your account may not do this."),
    404: N_("There is no such page."),
    405: N_("There is no such page."),
    503: N_("Too much is going on here at the moment. Try again in a minute."),
}
log = logging.getLogger(__name__)


def create_app(desk: Desk) -> Starlette:
    """An ASGI application that serves `desk`."""

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        if status < 500:
            log.info("%s %r refused with %s", request.method, request.url.path, status)
        text = ERRORS.get(status, N_("Something went wrong here. It is in the log of this controller."))
        principal = await identify(request, desk) if status < 500 else None
        response = page(request, desk, "error.html", principal, status_code=status, text=text)
        response.headers.update(headers or SECURITY_HEADERS)  # an error of ours is answered outside the gate
        return response

    return Starlette(
        routes=[
            *sign_in_routes(desk),
            *dashboard_routes(desk),
            *order_routes(desk),
            *commissioning_routes(desk),
            *security_routes(desk),
            *more_routes(desk),
            *note_routes(desk),
            *download_routes(desk),
            *station_routes(desk),
            *bay_routes(desk),
            *session_routes(desk),
            *wish_routes(desk),
            *history_routes(desk),
            *badge_routes(desk),
            *statement_routes(desk),
            *badge_import_routes(desk),
            *settings_routes(desk),
            *setup_routes(desk),
            *cluster_routes(desk),
            *cluster_meter_routes(desk),
            *strategy_routes(desk),
            *limit_routes(desk),
            *system_routes(desk),
            *uplink_routes(desk),
            *user_routes(desk),
            *audit_routes(desk),
            *decision_routes(desk),
            *support_routes(desk),
            *api_routes(desk),
            Mount("/static", GZipMiddleware(StaticFiles(directory=Path(__file__).parent / "static"))),
        ],
        middleware=[Middleware(Gate, allowed_hosts=desk.allowed_hosts), Middleware(AsSent)],
        exception_handlers={HTTPException: refuse, ClientDisconnect: _left, Exception: refuse},
    )


async def _left(_: Request, __: Exception) -> Response:
    """Whoever leaves in the middle of a form is no fault of ours, and no line in the log: there may be thousands."""
    return Response(status_code=400)
