"""Reads a model file strictly: every fault is told, with the line and the reason, or there is none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from llm_adapters.modbus.models import LONGEST_READ, POINTS, Identity, MeterModel, ModelError

T = TypeVar("T")
MOST_PAUSE_MS = 200
MOST_BYTES = 100_000  # more is no meter


def load_model(path: Path) -> MeterModel:
    """Read one model file; `ModelError` with every fault, each with file, line where it is known, and reason."""
    text = _text(path)
    try:
        model = _CONVERTER.structure(tomllib.loads(text, parse_float=Decimal), MeterModel)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+), column \d+\)", str(error))
        place = f"{path.name}:{line[1]}" if line else path.name
        raise ModelError((f"{place}: {error}",)) from error
    except cattrs.BaseValidationError as error:
        found = (fault.split(" @ ") for fault in cattrs.transform_error(error))
        raise ModelError(tuple(f"{_place(path, text, where)}: {reason}" for reason, where in found)) from error
    faults = tuple(f"{_place(path, text, where)}: {reason}" for where, reason in _faults(model, path.stem))
    if faults:
        raise ModelError(faults)
    return model


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()[: MOST_BYTES + 1]
        text = data.decode("utf-8")
    except OSError as error:
        raise ModelError((f"{path.name}: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ModelError((f"{path.name}:{line}: is not UTF-8 text",)) from error
    if len(data) > MOST_BYTES:
        raise ModelError((f"{path.name}: is larger than {MOST_BYTES // 1000} kB",))
    return text


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
    if model.max_gap < 0:
        yield "max_gap", "must not be negative"
    if not 0 <= model.pause_ms <= MOST_PAUSE_MS:
        yield "pause_ms", f"must lie between 0 and {MOST_PAUSE_MS} ms"
    if not 0 <= model.unit <= 255:
        yield "unit", "must lie between 0 and 255"
    if not 1 <= model.phases <= 3:
        yield "phases", "must be 1, 2 or 3"
    if model.sunspec is not None and not (model.sunspec.model > 0 and 0 < model.sunspec.length <= 0xFFFF):
        yield "sunspec", "a SunSpec model has a number and a length"
    yield from _point_faults(model)
    for absent in model.not_a_value:
        if absent.type.is_float or absent.least > absent.most:
            yield "not_a_value", "needs an integer type and least ≤ most (a float has its own NaN)"
    if model.identify is not None:
        yield from (("identify", reason) for reason in _identity_faults(model.identify))


def _point_faults(model: MeterModel) -> Iterator[tuple[str, str]]:
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
        if point.scale_factor is not None and not 0 <= point.scale_factor <= 0xFFFF:
            yield f"points.{name}", f"the scale factor cannot lie in register {point.scale_factor}"
    currents = {name: point.address for name, point in model.points.items() if name.startswith("current_")}
    for name, address in currents.items():
        if list(currents.values()).count(address) > 1:
            yield f"points.{name}", "another phase has its current in the same register"


def _identity_faults(identity: Identity) -> Iterator[str]:
    if identity.function_code not in (None, 3, 4):
        yield "function_code must be 3 or 4"
    by_number = identity.type is not None and bool(identity.values)
    by_text = identity.count > 0 and bool(identity.texts)
    if by_number == by_text:
        yield "needs either a type and the values that stand there, or a count of registers and the texts"
    if identity.type is not None and identity.type.is_float:
        yield "a model is not told by a float"
    if not 0 <= identity.address <= 0x10000 - max(identity.words, 1) or identity.words > LONGEST_READ:
        yield f"address {identity.address} is none"


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
