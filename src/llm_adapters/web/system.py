"""System settings: the name of the site, its clock, who may see the overview; e-mail; copies of everything."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.mail_form import mail_look, save_mail
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.sections import options, read_system, system_fields
from llm_adapters.web.settings import ask_for_password
from llm_adapters.web.setup import set_clock
from llm_core import Permission, SiteEdited


def system_routes(desk: Desk) -> list[Route]:
    async def system(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        if request.method == "GET":
            return await show_system(request, desk, principal)
        form = Form(words, await read_fields(request))
        edit = read_system(form, desk.inbox.state.site)
        if "date" in form.fields:
            set_clock(desk, form)
        if await submit(desk, form, SiteEdited(principal.name, edit)):
            return RedirectResponse("/system?done=saved", 303)
        return await show_system(request, desk, principal, system=form)

    async def mail(request: Request, principal: Principal) -> Response:
        """Save where mail goes through and to whom, and send a test where that is asked for."""
        if desk.mail is None:
            raise HTTPException(404)
        form = Form(words_for(request, desk), await read_fields(request))
        await ask_for_password(desk, form, principal)
        if await save_mail(desk.mail, form, principal.name):
            done = "mail_sent" if form.fields.get("go") == "test" else "saved"
            return RedirectResponse(f"/system?done={done}#mail", 303)
        return await show_system(request, desk, principal, mail=form)

    return [
        guarded(desk, "/system", Permission.ADMINISTER, system, ["GET", "POST"]),
        guarded(desk, "/system/mail", Permission.ADMINISTER, mail, ["POST"]),
    ]


async def show_system(
    request: Request, desk: Desk, principal: Principal, *, system: Form | None = None, mail: Form | None = None
) -> Response:
    """The page, with the form that was sent as typed and the others as stored."""
    words = words_for(request, desk)
    sent = [form for form in (system, mail) if form is not None]
    return page(
        request,
        desk,
        "system.html",
        principal,
        status_code=422 if any(form.faults for form in sent) else 200,
        form=system or Form(words, system_fields(desk.inbox.state.site.system, desk)),
        **await mail_look(desk, words, mail),
        **options(words, desk),
    )
