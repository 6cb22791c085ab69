"""Support: what this controller is, how it feels, and what to send to somebody who helps."""

from __future__ import annotations

import platform

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.alarm_links import alarm_link
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, words_for
from llm_core import Permission


def support_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, state, utc = words_for(request, desk), desk.inbox.state, desk.clock.utc()
        alarms = sorted(state.alarms.values(), key=lambda alarm: (alarm.since, alarm.code, alarm.subject))
        return page(
            request,
            desk,
            "support.html",
            principal,
            alarms=[
                (words.alarm(state, alarm), words.since(alarm.since, utc), alarm_link(alarm, state.site))
                for alarm in alarms
            ],
            is_administrator=principal.may(Permission.ADMINISTER),
            unhealthy=desk.healthy(),
            now=words.stamp(utc),
            machine=f"{platform.platform(terse=True)} · {platform.machine()} · Python {platform.python_version()}",
            station_url=desk.station_url,
            hosts=sorted(desk.allowed_hosts),
        )

    return [guarded(desk, "/support", Permission.SEE_DASHBOARD, index)]
