"""A meter tried before it is saved: what it reads now, in words, and whether that can be right."""

from __future__ import annotations

import attrs

from llm_adapters.web.desk import Desk
from llm_adapters.web.findings import METER_FINDINGS
from llm_adapters.web.forms import Form
from llm_adapters.web.sections import read_meter
from llm_adapters.web.told import told_plainly
from llm_adapters.web.words import N_, Words
from llm_core import PHASES, SITE, Fault, MeterFinding, MeterFound, MeterSetup, MeterTest, Phase, meter_faults

MILLIVOLTS = 1_000


@attrs.frozen
class MeterTrial:
    """`kind` picks the icon. `phases`: the phase, its amps without a sign, which way they flow, its volts."""

    kind: str
    verdict: str
    note: str = ""
    findings: tuple[str, ...] = ()
    phases: tuple[tuple[Phase, str, str, str], ...] = ()
    power_kw: str = ""


async def try_meter(desk: Desk, form: Form, node: str = SITE) -> MeterTrial | None:
    """Read the meter that was typed, which may take some seconds. None: it cannot be tried, and `form` says why."""
    site = desk.inbox.state.site
    setup = read_meter(form, site, node)
    if setup is None or not setup.is_read:
        form.take((Fault("/model", N_("Choose a meter that can be read: there is nothing to try.")),))
    else:
        form.take(tuple(meter_faults(setup)))
    if setup is None or form.faults:
        return None
    return _shown(await desk.test_meter(setup), setup, site.supply.site_phases, form.words)


def _shown(test: MeterTest, setup: MeterSetup, phases: tuple[Phase, ...], words: Words) -> MeterTrial:
    findings = tuple(_finding(found, words) for found in test.found if found.finding is not MeterFinding.SILENT)
    if test.sample is None:
        where = setup.serial or f"{setup.host}:{setup.port}"
        text = words("No answer from %(where)s. Check its address, port and unit number, and its power.", where=where)
        note = told_plainly(test.silent_because or "", words)
        return MeterTrial("attention", text, note, findings)
    sample = test.sample
    if test.is_good:
        kind, verdict = "done", words("The meter answers, and its values can be right. Compare them, then save.")
    else:
        kind, verdict = "attention", words("The meter answers. Look at this before you save:")
    rows = []
    for phase in phases:
        at = PHASES.index(phase)
        rows.append((phase, *_current(sample.current_ma[at], words), _volts(sample.voltage_mv[at])))
    return MeterTrial(
        kind,
        verdict,
        words("It says itself that it is this model.") if test.identified else "",
        findings,
        tuple(rows),
        words.amps(sample.power_w) if sample.power_w is not None else "",
    )


def _finding(found: MeterFound, words: Words) -> str:
    text = words(METER_FINDINGS[found.finding])
    return words("%(phase)s: %(finding)s", phase=found.phase, finding=text) if found.phase is not None else text


def _current(current_ma: int | None, words: Words) -> tuple[str, str]:
    if current_ma is None:
        return "", ""
    way = words("drawn") if current_ma > 0 else words("fed in") if current_ma < 0 else ""
    return words.amps(abs(current_ma)), way


def _volts(voltage_mv: int | None) -> str:
    return str(round(voltage_mv / MILLIVOLTS)) if voltage_mv is not None else ""
