"""Meters over HTTP: which there are, and a try of one before it is trusted."""

from __future__ import annotations

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, amps_of
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import refused_for
from llm_adapters.web.api.shapes import meter
from llm_core import (
    PHASES,
    SITE,
    Fault,
    MeterFinding,
    MeterSampled,
    MeterSetup,
    MeterTest,
    Permission,
    Phase,
    meter_faults,
)

TEXTS = {
    MeterFinding.SILENT: "The meter gives no reading.",
    MeterFinding.ANOTHER_METER: "Another meter answers, or one that does not say that it is this model.",
    MeterFinding.PHASE_MISSING: "There is no current that can be believed.",
    MeterFinding.VOLTAGE: "The voltage is none of a 230 V network.",
    MeterFinding.POWER_DISAGREES: "Power and currents do not fit: is the transformers' ratio applied once?",
    MeterFinding.ABOVE_DIRECT: "More than 63 A without transformers: are they set?",
    MeterFinding.FEEDS_IN: "Current is fed in: right with solar panels; else turn the transformer or set invert.",
    MeterFinding.REPEATS: "Every register stayed the same: frozen, or nothing changes at all.",
}
"""For who reads JSON; people read them in their own language."""


def reading_json(sample: MeterSampled | None, model: str, phases: tuple[Phase, ...] = PHASES) -> dict[str, Json]:
    """A reading as scripts get it; null where nothing was told."""
    blank = MeterSampled("", (None, None, None), 0, 0)
    read = sample if sample is not None else blank
    index = {phase: PHASES.index(phase) for phase in phases}
    return {
        "model": model,
        "current_a": {phase: _thousandth(read.current_ma[at]) for phase, at in index.items()},
        "voltage_v": {phase: _thousandth(read.voltage_mv[at]) for phase, at in index.items()},
        "power_w": read.power_w,
        "energy_import_wh": read.energy_import_wh,
        "energy_export_wh": read.energy_export_wh,
        "frequency_hz": _thousandth(read.frequency_mhz),
    }


def _thousandth(value: int | None) -> int | float | None:
    return None if value is None else amps_of(value)


def verdict_json(test: MeterTest, model: str, phases: tuple[Phase, ...] = PHASES) -> dict[str, Json]:
    """What a try has shown: the reading, and the verdict with its reasons."""
    found: list[Json] = [
        {"code": each.finding.value, "phase": each.phase, "text": TEXTS[each.finding]} for each in test.found
    ]
    return {
        **reading_json(test.sample, model, phases),
        "answered": test.sample is not None,
        "silent_because": test.silent_because,
        "identified": test.identified,
        "verdict": "good" if test.is_good else "silent" if test.sample is None else "attention",
        "findings": found,
    }


async def _try(call: Call) -> Response:
    site = call.state.site
    setup = meter(call.desk.meter_models, site.supply.site_phases).read(await call.json(), MeterSetup(SITE, ""))
    faults = [*meter_faults(setup)]
    if not setup.is_read:
        faults.append(Fault("/model", "stands for no meter: there is nothing to try"))
    if faults:
        raise refused_for(faults)
    test = await call.desk.test_meter(setup)
    return JsonResponse(verdict_json(test, setup.model, site.supply.site_phases))


async def _models(call: Call) -> Response:
    found: list[Json] = [*sorted(call.desk.meter_models)]
    return JsonResponse({"models": found})


OPERATIONS = (
    Operation("GET", "/meters/models", Permission.ADMINISTER, "The ids of the meters that can be chosen.", _models),
    Operation(
        "POST",
        "/meters/test",
        Permission.ADMINISTER,
        "Read a meter a few times, on its line if it is in use: the values with their phases, and a verdict. A body as"
        " one meter of /meters; nothing is saved.",
        _try,
        takes=meter(()).schema,
    ),
)
