"""What is known of one station beyond the link it is on now."""

from __future__ import annotations

from datetime import datetime

import attrs

from llm_adapters.ocpp16.profiles import Dialect, Payload
from llm_adapters.ocpp16.station_time import StationTime
from llm_core import CapabilitiesFound, Clock, Inbox, Purpose, SetLimit, StationBooted, StationState


@attrs.define(eq=False)
class Memory:
    """A station as we have come to know it: its clock, how it wants limits worded, what lies in it by our hand."""

    station_id: str
    boot: StationBooted
    time: StationTime = StationTime()
    boots: int = 0  # how often it booted since this program runs
    ahead_told_ms: int | None = None  # how far ahead the core believes its clock
    dialect: Dialect = Dialect()
    unit_known: bool = False
    max_level: int | None = None
    explored: set[Purpose] = attrs.field(factory=set)  # other wordings were tried since its boot
    floors: dict[int, SetLimit] = attrs.field(factory=dict)  # the last one accepted, by connector
    single: dict[int, Purpose] = attrs.field(factory=dict)  # without stacking: whose limit lies in the one place
    foreign: dict[int, list[Payload]] = attrs.field(factory=dict)  # places still to clear of others' profiles
    changed: set[tuple[str, str]] = attrs.field(factory=set)  # configuration changes tried

    @classmethod
    def of(cls, station_id: str) -> Memory:
        return cls(station_id, StationBooted(station_id))

    def booted(self, boot: StationBooted) -> None:
        """It restarted: its clock is unknown again, and what it refused before it may take now."""
        self.boot = boot
        self.boots += 1
        self.time = StationTime()
        self.ahead_told_ms = None
        self.explored.clear()
        self.single.clear()

    def speaks(self, dialect: Dialect) -> None:
        """Remember how it wants limits worded; where places changed, others' profiles are looked for again."""
        if dialect.stacks != self.dialect.stacks:
            self.foreign.clear()
        self.dialect = dialect

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
