"""Values of the core as JSON documents, and back: strictly, or not at all.

A configuration that was read wrongly would let current flow. So nothing is coerced (3.7 is not 3, True is not 1,
"16" is not 16), an unknown or missing key is refused, and every fault is named with its place.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeVar, get_args, get_origin

import cattrs
from cattrs.preconf.json import JsonConverter, make_converter

T = TypeVar("T")


class UnreadableError(ValueError):
    """A document that is not what it should be; the text names every fault."""


def to_json(value: object) -> str:
    """The document of an attrs value; the same value always gives the same text."""
    return json.dumps(_CONVERTER.unstructure(value), sort_keys=True)


def from_json(text: str, kind: type[T]) -> T:
    """The value that `to_json` wrote; raises `UnreadableError`."""
    try:
        return _CONVERTER.structure(json.loads(text), kind)
    except cattrs.BaseValidationError as error:
        raise UnreadableError("; ".join(cattrs.transform_error(error))) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(str(error)) from error


def _exactly(value: Any, kind: Any) -> Any:
    """`value` itself, if it is of this kind and no other; the enums are kinds of str and are looked up by value."""
    if issubclass(kind, Enum) and type(value) is str:
        return kind(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _members(values: Any, kind: Any) -> Any:
    """A list and nothing else: a text would fall apart into its letters."""
    if type(values) is not list:
        raise TypeError(f"{values!r} is not a list")
    return frozenset(_exactly(value, get_args(kind)[0]) for value in values)


def _is_frozenset(kind: Any) -> bool:
    return get_origin(kind) is frozenset


def _strict_converter() -> JsonConverter:
    converter = make_converter(forbid_extra_keys=True)
    for kind in (int, bool, str):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook_func(_is_frozenset, _members)
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(date, lambda day: day.isoformat())
    converter.register_unstructure_hook(datetime, lambda moment: moment.isoformat())
    converter.register_unstructure_hook_func(_is_frozenset, sorted)
    return converter


_CONVERTER = _strict_converter()
