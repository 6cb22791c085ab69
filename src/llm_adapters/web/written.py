"""What the audit trail wrote down, read back: values of the core as the text that Python makes of them.

Nothing is evaluated. A text that is not of this kind is no error: it stays a text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime

import attrs

_ENUM = re.compile(r"<\w+\.\w+: ('(?:[^'\\]|\\.)*'|\d+)>")
MOST_LETTERS = 200_000


@attrs.frozen
class Thing:
    """A value with named parts, such as a station."""

    kind: str
    parts: Mapping[str, Written]


Written = None | bool | int | str | date | tuple["Written", ...] | Thing


class UnwrittenError(ValueError):
    """This text is no value of ours."""


def read_back(text: str) -> Written:
    """The value that was written down. Raises `UnwrittenError`."""
    if len(text) > MOST_LETTERS:
        raise UnwrittenError("too long")
    try:
        tree = ast.parse(_ENUM.sub(r"\1", text).strip(), mode="eval")
        return _value(tree.body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UnwrittenError(text[:80]) from error


def named_parts(text: str, separator: str) -> dict[str, Written]:
    """What was written as `name=value` several times over. Raises `UnwrittenError`."""
    found: dict[str, Written] = {}
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if not equals or not name.isidentifier():
            raise UnwrittenError(text[:80])
        try:
            found[name] = read_back(value)
        except UnwrittenError:
            found[name] = value
    return found


def _value(node: ast.expr) -> Written:
    match node:
        case ast.Constant(value=None | bool() | int() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Call(func=ast.Name(id="frozenset"), args=[]):
            return ()
        case ast.Call(func=ast.Name(id="frozenset"), args=[one]):
            return _value(one)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="datetime"), attr="datetime"), args=args):
            return datetime(*_numbers(args), tzinfo=UTC)  # type: ignore[misc, arg-type]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="datetime"), attr="date"), args=args):
            return date(*_numbers(args))
        case ast.Call(func=ast.Name(id=kind), args=[], keywords=keywords):
            return Thing(kind, {str(keyword.arg): _value(keyword.value) for keyword in keywords})
        case _:
            raise UnwrittenError(ast.dump(node)[:80])


def _numbers(args: list[ast.expr]) -> list[int]:
    numbers = [_value(one) for one in args]
    if not all(isinstance(number, int) for number in numbers):
        raise UnwrittenError("no date")
    return [number for number in numbers if isinstance(number, int)]
