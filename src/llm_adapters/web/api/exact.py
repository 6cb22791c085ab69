"""JSON read exactly: what was sent is what is meant, or it is refused with every fault and where it lies.

Theory of operation
-------------------
A `Shape` is one kind of value with its three faces: how it is read from JSON, how it is written, and its JSON Schema.
Small shapes combine into larger ones, and a `Record` ties the fields of a JSON object to the attributes of a frozen
value. So what `GET` shows, what `PUT` and `PATCH` take and what the OpenAPI document promises cannot drift apart.

Readers raise `Wrong` with faults that point relative to the value; whoever holds the value puts its own name in front.
Numbers stay decimal from the text to the milliamp; no reader takes a float, so `NaN` and `Infinity` fit nowhere.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from llm_core import PHASES, Fault, PerPhase, Phase, ma_down

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Schema: TypeAlias = dict[str, Json]
T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

MOST_A = 6_300
_MILLI = Decimal("0.001")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Malformed(ValueError):
    """The text is no JSON that has one meaning."""

    def __init__(self, text: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(text)
        self.faults = faults


class Wrong(ValueError):
    """The value is not what is needed here; every fault, pointing relative to the value."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults = faults


def wrong(text: str) -> Wrong:
    return Wrong(Fault("", text))


@contextmanager
def part(name: str | int, faults: list[Fault]) -> Iterator[None]:
    """Collect in `faults` what is wrong with the part of this name, and go on."""
    try:
        yield
    except Wrong as fault:
        faults.extend(under(name, fault.faults))


def under(name: str | int, faults: Iterable[Fault]) -> Iterator[Fault]:
    """The faults of a part, pointing from the whole (RFC 6901)."""
    step = str(name).replace("~", "~0").replace("/", "~1")
    return (Fault(f"/{step}{fault.pointer}", fault.text) for fault in faults)


# Text to values


class _Twice:
    """An object with this key given twice."""

    def __init__(self, key: str) -> None:
        self.key = key


def load(text: bytes) -> object:
    """The value that the text stands for; numbers with a point or an exponent as `Decimal`. Raises `Malformed`."""
    try:
        value = json.loads(text.decode(), parse_float=Decimal, object_pairs_hook=_object)
        twice = tuple(_given_twice(value))
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except (ValueError, InvalidOperation):
        raise Malformed("The body is not JSON that can be read: a number is too long.") from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None
    if twice:
        raise Malformed(f"{twice[0].pointer} {twice[0].text}.", twice)
    return value


def _object(pairs: list[tuple[str, object]]) -> object:
    given: dict[str, object] = {}
    for key, value in pairs:
        if key in given:
            return _Twice(key)
        given[key] = value
    return given


def _given_twice(value: object) -> Iterator[Fault]:
    match value:
        case _Twice():
            yield from under(value.key, (Fault("", "is given twice"),))
        case dict():
            for name, part in value.items():
                yield from under(name, _given_twice(part))
        case list():
            for index, part in enumerate(value):
                yield from under(index, _given_twice(part))


# Shapes


@attrs.frozen
class Shape(Generic[T]):
    """One kind of value: how it is read (raises `Wrong`), how it is written, and its JSON Schema."""

    read: Callable[[object], T]
    write: Callable[[T], Json]
    schema: Schema


def _plain(value: Any) -> Json:
    """As it is: for values that are JSON already, the words of an enum included."""
    return value  # type: ignore[no-any-return]


def amps_of(value_ma: int) -> int | float:
    """Milliamps as amps: whole where they are whole, else exact to the third decimal."""
    return value_ma // 1000 if value_ma % 1000 == 0 else value_ma / 1000


def _read_amps(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise wrong("must be a number of amps")
    if not 0 <= value <= MOST_A:
        raise wrong(f"must lie between 0 and {MOST_A} A")
    exact = Decimal(value)
    if exact != exact.quantize(_MILLI, ROUND_FLOOR):
        raise wrong("has more than three decimals")
    return ma_down(exact)


AMPS: Shape[int] = Shape(_read_amps, amps_of, {"type": "number", "minimum": 0, "maximum": MOST_A, "multipleOf": 0.001})


def per_phase(phases: tuple[Phase, ...]) -> Shape[PerPhase]:
    """Amps for each phase of the site: one number for all, or an object that names every one of them."""

    def read(value: object) -> PerPhase:
        if not isinstance(value, dict):
            return on_phases(PerPhase.same(_read_amps(value)), phases)
        faults = [fault for name in value if name not in phases for fault in under(name, (_NO_PHASE,))]
        read_ma: dict[str, int] = {}
        for phase in phases:
            with part(phase, faults):
                if phase not in value:
                    raise wrong("is missing")
                read_ma[phase] = _read_amps(value[phase])
        if faults:
            raise Wrong(*faults)
        return PerPhase(*(read_ma.get(phase, 0) for phase in PHASES))

    each: Schema = {"type": "object", "properties": dict.fromkeys(phases, AMPS.schema)}
    closed: Schema = {**each, "required": list(phases), "additionalProperties": False}
    return Shape(read, lambda value: amps_per_phase(value, phases), {"anyOf": [AMPS.schema, closed]})


_NO_PHASE = Fault("", "is no phase of this site")


def amps_per_phase(value: PerPhase, phases: tuple[Phase, ...]) -> dict[str, Json]:
    return {phase: amps_of(value[phase]) for phase in phases}


def on_phases(value: PerPhase, phases: tuple[Phase, ...]) -> PerPhase:
    """`value` on these phases, 0 on the others."""
    return PerPhase(*(value[phase] if phase in phases else 0 for phase in PHASES))


def _read_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong("must be true or false")
    return value


BOOLEAN: Shape[bool] = Shape(_read_boolean, _plain, {"type": "boolean"})


def whole(least: int, most: int) -> Shape[int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong("must be a whole number")
        if not least <= value <= most:
            raise wrong(f"must lie between {least} and {most}")
        return value

    return Shape(read, _plain, {"type": "integer", "minimum": least, "maximum": most})


def text(most: int, *, least: int = 0) -> Shape[str]:
    """Text that can be stored and shown: no control characters, no halves of characters."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise wrong("must be text")
        if not least <= len(value) <= most:
            raise wrong(f"must have {least} to {most} characters")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
            raise wrong("holds a character that cannot be shown")
        return value

    return Shape(read, _plain, {"type": "string", "minLength": least, "maxLength": most})


def word(kind: type[Word]) -> Shape[Word]:
    """One of the words of an enum."""

    def read(value: object) -> Word:
        if not isinstance(value, str) or value not in list(kind):
            raise wrong(f"must be one of {', '.join(kind)}")
        return kind(value)

    return Shape(read, _plain, {"type": "string", "enum": [member.value for member in kind]})


def choice(*values: T) -> Shape[T]:
    """One of a few constants; `true` is not 1."""

    def read(value: object) -> T:
        for known in values:
            if value == known and type(value) is type(known):
                return known
        raise wrong(f"must be {' or '.join(json.dumps(known) for known in values)}")

    return Shape(read, _plain, {"enum": [_plain(known) for known in values]})


def nullable(shape: Shape[T]) -> Shape[T | None]:
    return Shape(
        lambda value: None if value is None else shape.read(value),
        lambda value: None if value is None else shape.write(value),
        {"anyOf": [shape.schema, {"type": "null"}]},
    )


def listed(shape: Shape[T], most: int) -> Shape[tuple[T, ...]]:
    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise wrong("must be a list")
        if len(value) > most:
            raise wrong(f"must have at most {most} entries")
        items: list[T] = []
        faults: list[Fault] = []
        for index, item in enumerate(value):
            with part(index, faults):
                items.append(shape.read(item))
        if faults:
            raise Wrong(*faults)
        return tuple(items)

    return Shape(
        read,
        lambda value: [shape.write(item) for item in value],
        {"type": "array", "maxItems": most, "items": shape.schema},
    )


def all_or_chosen(shape: Shape[str], most: int) -> Shape[frozenset[str] | None]:
    """`"all"` (None inside) or a list of names."""
    several = listed(shape, most)

    def read(value: object) -> frozenset[str] | None:
        if value == "all":
            return None
        if not isinstance(value, list):
            raise wrong('must be "all" or a list')
        return frozenset(several.read(value))

    def write(value: frozenset[str] | None) -> Json:
        return "all" if value is None else several.write(tuple(sorted(value)))

    return Shape(read, write, {"anyOf": [{"const": "all"}, several.schema]})


def _read_day(value: object) -> date:
    if isinstance(value, str) and _ISO_DAY.fullmatch(value):
        with suppress(ValueError):  # 30 February
            return date.fromisoformat(value)
    raise wrong("must be a date like 2030-01-31")


DAY: Shape[date] = Shape(_read_day, date.isoformat, {"type": "string", "format": "date"})


# Records


@attrs.frozen
class Member:
    """A field of a JSON object: its name, its shape, and the attribute that it stands for (None: only checked)."""

    name: str
    attribute: str | None
    shape: Shape[Any]
    required: bool = False


class Record(Generic[T]):
    """A JSON object whose fields are attributes of a frozen value; any other field is refused."""

    def __init__(self, *members: Member) -> None:
        self._members = members

    def read(self, value: object, base: T, *, partial: bool = False) -> T:
        """`base` with the given fields; `partial` asks for no required ones. Raises `Wrong` with every fault."""
        if not isinstance(value, dict):
            raise wrong("must be an object")
        known = {member.name for member in self._members}
        faults = [fault for name in value if name not in known for fault in under(name, (_NO_FIELD,))]
        changes: dict[str, Any] = {}
        for member in self._members:
            if member.name not in value:
                if member.required and not partial:
                    faults.append(Fault(f"/{member.name}", "is missing"))
                continue
            with part(member.name, faults):
                read = member.shape.read(value[member.name])
                if member.attribute is not None:
                    changes[member.attribute] = read
        if faults:
            raise Wrong(*faults)
        return attrs.evolve(base, **changes)  # type: ignore[misc]

    def write(self, value: T) -> dict[str, Json]:
        return {
            member.name: member.shape.write(getattr(value, member.attribute) if member.attribute else None)
            for member in self._members
        }

    def without(self, *names: str) -> Record[T]:
        """This record without some of its fields."""
        return Record(*(member for member in self._members if member.name not in names))

    @property
    def schema(self) -> Schema:
        required: list[Json] = [member.name for member in self._members if member.required]
        return {**self.optional_schema, **({"required": required} if required else {})}

    @property
    def optional_schema(self) -> Schema:
        """The schema of a part of the fields (`PATCH`)."""
        fields: dict[str, Json] = {member.name: member.shape.schema for member in self._members}
        return {"type": "object", "properties": fields, "additionalProperties": False}

    def shape(self, base: T) -> Shape[T]:
        """This record as a part of another; what is left out is as in `base`."""
        return Shape(lambda value: self.read(value, base), self.write, self.schema)


_NO_FIELD = Fault("", "is not a field of this resource")
