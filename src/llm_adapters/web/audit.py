"""The audit trail as a page: who changed what, when, from what to what, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.audit_words import ACCOUNTS, CHANGES, PARTS, SETTINGS, STANDINGS
from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.orders import TOLD
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.rows import Listing
from llm_adapters.web.told import told_plainly
from llm_adapters.web.words import FINDINGS, ROLES, TRIALS, Words
from llm_adapters.web.written import Thing, UnwrittenError, Written, named_parts, read_back
from llm_core import AuditEntry, Finding, Order, Permission, Role, Site, Trial

ROWS = 50
LONGEST_TEXT = 200
MOST_PARTS = 12
KEYS = ("id", "node", "station_id", "badge_id")
ORDERS = frozenset(map(str, Order)) - {str(Order.COMMISSION)}
Part = tuple[str, str, str]


@attrs.frozen
class AuditRow:
    """A change as shown; `parts` are the settings that differ, each as name, old, new; `more` of them are left out."""

    at: str
    by: str
    what: str
    subject: str
    parts: tuple[Part, ...]
    more: int = 0


def audit_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, listing = words_for(request, desk), Listing.of(request.query_params)
        skip, site = (listing.page - 1) * ROWS, desk.inbox.state.site
        found = [entry async for entry in desk.archive.audit(ROWS + 1, skip=skip, text=listing.query)]
        rows = [audit_row(entry, words, site) for entry in found[:ROWS]]
        return page(request, desk, "audit.html", principal, rows=rows, listing=listing, has_more=len(found) > ROWS)

    return [guarded(desk, "/audit", Permission.ADMINISTER, index)]


def audit_row(entry: AuditEntry, words: Words, site: Site) -> AuditRow:
    """A change in the reader's words; what nobody knows how to say stays as it was written."""
    what, subject, parts = _said(entry, words, site)
    kept = parts[:MOST_PARTS]
    return AuditRow(words.stamp(entry.at), entry.by, what, subject, kept, len(parts) - len(kept))


def _said(entry: AuditEntry, words: Words, site: Site) -> tuple[str, str, tuple[Part, ...]]:
    for prefix, title in ACCOUNTS.items():
        if entry.what.startswith(prefix):
            part = ("", _standing(entry.old, words), _standing(entry.new, words) or words(STANDINGS["removed"]))
            return words(title), entry.what.removeprefix(prefix), (part,)
    what = words(CHANGES[entry.what]) if entry.what in CHANGES else entry.what
    if entry.what in ORDERS:
        place, detail = _place(entry.old, words, site)
        return what, place, ((detail, "", _outcome(entry.new, words)),)
    match entry.what:
        case "commission":
            return what, words.station(site, entry.old), _trials(entry.new, words)
        case "station password":
            return what, words.station(site, entry.old), (("", "", _standing(entry.new, words)),)
        case "badge scan" | "station scan":
            where, _, seconds = entry.new.rpartition(", ")
            stations = ", ".join(words.station(site, one) for one in where.split(", ")) if where else ""
            lasts = words("%(n)s s", n=seconds.removesuffix(" s"))
            return what, words(STANDINGS[where]) if where in STANDINGS else stations, (("", "", lasts),)
        case _:
            return what, *_settings(entry, words, site)


# Values with settings


def _settings(entry: AuditEntry, words: Words, site: Site) -> tuple[str, tuple[Part, ...]]:
    found = re.fullmatch(r"(Badge\(.*\)) found at (.*)", entry.new, re.DOTALL)
    new_text = found[1] if found is not None else entry.new
    try:
        old, new = _read(entry.what, entry.old), _read(entry.what, new_text)
    except UnwrittenError:
        return "", (("", _short(entry.old), _short(entry.new)),)
    parts = tuple(_differences(old, new, words, site))
    if found is not None:
        parts = (*parts, (words("Found at"), "", words.station(site, found[2])))
    one = new if isinstance(new, Thing) else old
    return _name(one, words, site) if isinstance(one, Thing) else "", parts


def _read(what: str, text: str) -> Written:
    match what:
        case _ if text == "":
            return None
        case "PutAccess":
            return Thing("PutAccess", named_parts(text, ", "))
        case "configuration":
            return Thing("Site", named_parts(text, "; "))
        case _:
            return read_back(text)


def _differences(old: Written, new: Written, words: Words, site: Site, of: str = "") -> Iterator[Part]:
    """What differs, setting by setting; `of` names whose settings they are."""
    match old, new:
        case Thing(), Thing():
            yield from _within(old, new, words, site, of)
        case None, Thing():
            blank = Thing(new.kind, dict.fromkeys(new.parts))
            yield from (part for part in _within(blank, new, words, site, of) if part[2])
        case Thing(), None:
            yield of, "", words(STANDINGS["removed"])
        case (tuple() | None, tuple()) | (tuple(), None):
            before, after = _by_key(old), _by_key(new)
            for key in dict.fromkeys((*before, *after)):
                one = after.get(key) or before[key]
                yield from _differences(before.get(key), after.get(key), words, site, _name(one, words, site))
        case _:
            if old != new:
                yield of, _short(str(old or "")), _short(str(new or ""))


def _within(old: Thing, new: Thing, words: Words, site: Site, of: str) -> Iterator[Part]:
    is_new = all(value is None for value in old.parts.values())
    for name, value in new.parts.items():
        before = old.parts.get(name)
        if before == value or (is_new and (name in KEYS or value in ("", False, ()))):
            continue
        known = SETTINGS.get(new.kind, PARTS if new.kind == "Site" else {}).get(name)
        if known is not None:
            label, say = known
            label = f"{of} · {words(label)}" if of else words(label)
            yield label, "" if is_new else say(before, words, site), say(value, words, site)
        elif isinstance(value, Thing | tuple):
            yield from _differences(before, value, words, site)
        else:
            yield name, _short(str(before or "")), _short(str(value or ""))


def _by_key(value: Written) -> Mapping[str, Thing]:
    things = [one for one in value if isinstance(one, Thing)] if isinstance(value, tuple) else []
    return {_key(one): one for one in things}


def _key(one: Thing) -> str:
    return next((str(one.parts[name]) for name in KEYS if one.parts.get(name)), "")


def _name(one: Thing, words: Words, site: Site) -> str:
    """What people call it: the badge with its user, the limit by its place, anything else by its name."""
    if one.kind == "Badge":
        return " · ".join(str(one.parts[name]) for name in ("badge_id", "comment") if one.parts.get(name))
    if one.kind in ("MeterSetup", "ExternalLimit"):
        return words.node_title(site, str(one.parts.get("node")))
    return str(one.parts.get("name") or _key(one)) if one.kind in ("Station", "Cluster") else ""


# Orders, tests and accounts


def _place(old: str, words: Words, site: Site) -> tuple[str, str]:
    """Where an order was for, and what was told with it; the id of a station may hold blanks."""
    known = [station.id for station in site.stations if re.match(rf"{re.escape(station.id)}(/|\s|$)", old)]
    station_id = max(known, key=len, default=re.split(r"[/ ]", old)[0])
    connector, _, detail = old.removeprefix(station_id).removeprefix("/").partition(" ")
    name = words.station(site, station_id)
    return f"{name} · {connector}" if connector else name, _short(detail)


def _outcome(outcome: str, words: Words) -> str:
    if outcome in STANDINGS:
        return words(STANDINGS[outcome])
    if outcome in TOLD and outcome != "saved":
        return words(TOLD[outcome])
    return told_plainly(outcome, words)


def _trials(new: str, words: Words) -> tuple[Part, ...]:
    """What a test found, trial by trial; one that was broken off says why."""
    pairs = [part.rpartition(" ") for part in new.split(", ")]
    if not all(trial in TRIALS and finding in FINDINGS for trial, _, finding in pairs):
        return (("", "", told_plainly(new, words)),)
    return tuple((words(TRIALS[Trial(t)]), "", words(FINDINGS[Finding(f)])) for t, _, f in pairs)


def _standing(text: str, words: Words) -> str:
    if text in STANDINGS:
        return words(STANDINGS[text])
    return words(ROLES[Role(text)]) if text in ROLES else text


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
