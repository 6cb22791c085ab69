"""The audit trail as a page: who changed what, when, from what to what."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.rows import Listing
from llm_adapters.web.words import CHANGES
from llm_core import AuditEntry, Permission

ROWS = 50
LONGEST_TEXT = 200
SAYS_NOTHING = frozenset({"None", "''", "False", "()"})


@attrs.frozen
class AuditRow:
    """A change as shown; `parts` are the settings that differ, each as name, old, new."""

    at: str
    by: str
    what: str
    parts: tuple[tuple[str, str, str], ...]


def audit_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, listing = words_for(request, desk), Listing.of(request.query_params)
        skip = (listing.page - 1) * ROWS
        found = [entry async for entry in desk.archive.audit(ROWS + 1, skip=skip, text=listing.query)]
        rows = [AuditRow(words.stamp(e.at), e.by, words(CHANGES.get(e.what, e.what)), _parts(e)) for e in found[:ROWS]]
        return page(request, desk, "audit.html", principal, rows=rows, listing=listing, has_more=len(found) > ROWS)

    return [guarded(desk, "/audit", Permission.ADMINISTER, index)]


def _parts(entry: AuditEntry) -> tuple[tuple[str, str, str], ...]:
    """What differs, setting by setting where both sides name the same ones; else both sides as they are."""
    old, new = dict(_settings(entry.old)), dict(_settings(entry.new))
    if old.keys() == new.keys() and old:
        return tuple((name, _short(old[name]), _short(new[name])) for name in old if old[name] != new[name])
    if new and not entry.old:
        return tuple((name, "", _short(value)) for name, value in new.items() if value not in SAYS_NOTHING)
    return (("", _short(entry.old), _short(entry.new)),)


def _settings(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a value as it was written down: `Supply(mode=…, phases=3, …)`."""
    inside = re.fullmatch(r"\w+\((.*)\)", text, re.DOTALL)
    if inside is None:
        return
    depth, start, body = 0, 0, inside[1]
    for at, letter in enumerate(body):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield _named(body[start:at])
            start = at + 1
    if body[start:].strip():
        yield _named(body[start:])


def _named(setting: str) -> tuple[str, str]:
    name, _, value = setting.strip().partition("=")
    enum = re.fullmatch(r"<\w+\.\w+: '(.*)'>", value)
    return name, enum[1] if enum is not None else value


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
