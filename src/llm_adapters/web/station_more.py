"""The rarer orders to a station: keep it for somebody, read and change its own settings, files to and from it.

Each order has one small form, made from a table; what the station answers is shown at once, on the same page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.addresses import named
from llm_adapters.web.api.commands import COMMANDS, MESSAGES, Wish
from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.orders import carry_out, shown_payload
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields
from llm_adapters.web.orders import GOOD_NEWS, TOLD, told_of
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import N_, Words
from llm_core import CallOutcome, Json, NotStored, Order, OrderRefused, Permission, State

LONGEST_VALUE = 300
MOST_ROWS = 300
COMMAND_OF = {command.order: command for command in COMMANDS}


@attrs.frozen
class Field:
    """A field of an order; `kind` is text, moment, connector, badge or one of `choices`."""

    name: str
    label: str
    kind: str = "text"
    help: str = ""
    choices: tuple[str, ...] = ()


@attrs.frozen
class Asked:
    """An order as offered: its title, what it means and what a wrong use does, its fields and its button."""

    order: Order
    title: str
    help: str
    fields: tuple[Field, ...] = ()


_CONNECTOR = Field("connector", N_("Connector"), "connector")
_LOCATION = Field(
    "location", N_("Address of the file or folder"), help=N_("Such as ftp://host/folder or https://host/file.")
)
_SINCE, _UNTIL = Field("since", N_("From"), "moment"), Field("until", N_("Until"), "moment")
ASKED = (
    Asked(
        Order.RESERVE,
        N_("Keep it for a badge"),
        N_("Nobody else can start there until the badge comes or the time is over."),
        (_CONNECTOR, Field("badge_id", N_("Badge"), "badge"), _UNTIL),
    ),
    Asked(
        Order.GET_CONFIGURATION,
        N_("Read its own settings"),
        N_("Everything that the station lets be read; secrets stay hidden. Nothing changes."),
    ),
    Asked(
        Order.CHANGE_CONFIGURATION,
        N_("Change one of its own settings"),
        N_("The station's manual names them. A wrong value can cut it off from this controller."),
        (Field("key", N_("Setting")), Field("value", N_("Value"))),
    ),
    Asked(
        Order.COMPOSITE_SCHEDULE,
        N_("Ask which limit it follows"),
        N_("For the next hour, as the station reckons it. Nothing changes."),
        (_CONNECTOR,),
    ),
    Asked(
        Order.PHASE_ROTATION,
        N_("Tell it its phase order"),
        N_("As it is set here. Some stations name their phases by it."),
    ),
    Asked(
        Order.CLEAR_CACHE,
        N_("Have it forget the badges that it remembers"),
        N_("It then asks this controller about each badge again."),
    ),
    Asked(
        Order.LOCAL_LIST_VERSION,
        N_("Ask for the number of its badge list"),
        N_("0: it is empty; -1: it keeps none. Nothing changes."),
    ),
    Asked(
        Order.TRIGGER,
        N_("Have it send a message"),
        N_("For somebody who looks for a fault. Nothing changes."),
        (_CONNECTOR, Field("message", N_("Message"), "choice", choices=MESSAGES)),
    ),
    Asked(
        Order.DIAGNOSTICS,
        N_("Have it upload its diagnostics"),
        N_("For its maker. The station must reach the address by itself."),
        (_LOCATION, _SINCE, _UNTIL),
    ),
    Asked(
        Order.FIRMWARE,
        N_("Update its firmware"),
        N_("The station fetches the file and restarts; sessions may end. A wrong file can make it useless."),
        (_LOCATION, Field("since", N_("Not before"), "moment", N_("Empty: at once."))),
    ),
    Asked(
        Order.DATA_TRANSFER,
        N_("Send it a message of its maker"),
        N_("Only with the maker's own description in hand."),
        (Field("vendor_id", N_("Maker's id")), Field("message_id", N_("Message")), Field("data", N_("Data"))),
    ),
)


@attrs.frozen
class Answer:
    """What came of an order: in words, and what the station told."""

    order: Order
    text: str
    is_good: bool
    rows: tuple[tuple[str, str], ...] = ()


def more_routes(desk: Desk) -> list[Route]:
    async def more(request: Request, principal: Principal) -> Response:
        station_id, words = named(request, "station_id"), words_for(request, desk)
        if desk.inbox.state.site.station(station_id) is None:
            raise HTTPException(404)
        if request.method == "GET":
            return _show(request, desk, principal, station_id, Form(words, {}))
        form = Form(words, await read_fields(request))
        wanted = form.fields.get("order")
        if wanted == Order.CANCEL_RESERVATION:
            asked = Asked(Order.CANCEL_RESERVATION, "", "", (Field("reservation_id", "", "whole"),))
        else:
            asked = next((one for one in ASKED if one.order == wanted), Asked(Order.RESET, "", ""))
        if asked.order is Order.RESET:
            raise HTTPException(400)
        wish = _wish(form, asked)
        if form.faults:
            return _show(request, desk, principal, station_id, form)
        outcome = await carry_out(desk, principal.name, station_id, COMMAND_OF[asked.order], wish)
        return _show(request, desk, principal, station_id, form, _answer(asked.order, outcome, words))

    return [guarded(desk, "/stations/{station_id}/more", Permission.ADMINISTER, more, ["GET", "POST"])]


def _wish(form: Form, asked: Asked) -> Wish:
    """What was typed, read by the same rules as a body of the API."""
    body: dict[str, object] = {}
    for field in asked.fields:
        typed = form.fields.get(field.name, "").strip()
        if field.kind == "moment":
            at = form.moment(field.name)
            body |= {field.name: at.isoformat()} if at is not None else {}
        elif typed and field.kind in ("connector", "whole"):
            body[field.name] = form.whole(field.name, 0, 2**31 - 1)
        elif typed or field.name == "value":
            body[field.name] = typed
    if form.faults:
        return Wish()
    try:
        return COMMAND_OF[asked.order].body.read(body, Wish())
    except Wrong as refused:
        form.take(refused.faults)
        return Wish()


def _answer(order: Order, outcome: CallOutcome | OrderRefused | NotStored, words: Words) -> Answer:
    key = told_of(outcome)
    rows: tuple[tuple[str, str], ...] = ()
    if isinstance(outcome, CallOutcome) and outcome.failure is None:
        rows = tuple(_rows(shown_payload(outcome.payload), words))[:MOST_ROWS]
    return Answer(order, words(TOLD.get(key, "")), key in GOOD_NEWS, rows)


def _rows(payload: Mapping[str, Json], words: Words) -> Iterator[tuple[str, str]]:
    """What the station told, a line each; its settings one by one, those that cannot be changed marked."""
    for name, value in payload.items():
        if name == "configurationKey" and isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    told = str(entry.get("value") if entry.get("value") is not None else "–")
                    told = told[:LONGEST_VALUE]
                    fixed = entry.get("readonly") is True
                    yield str(entry.get("key")), words("%(value)s (cannot be changed)", value=told) if fixed else told
        elif name != "status":
            yield name, (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:LONGEST_VALUE]


def _show(
    request: Request, desk: Desk, principal: Principal, station_id: str, form: Form, answer: Answer | None = None
) -> Response:
    state, words = desk.inbox.state, form.words
    station = state.site.station(station_id)
    badges = sorted(state.badges.values(), key=lambda badge: (badge.comment.casefold(), badge.badge_id))
    return page(
        request,
        desk,
        "station_more.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        station_id=station_id,
        name=words.station(state.site, station_id),
        asked=ASKED,
        chosen=form.fields.get("order", ""),
        answer=answer,
        connectors=range(1, (station.connectors if station is not None else 1) + 1),
        badges=[(badge.badge_id, badge.comment or badge.badge_id) for badge in badges],
        reservations=_reservations(state, station_id, words, desk),
    )


def _reservations(state: State, station_id: str, words: Words, desk: Desk) -> list[dict[str, Any]]:
    utc = desk.clock.utc()
    return [
        {
            "number": one.number,
            "connector": one.connector,
            "badge": badge.comment if (badge := state.badge(one.id_tag)) is not None and badge.comment else one.id_tag,
            "until": words.since(one.until, utc),
        }
        for key, one in sorted(state.reservations.items())
        if key[0] == station_id and one.until > utc
    ]
