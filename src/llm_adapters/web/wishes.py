"""What a driver needs: how much energy by when. It leaves current to others while there is time, and takes none."""

from __future__ import annotations

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, shown_moment, submit
from llm_adapters.web.pages import guarded, own_path, page, words_for
from llm_adapters.web.words import N_, Words
from llm_core import ConnectorState, Fault, Permission, Session, State, Wish, WishPut

EXAMPLE_KWH = "22.5"


@attrs.frozen
class Charging:
    """A session that runs, as its page shows it."""

    transaction_id: int
    place: str
    who: str
    started: str
    energy: str


def wish_routes(desk: Desk) -> list[Route]:
    async def edit(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        connector, session = _running(desk.inbox.state, request.path_params["transaction_id"])
        if request.method == "GET":
            return _show(request, desk, principal, Form(words, _fields(connector.wish, words)), session)
        form = Form(words, await read_fields(request))
        wish = None if form.fields.get("go") == "remove" else _wish(form)
        if await submit(desk, form, WishPut(principal.name, session.transaction_id, wish)):
            return RedirectResponse(f"{_back(request)}?done=wish", 303)
        return _show(request, desk, principal, form, session)

    return [guarded(desk, "/sessions/{transaction_id}/wish", Permission.ADMINISTER, edit, ["GET", "POST"])]


def _running(state: State, transaction_id: str) -> tuple[ConnectorState, Session]:
    for connector in state.connectors.values():
        if connector.session is not None and str(connector.session.transaction_id) == transaction_id:
            return connector, connector.session
    raise HTTPException(404)


def _fields(wish: Wish | None, words: Words) -> dict[str, str]:
    known = wish or Wish()
    energy = words.amps_exact(known.energy_wh) if known.energy_wh is not None else ""
    return {"energy_kwh": energy, "departs_at": shown_moment(words, known.departs_at)}


def _wish(form: Form) -> Wish:
    has_energy = bool(form.fields.get("energy_kwh", "").strip())
    wish = Wish(form.moment("departs_at"), form.kilo("energy_kwh", EXAMPLE_KWH) if has_energy else None)
    if wish == Wish() and not form.faults:
        form.take((Fault("/energy_kwh", N_("Say how much, or by when; or take the wish back.")),))
    return wish


def _back(request: Request) -> str:
    return own_path(request.query_params.get("next", "/sessions"))


def _show(request: Request, desk: Desk, principal: Principal, form: Form, session: Session) -> Response:
    state, words = desk.inbox.state, form.words
    session = state.latest(session)
    badge = state.badge(session.id_tag)
    place = words.station(state.site, session.station_id)
    station = state.site.station(session.station_id)
    several = station is not None and station.connectors > 1
    return page(
        request,
        desk,
        "wish.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        back=_back(request),
        session=Charging(
            session.transaction_id,
            f"{place} · {session.connector}" if several else place,
            " · ".join(part for part in (session.id_tag or "", badge.comment if badge is not None else "") if part),
            words.stamp(session.started_at),
            words.kwh(session.energy_wh),
        ),
        has_wish=_running(state, str(session.transaction_id))[0].wish is not None,
    )
