"""Why each connector has the limit it has: what binds it now, in figures, and the last limits that were sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.pages import guarded, page, render, words_for
from llm_adapters.web.rows import Listing
from llm_adapters.web.words import N_, StatusWord, Words
from llm_core import (
    Binding,
    ConnectorView,
    GrantReason,
    LimitChange,
    Permission,
    Presence,
    State,
    StationView,
    overview,
)

MOST_CHANGES = 100
CAUSES = {
    GrantReason.OWN_MAXIMUM: N_("All that the station may give."),
    GrantReason.SHARED_LIMIT: N_("%(phase)s of %(node)s is shared."),
    GrantReason.WAITING: N_("Paused: others have their turn on %(phase)s of %(node)s."),
    GrantReason.UNBALANCE: N_("So that the phases stay in balance."),
    GrantReason.VEHICLE: N_("The car wants no more."),
    GrantReason.HOLDING: N_("It was free only for a moment."),
    GrantReason.EXTERNAL_LIMIT: N_("Limit from outside."),
    GrantReason.CPO_LIMIT: N_("The charge point operator allows no more."),
    GrantReason.METER_LOST: N_("The meter was silent: the safe limit."),
    GrantReason.STATION_LOST: N_("The station was offline: kept for it."),
    GrantReason.DISOBEYS: N_("It took more than it was told."),
    GrantReason.NOT_AUTHORISED: N_("No badge was accepted."),
}
NOBODY = N_("No car charges there.")


@attrs.frozen
class DecisionRow:
    """A connector as decided now; `figures` is what counts at the place that binds it."""

    label: str
    status: StatusWord
    limit: str
    since: str
    why: str
    figures: str


@attrs.frozen
class ChangeRow:
    at: str
    label: str
    before: str
    after: str
    rises: bool
    cause: str


def decision_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words, listing = words_for(request, desk), Listing.of(request.query_params)
        return page(request, desk, "decisions.html", principal, listing=listing, **_look(desk, words, listing))

    async def live(request: Request, _: Principal) -> Response:
        words, listing = words_for(request, desk), Listing.of(request.query_params)
        return HTMLResponse(render("decisions_live.html", words, listing=listing, **_look(desk, words, listing)))

    return [
        guarded(desk, "/decisions", Permission.ADMINISTER, index),
        guarded(desk, "/decisions/live", Permission.ADMINISTER, live),
    ]


def _look(desk: Desk, words: Words, listing: Listing) -> dict[str, Any]:
    state, utc, now_ms = desk.inbox.state, desk.clock.utc(), desk.clock.monotonic_ms()
    wanted = listing.query.casefold()
    rows = [row for row in _decided(state, words, utc, now_ms) if wanted in row.label.casefold()]
    changes = [_change(change, state, words) for change in reversed(state.changes)]
    changes = [row for row in changes if wanted in row.label.casefold()]
    age_ms = now_ms - state.ticked_ms if state.ticked_ms is not None else None
    return {
        "rows": rows,
        "changes": changes[:MOST_CHANGES],
        "decided": words.age(age_ms) if age_ms is not None else "",
    }


def _decided(state: State, words: Words, utc: datetime, now_ms: int) -> Iterator[DecisionRow]:
    for station in overview(state, now_ms).stations:
        if station.presence is not Presence.PENDING:
            for connector in station.connectors:
                yield _row(state, station, connector, words, utc, now_ms)


def _row(
    state: State, station: StationView, connector: ConnectorView, words: Words, utc: datetime, now_ms: int
) -> DecisionRow:
    changed_ms = state.connectors[station.id, connector.connector].changed_ms
    return DecisionRow(
        _label(state, station.id, connector.connector, words),
        words.status(station, connector),
        words.amps(connector.limit_ma),
        words.age(now_ms - changed_ms) if changed_ms is not None else "",
        words.why(state, station, connector, utc),
        _figures(connector.limited_by, state, words),
    )


def _figures(binding: Binding | None, state: State, words: Words) -> str:
    """The place that binds a limit: what it may carry, what others may draw there, what is kept for cars."""
    node = state.nodes.get(binding.node) if binding is not None else None
    if binding is None or node is None:
        return ""
    phase = binding.phase
    return words(
        "%(phase)s of %(node)s: limit %(limit)s A, for charging %(room)s A, kept for cars %(worst)s A,"
        " free %(free)s A.",
        phase=phase,
        node=words.node(state.site, binding.node),
        limit=words.amps_short(node.limit_ma[phase]),
        room=words.amps_short(node.room_ma[phase]),
        worst=words.amps_short(node.worst_ma[phase]),
        free=words.amps_short(node.free_ma[phase]),
    )


def _change(change: LimitChange, state: State, words: Words) -> ChangeRow:
    binding, cause = change.limited_by, NOBODY
    if change.reason is not None:
        cause = CAUSES[change.reason]
    node = words.node(state.site, binding.node) if binding is not None else words("the building")
    return ChangeRow(
        words.precise(change.at),
        _label(state, change.station_id, change.connector, words),
        words.amps(change.before_ma),
        words.amps(change.limit_ma),
        change.limit_ma > change.before_ma,
        words(cause, phase=binding.phase if binding is not None else "", node=node),
    )


def _label(state: State, station_id: str, connector: int, words: Words) -> str:
    name = words.station(state.site, station_id)
    several = sum(key[0] == station_id for key in state.connectors) > 1
    return f"{name} · {connector}" if several else name
