"""Badges over HTTP: one by one, or a file of them."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.operation import MIB, Operation
from llm_adapters.web.api.problems import Refusal, refused_for
from llm_adapters.web.api.shapes import BADGE
from llm_core import Badge, Fault, NotSaved, Permission, normalise

TEMPLATE = "badgeId,type,comment,expirationDate,email\r\na1b2c3,STANDARD,example,30.01.2030,someone@example.org\r\n"


async def _list(call: Call) -> Response:
    return JsonResponse([BADGE.write(badge) for badge in call.state.badges.values()])


async def _add(call: Call) -> Response:
    badge = BADGE.read(await call.json(), Badge(""))
    if normalise(badge.badge_id) in call.state.badges:
        raise Refusal(409, f"There is a badge “{badge.badge_id}” already.", (Fault("/badge_id", "is taken"),))
    await call.edit_badges((badge,))
    location = f"/api/v1/badges/{quote(badge.badge_id, safe='')}"
    return JsonResponse(BADGE.write(badge), 201, {"Location": location})


async def _change(call: Call) -> Response:
    body = await call.json()
    before = _known(call)
    badge = BADGE.read(body, before, partial=True)
    if normalise(badge.badge_id) != normalise(before.badge_id):
        raise Wrong(Fault("/badge_id", "cannot become another badge's; add that one instead"))
    await call.edit_badges((badge,))
    return JsonResponse(BADGE.write(_known(call)))


async def _remove(call: Call) -> Response:
    await call.edit_badges(remove=(_known(call).badge_id,))
    return Response(status_code=204)


def _known(call: Call) -> Badge:
    badge = call.state.badges.get(normalise(call.named("id")))
    if badge is None:
        raise Refusal(404, f"There is no badge “{call.named('id')}”.")
    return badge


async def _import(call: Call) -> Response:
    """All lines or none; judged in a thread, because a long file must not delay anybody's limit."""
    before = call.state.badges
    badges = await asyncio.to_thread(call.desk.parse_badges, await _file(call), before)
    if isinstance(badges, NotSaved):
        raise refused_for(badges.faults)
    await call.edit_badges(badges)
    added = sum(normalise(badge.badge_id) not in before for badge in badges)
    message = "1 badge added" if added == 1 else f"{added} badges added"
    return JsonResponse({"added": added, "updated": len(badges) - added, "message": message})


async def _file(call: Call) -> bytes:
    """The file as the whole body, or as the one upload of a form."""
    if not call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await call.request.body()
    async with call.request.form() as form:
        uploads = [part for part in form.values() if isinstance(part, UploadFile)]
        if len(uploads) != 1:
            raise Refusal(422, "Send exactly one file.")
        return await uploads[0].read()


async def _template(_: Call) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="badges.csv"'}
    return Response(TEMPLATE, headers=headers, media_type="text/csv")


_MANAGE = Permission.MANAGE_BADGES
_ONE = "/badges/{id}"
OPERATIONS = (
    Operation("GET", "/badges", _MANAGE, "All badges.", _list, gives={"type": "array", "items": BADGE.schema}),
    Operation("POST", "/badges", _MANAGE, "Add a badge.", _add, takes=BADGE.schema, gives=BADGE.schema, success=201),
    Operation(
        "PATCH", _ONE, _MANAGE, "Change the given fields.", _change, takes=BADGE.optional_schema, gives=BADGE.schema
    ),
    Operation("DELETE", _ONE, _MANAGE, "Remove a badge.", _remove, success=204),
    Operation(
        "POST",
        "/badges/import",
        _MANAGE,
        "Add or change the badges of a CSV file, all or none (a pointer names line and column).",
        _import,
        takes={"type": "string"},
        takes_type="text/csv",
        most_bytes=5 * MIB + 64 * 1024,  # and what a form puts around the file
    ),
    Operation("GET", "/badges/template.csv", _MANAGE, "A file to fill in.", _template, gives_type="text/csv"),
)
