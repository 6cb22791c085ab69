"""The connection to a charge point operator over HTTP: settings, how each station stands, and what was refused.

Secrets go in and never come out: `GET` tells only that there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import (
    BOOLEAN,
    Json,
    Member,
    Record,
    Schema,
    Shape,
    Wrong,
    listed,
    nullable,
    part,
    text,
    under,
    word,
    wrong,
)
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import NOT_STORED, Refusal
from llm_core import (
    CpoServer,
    Fault,
    OfflinePolicy,
    Permission,
    PutUplink,
    QueueLengths,
    Site,
    SiteError,
    StoreError,
    Uplink,
    UplinkState,
    UplinkStation,
    UplinkStatus,
    check,
    edited,
)

PASSWORD, KEY = "password", "certificate_key"
MOST_STATIONS = 10_000
MOST_REFUSED = 100
PEM = text(65_536)

Secrets = Mapping[tuple[str, str], str | None]


def _pem() -> Shape[str]:
    """Certificates or a key as they stand in a file, or nothing."""

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > 65_536 or not value.isascii():
            raise wrong("must be text of a PEM file")
        if value.strip() and "-----BEGIN " not in value:
            raise wrong("must be a PEM file, with a line like -----BEGIN CERTIFICATE-----")
        return value.strip()

    return Shape(read, lambda value: value, {"type": "string", "maxLength": 65_536})


_SHOWN: Shape[None] = Shape(lambda _: None, lambda _: None, {"description": "Only shown: what is sent is ignored."})
_URL = text(512)
_SERVER: Record[CpoServer] = Record(
    Member("name", "name", text(100, least=1), required=True), Member("url", "url", _URL, required=True)
)
_SHOWN_OF_STATION = ("password_set", "certificate_key_set", "status")


@attrs.frozen
class _Entry:
    """A station in a body: what of it goes into the site, and its secrets (None: as they are)."""

    ocpp_id: str = ""
    url: str | None = None
    certificate: str = ""
    password: str | None = attrs.field(default=None, repr=False)
    certificate_key: str | None = attrs.field(default=None, repr=False)


_ENTRY: Record[_Entry] = Record(
    Member("ocpp_id", "ocpp_id", text(64), required=True),
    Member("url", "url", nullable(_URL)),
    Member("certificate", "certificate", _pem()),
    Member(PASSWORD, "password", nullable(text(255))),
    Member(KEY, "certificate_key", nullable(_pem())),
    *(Member(name, None, _SHOWN) for name in _SHOWN_OF_STATION),
)
_SETTINGS: Record[Uplink] = Record(
    Member("enabled", "enabled", BOOLEAN),
    Member("url", "url", _URL),
    Member("offline", "offline", word(OfflinePolicy)),
    Member("ca", "ca", _pem()),
    Member("servers", "servers", listed(_SERVER.shape(CpoServer("", "")), 100)),
)
_STATIONS: Schema = {"type": "object", "additionalProperties": _ENTRY.schema}
SCHEMA: Schema = {
    **_SETTINGS.schema,
    "properties": {**dict(_SETTINGS.schema["properties"]), "stations": _STATIONS},  # type: ignore[arg-type]
}


def read_uplink(body: object) -> tuple[Uplink, Secrets]:
    """The settings in a body, and the secrets that it changes (None: removed)."""
    if not isinstance(body, dict):
        raise wrong("must be an object")
    faults: list[Fault] = []
    uplink, entries = Uplink(), {}
    try:
        uplink = _SETTINGS.read({name: value for name, value in body.items() if name != "stations"}, Uplink())
    except Wrong as error:
        faults += error.faults
    stations = body.get("stations", {})
    if not isinstance(stations, dict) or len(stations) > MOST_STATIONS:
        faults.append(Fault("/stations", "must be an object with an entry for each station"))
        stations = {}
    for station_id, value in stations.items():
        inside: list[Fault] = []
        with part(str(station_id), inside):
            entries[str(station_id)] = _ENTRY.read(value, _Entry())
        faults += under("stations", inside)
    if faults:
        raise Wrong(*faults)
    chosen = tuple(UplinkStation(name, e.ocpp_id, e.url, e.certificate) for name, e in entries.items())
    given = {(name, PASSWORD): e.password for name, e in entries.items()}
    given |= {(name, KEY): e.certificate_key for name, e in entries.items()}
    secrets = {key: value or None for key, value in given.items() if value is not None}
    return attrs.evolve(uplink, stations=chosen), secrets


def write_uplink(
    uplink: Uplink, names: frozenset[tuple[str, str]], statuses: Mapping[str, UplinkStatus]
) -> dict[str, Json]:
    """The settings with how each station stands; of secrets only whether there is one."""
    stations: dict[str, Json] = {}
    for entry in uplink.stations:
        status = statuses.get(entry.station_id)
        stations[entry.station_id] = {
            "ocpp_id": entry.ocpp_id,
            "url": entry.url,
            "certificate": entry.certificate,
            PASSWORD: None,
            "password_set": (entry.station_id, PASSWORD) in names,
            KEY: None,
            "certificate_key_set": (entry.station_id, KEY) in names,
            "status": _status(uplink, status),
        }
    return {**_SETTINGS.write(uplink), "stations": stations}


def _status(uplink: Uplink, status: UplinkStatus | None) -> Json:
    queue = QueueLengths() if status is None else QueueLengths(status.queued, status.refused, status.doubtful)
    state = UplinkState.OFF if not uplink.enabled else UplinkState.CONNECTING if status is None else status.state
    return {
        "state": state.value,
        "since": None if status is None else status.since.isoformat().replace("+00:00", "Z"),
        "queued": queue.waiting,
        "refused": queue.refused,
        "doubtful": queue.doubtful,
        "error": "" if status is None else status.error,
    }


def settings_json(uplink: Uplink) -> dict[str, Json]:
    """The settings as a file holds them: without any secret and without what is only shown."""
    stations: dict[str, Json] = {
        entry.station_id: {"ocpp_id": entry.ocpp_id, "url": entry.url, "certificate": entry.certificate}
        for entry in uplink.stations
    }
    return {**_SETTINGS.write(uplink), "stations": stations}


UPLINK: Shape[Uplink] = Shape(lambda value: read_uplink(value)[0], settings_json, SCHEMA)


async def _show(call: Call) -> Response:
    names = await call.desk.uplink.names()
    return JsonResponse(write_uplink(call.state.site.uplink, names, call.state.uplink))


async def _replace(call: Call) -> Response:
    uplink, secrets = read_uplink(await call.json())
    edit = PutUplink(uplink)
    if _fits(call.state.site, edit):  # else the edit is refused and no secret may change
        wanted = {entry.station_id for entry in uplink.stations}
        try:
            names = await call.desk.uplink.names()
            dropped = {key: None for key in names if key[0] not in wanted}
            await call.desk.uplink.keep({**dropped, **secrets}, call.principal.name)  # before anyone connects with them
        except StoreError:
            raise Refusal(503, NOT_STORED) from None
    await call.edit(edit, "/uplink")
    return await _show(call)


def _fits(site: Site, edit: PutUplink) -> bool:
    try:
        check(edited(site, edit))
    except SiteError:
        return False
    return True


async def _refused(call: Call) -> Response:
    station_id = call.named("id")
    if call.state.site.uplink.station(station_id) is None:
        raise Refusal(404, "There is no such station in the connection to the operator.")
    rows = await call.desk.uplink.refused(station_id, MOST_REFUSED)
    return JsonResponse(
        [
            {
                "kind": row.message.kind.value,
                "transaction_id": row.message.transaction_id,
                "cpo_transaction_id": row.cpo_transaction_id,
                "at": None if row.message.at is None else row.message.at.isoformat().replace("+00:00", "Z"),
                "reason": row.refusal,
            }
            for row in rows
        ]
    )


async def _retry(call: Call) -> Response:
    station_id = call.named("id")
    if call.state.site.uplink.station(station_id) is None:
        raise Refusal(404, "There is no such station in the connection to the operator.")
    try:
        await call.desk.uplink.retry_refused(station_id)
    except StoreError:
        raise Refusal(503, NOT_STORED) from None
    await call.edit(PutUplink(call.state.site.uplink), "/uplink")
    return JsonResponse({}, 202)


_SAID: Schema = {"type": "array", "items": {"type": "object"}}
OPERATIONS = (
    Operation("GET", "/uplink", Permission.ADMINISTER, "The connection to the operator.", _show, gives=SCHEMA),
    Operation(
        "PUT",
        "/uplink",
        Permission.ADMINISTER,
        "Replace the connection to the operator; the access rule follows. A secret of null is kept, of “” removed.",
        _replace,
        takes=SCHEMA,
        gives=SCHEMA,
    ),
    Operation(
        "GET",
        "/uplink/stations/{id}/refused",
        Permission.ADMINISTER,
        "What the operator refused for good, the newest first.",
        _refused,
        gives=_SAID,
    ),
    Operation(
        "POST",
        "/uplink/stations/{id}/retry",
        Permission.ADMINISTER,
        "Send once more what the operator refused.",
        _retry,
        success=202,
    ),
)
