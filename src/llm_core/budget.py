"""What is left for charging, per node and phase.

Theory of operation
-------------------
The building's own load is what its meter shows less what the stations draw. The meter is a second old, the stations'
readings are ten; between them lie commands that a car may or may not have followed. So the building load is kept as
an interval [low, high]: a station's draw lies in [lo, hi], low = meter - Σ hi, high = meter - Σ lo.

`high` rises at once and falls only when every drawing station has reported since the meter fell: a car that stops
by itself looks like a falling building until its own reading tells. Raising is judged against `high`, lowering
against `low`: so a command under way neither hides an overload nor is answered twice, and twenty cars that ramp up
between two readings cut nobody. But what they may draw by then was fitted in before they were raised. So when the
meter shows an overload, the building has moved, and cars are taken to obey: to draw what they last said while they
have time to follow a raise, and what they were told once they must have followed a decrease. Else the overload would
last until their next readings are in.

Each phase of a meter ages alone: silent for `max(5 s, 3 periods)` nobody is raised, twice that and the safe
fallback holds until the phase has been good for 30 s. In these 30 s what it shows may only take: nobody is given more
than the fallback, nor anything where it shows that there is no room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from llm_core.copies import changed
from llm_core.events import MeterSampled
from llm_core.external import NO_CAPS, NodeCap
from llm_core.problem import LimitNode
from llm_core.quantities import PHASES, ZERO, PerPhase, Phase
from llm_core.site import SITE, Mode, Site, Station, on_phases
from llm_core.state import Allowance, ConnectorState, Key, MeterPhase, MeterState, State

SILENT_MS = 5_000
SILENT_PERIODS = 3
RECOVERED_MS = 30_000
FROZEN_MS = 60_000
NOT_FOLLOWING_MS = 15_000
FOLLOWED_MA = 3_000
REPEATING_MA = 1_000
FELL_AGAIN_MA = 1_000
STATION_SILENT_MS = 35_000  # a station that reported nothing for so long may draw anything it may
HOLD_MS = 10_000
DEADBAND_MA = 500
RISES_MS = 7_000  # a message, and what a car has to follow it
SURPRISE_MA = 1_000  # an overload of more is none by the noise of a meter
ABSURD_FACTOR = 20  # a current so many times the protection is no reading
NO_RAISE_MA = -10_000_000  # room to raise while the building load is unknown


@attrs.frozen(slots=False)  # made for each connector at each tick: so it is made faster
class Seen:
    """A connector as the budget counts it: what it may draw at the worst, and the interval its draw lies in."""

    key: Key
    station: Station
    connector: ConnectorState
    online: bool
    held_ma: int
    phases: tuple[Phase, ...]
    spread: int  # a limit is told in watts over so many phases, any of which may get it all; 1 where it is not
    worst_ma: PerPhase
    lo_ma: PerPhase
    hi_ma: PerPhase
    let_go_ma: PerPhase  # of lo, what it may have stopped drawing since, at our command


@attrs.frozen
class Room:
    """What charging may take at a node: raising only up to `raise_ma`, cut only what exceeds `keep_ma`."""

    raise_ma: PerPhase
    keep_ma: PerPhase
    external: tuple[Phase, ...] = ()  # where a limit from outside leaves less than there is


def counted_phases(connector: ConnectorState, station: Station, *, online: bool) -> tuple[Phase, ...]:
    """Measured phases while the station is heard, else all that it is wired to."""
    return connector.phases if online and connector.phases is not None else station.phase_rotation


def survey(state: State, now_ms: int) -> tuple[Seen, ...]:
    """Every adopted connector that ever connected, in the order of its key; the out of service once they connect."""
    seen = []
    measured = any(setup.includes_stations for setup in state.site.read_meters)
    for key in sorted(state.connectors):
        station = state.site.station(key[0])
        known = state.stations.get(key[0])
        if station is None or known is None or (station.out_of_service and not known.online):
            continue
        seen.append(_seen(key, state.connectors[key], station, state, now_ms, measured=measured))
    return tuple(seen)


def _seen(key: Key, connector: ConnectorState, station: Station, state: State, now_ms: int, *, measured: bool) -> Seen:
    known = state.stations[key[0]]
    falls_back = decays(state, key[0])
    by_any_car_ma = max(connector.ledger.by_any_car_ma(now_ms, falls_back), station.start_alone_ma)
    if known.capabilities.forgets and not known.online:
        by_any_car_ma = station.max_ma
    held_ma = max(connector.ledger.by_this_car_ma(now_ms, falls_back), by_any_car_ma)
    phases = counted_phases(connector, station, online=known.online)
    entitled = on_phases(held_ma, phases)
    if phases is not station.phase_rotation and by_any_car_ma:
        entitled = entitled.larger(on_phases(by_any_car_ma, station.phase_rotation))
    lo, hi = _draw(connector, entitled, online=known.online, now_ms=now_ms)
    worst = entitled.larger(lo)  # what is taken off the meter as its draw counts as its own
    heeds_nothing = connector.disobeys_ms is not None  # then a lost link gives nobody what it takes above its limit
    if (known.online or heeds_nothing) and connector.mean_ma is not None:
        worst = worst.larger(connector.mean_ma)
    elif held_ma:  # who rounds up does so as well while nobody hears it
        worst = worst.larger(entitled + connector.over_ma)
        if connector.mean_ma is not None:  # it may have rounded up at a limit that it had no time to settle on
            worst = worst.larger(connector.mean_ma.smaller(entitled.map(_in_whole_amps)))
    let_go = _let_go(connector, lo) if measured else ZERO
    unclear = known.capabilities.in_watts and connector.phases is None
    spread = len(station.phase_rotation) if unclear else 1
    return Seen(key, station, connector, known.online, held_ma, phases, spread, worst, lo, hi, let_go)


def _in_whole_amps(limit_ma: int) -> int:
    """What a car takes at a limit if it takes whole amps only and rounds up."""
    return -(-limit_ma // 1_000) * 1_000


def decays(state: State, station_id: str) -> bool:
    """Whether a lease at this station is known to run out: it keeps a second period, and its clock agrees."""
    known = state.stations[station_id]
    clock_ok = known.clock_ahead_ms is not None and abs(known.clock_ahead_ms) <= 10_000
    return known.capabilities.decays and clock_ok


def _draw(connector: ConnectorState, entitled: PerPhase, *, online: bool, now_ms: int) -> tuple[PerPhase, PerPhase]:
    if not online or not connector.readings or now_ms - connector.readings[-1].at_ms > STATION_SILENT_MS:
        return ZERO, entitled
    last = connector.readings[-1]
    if last.at_ms >= connector.settled_from_ms:
        return last.current_ma, last.current_ma
    may_draw = entitled + connector.over_ma
    return connector.readings[0].current_ma.smaller(last.current_ma), last.current_ma.larger(may_draw)


def _let_go(connector: ConnectorState, lo: PerPhase) -> PerPhase:
    """What its last reading says that it draws beyond the least that it was told since, in whole amps if the car takes
    only those.

    Once it has followed, the meter shows so much less, and whatever takes the place unseen looks like no rise of the
    building. So whoever raises it before the next reading is in must count that place as the building's.
    """
    if lo is ZERO or connector.readings[-1].at_ms >= connector.settled_from_ms:
        return ZERO
    gone = (lo - PerPhase.same(connector.least_told_ma // 1_000 * 1_000)).larger(ZERO)
    return gone if any(gone) else ZERO


def _if_it_obeys(entry: Seen, now_ms: int, under_way_ma: int) -> PerPhase:
    """The most that it draws if it obeys and takes all its time to follow a raise, and a decrease where all that are
    under way are of more than may be cut twice."""
    connector = entry.connector
    if not entry.online or connector.disobeys_ms is not None:
        return entry.hi_ma
    rises = connector.raised_ms is not None and now_ms < connector.raised_ms + RISES_MS
    if rises or connector.session is None:  # the share that is kept for a car that has not started covers no overload
        said = ZERO
        for reading in connector.readings:
            said = said.larger(reading.current_ma)
        return entry.hi_ma.smaller(said)
    if entry.held_ma > connector.offered_ma and under_way_ma > SURPRISE_MA:
        return entry.hi_ma
    told_ma = min(entry.held_ma, connector.offered_ma)
    return entry.hi_ma.smaller(on_phases(told_ma, entry.phases) + connector.over_ma)


def _drawn_if_all_obey(tree: Sequence[LimitNode], seen: tuple[Seen, ...], now_ms: int) -> dict[str, list[int]]:
    under_way_ma = sum(max(e.held_ma - e.connector.offered_ma, 0) for e in seen if e.connector.session is not None)
    return sum_per_node(tree, ((e.station.node, _if_it_obeys(e, now_ms, under_way_ma)) for e in seen))


def sum_per_node(tree: Sequence[LimitNode], loads: Iterable[tuple[str, PerPhase]]) -> dict[str, list[int]]:
    """Per node and phase, the loads under it: each is counted at its node and at every node above."""
    sums = {node.id: [0, 0, 0] for node in tree}
    for start, load in loads:
        total = sums[start]
        total[0] += load.l1
        total[1] += load.l2
        total[2] += load.l3
    for node in reversed(tree):  # parents come first in the tree, so here every child has its sum
        if node.parent is not None:
            own, above = sums[node.id], sums[node.parent]
            above[0] += own[0]
            above[1] += own[1]
            above[2] += own[2]
    return sums


# The meter


def sampled(state: State, event: MeterSampled, now_ms: int) -> State:
    """The state after a sample. One older than the last, or for a node without a meter, changes nothing."""
    if all(setup.node != event.node for setup in state.site.read_meters):
        return state
    before = state.meters.get(event.node, MeterState())
    if before.taken_ms is not None and event.taken_ms <= before.taken_ms:
        return state
    period_ms = before.period_ms
    if before.taken_ms is not None:
        period_ms = min(max((3 * period_ms + event.taken_ms - before.taken_ms) // 4, 200), 10_000)
    silent_ms = silence_ms(before.period_ms)  # a gap is none by the period that it stretched itself
    moved = event.fingerprint != before.fingerprint or before.changed_ms is None
    absurd_ma = ABSURD_FACTOR * max(state.site.supply.fuse_ma)
    phases = dict(before.phases)
    for phase, current_ma in zip(PHASES, event.current_ma, strict=True):
        good = current_ma is not None and abs(current_ma) <= absurd_ma
        known = phases.get(phase, MeterPhase())
        gap = known.seen_ms is not None and (now_ms - known.seen_ms > silent_ms or (moved and before.frozen))
        phases[phase] = _phase_after(known, current_ma if good else None, now_ms, gap=gap)
    meter = MeterState(
        phases=phases,
        taken_ms=event.taken_ms,
        period_ms=period_ms,
        fingerprint=event.fingerprint,
        changed_ms=now_ms if moved else before.changed_ms,
        frozen=not moved and before.frozen,
        drawn_ma=drawn_ma(state, event.node) if moved else before.drawn_ma,
        power_w=event.power_w,
        energy_import_wh=event.energy_import_wh,
        voltage_mv=event.voltage_mv,
    )
    return changed(state, meters={**state.meters, event.node: meter})


def _phase_after(phase: MeterPhase, current_ma: int | None, now_ms: int, *, gap: bool) -> MeterPhase:
    """After a gap, all that the meter shows may be the building's: each car may have stopped since it last reported."""
    if current_ma is None:
        return phase
    phase = changed(phase, current_ma=current_ma, seen_ms=now_ms)
    if gap:
        return changed(phase, good_since_ms=now_ms, high_ma=max(phase.high_ma, current_ma), fell_ms=None)
    return changed(phase, good_since_ms=now_ms if phase.good_since_ms is None else phase.good_since_ms)


def silence_ms(period_ms: int) -> int:
    return max(SILENT_MS, SILENT_PERIODS * period_ms)


def silent_from_ms(state: State, nodes: Iterable[str]) -> int | None:
    """When the first phase that is believed at these nodes will be silent if no more comes; None where none is."""
    meters = [state.meters[node] for node in nodes if node in state.meters]
    return min(
        (
            phase.seen_ms + silence_ms(meter.period_ms)
            for meter in meters
            for phase in meter.phases.values()
            if phase.seen_ms is not None and not phase.lost
        ),
        default=None,
    )


def drawn_ma(state: State, node: str) -> PerPhase:
    """What the stations that the meter of this node measures say they draw, on the phases of the site."""
    setup = next((setup for setup in state.site.meters if setup.node == node), None)
    if setup is None or not setup.includes_stations:
        return ZERO
    draws = (
        (station.node, connector.readings[-1].current_ma)
        for key, connector in state.connectors.items()
        if connector.readings and (station := state.site.station(key[0])) is not None
    )
    return PerPhase(*sum_per_node(state.site.limit_tree(), draws)[node])


def is_repeating(state: State, node: str, meter: MeterState) -> bool:
    """Whether the meter shows the same registers although its stations draw otherwise: no new information."""
    moved = drawn_ma(state, node) - meter.drawn_ma
    return meter.frozen or max(abs(change) for change in moved) >= REPEATING_MA


def aged(state: State, now_ms: int) -> dict[str, MeterState]:
    """The meters as far as they can be trusted now: lost when silent or frozen, back after 30 s of good samples."""
    meters: dict[str, MeterState] = {}
    for setup in state.site.read_meters:
        meter = state.meters.get(setup.node, MeterState())
        frozen = _is_frozen(state, setup.node, meter, now_ms)
        limit_ms = 2 * silence_ms(meter.period_ms)
        phases = dict(meter.phases)
        for phase in state.site.supply.site_phases:
            known = phases.get(phase, MeterPhase())
            silent = known.seen_ms is not None and now_ms - known.seen_ms >= limit_ms
            recovered = known.good_since_ms is not None and now_ms - known.good_since_ms >= RECOVERED_MS
            lost = silent or frozen or (known.lost and not recovered)
            good_since_ms = None if silent or frozen else known.good_since_ms
            if (lost, good_since_ms) != (known.lost, known.good_since_ms):
                phases[phase] = changed(known, lost=lost, good_since_ms=good_since_ms)
        meters[setup.node] = changed(meter, phases=phases, frozen=frozen)
    return meters


def _is_frozen(state: State, node: str, meter: MeterState, now_ms: int) -> bool:
    if meter.changed_ms is None:
        return False
    unchanged_ms = now_ms - meter.changed_ms
    if unchanged_ms < NOT_FOLLOWING_MS:
        return False
    moved = drawn_ma(state, node) - meter.drawn_ma
    return unchanged_ms >= FROZEN_MS or max(abs(change) for change in moved) >= FOLLOWED_MA


def interval(
    state: State, meters: Mapping[str, MeterState], seen: tuple[Seen, ...], now_ms: int
) -> dict[str, MeterState]:
    """The meters with `high_ma` brought up to date: it rises at once and falls only when all have reported."""
    tree = state.site.limit_tree()
    lows = sum_per_node(tree, ((entry.station.node, entry.lo_ma) for entry in seen))
    reported_ms = _oldest_report_ms(seen)
    after: dict[str, MeterState] = {}
    for setup in state.site.read_meters:
        meter = meters[setup.node]
        phases = dict(meter.phases)
        for index, phase in enumerate(PHASES):
            known = phases.get(phase)
            if known is None or known.current_ma is None:
                continue
            drawn = lows[setup.node][index] if setup.includes_stations else 0
            phases[phase] = _high(known, known.current_ma - drawn, reported_ms, now_ms)
        after[setup.node] = changed(meter, phases=phases)
    return after


def _oldest_report_ms(seen: tuple[Seen, ...]) -> int | None:
    """Of the connectors that are known to draw, when the one that has been quiet longest reported; None when none is.

    What draws nothing for sure takes nothing off the meter, so it cannot make a building look smaller than it is.
    """
    drawing = [
        entry.connector.readings[-1].at_ms
        for entry in seen
        if entry.lo_ma.l1 > 0 or entry.lo_ma.l2 > 0 or entry.lo_ma.l3 > 0
    ]
    return min(drawing, default=None)


def _high(phase: MeterPhase, apparent_ma: int, reported_ms: int | None, now_ms: int) -> MeterPhase:
    """`apparent_ma` is what the building seems to draw: less than nothing where a car stopped and has not said so."""
    candidate_ma = max(apparent_ma, 0)
    if candidate_ma >= phase.high_ma:
        return changed(phase, high_ma=candidate_ma, fell_ms=None)
    if phase.fell_ms is None:
        phase = changed(phase, fell_ms=now_ms, peak_ma=candidate_ma, fell_to_ma=apparent_ma)
    elif apparent_ma < phase.fell_to_ma - FELL_AGAIN_MA:  # perhaps another car has stopped: all must report again
        phase = changed(phase, fell_ms=now_ms, fell_to_ma=apparent_ma)
    peak_ma = max(phase.peak_ma, candidate_ma)
    if reported_ms is None or (phase.fell_ms is not None and reported_ms > phase.fell_ms):
        return changed(phase, high_ma=peak_ma, fell_ms=now_ms, peak_ma=candidate_ma, fell_to_ma=apparent_ma)
    return changed(phase, peak_ma=peak_ma)


# What is left


def rooms(
    site: Site,
    meters: Mapping[str, MeterState],
    seen: tuple[Seen, ...],
    strangers: PerPhase,
    now_ms: int,
    caps: Mapping[str, NodeCap] = NO_CAPS,
) -> dict[str, Room]:
    """Per node, what its stations may take; a node without a meter of its own carries stations only.

    `caps` are the limits from outside. Where nobody measures the building, it counts as it was taken to be at the worst
    when the safe limit was set: what a limit of the total takes off the node's own comes off the safe limit as well.
    """
    tree = site.limit_tree()
    highs = sum_per_node(tree, ((entry.station.node, entry.hi_ma) for entry in seen))
    result: dict[str, Room] = {}
    for node in tree:
        cap = caps.get(node.id)
        drawn = highs[node.id]
        most = node.limit_ma if cap is None else node.limit_ma.smaller(cap.total_ma)
        if node.id in meters and _is_surprised(most, meters[node.id]):
            drawn = _drawn_if_all_obey(tree, seen, now_ms)[node.id]
        strange = strangers if node.id == SITE else ZERO
        result[node.id] = room = _room(site, node, ZERO, meters, drawn, strange, now_ms)
        if cap is not None:
            own = site.supply.derated_ma if node.id == SITE else node.limit_ma
            less = (own - cap.total_ma).larger(ZERO)
            left = _room(site, node, less, meters, drawn, strange, now_ms)
            result[node.id] = _capped(room, left, cap.stations_ma - strange)
    return result


def _room(
    site: Site,
    node: LimitNode,
    less: PerPhase,
    meters: Mapping[str, MeterState],
    drawn_ma: list[int],
    strangers: PerPhase,
    now_ms: int,
) -> Room:
    """What the stations of a node may take when its limit is `less` by so much.

    Strangers are stations, too: what they draw is taken off wherever no meter shows it.
    """
    limit = node.limit_ma - less
    if node.id == SITE and site.supply.mode is Mode.STATIC:
        return Room(limit - strangers, limit - strangers)
    assumed = site.assumed(node.id)
    if assumed is not None:
        left = limit - assumed.load_ma - strangers
        return Room(left, left)
    setup = next((setup for setup in site.read_meters if setup.node == node.id), None)
    safe = (site.supply.fallback_ma - less - strangers).larger(ZERO) if node.id == SITE else ZERO
    if setup is not None:
        drawn = drawn_ma if setup.includes_stations else [0, 0, 0]
        return _metered(limit, meters[node.id], drawn, safe, now_ms)
    if node.id == SITE:  # dynamic, but nobody set up a meter: the safe limit holds
        safe = limit.smaller(safe)
        return Room(safe, safe)
    return Room(limit, limit)


def _capped(room: Room, left: Room, stations: PerPhase) -> Room:
    """What is left below limits from outside, and where that is less than the node's own limit leaves."""
    raise_ma, keep_ma = left.raise_ma.smaller(stations), left.keep_ma.smaller(stations)
    external = tuple(p for p in PHASES if raise_ma[p] < room.raise_ma[p] or keep_ma[p] < room.keep_ma[p])
    return Room(raise_ma, keep_ma, external)


def _is_surprised(limit: PerPhase, meter: MeterState) -> bool:
    """Whether the meter shows more than the limit, beyond its noise, on any phase."""
    shown = ((phase, known.current_ma) for phase, known in meter.phases.items())
    return any(ma is not None and ma > limit[phase] + SURPRISE_MA for phase, ma in shown)


def _metered(limit: PerPhase, meter: MeterState, drawn: list[int], safe: PerPhase, now_ms: int) -> Room:
    """What a meter leaves, phase by phase; of one that is back but not trusted yet, only what it takes is believed."""
    raise_ma, keep_ma = list(limit.smaller(safe)), list(limit.smaller(safe))
    silent_ms = silence_ms(meter.period_ms)
    for index, phase in enumerate(PHASES):
        known = meter.phases.get(phase)
        if known is None or known.current_ma is None or (known.lost and known.good_since_ms is None):
            continue
        low_ma = max(known.current_ma - drawn[index], 0)
        silent = known.seen_ms is None or now_ms - known.seen_ms >= silent_ms
        keeps_ma, raises_ma = limit[phase] - low_ma, NO_RAISE_MA if silent else limit[phase] - known.high_ma
        keep_ma[index] = min(keeps_ma, keep_ma[index]) if known.lost else keeps_ma
        raise_ma[index] = min(raises_ma, raise_ma[index]) if known.lost else raises_ma
    return Room(PerPhase(*raise_ma), PerPhase(*keep_ma))


def allowed(
    before: Mapping[tuple[str, Phase], Allowance], node: str, wanted: PerPhase, now_ms: int, *, metered: bool
) -> dict[tuple[str, Phase], Allowance]:
    """What charging may take at a node: falls at once; behind a meter it grows to what was free for 10 s on end."""
    result = {}
    for phase in PHASES:
        allowance = before.get((node, phase))
        limit_ma = wanted[phase]
        if allowance is None or not metered or limit_ma <= allowance.limit_ma + DEADBAND_MA:
            kept_ma = limit_ma if allowance is None or not metered else min(limit_ma, allowance.limit_ma)
            result[node, phase] = Allowance(kept_ma)
        else:
            result[node, phase] = _rising(allowance, limit_ma, now_ms)
    return result


def _rising(allowance: Allowance, limit_ma: int, now_ms: int) -> Allowance:
    if allowance.rising_since_ms is None:
        return attrs.evolve(allowance, rising_since_ms=now_ms, rising_to_ma=limit_ma)
    rising_to_ma = min(allowance.rising_to_ma, limit_ma)
    if now_ms - allowance.rising_since_ms >= HOLD_MS:
        return Allowance(rising_to_ma, now_ms, limit_ma)
    return attrs.evolve(allowance, rising_to_ma=rising_to_ma)
