"""From registers to a sample: sign, transformer ratio, plausibility. No I/O; what cannot be believed is None."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from llm_adapters.modbus.models import MeterModel
from llm_core import PHASES, MeterSampled, MeterSetup, Phase, ma_up

MOST_A = 10_000  # more is no building's current but a broken reading
MOST_V = 1_000
MOST_W = 20_000_000
MOST_WH = Decimal(10) ** 15
FREQUENCIES_HZ = (40, 70)

Words = Mapping[int, int]  # register address -> its 16 bits


def sample(model: MeterModel, setup: MeterSetup, words: Words, taken_ms: int) -> MeterSampled:
    """What the meter says, in the core's units. A draw is positive and rounded up, so it never shrinks; a point
    whose registers are missing, or whose value is not a value or out of all range, is None."""
    scale, sign = _ratio(setup), -1 if setup.invert else 1
    power = _bounded(_value(model, words, "power"), -MOST_W, MOST_W)
    imported, exported = (_energy_wh(model, words, name, scale) for name in ("energy_import", "energy_export"))
    frequency = _bounded(_value(model, words, "frequency"), *FREQUENCIES_HZ)
    voltages = (_bounded(_value(model, words, f"voltage_{phase}"), 0, MOST_V) for phase in PHASES)
    l1, l2, l3 = (_current_ma(model, setup, words, phase) for phase in PHASES)
    u1, u2, u3 = (None if voltage is None else int(voltage * 1000) for voltage in voltages)
    return MeterSampled(
        node=setup.node,
        current_ma=(l1, l2, l3),
        taken_ms=taken_ms,
        fingerprint=zlib.crc32(b"".join(struct.pack(">HH", *item) for item in sorted(words.items()))),
        voltage_mv=(u1, u2, u3),
        power_w=None if power is None else int((power * scale * sign).to_integral_value(ROUND_CEILING)),
        energy_import_wh=exported if setup.invert else imported,
        energy_export_wh=imported if setup.invert else exported,
        frequency_mhz=None if frequency is None else int(frequency * 1000),
    )


def _energy_wh(model: MeterModel, words: Words, name: str, scale: Decimal) -> int | None:
    energy = _bounded(_value(model, words, name), 0, MOST_WH)
    return None if energy is None else int((energy * scale).to_integral_value(ROUND_FLOOR))


def _current_ma(model: MeterModel, setup: MeterSetup, words: Words, phase: Phase) -> int | None:
    current = _value(model, words, f"current_{phase}")
    if current is None:
        return None
    sign = -1 if setup.invert else 1
    if model.sign_from_power:
        power = _value(model, words, f"power_{phase}")
        # Of unknown direction is a draw: it takes away from what may be charged with.
        current, sign = abs(current), -1 if power is not None and power * sign < 0 else 1
    bounded = _bounded(current * _ratio(setup) * sign, -MOST_A, MOST_A)
    return None if bounded is None else ma_up(bounded)


def _value(model: MeterModel, words: Words, name: str) -> Decimal | None:
    point = model.points.get(name)
    if point is None or any(address not in words for address in range(point.address, point.end)):
        return None
    exponent_word = None if point.scale_factor is None else words.get(point.scale_factor)
    return model.value(point, tuple(words[address] for address in range(point.address, point.end)), exponent_word)


def _bounded(value: Decimal | None, least: Decimal | int, most: Decimal | int) -> Decimal | None:
    return value if value is not None and least <= value <= most else None


def _ratio(setup: MeterSetup) -> Decimal:
    """What a reading is multiplied with: 1 when there is no transformer or the meter knows of it."""
    if setup.ct is None or setup.ct.applied_by != "manager":
        return Decimal(1)
    return Decimal(setup.ct.primary_a) / setup.ct.secondary_a
