"""General settings: the supply and its limits, and the building's meter with what it tells now."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.meter_look import meter_look
from llm_adapters.web.meter_trial import MeterTrial, try_meter
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.sections import (
    building_meter,
    meter_fields,
    options,
    read_meters,
    read_supply,
    supply_fields,
)
from llm_adapters.web.words import N_, Words
from llm_core import Fault, Permission, Site, SiteEdit, SiteEdited

WRONG_PASSWORD = N_("Your password is wrong.")


def settings_routes(desk: Desk) -> list[Route]:
    def show(
        request: Request, principal: Principal, typed: dict[str, Form], trial: MeterTrial | None = None
    ) -> Response:
        """All sections as stored, the ones in `typed` as typed and with their faults."""
        words = words_for(request, desk)
        return page(
            request,
            desk,
            "settings.html",
            principal,
            status_code=422 if any(form.faults for form in typed.values()) else 200,
            forms=_forms(words, desk.inbox.state.site) | typed,
            meter=meter_look(desk, words),
            trial=trial,
            **options(words, desk),
        )

    async def index(request: Request, principal: Principal) -> Response:
        return show(request, principal, {})

    async def live(request: Request, _: Principal) -> Response:
        words = words_for(request, desk)
        return HTMLResponse(render("meter_look.html", words, meter=meter_look(desk, words)))

    async def test(request: Request, principal: Principal) -> Response:
        """Read the meter that is typed at the moment; nothing is saved."""
        form = Form(words_for(request, desk), await read_fields(request))
        return show(request, principal, {"meter": form}, await try_meter(desk, form))

    def section(name: str, read: Callable[[Form, Site], SiteEdit], *, is_critical: bool = False) -> Route:
        """The route that saves one section; a critical one asks for the user's password again."""

        async def save(request: Request, principal: Principal) -> Response:
            form = Form(words_for(request, desk), await read_fields(request))
            edit = read(form, desk.inbox.state.site)
            if is_critical:
                await ask_for_password(desk, form, principal)
            if await submit(desk, form, SiteEdited(principal.name, edit)):
                return RedirectResponse(f"/settings?done=saved#{name}", 303)
            return show(request, principal, {name: form})

        return guarded(desk, f"/settings/{name}", Permission.ADMINISTER, save, ["POST"])

    return [
        guarded(desk, "/settings", Permission.ADMINISTER, index),
        guarded(desk, "/settings/meter/live", Permission.ADMINISTER, live),
        guarded(desk, "/settings/meter/test", Permission.ADMINISTER, test, ["POST"]),
        section("supply", read_supply, is_critical=True),
        section("meter", read_meters),
    ]


async def ask_for_password(desk: Desk, form: Form, principal: Principal) -> None:
    """Whoever changes what fuses depend on proves that it is them."""
    if not await desk.accounts.check_password(principal.name, form.fields.get("password", "")[:1024]):
        form.take((Fault("/password", WRONG_PASSWORD),))


def _forms(words: Words, site: Site) -> dict[str, Form]:
    return {
        "supply": Form(words, supply_fields(site.supply, words)),
        "meter": Form(words, meter_fields(building_meter(site), words, site.supply.site_phases)),
    }
