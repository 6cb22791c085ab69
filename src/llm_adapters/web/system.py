"""System settings: the name of the site, its clock, who may see the overview."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.sections import options, read_system, system_fields
from llm_adapters.web.setup import set_clock
from llm_core import Permission, SiteEdited


def system_routes(desk: Desk) -> list[Route]:
    async def system(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        if request.method == "GET":
            form = Form(words, system_fields(desk.inbox.state.site.system, desk))
        else:
            form = Form(words, await read_fields(request))
            edit = read_system(form, desk.inbox.state.site)
            if "date" in form.fields:
                set_clock(desk, form)
            if await submit(desk, form, SiteEdited(principal.name, edit)):
                return RedirectResponse("/system?done=saved", 303)
        status = 422 if form.faults else 200
        return page(request, desk, "system.html", principal, status_code=status, form=form, **options(words, desk))

    return [guarded(desk, "/system", Permission.ADMINISTER, system, ["GET", "POST"])]
