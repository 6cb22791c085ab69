"""The history page: what flowed on a day, in a week, a month or a year, as charts and as a table.

The charts are drawn in the browser from `/history/columns`, which whoever may see the overview may read. The table is
made here from the same slices, for who cannot see a chart or has no scripts.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import attrs
from babel.dates import format_date, format_skeleton
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llm_adapters.web.api.exact import Wrong
from llm_adapters.web.api.history import answer
from llm_adapters.web.auth import Principal, identify
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.words import N_, Words
from llm_core import SITE, Dashboard, Permission, PerPhase, Phase, Place, Site, Slice, Span

STATION_PREFIX = "/"  # no node's id begins with it, and no station's holds it


class Period(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


PERIODS = {Period.DAY: N_("Day"), Period.WEEK: N_("Week"), Period.MONTH: N_("Month"), Period.YEAR: N_("Year")}
SPANS = {Period.DAY: Span.MINUTE, Period.WEEK: Span.QUARTER, Period.MONTH: Span.QUARTER, Period.YEAR: Span.DAY}
OLDEST = date(2000, 1, 1)
NEWEST = date(2999, 12, 31)


@attrs.frozen
class Days:
    """The days of a period, both inclusive."""

    period: Period
    first: date
    last: date

    @classmethod
    def around(cls, period: Period, day: date) -> Days:
        match period:
            case Period.DAY:
                return cls(period, day, day)
            case Period.WEEK:
                monday = day - timedelta(days=day.weekday())
                return cls(period, monday, monday + timedelta(days=6))
            case Period.MONTH:
                return cls(period, day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))
            case Period.YEAR:
                return cls(period, date(day.year, 1, 1), date(day.year, 12, 31))

    def utc(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        begin = datetime.combine(self.first, time(), zone)
        return begin.astimezone(UTC), datetime.combine(self.last + timedelta(days=1), time(), zone).astimezone(UTC)


@attrs.define
class Bucket:
    """A line of the table: the sums and the worst moments of some slices."""

    energy_wh: int | None = None
    cars_wh: int = 0
    peak_ma: PerPhase | None = None
    free_ma: int | None = None

    def add(self, slice_: Slice, phases: tuple[Phase, ...]) -> None:
        if slice_.energy_wh is not None:
            self.energy_wh = (self.energy_wh or 0) + slice_.energy_wh
        self.cars_wh += slice_.cars_wh
        self.peak_ma = slice_.peak_ma if self.peak_ma is None else self.peak_ma.larger(slice_.peak_ma)
        if slice_.total_ma is not None:
            free_ma = min(slice_.limit_ma[phase] - slice_.peak_ma[phase] for phase in phases)
            self.free_ma = free_ma if self.free_ma is None else min(self.free_ma, free_ma)


@attrs.frozen
class Line:
    """A line of the table in words; `others_to` and `all_to` are the ends of its bars, in parts of a thousand."""

    label: str
    energy: str
    others: str
    cars: str
    peaks: tuple[str, ...]
    free: str
    others_to: int = 0
    all_to: int = 0


def history_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, site = words_for(request, desk), desk.inbox.state.site
        zone = ZoneInfo(site.system.time_zone)
        place = _place(request.query_params.get("place", SITE), site)
        days = _days(request, desk.clock.utc().astimezone(zone).date())
        buckets, whole = await _buckets(desk, place, days, zone, words)
        name = _name(place)
        return page(
            request,
            desk,
            "history.html",
            principal,
            place=name,
            places=_places(site, words),
            is_station=place.is_station,
            phases=site.supply.site_phases,
            days=days,
            heading=_heading(days, words),
            periods=[(period, words(text), _link(name, period, days.first)) for period, text in PERIODS.items()],
            before=_neighbour(name, days, -1),
            after=_neighbour(name, days, 1) if days.last < desk.clock.utc().astimezone(zone).date() else "",
            columns_url=f"/history/columns?{_query(place, days, zone)}",
            csv_url=f"/api/v1/history?{_query(place, days, zone)}&format=csv",
            lines=_lines(buckets, words, site.supply.site_phases),
            whole=_line("", whole, words, site.supply.site_phases, 0),
            has_building=whole.energy_wh is not None,
        )

    async def columns(request: Request) -> Response:
        if not await _may_look(request, desk):
            return Response(status_code=401)
        try:
            return answer(desk, {**request.query_params, "format": "columns"})
        except Wrong as fault:
            raise HTTPException(400, str(fault)) from fault

    return [
        guarded(desk, "/history", Permission.SEE_DASHBOARD, index),
        # Numbers without a secret, so they may be packed.
        Route("/history/columns", columns, middleware=[Middleware(GZipMiddleware)]),
    ]


async def _may_look(request: Request, desk: Desk) -> bool:
    """Who may see the overview may see its charts: everybody, when it is public."""
    if await desk.accounts.is_factory():
        return False
    principal = await identify(request, desk)
    if principal is not None and principal.may(Permission.SEE_DASHBOARD):
        return True
    return desk.inbox.state.site.system.dashboard is Dashboard.PUBLIC


# What was asked for


def _place(name: str, site: Site) -> Place:
    place = Place(name.removeprefix(STATION_PREFIX), is_station=name.startswith(STATION_PREFIX))
    known = site.station(place.id) if place.is_station else next((n for n in site.limit_tree() if n.id == name), None)
    if known is None:
        raise HTTPException(404)
    return place


def _name(place: Place) -> str:
    return f"{STATION_PREFIX if place.is_station else ''}{place.id}"


def _places(site: Site, words: Words) -> list[tuple[str, str]]:
    nodes = [(node.id, words.node_title(site, node.id)) for node in site.limit_tree() if ":" not in node.id]
    stations = [(f"{STATION_PREFIX}{station.id}", words.station(site, station.id)) for station in site.stations]
    return nodes + stations


def _days(request: Request, today: date) -> Days:
    given = request.query_params
    try:
        period = Period(given.get("period", Period.DAY))
        day = date.fromisoformat(given["day"]) if given.get("day") else today
    except ValueError:
        raise HTTPException(404) from None
    return Days.around(period, min(max(day, OLDEST), NEWEST))


def _link(place: str, period: Period, day: date) -> str:
    return f"/history?{urlencode({'place': place, 'period': period.value, 'day': day.isoformat()})}"


def _neighbour(place: str, days: Days, step: int) -> str:
    day = days.last + timedelta(days=1) if step > 0 else days.first - timedelta(days=1)
    return _link(place, days.period, Days.around(days.period, day).first)


def _query(place: Place, days: Days, zone: ZoneInfo) -> str:
    begin, end = days.utc(zone)
    kind = "station" if place.is_station else "node"
    instants = {"from": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "to": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
    return urlencode({kind: place.id, **instants, "step": SPANS[days.period].value})


# The table


async def _buckets(
    desk: Desk, place: Place, days: Days, zone: ZoneInfo, words: Words
) -> tuple[dict[str, Bucket], Bucket]:
    """The lines of the table by their labels, in order, and everything together."""
    phases = desk.inbox.state.site.supply.site_phases
    label = _labels(days.period, words, zone)
    buckets: dict[str, Bucket] = {}
    whole = Bucket()
    found: AsyncIterator[Slice] = desk.history.slices(place, SPANS[days.period], *days.utc(zone))
    async for slice_ in found:
        buckets.setdefault(label(slice_.at), Bucket()).add(slice_, phases)
        whole.add(slice_, phases)
    return buckets, whole


def _labels(period: Period, words: Words, zone: ZoneInfo) -> Callable[[datetime], str]:
    """How a line of the table is called: the hour, the day, or the month that a slice lies in."""
    locale = words.region

    def hour(at: datetime) -> str:
        began = at.astimezone(zone).replace(minute=0)
        return f"{words.time(began)} – {words.time(began + timedelta(hours=1))}"

    def day(at: datetime) -> str:
        return str(format_skeleton("MMMEd", at, tzinfo=zone, locale=locale))

    def month(at: datetime) -> str:
        return str(format_date(at.astimezone(zone).date(), "LLLL", locale=locale))

    return {Period.DAY: hour, Period.WEEK: day, Period.MONTH: day, Period.YEAR: month}[period]


def _heading(days: Days, words: Words) -> str:
    match days.period:
        case Period.DAY:
            return str(format_date(days.first, "full", locale=words.region))
        case Period.WEEK:
            return f"{words.day(days.first)} – {words.day(days.last)}"
        case Period.MONTH:
            return str(format_date(days.first, "LLLL y", locale=words.region))
        case Period.YEAR:
            return str(days.first.year)


def _lines(buckets: dict[str, Bucket], words: Words, phases: tuple[Phase, ...]) -> list[Line]:
    most_wh = max((max(bucket.energy_wh or 0, bucket.cars_wh) for bucket in buckets.values()), default=0)
    return [_line(label, bucket, words, phases, most_wh) for label, bucket in buckets.items()]


def _line(label: str, bucket: Bucket, words: Words, phases: tuple[Phase, ...], most_wh: int) -> Line:
    energy_wh, peak_ma = bucket.energy_wh, bucket.peak_ma
    return Line(
        label=label,
        energy="" if energy_wh is None else words.kwh(energy_wh),
        others="" if energy_wh is None else words.kwh(max(energy_wh - bucket.cars_wh, 0)),
        cars=words.kwh(bucket.cars_wh),
        peaks=tuple("" if peak_ma is None else words.amps(peak_ma[phase]) for phase in phases),
        free="" if bucket.free_ma is None else words.amps(bucket.free_ma),
        others_to=max((energy_wh or 0) - bucket.cars_wh, 0) * 1000 // most_wh if most_wh else 0,
        all_to=max(energy_wh or 0, bucket.cars_wh) * 1000 // most_wh if most_wh else 0,
    )
