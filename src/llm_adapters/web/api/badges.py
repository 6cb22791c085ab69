"""Badges over HTTP: one by one, or a file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import attrs
from starlette.datastructures import UploadFile
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Member, Record, Shape, Wrong, listed, part
from llm_adapters.web.api.operation import MIB, Operation
from llm_adapters.web.api.problems import Refusal, refused_for
from llm_adapters.web.api.shapes import BADGE, ID
from llm_core import Badge, Fault, NotSaved, Permission, normalise

MOST_BADGES = 100_000
MOST_BYTES = 5 * MIB
MOST_PREVIEWED = 1_000
MOST_FAULTS = 100
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


@attrs.frozen
class _Several:
    """Badges, and what all of them are to have in common."""

    ids: tuple[str, ...] = ()
    fields: object = None


_COMMON: Record[Badge] = BADGE.without("badge_id")
_SEVERAL: Record[_Several] = Record(
    Member("ids", "ids", listed(ID, MOST_BADGES), required=True),
    Member("fields", "fields", Shape(lambda value: value, lambda _: None, _COMMON.optional_schema), required=True),
)


async def _change_several(call: Call) -> Response:
    """All of them or none."""
    asked = _SEVERAL.read(await call.json(), _Several())
    faults: list[Fault] = []
    changed: dict[str, Badge] = {}
    for index, badge_id in enumerate(asked.ids):
        before = call.state.badges.get(normalise(badge_id))
        if before is None:
            faults.append(Fault(f"/ids/{index}", f"there is no badge “{badge_id}”"))
            continue
        with part("fields", faults):
            changed[normalise(badge_id)] = _COMMON.read(asked.fields, before, partial=True)
        if len(faults) > MOST_FAULTS:
            break
    if faults:
        raise Wrong(*dict.fromkeys(faults))
    await call.edit_badges(tuple(changed.values()))
    return JsonResponse({"changed": len(changed)})


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
    dry_run = _is_dry(call)
    before = call.state.badges
    badges = await asyncio.to_thread(call.desk.parse_badges, await _file(call), before)
    if isinstance(badges, NotSaved):
        raise refused_for(badges.faults)
    added = sum(normalise(badge.badge_id) not in before for badge in badges)
    report: dict[str, Json] = {"added": added, "updated": len(badges) - added}
    if dry_run:
        lines: list[Json] = [_previewed(badge, before) for badge in badges[:MOST_PREVIEWED]]
        return JsonResponse({**report, "dry_run": True, "message": f"{_count(added)} would be added", "badges": lines})
    await call.edit_badges(badges)
    return JsonResponse({**report, "message": f"{_count(added)} added"})


def _count(badges: int) -> str:
    return "1 badge" if badges == 1 else f"{badges} badges"


def _is_dry(call: Call) -> bool:
    given = call.request.query_params
    faults = [Fault(f"/{name}", "is not a parameter of this address") for name in given if name != "dry_run"]
    wish = given.get("dry_run", "false")
    if wish not in ("true", "false"):
        faults.append(Fault("/dry_run", "must be true or false"))
    if faults:
        raise Wrong(*faults)
    return wish == "true"


def _previewed(badge: Badge, before: Mapping[str, Badge]) -> Json:
    """A line as it would be taken, and what that would do."""
    known = before.get(normalise(badge.badge_id))
    outcome = "added" if known is None else "unchanged" if known == badge else "updated"
    return {**BADGE.write(badge), "outcome": outcome}


async def _file(call: Call) -> bytes:
    """The file as the whole body, or as the one upload of a form."""
    if not call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        return _fitting(await call.request.body())
    async with call.request.form() as form:
        uploads = [part for part in form.values() if isinstance(part, UploadFile)]
        if len(uploads) != 1:
            raise Refusal(422, "Send exactly one file.")
        return _fitting(await uploads[0].read())


def _fitting(file: bytes) -> bytes:
    if len(file) > MOST_BYTES:
        raise Refusal(413, f"The file is larger than {MOST_BYTES // MIB} MiB.")
    return file


async def _template(_: Call) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="badges.csv"'}
    return Response(TEMPLATE, headers=headers, media_type="text/csv")


_MANAGE = Permission.MANAGE_BADGES
_ONE = "/badges/{id}"
OPERATIONS = (
    Operation("GET", "/badges", _MANAGE, "All badges.", _list, gives={"type": "array", "items": BADGE.schema}),
    Operation("POST", "/badges", _MANAGE, "Add a badge.", _add, takes=BADGE.schema, gives=BADGE.schema, success=201),
    Operation(
        "PATCH", "/badges", _MANAGE, "Change several badges alike, all or none.", _change_several, takes=_SEVERAL.schema
    ),
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
        query={"dry_run": "true: tell what every line would do, and change nothing."},
        takes={"type": "string"},
        takes_type="text/csv",
        most_bytes=MOST_BYTES + 64 * 1024,  # and what a form puts around the file
    ),
    Operation("GET", "/badges/template.csv", _MANAGE, "A file to fill in.", _template, gives_type="text/csv"),
)
