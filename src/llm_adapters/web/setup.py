"""The wizard: from the first password to the first charging car, one question a page.

Each page stores what it asks as soon as it is valid, so there is nothing to lose: going back shows what is stored,
leaving keeps it, and coming back continues at the page that was open last.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, submit
from llm_adapters.web.meter_look import meter_look
from llm_adapters.web.meter_trial import MeterTrial, try_meter
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.progress import progress
from llm_adapters.web.qr import qr_code
from llm_adapters.web.sections import (
    building_meter,
    is_unset,
    meter_fields,
    options,
    read_access,
    read_meters,
    read_supply,
    read_system,
    supply_fields,
    system_fields,
)
from llm_adapters.web.settings import ask_for_password
from llm_adapters.web.station_lists import station_lists
from llm_adapters.web.words import N_, Words
from llm_core import Fault, Mode, Permission, Site, SiteEdit, SiteEdited

STEP_COOKIE = "llm_setup"
CLOCK_SLACK_S = 90  # the form shows minutes, and takes a while to fill in
MONTH_S = 31 * 24 * 3600


@attrs.frozen
class Step:
    """A page of the wizard; `read` None: there is nothing to store."""

    name: str
    title: str
    read: Callable[[Form, Site], SiteEdit] | None = None


STEPS = (
    Step("clock", N_("Country and clock"), read_system),
    Step("dashboard", N_("Overview for whom"), read_system),
    Step("supply", N_("Supply"), read_supply),
    Step("meter", N_("Building meter"), read_meters),
    Step("stations", N_("Charging stations")),
    Step("access", N_("Access"), read_access),
    Step("done", N_("Done")),
)
NAMES = [step.name for step in STEPS]


def setup_routes(desk: Desk) -> list[Route]:
    async def resume(request: Request, _: Principal) -> Response:
        """To the page that was open last, else to the first."""
        last = request.cookies.get(STEP_COOKIE, "")
        return RedirectResponse(f"/setup/{last if last in NAMES else NAMES[0]}", 303)

    async def step(request: Request, principal: Principal) -> Response:
        found = next((step for step in STEPS if step.name == request.path_params["step"]), None)
        if found is None:
            raise HTTPException(404)
        words, site = words_for(request, desk), desk.inbox.state.site
        if request.method == "GET" or found.read is None:
            return _show(request, desk, principal, found, Form(words, _stored(found, desk, words)))
        form = Form(words, await read_fields(request))
        if found.name == "meter" and form.fields.get("go") == "try":
            return _show(request, desk, principal, found, form, await try_meter(desk, form))
        edit = found.read(form, site)
        if found.name == "supply" and not is_unset(site):
            await ask_for_password(desk, form, principal)
        if "date" in form.fields:
            set_clock(desk, form)
        if not await submit(desk, form, SiteEdited(principal.name, edit)):
            return _show(request, desk, principal, found, form)
        stays = found.name == "meter" and form.fields.get("model", "") and form.fields.get("go") != "on"
        return RedirectResponse(f"/setup/{found.name if stays else _next(found, desk)}", 303)

    async def tutorial(request: Request, principal: Principal) -> Response:
        items = progress(desk.inbox.state, words_for(request, desk))
        return page(request, desk, "tutorial.html", principal, items=items)

    return [
        guarded(desk, "/setup", Permission.ADMINISTER, resume),
        guarded(desk, "/setup/{step}", Permission.ADMINISTER, step, ["GET", "POST"]),
        guarded(desk, "/tutorial", Permission.ADMINISTER, tutorial),
    ]


def _show(
    request: Request, desk: Desk, principal: Principal, step: Step, form: Form, trial: MeterTrial | None = None
) -> Response:
    words = form.words
    steps = _steps(desk)
    at = steps.index(step) if step in steps else 0
    values: dict[str, Any] = options(words, desk)
    if step.name == "meter":
        values |= {"meter": meter_look(desk, words), "trial": trial}
    if step.name == "stations":
        values |= station_lists(desk, words) | {"code": qr_code(desk.station_url)}
    if step.name in ("access", "done"):
        values["items"] = progress(desk.inbox.state, words)
    response = page(
        request,
        desk,
        f"setup_{step.name}.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        step=step,
        steps=steps,
        at=at,
        back=f"/setup/{steps[at - 1].name}" if at else None,
        onward=f"/setup/{_next(step, desk)}",
        unset=is_unset(desk.inbox.state.site),
        has_meter=building_meter(desk.inbox.state.site) is not None,
        station_url=desk.station_url,
        **values,
    )
    response.set_cookie(STEP_COOKIE, step.name, max_age=MONTH_S, httponly=True, samesite="lax")
    return response


def _steps(desk: Desk) -> tuple[Step, ...]:
    """A static site needs no meter."""
    is_static = desk.inbox.state.site.supply.mode is Mode.STATIC
    return tuple(step for step in STEPS if step.name != "meter" or not is_static)


def _next(step: Step, desk: Desk) -> str:
    later = NAMES[NAMES.index(step.name) + 1 :]
    return next((step.name for step in _steps(desk) if step.name in later), NAMES[-1])


def _stored(step: Step, desk: Desk, words: Words) -> dict[str, str]:
    site = desk.inbox.state.site
    match step.name:
        case "clock" | "dashboard":
            fields = system_fields(site.system, desk)  # whose country is not known yet, its language is a default
            return fields if site.system.country else fields | {"language": words.language}
        case "supply":
            fields = supply_fields(site.supply, words)
            return fields | {"mode": Mode.DYNAMIC} if is_unset(site) else fields
        case "meter":
            return meter_fields(building_meter(site), words, site.supply.site_phases)
        case _:
            return {"rule": site.access}


def set_clock(desk: Desk, form: Form) -> None:
    """Set this controller's clock when the time that was typed is another one than it shows."""
    try:
        day, hour = date.fromisoformat(form.fields.get("date", "")), time.fromisoformat(form.fields.get("hour", ""))
        zone = ZoneInfo(form.fields.get("time_zone", ""))
    except (ValueError, OSError):
        form.take((Fault("/hour", N_("Give a date and an hour, such as 2026-01-31 and 14:02.")),))
        return
    shown = desk.clock.utc().astimezone(ZoneInfo(desk.inbox.state.site.system.time_zone))
    is_as_shown = (day, hour.replace(second=0)) == (shown.date(), shown.time().replace(second=0, microsecond=0))
    wanted = datetime.combine(day, hour, zone)
    is_close = abs(wanted - desk.clock.utc()) < timedelta(seconds=CLOCK_SLACK_S)
    if is_close or is_as_shown or form.faults:
        return
    if not desk.set_clock(wanted):
        text = N_("This controller may not set its clock; set it on the machine it runs on, or use a time server.")
        form.take((Fault("/hour", text),))
