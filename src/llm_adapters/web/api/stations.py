"""Stations over HTTP: seen by everybody who signed in, adopted and configured by the administrator."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.shapes import STATION, new_station
from llm_adapters.web.api.views import station_json, stations_json
from llm_core import Fault, Permission, PutStation, RemoveStation, Station


async def _list(call: Call) -> Response:
    return JsonResponse(stations_json(call.state, call.now_ms, configuration=_may_configure(call)))


async def _show(call: Call) -> Response:
    return _shown(call, call.named("id"))


async def _add(call: Call) -> Response:
    site = call.state.site
    station = STATION.read(await call.json(), new_station("", site))
    if site.station(station.id) is not None:
        raise Refusal(409, f"There is a station “{station.id}” already.", (Fault("/id", "is taken"),))
    await _put(call, station)
    return _shown(call, station.id, 201)


async def _adopt(call: Call) -> Response:
    station_id = call.named("id")
    body = await call.json()
    state = call.state
    if state.site.station(station_id) is not None:
        raise Refusal(409, f"The station “{station_id}” is adopted already; change it with PATCH.")
    if station_id not in state.stations:
        raise _unknown(station_id)
    await _put(call, _read(body, new_station(station_id, state.site)))
    return _shown(call, station_id, 201)


async def _change(call: Call) -> Response:
    body = await call.json()
    station = _configured(call)
    await _put(call, _read(body, station))
    return _shown(call, station.id)


async def _remove(call: Call) -> Response:
    await call.edit(RemoveStation(_configured(call).id), "/stations")
    return Response(status_code=204)


def _read(body: object, base: Station) -> Station:
    station = STATION.read(body, base, partial=True)
    if station.id != base.id:
        raise Wrong(Fault("/id", "cannot be changed: the station itself goes by this name"))
    return station


def _configured(call: Call) -> Station:
    station_id = call.named("id")
    station = call.state.site.station(station_id)
    if station is not None:
        return station
    if station_id in call.state.stations:
        raise Refusal(409, f"The station “{station_id}” waits to be adopted first.")
    raise _unknown(station_id)


async def _put(call: Call, station: Station) -> None:
    """Ask for this station; the core numbers it by its place in the site, new ones at the end."""
    ids = [known.id for known in call.state.site.stations]
    index = ids.index(station.id) if station.id in ids else len(ids)
    await call.edit(PutStation(station), f"/stations/{index}")


def _shown(call: Call, station_id: str, status: int = 200) -> Response:
    station = station_json(station_id, call.state, call.now_ms, configuration=_may_configure(call))
    if station is None:
        raise _unknown(station_id)
    headers = {"Location": f"/api/v1/stations/{quote(station_id, safe='')}"} if status == 201 else None
    return JsonResponse(station, status, headers)


def _may_configure(call: Call) -> bool:
    return call.principal.may(Permission.ADMINISTER)


def _unknown(station_id: str) -> Refusal:
    return Refusal(404, f"There is no station “{station_id}”.")


_SEE, _ADMINISTER = Permission.SEE_DASHBOARD, Permission.ADMINISTER
_ONE = "/stations/{id}"
OPERATIONS = (
    Operation("GET", "/stations", _SEE, "All stations, those that wait to be adopted last.", _list),
    Operation(
        "POST", "/stations", _ADMINISTER, "Add a station before it connects.", _add, takes=STATION.schema, success=201
    ),
    Operation("GET", _ONE, _SEE, "One station.", _show),
    Operation("PATCH", _ONE, _ADMINISTER, "Change the given fields.", _change, takes=STATION.optional_schema),
    Operation("DELETE", _ONE, _ADMINISTER, "Forget a station; it may ask to be adopted again.", _remove, success=204),
    Operation(
        "POST",
        f"{_ONE}/adopt",
        _ADMINISTER,
        "Adopt a station that waits.",
        _adopt,
        takes=STATION.optional_schema,
        success=201,
    ),
)
