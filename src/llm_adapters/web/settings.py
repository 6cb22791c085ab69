"""General settings: the supply and its limits, the building's meter, who may charge, and the controller itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields, shown_per_phase, submit
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import ACCESS_RULES, DASHBOARDS, MODES, N_, Words
from llm_core import (
    PHASES,
    SITE,
    AccessRule,
    Dashboard,
    Fault,
    MeterSetup,
    Mode,
    Permission,
    PutAccess,
    PutMeters,
    PutSupply,
    PutSystem,
    Site,
    SiteEdit,
    SiteEdited,
    Supply,
    System,
)

WRONG_PASSWORD = N_("Your password is wrong.")


def settings_routes(desk: Desk) -> list[Route]:
    def show(request: Request, principal: Principal, typed: dict[str, Form]) -> Response:
        """All sections as stored, the ones in `typed` as typed and with their faults."""
        values = _sections(words_for(request, desk), desk.inbox.state.site, typed)
        status = 422 if typed else 200
        return page(
            request, desk, "settings.html", principal, status_code=status, meter_models=desk.meter_models, **values
        )

    async def index(request: Request, principal: Principal) -> Response:
        return show(request, principal, {})

    def section(name: str, read: Callable[[Form, Site], SiteEdit], *, is_critical: bool = False) -> Route:
        """The route that saves one section; a critical one asks for the user's password again."""

        async def save(request: Request, principal: Principal) -> Response:
            form = Form(words_for(request, desk), await read_fields(request))
            edit = read(form, desk.inbox.state.site)
            if is_critical and not await desk.accounts.check_password(
                principal.name, form.fields.get("password", "")[:1024]
            ):
                form.take((Fault("/password", WRONG_PASSWORD),))
            if await submit(desk, form, SiteEdited(principal.name, edit)):
                return RedirectResponse(f"/settings?done=saved#{name}", 303)
            return show(request, principal, {name: form})

        return guarded(desk, f"/settings/{name}", Permission.ADMINISTER, save, ["POST"])

    return [
        guarded(desk, "/settings", Permission.ADMINISTER, index),
        section("supply", _supply, is_critical=True),
        section("meter", _meters),
        section("access", _access),
        section("system", _system),
    ]


def _sections(words: Words, site: Site, typed: dict[str, Form]) -> dict[str, Any]:
    stored: dict[str, Mapping[str, str]] = {
        "supply": _supply_fields(site.supply, words),
        "meter": _meter_fields(_building_meter(site)),
        "access": {"rule": site.access},
        "system": _system_fields(site.system),
    }
    rules = [rule for rule in AccessRule if rule is not AccessRule.CPO or site.access is AccessRule.CPO]
    return {
        "forms": {name: Form(words, fields) for name, fields in stored.items()} | typed,
        "modes": [(mode, words(MODES[mode])) for mode in Mode],
        "rules": [(rule, words(ACCESS_RULES[rule])) for rule in rules],
        "dashboards": [(dashboard, words(DASHBOARDS[dashboard])) for dashboard in Dashboard],
        "zones": [(zone, zone) for zone in _time_zones()],
    }


def _supply_fields(supply: Supply, words: Words) -> dict[str, str]:
    currents = {
        "fuse_a": supply.fuse_ma,
        "derated_a": supply.derated_ma,
        "static_max_a": supply.static_max_ma,
        "fallback_a": supply.fallback_ma,
    }
    shown = {name: shown_per_phase(words, value, supply.site_phases) for name, value in currents.items()}
    return {"mode": supply.mode, "phases": str(supply.phases), "password": "", **shown}


def _supply(form: Form, site: Site) -> PutSupply:
    count = form.whole("phases", 1, 3)
    phases = PHASES[:count]
    return PutSupply(
        attrs.evolve(
            site.supply,
            mode=form.choice("mode", Mode),
            phases=count,
            fuse_ma=form.amps_per_phase("fuse_a", phases),
            derated_ma=form.amps_per_phase("derated_a", phases),
            static_max_ma=form.amps_per_phase("static_max_a", phases),
            fallback_ma=form.amps_per_phase("fallback_a", phases),
        )
    )


def _building_meter(site: Site) -> MeterSetup | None:
    return next((meter for meter in site.meters if meter.node == SITE), None)


def _meter_fields(meter: MeterSetup | None) -> dict[str, str]:
    if meter is None:
        return {"model": "", "host": "", "port": "502", "unit": "1"}
    return {"model": meter.model, "host": meter.host, "port": str(meter.port), "unit": str(meter.unit)}


def _meters(form: Form, site: Site) -> PutMeters:
    """The building's meter as typed; without an address there is none. The clusters' meters stay as they are."""
    others = tuple(meter for meter in site.meters if meter.node != SITE)
    host = form.text("host")
    if not host:
        return PutMeters(others)
    before = _building_meter(site) or MeterSetup(SITE, "", host)
    meter = attrs.evolve(
        before,
        model=form.text("model"),
        host=host,
        port=form.whole("port", 1, 65_535),
        unit=form.whole("unit", 0, 255),
    )
    return PutMeters((meter, *others))


def _access(form: Form, _: Site) -> PutAccess:
    return PutAccess(form.choice("rule", AccessRule))


def _system_fields(system: System) -> dict[str, str]:
    return {
        "name": system.name,
        "time_zone": system.time_zone,
        "language": system.language,
        "dashboard": system.dashboard,
    }


@cache
def _time_zones() -> tuple[str, ...]:
    """Every time zone, sorted; read from the disk once."""
    return tuple(sorted(available_timezones()))


def _system(form: Form, site: Site) -> PutSystem:
    if form.fields.get("time_zone") not in _time_zones():
        form.take((Fault("/time_zone", N_("Choose one of these.")),))
    language = form.fields.get("language", "")
    return PutSystem(
        System(
            name=form.text("name", longest=60),
            country=site.system.country,
            time_zone=form.text("time_zone"),
            language=language if language in LANGUAGES else site.system.language,
            dashboard=form.choice("dashboard", Dashboard),
        )
    )
