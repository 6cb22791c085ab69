"""One request on its way through the API: who asks, what was sent, and how a change is made."""

from __future__ import annotations

from urllib.parse import unquote

import attrs
from starlette.requests import Request as HttpRequest
from starlette.types import Message

from llm_adapters.web.api.exact import load
from llm_adapters.web.api.problems import NOT_STORED, Refusal, refused_for
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_core import (
    Answer,
    Badge,
    BadgesEdited,
    Fault,
    NotSaved,
    NotStored,
    Request,
    Saved,
    Site,
    SiteEdit,
    SiteEdited,
    State,
)

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@attrs.frozen
class Call:
    """A request whose sender may make it."""

    request: HttpRequest
    desk: Desk
    principal: Principal

    @property
    def state(self) -> State:
        return self.desk.inbox.state

    @property
    def now_ms(self) -> int:
        return self.desk.clock.monotonic_ms()

    def named(self, parameter: str) -> str:
        """A part of the path, which was routed as it was sent."""
        return unquote(str(self.request.path_params[parameter]))

    async def json(self) -> object:
        """The body; nothing at all counts as an empty object, except where that would reset a whole resource.

        Raises `Malformed`, `Refusal`.
        """
        if self.principal.via == "session" and self.request.headers.get("content-type", "").startswith(FORMS):
            raise Refusal(415, "Send JSON, with the header Content-Type: application/json.")
        body = await self.request.body()
        if not body and self.request.method == "PUT":
            raise Refusal(400, "Send the whole resource as JSON; {} puts every field back to its default.")
        return load(body) if body else {}

    async def edit(self, edit: SiteEdit, core: str, body: str = "") -> None:
        """Change the site. `core` is where the core's pointers to this resource begin, `body` where the body's do."""
        await self.ask(SiteEdited(self.principal.name, edit), core, body)

    async def edit_badges(self, put: tuple[Badge, ...] = (), remove: tuple[str, ...] = ()) -> None:
        await self.ask(BadgesEdited(self.principal.name, put, remove), "/0", "")

    async def ask(self, event: Request, core: str = "", body: str = "") -> str:
        """Have a change made, and stored; the id of what the core numbered. Raises `Refusal` with the core's faults as
        seen from the body."""
        answer: Answer = await self.desk.inbox.ask(event)
        match answer:
            case Saved(id=numbered):
                return numbered
            case NotSaved(faults=faults):
                raise refused_for(_in_body(fault, core, body, self.state.site) for fault in faults)
            case NotStored():
                raise Refusal(503, NOT_STORED)
            case _:
                raise TypeError(f"{answer} does not answer a change")


def _in_body(fault: Fault, core: str, body: str, site: Site) -> Fault:
    """The fault as seen from the request body; one that lies elsewhere in the site points to the body as a whole."""
    if fault.pointer == core or fault.pointer.startswith(f"{core}/"):
        return Fault(f"{body}{fault.pointer.removeprefix(core)}", fault.text)
    match fault.pointer.split("/"):
        case ["", "stations", index, field] if index.isdecimal() and int(index) < len(site.stations):
            return Fault("", f"{field} of station “{site.stations[int(index)].id}” {fault.text}")
        case _:
            return Fault("", f"{fault.pointer.removeprefix('/')}: {fault.text}")


def limited(request: HttpRequest, most_bytes: int) -> HttpRequest:
    """The request with a body that ends in 413 once it is larger than this, announced or not."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_large(most_bytes)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > most_bytes:
            raise _too_large(most_bytes)
        return message

    return HttpRequest(request.scope, receive)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, f"The body is larger than {most_bytes // (1024 * 1024)} MiB.")
