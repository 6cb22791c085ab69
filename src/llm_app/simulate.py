"""`llm-app simulate`: the controller, station sessions and profile encoder of the server, in virtual time.

A run depends on its `Scenario` alone. The plant judges it; what the controller believes is not asked.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from llm_adapters.virtual import clockwork
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.expect import Verdict, Watch
from llm_adapters.virtual.judge import Finding, Judge, Terms
from llm_adapters.virtual.ledger import Stay
from llm_adapters.virtual.links import End, pair
from llm_adapters.virtual.meter import Meter
from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.script import Script, build_in
from llm_adapters.virtual.shell import Shell
from llm_adapters.virtual.trace import Trace
from llm_app.clock import LoopClock
from llm_app.controller import Controller
from llm_app.outside import ask_from_outside
from llm_app.scenario import DERATED, Scenario
from llm_app.virtual_controller import VirtualController
from llm_app.virtual_site import site_of
from llm_app.virtual_store import VirtualStore
from llm_core import (
    SITE,
    CapSource,
    Clock,
    ConnectorCapped,
    ExternalLimit,
    LimitPut,
    LimitWithdrawn,
    MeterSampled,
    Mode,
    PerPhase,
    Saved,
    ma_up,
)

FALLBACK_A = 16
METER_PERIOD_S = 1.0
STATION_TICK_S = 1.0
_CALLS_TO_ADOPT = 20  # that a station must answer until it holds its floor
VOLTS = 230


@attrs.frozen
class Outcome:
    """What a run has shown: the plant's figures, its findings against the controller, and what was expected."""

    scenario: Scenario
    figures: dict[str, Any]
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    trace: Trace
    stays: tuple[Stay, ...]

    @property
    def held(self) -> bool:
        return all(verdict.held for verdict in self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        expected = [
            {"expected": v.expectation.text, "held": v.held, "found": None if v.found is None else list(v.found)}
            for v in self.verdicts
        ]
        return {
            "title": self.scenario.title,
            "seed": self.scenario.seed,
            "hours": self.scenario.seconds / 3600,
            **self.figures,
            "findings": [attrs.asdict(finding) for finding in self.findings],
            "expectations": expected,
        }


def made_up(stations: int, hours: float, seed: int, supply_a: float) -> Scenario:
    """The virtual site of the demo under a supply of `supply_a`, with drivers who come and go for `hours`."""
    plant = demo_site(stations, seed)
    limit_a = round(supply_a * DERATED, 1)
    nodes = ({**plant.nodes[0], "limit_a": dict.fromkeys(("L1", "L2", "L3"), limit_a)}, *plant.nodes[1:])
    plant = attrs.evolve(plant, nodes=nodes, fuse_a=supply_a)
    site = site_of(plant, fallback_a=min(FALLBACK_A, limit_a))
    return Scenario(f"{stations} stations, {supply_a:g} A", site, plant, hours * 3600, seed)


def simulate(scenario: Scenario, *, sample_s: float | None = None, tick_s: float = STATION_TICK_S) -> Outcome:
    """Play a scenario to its end; a picture may be drawn of a sample every `sample_s` (default: 2000 of them).

    The plant moves on every `tick_s`.
    """
    return clockwork.run(_played(scenario, sample_s or max(1.0, scenario.seconds / 2000), tick_s))


async def _played(scenario: Scenario, sample_s: float, tick_s: float) -> Outcome:
    return await _Run(scenario, sample_s, tick_s).played()


class _Run:
    """One run on the running loop: plant, judge and controller, and the links between. `Surroundings` of the script."""

    def __init__(self, scenario: Scenario, sample_s: float, tick_s: float = STATION_TICK_S) -> None:
        site, self._tick_s = scenario.site, tick_s
        self._scenario = scenario
        self._plant = Plant(scenario.plant, scenario.seed)
        self._plant.script = Script(
            scenario.faults, self._plant.meter, tuple(self._plant.stations.values()), surroundings=self
        )
        build_in(self._plant.building, scenario.steps)
        self._judge = Judge(self._plant, _terms(scenario))
        self._watch = Watch(scenario.expectations, self._judge)
        self._trace = Trace(self._plant, sample_s)
        self._clock = LoopClock(datetime.fromtimestamp(scenario.plant.epoch, UTC))
        self._machine = VirtualController(VirtualStore(site, scenario.badges), self._clock, self._tell_caps)
        self._links: dict[str, tuple[End, End]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._opened = 0
        self._limit_ids: dict[str, str] = {}
        self._caps: dict[str, float] = {}

    async def played(self) -> Outcome:
        parts = [self._machine.run(), Shell(self._plant, self._connect, tick_s=self._tick_s).run()]
        if self._scenario.site.supply.mode is Mode.DYNAMIC:
            parts.append(_poll(self._plant.meter, self._machine, self._clock))
        parts += (ask_from_outside(self._machine, asked) for asked in self._scenario.outside)
        tasks: list[asyncio.Task[None]] = [asyncio.create_task(part) for part in parts]
        done, _ = await asyncio.wait(tasks, timeout=self._scenario.seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # none of the parts may end by itself
        for running in (*tasks, *self._asking):
            running.cancel()
        await asyncio.gather(*tasks, *self._asking, return_exceptions=True)
        await self._machine.close()
        judge = self._judge
        findings, stays = tuple(judge.findings), judge.books.stays()
        return Outcome(self._scenario, judge.report(), findings, self._watch.verdicts(), self._trace, stays)

    @property
    def _controller(self) -> Controller:
        return self._machine.controller

    async def _connect(self, station_id: str) -> End:
        if not self._machine.runs:
            raise ConnectionRefusedError("the controller is down")
        self._opened += 1
        weather, seed = self._scenario.weather, f"{self._scenario.seed}/{station_id}/{self._opened}"
        client, server = pair(weather, weather, seed)
        self._links[station_id] = (client, server)
        self._machine.serve(server, station_id)
        return client

    def hang(self, station_id: str) -> None:
        self._judge.deaf(station_id)
        for end in self._links.get(station_id, ()):
            end.black_hole()

    def cut(self, station_id: str) -> None:
        for end in self._links.get(station_id, ()):
            end.abort()

    def step_clock(self, seconds: float) -> None:
        self._clock.stepped += timedelta(seconds=seconds)

    def restart_controller(self, after_s: float) -> None:
        self._judge.away(after_s)
        self._machine.die(after_s)

    def limit_charging(self, amps: float | None) -> None:
        limit = None if amps is None else ExternalLimit(limit_ma=PerPhase.same(round(amps * 1000)), reason="now")
        self._in_time(self._ask_limit("now", limit, amps))

    def plan_limit(self, amps: float, from_t: float, to_t: float) -> None:
        starts_at, ends_at = self._utc(from_t), self._utc(to_t)
        watts = math.floor(amps * VOLTS * self._scenario.site.supply.phases)
        limit = ExternalLimit(limit_w=watts, starts_at=starts_at, ends_at=ends_at, reason="planned")
        self._in_time(self._ask_planned(limit, amps, from_t, to_t))

    def _utc(self, t: float) -> datetime:
        return datetime.fromtimestamp(self._scenario.plant.epoch + t, UTC)

    def _in_time(self, asked: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(asked)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_limit(self, who: str, limit: ExternalLimit | None, amps: float | None) -> None:
        """As an operator does over the API: one limit for charging at the site, put or taken back."""
        before = self._limit_ids.pop(who, "")
        if before:
            self._judge.allow(None, who=who)
            await self._machine.ask(lambda: LimitWithdrawn("operator", before))
        if limit is not None:
            answer = await self._machine.ask(lambda: LimitPut("operator", limit))
            if isinstance(answer, Saved):
                self._judge.allow(amps, who=who)
                self._limit_ids[who] = answer.id

    async def _ask_planned(self, limit: ExternalLimit, amps: float, from_t: float, to_t: float) -> None:
        """As an operator does who says beforehand from when to when."""
        answer = await self._machine.ask(lambda: LimitPut("operator", limit))
        if not isinstance(answer, Saved):
            return
        now = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, from_t - now()))
        self._judge.allow(amps, who=answer.id)
        await asyncio.sleep(max(0.0, to_t - now()))
        self._judge.allow(None, who=answer.id)

    def limit_station(self, station_id: str, amps: float | None) -> None:
        self._judge.allow(amps, station_id)
        self._caps.pop(station_id, None)
        if amps is not None:
            self._caps[station_id] = amps
        self._tell_cap(self._controller, station_id, amps)

    def _tell_caps(self, controller: Controller) -> None:
        """What the charge point operator has said outlives the controller: its profiles are kept beside it."""
        for station_id, amps in self._caps.items():
            self._judge.allow(amps, station_id)
            self._tell_cap(controller, station_id, amps)

    def _tell_cap(self, controller: Controller, station_id: str, amps: float | None) -> None:
        limit_ma = None if amps is None else math.floor(amps * 1000)
        for outlet in self._plant.stations[station_id].connectors:
            controller.post(ConnectorCapped(station_id, outlet.number, CapSource.CPO, limit_ma))


def _terms(scenario: Scenario) -> Terms:
    supply = scenario.site.supply
    a, b, c = (ma / 1000 for ma in supply.fallback_ma)
    least_ma = min(station.min_ma for station in scenario.site.stations)
    terms = Terms(dynamic=supply.mode is Mode.DYNAMIC, fallback_a=(a, b, c), min_a=least_ma / 1000)
    meter = scenario.plant.meter  # a slow one may be silent for three of its periods, and shows all of it later
    later_s = max(meter.lag_s - 1.0, 0.0)
    slowest_s = max(station.quirks.answer_delay_s for station in scenario.plant.stations)
    return attrs.evolve(
        terms,
        meter_lost_s=terms.meter_lost_s + max(3 * meter.period_s - 5.0, 0.0) + later_s,
        frozen_s=terms.frozen_s + meter.period_s - 1.0 + later_s,
        adoption_s=terms.adoption_s + _CALLS_TO_ADOPT * slowest_s,
    )


async def _poll(meter: Meter, machine: VirtualController, clock: Clock) -> None:
    """Ask the meter every second, as the poller of a real one does; one that is silent posts nothing."""
    while True:
        reading = meter.reading()
        if reading is not None and machine.runs:
            amps = tuple(ma_up(Decimal(repr(a))) if a == a else None for a in reading.current_a)
            words = repr((reading.current_a, reading.energy_import_wh)).encode()
            machine.controller.post(
                MeterSampled(
                    SITE,
                    (amps[0], amps[1], amps[2]),
                    clock.monotonic_ms(),
                    zlib.crc32(words),
                    power_w=round(sum(reading.power_w)) if amps[0] is not None else None,
                    energy_import_wh=round(reading.energy_import_wh),
                )
            )
        await asyncio.sleep(METER_PERIOD_S)
