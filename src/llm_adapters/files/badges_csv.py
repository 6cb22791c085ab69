"""Badges from a spreadsheet: every line is judged, and either all of them are taken or none.

What comes is whatever a spreadsheet saved: `,` or `;`, with or without a byte order mark, empty lines at the end.
A fault points to its line and column (`/7/expirationDate`; line 1 is the header).
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import date

import attrs

from llm_core import LONGEST_TAG, Badge, BadgeState, BadgeType, Fault, NotSaved, normalise

COLUMNS = ("badgeId", "type", "comment", "expirationDate", "email")
MOST_BYTES = 5 * 1024 * 1024
MOST_LINES = 100_000
_MOST_FAULTS = 100
_LONGEST_TEXT = 200
_LONGEST_ID = 64
_DATE = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

_Line = tuple[int, Mapping[str, str]]


class _Unreadable(ValueError):
    """The file cannot be read on from this line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.fault = Fault(f"/{line}", f"line {line}: {text}")


def parse_badges(data: bytes, known: Mapping[str, Badge]) -> tuple[Badge, ...] | NotSaved:
    """The badges of a file, or what is wrong with it, line by line.

    `known` are the present badges by `normalise(badge_id)`: one that comes again keeps what the file does not say
    (its spelling, group, stations, and whether it is active; a pending one becomes active).
    """
    try:
        lines = tuple(_lines(_text(data)))
    except _Unreadable as unreadable:
        return NotSaved((unreadable.fault,))
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for number, cells in lines:
        faults += [_fault(number, column, text) for column, text in _wrong(cells)]
        earlier = first.setdefault(normalise(cells["badgeId"]), number)
        if earlier != number:
            faults.append(_fault(number, "badgeId", f"“{cells['badgeId']}” stands in line {earlier} already"))
    if faults:
        return NotSaved(_shortened(faults))
    return tuple(_badge(cells, known) for _, cells in lines)


def _text(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise _Unreadable(1, "the file is larger than 5 MiB")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable(1, "the file is in UTF-16; save it as “CSV UTF-8”")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Unreadable(
            line, "a letter is not in UTF-8 (the file may be Latin-1 or Windows-1252); save it as “CSV UTF-8”"
        ) from None
    if text.count("\n") + (not text.endswith("\n")) > MOST_LINES:
        raise _Unreadable(MOST_LINES + 1, f"the file has more than {MOST_LINES} lines")
    return text


def _lines(text: str) -> Iterator[_Line]:
    """The lines under the header, by column name; empty ones are left out."""
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in head else ",", strict=True)
    columns: tuple[str, ...] | None = None
    start = 1
    try:
        for row in reader:
            number, start = start, reader.line_num + 1
            cells = [cell.strip() for cell in row]
            if columns is None:
                columns = _header(cells)
            elif len(cells) > len(columns) and any(cells[len(columns) :]):
                raise _Unreadable(number, f"has {len(cells)} fields, the header names {len(columns)}")
            elif any(cells):
                yield number, dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=False))
    except csv.Error:
        raise _Unreadable(start, "a quotation mark is opened and never closed, or closed too early") from None
    if columns is None:
        raise _Unreadable(1, "the file is empty")


def _header(cells: list[str]) -> tuple[str, ...]:
    by_lower = {column.lower(): column for column in COLUMNS}
    columns = tuple(by_lower.get(cell.lower(), "") for cell in cells)
    if "badgeId" not in columns or "" in columns or len(set(columns)) != len(columns):
        raise _Unreadable(1, f"the header must be {','.join(COLUMNS)}")
    return columns


def _wrong(cells: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every cell that makes no sense: its column, and why."""
    if not 1 <= len(normalise(cells["badgeId"])) <= LONGEST_TAG or len(cells["badgeId"]) > _LONGEST_ID:
        yield "badgeId", f"“{cells['badgeId'][:_LONGEST_ID]}” must have 1 to {LONGEST_TAG} characters"
    if cells["type"].lower() not in tuple(BadgeType):
        yield "type", f"“{cells['type'][:20]}” must be STANDARD or SUPER"
    if cells["expirationDate"] and _date(cells["expirationDate"]) is None:
        yield "expirationDate", f"“{cells['expirationDate'][:20]}” is no date like 30.01.2030"
    if cells["email"] and _EMAIL.fullmatch(cells["email"]) is None:
        yield "email", f"“{cells['email'][:_LONGEST_ID]}” is no e-mail address"
    for column, text in cells.items():
        if len(text) > _LONGEST_TEXT:
            yield column, f"has more than {_LONGEST_TEXT} characters"
        if any(unicodedata.category(letter) == "Cc" for letter in text):
            yield column, "holds a character that cannot be shown"


def _badge(cells: Mapping[str, str], known: Mapping[str, Badge]) -> Badge:
    badge = known.get(normalise(cells["badgeId"]), Badge(cells["badgeId"]))
    return attrs.evolve(
        badge,
        type=BadgeType(cells["type"].lower()),
        comment=cells["comment"],
        email=cells["email"],
        expires_on=_date(cells["expirationDate"]),
        state=BadgeState.ACTIVE if badge.state is BadgeState.PENDING else badge.state,
    )


def _date(text: str) -> date | None:
    found = _DATE.fullmatch(text)
    try:
        return date(int(found[3]), int(found[2]), int(found[1])) if found is not None else None
    except ValueError:
        return None


def _fault(number: int, column: str, text: str) -> Fault:
    return Fault(f"/{number}/{column}", f"line {number}: {column} {text}")


def _shortened(faults: list[Fault]) -> tuple[Fault, ...]:
    if len(faults) <= _MOST_FAULTS:
        return tuple(faults)
    return (*faults[:_MOST_FAULTS], Fault("", f"and {len(faults) - _MOST_FAULTS} more"))
