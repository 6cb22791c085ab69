"""An OCPP 1.6J charge point as a sans-I/O client: frames in by `receive`, frames out in `outbox`, time by `advance`.

Theory of operation. Every public verb changes something and ends in `_settle`: limits are evaluated where they may
have changed, contactors and pilots follow, statuses are reported, the next call goes out, and `due` says when the
station next changes by itself. A shell carries frames, opens a link while `wants_link`, closes it when `online` turns
false, and calls `advance` at `due` or later. The station's own clock (`utc`) may be wrong; profiles run on it.
"""

from __future__ import annotations

import json
import math
import random
from functools import partial
from typing import Any

import attrs

from llm_adapters.virtual import answers
from llm_adapters.virtual.badges import BadgeBook
from llm_adapters.virtual.calls import Call, CallQueue, Payload, Refused
from llm_adapters.virtual.car import Car
from llm_adapters.virtual.config import StationConfig, standard_keys
from llm_adapters.virtual.connector import Connector, Session
from llm_adapters.virtual.profiles import TX, ProfileStore
from llm_adapters.virtual.readings import boot_payload, meter_value, stamp

_BOOT_RETRY_S = 30.0
_CLOCK_STEP_S = 0.5


class Station:
    """One virtual station; `epoch` is UTC at plant time 0, `t` the plant time it has reached.

    `version` grows whenever something may have changed, `evaluations` whenever a limit may have, `disturbances` when a
    restart or a step of its clock may have moved limits without anybody's command.
    """

    def __init__(self, config: StationConfig, *, epoch: float = 0.0, seed: int = 0, t: float = 0.0) -> None:
        self.config = config
        self.t = t
        self.online = False
        self.accepted = False
        self.outbox: list[str] = []
        self.keys = standard_keys(config)
        self.profiles = ProfileStore(config.quirks.store, config.voltage_v)
        self.connectors = [Connector(config, n + 1, t) for n in range(len(config.rotations))]
        self.badges = BadgeBook()
        self.calls = CallQueue(config.station_id, self.outbox)
        self.due = t
        self.version = self.evaluations = self.disturbances = self.links = 0
        self.clock_stepped_at = -math.inf
        self._epoch = epoch
        self._offset_s = config.clock_offset_s
        self._random = random.Random(f"{config.station_id}/{seed}")
        self._late: list[tuple[float, str]] = []
        self._offline = list(config.quirks.offline)
        self._booted_at = t
        self._reset_at = self._next_boot = self._next_heartbeat = self._next_sample = math.inf
        self._limits_until = -math.inf
        self._reported_station = ""

    # -- clock ---------------------------------------------------------------------------------------------------

    @property
    def utc(self) -> float:
        """The time its own clock shows, s since 1970."""
        return self._epoch + self.t + self._offset_s

    @property
    def clock_offset_s(self) -> float:
        """How far its clock is ahead of true UTC."""
        return self._offset_s

    @clock_offset_s.setter
    def clock_offset_s(self, offset_s: float) -> None:
        self._step_clock(offset_s)
        self._settle()

    def _step_clock(self, offset_s: float) -> None:
        """Set the clock; how long a transaction has run, and with it a relative schedule, needs none."""
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) > _CLOCK_STEP_S:
            self.disturbances += 1
            self.clock_stepped_at = self.t
        for connector in self.connectors:
            if connector.session is not None:
                connector.session.started_utc += step_s
        self.reconsider()

    def behave(self, **quirks: Any) -> None:
        """From now on it has these quirks, whatever that does to what it offers."""
        self.config = attrs.evolve(self.config, quirks=attrs.evolve(self.config.quirks, **quirks))
        self.reconsider()
        self._settle()

    def number(self, key: str) -> float:
        """A configuration key that holds a number."""
        return float(self.keys[key][0])

    def flag(self, key: str) -> bool:
        """A configuration key that holds true or false."""
        return self.keys[key][0].lower() == "true"

    # -- link ----------------------------------------------------------------------------------------------------

    @property
    def booting(self) -> bool:
        return self.t < self._booted_at

    @property
    def wants_link(self) -> bool:
        """Whether the shell should have a link up (or try to)."""
        return not self.booting and not any(start <= self.t < end for start, end in self._offline)

    def go_offline(self, seconds: float) -> None:
        """Cut the link now, for that long."""
        self._offline.append((self.t, self.t + seconds))
        self.link_down(self.t)

    def link_up(self, t: float) -> None:
        self.advance(t)
        self.online = True
        self.links += 1
        if not self.accepted or self.config.quirks.boots_on_reconnect:
            self.accepted = False
            self.boot()
        self._settle()

    def link_down(self, t: float) -> None:
        """The link is gone: unsent transaction messages wait, everything else is lost."""
        self.advance(t)
        self._drop_link()
        self._settle()

    def _drop_link(self) -> None:
        self.online, self._next_boot = False, math.inf
        self._late.clear()
        self.calls.lost()

    def receive(self, text: str, t: float) -> None:
        """Take one frame; what is no OCPP-J message, or comes after the link went down, is ignored."""
        self.advance(t)
        if not self.online:
            return
        try:
            kind, call_id, *rest = json.loads(text)
        except (ValueError, TypeError):
            return
        if kind == 2 and len(rest) == 2:
            self._answer(call_id, rest[0], rest[1])
        elif kind in (3, 4):
            result = rest[0] if kind == 3 and rest and isinstance(rest[0], dict) else None
            self.calls.answered(call_id, result, t)
        self._settle()

    def _answer(self, call_id: str, action: str, payload: Payload) -> None:
        try:
            frame: list[Any] = [3, call_id, answers.answer(self, action, payload)]
        except Refused as refusal:
            frame = [4, call_id, refusal.code, str(refusal), {}]
        quirks = self.config.quirks
        if quirks.drops_answers and self._random.random() < quirks.drops_answers:
            return
        if quirks.answer_delay_s:
            self._late.append((self.t + quirks.answer_delay_s, json.dumps(frame)))
        else:
            self.outbox.append(json.dumps(frame))

    # -- time ----------------------------------------------------------------------------------------------------

    def advance(self, t: float) -> None:
        """Let time pass until `t`; cheap while nothing is due."""
        self.t = t
        if t < self.due:
            return
        if self.online and not self.wants_link:
            self._drop_link()
        if t >= self._reset_at:
            self.restart()
        if 0 < self._booted_at <= t:
            self._come_back()
        while self._late and self._late[0][0] <= t:
            self.outbox.append(self._late.pop(0)[1])
        if t >= self._next_boot:
            self.boot()
        if t >= self._next_heartbeat:
            self.heartbeat()
        if t >= self._next_sample:
            self._sample()
        for connector in self.connectors:
            if connector.authorised is not None and t >= connector.authorised[2]:
                connector.authorised = None
        self._settle()

    def _settle(self) -> None:
        self.version += 1
        if self.t >= self._limits_until:
            self._evaluate()
        for connector in self.connectors:
            if self.t >= connector.due:
                connector.advance(self.t)
            connector.energise(not self.booting, self.t)
        if self.online:
            if self.accepted:
                self._report()
            self.calls.pump(self.t, self.accepted)
        self.due = self._earliest()

    def reconsider(self) -> None:
        """Something that limits depend on has changed: evaluate them all again before this instant is over."""
        self._limits_until = -math.inf

    def _evaluate(self) -> None:
        self.evaluations += 1
        quirks, now = self.config.quirks, self.utc
        running = [c.session.seen_by_profiles() if c.session else None for c in self.connectors]
        active = max(1, sum(transaction is not None for transaction in running))
        whole_a = self.profiles.station_max_a(now)
        for connector, transaction in zip(self.connectors, running, strict=True):
            follows = quirks.watts_follow_car and connector.car is not None
            phases = len(connector.phases if follows else connector.rotation)
            limit = self.profiles.limit_a(connector.number, now, transaction, phases)
            connector.told_a = min(limit, whole_a / active)
            connector.limit_a = math.inf if quirks.ignores_profiles else connector.told_a
        self._limits_until = self.profiles.next_change(now, running) - self._epoch - self._offset_s

    def _earliest(self) -> float:
        due = [self._reset_at, self._next_boot, self._next_heartbeat, self._next_sample, self._limits_until]
        for connector in self.connectors:
            due += [connector.due] if connector.authorised is None else [connector.due, connector.authorised[2]]
        due += [at for at, _ in self._late]
        due += [edge for window in self._offline for edge in window if edge > self.t]
        if self._booted_at > 0:
            due.append(self._booted_at)
        if self.online:
            due.append(self.calls.due)
        return min(due)

    # -- what it says by itself ----------------------------------------------------------------------------------

    def call(self, action: str, payload: Payload) -> None:
        """Ask for a call whose answer does not matter; dropped while offline."""
        if self.online:
            self.calls.add(Call(action, lambda: payload, lambda _: None, early=True))

    def boot(self) -> None:
        self._next_boot = math.inf
        self.calls.add(Call("BootNotification", partial(boot_payload, self.config), self._booted, early=True))

    def _booted(self, answer: Payload | None) -> None:
        if answer is None or answer.get("status") != "Accepted":
            interval = _BOOT_RETRY_S if answer is None else float(answer.get("interval") or _BOOT_RETRY_S)
            self.accepted = False
            self._next_boot = self.t + interval if self.online else math.inf
            return
        self.accepted = True
        self.reconsider()
        self._set_clock(answer)
        if answer.get("interval"):
            self.keys["HeartbeatInterval"] = (str(answer["interval"]), False)
        self.start_heartbeats()
        self._reported_station = ""
        for connector in self.connectors:
            connector.reported = ""

    def start_heartbeats(self) -> None:
        interval = self.number("HeartbeatInterval")
        self._next_heartbeat = self.t + interval if interval else math.inf

    def heartbeat(self) -> None:
        self.start_heartbeats()
        if self.online:
            self.calls.add(Call("Heartbeat", dict, self._set_clock, early=True))

    def _set_clock(self, answer: Payload | None) -> None:
        if answer is not None and self.config.quirks.syncs_clock and "currentTime" in answer:
            self._step_clock(answers.instant(answer["currentTime"]) - self._epoch - self.t)

    def _report(self) -> None:
        if self._reported_station != "Available":
            self._reported_station = "Available"
            self.report_status(0)
        for connector in self.connectors:
            if connector.status(self.config.quirks.hides_pause) != connector.reported:
                self.report_status(connector.number)

    def report_status(self, number: int) -> None:
        """Send the status of a connector, 0 for the station."""
        status = "Available"
        if number:
            connector = self.connectors[number - 1]
            status = connector.reported = connector.status(self.config.quirks.hides_pause)
        payload = {"connectorId": number, "errorCode": "NoError", "status": status, "timestamp": stamp(self.utc)}
        self.call("StatusNotification", payload)

    def start_samples(self) -> None:
        """(Re)start the rhythm of MeterValues; it runs while a transaction does."""
        interval = self.number("MeterValueSampleInterval")
        busy = any(c.session is not None for c in self.connectors)
        self._next_sample = self.t + interval if interval and busy else math.inf

    def _sample(self) -> None:
        self.start_samples()
        for connector in self.connectors:
            if connector.session is not None:
                self.send_readings(connector, "Sample.Periodic")

    def send_readings(self, connector: Connector, context: str) -> None:
        """Send MeterValues; those of a transaction wait for the link if they must."""
        connector.advance(self.t)
        quirks, session = self.config.quirks, connector.session
        measurands = self.keys["MeterValuesSampledData"][0]
        value = meter_value(connector, self.utc, measurands, context, quirks.meter_gain, quirks.one_current)
        payload: Payload = {"connectorId": connector.number, "meterValue": [value]}
        if session is None:
            self.call("MeterValues", payload)
        else:
            self._tell_of(session, "MeterValues", payload)

    def _tell_of(self, session: Session, action: str, payload: Payload) -> None:
        self.calls.add(Call(action, partial(session.named, payload), lambda _: None, durable=True))

    # -- badges and transactions ---------------------------------------------------------------------------------

    def plug(self, connector: int, car: Car) -> None:
        """A cable goes in at the present instant."""
        outlet = self.connectors[connector - 1]
        outlet.plug(car, self.t)
        outlet.ended = False
        if outlet.authorised is not None:
            tag, parent, _ = outlet.authorised
            self.start(outlet, tag, parent)
        elif self.config.free_vend_tag is not None and outlet.available:
            self.start(outlet, self.config.free_vend_tag)
        self.reconsider()
        self._settle()

    def unplug(self, connector: int) -> Car | None:
        """The cable comes out; a running transaction ends."""
        outlet = self.connectors[connector - 1]
        self.stop(outlet, "EVDisconnected")
        outlet.ended = False
        car = outlet.unplug(self.t)
        self.reconsider()
        self._settle()
        return car

    def present(self, connector: int, id_tag: str) -> None:
        """A badge is held to the reader: it starts, or stops, or is refused."""
        outlet = self.connectors[connector - 1]
        if self.booting:
            return
        if outlet.session is not None and outlet.session.id_tag == id_tag:
            self.stop(outlet, "Local", id_tag)
        else:
            self.authorise(id_tag, partial(self.welcome, outlet, id_tag))
        self._settle()

    def authorise(self, id_tag: str, then: Any) -> None:
        """Look a badge up, here or at the central system; `then` gets its idTagInfo, or None."""
        known = self.badges.known(id_tag)
        accepted = known is not None and known.get("status") == "Accepted"
        if not (self.online and self.accepted):
            offline = known if self.flag("LocalAuthorizeOffline") else None
            if offline is None and self.flag("AllowOfflineTxForUnknownId"):
                offline = {"status": "Accepted"}
            then(offline)
        elif accepted and self.flag("LocalPreAuthorize"):
            then(known)
        else:
            self.calls.add(Call("Authorize", lambda: {"idTag": id_tag}, partial(self._looked_up, id_tag, then)))

    def _looked_up(self, id_tag: str, then: Any, answer: Payload | None) -> None:
        if answer is not None:
            self.badges.remember(id_tag, answer.get("idTagInfo") or {})
        then(self.badges.known(id_tag))

    def welcome(self, outlet: Connector, id_tag: str, info: Payload | None) -> None:
        """Act on a badge that has been looked up."""
        if info is None or info.get("status") != "Accepted" or not outlet.available:
            return
        parent = info.get("parentIdTag")
        if outlet.session is not None:
            if id_tag == outlet.session.id_tag or (parent and parent == outlet.session.parent_tag):
                self.stop(outlet, "Local", id_tag)
        elif outlet.car is not None:
            self.start(outlet, id_tag, parent)
        else:
            outlet.authorised = (id_tag, parent, self.t + self.number("ConnectionTimeOut"))

    def start(self, outlet: Connector, id_tag: str, parent: str | None = None) -> None:
        """Begin a transaction: it runs from here, whatever the central system will say."""
        outlet.advance(self.t)
        session = outlet.session = Session(id_tag, parent, self.utc)
        outlet.authorised, outlet.ended = None, False
        payload: Payload = {"connectorId": outlet.number, "idTag": id_tag, "timestamp": stamp(self.utc)}
        payload["meterStart"] = int(outlet.energy_wh)
        done = partial(self._started, outlet, session)
        self.calls.add(Call("StartTransaction", lambda: payload, done, durable=True))
        self.reconsider()
        self.start_samples()

    def _started(self, outlet: Connector, session: Session, answer: Payload | None) -> None:
        if answer is None:
            return
        session.transaction_id = answer.get("transactionId")
        self.reconsider()
        status = (answer.get("idTagInfo") or {}).get("status", "Accepted")
        if status == "Accepted" or outlet.session is not session:
            return
        if self.config.quirks.silent_after_refused_start:
            self._close(outlet)
        elif self.flag("StopTransactionOnInvalidId"):
            self.stop(outlet, "DeAuthorized")

    def stop(self, outlet: Connector, reason: str, id_tag: str | None = None) -> None:
        """End the transaction, if one runs."""
        session = outlet.session
        if session is None:
            return
        outlet.advance(self.t)
        payload: Payload = {"meterStop": int(outlet.energy_wh), "timestamp": stamp(self.utc), "reason": reason}
        if id_tag is not None:
            payload["idTag"] = id_tag
        self._tell_of(session, "StopTransaction", payload)
        self._close(outlet)

    def _close(self, outlet: Connector) -> None:
        outlet.session, outlet.ended = None, outlet.car is not None
        if not self.config.quirks.keeps_tx_profiles:
            self.profiles.clear(connector=outlet.number, purpose=TX)
        self.reconsider()
        self.start_samples()

    # -- restarts ------------------------------------------------------------------------------------------------

    def reset_soon(self, reason: str) -> None:
        """Stop what runs and restart a second later, as a Reset asks."""
        for connector in self.connectors:
            self.stop(connector, reason)
        self._reset_at = self.t + 1.0

    def restart(self) -> None:
        """Power is gone now; it is back after `boot_s`."""
        quirks = self.config.quirks
        self._reset_at = self._next_heartbeat = math.inf
        self._booted_at = self.t + quirks.boot_s
        self.disturbances += 1
        self.accepted = False
        self._drop_link()
        if quirks.forgets_transaction:
            self.calls.forget()
        if not quirks.keeps_profiles:
            self.profiles.clear()
        self.reconsider()
        self._settle()

    def _come_back(self) -> None:
        quirks, self._booted_at = self.config.quirks, 0.0
        for connector in self.connectors:
            if connector.session is None or quirks.resumes_transaction:
                continue
            if quirks.forgets_transaction:
                self._close(connector)
            else:
                self.stop(connector, "PowerLoss")
