"""Watches what is known and keeps it as history: a slice a minute for every node and station, in one transaction.

Telemetry stays in memory until the minute is over. What the disk refuses is lost and told once: control and accounts
do not depend on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import attrs

from llm_core import (
    PHASES,
    ZERO,
    Clock,
    ConnectorState,
    History,
    Key,
    PerPhase,
    Place,
    Slice,
    State,
    StoreError,
)

log = logging.getLogger("llm.history")
LONGEST_MS = 5_000  # between two looks; more was no seeing
NOMINAL_MV = 230_000
W_MS_PER_WH = 3_600_000
MOST_WAITING = 10  # minutes that a slow disk may lag behind


@attrs.frozen
class Flow:
    """What flows at a place at an instant."""

    total_ma: PerPhase | None
    cars_ma: PerPhase
    limit_ma: PerPhase
    power_w: int | None


@attrs.define
class Tally:
    """A slice that is being made: sums over milliseconds."""

    ms: int = 0
    metered_ms: int = 0
    powered_ms: int = 0
    total: list[int] = attrs.field(factory=lambda: [0, 0, 0])
    cars: list[int] = attrs.field(factory=lambda: [0, 0, 0])
    limit: list[int] = attrs.field(factory=lambda: [0, 0, 0])
    peak: list[int] = attrs.field(factory=lambda: [0, 0, 0])
    power: int = 0
    imported: int = 0  # in W·ms, what the minute before left over included
    cars_wh: int = 0

    def add(self, flow: Flow, ms: int) -> None:
        self.ms += ms
        used = flow.total_ma if flow.total_ma is not None else flow.cars_ma
        if flow.total_ma is not None:
            self.metered_ms += ms
        if flow.power_w is not None:
            self.powered_ms += ms
            self.power += flow.power_w * ms
            self.imported += max(flow.power_w, 0) * ms
        for index, (cars, limit, most) in enumerate(zip(flow.cars_ma, flow.limit_ma, used, strict=True)):
            self.cars[index] += cars * ms
            self.limit[index] += limit * ms
            self.total[index] += most * ms if flow.total_ma is not None else 0
            self.peak[index] = max(self.peak[index], most)

    def slice(self, place: Place, at: datetime) -> Slice:
        metered, powered = self.metered_ms, self.powered_ms
        return Slice(
            place,
            at,
            PerPhase(*(value // metered for value in self.total)) if metered else None,
            PerPhase(*(value // self.ms for value in self.cars)),
            PerPhase(*(value // self.ms for value in self.limit)),
            PerPhase(*self.peak),
            self.power // powered if powered else None,
            self.imported // W_MS_PER_WH if metered and powered else None,
            self.cars_wh,
        )


class Recorder:
    """Writes the history of a controller; give its `look` to `Controller.watch`."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock
        self._tallies: dict[Place, Tally] = {}
        self._minute: int | None = None
        self._zone = ZoneInfo("UTC")
        self._counted: dict[Key, tuple[int, int]] = {}  # the transaction, and what was counted of it
        self._looked = False
        self._ready: asyncio.Queue[tuple[Slice, ...]] = asyncio.Queue(MOST_WAITING)
        self._failing = False

    def look(self, before: State, after: State) -> None:
        """Count the time since the last tick as what is known now; anything but a tick tells nothing new."""
        if after.ticked_ms is None or after.ticked_ms == before.ticked_ms:
            return
        minute = int(self._clock.utc().timestamp()) // 60
        if minute != self._minute:
            self._end_minute()
            self._minute = minute
            self._zone = ZoneInfo(after.site.system.time_zone)
        ms = min(after.ticked_ms - (before.ticked_ms or after.ticked_ms), LONGEST_MS)
        if ms > 0:
            for place, flow in flows(after):
                self._tally(place).add(flow, ms)
        self._count_energy(after)

    async def run(self) -> None:
        """Write each minute when it is over, until cancelled; then what is left."""
        try:
            while True:
                await self._write(await self._ready.get())
        finally:
            self._end_minute()
            while not self._ready.empty():
                await self._write(self._ready.get_nowait())

    def _tally(self, place: Place) -> Tally:
        return self._tallies.setdefault(place, Tally())

    def _end_minute(self) -> None:
        if self._minute is None:
            return
        tallies = self._tallies
        at = datetime.fromtimestamp(self._minute * 60, UTC)
        slices = tuple(tally.slice(place, at) for place, tally in tallies.items() if tally.ms)
        self._tallies = {
            place: Tally(imported=tally.imported % W_MS_PER_WH)
            for place, tally in tallies.items()
            if tally.imported % W_MS_PER_WH
        }
        if self._ready.full():
            self._ready.get_nowait()
        if slices:
            self._ready.put_nowait(slices)

    async def _write(self, slices: tuple[Slice, ...]) -> None:
        try:
            await self._history.record(slices, self._day_of)
        except StoreError as error:
            if not self._failing:
                log.warning("the history is not written: %s", error)
            self._failing = True
            return
        self._failing = False

    def _day_of(self, moment: datetime) -> datetime:
        local = moment.astimezone(self._zone)
        return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)

    def _count_energy(self, state: State) -> None:
        """What sessions were charged with since the last look, at their stations and at every node above."""
        above = nodes_above(state)
        now: dict[Key, tuple[int, int]] = {}
        for key, connector in state.connectors.items():
            grown_wh = self._ended_wh(state, key, connector)
            if connector.session is not None:
                transaction, energy_wh = connector.session.transaction_id, connector.session.energy_wh
                was, counted_wh = self._counted.get(key, (transaction, 0 if self._looked else energy_wh))
                grown_wh += energy_wh - (counted_wh if was == transaction else 0)
                now[key] = (transaction, energy_wh)
            station = state.site.station(key[0])
            if grown_wh and station is not None:
                for place in (Place(key[0], is_station=True), *above.get(station.node, ())):
                    self._tally(place).cars_wh += grown_wh
        self._counted, self._looked = now, True

    def _ended_wh(self, state: State, key: Key, connector: ConnectorState) -> int:
        """What the last reading of a session that has ended added to it."""
        transaction, counted_wh = self._counted.get(key, (0, 0))
        ended = state.recent.get(transaction)
        present = connector.session
        if ended is None or (present is not None and present.transaction_id == transaction):
            return 0
        return ended.energy_wh - counted_wh


def nodes_above(state: State) -> Mapping[str, tuple[Place, ...]]:
    """For each node, itself and every node above it."""
    found: dict[str, tuple[Place, ...]] = {}
    for node in state.site.limit_tree():  # parents come first
        found[node.id] = (Place(node.id), *(found[node.parent] if node.parent is not None else ()))
    return found


def flows(state: State) -> Iterator[tuple[Place, Flow]]:
    """What flows at every node and at every station now."""
    for view in state.nodes.values():
        total_ma = view.total_ma if _is_measured(state, view.node) else None
        power_w = None if total_ma is None else _node_power_w(state, view.node, total_ma)
        yield Place(view.node), Flow(total_ma, view.stations_ma, view.limit_ma, power_w)
    drawn: dict[str, tuple[PerPhase, PerPhase]] = {station.id: (ZERO, ZERO) for station in state.site.stations}
    for key, connector in state.connectors.items():
        if key[0] in drawn:
            cars_ma, offered_ma = drawn[key[0]]
            cars_ma += _drawn_ma(state, key, connector)
            offered_ma += _offered_ma(state, key, connector)
            drawn[key[0]] = (cars_ma, offered_ma)
    for station_id, (cars_ma, offered_ma) in drawn.items():
        yield Place(station_id, is_station=True), Flow(None, cars_ma, offered_ma, sum(cars_ma) * NOMINAL_MV // 10**6)


def _drawn_ma(state: State, key: Key, connector: ConnectorState) -> PerPhase:
    known = state.stations.get(key[0])
    return connector.readings[-1].current_ma if known is not None and known.online and connector.readings else ZERO


def _offered_ma(state: State, key: Key, connector: ConnectorState) -> PerPhase:
    station = state.site.station(key[0])
    wired = station.phase_rotation if station is not None else ()
    phases = connector.phases if connector.phases is not None else wired
    return PerPhase(*(connector.offered_ma if phase in phases else 0 for phase in PHASES))


def _is_measured(state: State, node: str) -> bool:
    """Whether the meter of the node can be believed now: an old value is no measurement."""
    if state.site.assumed(node) is not None:
        return True
    meter = state.meters.get(node)
    if meter is None or meter.frozen:
        return False
    phases = [meter.phases.get(phase) for phase in state.site.supply.site_phases]
    return all(phase is not None and not phase.lost for phase in phases)


def _node_power_w(state: State, node: str, total_ma: PerPhase) -> int:
    """What the meter says, when it sees everything; else the currents at their voltages."""
    setup = next((setup for setup in state.site.read_meters if setup.node == node), None)
    meter = state.meters.get(node)
    if setup is not None and setup.includes_stations and meter is not None and meter.power_w is not None:
        return meter.power_w
    voltages = meter.voltage_mv if meter is not None else (None, None, None)
    return sum(ma * (mv or NOMINAL_MV) for ma, mv in zip(total_ma, voltages, strict=True)) // 10**6
