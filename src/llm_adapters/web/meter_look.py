"""What the building's meter tells now, and whether that can be right: for somebody with a clamp meter in the hand."""

from __future__ import annotations

import attrs

from llm_adapters.web.desk import Desk
from llm_adapters.web.sections import meter_at
from llm_adapters.web.words import METER_ALARMS, Words
from llm_core import SITE, MeterPhase, MeterState, Phase


@attrs.frozen
class MeterLook:
    """`kind` picks the icon of the verdict. `phases`: the phase, its amps, its volts, as they are read."""

    kind: str
    verdict: str
    phases: tuple[tuple[Phase, str, str], ...] = ()
    power_kw: str = ""
    age: str = ""


def meter_look(desk: Desk, words: Words, node: str = SITE) -> MeterLook:
    state = desk.inbox.state
    setup = meter_at(state.site, node)
    if setup is None:
        return MeterLook(
            "off", words("There is no meter here yet.") if node != SITE else words("There is no building meter yet.")
        )
    if not setup.is_read:
        return MeterLook(
            "off", words("There is no meter: the other consumers are taken to draw their stated load all the time.")
        )
    known = state.meters.get(node, MeterState())
    seen_ms = [known.phases[phase].seen_ms for phase in known.phases]
    newest_ms = max((ms for ms in seen_ms if ms is not None), default=None)
    if newest_ms is None:
        where = setup.serial or f"{setup.host}:{setup.port}"
        text = words(
            "No answer from %(where)s yet. Check its address, port and unit number, and its power.", where=where
        )
        return MeterLook("waiting", text)
    alarm = next(
        (alarm for alarm in state.alarms.values() if alarm.code in METER_ALARMS and alarm.subject == node), None
    )
    supply_phases = state.site.supply.site_phases
    backwards = [phase for phase in supply_phases if (_of(known, phase).current_ma or 0) < 0]
    if alarm is not None:
        kind, verdict = "attention", words.alarm(state, alarm)
    elif backwards:
        kind = "attention"
        verdict = words(
            "Current flows backwards on %(phases)s. With solar panels that may be right; if not, turn its transformer"
            " around, or tick “measures backwards”.",
            phases=", ".join(backwards),
        )
    else:
        kind, verdict = "done", words("The meter answers. Compare these values with a clamp meter.")
    return MeterLook(
        kind,
        verdict,
        tuple((phase, _amps(words, known, phase), _volts(known, phase)) for phase in supply_phases),
        words.amps(known.power_w) if known.power_w is not None else "",
        words.age(desk.clock.monotonic_ms() - newest_ms),
    )


def _of(known: MeterState, phase: Phase) -> MeterPhase:
    return known.phases.get(phase, MeterPhase())


def _amps(words: Words, known: MeterState, phase: Phase) -> str:
    current_ma = _of(known, phase).current_ma
    return words.amps(current_ma) if current_ma is not None else ""


def _volts(known: MeterState, phase: Phase) -> str:
    voltage_mv = known.voltage_mv[[*Phase].index(phase)]
    return str(round(voltage_mv / 1000)) if voltage_mv is not None else ""
