"""Badges from a file: first what every line would do, then, if somebody agrees, all of it at once.

The file travels with the preview and comes back with the consent, so that the controller keeps nothing meanwhile, and
what is taken is what was looked at.
"""

from __future__ import annotations

import asyncio
import base64
import binascii

import attrs
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, submit
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import N_
from llm_core import Badge, BadgesEdited, Fault, NotSaved, Permission, normalise

MOST_FILE_BYTES = 2 << 20
MOST_BODY_BYTES = 4 << 20  # the same file again, in letters
MOST_SHOWN = 200


@attrs.frozen
class Line:
    """A badge as it would be taken; `outcome` is added, updated or unchanged."""

    badge: Badge
    outcome: str


def badge_import_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), {})
        if request.method == "GET":
            return page(request, desk, "badge_import.html", principal, form=form, lines=None, content="")
        posted = await request.form()
        content, agreed = await _content(posted.get("file"), posted.get("content")), posted.get("go") == "import"
        await posted.close()
        if not content or len(content) > MOST_FILE_BYTES:
            form.take((Fault("", N_("Choose a file of at most 2 MB.")),))
            return page(
                request, desk, "badge_import.html", principal, status_code=422, form=form, lines=None, content=""
            )
        before = desk.inbox.state.badges
        badges = await asyncio.to_thread(desk.parse_badges, content, before)
        if isinstance(badges, NotSaved):
            form.take(tuple(Fault("", fault.text) for fault in badges.faults[:MOST_SHOWN]))
            faults = [form.words.fault(fault.text) for fault in badges.faults[:MOST_SHOWN]]
            return page(
                request,
                desk,
                "badge_import.html",
                principal,
                status_code=422,
                form=Form(form.words, {}),
                lines=None,
                content="",
                refused=faults,
            )
        lines = [_line(badge, before.get(normalise(badge.badge_id))) for badge in badges]
        added = sum(line.outcome == "added" for line in lines)
        if agreed and await submit(desk, form, BadgesEdited(principal.name, put=badges)):
            return RedirectResponse(f"/badges?done=imported&n={added}", 303)
        return page(
            request,
            desk,
            "badge_import.html",
            principal,
            status_code=422 if form.faults else 200,
            form=form,
            lines=lines[:MOST_SHOWN],
            total=len(lines),
            added=added,
            updated=sum(line.outcome == "updated" for line in lines),
            content=base64.b64encode(content).decode(),
        )

    return [
        guarded(desk, "/badges/import", Permission.MANAGE_BADGES, index, ["GET", "POST"], max_body_size=MOST_BODY_BYTES)
    ]


async def _content(file: object, kept: object) -> bytes:
    """The file that was sent, or the one that was looked at before."""
    if isinstance(file, UploadFile):
        return await file.read()
    try:
        return base64.b64decode(kept, validate=True) if isinstance(kept, str) else b""
    except binascii.Error:
        return b""


def _line(badge: Badge, before: Badge | None) -> Line:
    return Line(badge, "added" if before is None else "unchanged" if before == badge else "updated")
