"""Limits that others set: the grid operator's at a node, the CPO's and the driver's at one connector.

Theory of operation
-------------------
A limit from outside is a limit like any other: it lowers what is decided, never what a station may hold. So the books
stay as they are, and nothing above them needs a special case: a node carries the smallest of its limits, a connector
asks for no more than the smallest of its caps.

When a limit holds is a question of the wall clock, and that clock may be wrong. `Between` is what it may mean: from the
earliest to the latest instant that it can be now. A limit holds while it may have begun and may not have ended, so a
clock that fell to 1970 ends no limit of the grid operator, and one that leapt ahead ends none before the new time has
stood for an hour. One that fell while nobody ran to see it may have lost any time: all that is planned may have begun.

A sender who promised to keep a limit alive and fell silent has said beforehand what follows: it is kept, or lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import attrs

from llm_core.problem import Fault
from llm_core.quantities import PHASES, Now, PerPhase, Phase
from llm_core.sessions import AHEAD, OLDEST_STAMP
from llm_core.site import MOST_MA, SITE, Mode, Site

VOLTS = 230  # a limit in watts counts with this voltage on each phase of the site
STOOD_MS = 3_600_000  # so long must a clock that was set keep its time until it alone is believed
UNLIMITED = PerPhase.same(MOST_MA)
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)
LEAST_KEEP_ALIVE_S, MOST_KEEP_ALIVE_S = 10, 86_400


class AppliesTo(StrEnum):
    """Whose current is limited: that of the stations below a node, or all that flows through it."""

    STATIONS = "stations"
    TOTAL = "total"


class Lapse(StrEnum):
    """What happens to a limit whose sender has died."""

    KEEP = "keep"
    LIFT = "lift"


class CapSource(StrEnum):
    """Who caps a single connector."""

    CPO = "cpo"
    DRIVER = "driver"
    TEST = "test"  # a commissioning test tries whether a car obeys


@attrs.frozen
class ExternalLimit:
    """A limit at a node, in amps per phase or in watts over all phases of the site (one of both)."""

    id: str = ""
    node: str = SITE
    limit_ma: PerPhase | None = None
    limit_w: int | None = None
    applies_to: AppliesTo = AppliesTo.STATIONS
    starts_at: datetime | None = None  # None: at once
    ends_at: datetime | None = None  # None: until it is taken back
    keep_alive_s: int | None = None  # its sender promised to be heard that often
    then: Lapse = Lapse.KEEP
    reason: str = ""

    def on(self, phases: tuple[Phase, ...]) -> PerPhase:
        """What it leaves on each of the phases of the site; on the smaller side where both are given."""
        amps = UNLIMITED if self.limit_ma is None else self.limit_ma
        if self.limit_w is None:
            return amps
        return amps.smaller(PerPhase.same(self.limit_w * 1000 // (VOLTS * len(phases))))


class Ended(StrEnum):
    """Why a limit holds no longer."""

    OVER = "over"  # its end came
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"
    LIFTED = "lifted"  # its sender fell silent; it holds again when the sender is heard


@attrs.frozen
class LimitRecord:
    """A limit as it is kept, and what became of it: what it limits when it began, and how long until that held.

    `drawn_ma` is the current of the stations or of all that flows, whichever it limits; None: nobody measured it.
    """

    limit: ExternalLimit
    by: str
    set_at: datetime
    began_at: datetime | None = None
    drawn_ma: PerPhase | None = None
    held_after_ms: int | None = None
    ended_at: datetime | None = None
    ended: Ended | None = None


@attrs.frozen
class NodeCap:
    """What the limits from outside leave at a node: to its stations, and to all that flows there."""

    stations_ma: PerPhase = UNLIMITED
    total_ma: PerPhase = UNLIMITED


NO_CAP = NodeCap()
NO_CAPS: Mapping[str, NodeCap] = {}


def node_caps(limits: Iterable[ExternalLimit], phases: tuple[Phase, ...]) -> dict[str, NodeCap]:
    """Per node, the smallest of the limits that hold there."""
    caps: dict[str, NodeCap] = {}
    for limit in limits:
        cap, left = caps.get(limit.node, NO_CAP), limit.on(phases)
        if limit.applies_to is AppliesTo.TOTAL:
            caps[limit.node] = attrs.evolve(cap, total_ma=cap.total_ma.smaller(left))
        else:
            caps[limit.node] = attrs.evolve(cap, stations_ma=cap.stations_ma.smaller(left))
    return caps


def narrowest(caps: Mapping[CapSource, int]) -> CapSource | None:
    """Who caps a connector the most; the CPO where two say the same."""
    return min(caps, key=lambda source: (caps[source], source), default=None)


# Asked for


@attrs.frozen
class LimitPut:
    """Somebody limits a node from outside; a limit with an `id` replaces that one. Answer: `Saved` with its id."""

    by: str
    limit: ExternalLimit
    request: int = 0


@attrs.frozen
class LimitHeard:
    """The sender of a limit is alive. Answer: `Saved`, or `NotSaved` where there is no such limit."""

    limit_id: str
    request: int = 0


@attrs.frozen
class LimitWithdrawn:
    """Somebody takes a limit back. Answer: `Saved`, or `NotSaved` where there is no such limit."""

    by: str
    limit_id: str
    request: int = 0


@attrs.frozen
class ConnectorCapped:
    """The CPO or the driver lets a connector have at most `limit_ma` per phase (None: whatever there is)."""

    station_id: str
    connector: int
    source: CapSource
    limit_ma: int | None


# Time


@attrs.frozen
class ClockDoubt:
    """How far from what it shows our clock may be since it was set: `back_ms` earlier to `ahead_ms` later."""

    since_ms: int
    back_ms: int = 0
    ahead_ms: int = 0


def doubted(doubt: ClockDoubt | None, by_ms: int, now_ms: int) -> ClockDoubt:
    """After a step of the clock by `by_ms`, either the time before it or the one after it may be right."""
    before = doubt if doubt is not None and now_ms - doubt.since_ms < STOOD_MS else ClockDoubt(now_ms)
    return ClockDoubt(now_ms, max(before.back_ms + by_ms, 0), max(before.ahead_ms - by_ms, 0))


Between = tuple[datetime, datetime]


def instants(now: Now, latest_utc: datetime | None, doubt: ClockDoubt | None) -> Between:
    """The earliest and the latest instant that it may be now; `latest_utc` is the latest ever recorded."""
    if now.utc < OLDEST_STAMP:  # a clock that was never set
        return latest_utc or EARLIEST, LATEST
    earliest = latest = now.utc
    if doubt is not None and now.monotonic_ms - doubt.since_ms < STOOD_MS:
        earliest -= min(timedelta(milliseconds=doubt.back_ms), now.utc - EARLIEST)
        latest += min(timedelta(milliseconds=doubt.ahead_ms), LATEST - now.utc)
    if latest_utc is not None and latest_utc - now.utc > AHEAD:  # without a step that we saw it fell while we were off
        latest = LATEST if doubt is None else max(latest, latest_utc)
    return earliest, latest


def may_hold(limit: ExternalLimit, between: Between) -> bool:
    """Whether the limit may be in force: it may have begun, and may not have ended."""
    return not is_planned(limit, between) and not is_over(limit, between)


def is_planned(limit: ExternalLimit, between: Between) -> bool:
    """Whether it has surely not begun."""
    return limit.starts_at is not None and limit.starts_at > between[1]


def is_over(limit: ExternalLimit, between: Between) -> bool:
    """Whether it has surely ended."""
    return limit.ends_at is not None and limit.ends_at <= between[0]


# What can be asked for


def limit_faults(limit: ExternalLimit, site: Site, between: Between) -> tuple[Fault, ...]:
    """Everything that keeps this limit from being taken, pointing into it as the API shows it."""
    faults = []
    if all(node.id != limit.node for node in site.limit_tree()):
        faults.append(Fault("/node", f"there is no node “{limit.node}”"))
    if (limit.limit_ma is None) == (limit.limit_w is None):
        faults.append(Fault("/limit_a", "give either amps per phase or kilowatts"))
    if limit.limit_ma is not None and not all(0 <= ma <= MOST_MA for ma in limit.limit_ma):
        faults.append(Fault("/limit_a", f"must lie between 0 and {MOST_MA // 1000} A"))
    if limit.limit_w is not None and not 0 <= limit.limit_w <= MOST_MA * VOLTS * len(PHASES) // 1000:
        faults.append(Fault("/limit_kw", "must not be negative, nor more than any supply carries"))
    if limit.applies_to is AppliesTo.TOTAL and limit.node == SITE and not _sees_building(site):
        faults.append(Fault("/applies_to", "nobody measures the building here, so only “stations” can be limited"))
    if limit.starts_at is not None and limit.ends_at is not None and limit.ends_at <= limit.starts_at:
        faults.append(Fault("/ends_at", "lies before the start"))
    elif is_over(limit, between):
        faults.append(Fault("/ends_at", "lies in the past"))
    if limit.keep_alive_s is not None and not LEAST_KEEP_ALIVE_S <= limit.keep_alive_s <= MOST_KEEP_ALIVE_S:
        faults.append(Fault("/keep_alive_s", f"must lie between {LEAST_KEEP_ALIVE_S} and {MOST_KEEP_ALIVE_S} seconds"))
    return tuple(faults)


def _sees_building(site: Site) -> bool:
    return site.supply.mode is Mode.DYNAMIC and any(meter.node == SITE for meter in site.meters)
