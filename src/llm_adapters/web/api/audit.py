"""The audit trail over HTTP: who changed what, when, from what to what."""

from __future__ import annotations

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.queries import Query
from llm_adapters.web.api.views import stamp
from llm_core import Permission

USUAL, MOST = 100, 1_000
_QUERY = {
    "limit": f"At most so many changes; {USUAL} when left out, {MOST} at most.",
    "skip": "Leave out so many of the newest.",
    "text": "Only changes that hold this text: a name, a badge, a setting.",
}


async def _list(call: Call) -> Response:
    query = Query(call.request.query_params, _QUERY)
    limit, skip = query.whole("limit", USUAL, 1, MOST), query.whole("skip", 0, 0, 10_000_000)
    text = query.text("text")
    query.close()
    found: list[Json] = [
        {"at": stamp(entry.at), "by": entry.by, "what": entry.what, "old": entry.old, "new": entry.new}
        async for entry in call.desk.archive.audit(limit, skip=skip, text=text)
    ]
    return JsonResponse(found)


OPERATIONS = (
    Operation("GET", "/audit", Permission.ADMINISTER, "Every change, the newest first.", _list, query=_QUERY),
)
