"""What needs attention: a pure reading of the state, so that an alarm holds exactly as long as its cause."""

from __future__ import annotations

from collections.abc import Iterator

from llm_core.budget import decays, silence_ms
from llm_core.demand import is_asleep, least_of
from llm_core.effects import Alarm, AlarmCode
from llm_core.pausing import rejects_limits
from llm_core.phase_check import suspects
from llm_core.quantities import Now, Phase
from llm_core.sessions import AHEAD, OLDEST_STAMP
from llm_core.site import SITE, Mode, Site
from llm_core.state import MeterState, State, StationState
from llm_core.uplink import AWAY, UplinkState

OFFLINE_MS = 60_000
RESTART_MS = 180_000  # what a slow station takes to restart
GUARD_MS = 300_000  # an intervention stays in sight for five minutes
STRANGER_MA = 1_000
EXCEEDED_MS = 10_000  # shorter, it is the ramp that every building step causes
CLOCK_OFF_MS = 10_000  # a station whose clock is further off keeps no lease

Code = tuple[AlarmCode, str]


def alarms_of(state: State, now: Now) -> dict[Code, Alarm]:
    """Every alarm that holds at `now`; one that held before keeps its beginning."""
    return {
        code: state.alarms.get(code) or Alarm(code[0], code[1], now.utc)
        for code in (
            *_meters(state, now.monotonic_ms),
            *_stations(state, now.monotonic_ms),
            *_connectors(state, now.monotonic_ms),
            *_unusable(state),
            *((AlarmCode.PHASE_ORDER_SUSPECT, station_id) for station_id, _ in suspects(state)),
            *_clocks(state, now),
            *_cpo(state, now.monotonic_ms),
            *_site(state, now.monotonic_ms),
        )
    }


def _meters(state: State, now_ms: int) -> Iterator[Code]:
    for setup in state.site.read_meters:
        if setup.node == SITE and state.site.supply.mode is Mode.STATIC:
            continue  # nothing depends on it
        meter = state.meters.get(setup.node, MeterState())
        if meter.frozen:
            yield AlarmCode.METER_FROZEN, setup.node
            continue
        phases = [meter.phases.get(phase) for phase in state.site.supply.site_phases]
        silent_ms = silence_ms(meter.period_ms)
        silent = [p is None or p.seen_ms is None or p.lost or now_ms - p.seen_ms > silent_ms for p in phases]
        if all(silent):
            yield AlarmCode.METER_SILENT, setup.node
        elif any(silent):
            yield AlarmCode.METER_IMPLAUSIBLE, setup.node


def _stations(state: State, now_ms: int) -> Iterator[Code]:
    for station in state.site.stations:
        known = state.stations.get(station.id)
        if station.out_of_service:
            continue
        if known is None or (not known.online and now_ms - known.since_ms >= _patience_ms(known)):
            yield AlarmCode.STATION_OFFLINE, station.id
        elif (
            known.online and known.accepted and now_ms - known.since_ms >= OFFLINE_MS and not decays(state, station.id)
        ):
            yield AlarmCode.STATION_CANNOT_FALL_BACK, station.id


def _patience_ms(known: StationState) -> int:
    """How long a station may be away: one that a person told to restart takes its time."""
    restarts = known.reset_ms is not None and known.since_ms >= known.reset_ms
    return RESTART_MS if restarts else OFFLINE_MS


def _clocks(state: State, now: Now) -> Iterator[Code]:
    """Ours, when it was never set or fell back; a station's, when it is too far off for a lease."""
    fell_back = state.latest_utc is not None and state.latest_utc - now.utc > AHEAD
    if fell_back or now.utc < OLDEST_STAMP:
        yield AlarmCode.CLOCK_WRONG, ""
    for station in state.site.stations:
        known = state.stations.get(station.id)
        if known is not None and known.online and abs(known.clock_ahead_ms or 0) > CLOCK_OFF_MS:
            yield AlarmCode.CLOCK_WRONG, station.id


def _unusable(state: State) -> Iterator[Code]:
    """Stations that have connected and can never be given what a car needs: a place above them carries too little.

    One that takes no limit may draw its maximum at any time, so it needs room for that.

    A place with no current at all is switched off, and its stations are not missed.
    """
    carried: dict[tuple[str, tuple[Phase, ...]], int] = {}  # most stations hang where others hang
    for station in state.site.stations:
        known = state.stations.get(station.id)
        if known is None or not known.met or station.out_of_service:
            continue
        place = (station.node, station.phase_rotation)
        if place not in carried:
            carried[place] = _least_limit(state.site, *place)
        if not 0 < carried[place] < station.max_ma:
            continue
        can = known.capabilities
        if not can.takes_limits or carried[place] < least_of(station, can.step_ma, 1):
            yield AlarmCode.STATION_NOT_USABLE, station.id


def _least_limit(site: Site, start: str, phases: tuple[Phase, ...]) -> int:
    """The smallest limit on these phases on the way from a node to the root."""
    nodes = {node.id: node for node in site.limit_tree()}
    limits: list[int] = []
    above: str | None = start
    while above is not None:
        limits += (nodes[above].limit_ma[phase] for phase in phases)
        above = nodes[above].parent
    return min(limits)


def _connectors(state: State, now_ms: int) -> Iterator[Code]:
    for key, connector in state.connectors.items():
        if state.site.station(key[0]) is None:
            continue
        if connector.disobeys_ms is not None:
            yield AlarmCode.STATION_DISOBEYS, key[0]
        if rejects_limits(connector):
            yield AlarmCode.STATION_REJECTS_LIMITS, key[0]
        if connector.cut_short and is_asleep(connector, now_ms):
            yield AlarmCode.CAR_ASLEEP, key[0]
    for key, reading in state.strangers.items():
        if max(reading.current_ma) >= STRANGER_MA:
            yield AlarmCode.STRANGER_DRAWS, key[0]


def _cpo(state: State, now_ms: int) -> Iterator[Code]:
    """Where the CPO does not answer although the station is there, and where it wants nothing to do with it."""
    for entry in state.site.uplink.stations:
        status, known = state.uplink.get(entry.station_id), state.stations.get(entry.station_id)
        if status is not None and status.refused:
            yield AlarmCode.CPO_REFUSES, entry.station_id
        if not state.site.uplink.enabled or known is None or not known.online or status is None:
            continue
        if status.state is UplinkState.REFUSED and not status.refused:
            yield AlarmCode.CPO_REFUSES, entry.station_id
        if status.state in AWAY and now_ms - status.since_ms >= OFFLINE_MS:
            yield AlarmCode.CPO_OFFLINE, entry.station_id


def _site(state: State, now_ms: int) -> Iterator[Code]:
    if state.storage_failing is not None:
        yield AlarmCode.STORAGE_FAILING, ""
    if state.intervened_ms is not None and now_ms - state.intervened_ms < GUARD_MS:
        yield AlarmCode.GUARD_INTERVENED, ""
    for known in state.limits.values():
        if known.silent:
            yield AlarmCode.LIMIT_SENDER_SILENT, known.record.limit.node
    for view in state.nodes.values():
        if view.over_since_ms is not None and now_ms - view.over_since_ms >= EXCEEDED_MS:
            yield AlarmCode.LIMIT_EXCEEDED, view.node
