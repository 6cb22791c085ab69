"""Can this meter be right? What a few readings in a row say about its wiring, its settings and its honesty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import attrs

from llm_core.events import MeterSampled
from llm_core.quantities import PHASES, Phase
from llm_core.site import MeterSetup

LEAST_MV, MOST_MV = 180_000, 265_000
FEEDS_IN_MA = 1_000
DIRECT_MA = 63_000  # more does not flow through a meter without transformers
SLACK_W = 100
TELLING_W = 1_000  # below, a power factor may be anything


class MeterFinding(StrEnum):
    """What may be wrong, worst first."""

    SILENT = "silent"
    ANOTHER_METER = "another_meter"
    PHASE_MISSING = "phase_missing"
    VOLTAGE = "voltage"
    POWER_DISAGREES = "power_disagrees"
    ABOVE_DIRECT = "above_direct"
    FEEDS_IN = "feeds_in"
    REPEATS = "repeats"


@attrs.frozen
class MeterFound:
    """A finding, on a phase where it is one's own."""

    finding: MeterFinding
    phase: Phase | None = None


@attrs.frozen
class MeterTest:
    """A meter that was tried: its last reading (None: none came, because of `silent_because`), whether it said that it
    is the model (None: it has no way to), and what may be wrong."""

    sample: MeterSampled | None
    silent_because: str | None
    identified: bool | None
    found: tuple[MeterFound, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.found


def check_meter(
    samples: Sequence[MeterSampled],
    setup: MeterSetup,
    phases: tuple[Phase, ...],
    *,
    silent_because: str | None = None,
    identified: bool | None = None,
) -> MeterTest:
    """Judge readings taken one after the other, on the phases that the site has."""
    if not samples:
        finding = MeterFinding.ANOTHER_METER if identified is False else MeterFinding.SILENT
        return MeterTest(None, silent_because or "no reading came", identified, (MeterFound(finding),))
    last = samples[-1]
    found = [MeterFound(MeterFinding.ANOTHER_METER)] if identified is False else []
    for phase in phases:
        found += _on(phase, last, setup)
    if _disagrees(last):
        found.append(MeterFound(MeterFinding.POWER_DISAGREES))
    if len(samples) > 2 and len({sample.fingerprint for sample in samples}) == 1:
        found.append(MeterFound(MeterFinding.REPEATS))
    order = list(MeterFinding)
    return MeterTest(last, None, identified, tuple(sorted(found, key=lambda each: order.index(each.finding))))


def _on(phase: Phase, sample: MeterSampled, setup: MeterSetup) -> Iterator[MeterFound]:
    index = PHASES.index(phase)
    current_ma, voltage_mv = sample.current_ma[index], sample.voltage_mv[index]
    if current_ma is None:
        yield MeterFound(MeterFinding.PHASE_MISSING, phase)
        return
    if voltage_mv is not None and not LEAST_MV <= voltage_mv <= MOST_MV:
        yield MeterFound(MeterFinding.VOLTAGE, phase)
    if setup.ct is None and abs(current_ma) > DIRECT_MA:
        yield MeterFound(MeterFinding.ABOVE_DIRECT, phase)
    if current_ma < -FEEDS_IN_MA:
        yield MeterFound(MeterFinding.FEEDS_IN, phase)


def _disagrees(sample: MeterSampled) -> bool:
    """Whether the power cannot come from these currents: a transformer ratio applied to one of them only.

    What is drawn on one phase and fed in on another cancels in the power, not in the currents.
    """
    pairs = [(ma, mv) for ma, mv in zip(sample.current_ma, sample.voltage_mv, strict=True) if ma is not None and mv]
    known = sum(ma is not None for ma in sample.current_ma)
    if sample.power_w is None or not pairs or len(pairs) < known:
        return False
    apparent_w = sum(abs(ma) * mv for ma, mv in pairs) // 1_000_000
    if abs(sample.power_w) * 10 > apparent_w * 12 + SLACK_W * 10:
        return True
    one_way = all(ma >= 0 for ma, _ in pairs) or all(ma <= 0 for ma, _ in pairs)
    return one_way and apparent_w > TELLING_W and abs(sample.power_w) * 5 < apparent_w
