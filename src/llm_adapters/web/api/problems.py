"""Refusals as RFC 9457 problem documents: what was wrong, in words, and where in the body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.exact import Json, Malformed, Wrong
from llm_core import Fault, StoreError

MEDIA_TYPE = "application/problem+json"
NOT_STORED = "The controller cannot store anything at the moment, so nothing was changed. Try again later."
_TOLD = 3  # so many faults are named in the sentence; `errors` has all


class Refusal(Exception):
    """The request is understood and not done."""

    def __init__(self, status: int, detail: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = tuple(faults)


def refused_for(faults: Iterable[Fault]) -> Refusal:
    """422 with every fault."""
    told = tuple(faults)
    said = [f"{fault.pointer.removeprefix('/')} {fault.text}".strip() for fault in told[:_TOLD]]
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return Refusal(422, f"{'; '.join(said)}{more}".removesuffix(".") + ".", told)


def problem(
    status: int, detail: str, faults: Iterable[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document as a response."""
    title = HTTPStatus(status).phrase
    document: dict[str, Json] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    errors: list[Json] = [{"pointer": fault.pointer, "detail": fault.text} for fault in faults]
    if errors:
        document["errors"] = errors
    return JsonResponse(document, status, dict(headers or {}), MEDIA_TYPE)


async def _on_refusal(_: Request, refusal: Exception) -> Response:
    match refusal:
        case Refusal():
            return problem(refusal.status, refusal.detail, refusal.faults)
        case Wrong():
            return await _on_refusal(_, refused_for(refusal.faults))
        case Malformed():
            return problem(400, str(refusal), refusal.faults)
        case StoreError():
            return problem(503, NOT_STORED, headers={"Retry-After": "30"})
        case HTTPException(status_code=404, detail="Not Found"):
            return problem(404, "There is nothing at this address; /api/v1/openapi.json lists what there is.")
        case HTTPException(status_code=405):
            allowed = (refusal.headers or {}).get("Allow", "")
            return problem(405, f"This address answers to {allowed} only.", headers=refusal.headers)
        case ClientDisconnect():
            return problem(400, "The body ended before its announced length.")
        case HTTPException():
            return problem(refusal.status_code, refusal.detail, headers=refusal.headers)
        case _:
            return problem(500, "Something went wrong inside the controller; its log says what.")


_KINDS = (Refusal, Wrong, Malformed, StoreError, ClientDisconnect, HTTPException, Exception)
HANDLERS = dict.fromkeys(_KINDS, _on_refusal)
