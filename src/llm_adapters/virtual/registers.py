"""How meters of different makers lay out what they show, written from their lists and not from our model files.

Each layout gives the words from address 0 on. `eastron_sdm630`: IEEE 754 float32 in input registers, most significant
word first, current as an unsigned RMS value, energy in kWh. `cg_em340`: int32 in tenths and thousandths, least
significant word first, a number that tells the model. `sunspec_203`: int16 with powers of ten, in blocks that begin at
0 here, energy in Wh.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import attrs

Amps3 = tuple[float, float, float]
NONE = 0x8000  # SunSpec: there is no value


@attrs.frozen
class Shown:
    """What a meter shows: amps and watts per phase (import positive)."""

    current_a: Amps3
    power_w: Amps3
    voltage_v: float
    energy_import_wh: float


def eastron_sdm630(shown: Shown) -> list[int]:
    values = [0.0] * 38
    values[0:3] = [shown.voltage_v] * 3
    values[3:6] = [abs(amps) for amps in shown.current_a]
    values[6:9] = shown.power_w
    values[26] = sum(shown.power_w)
    values[35] = 50.0
    values[36] = shown.energy_import_wh / 1000
    return list(struct.unpack(">76H", struct.pack(">38f", *values)))


def cg_em340(shown: Shown) -> list[int]:
    words = [0] * 80

    def put(address: int, number: float) -> None:
        overflow = not math.isfinite(number)
        bits = 0x7FFF_FFFF if overflow else round(number) & 0xFFFF_FFFF
        words[address : address + 2] = [bits & 0xFFFF, bits >> 16]

    for phase in range(3):
        put(2 * phase, shown.voltage_v * 10)
        put(12 + 2 * phase, abs(shown.current_a[phase]) * 1000)
        put(18 + 2 * phase, shown.power_w[phase] * 10)
    words[11] = 341
    put(40, sum(shown.power_w) * 10)
    words[51] = 500
    put(52, shown.energy_import_wh / 100)
    return words


def sunspec_203(shown: Shown) -> list[int]:
    block = [NONE] * 107
    block[:2] = [203, 105]

    def put(address: int, number: float) -> None:
        block[address] = round(number) & 0xFFFF if math.isfinite(number) else NONE

    for phase in range(3):
        put(3 + phase, abs(shown.current_a[phase]) * 100)
        put(8 + phase, shown.voltage_v * 10)
        put(19 + phase, shown.power_w[phase])
    put(16, 5000)
    put(18, sum(shown.power_w))
    block[6], block[15], block[17], block[22], block[54] = 0xFFFE, 0xFFFF, 0xFFFE, 0, 0
    wh = round(shown.energy_import_wh)
    block[38:40] = [0, 0]
    block[46:48] = [wh >> 16 & 0xFFFF, wh & 0xFFFF]
    return [0x5375, 0x6E53, 1, 66, *([0x2020] * 66), *block, 0xFFFF, 0]


LAYOUTS: dict[str, Callable[[Shown], list[int]]] = {
    layout.__name__: layout for layout in (eastron_sdm630, cg_em340, sunspec_203)
}
