"""What `llm-app meter …` does: which meters there are, and what one of them says, without a server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.meter import ModbusMeter
from llm_adapters.modbus.models import ModelError
from llm_adapters.web.api.meters import TEXTS, verdict_json
from llm_app.clock import SystemClock
from llm_app.faults import Failure, WrongInput
from llm_core import PHASES, Meter, MeterSetup, MeterTest, check_meter, meter_faults

PERIOD_S = 1.0


def list_models(data: Path | None, *, as_json: bool) -> None:
    """Print every meter that can be chosen; files that cannot be used are told on standard error."""
    catalogue = Catalogue(data)
    for fault in catalogue.faults:
        sys.stderr.write(f"llm-app: {fault}\n")
    lines = [_described(catalogue, model_id) for model_id in catalogue]
    if as_json:
        sys.stdout.write(json.dumps(lines, indent=2, ensure_ascii=False) + "\n")
    else:
        width = max(len(str(line["model"])) for line in lines)
        for line in lines:
            note = f" ({line['doubt']})" if line["doubt"] else ""
            sys.stdout.write(f"{line['model']:{width}}  {line['name']}{note}\n")
    if catalogue.faults:
        raise Failure(f"{len(catalogue.faults)} fault(s) in models of your own")


def _described(catalogue: Catalogue, model_id: str) -> dict[str, object]:
    model = catalogue.models().get(model_id)
    if model is None:
        return {"model": model_id, "name": "a vendor's own code", "ports": [], "phases": None, "unit": 1, "doubt": ""}
    told = {"ports": list(model.ports), "phases": model.phases, "unit": model.unit, "signed": model.sign_from_power}
    return {"model": model_id, "name": model.name, **told, "doubt": model.doubt}


def read_meter(data: Path | None, setup: MeterSetup, unit: int | None, *, watch: bool, as_json: bool) -> None:
    """Print what the meter says; `unit` None is what its model usually has. Raises `WrongInput`, `Failure`."""
    catalogue = Catalogue(data)
    known = catalogue.models().get(setup.model)
    if unit is None:
        setup = attrs.evolve(setup, unit=known.unit if known is not None else 1)
    reason = catalogue.why_not(setup.model)
    if reason is not None:
        raise WrongInput(f"--model: {reason}")
    faults = [f"--{fault.pointer.strip('/').replace('_', '-')}: {fault.text}" for fault in meter_faults(setup)]
    if faults:
        raise WrongInput("\n".join(faults))
    with _quiet("llm_adapters"):  # what is silent is told in the answer
        asyncio.run(_read(catalogue, setup, watch=watch, as_json=as_json))


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


async def _read(catalogue: Catalogue, setup: MeterSetup, *, watch: bool, as_json: bool) -> None:
    make, clock = catalogue.maker(setup.model), SystemClock()
    known = catalogue.models().get(setup.model)
    try:
        meter: Meter = make(setup, clock) if make is not None else ModbusMeter(setup, clock, catalogue=catalogue)
    except ModelError as error:
        raise WrongInput(str(error)) from error
    try:
        while True:
            test = await _once(meter, setup, known.phases if known is not None else 3)
            if test.sample is not None or watch or as_json:
                sys.stdout.write(_line(test, setup.model, as_json=as_json, on_one_line=watch) + "\n")
                sys.stdout.flush()
            if not watch:
                break
            await asyncio.sleep(PERIOD_S)
    finally:
        await meter.close()
    if test.sample is None:
        shared = " (a server that runs keeps its serial lines to itself: use its test button)" if setup.serial else ""
        raise Failure(f"no reading: {test.silent_because}{shared}")


async def _once(meter: Meter, setup: MeterSetup, phases: int) -> MeterTest:
    sample = await meter.read()
    return check_meter(
        [sample] if sample is not None else [],
        setup,
        PHASES[:phases],
        silent_because=getattr(meter, "silent_because", None),
        identified=getattr(meter, "identified", None),
    )


def _line(test: MeterTest, model: str, *, as_json: bool, on_one_line: bool) -> str:
    if as_json:
        return json.dumps(verdict_json(test, model, PHASES), indent=None if on_one_line else 2, ensure_ascii=False)
    sample = test.sample
    if sample is None:
        return f"no reading: {test.silent_because}"
    amps = [f"{phase} {_amps(ma)} A" for phase, ma in zip(PHASES, sample.current_ma, strict=True)]
    volts = [f"{mv / 1000:.0f} V" for mv in sample.voltage_mv if mv is not None]
    others = [f"{sample.power_w} W"] if sample.power_w is not None else []
    others += [f"{sample.energy_import_wh / 1000:g} kWh"] if sample.energy_import_wh is not None else []
    values = "  ".join([*amps, *volts, *others])
    if on_one_line:
        return values
    notes = [f"{each.phase or 'all'}: {TEXTS[each.finding]}" for each in test.found]
    identified = {True: "It says that it is this model.", False: "It does not say that it is this model.", None: ""}
    return "\n".join(filter(None, [values, identified[test.identified], *notes]))


def _amps(ma: int | None) -> str:
    return "–" if ma is None else f"{ma / 1000:.2f}"
