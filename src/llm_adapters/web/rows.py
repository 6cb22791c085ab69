"""The table of stations and sessions: one row for each connector, filtered by label and cut into pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import quote

import attrs
from starlette.datastructures import QueryParams

from llm_adapters.web.words import StatusWord, Words
from llm_core import ConnectorView, Overview, Presence, State, StationView

PAGE_SIZES = (10, 20, 25, 50)
USUAL_SIZE = 25
LONGEST_FILTER = 50
Item = TypeVar("Item")


@attrs.frozen
class Listing:
    """Which part of a list somebody looks at."""

    query: str = ""
    size: int = USUAL_SIZE
    page: int = 1

    @classmethod
    def of(cls, params: QueryParams) -> Listing:
        """What the address asks for; nonsense asks for the beginning."""
        size, page = params.get("size", ""), params.get("page", "")
        return cls(
            query=params.get("q", "").strip()[:LONGEST_FILTER],
            size=int(size) if size in map(str, PAGE_SIZES) else USUAL_SIZE,
            page=int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1,
        )

    def at(self, page: int) -> str:
        """The query string of another page of this list."""
        return f"?q={quote(self.query)}&size={self.size}&page={page}"


@attrs.frozen
class Part(Generic[Item]):
    """One page of a list, and how many pages there are."""

    items: tuple[Item, ...]
    page: int
    pages: int
    total: int


def cut(items: Sequence[Item], listing: Listing) -> Part[Item]:
    """The page asked for, or the last one when there are fewer."""
    pages = max(1, -(-len(items) // listing.size))
    page = min(max(listing.page, 1), pages)
    start = (page - 1) * listing.size
    return Part(tuple(items[start : start + listing.size]), page, pages, len(items))


@attrs.frozen
class Row:
    """A connector as shown. `who` is empty for those who may not know; texts are ready to be read."""

    anchor: str
    label: str
    status: StatusWord
    who: str
    charging: str
    idle: str
    current: tuple[str, ...]
    limit: str
    energy: str
    why: str


def table(state: State, seen: Overview, words: Words, utc: datetime, *, names: bool) -> tuple[Row, ...]:
    """All rows; badges and users only with `names`."""
    pairs = [
        (station, connector)
        for station in seen.stations
        if station.presence is not Presence.PENDING
        for connector in (station.connectors or (None,))
    ]
    return tuple(_row(state, station, connector, words, utc, names) for station, connector in pairs)


def matching(rows: Sequence[Row], query: str) -> Iterator[Row]:
    return (row for row in rows if query.casefold() in row.label.casefold())


def _row(
    state: State, station: StationView, connector: ConnectorView | None, words: Words, utc: datetime, names: bool
) -> Row:
    session = connector.session if connector is not None else None
    current = connector.current_ma if connector is not None else None
    if session is None and current is not None and not any(current):
        current = None  # a free place says so; its zeros would only be read
    phases = state.site.supply.site_phases
    who = ""
    if names and session is not None:
        who = " · ".join(part for part in (session.id_tag, session.user) if part)
    return Row(
        anchor=quote(f"{station.id}/{connector.connector if connector is not None else 0}"),
        label=_label(station, connector),
        status=words.status(station, connector),
        who=who,
        charging=words.duration(session.charging_ms) if session is not None else "",
        idle=words.duration(session.idle_ms) if session is not None and session.idle_ms >= 60_000 else "",
        current=tuple(words.amps(current[phase]) if current is not None else "" for phase in phases),
        limit=words.amps(connector.limit_ma) if connector is not None and session is not None else "",
        energy=words.kwh(session.energy_wh) if session is not None else "",
        why=words.why(state, station, connector, utc),
    )


def _label(station: StationView, connector: ConnectorView | None) -> str:
    if connector is None or len(station.connectors) < 2:
        return station.name
    return f"{station.name} · {connector.connector}"
