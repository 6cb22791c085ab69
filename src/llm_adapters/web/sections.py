"""The sections of the configuration: what is stored as fields, what was typed as an edit. Pages and wizard share them.

A field that a form does not show keeps its stored value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import attrs
from babel import Locale

from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, shown_per_phase
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.words import (
    ACCESS_HELP,
    ACCESS_RULES,
    BYTE_ORDERS,
    CONCURRENCIES,
    DASHBOARD_HELP,
    DASHBOARDS,
    MODE_HELP,
    MODES,
    N_,
    NETWORKS,
    Words,
)
from llm_core import (
    MANUAL,
    MAX_LEASE_S,
    PHASES,
    SITE,
    STATIONS,
    AccessRule,
    BadgeRules,
    ByteOrder,
    Concurrency,
    CurrentTransformer,
    Dashboard,
    Fault,
    MeterSetup,
    Mode,
    Network,
    PerPhase,
    Phase,
    PutAccess,
    PutMeters,
    PutSupply,
    PutSystem,
    Site,
    Supply,
    System,
)

CHOOSE = N_("Choose one of these.")
YES = "yes"
LEAST_LEASE_S = 30
INCLUDED, OTHERS = "all", "others"


def options(words: Words, desk: Desk) -> dict[str, Any]:
    """The choices of all sections, in the reader's words."""
    site = desk.inbox.state.site
    rules = [rule for rule in AccessRule if rule is not AccessRule.CPO or site.access is AccessRule.CPO]
    return {
        "modes": [(mode, words(MODES[mode]), words(MODE_HELP[mode])) for mode in Mode],
        "rules": [(rule, words(ACCESS_RULES[rule]), words(ACCESS_HELP[rule])) for rule in rules],
        "dashboards": [(value, words(DASHBOARDS[value]), words(DASHBOARD_HELP[value])) for value in Dashboard],
        "concurrencies": [(value, words(CONCURRENCIES[value])) for value in Concurrency],
        "byte_orders": [(value, words(BYTE_ORDERS[value])) for value in ByteOrder],
        "networks": [(value, words(NETWORKS[value])) for value in Network],
        "zones": [(zone, zone.replace("_", " ")) for zone in time_zones()],
        "countries": countries(words.language),
        "meter_models": [
            *_meter_names(desk),
            (MANUAL, words("No meter: a load that I state")),
            (STATIONS, words("No meter: only what the stations report")),
        ],
    }


def _meter_names(desk: Desk) -> list[tuple[str, str]]:
    """The meters that can be chosen, by their makers' names where those are known."""
    models: dict[str, Any] = getattr(desk.meter_models, "models", dict)()
    names = {model_id: str(model.name) for model_id, model in models.items()}
    return sorted(
        ((model, names.get(model, model)) for model in desk.meter_models), key=lambda pair: pair[1].casefold()
    )


# Supply


def supply_fields(supply: Supply, words: Words) -> dict[str, str]:
    currents = {
        "fuse_a": supply.fuse_ma,
        "derated_a": supply.derated_ma,
        "static_max_a": supply.static_max_ma,
        "fallback_a": supply.fallback_ma,
    }
    shown = {name: shown_per_phase(words, value, supply.site_phases) for name, value in currents.items()}
    lease = str(supply.lease_s) if supply.lease_s is not None else ""
    more = {"network": supply.network, "lease_s": lease}
    return {"mode": supply.mode, "phases": str(supply.phases), "password": "", **shown, **more}


def read_supply(form: Form, site: Site) -> PutSupply:
    count = form.whole("phases", 1, 3)
    phases = PHASES[:count]
    before = site.supply
    return PutSupply(
        attrs.evolve(
            before,
            mode=form.choice("mode", Mode),
            phases=count,
            fuse_ma=form.amps_per_phase("fuse_a", phases),
            derated_ma=form.amps_per_phase("derated_a", phases),
            static_max_ma=form.amps_per_phase("static_max_a", phases),
            fallback_ma=form.amps_per_phase("fallback_a", phases),
            network=form.choice("network", Network) if "network" in form.fields else before.network,
            lease_s=_lease_s(form) if "lease_s" in form.fields else before.lease_s,
        )
    )


def _lease_s(form: Form) -> int | None:
    return form.whole("lease_s", LEAST_LEASE_S, MAX_LEASE_S) if form.fields["lease_s"].strip() else None


def is_unset(site: Site) -> bool:
    """Whether nobody has told yet how much current there is: nothing is released for charging."""
    return not any(site.supply.limit_ma)


# Meter


def meter_at(site: Site, node: str) -> MeterSetup | None:
    return next((meter for meter in site.meters if meter.node == node), None)


def building_meter(site: Site) -> MeterSetup | None:
    return meter_at(site, SITE)


def meter_fields(meter: MeterSetup | None, words: Words, phases: tuple[Phase, ...]) -> dict[str, str]:
    shown = meter or MeterSetup(SITE, "")
    ct = shown.ct
    return {
        "model": shown.model,
        "transport": shown.transport,
        "host": shown.host,
        "port": str(shown.port),
        "unit": str(shown.unit),
        "serial": shown.serial,
        "baud": str(shown.baud),
        "parity": shown.parity,
        "stop_bits": str(shown.stop_bits),
        "load_a": shown_per_phase(words, shown.load_ma, phases) if any(shown.load_ma) else "",
        "measures": "direct" if ct is None else "transformer",
        "primary_a": str(ct.primary_a) if ct is not None else "",
        "secondary_a": str(ct.secondary_a) if ct is not None else "5",
        "applied_by": ct.applied_by if ct is not None else "meter",
        "invert": YES if shown.invert else "",
        "includes": INCLUDED if shown.includes_stations else OTHERS,
    }


def read_meters(form: Form, site: Site, node: str = SITE) -> PutMeters:
    """The meter of a node as typed; without a model there is none. The other nodes' meters stay as they are."""
    others = tuple(meter for meter in site.meters if meter.node != node)
    meter = read_meter(form, site, node)
    if meter is None:
        return PutMeters(others)
    return PutMeters((meter, *others) if node == SITE else (*others, meter))


def read_meter(form: Form, site: Site, node: str = SITE) -> MeterSetup | None:
    model = form.text("model")
    if not model:
        return None
    before = meter_at(site, node) or MeterSetup(node, "")
    if model in (MANUAL, STATIONS):
        load = form.fields.get("load_a", "").strip()
        load_ma = form.amps_per_phase("load_a", site.supply.site_phases) if load else PerPhase()
        return MeterSetup(node, model, load_ma=load_ma)
    meter = attrs.evolve(_addressed(form, before), model=model, load_ma=PerPhase())
    if "measures" in form.fields:
        includes = form.fields.get("includes", INCLUDED if before.includes_stations else OTHERS) != OTHERS
        inverted = form.fields.get("invert") == YES
        meter = attrs.evolve(meter, ct=_transformer(form, before.ct), invert=inverted, includes_stations=includes)
    return meter


def _addressed(form: Form, before: MeterSetup) -> MeterSetup:
    """Where the meter is: on the network, or on a serial line of this controller."""
    transport = form.fields.get("transport", before.transport)
    unit = form.whole("unit", 0, 255)
    if transport == "rtu":
        return attrs.evolve(
            before,
            transport=transport,
            host="",
            unit=unit,
            serial=form.text("serial"),
            baud=form.whole("baud", 1_200, 115_200),
            parity=form.text("parity"),
            stop_bits=form.whole("stop_bits", 1, 2),
        )
    host, port = form.text("host"), form.whole("port", 1, 65_535)
    if not host:
        form.take((Fault("/host", N_("Give the name or the IP address of the meter.")),))
    return attrs.evolve(before, transport=transport, host=host, port=port, unit=unit, serial="")


def _transformer(form: Form, before: CurrentTransformer | None) -> CurrentTransformer | None:
    if form.fields["measures"] != "transformer":
        return None
    primary_a = form.whole("primary_a", 75, 6000)
    applied_by = form.fields.get("applied_by", before.applied_by if before is not None else "meter")
    return CurrentTransformer(primary_a, 1 if form.fields.get("secondary_a") == "1" else 5, applied_by)


# Access


def access_fields(site: Site) -> dict[str, str]:
    rules = site.badge_rules
    return {"rule": site.access, "concurrent": rules.concurrent, "byte_order": rules.byte_order}


def read_access(form: Form, _: Site) -> PutAccess:
    rule = form.choice("rule", AccessRule)
    if "concurrent" not in form.fields:
        return PutAccess(rule)
    return PutAccess(rule, BadgeRules(form.choice("concurrent", Concurrency), form.choice("byte_order", ByteOrder)))


# The controller itself


def system_fields(system: System, desk: Desk) -> dict[str, str]:
    local = desk.clock.utc().astimezone(ZoneInfo(system.time_zone))
    return {
        "name": system.name,
        "country": system.country,
        "time_zone": system.time_zone,
        "language": system.language,
        "dashboard": system.dashboard,
        "date": local.date().isoformat(),
        "hour": f"{local:%H:%M}",
    }


def read_system(form: Form, site: Site) -> PutSystem:
    before, fields = site.system, form.fields
    if fields.get("time_zone", before.time_zone) not in time_zones():
        form.take((Fault("/time_zone", CHOOSE),))
    country = fields.get("country", before.country)
    if country and country not in Locale("en").territories:
        form.take((Fault("/country", CHOOSE),))
    language = fields.get("language", "")
    return PutSystem(
        attrs.evolve(
            before,
            name=form.text("name", longest=60) if "name" in fields else before.name,
            country=country,
            time_zone=form.text("time_zone") if "time_zone" in fields else before.time_zone,
            language=language if language in LANGUAGES else before.language,
            dashboard=form.choice("dashboard", Dashboard) if "dashboard" in fields else before.dashboard,
        )
    )


@cache
def time_zones() -> tuple[str, ...]:
    """Every time zone of a place, sorted; read from the disk once."""
    return tuple(sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC"))


@cache
def countries(language: str) -> tuple[tuple[str, str], ...]:
    """Every country's code and its name in the reader's language, in alphabetical order."""
    names: Mapping[str, str] = Locale(language).territories
    found = ((code, name) for code, name in names.items() if len(code) == 2 and code not in NO_COUNTRIES)
    return (("", "–"), *sorted(found, key=lambda pair: pair[1].casefold()))


NO_COUNTRIES = frozenset({"EU", "EZ", "UN", "ZZ", "XA", "XB", "QO"})
"""Codes with two letters that are no place where a building could stand."""
