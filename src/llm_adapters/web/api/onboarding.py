"""Taking stations in over HTTP: the search, the address to type into a station, and several changed at once."""

from __future__ import annotations

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Member, Record, Shape, Wrong, listed, part, whole
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.shapes import ID, MOST_ENTRIES, STATION
from llm_adapters.web.api.views import station_json
from llm_adapters.web.desk import Desk
from llm_core import (
    Fault,
    Permission,
    PutStations,
    SiteEdited,
    State,
    Station,
    StationScanStarted,
    StationScanStopped,
    found_stations,
)


@attrs.frozen
class Wanted:
    """A search as asked for."""

    duration_s: int = 180


_SCAN: Record[Wanted] = Record(Member("duration_s", "duration_s", whole(0, 86_400)))


async def _start(call: Call) -> Response:
    wanted = _SCAN.read(await call.json(), Wanted())
    await call.ask(StationScanStarted(call.principal.name, wanted.duration_s))
    return JsonResponse(station_scan_json(call.desk, call.state, call.now_ms), 201)


async def _stop(call: Call) -> Response:
    await call.ask(StationScanStopped(call.principal.name))
    return JsonResponse(station_scan_json(call.desk, call.state, call.now_ms))


async def _show(call: Call) -> Response:
    return JsonResponse(station_scan_json(call.desk, call.state, call.now_ms))


def station_scan_json(desk: Desk, state: State, now_ms: int) -> dict[str, Json]:
    """The search that runs or the last one, who waits to be adopted, and what to type into a station."""
    scan = state.station_scan
    found = [station_json(station_id, state, now_ms, None) for station_id in found_stations(state)]
    since_ms = scan.since_ms if scan is not None else None
    return {
        "active": scan is not None and scan.is_open(now_ms),
        "remaining_s": max(0, -((now_ms - scan.until_ms) // 1000)) if scan is not None else 0,
        "station_url": desk.station_url,
        "station_tls_url": desk.station_tls_url,
        "neighbours": [dict[str, Json](neighbour) for neighbour in desk.neighbours()],
        "found": [
            {**station, "new": since_ms is not None and state.stations[str(station["id"])].since_ms >= since_ms}
            for station in found
            if station is not None
        ],
    }


@attrs.frozen
class _Several:
    """Stations, and what all of them are to have in common."""

    ids: tuple[str, ...] = ()
    fields: object = None


_COMMON: Record[Station] = STATION.without("id", "password")
_SEVERAL: Record[_Several] = Record(
    Member("ids", "ids", listed(ID, MOST_ENTRIES), required=True),
    Member("fields", "fields", Shape(lambda value: value, lambda _: None, _COMMON.optional_schema), required=True),
)


async def _change_several(call: Call) -> Response:
    """All of them or none."""
    asked = _SEVERAL.read(await call.json(), _Several())
    site, keys = call.state.site, call.desk.station_keys
    faults: list[Fault] = []
    changed: dict[str, Station] = {}
    for index, station_id in enumerate(asked.ids):
        before = site.station(station_id)
        if before is None:
            faults.append(Fault(f"/ids/{index}", f"there is no adopted station “{station_id}”"))
            continue
        with part("fields", faults):
            after = _COMMON.read(asked.fields, before, partial=True)
            changed[station_id] = after
            if after.security_profile in (1, 2) and not keys.has_key(station_id):
                faults.append(Fault("/fields/security_profile", f"asks for a password, and “{station_id}” has none"))
    if faults:
        raise Wrong(*dict.fromkeys(faults))
    # No fault of the core lies in one field of the body: each names its station.
    await call.ask(SiteEdited(call.principal.name, PutStations(tuple(changed.values()))), "/several")
    return JsonResponse({"changed": len(changed)})


_ADMINISTER = Permission.ADMINISTER
OPERATIONS = (
    Operation("GET", "/scan", _ADMINISTER, "The search for stations, and who waits to be adopted.", _show),
    Operation("POST", "/scan", _ADMINISTER, "Watch for stations that call.", _start, takes=_SCAN.schema, success=201),
    Operation("DELETE", "/scan", _ADMINISTER, "End the search.", _stop),
    Operation(
        "PATCH",
        "/stations",
        _ADMINISTER,
        "Change several stations alike, all or none.",
        _change_several,
        takes=_SEVERAL.schema,
    ),
)
