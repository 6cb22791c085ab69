"""Stations over HTTP: seen by everybody who signed in, adopted and configured by the administrator."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import NOT_STORED, Refusal
from llm_adapters.web.api.shapes import STATION, is_hex, new_station, password_of
from llm_adapters.web.api.station_details import details
from llm_adapters.web.api.views import station_json, stations_json
from llm_core import (
    Fault,
    KeyHandover,
    Permission,
    PutStation,
    RemoveStation,
    Station,
    StationKeys,
    StoreError,
)

_ASK_FOR_KEY = (1, 2)


async def _list(call: Call) -> Response:
    return JsonResponse(stations_json(call.state, call.now_ms, _keys(call)))


async def _show(call: Call) -> Response:
    return _shown(call, call.named("id"))


async def _add(call: Call) -> Response:
    site = call.state.site
    body = await call.json()
    station = STATION.read(body, new_station("", site))
    if site.station(station.id) is not None:
        raise Refusal(409, f"There is a station “{station.id}” already.", (Fault("/id", "is taken"),))
    return await _put_with_key(call, station, body, 201)


async def _adopt(call: Call) -> Response:
    station_id = call.named("id")
    body = await call.json()
    state = call.state
    if state.site.station(station_id) is not None:
        raise Refusal(409, f"The station “{station_id}” is adopted already; change it with PATCH.")
    if station_id not in state.stations:
        raise _unknown(station_id)
    return await _put_with_key(call, _read(body, new_station(station_id, state.site)), body, 201)


async def _change(call: Call) -> Response:
    body = await call.json()
    return await _put_with_key(call, _read(body, _configured(call)), body)


async def _remove(call: Call) -> Response:
    station_id = _configured(call).id
    await call.edit(RemoveStation(station_id), "/stations")
    await _set_key(call, station_id, None)
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


async def _put_with_key(call: Call, station: Station, body: object, status: int = 200) -> Response:
    """Put the station, then its key: a refused change leaves the key alone; a profile without one lets nobody in."""
    password = password_of(body)
    if status == 201 and password is None:
        password = b""  # a new station has no key of an older one with its id
    has_key = password != b"" if password is not None else call.desk.station_keys.has_key(station.id)
    if station.security_profile in _ASK_FOR_KEY and not has_key:
        raise Wrong(Fault("/security_profile", "asks for a password, and none is set"))
    await _put(call, station)
    if not password:
        if password is not None:
            await _set_key(call, station.id, None)
        return _shown(call, station.id, status)
    await _set_key(call, station.id, password)
    key = bytes.fromhex(password.decode()) if is_hex(password.decode()) else password
    return _shown(call, station.id, status, await call.desk.hand_key(station.id, key))


async def _set_key(call: Call, station_id: str, key: bytes | None) -> None:
    if key is None and not call.desk.station_keys.has_key(station_id):
        return
    try:
        await call.desk.station_keys.set_key(station_id, key, call.principal.name)
    except StoreError:
        raise Refusal(503, NOT_STORED) from None


async def _put(call: Call, station: Station) -> None:
    """Ask for this station; the core numbers it by its place in the site, new ones at the end."""
    ids = [known.id for known in call.state.site.stations]
    index = ids.index(station.id) if station.id in ids else len(ids)
    await call.edit(PutStation(station), f"/stations/{index}")


def _shown(call: Call, station_id: str, status: int = 200, handed: KeyHandover | None = None) -> Response:
    station = station_json(station_id, call.state, call.now_ms, _keys(call))
    if station is None:
        raise _unknown(station_id)
    if call.principal.may(Permission.ADMINISTER):
        station |= details(station_id, call.state)
    if handed is not None:
        station["password_handover"] = handed
    headers = {"Location": f"/api/v1/stations/{quote(station_id, safe='')}"} if status == 201 else None
    return JsonResponse(station, status, headers)


def _keys(call: Call) -> StationKeys | None:
    """For those only who may see how a station is configured."""
    return call.desk.station_keys if call.principal.may(Permission.ADMINISTER) else None


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
