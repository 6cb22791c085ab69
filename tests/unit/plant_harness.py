"""The core on one side, the plant's own stations on the other, real OCPP frames between; no loop, no socket, no sleep.

`Bench` plays the shell (persist, answer, command) and the disk; a `Link` plays the wire to one station and the server
at its near end: one call out at a time, decreases first, every command ends in exactly one fact. Frames can be held,
delayed, lost and swapped; links cut; the controller restarted from what its disk has kept.

Times are plant seconds from 0; the core's monotonic clock runs `BOOT_MS` ahead of them.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from llm_adapters.ocpp16 import messages
from llm_adapters.ocpp16.profiles import Dialect, clear_charging_profile, set_charging_profile
from llm_adapters.ocpp16.readings import latest_stamp, meter_events
from llm_adapters.ocpp16.station_time import StationTime
from llm_adapters.virtual.building import BuildingConfig
from llm_adapters.virtual.config import StationConfig
from llm_adapters.virtual.meter import MeterConfig
from llm_adapters.virtual.plant import Plant, PlantConfig
from llm_adapters.virtual.station import Station as PlantStation
from llm_core import (
    SITE,
    AlarmCode,
    Answer,
    AskReading,
    Authorised,
    BootAnswer,
    Capabilities,
    CapabilitiesFound,
    Ceiling,
    ClearLimit,
    Event,
    InviteBoot,
    LimitConfirmed,
    LimitRecord,
    LimitRefused,
    LimitUnanswered,
    MeterSampled,
    Note,
    Now,
    PerPhase,
    RaiseAlarm,
    Record,
    RefusedStart,
    Reply,
    Request,
    Save,
    Session,
    SetLimit,
    Site,
    Started,
    State,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    Stopped,
    StopRemotely,
    StorageFailed,
    StorageHealed,
    Stored,
    Tick,
    ma_up,
    recover,
    step,
)

EPOCH = datetime(2026, 3, 3, 8, tzinfo=UTC)
BOOT_MS = 1_000_000
DEADLINE_S = 10.0
URGENT_AFTER_S = 1.0
FLUSH_S = 60
QUIET = BuildingConfig(shape="flat", peak_a=(0.0, 0.0, 0.0), noise=0.0, steps_per_hour=0.0)

Command = SetLimit | ClearLimit
Payload = dict[str, Any]


@attrs.define
class Disk:
    """What was committed. Notes lie in memory until the next flush; a crash loses them."""

    failing: bool = False
    site: Site | None = None
    ceilings: dict[tuple[str, int], Ceiling] = attrs.field(factory=dict)
    sessions: dict[int, Session] = attrs.field(factory=dict)
    limits: dict[str, LimitRecord] = attrs.field(factory=dict)
    last_transaction_id: int = 0
    notes: list[Record] = attrs.field(factory=list)

    def commit(self, record: Record) -> None:
        match record:
            case Site():
                self.site = record
            case Ceiling():
                key = (record.station_id, record.connector)
                self.ceilings[key] = record
                self.notes = [n for n in self.notes if not (isinstance(n, Ceiling) and _place(n) == key)]
            case Session():
                self.sessions[record.transaction_id] = record
                self.last_transaction_id = max(self.last_transaction_id, record.transaction_id)
            case LimitRecord():
                self.limits[record.limit.id] = record
            case RefusedStart():
                self.last_transaction_id = max(self.last_transaction_id, record.transaction_id or 0)
            case _:
                pass

    def flush(self) -> None:
        if not self.failing:
            notes, self.notes = self.notes, []
            for note in notes:
                self.commit(note)

    def stored(self) -> Stored:
        return Stored(
            site=self.site,
            open_sessions=tuple(s for s in self.sessions.values() if s.is_open),
            recent_sessions=tuple(s for s in self.sessions.values() if not s.is_open),
            ceilings={key: ceiling.limit_ma for key, ceiling in self.ceilings.items()},
            left_alone={key: c.left_ma for key, c in self.ceilings.items() if c.left_ma is not None},
            limits=tuple(self.limits.values()),
            last_transaction_id=self.last_transaction_id,
        )


def _place(ceiling: Ceiling) -> tuple[str, int]:
    return (ceiling.station_id, ceiling.connector)


@attrs.define
class Sent:
    """A command on the wire: when it left, and what its effect at the plant may be judged by."""

    command: Command
    at: float
    basis: float  # the oldest fact that it may rest on
    raises: bool


@attrs.define
class Link:
    """The wire to one station and what waits at its near end."""

    station_id: str
    up: bool = False
    since: float = 0.0  # when it last came up…
    lost: float = -1.0  # …and went down
    cut: bool = False  # nobody can connect
    known: bool = False  # its capabilities were told
    delay_s: float = 0.0
    holds_down: bool = False
    holds_up: bool = False
    lose_down: int = 0  # so many of the next commands vanish…
    lose_acks: int = 0  # …or of their answers
    down: deque[tuple[float, str]] = attrs.field(factory=deque)
    above: deque[tuple[float, str]] = attrs.field(factory=deque)
    waiting: list[Command] = attrs.field(factory=list)
    out: tuple[str, Sent] | None = None
    calls: dict[str, Sent] = attrs.field(factory=dict)  # every limit that is or was on this wire, by call id
    clock: StationTime = StationTime()


class Bench:
    """A controller's core, its disk, its wires, and a plant. `watch` is called with each command as it leaves."""

    def __init__(
        self,
        site: Site,
        stations: tuple[StationConfig, ...],
        capabilities: Mapping[str, Capabilities] | None = None,
        meter: MeterConfig | None = None,
    ) -> None:
        nodes = tuple({"id": n.id, "parent": n.parent, "limit_a": {}} for n in site.limit_tree())
        config = PlantConfig(stations, nodes, QUIET, meter or MeterConfig(), epoch=EPOCH.timestamp())
        self.plant = Plant(config)
        self.capabilities = dict(capabilities or {})
        self.links = {s.station_id: Link(s.station_id) for s in stations}
        self.disk = Disk(site=site)
        self.state = State(site=site, factory=False)
        self.utc_shift_s = 0.0
        self.counts: Counter[str] = Counter()
        self.alarms: set[AlarmCode] = set()
        self.delivering: Sent | None = None  # the limit that a station takes in at this moment
        self.restarted_at = 0.0
        self.shown_at = 0.0  # when the meter last showed anything that could be
        self.sample_at = 0.0  # when the last delivered meter sample was true
        self.reading_at: dict[tuple[str, int], float] = {}  # likewise, of each outlet's own readings
        self.watch_boot: Callable[[PlantStation], None] = lambda _station: None
        self.watch_sent: Callable[[Sent, Payload], None] = lambda _sent, _payload: None
        self.watch_sample: Callable[[float, tuple[float, float, float]], None] = lambda _at, _total: None
        self.heard: dict[str, list[tuple[str, str]]] = {s.station_id: [] for s in stations}
        self._calls = 0
        for station in self.plant.stations.values():
            station.keys["MeterValueSampleInterval"] = ("10", False)
            station.keys["MeterValuesSampledData"] = ("Current.Import,Energy.Active.Import.Register", False)

    # -- the shell -----------------------------------------------------------------------------------------------

    @property
    def t(self) -> float:
        return self.plant.t

    def now(self) -> Now:
        return Now(BOOT_MS + round(self.t * 1000), EPOCH + timedelta(seconds=self.t + self.utc_shift_s), 3600)

    def post(self, event: Event) -> Answer | None:
        """Persist, answer, command; None where the disk refused a request."""
        outcome = step(self.state, event, self.now())
        saves = [effect.record for effect in outcome.effects if isinstance(effect, Save)]
        if saves and self.disk.failing:
            self.state = attrs.evolve(self.state, next_transaction_id=outcome.state.next_transaction_id)
            if self.state.storage_failing is None:
                self.post(StorageFailed("no space"))
            promised = isinstance(event, Request) and not isinstance(event, StationBooted)
            return None if promised else self.post(event)
        for record in saves:
            self.disk.commit(record)
        self.state = outcome.state
        answer: Answer | None = None
        for effect in outcome.effects:
            match effect:
                case Reply():
                    answer = effect.answer
                case SetLimit() | ClearLimit():
                    self._submit(self.links[effect.station_id], effect)
                case StopRemotely():
                    payload = {"transactionId": effect.transaction_id}
                    self._call(self.links[effect.station_id], "RemoteStopTransaction", payload)
                case AskReading():
                    payload = {"requestedMessage": "MeterValues", "connectorId": effect.connector}
                    self._call(self.links[effect.station_id], "TriggerMessage", payload)
                case InviteBoot():
                    self._call(
                        self.links[effect.station_id], "TriggerMessage", {"requestedMessage": "BootNotification"}
                    )
                case Note():
                    self.disk.notes.append(effect.record)
                case RaiseAlarm():
                    self.alarms.add(effect.alarm.code)
                case _:
                    pass
        return answer

    def restart(self) -> None:
        """The controller dies and comes back with what its disk holds; every link breaks."""
        for link in self.links.values():
            link.known = False
            if link.up:
                self._break(link)
        self.restarted_at = self.t
        self.disk.notes.clear()
        self.disk.failing = False
        self.state, effects = recover(self.disk.stored(), self.now(), factory=False)
        for effect in effects:
            if isinstance(effect, Save):
                self.disk.commit(effect.record)

    def heal_disk(self) -> None:
        self.disk.failing = False
        if self.state.storage_failing is not None:
            self.post(StorageHealed())

    # -- time ----------------------------------------------------------------------------------------------------

    def run(self, seconds: int) -> None:
        """Let time pass, second by second: the plant moves, frames travel, the meter is read, the core ticks."""
        for _ in range(seconds):
            self.plant.advance(self.t + 1)
            self.settle()
            self._sample()
            self.post(Tick())
            self.settle()
            if round(self.t) % FLUSH_S == 0:
                self.disk.flush()

    def _sample(self) -> None:
        reading = self.plant.meter.reading()
        if reading is None or not self.state.site.meters:
            return
        amps = [None if a != a else ma_up(str(round(a, 3))) for a in reading.current_a]
        if None not in amps:
            self.shown_at = self.t
        if None not in amps and not self.plant.meter.frozen:
            self.sample_at = reading.at
            self.watch_sample(reading.at, reading.current_a)
        shown = (amps[0], amps[1], amps[2])
        self.post(MeterSampled(SITE, shown, BOOT_MS + round(self.t * 1000), round(reading.at * 1000)))

    def settle(self) -> None:
        """Move every frame that can move now, until none can."""
        for link in self.links.values():
            self._keep_link(link)
        while any(tuple(self._moved(link) for link in self.links.values())):
            pass

    def _moved(self, link: Link) -> bool:
        station = self.plant.stations[link.station_id]
        self._keep_link(link)
        while station.outbox:
            link.above.append((self.t + link.delay_s, station.outbox.pop(0)))
        self._next_command(link)
        if link.above and link.above[0][0] <= self.t and not link.holds_up:
            self._from_station(link, link.above.popleft()[1])
            return True
        if link.down and link.down[0][0] <= self.t and not link.holds_down:
            self._to_station(link, link.down.popleft()[1])
            return True
        return False

    # -- links ---------------------------------------------------------------------------------------------------

    def _keep_link(self, link: Link) -> None:
        station = self.plant.stations[link.station_id]
        if link.up and (link.cut or not station.online):
            self._break(link)
        elif not link.up and not link.cut and station.wants_link:
            link.up, link.since = True, self.t
            link.clock = link.clock.on_a_new_link() if station.accepted else StationTime()
            self.post(StationConnected(link.station_id))
            if not link.known:
                link.known = True
                self.post(CapabilitiesFound(link.station_id, self.capabilities.get(link.station_id, Capabilities())))
            self.plant.link_up(link.station_id)
            if station.accepted:
                for message in ("StatusNotification", "MeterValues"):
                    self._call(link, "TriggerMessage", {"requestedMessage": message})

    def _break(self, link: Link) -> None:
        """Both ends lose the link: what waited was never sent, what is out nobody knows."""
        if link.out is not None and link.out[1].raises:
            self.counts["raise in flight at a link loss"] += 1
        waiting, out = link.waiting, link.out
        link.up, link.lost, link.out, link.waiting, link.calls = False, self.t, None, [], {}
        link.down.clear()
        link.above.clear()
        self.plant.link_down(link.station_id)
        self.post(StationDisconnected(link.station_id))
        for command in waiting:
            self.post(LimitRefused(command.station_id, command.connector, command.seq, "not sent", untold=True))
        if out is not None:
            command = out[1].command
            self.post(LimitUnanswered(command.station_id, command.connector, command.seq))

    def _call(self, link: Link, action: str, payload: Payload) -> str:
        self._calls += 1
        call_id = f"us-{self._calls}"
        link.down.append((self.t + link.delay_s, json.dumps([2, call_id, action, payload])))
        return call_id

    def _submit(self, link: Link, command: Command) -> None:
        if not link.up:
            self.post(LimitRefused(command.station_id, command.connector, command.seq, "no link", untold=True))
            return
        for older in [older for older in link.waiting if _supersedes(command, older)]:
            link.waiting.remove(older)
            self.post(LimitRefused(older.station_id, older.connector, older.seq, "superseded", untold=True))
        link.waiting.append(command)
        link.waiting.sort(key=lambda waiting: not _is_urgent(waiting))
        self._next_command(link)

    def _next_command(self, link: Link) -> None:
        """One command out at a time; a decrease waits a second for it, everything else until its deadline."""
        if link.out is not None:
            patience_s = URGENT_AFTER_S if link.waiting and _is_urgent(link.waiting[0]) else DEADLINE_S
            if self.t - link.out[1].at < patience_s:
                return
            given_up = link.out[1].command
            link.out = None
            self.post(LimitUnanswered(given_up.station_id, given_up.connector, given_up.seq))
        if link.waiting and link.out is None:
            self._send(link, link.waiting.pop(0))

    def _send(self, link: Link, command: Command) -> None:
        station = self.plant.stations[link.station_id]
        known = self.capabilities.get(link.station_id, Capabilities())
        dialect = Dialect(in_watts=known.in_watts, step_ma=known.step_ma, stacks=known.stacks)
        outlet = station.connectors[command.connector - 1]
        raises = isinstance(command, SetLimit) and command.limit_ma > outlet.entitled_a * 1000 + 10
        sent = Sent(command, self.t, self.basis(), raises)
        match command:
            case SetLimit():
                now = self.now()
                payload = set_charging_profile(command, dialect, link.clock.utc(now.monotonic_ms) or now.utc)
                call_id = self._call(link, "SetChargingProfile", payload)
            case ClearLimit():
                payload = clear_charging_profile(command, dialect)
                call_id = self._call(link, "ClearChargingProfile", payload)
        link.out = (call_id, sent)
        link.calls[call_id] = sent
        self.watch_sent(sent, payload)
        if link.lose_down:
            link.lose_down -= 1
            link.down.pop()

    def basis(self) -> float:
        """The instant of the oldest fact that a careful controller may still rest on."""
        charging = [
            self.reading_at.get((station.config.station_id, outlet.number), self.t)
            for station, outlet in self.plant.connectors()
            if outlet.session is not None and self.links[station.config.station_id].up
        ]
        return min(self.sample_at, max(min(charging, default=self.t), self.t - 36))

    def _to_station(self, link: Link, text: str) -> None:
        kind, call_id, *_ = json.loads(text)
        self.delivering = link.calls.get(call_id) if kind == 2 else None
        self.plant.receive(link.station_id, text)
        self.delivering = None

    # -- what stations say ---------------------------------------------------------------------------------------

    def _from_station(self, link: Link, text: str) -> None:
        kind, call_id, *rest = json.loads(text)
        if kind != 2:
            self._answered(link, call_id, rest[0] if kind == 3 else None)
            return
        action, payload = rest
        self.heard[link.station_id].append((action, text))
        answer = self._on_call(link, action, payload)
        frame = [4, call_id, "InternalError", "", {}] if answer is None else [3, call_id, answer]
        link.down.append((self.t + link.delay_s, json.dumps(frame)))

    def _answered(self, link: Link, call_id: str, payload: Payload | None) -> None:
        sent = link.calls.pop(call_id, None)
        if sent is None:
            return
        if link.lose_acks:
            link.lose_acks -= 1
            self.counts["lost acknowledgement"] += 1
            return
        if link.out is None or link.out[0] != call_id:
            return  # given up: the core was told that nobody knows
        link.out = None
        command, status = sent.command, (payload or {}).get("status")
        address = (command.station_id, command.connector, command.seq)
        if status == "Accepted" or (isinstance(command, ClearLimit) and status == "Unknown"):
            self.post(LimitConfirmed(*address))
            return
        if isinstance(command, SetLimit) and command.lowers and not sent.raises:
            self.counts["rejected decrease"] += 1
        self.post(LimitRefused(*address, reason=str(status)))

    def _on_call(self, link: Link, action: str, payload: Payload) -> Payload | None:
        """The answer's payload; None where the disk did not take what it would promise."""
        now, station_id = self.now().utc, link.station_id
        station = self.plant.stations[station_id]
        self._hear_clock(link, action, payload)
        match action:
            case "BootNotification":
                link.clock = StationTime()
                self.watch_boot(station)
                answer = self.post(messages.parse_boot(station_id, payload))
                return messages.boot_payload(answer, now) if isinstance(answer, BootAnswer) else None
            case "Authorize":
                answer = self.post(messages.parse_authorize(station_id, payload))
                return messages.authorize_payload(answer) if isinstance(answer, Authorised) else None
            case "StartTransaction":
                answer = self.post(messages.parse_start(station_id, payload, now))
                return messages.start_payload(answer) if isinstance(answer, Started) else None
            case "StopTransaction":
                self._count_late(station, payload)
                answer = self.post(messages.parse_stop(station_id, payload, now))
                return messages.stop_payload(answer) if isinstance(answer, Stopped) else None
            case "StatusNotification":
                status = messages.parse_status(station_id, payload, now)
                if status is not None:
                    self.post(status)
                return {}
            case "MeterValues":
                self._count_late(station, payload)
                self._note_reading(station, payload)
                for event in meter_events(station_id, payload, now, len(station.config.rotations[0])):
                    self.post(event)
                return {}
            case _:
                return messages.heartbeat_payload(now)

    def _hear_clock(self, link: Link, action: str, payload: Payload) -> None:
        stamp = None
        if action == "StatusNotification":
            stamp = messages.parse_stamp(payload.get("timestamp"))
        elif action == "MeterValues":
            stamp = latest_stamp(payload)
        if stamp is not None:
            now = self.now()
            link.clock = link.clock.heard(stamp, now.utc, now.monotonic_ms)
            ahead_ms = link.clock.ahead_ms(now.utc, now.monotonic_ms)
            if ahead_ms is not None and link.clock.is_sure:
                self.post(StationClockRead(link.station_id, ahead_ms))

    def _note_reading(self, station: PlantStation, payload: Payload) -> None:
        stamp = latest_stamp(payload)
        if stamp is not None:
            at = stamp.timestamp() - EPOCH.timestamp() - station.clock_offset_s
            key = (station.config.station_id, int(payload["connectorId"]))
            self.reading_at[key] = max(at, self.reading_at.get(key, at))

    def _count_late(self, station: PlantStation, payload: Payload) -> None:
        running = {outlet.session.transaction_id for outlet in station.connectors if outlet.session is not None}
        named = payload.get("transactionId")
        if named is not None and named > 0 and named not in running and running:
            self.counts["late message of an old session"] += 1

    def repeat(self, station_id: str, text: str) -> None:
        """A frame that the station has sent before comes again under a new call id."""
        frame = json.loads(text)
        self._calls += 1
        frame[1] = f"again-{self._calls}"
        self.links[station_id].above.append((self.t, json.dumps(frame)))


def _is_urgent(command: Command) -> bool:
    return isinstance(command, SetLimit) and command.lowers


def _supersedes(newer: Command, older: Command) -> bool:
    same = newer.connector == older.connector
    return same and type(newer) is type(older) and newer.purpose == older.purpose


def per_phase(amps: tuple[float, float, float]) -> PerPhase:
    """Plant amps as the core's milliamps."""
    return PerPhase(*(round(a * 1000) for a in amps))


__all__ = ["BOOT_MS", "EPOCH", "Bench", "Command", "Disk", "Link", "Payload", "Sent", "StationBooted", "per_phase"]
