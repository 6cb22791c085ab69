"""The last gate before the wire. It recomputes the invariants from the ledger and shares no logic with the planners.

What the building may draw it works out from the readings itself, and believes the planners' figure only where that is
higher; which limits from outside hold it reads from their own times. That a command lowers it believes only where no
more is told than what surely lies in the station.

It never raises anyone. When a command would break I1, I4, I5 or I6 it drops every raise of the tick and keeps the
decreases; one that is none becomes what the station surely has, or 0. That it had to is an alarm, since it means that
something above is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

import attrs

from llm_core.effects import ClearLimit, Purpose, SetLimit
from llm_core.external import VOLTS, AppliesTo, Lapse
from llm_core.ledger import Held, Slot
from llm_core.quantities import PHASES, Phase
from llm_core.site import SITE, Mode, Station
from llm_core.state import ConnectorState, Key, LimitState, MeterPhase, State

LEASE_AND_MARGIN_MS = 30_000
TRUSTED_CLOCK_MS = 10_000
READS_WITHIN_MS = 35_000  # a station that said nothing for longer may draw nothing at all
JUST_NOW_MS = 10_000  # a reading so young shows what a car surely has
QUIET_MS, QUIET_PERIODS = 5_000, 3  # from then on a meter proves no room
PLACES = tuple(Purpose)  # each lies above the one before
DOUBT = timedelta(minutes=5)  # so far may our clock be off without anybody noticing

Command = SetLimit | ClearLimit
Place = tuple[str, Phase]


@attrs.frozen
class Passed:
    """The commands that may leave, and what was wrong with the others."""

    commands: tuple[Command, ...]
    violations: tuple[str, ...]


def guard(state: State, commands: tuple[Command, ...], now_ms: int) -> Passed:
    """Let through what keeps every invariant; drop all raises when one breaks any."""
    stations = {station.id: station for station in state.site.stations}
    unsound = [command for command in commands if not _is_sound(state, stations, command)]
    sound = tuple(command for command in commands if command not in unsound)
    violations = (
        *(f"{'I6' if isinstance(command, ClearLimit) else 'I4'}: {command}" for command in unsound),
        *_overloads(state, stations, sound, now_ms),
        *_left_alone(state, stations, sound),
    )
    if not violations:
        return Passed(sound, ())
    safe = (_made_safe(state, stations, command, command in unsound, now_ms) for command in commands)
    return Passed(tuple(command for command in safe if command is not None), violations)


def _is_sound(state: State, stations: Mapping[str, Station], command: Command) -> bool:
    """Whether it is for a connector that counts, and in range; a floor must never be cleared away."""
    if isinstance(command, ClearLimit):
        return command.purpose is not Purpose.FLOOR
    return _is_known(state, stations, command) and _in_range(stations[command.station_id], command)


def _is_known(state: State, stations: Mapping[str, Station], command: SetLimit) -> bool:
    key = (command.station_id, command.connector)
    return key in state.connectors and _counts(state, stations, key)


def _in_range(station: Station, command: SetLimit) -> bool:
    """I4: 0 or at least the minimum, never above the maximum; what follows a lease never rises."""
    legal = all(ma == 0 or station.min_ma <= ma <= station.max_ma for ma in (command.limit_ma, command.then_ma))
    return legal and command.then_ma <= command.limit_ma


def _made_safe(
    state: State, stations: Mapping[str, Station], command: Command, is_unsound: bool, now_ms: int
) -> Command | None:
    """What may leave in spite of a violation: a decrease as it is, or as far as it is one; of a raise nothing."""
    if isinstance(command, ClearLimit):
        return None if is_unsound else command
    if not command.lowers or not _is_known(state, stations, command):
        return None
    if not is_unsound and _lowers(state, command, now_ms):
        return command
    has_ma = _surely_has(state, command, now_ms) if command.lease_ms is not None else 0
    limit_ma = min(command.limit_ma, has_ma)
    return attrs.evolve(command, limit_ma=limit_ma if limit_ma >= stations[command.station_id].min_ma else 0, then_ma=0)


# What a connector may be giving, and what it surely has, straight from its books


def _lowers(state: State, command: SetLimit, now_ms: int) -> bool:
    """Whether nobody gains by it: it says so, and tells no more than what counts already and surely lies there."""
    connector = state.connectors[command.station_id, command.connector]
    counts_ma = _of_any_car(state, command.station_id, connector, now_ms)
    if command.purpose is Purpose.TRANSACTION:
        counts_ma = max(counts_ma, _of_this_car(state, command.station_id, connector, now_ms))
    return command.lowers and command.limit_ma <= min(counts_ma, _surely_has(state, command, now_ms))


def _surely_has(state: State, command: SetLimit, now_ms: int) -> int:
    """The least that its car may have been told; where nobody knows what lies there, what it draws just now."""
    connector = state.connectors[command.station_id, command.connector]
    ledger = connector.ledger
    sure_ma = 0
    for place in PLACES[: PLACES.index(command.purpose) + 1]:
        slot = ledger.slot(place)
        leasts = [_least(held, command, sure_ma, now_ms) for held in _helds((slot,))]
        if slot.acknowledged is None:  # there may be nothing in it
            leasts.append(sure_ma)
        sure_ma = min(leasts)
    fresh = connector.readings and now_ms - connector.readings[-1].at_ms <= JUST_NOW_MS
    if ledger.inherited is None or not fresh:
        return sure_ma
    return max(sure_ma, max(connector.readings[-1].current_ma))


def _least(held: Held, command: SetLimit, below_ma: int, now_ms: int) -> int:
    """The least that this limit gives the car of a command: nothing of its own where it is for another transaction."""
    if held.limit_ma is None or held.transaction_id not in (None, command.transaction_id):
        return below_ma
    fallen = held.lease_ms is not None and held.sent_ms + held.lease_ms - TRUSTED_CLOCK_MS <= now_ms
    return min(held.limit_ma, held.then_ma) if fallen else held.limit_ma


def _falls_back(state: State, station_id: str) -> bool:
    station = state.stations[station_id]
    agrees = station.clock_ahead_ms is not None and -TRUSTED_CLOCK_MS <= station.clock_ahead_ms <= TRUSTED_CLOCK_MS
    return agrees and station.capabilities.decays


def _helds(slots: Iterable[Slot]) -> Iterator[Held]:
    for slot in slots:
        if slot.acknowledged is not None:
            yield slot.acknowledged
        yield from slot.open


def _of_this_car(state: State, station_id: str, connector: ConnectorState, now_ms: int) -> int:
    """What its transaction allows or its car is still following down."""
    ledger, falls_back = connector.ledger, _falls_back(state, station_id)
    values = [0, *(_gives(held, now_ms, falls_back) for held in _helds((ledger.transaction,)))]
    return max([*values, *(trail.limit_ma for trail in ledger.trails if trail.until_ms > now_ms)])


def _of_any_car(state: State, station_id: str, connector: ConnectorState, now_ms: int) -> int:
    """What it allows whatever car there is: floor, default, and what is left from before we knew it."""
    ledger, falls_back = connector.ledger, _falls_back(state, station_id)
    values = [0, *(_gives(held, now_ms, falls_back) for held in _helds((ledger.floor, ledger.default)))]
    if ledger.inherited is not None:
        until_ms = ledger.inherited.until_ms
        over = until_ms is not None and until_ms <= now_ms
        values.append(ledger.inherited.then_ma if over and falls_back else ledger.inherited.limit_ma)
    return max(values)


def _gives(held: Held, now_ms: int, falls_back: bool) -> int:
    over = held.lease_ms is not None and held.sent_ms + held.lease_ms + LEASE_AND_MARGIN_MS <= now_ms
    return (held.then_ma if over and falls_back else held.limit_ma) or 0


# I1


def _overloads(
    state: State, stations: Mapping[str, Station], commands: tuple[Command, ...], now_ms: int
) -> Iterator[str]:
    """I1: with every command of this tick in force, worst cases and building fit wherever somebody is raised."""
    limits_told = [c for c in commands if isinstance(c, SetLimit)]
    raising = [c for c in limits_told if not _lowers(state, c, now_ms)]
    if not raising:
        return
    this_car = _most_told(c for c in limits_told if c.purpose is Purpose.TRANSACTION)
    any_car = _most_told(c for c in limits_told if c.purpose is not Purpose.TRANSACTION)
    worst = {
        key: _worst(state, key, stations[key[0]], this_car.get(key, 0), any_car.get(key, 0), now_ms)
        for key in state.connectors
        if _counts(state, stations, key)
    }
    above = _above(state)
    totals = _summed((above[stations[key[0]].node], phases) for key, phases in worst.items())
    draws = {key: _surely_drawn(state, key, now_ms) for key in worst}
    for key, told_ma in _most_told(c for c in raising if c.purpose is not Purpose.FLOOR).items():
        draws[key] = _still_drawn(state, key, draws[key], worst[key], told_ma, now_ms)
    drawn = _summed((above[stations[key[0]].node], phases) for key, phases in draws.items())
    places = {
        (node, phase)
        for command in raising
        for node in above[stations[command.station_id].node]
        for phase in _reaches(state, stations[command.station_id], command)
    }
    limits = {node.id: node.limit_ma for node in state.site.limit_tree()}
    for node_id, phase in sorted(places):
        if _is_quiet(state, node_id, phase, now_ms):
            yield f"I5: {node_id} {phase}: the meter is silent"
        stations_ma = totals[node_id, phase]
        total_ma = stations_ma + _building(state, node_id, phase, drawn[node_id, phase])
        allowed_ma, most_ma = _outside(state, node_id, phase)
        if total_ma > _limit(state, node_id, limits[node_id][phase], phase, most_ma):
            yield f"I1: {node_id} {phase}: {total_ma} mA"
        back = _back(state, node_id, phase)
        if back is not None:
            shown_ma = stations_ma + _shown(state, node_id, back, drawn[node_id, phase])
            if shown_ma > limits[node_id][phase] - _less(state, node_id, limits[node_id][phase], phase, most_ma):
                yield f"I1: {node_id} {phase}: {shown_ma} mA by a meter that is back"
        if allowed_ma is not None and stations_ma + _strange(state, node_id, phase) > allowed_ma:
            yield f"I1: {node_id} {phase}: {stations_ma} mA of the stations, {allowed_ma} mA allowed from outside"


def _summed(loads: Iterable[tuple[tuple[str, ...], Mapping[Phase, int]]]) -> dict[Place, int]:
    """Each load at every node that it hangs under."""
    totals: dict[Place, int] = {}
    for nodes, phases in loads:
        for node in nodes:
            for phase, ma in phases.items():
                totals[node, phase] = totals.get((node, phase), 0) + ma
    return totals


def _most_told(commands: Iterable[SetLimit]) -> dict[Key, int]:
    told: dict[Key, int] = {}
    for command in commands:
        key = (command.station_id, command.connector)
        told[key] = max(told.get(key, 0), command.limit_ma)
    return told


def _counts(state: State, stations: Mapping[str, Station], key: Key) -> bool:
    station, known = stations.get(key[0]), state.stations.get(key[0])
    return station is not None and known is not None and (known.online or not station.out_of_service)


def _above(state: State) -> dict[str, tuple[str, ...]]:
    """Each node with all that are above it."""
    above: dict[str, tuple[str, ...]] = {}
    for node in state.site.limit_tree():  # parents come first
        above[node.id] = (node.id, *(above[node.parent] if node.parent is not None else ()))
    return above


def _reaches(state: State, station: Station, command: SetLimit) -> tuple[Phase, ...]:
    """The phases on which this limit may be used: of a transaction those of its car, else all that are wired."""
    measured = state.connectors[command.station_id, command.connector].phases
    if command.purpose is not Purpose.TRANSACTION or measured is None or not state.stations[command.station_id].online:
        return station.phase_rotation
    return measured


def _worst(state: State, key: Key, station: Station, this_ma: int, any_ma: int, now_ms: int) -> dict[Phase, int]:
    """Per phase: this car's part where the car was measured to draw, any car's part wherever there is a wire."""
    connector, online = state.connectors[key], state.stations[key[0]].online
    this_ma = max(_of_this_car(state, key[0], connector, now_ms), this_ma)
    any_ma = max(_of_any_car(state, key[0], connector, now_ms), station.start_alone_ma, any_ma)
    if not online and state.stations[key[0]].capabilities.forgets:  # who knows whether it has restarted meanwhile?
        any_ma = station.max_ma
    measured = connector.phases if online and connector.phases is not None else station.phase_rotation
    seen = online or connector.disobeys_ms is not None  # one that disobeys draws on when nobody hears it any more
    worst = {}
    for phase in PHASES:
        drawn_ma = connector.mean_ma[phase] if seen and connector.mean_ma is not None else 0
        wired_ma = any_ma if phase in station.phase_rotation else 0
        worst[phase] = max(this_ma if phase in measured else 0, wired_ma, drawn_ma)
    return worst


def _is_metered(state: State, node_id: str) -> bool:
    has_meter = any(setup.node == node_id and setup.is_read for setup in state.site.meters)
    return has_meter and (node_id != SITE or state.site.supply.mode is Mode.DYNAMIC)


def _surely_drawn(state: State, key: Key, now_ms: int) -> dict[Phase, int]:
    """The least that a connector draws: its last reading, and no more than the one before while it follows a change."""
    connector = state.connectors[key]
    recent = state.stations[key[0]].online and connector.readings
    if not recent or now_ms - connector.readings[-1].at_ms > READS_WITHIN_MS:
        return dict.fromkeys(PHASES, 0)
    last = connector.readings[-1]
    follows = last.at_ms < connector.settled_from_ms
    said = connector.readings if follows else (last,)
    return {phase: min(reading.current_ma[phase] for reading in said) for phase in PHASES}


def _still_drawn(
    state: State, key: Key, drawn: Mapping[Phase, int], worst: Mapping[Phase, int], told_ma: int, now_ms: int
) -> dict[Phase, int]:
    """What of its draw one that is raised surely still has: it may have let go of all beyond the least it was told, and
    of the part of an ampere that this had.

    Then the meter shows it gone, and what it may take from now on comes on top; unless it counts with as much anyway.
    """
    connector = state.connectors[key]
    ledger, falls_back = connector.ledger, _falls_back(state, key[0])
    if connector.readings and connector.readings[-1].at_ms >= connector.settled_from_ms:
        return dict(drawn)
    helds = _helds((ledger.floor, ledger.default, ledger.transaction))
    limit_ma = max([told_ma, *(_gives(held, now_ms, falls_back) for held in helds)])
    least_ma = connector.least_told_ma - connector.least_told_ma % 1_000
    gone = {phase: max(ma - least_ma, 0) for phase, ma in drawn.items()}
    return {p: ma - (max(limit_ma + gone[p] - worst[p], 0) if gone[p] else 0) for p, ma in drawn.items()}


def _believed(state: State, node_id: str, phase: Phase) -> MeterPhase | None:
    """The node's own meter on this phase, if it has one that is to be trusted."""
    meter = state.meters.get(node_id) if _is_metered(state, node_id) else None
    known = meter.phases.get(phase) if meter is not None else None
    return None if known is None or known.lost or known.current_ma is None else known


def _back(state: State, node_id: str, phase: Phase) -> MeterPhase | None:
    """The node's own meter on this phase where it speaks again, though it is not to be trusted yet."""
    meter = state.meters.get(node_id) if _is_metered(state, node_id) else None
    known = meter.phases.get(phase) if meter is not None else None
    return known if known is not None and known.lost and known.good_since_ms is not None else None


def _is_quiet(state: State, node_id: str, phase: Phase, now_ms: int) -> bool:
    """Whether a meter that is still trusted has been silent too long to prove that there is room."""
    known = _believed(state, node_id, phase)
    if known is None:
        return False
    may_be_ms = max(QUIET_MS, QUIET_PERIODS * state.meters[node_id].period_ms)
    return known.seen_ms is None or now_ms - known.seen_ms > may_be_ms


def _building(state: State, node_id: str, phase: Phase, drawn_ma: int) -> int:
    """The most that others may draw at this node: the building, for which the safe limit stands where it is not
    measured, and strangers, whom a meter shows with it."""
    assumed = state.site.assumed(node_id)
    if assumed is not None:
        return assumed.load_ma[phase] + _strange(state, node_id, phase)
    known = _believed(state, node_id, phase)
    return _strange(state, node_id, phase) if known is None else _shown(state, node_id, known, drawn_ma)


def _shown(state: State, node_id: str, known: MeterPhase, drawn_ma: int) -> int:
    """The building by what a meter shows."""
    includes = any(setup.node == node_id and setup.includes_stations for setup in state.site.meters)
    return max(known.high_ma, (known.current_ma or 0) - (drawn_ma if includes else 0))


def _limit(state: State, node_id: str, limit_ma: int, phase: Phase, most_ma: int | None) -> int:
    """The node's limit; where a meter should be and is not to be trusted, the safe fallback at the site, else nothing.

    `most_ma` is what others let flow there in all. Where nobody measures the building, it takes what the fallback, or
    a limit of the stations alone, was chosen to leave to it.
    """
    supply = state.site.supply
    less_ma = _less(state, node_id, limit_ma, phase, most_ma)
    unmetered = supply.mode is Mode.STATIC if node_id == SITE else not _is_metered(state, node_id)
    if unmetered or state.site.assumed(node_id) is not None or _believed(state, node_id, phase) is not None:
        return limit_ma - less_ma
    return min(limit_ma, supply.fallback_ma[phase] if node_id == SITE else 0) - less_ma


def _less(state: State, node_id: str, limit_ma: int, phase: Phase, most_ma: int | None) -> int:
    """What others take off the node's limit by letting no more than `most_ma` flow there."""
    own_ma = state.site.supply.derated_ma[phase] if node_id == SITE else limit_ma
    return 0 if most_ma is None else max(own_ma - most_ma, 0)


def _outside(state: State, node_id: str, phase: Phase) -> tuple[int | None, int | None]:
    """What limits from outside that hold now allow the stations of a node, and all that flows there."""
    stations_ma: list[int] = []
    total_ma: list[int] = []
    for known in state.limits.values():
        limit = known.record.limit
        if limit.node != node_id or not (known.holds or _is_due(state, known)):
            continue
        values = total_ma if limit.applies_to is AppliesTo.TOTAL else stations_ma
        if limit.limit_ma is not None:
            values.append(limit.limit_ma[phase])
        if limit.limit_w is not None:
            values.append(limit.limit_w * 1000 // (VOLTS * len(state.site.supply.site_phases)))
    return min(stations_ma, default=None), min(total_ma, default=None)


def _is_due(state: State, known: LimitState) -> bool:
    """Whether by its own times a limit holds at the latest instant known, whatever anybody made of it."""
    limit, at = known.record.limit, state.latest_utc
    if at is None or known.record.ended is not None or (known.silent and limit.then is Lapse.LIFT):
        return False
    return (limit.starts_at is None or limit.starts_at + DOUBT <= at) and (limit.ends_at is None or at < limit.ends_at)


def _strange(state: State, node_id: str, phase: Phase) -> int:
    """What stations that were never adopted draw: they are stations all the same."""
    return sum(reading.current_ma[phase] for reading in state.strangers.values()) if node_id == SITE else 0


# I6


def _left_alone(state: State, stations: Mapping[str, Station], commands: tuple[Command, ...]) -> list[str]:
    """I6: when every lease has run out, what stations then give fits every node."""
    then: dict[Key, int] = {}
    for command in commands:
        if isinstance(command, SetLimit):
            key = (command.station_id, command.connector)
            left_ma = _for_ever(command.limit_ma, command.then_ma, command.lease_ms)
            then[key] = max(then.get(key, 0), left_ma)
    before = {key: _then(c) for key, c in state.connectors.items() if _counts(state, stations, key)}
    grown = {key for key, ma in then.items() if ma > before[key]}
    if not grown:
        return []
    above = _above(state)
    totals: dict[Place, int] = {}
    touched: set[Place] = set()
    for key, before_ma in before.items():
        ma = max(before_ma, then.get(key, 0), stations[key[0]].start_alone_ma)
        for place in ((n, p) for n in above[stations[key[0]].node] for p in stations[key[0]].phase_rotation):
            totals[place] = totals.get(place, 0) + ma
            if key in grown:
                touched.add(place)
    return [
        f"I6: {n} {p}: {totals[n, p]} mA left alone" for n, p in sorted(touched) if totals[n, p] > _safe(state, n, p)
    ]


def _then(connector: ConnectorState) -> int:
    ledger = connector.ledger
    inherited_ma = ledger.inherited.then_ma if ledger.inherited is not None else 0
    helds = _helds((ledger.floor, ledger.default, ledger.transaction))
    return max([inherited_ma, *(_for_ever(held.limit_ma, held.then_ma, held.lease_ms) for held in helds)])


def _for_ever(limit_ma: int | None, then_ma: int, lease_ms: int | None) -> int:
    """What a limit gives when nothing more is heard: what follows its lease, all of it where it has none."""
    if limit_ma is None:
        return 0
    return limit_ma if lease_ms is None else then_ma


def _safe(state: State, node_id: str, phase: Phase) -> int:
    """What stations may give at a node without us."""
    limit_ma = next(node.limit_ma[phase] for node in state.site.limit_tree() if node.id == node_id)
    if node_id == SITE and state.site.supply.mode is Mode.DYNAMIC:
        return min(limit_ma, state.site.supply.fallback_ma[phase])
    return limit_ma
