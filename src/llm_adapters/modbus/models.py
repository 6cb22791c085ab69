"""Meter models: what stands in which register, as data. One TOML file per model, read by `model_files`.

A model names its points: `current_L1` (A), `voltage_L1` (V), `power_L1` (W, positive is import), the same for L2
and L3, `power` (W), `energy_import` and `energy_export` (Wh), `frequency` (Hz). A value is the raw number times
`scale`, in that unit. Addresses count from 0, as on the wire; `word_order` "big" is the most significant word first.
In a SunSpec model they count from the register that holds the model's number, wherever the meter keeps it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import attrs

PHASE_NAMES = ("L1", "L2", "L3")
POINTS = frozenset(
    {f"{quantity}_{phase}" for quantity in ("current", "voltage", "power") for phase in PHASE_NAMES}
    | {"power", "energy_import", "energy_export", "frequency"}
)
LONGEST_READ = 125  # registers in one request (Modbus application protocol 1.1b3, 6.3)
LARGEST_EXPONENT = 10  # SunSpec: a scale factor lies between -10 and 10


class Encoding(StrEnum):
    """How a number lies in its registers; the bytes of a word are always most significant first."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def words(self) -> int:
        return int(self.value[-2:]) // 16

    @property
    def is_float(self) -> bool:
        return self in (Encoding.FLOAT32, Encoding.FLOAT64)


_STRUCT = dict(zip(Encoding, "hHiIqQfd", strict=True))


@attrs.frozen
class Point:
    """One quantity in the registers from `address` on; `scale_factor` is the address of a signed power of ten that it
    is multiplied with."""

    address: int
    type: Encoding
    scale: Decimal = Decimal(1)
    scale_factor: int | None = None

    @property
    def end(self) -> int:
        return self.address + self.type.words


@attrs.frozen
class NotAValue:
    """Raw numbers of this type that say there is no value: `least` to `most`, both included."""

    type: Encoding
    least: int
    most: int


@attrs.frozen
class Identity:
    """Registers that tell the model: one of the numbers in `values`, or a text of `count` registers that begins with
    one of `texts`. Where it is `required`, anything else means that another meter answers, and none is believed."""

    address: int
    type: Encoding | None = None
    values: tuple[int, ...] = ()
    count: int = 0
    texts: tuple[str, ...] = ()
    required: bool = True
    function_code: int | None = None

    @property
    def words(self) -> int:
        return self.type.words if self.type is not None else self.count


@attrs.frozen
class SunSpec:
    """A block that is found by its number, walking from block to block, and must have this many registers."""

    model: int
    length: int


@attrs.frozen
class Block:
    """Registers that are read in one request; without a `needed` one there is no reading at all."""

    address: int
    count: int
    needed: bool = True


@attrs.frozen
class MeterModel:
    """A kind of meter. `sign_from_power` says that the current is unsigned and takes the sign of its phase's power;
    `max_gap` how many registers nobody asked for a read may run over; `pause_ms` lies between two requests; `doubt`
    is what is not known for sure of this map; `unit` and `ports` are what such a meter usually has,
    `phases` how many it measures, from L1 on."""

    id: str
    name: str
    function_code: int
    word_order: Literal["big", "little"]
    points: Mapping[str, Point]
    sign_from_power: bool = False
    max_registers: int = 40
    max_gap: int = 8
    pause_ms: int = 0
    not_a_value: tuple[NotAValue, ...] = ()
    identify: Identity | None = None
    sunspec: SunSpec | None = None
    ports: tuple[Literal["rs485", "ethernet"], ...] = ()
    unit: int = 1
    phases: int = 3
    doubt: str = ""

    def raw(self, encoding: Encoding, words: tuple[int, ...]) -> int | float:
        """The number that lies in these registers, as it is."""
        ordered = words if self.word_order == "big" else words[::-1]
        number: int | float = struct.unpack(f">{_STRUCT[encoding]}", struct.pack(f">{len(words)}H", *ordered))[0]
        return number

    def value(self, point: Point, words: tuple[int, ...], exponent_word: int | None = None) -> Decimal | None:
        """The exact value in the unit of the point; None where the meter says that it has none."""
        raw = self.raw(point.type, words)
        if self._is_absent(point.type, raw):
            return None
        exact = Decimal(raw)
        if not exact.is_finite():
            return None
        if point.scale_factor is None:
            return exact * point.scale
        exponent = None if exponent_word is None else self.raw(Encoding.INT16, (exponent_word,))
        if exponent is None or abs(exponent) > LARGEST_EXPONENT:
            return None
        return (exact * point.scale).scaleb(int(exponent))

    def _is_absent(self, encoding: Encoding, raw: int | float) -> bool:
        return any(absent.type is encoding and absent.least <= raw <= absent.most for absent in self.not_a_value)

    def blocks(self) -> tuple[Block, ...]:
        """The fewest reads that get every point whole, neighbours together; those with a current come first.

        The frequency is for people: it is read where it lies on the way, and costs no read of its own.
        """
        planned: list[list[tuple[int, int]]] = []
        worth_a_read = {name: point for name, point in self.points.items() if name != "frequency"}
        for span in sorted(self._spans(worth_a_read)):
            last = planned[-1] if planned else None
            if last and span[0] - _end(last) <= self.max_gap and span[1] - last[0][0] <= self.max_registers:
                last.append(span)
            else:
                planned.append([span])
        currents = self._spans({name: point for name, point in self.points.items() if name.startswith("current")})
        planned.sort(key=lambda spans: currents.isdisjoint(spans))
        return tuple(Block(spans[0][0], _end(spans) - spans[0][0], not currents.isdisjoint(spans)) for spans in planned)

    @staticmethod
    def _spans(points: Mapping[str, Point]) -> set[tuple[int, int]]:
        """What must not be cut: each value, and each scale factor."""
        values = {(point.address, point.end) for point in points.values()}
        factors = {point.scale_factor for point in points.values() if point.scale_factor is not None}
        return values | {(address, address + 1) for address in factors}


def _end(spans: list[tuple[int, int]]) -> int:
    return max(end for _, end in spans)


class ModelError(ValueError):
    """A model that cannot be used; `faults` names every reason, with file and line where there is one."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
