"""How a station proves who it is: the security profile of its link, and the key for it, which is never shown again."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import named, station_path
from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.shapes import is_hex, password_of
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.pages import guarded, words_for
from llm_adapters.web.words import N_, Words
from llm_core import KeyHandover, Permission, PutStation, SiteEdited, StoreError

PROFILES = (
    (0, N_("0: none, on your own network")),
    (1, N_("1: a password")),
    (2, N_("2: a password, encrypted")),
    (3, N_("3: certificates, encrypted")),
)
NEEDS_KEY = frozenset({1, 2})
YES = "yes"
HANDED = {
    KeyHandover.TAKEN: "key_taken",
    KeyHandover.REFUSED: "key_refused",
    KeyHandover.OFFLINE: "key_offline",
}


def security_routes(desk: Desk) -> list[Route]:
    async def save(request: Request, principal: Principal) -> Response:
        station_id = named(request, "station_id")
        station = desk.inbox.state.site.station(station_id)
        if station is None:
            raise HTTPException(404)
        form = Form(words_for(request, desk), await read_fields(request))
        told = await _saved(desk, form, attrs.evolve(station, security_profile=form.whole("profile", 0, 3)), principal)
        return RedirectResponse(f"{station_path(station_id)}?told={told}#security", 303)

    return [guarded(desk, "/stations/{station_id}/security", Permission.ADMINISTER, save, ["POST"])]


async def _saved(desk: Desk, form: Form, station: Any, principal: Principal) -> str:
    """The profile first, then the key: a refused change leaves the key alone. How it went, as a key of `TOLD`."""
    typed = form.fields.get("key", "")
    forget = form.fields.get("forget") == YES
    try:
        key = password_of({"password": typed or ("" if forget else None)})
    except Wrong:
        return "key_unfit"
    has_key = bool(key) or (not forget and desk.station_keys.has_key(station.id))
    if station.security_profile in NEEDS_KEY and not has_key:
        return "key_needed"
    if not await submit(desk, form, SiteEdited(principal.name, PutStation(station))):
        return "not_stored"
    try:
        if key or (forget and desk.station_keys.has_key(station.id)):
            await desk.station_keys.set_key(station.id, key or None, principal.name)
    except StoreError:
        return "not_stored"
    if not key:
        return "saved"
    return HANDED[await desk.hand_key(station.id, bytes.fromhex(typed) if is_hex(typed) else key)]


def security_look(desk: Desk, words: Words, station_id: str) -> dict[str, Any]:
    """What the form shows; of the key only whether there is one."""
    return {
        "profiles": [(str(number), words(text)) for number, text in PROFILES],
        "has_key": desk.station_keys.has_key(station_id),
        "tls_url": desk.station_tls_url,
    }
