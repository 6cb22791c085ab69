"""What flowed, over HTTP: JSON for scripts, columns for charts, CSV for spreadsheets; streamed, however long."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import attrs
from starlette.responses import Response, StreamingResponse

from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import DAY, Json, Wrong, amps_of, amps_per_phase, choice, part, word, wrong
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.periods import read_period
from llm_adapters.web.desk import Desk
from llm_core import SITE, Fault, Permission, PerPhase, Phase, Place, Slice, Span, State

_QUERY = {
    "node": "A node of the limit tree; the site when neither it nor a station is given.",
    "station": "A station, by its id.",
    "from": "The first day at the site, inclusive, or an instant like 2026-03-03T10:00Z; left out, the last 24 hours.",
    "to": "The last day at the site, inclusive, or an instant; at most a year after the first (days: ten years).",
    "step": "minute, quarter or day; left out, what suits the period. Minutes are kept for 31 days, quarters for 400.",
    "format": "json (default), csv, or columns (one list for each quantity, for charts).",
}
_FORMAT = choice("json", "csv", "columns")
_STEP = word(Span)
_BY_MINUTE, _BY_QUARTER = timedelta(days=2), timedelta(days=62)
_MOST_DAYS = timedelta(days=3_660)
_AMPS = ("total", "cars", "limit", "peak")
_OTHERS = ("power_w", "energy_wh", "cars_wh")


@attrs.frozen
class Asked:
    """Which slices are wanted: of a place, from [from, to)."""

    place: Place
    span: Span
    from_utc: datetime
    to_utc: datetime


async def _show(call: Call) -> Response:
    return answer(call.desk, call.request.query_params)


def answer(desk: Desk, given: Mapping[str, str]) -> Response:
    """What a question is answered with. Raises `Wrong` with every fault."""
    faults = [Fault(f"/{name}", "is not a parameter of this address") for name in given if name not in _QUERY]
    state = desk.inbox.state
    form = "json"
    with part("format", faults):
        form = _FORMAT.read(given.get("format", form))
    place, span = Place(SITE), None
    with part("station" if "station" in given else "node", faults):
        place = _place(given.get("node"), given.get("station"), state)
    with part("step", faults):
        span = _STEP.read(given["step"]) if "step" in given else None
    if faults:
        raise Wrong(*faults)
    zone = ZoneInfo(state.site.system.time_zone)
    from_utc, to_utc = read_instants(given.get("from"), given.get("to"), desk.clock.utc(), zone)
    asked = Asked(place, span or suiting(to_utc - from_utc), from_utc, to_utc)
    found = desk.history.slices(asked.place, asked.span, asked.from_utc, asked.to_utc)
    phases = state.site.supply.site_phases
    if form == "csv":
        headers = {"Content-Disposition": f'attachment; filename="{_file_name(asked, zone)}"'}
        return StreamingResponse(_as_csv(found, phases), headers=headers, media_type="text/csv")
    pieces = _as_json(found, asked, phases) if form == "json" else _as_columns(found, asked, phases)
    return StreamingResponse(pieces, media_type="application/json")


def _file_name(asked: Asked, zone: tzinfo) -> str:
    name = f"history_{asked.place.id}_{asked.from_utc.astimezone(zone):%Y-%m-%d}_{asked.span}.csv"
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)


def _place(node: str | None, station: str | None, state: State) -> Place:
    if node is not None and station is not None:
        raise wrong("is asked for with a node: one place at a time")
    if station is not None:
        if state.site.station(station) is None:
            raise wrong("there is no such station")
        return Place(station, is_station=True)
    wanted = SITE if node is None else node
    if all(known.id != wanted for known in state.site.limit_tree()):
        raise wrong("there is no such node")
    return Place(wanted)


def suiting(length: timedelta) -> Span:
    """The span of slices that shows a period well."""
    return Span.MINUTE if length <= _BY_MINUTE else Span.QUARTER if length <= _BY_QUARTER else Span.DAY


def read_instants(first: str | None, last: str | None, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The instants [from, to) of `from` and `to`: days at the site, both inclusive, or instants. Raises `Wrong`."""
    if first is None and last is None:
        return now - timedelta(days=1), now
    if _is_day(first) and _is_day(last):
        if first is not None and last is not None and _long(first, last):
            return _midnight(first, zone), _midnight(last, zone, 1)
        return read_period(first, last, now.astimezone(zone).date()).utc(zone)
    faults: list[Fault] = []
    from_utc = to_utc = now
    with part("to", faults):
        to_utc = _instant(last, zone, days=1) if last is not None else now
    with part("from", faults):
        from_utc = _instant(first, zone) if first is not None else to_utc - timedelta(days=1)
    if not faults and to_utc <= from_utc:
        faults.append(Fault("/to", "lies before the beginning"))
    if not faults and to_utc - from_utc > _MOST_DAYS:
        faults.append(Fault("/to", "is more than ten years after the beginning"))
    if faults:
        raise Wrong(*faults)
    return from_utc, to_utc


def _is_day(text: str | None) -> bool:
    return text is None or "T" not in text


def _long(first: str, last: str) -> bool:
    """Whether both are days, more than a year and at most ten apart: only days are kept for so long."""
    try:
        length = date.fromisoformat(last) - date.fromisoformat(first)
    except ValueError:
        return False
    return timedelta(days=365) < length <= _MOST_DAYS


def _midnight(day: str, zone: tzinfo, days: int = 0) -> datetime:
    return datetime.combine(DAY.read(day) + timedelta(days=days), time(), zone).astimezone(UTC)


def _instant(text: str, zone: tzinfo, days: int = 0) -> datetime:
    if _is_day(text):
        return _midnight(text, zone, days)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong("must be a date like 2030-01-31 or an instant like 2030-01-31T10:00:00Z") from None
    if moment.tzinfo is None or not 2000 <= moment.year < 3000:
        raise wrong("must say its offset from UTC, like 2030-01-31T10:00:00Z")
    return moment.astimezone(UTC)


# The forms


def slice_json(slice_: Slice, phases: tuple[Phase, ...]) -> dict[str, Json]:
    """A slice as scripts get it; amps per phase, null where nothing was measured."""
    return {
        "at": _stamp(slice_.at),
        **{f"{name}_a": _amps(slice_, name, lambda value: amps_per_phase(value, phases)) for name in _AMPS},
        **{name: getattr(slice_, name) for name in _OTHERS},
    }


def _amps(slice_: Slice, name: str, write: Callable[[PerPhase], Json]) -> Json:
    value: PerPhase | None = getattr(slice_, f"{name}_ma")
    return None if value is None else write(value)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _head(asked: Asked) -> dict[str, Json]:
    kind = "station" if asked.place.is_station else "node"
    span = {"step": asked.span.value, "from": _stamp(asked.from_utc), "to": _stamp(asked.to_utc)}
    return {kind: asked.place.id, **span}


async def _as_json(found: AsyncIterator[Slice], asked: Asked, phases: tuple[Phase, ...]) -> AsyncIterator[str]:
    yield json.dumps(_head(asked))[:-1] + ', "slices": ['
    between = "\n"
    async for slice_ in found:
        yield between + json.dumps(slice_json(slice_, phases))
        between = ",\n"
    yield "]}"


async def _as_csv(found: AsyncIterator[Slice], phases: tuple[Phase, ...]) -> AsyncIterator[str]:
    yield ",".join(["at", *(f"{name}_{phase}_a" for name in _AMPS for phase in phases), *_OTHERS]) + "\r\n"
    async for slice_ in found:
        cells = [_cell(value) for value in _row(slice_, phases)]
        yield ",".join([_stamp(slice_.at), *cells]) + "\r\n"


def _row(slice_: Slice, phases: tuple[Phase, ...]) -> Iterable[int | float | None]:
    for name in _AMPS:
        value: PerPhase | None = getattr(slice_, f"{name}_ma")
        yield from (None if value is None else amps_of(value[phase]) for phase in phases)
    yield from (getattr(slice_, name) for name in _OTHERS)


def _cell(value: int | float | None) -> str:
    return "" if value is None else str(value)


async def _as_columns(found: AsyncIterator[Slice], asked: Asked, phases: tuple[Phase, ...]) -> AsyncIterator[str]:
    """One list for each quantity, `at` in seconds since 1970, as a chart wants it."""
    names = [*(f"{name}_{phase}" for name in _AMPS for phase in phases), *_OTHERS]
    columns: dict[str, list[Json]] = {name: [] for name in ("at", *names)}
    async for slice_ in found:
        columns["at"].append(int(slice_.at.timestamp()))
        for name, value in zip(names, _row(slice_, phases), strict=True):
            columns[name].append(value)
    yield json.dumps({**_head(asked), "phases": list(phases), "columns": columns}, separators=(",", ":"))


OPERATIONS = (
    Operation(
        "GET",
        "/history",
        Permission.SEE_DASHBOARD,
        "What flowed at a node or a station: its limit, all, the cars; means over each step, and energy.",
        _show,
        query=_QUERY,
    ),
)
