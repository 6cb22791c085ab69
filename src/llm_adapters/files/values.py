"""Values of the core as JSON, and back to the same values: exactly, or not at all.

Numbers are integers and nothing else (True is not 1, 3.0 is not 3), members of a closed union carry the name of their
class under `is`, instants are ISO 8601. A mapping is a list of pairs, because its keys may be tuples and its order may
mean something; a field that has its default is left out. An unknown field is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeVar, get_args, get_origin

import cattrs
from cattrs.strategies import configure_tagged_union

from llm_core import Event, Now, SiteEdit

T = TypeVar("T")
Structure = Callable[[Any, Any], Any]

UNIONS = (SiteEdit, Event)  # the inner one first


class UnreadableError(ValueError):
    """A text that is not the value it should be; says what is wrong, in one line."""


def encoded(value: object, kind: Any = None) -> Any:
    """`value` as dicts, lists, texts, integers, booleans and None; `kind` names the union it is a member of."""
    return _CONVERTER.unstructure(value, unstructure_as=kind)


def decoded(data: object, kind: Any) -> Any:
    """The value of this kind that `encoded` took apart. Raises `UnreadableError`."""
    try:
        return _CONVERTER.structure(data, kind)
    except cattrs.BaseValidationError as error:
        raise UnreadableError(cattrs.transform_error(error)[0]) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def parsed(text: str | bytes) -> Any:
    """The JSON document in `text`. Raises `UnreadableError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {error}") from error


def printed(data: object) -> str:
    """One line of JSON in ASCII, without the line's end; the same data always gives the same text."""
    return _ENCODER.encode(data)


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def _exactly(value: Any, kind: Any) -> Any:
    """`value` itself, if it is of this kind and no other; a member of an enum is looked up by its text."""
    if issubclass(kind, Enum):
        return kind(_exactly(value, str))
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _list(value: Any, length: int | None = None) -> list[Any]:
    """A list and nothing else: a text would fall apart into its letters."""
    if type(value) is not list:
        raise TypeError(f"{value!r} is not a list")
    if length is not None and len(value) != length:
        raise ValueError(f"{len(value)} entries where {length} belong")
    return value


def _tuple_of(kind: Any, converter: cattrs.BaseConverter) -> Structure:
    parts = get_args(kind)
    if parts[-1] is Ellipsis:
        each = converter.get_structure_hook(parts[0])
        return lambda values, _: tuple(each(value, parts[0]) for value in _list(values))
    hooks = [(converter.get_structure_hook(part), part) for part in parts]
    return lambda values, _: tuple(
        hook(value, part) for (hook, part), value in zip(hooks, _list(values, len(hooks)), strict=True)
    )


def _set_of(kind: Any, converter: cattrs.BaseConverter) -> Structure:
    (part,) = get_args(kind)
    hook = converter.get_structure_hook(part)
    return lambda values, _: frozenset(hook(value, part) for value in _list(values))


def _mapping_of(kind: Any, converter: cattrs.BaseConverter) -> Structure:
    key_kind, value_kind = get_args(kind)
    key_hook = converter.get_structure_hook(key_kind)
    value_hook = converter.get_structure_hook(value_kind)

    def mapping(pairs: Any, _: Any) -> dict[Any, Any]:
        split = [_list(pair, 2) for pair in _list(pairs)]
        return {key_hook(key, key_kind): value_hook(value, value_kind) for key, value in split}

    return mapping


def _pairs_of(kind: Any, converter: cattrs.BaseConverter) -> Callable[[Any], Any]:
    key_kind, value_kind = get_args(kind)
    key_hook = converter.get_unstructure_hook(key_kind)
    value_hook = converter.get_unstructure_hook(value_kind)
    return lambda mapping: [[key_hook(key), value_hook(value)] for key, value in mapping.items()]


def _instant(text: Any, _: Any) -> datetime:
    return datetime.fromisoformat(_exactly(text, str))


def _now(parts: Any, _: Any) -> Now:
    monotonic_ms, utc, utc_offset_s = _list(parts, 3)
    return Now(_exactly(monotonic_ms, int), _instant(utc, datetime), _exactly(utc_offset_s, int))


def _is(origin: object) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _strict_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, omit_if_default=True)
    for kind in (int, bool, str):
        converter.register_structure_hook(kind, _exactly)  # that of str serves the enums of texts as well
    converter.register_structure_hook_factory(_is(tuple), _tuple_of)
    converter.register_structure_hook_factory(_is(frozenset), _set_of)
    converter.register_structure_hook_factory(_is(Mapping), _mapping_of)
    converter.register_unstructure_hook_factory(_is(Mapping), _pairs_of)
    converter.register_unstructure_hook_func(_is(frozenset), sorted)
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(_exactly(text, str)))
    converter.register_unstructure_hook(date, lambda day: day.isoformat())
    converter.register_structure_hook(datetime, _instant)
    converter.register_unstructure_hook(datetime, lambda moment: moment.isoformat())
    converter.register_structure_hook(Now, _now)
    converter.register_unstructure_hook(Now, lambda now: [now.monotonic_ms, now.utc.isoformat(), now.utc_offset_s])
    for union in UNIONS:
        configure_tagged_union(union, converter, tag_name="is")
    return converter


_CONVERTER = _strict_converter()
