"""What people see: the state, told as the dashboard and `GET /api/v1/overview` need it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.authorisation import BadgeState
from llm_core.demand import rank_of
from llm_core.effects import Alarm
from llm_core.events import Status
from llm_core.problem import Binding, GrantReason
from llm_core.quantities import PerPhase
from llm_core.site import AccessRule, Mode
from llm_core.state import ConnectorState, Key, LimitState, NodeView, State


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    PENDING = "pending"


@attrs.frozen
class SessionView:
    transaction_id: int
    id_tag: str | None
    user: str  # the badge's comment, empty when there is none
    started_at: datetime
    energy_wh: int
    charging_ms: int
    idle_ms: int


@attrs.frozen
class ConnectorView:
    """A connector and why it gets what it gets. `turn` is (n, m): n-th of m that wait."""

    connector: int
    status: Status | None
    limit_ma: int
    reason: GrantReason | None
    limited_by: Binding | None
    turn: tuple[int, int] | None
    sharing: int  # how many connectors share the binding node
    current_ma: PerPhase | None
    session: SessionView | None


@attrs.frozen
class StationView:
    id: str
    name: str
    presence: Presence
    since_ms: int | None  # age of the presence: how long online or offline; None when never seen
    vendor: str
    model: str
    firmware: str
    address: str
    path: str
    cluster: str | None
    connectors: tuple[ConnectorView, ...]


@attrs.frozen
class Overview:
    name: str
    factory: bool
    mode: Mode
    access: AccessRule
    badges: int  # active ones
    alarms: tuple[Alarm, ...]
    nodes: tuple[NodeView, ...]  # the site first, then clusters as configured
    limits: tuple[LimitState, ...]  # from outside, those that hold now
    stations: tuple[StationView, ...]  # configured ones in their order, then pending ones


def overview(state: State, now_ms: int) -> Overview:
    """A consistent picture of `state` at the monotonic instant `now_ms`."""
    site = state.site
    shown = [node for node in state.nodes.values() if not node.node.startswith("station:")]
    configured = [station.id for station in site.stations]
    pending = sorted(set(state.stations) - set(configured))
    return Overview(
        name=site.system.name,
        factory=state.factory,
        mode=site.supply.mode,
        access=site.access,
        badges=sum(badge.state is BadgeState.ACTIVE for badge in state.badges.values()),
        alarms=tuple(sorted(state.alarms.values(), key=lambda alarm: (alarm.since, alarm.code, alarm.subject))),
        nodes=tuple(shown),
        limits=tuple(known for known in state.limits.values() if known.holds),
        stations=tuple(_station(state, station_id, now_ms) for station_id in (*configured, *pending)),
    )


def _station(state: State, station_id: str, now_ms: int) -> StationView:
    configured = state.site.station(station_id)
    known = state.stations.get(station_id)
    if configured is None:
        presence = Presence.PENDING
    else:
        presence = Presence.ONLINE if known is not None and known.online else Presence.OFFLINE
    keys = sorted(key for key in state.connectors if key[0] == station_id)
    return StationView(
        id=station_id,
        name=(configured.name if configured is not None else "") or station_id,
        presence=presence,
        since_ms=now_ms - known.since_ms if known is not None else None,
        vendor=known.vendor if known is not None else "",
        model=known.model if known is not None else "",
        firmware=known.firmware if known is not None else "",
        address=known.address if known is not None else "",
        path=known.path if known is not None else "",
        cluster=configured.cluster if configured is not None else None,
        connectors=tuple(_connector(state, key, state.connectors[key]) for key in keys),
    )


def _connector(state: State, key: Key, connector: ConnectorState) -> ConnectorView:
    grant = connector.grant
    current_ma = connector.readings[-1].current_ma if connector.readings else None
    return ConnectorView(
        connector=key[1],
        status=connector.status,
        limit_ma=connector.offered_ma,
        reason=grant.reason if grant is not None else None,
        limited_by=grant.limited_by if grant is not None else None,
        turn=_turn(state, key, connector),
        sharing=_sharing(state, connector),
        current_ma=current_ma,
        session=_session(state, connector),
    )


def _turn(state: State, key: Key, connector: ConnectorState) -> tuple[int, int] | None:
    if connector.grant is None or connector.grant.reason is not GrantReason.WAITING:
        return None
    waiting = sorted(
        (rank_of(other), other_key)
        for other_key, other in state.connectors.items()
        if other.grant is not None and other.grant.reason is GrantReason.WAITING
    )
    return waiting.index((rank_of(connector), key)) + 1, len(waiting)


def _sharing(state: State, connector: ConnectorState) -> int:
    if connector.grant is None or connector.grant.limited_by is None:
        return 0
    binding = connector.grant.limited_by
    return sum(
        other.grant is not None and other.grant.limited_by == binding and other.offered_ma > 0
        for other in state.connectors.values()
    )


def _session(state: State, connector: ConnectorState) -> SessionView | None:
    session = connector.session
    if session is None:
        return None
    badge = state.badge(session.id_tag)
    return SessionView(
        transaction_id=session.transaction_id,
        id_tag=session.id_tag,
        user=badge.comment if badge is not None else "",
        started_at=session.started_at,
        energy_wh=session.energy_wh,
        charging_ms=session.charging_ms,
        idle_ms=session.idle_ms,
    )
