"""What is known of one station beyond the link it is on now, and of others of its model and firmware.

What one station of a kind was found to want, the next one is offered first: fewer refusals, and no change of its
configuration that is known to come to nothing (some restart on it). It is kept over our own restarts.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from llm_adapters.ocpp16.calls import LongTags
from llm_adapters.ocpp16.profiles import LIVE_LEVEL, Dialect, Payload
from llm_adapters.ocpp16.station_time import StationTime
from llm_core import CapabilitiesFound, Clock, Inbox, ModelMemory, Purpose, SetLimit, StationBooted, StationState

Change = tuple[str, str]  # of the configuration: key and value


@attrs.define(eq=False)
class Memory:
    """A station as we have come to know it: its clock, how it wants limits worded, what lies in it by our hand."""

    station_id: str
    boot: StationBooted
    time: StationTime = StationTime()
    boots: int = 0  # how often it booted since this program runs
    long_tags: LongTags = attrs.field(factory=LongTags)
    ahead_told_ms: int | None = None  # how far ahead the core believes its clock
    dialect: Dialect = Dialect()
    unit_known: bool = False
    max_level: int | None = None
    one_level: bool = False  # found by trial: it takes the lowest level only, without saying so
    explored: set[Purpose] = attrs.field(factory=set)  # other wordings were tried since its boot…
    refused: dict[Purpose, set[Dialect]] = attrs.field(factory=dict)  # …and these it did not take
    floors: dict[int, SetLimit] = attrs.field(factory=dict)  # the last one accepted, by connector
    covered: set[int] = attrs.field(factory=set)  # connectors where a live default was laid over the floor
    single: dict[int, Purpose] = attrs.field(factory=dict)  # without stacking: whose limit lies in the one place
    foreign: dict[int, list[Payload]] = attrs.field(factory=dict)  # places still to clear of others' profiles
    clears_broadly: set[int] = attrs.field(factory=set)  # connectors where it claims to have cleared what was not ours
    floor_lost: set[int] = attrs.field(factory=set)  # connectors where such a clear may have taken the floor along
    not_on_demand: int = 0  # how often in a row it gave no reading when it was asked for one
    changed: set[Change] = attrs.field(factory=set)  # configuration changes tried
    useless: set[Change] = attrs.field(factory=set)  # those that its model refuses, or takes and forgets
    models: ModelMemory | None = None

    @classmethod
    def of(cls, station_id: str, models: ModelMemory | None = None) -> Memory:
        return cls(station_id, StationBooted(station_id), models=models)

    @property
    def model(self) -> str | None:
        """The kind of station; None before it told."""
        told = (self.boot.vendor, self.boot.model, self.boot.firmware)
        return " / ".join(told) if self.boot.model else None

    @property
    def may_have_one_level(self) -> bool:
        """Whether it may take level 0 only: it tells no level, or tells 1 and may mean how many there are."""
        return self.max_level is None or self.max_level <= LIVE_LEVEL

    def booted(self, boot: StationBooted) -> None:
        """It restarted: its clock is unknown again, and what it refused before it may take now."""
        before, self.boot = self.model, boot
        self.boots += 1
        if self.model != before:
            self._recall()
        self.time = StationTime()
        self.ahead_told_ms = None
        self.explored.clear()
        self.refused.clear()
        self.single.clear()
        self.not_on_demand = 0

    def speaks(self, dialect: Dialect) -> None:
        """Remember how it wants limits worded; where places changed, others' profiles are looked for again."""
        if dialect.stacks != self.dialect.stacks:
            self.foreign.clear()
        self.dialect = dialect
        self._remember()

    def floor_lies(self, connector: int) -> None:
        """The floor was taken in a place of its own: nothing else lies there."""
        self.single.pop(connector, None)
        self.floor_lost.discard(connector)

    def found_useless(self, change: Change) -> None:
        """This change of the configuration is not worth trying again with this model."""
        self.useless.add(change)
        self._remember()

    def _remember(self) -> None:
        if self.models is not None and self.model is not None:
            known = {"dialect": attrs.asdict(self.dialect), "useless": sorted(self.useless)}
            self.models.remember(self.model, json.dumps(known, sort_keys=True))

    def _recall(self) -> None:
        """Begin with what others of its model and firmware were found to be like."""
        document = self.models.recall(self.model) if self.models is not None and self.model is not None else None
        if document is None:
            return
        try:
            known: Any = json.loads(document)
            dialect = Dialect(**known["dialect"])
            useless = {(str(key), str(value)) for key, value in known["useless"]}
        except (ValueError, TypeError, KeyError):  # written by another version: learned anew
            return
        if dialect.stacks != self.dialect.stacks:
            self.foreign.clear()
        self.dialect, self.useless = dialect, useless

    def utc(self, clock: Clock) -> datetime:
        """The time on its clock, ours while it is unknown."""
        return self.time.utc(clock.monotonic_ms()) or clock.utc()


def tell_capabilities(memory: Memory, inbox: Inbox) -> None:
    """Post what the core must know of how the station takes limits; what it knows besides stays."""
    known = inbox.state.stations.get(memory.station_id, StationState()).capabilities
    found = attrs.evolve(
        known,
        step_ma=memory.dialect.step_ma,
        in_watts=memory.dialect.in_watts,
        stacks=memory.dialect.stacks,
        decays=memory.dialect.takes_periods,
    )
    inbox.post(CapabilitiesFound(memory.station_id, found))
