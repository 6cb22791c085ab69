"""What is known, as JSON: the overview, stations, sessions, decisions. Read-only; shapes as in the interface."""

from __future__ import annotations

from datetime import UTC, datetime

from llm_adapters.web.alarm_links import alarm_link
from llm_adapters.web.api.exact import Json, amps_of, amps_per_phase
from llm_adapters.web.api.shapes import STATION
from llm_adapters.web.words import Words
from llm_core import (
    SITE,
    Alarm,
    Binding,
    ConnectorView,
    LimitState,
    NodeView,
    Overview,
    PerPhase,
    Session,
    SessionView,
    Site,
    State,
    StationKeys,
    StationView,
    TurnedAway,
    overview,
)

_SCRIPTS_READ = "en"  # scripts go by the codes; the texts beside them are for whoever debugs a script


def stamp(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None


def overview_json(state: State, now_ms: int) -> dict[str, Json]:
    """What the dashboard shows."""
    seen = overview(state, now_ms)
    return {
        "status": "attention" if seen.alarms else "running",
        "name": seen.name,
        "mode": seen.mode,
        "access": seen.access,
        "badges": seen.badges,
        "alarms": [_alarm(alarm, state) for alarm in seen.alarms],
        "nodes": [node_json(node, state) for node in seen.nodes],
        "limits": [_limit_in_overview(known, state) for known in seen.limits],
        "stations": [_station_in_overview(station, state) for station in seen.stations],
    }


def _alarm(alarm: Alarm, state: State) -> Json:
    words = Words(_SCRIPTS_READ, state.site.system.time_zone)
    return {
        "code": alarm.code,
        "text": words.alarm(state, alarm),
        "since": stamp(alarm.since),
        "link": alarm_link(alarm, state.site),
        "subject": alarm.subject,
    }


def node_json(node: NodeView, state: State) -> dict[str, Json]:
    phases = state.site.supply.site_phases
    return {
        "id": node.node,
        "name": _node_name(node.node, state.site),
        "limit_a": amps_per_phase(limit_ma_at(node.node, state), phases),
        "total_a": amps_per_phase(node.total_ma, phases) if node.total_ma is not None else None,
        "stations_a": amps_per_phase(node.stations_ma, phases),
    }


def _node_name(node: str, site: Site) -> str:
    if node == SITE:
        return site.system.name
    return next((cluster.name for cluster in site.clusters if cluster.id == node), node)


def limit_ma_at(node: str, state: State) -> PerPhase:
    """The limit at a node; a cluster without one of its own has that of the node above it."""
    cluster = next((cluster for cluster in state.site.clusters if cluster.id == node), None)
    if cluster is not None and cluster.limit_ma is None:
        return limit_ma_at(cluster.parent or SITE, state)
    decided = state.nodes.get(node)
    if decided is not None:
        return decided.limit_ma
    return cluster.limit_ma if cluster is not None and cluster.limit_ma is not None else state.site.supply.limit_ma


def _limit_in_overview(known: LimitState, state: State) -> Json:
    """“Grid operator: 20 A until 18:00”, in parts."""
    limit, phases = known.record.limit, state.site.supply.site_phases
    return {
        "id": limit.id,
        "node": limit.node,
        "name": _node_name(limit.node, state.site),
        "limit_a": amps_per_phase(limit.on(phases), phases),
        "applies_to": limit.applies_to,
        "reason": limit.reason,
        "until": stamp(limit.ends_at),
        "sender_silent": known.silent,
    }


def _station_in_overview(station: StationView, state: State) -> Json:
    return {
        "id": station.id,
        "name": station.name,
        "state": station.presence,
        "cluster": station.cluster,
        "connectors": [_connector(connector, state) for connector in station.connectors],
    }


def _connector(connector: ConnectorView, state: State) -> Json:
    current_ma = connector.current_ma
    return {
        "connector": connector.connector,
        "status": connector.status,
        "limit_a": amps_of(connector.limit_ma),
        "reason": connector.reason,
        "limited_by": binding_json(connector.limited_by),
        "current_a": amps_per_phase(current_ma, state.site.supply.site_phases) if current_ma is not None else None,
        "session": _running(connector.session, state) if connector.session is not None else None,
    }


def binding_json(binding: Binding | None) -> Json:
    return {"node": binding.node, "phase": binding.phase} if binding is not None else None


def _running(session: SessionView, state: State) -> Json:
    return {
        "transaction_id": session.transaction_id,
        "badge_id": shown_badge_id(session.id_tag, state),
        "user": session.user,
        "started_at": stamp(session.started_at),
        "energy_kwh": session.energy_wh / 1000,
        "charging_s": session.charging_ms // 1000,
        "idle_s": session.idle_ms // 1000,
    }


def shown_badge_id(id_tag: str | None, state: State) -> str | None:
    """A badge's id as first entered; a tag that is no badge as it was presented."""
    badge = state.badge(id_tag)
    return badge.badge_id if badge is not None else id_tag


def station_name(station_id: str, state: State) -> str:
    station = state.site.station(station_id)
    return (station.name if station is not None else "") or station_id


def session_json(session: Session, state: State) -> dict[str, Json]:
    session = state.latest(session)
    badge = state.badge(session.id_tag)
    return {
        "transaction_id": session.transaction_id,
        "station_id": session.station_id,
        "station_name": station_name(session.station_id, state),
        "connector": session.connector,
        "started_at": stamp(session.started_at),
        "stopped_at": stamp(session.stopped_at),
        "badge_id": shown_badge_id(session.id_tag, state),
        "badge_name": badge.comment if badge is not None else "",
        "energy_kwh": session.energy_wh / 1000,
        "meter_start_wh": session.meter_start_wh,
        "meter_stop_wh": session.meter_stop_wh,
        "stop_reason": session.stop_reason,
        "state": session.state,
        "charging_s": session.charging_ms // 1000,
        "idle_s": session.idle_ms // 1000,
        "flagged": session.flagged,
        "integrated": session.integrated,
    }


def station_json(station_id: str, state: State, now_ms: int, keys: StationKeys | None) -> dict[str, Json] | None:
    """A station's state, and with `keys` its configuration; None when nobody knows it."""
    seen = next((station for station in overview(state, now_ms).stations if station.id == station_id), None)
    return _station(seen, state, keys) if seen is not None else None


def stations_json(state: State, now_ms: int, keys: StationKeys | None) -> list[Json]:
    seen: Overview = overview(state, now_ms)
    return [_station(station, state, keys) for station in seen.stations]


def _station(station: StationView, state: State, keys: StationKeys | None) -> dict[str, Json]:
    known = state.stations.get(station.id)
    configured = state.site.station(station.id)
    settings: dict[str, Json] = {}
    if configured is not None and keys is not None:
        settings = {**STATION.write(configured), "password_set": keys.has_key(station.id)}
    return {
        **settings,
        "id": station.id,
        "name": station.name,
        "state": station.presence,
        "since_s": station.since_ms // 1000 if station.since_ms is not None else None,
        "cluster": station.cluster,
        "vendor": station.vendor,
        "model": station.model,
        "firmware": station.firmware,
        "serial": known.serial if known is not None else "",
        "address": station.address,
        "online": known is not None and known.online,
        "path": station.path,
        "turned_away": _turned_away(known.turned_away) if known is not None else None,
        "connectors": [_connector(connector, state) for connector in station.connectors],
    }


def _turned_away(refused: TurnedAway | None) -> Json:
    if refused is None:
        return None
    return {"at": stamp(refused.at), "address": refused.address, "reason": refused.reason}
