"""Reads TOML tables strictly: every key is asked for by its kind; what is left over or wrong is told with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
Amps3 = tuple[float, float, float]
PHASES = ("L1", "L2", "L3")
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?) ?h)? ?(?:(\d+(?:\.\d+)?) ?min)? ?(?:(\d+(?:\.\d+)?) ?s)?")
_LEFT_OUT: Any = object()


class Table:
    """One table of a file; `faults` is shared by all tables of that file.

    Every reader returns a usable value whatever the file says, so that all faults are found in one go. A key without
    a default must be there.
    """

    def __init__(self, content: Mapping[str, Any], place: str, faults: list[str]) -> None:
        self.place = place
        self._content = dict(content)
        self._faults = faults

    def fault(self, text: str, key: str | None = None) -> None:
        """Note what is wrong, at `key` of this table."""
        where = [part for part in (self.place, key) if part]
        self._faults.append(f"{', '.join(where)}: {text}" if where else text)

    def has(self, key: str) -> bool:
        return key in self._content

    def finish(self) -> None:
        """Every key that nobody asked for is a fault."""
        for key in self._content:
            self.fault("there is no such key here", key)

    def text(self, key: str, default: T = _LEFT_OUT) -> str | T:
        value = self._take(key, default)
        if value is default or isinstance(value, str):
            return value
        self.fault(f"must be a text, not {value!r}", key)
        return ""

    def choice(self, key: str, options: Iterable[str], default: T = _LEFT_OUT) -> str | T:
        value = self.text(key, default)
        known = list(options)
        if value is default or value in known:
            return value
        self.fault(f"“{value}” is none of: {', '.join(known)}", key)
        return known[0]

    def number(
        self, key: str, default: T = _LEFT_OUT, *, least: float = -math.inf, most: float = math.inf
    ) -> float | T:
        value = self._take(key, default)
        if value is default:
            return value
        if not _is_number(value):
            self.fault(f"must be a number, not {value!r}", key)
            return max(least, 0.0)
        if not least <= value <= most:
            self.fault(f"{value:g} does not lie between {least:g} and {most:g}", key)
            return max(least, 0.0)
        return float(value)

    def whole(self, key: str, default: int, *, least: int, most: int) -> int:
        value = self.number(key, float(default), least=least, most=most)
        if value != int(value):
            self.fault(f"must be a whole number, not {value:g}", key)
        return int(value)

    def yes(self, key: str, default: bool = False) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            self.fault(f"must be true or false, not {value!r}", key)
            return default
        return value

    def span(self, key: str, default: T = _LEFT_OUT) -> float | T:
        """A time written as “1 h 30 min”, “90 s”; seconds."""
        value = self._take(key, default)
        if value is default:
            return value
        parts = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
        if parts is None or not any(parts.groups()):
            self.fault(f"{value!r} is no time; write it as “90 s”, “5 min” or “1 h 30 min”", key)
            return 0.0
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds

    def amps(self, key: str, default: T = _LEFT_OUT, *, least: float = 0.0, absent: float = 0.0) -> Amps3 | T:
        """A current: one number for all phases, or {L1 = …, L2 = …}; a phase that is not named gets `absent`."""
        value = self._take(key, default)
        if value is default:
            return value
        named = dict.fromkeys(PHASES, value) if _is_number(value) else value
        if not isinstance(named, dict) or not all(name in PHASES and _is_number(a) for name, a in named.items()):
            self.fault(f"must be amps or {{L1 = …, L2 = …, L3 = …}}, not {value!r}", key)
            named = {}
        elif min(named.values(), default=least) < least:
            self.fault(f"is below {least:g} A", key)
        a, b, c = (float(named.get(name, absent)) for name in PHASES)
        return (a, b, c)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._take(key, default)
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
            self.fault(f"must be a text or a list of texts, not {value!r}", key)
            return default
        return tuple(value)

    def bounds(self, key: str, tolerance: float) -> tuple[float, float]:
        """A number (give or take `tolerance`), [from, to], {at_least = …} or {at_most = …}."""
        match self._take(key, _LEFT_OUT):
            case bool():
                pass
            case int() | float() as value:
                return (value - tolerance, value + tolerance)
            case [int() | float() as least, int() | float() as most] if least <= most:
                return (least, most)
            case {"at_least": int() | float() as least, **others} if not others:
                return (least, math.inf)
            case {"at_most": int() | float() as most, **others} if not others:
                return (-math.inf, most)
        self.fault("must be a number, [from, to], {at_least = …} or {at_most = …}", key)
        return (-math.inf, math.inf)

    def table(self, key: str) -> Table:
        """The table under `key`, an empty one where there is none."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            self.fault("must be a table", key)
            value = {}
        return Table(value, key if not self.place else f"{self.place}, {key}", self._faults)

    def tables(self, key: str) -> list[Table]:
        """The tables of a list, numbered from 1 in their place."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.fault(f"must be written as [[{key}]]", key)
            value = []
        return [Table(entry, f"{key} {number}", self._faults) for number, entry in enumerate(value, 1)]

    def _take(self, key: str, default: Any) -> Any:
        if key in self._content:
            return self._content.pop(key)
        if default is _LEFT_OUT:
            self.fault("is missing", key)
            return 0
        return default


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
