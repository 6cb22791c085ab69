"""System settings: the name of the site, its clock, who may see the overview; e-mail; copies of everything."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk, Workshop
from llm_adapters.web.forms import WHOLE_FORM, Form, read_fields, submit
from llm_adapters.web.mail_form import mail_look, save_mail
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.sections import options, read_system, system_fields
from llm_adapters.web.settings import ask_for_password
from llm_adapters.web.setup import set_clock
from llm_adapters.web.words import N_
from llm_core import Fault, Permission, SiteEdited, StoreError

MOST_BACKUP_BYTES = 1 << 29
CHUNK_BYTES = 1 << 20


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
        *_overhaul_routes(desk),
    ]


def _overhaul_routes(desk: Desk) -> list[Route]:
    """What cannot be taken back: asked for with the site's name typed, and the password."""

    async def agreed(request: Request, principal: Principal) -> Form:
        form = Form(words_for(request, desk), await read_fields(request))
        if form.fields.get("confirm", "").strip() != desk.inbox.state.site.system.name:
            form.take((Fault("/confirm", N_("Type the name of this site, exactly as it stands at the top.")),))
        await ask_for_password(desk, form, principal)
        return form

    async def restore(request: Request, principal: Principal) -> Response:
        if desk.workshop is None:
            raise HTTPException(404)
        form = await agreed(request, principal)
        async with request.form() as posted:
            file = posted.get("file")
            if not isinstance(file, UploadFile) or not file.size:
                form.take((Fault("/file", N_("Choose the file of a backup.")),))
            elif not form.faults:
                await _restored(desk.workshop, file, form)
        if form.faults:
            return await show_system(request, desk, principal, restore=form)
        return page(request, desk, "restarting.html", principal, erased=False, awaited="/login?done=restored")

    async def reset(request: Request, principal: Principal) -> Response:
        if desk.workshop is None:
            raise HTTPException(404)
        form = await agreed(request, principal)
        try:
            if not form.faults:
                await desk.workshop.reset()
        except StoreError:
            form.take((Fault(WHOLE_FORM, N_("Nothing can be stored at the moment. Try again later.")),))
        if form.faults:
            return await show_system(request, desk, principal, reset=form)
        return page(request, desk, "restarting.html", principal, erased=True, awaited="/login")

    most = MOST_BACKUP_BYTES
    return [
        guarded(desk, "/system/restore", Permission.ADMINISTER, restore, ["POST"], max_body_size=most),
        guarded(desk, "/system/reset", Permission.ADMINISTER, reset, ["POST"]),
    ]


async def _restored(workshop: Workshop, posted: UploadFile, form: Form) -> None:
    """Hand the file over; if it is no good, `form` says why."""
    with tempfile.TemporaryDirectory(prefix="llm-") as folder:
        backup = Path(folder) / "backup.db"
        try:
            with backup.open("wb") as written:
                while chunk := await posted.read(CHUNK_BYTES):
                    written.write(chunk)
            await workshop.restore(backup)
        except (StoreError, OSError):
            form.take((Fault("/file", N_("This is no backup of a controller like this one, or it is damaged.")),))


async def show_system(
    request: Request,
    desk: Desk,
    principal: Principal,
    *,
    system: Form | None = None,
    mail: Form | None = None,
    restore: Form | None = None,
    reset: Form | None = None,
) -> Response:
    """The page, with the form that was sent as typed and the others as stored."""
    words = words_for(request, desk)
    sent = [form for form in (system, mail, restore, reset) if form is not None]
    return page(
        request,
        desk,
        "system.html",
        principal,
        status_code=422 if any(form.faults for form in sent) else 200,
        form=system or Form(words, system_fields(desk.inbox.state.site.system, desk)),
        can_overhaul=desk.workshop is not None,
        restore=restore or Form(words, {}),
        reset=reset or Form(words, {}),
        **await mail_look(desk, words, mail),
        **options(words, desk),
    )
