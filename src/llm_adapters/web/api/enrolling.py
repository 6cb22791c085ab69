"""Badges that stations have seen: a search for them, and the attempts that were refused."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Member, Record, all_or_chosen, whole
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.shapes import BADGE, ID, MOST_ENTRIES
from llm_adapters.web.api.views import stamp, station_name
from llm_core import (
    Badge,
    BadgeScanStarted,
    BadgeScanStopped,
    Fault,
    Permission,
    RefusedStart,
    State,
    normalise,
)


@attrs.frozen
class Wanted:
    """A search as asked for."""

    stations: frozenset[str] | None = None
    duration_s: int = 180


_SCAN: Record[Wanted] = Record(
    Member("stations", "stations", all_or_chosen(ID, MOST_ENTRIES)),
    Member("duration_s", "duration_s", whole(0, 3600)),
)


async def _start(call: Call) -> Response:
    wanted = _SCAN.read(await call.json(), Wanted())
    await call.ask(BadgeScanStarted(call.principal.name, wanted.stations, wanted.duration_s))
    return JsonResponse(scan_json(call.state, call.now_ms), 201)


async def _stop(call: Call) -> Response:
    await call.ask(BadgeScanStopped(call.principal.name))
    return JsonResponse(scan_json(call.state, call.now_ms))


async def _show(call: Call) -> Response:
    return JsonResponse(scan_json(call.state, call.now_ms))


def scan_json(state: State, now_ms: int) -> dict[str, Json]:
    """The search that runs, or what the last one found."""
    scan = state.badge_scan
    if scan is None:
        return {"active": False, "remaining_s": 0, "stations": "all", "found": []}
    return {
        "active": scan.is_open(now_ms),
        "remaining_s": max(0, -((now_ms - scan.until_ms) // 1000)),
        "stations": "all" if scan.stations is None else list[Json](sorted(scan.stations)),
        "found": [
            {
                "badge_id": found.id_tag,
                "station_id": found.station_id,
                "station_name": station_name(found.station_id, state),
                "at": stamp(found.at),
                "known": found.known,
                "state": badge.state if (badge := state.badge(found.id_tag)) is not None else None,
            }
            for found in scan.found
        ],
    }


async def _refused(call: Call) -> Response:
    return JsonResponse([_refusal(refusal, call.state) for refusal in newest_refusals(call.state)])


def newest_refusals(state: State) -> Iterator[RefusedStart]:
    """The last attempts that were refused, the newest first."""
    yield from sorted(state.refusals, key=lambda refusal: refusal.at, reverse=True)


def _refusal(refusal: RefusedStart, state: State) -> Json:
    return {
        "badge_id": refusal.id_tag,
        "station_id": refusal.station_id,
        "station_name": station_name(refusal.station_id, state),
        "at": stamp(refusal.at),
        "verdict": refusal.verdict,
        "known": state.badge(refusal.id_tag) is not None,
    }


async def _enrol(call: Call) -> Response:
    """A badge of a tag that was refused; the body says what else is to be known of it."""
    key = normalise(call.named("id"))
    refusal = next((refusal for refusal in newest_refusals(call.state) if normalise(refusal.id_tag) == key), None)
    if refusal is None:
        raise Refusal(404, f"No attempt with the badge “{call.named('id')}” was refused lately.")
    if key in call.state.badges:
        raise Refusal(409, f"There is a badge “{refusal.id_tag}” already.", (Fault("/badge_id", "is taken"),))
    badge = BADGE.read(await call.json(), Badge(refusal.id_tag), partial=True)
    if normalise(badge.badge_id) != key:
        raise Refusal(422, "The body names another badge.", (Fault("/badge_id", "is not the one refused"),))
    await call.edit_badges((badge,))
    location = f"/api/v1/badges/{quote(badge.badge_id, safe='')}"
    return JsonResponse(BADGE.write(badge), 201, {"Location": location})


_MANAGE = Permission.MANAGE_BADGES
OPERATIONS = (
    Operation("GET", "/badges/scan", _MANAGE, "The search for badges, and what it found.", _show),
    Operation(
        "POST",
        "/badges/scan",
        _MANAGE,
        "Search: unknown badges held to these stations become pending ones.",
        _start,
        takes=_SCAN.schema,
        success=201,
    ),
    Operation("DELETE", "/badges/scan", _MANAGE, "End the search.", _stop),
    Operation("GET", "/badges/refused", _MANAGE, "The last attempts that were refused, newest first.", _refused),
    Operation(
        "POST",
        "/badges/refused/{id}",
        _MANAGE,
        "Make a badge of a tag that was refused.",
        _enrol,
        takes=BADGE.optional_schema,
        gives=BADGE.schema,
        success=201,
    ),
)
