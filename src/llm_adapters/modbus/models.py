"""Meter models: what stands in which register, as data. One TOML file per model in `models/`, checked strictly.

A model names its points: `current_L1` (A), `voltage_L1` (V), `power_L1` (W, positive is import), the same for L2
and L3, `power` (W) and `energy_import` (Wh). A value is the raw number times `scale`, in that unit. Addresses count
from 0, as on the wire; `word_order` "big" is the most significant word first.
"""

from __future__ import annotations

import re
import struct
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import cattrs

T = TypeVar("T")
MODELS = Path(str(files(__package__))) / "models"
POINTS = frozenset(
    {f"{quantity}_{phase}" for quantity in ("current", "voltage", "power") for phase in ("L1", "L2", "L3")}
    | {"power", "energy_import"}
)
LONGEST_READ = 125  # registers in one request (Modbus application protocol 1.1b3, 6.3)


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
    """One quantity in the registers from `address` on."""

    address: int
    type: Encoding
    scale: Decimal = Decimal(1)

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
    """A register that tells the model: any other value means that another meter answers."""

    address: int
    type: Encoding
    values: tuple[int, ...]


@attrs.frozen
class Block:
    """Registers that are read in one request."""

    address: int
    count: int


@attrs.frozen
class MeterModel:
    """A kind of meter. `sign_from_power` says that the current is unsigned and takes the sign of its phase's power;
    `max_gap` how many registers nobody asked for a read may run over; `pause_ms` lies between two requests."""

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

    def raw(self, encoding: Encoding, words: tuple[int, ...]) -> int | float:
        """The number that lies in these registers, as it is."""
        ordered = words if self.word_order == "big" else words[::-1]
        number: int | float = struct.unpack(f">{_STRUCT[encoding]}", struct.pack(f">{len(words)}H", *ordered))[0]
        return number

    def value(self, point: Point, words: tuple[int, ...]) -> Decimal | None:
        """The exact value in the unit of the point; None where the meter says that it has none."""
        raw = self.raw(point.type, words)
        if any(absent.type is point.type and absent.least <= raw <= absent.most for absent in self.not_a_value):
            return None
        exact = Decimal(raw)
        return exact * point.scale if exact.is_finite() else None

    def blocks(self) -> tuple[Block, ...]:
        """The fewest reads that get every point whole, neighbours together; those with a current come first."""
        planned: list[list[Point]] = []
        for point in sorted(self.points.values(), key=lambda point: point.address):
            last = planned[-1] if planned else None
            if last and point.address - last[-1].end <= self.max_gap and self._fits(last[0], point):
                last.append(point)
            else:
                planned.append([point])
        currents = {point for name, point in self.points.items() if name.startswith("current")}
        planned.sort(key=lambda points: currents.isdisjoint(points))
        return tuple(Block(points[0].address, points[-1].end - points[0].address) for points in planned)

    def _fits(self, first: Point, last: Point) -> bool:
        return last.end - first.address <= self.max_registers


class ModelError(ValueError):
    """A model that cannot be used; `faults` names every reason, with file and line where there is one."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def known_models() -> tuple[str, ...]:
    """The ids of the models that come along, in order."""
    return tuple(sorted(path.stem for path in MODELS.glob("*.toml")))


def find_model(model_id: str) -> MeterModel:
    """The model with this id; `ModelError` when there is none or its file is faulty."""
    if model_id not in known_models():
        raise ModelError((f"there is no meter model “{model_id}”; known are {', '.join(known_models())}",))
    return load_model(MODELS / f"{model_id}.toml")


def load_model(path: Path) -> MeterModel:
    """Read one model file; `ModelError` with every fault, each with file, line where it is known, and reason."""
    text = path.read_text("utf-8")
    try:
        model = _CONVERTER.structure(tomllib.loads(text, parse_float=Decimal), MeterModel)
    except tomllib.TOMLDecodeError as error:
        raise ModelError((f"{path.name}: {error}",)) from error
    except cattrs.BaseValidationError as error:
        found = (fault.split(" @ ") for fault in cattrs.transform_error(error))
        raise ModelError(tuple(f"{_place(path, text, where)}: {reason}" for reason, where in found)) from error
    faults = tuple(f"{_place(path, text, where)}: {reason}" for where, reason in _faults(model, path.stem))
    if faults:
        raise ModelError(faults)
    return model


def _place(path: Path, text: str, where: str) -> str:
    """File and line of the innermost name in `where` that begins a line."""
    for name in reversed(re.findall(r"\w+", where)):
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(rf"\s*(\[+{name}\]+|{name}\s*=)", line):
                return f"{path.name}:{number}: {where.removeprefix('$.')}"
    return f"{path.name}: {where.removeprefix('$.')}"


def _faults(model: MeterModel, file_id: str) -> Iterator[tuple[str, str]]:
    if model.id != file_id:
        yield "id", f"“{model.id}” is not the name of the file"
    if model.function_code not in (3, 4):
        yield "function_code", "must be 3 (holding registers) or 4 (input registers)"
    if not 4 <= model.max_registers <= LONGEST_READ:
        yield "max_registers", f"must lie between 4 and {LONGEST_READ}"
    if model.max_gap < 0 or not 0 <= model.pause_ms <= 200:
        yield "pause_ms" if model.max_gap >= 0 else "max_gap", "must not be negative, and a pause at most 200 ms"
    for name in sorted(set(model.points) - POINTS):
        yield f"points.{name}", f"is none of {', '.join(sorted(POINTS))}"
    if "current_L1" not in model.points:
        yield "points", "a meter without the current of each phase cannot protect a fuse"
    if model.sign_from_power:
        for name in sorted(model.points):
            if name.startswith("current_") and name.replace("current", "power") not in model.points:
                yield f"points.{name}", "takes its sign from a power that is not there"
    for name, point in model.points.items():
        if not 0 <= point.address <= 0x10000 - point.type.words:
            yield f"points.{name}", f"address {point.address} is none"
        if not (point.scale.is_finite() and point.scale > 0):
            yield f"points.{name}", "the scale must be positive"
    for absent in model.not_a_value:
        if absent.type.is_float or absent.least > absent.most:
            yield "not_a_value", "is a range of whole numbers, the least one first"
    if model.identify is not None and (model.identify.type.is_float or not model.identify.values):
        yield "identify", "compares whole numbers with at least one value"


def _exactly(value: Any, kind: Any) -> Any:
    if issubclass(kind, StrEnum) and type(value) is str:
        return kind(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _decimal(value: Any, _: Any) -> Decimal:
    if type(value) not in (int, Decimal):
        raise TypeError(f"{value!r} is not a number")
    return Decimal(value)


def _strict_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, bool, str):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(Decimal, _decimal)
    return converter


_CONVERTER = _strict_converter()
