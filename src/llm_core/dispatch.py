"""The plan against the ledger: which commands leave now, decreases first, one in flight per connector.

Theory of operation
-------------------
A target is only a wish. A connector whose target lies below what it was told last gets it at once. A raise leaves
only while the worst cases of all connectors, the raised one at its new limit, fit beside the building at every node
and phase (I1); since a worst case falls only after a decrease is acknowledged and followed, an increase never
overtakes the decrease that pays for it (I2). Behind a meter one round of increases leaves per fresh sample.

Between what a connector was told last and what it surely has lies doubt: a command nobody answered, a lease that may
be over, a limit that belonged to another transaction. Whatever goes beyond what it *surely* has is a raise and must
fit again, even where the books already count it: the building may have grown since.

Beside limits the dispatch keeps house in the stations: the permanent floor first, then nothing live lies where no
car is, and a lease is renewed when 40 % of it is left. What follows a lease is chosen so that all last periods
together fit without us (I6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from llm_core.budget import Room, Seen, decays, is_repeating, silent_from_ms, sum_per_node
from llm_core.curtailment import caps_in_force
from llm_core.demand import least_of, rank_of, wants
from llm_core.effects import ClearLimit, Purpose, SetLimit
from llm_core.external import CapSource, NodeCap
from llm_core.hiding import Hiding
from llm_core.ledger import LIVE, Held, Ledger
from llm_core.pausing import bare_ma, gives_way
from llm_core.plan import Tree
from llm_core.problem import Grant
from llm_core.quantities import PHASES, ZERO, PerPhase, Phase
from llm_core.site import SITE, Mode, Station, on_phases
from llm_core.state import ConnectorState, Key, State

SUPERSEDE_MS = 2_000  # a decrease waits so long for the answer to an earlier command
RETRY_MS = 2_000
RETRY_AT_MOST_MS = 10_000
JUST_NOW_MS = 10_000  # a reading so young tells what a car has
RENEW_AT = 60  # % of a lease that has passed
RAISE_BY_MA = 1_000  # smaller raises wait…
RAISE_AFTER_MS = 90_000  # …until so long after the last change

Command = SetLimit | ClearLimit


def dispatch(
    state: State,
    seen: tuple[Seen, ...],
    rooms: Mapping[str, Room],
    grants: Mapping[Key, Grant],
    now_ms: int,
    *,
    whole: bool = False,
) -> tuple[Command, ...]:
    """The commands that leave now, decreases and house-keeping before raises; numbers are given out in that order.

    `whole` goes through every connector in full, those too that are seen to need nothing: the answer is the same.
    """
    books = _Books(state, seen, rooms, now_ms)
    firm: list[Command] = []
    rising: list[tuple[Seen, Grant]] = []
    for entry in seen:
        if not entry.online or not state.stations[entry.key[0]].accepted:
            continue
        if not whole and books.alone_fits and _is_quiet(state, entry, grants.get(entry.key), now_ms):
            continue
        command, remaining = _firm(state, entry, grants.get(entry.key), books, now_ms)
        if command is not None:
            firm.append(command)
        elif remaining is not None:
            rising.append((entry, remaining))
    raised: list[Command] = []
    for entry, grant in sorted(rising, key=lambda pair: (rank_of(pair[0].connector), pair[0].key)):
        command = _raise(state, entry, grant, books, now_ms) if books.may_raise else None
        command = command or _kept(state, entry, grant, books, now_ms)
        if command is not None:
            (firm if command.lowers else raised).append(command)
    return tuple(attrs.evolve(command, seq=state.next_seq + i) for i, command in enumerate((*firm, *raised)))


def _is_quiet(state: State, entry: Seen, grant: Grant | None, now_ms: int) -> bool:
    """Whether just what should lies at the station, acknowledged and fresh, or so little less that it is not worth a
    command: most connectors, most of the time."""
    connector, ledger = entry.connector, entry.connector.ledger
    floor, default, held = ledger.floor.acknowledged, ledger.default.acknowledged, ledger.transaction.acknowledged
    if floor is None or default is None or held is None or ledger.inherited is not None:
        return False
    if ledger.floor.open or ledger.default.open or ledger.transaction.open or ledger.refused_ms is not None:
        return False
    if floor.limit_ma != _wanted_floor_ma(state, entry) or default.limit_ma is not None:
        return False
    if grant is None or connector.session is None:
        return held.limit_ma is None and grant is None and connector.session is None
    if held.limit_ma is None or held.limit_ma > grant.limit_ma:
        return False
    rise_ma = grant.limit_ma - held.limit_ma
    if rise_ma and _is_worth_it(connector, rise_ma, now_ms):
        return False
    fresh = held.sent_ms >= state.leases_from_ms and not _is_aged(held, now_ms)
    return fresh and _is_for(held, connector) and held.spread <= entry.spread


def _firm(
    state: State, entry: Seen, grant: Grant | None, books: _Books, now_ms: int
) -> tuple[Command | None, Grant | None]:
    """A command that comes before any raise, or the grant that remains to be given."""
    ledger = entry.connector.ledger
    told_ma = told(entry.connector, now_ms, decays(state, entry.key[0]))
    left_over = entry.connector.session is None and _live(ledger, Purpose.TRANSACTION)  # goes first, by a clear
    lowers = grant is not None and bool(ledger.live()) and grant.limit_ma < told_ma and not left_over
    if _must_wait(ledger, now_ms, lowers=lowers):
        return None, None
    if grant is not None and lowers:
        return books.command(state, entry, _lowered(entry, grant, books, now_ms), lowers=True), None
    if ledger.in_flight is not None:
        return None, None  # only a decrease overtakes
    return _house_keeping(state, entry, books, now_ms), grant


def _lowered(entry: Seen, grant: Grant, books: _Books, now_ms: int) -> int:
    """The limit that lowers what was told last; above what the connector surely has it may be a raise, and must fit."""
    if books.may_raise and books.fits(entry, entry.phases):  # with all that it may hold
        return grant.limit_ma
    return min(grant.limit_ma, _at_least(books.in_steps(entry, _assured(entry, now_ms)), books.least(entry)))


def told(connector: ConnectorState, now_ms: int, decays_: bool) -> int:
    """What the connector was told last: the newest live limit, or the floor where there is none."""
    ledger = connector.ledger
    for purpose in (Purpose.TRANSACTION, Purpose.DEFAULT):
        newest = _newest(ledger, purpose)
        if newest is not None and newest.limit_ma is not None:
            return newest.most_ma(now_ms, decays_)
    floor = _newest(ledger, Purpose.FLOOR)
    return floor.limit_ma or 0 if floor is not None else 0


def _assured(entry: Seen, now_ms: int) -> int:
    """What the connector surely has: the least of all that may lie in the place that counts for its car now, and of
    what lies below it where that place may be empty.

    After a restart, of ours or of the station, nothing that lies there is known: what its car is seen to draw it has.
    """
    ledger = entry.connector.ledger
    assured_ma = 0
    for place in Purpose if entry.connector.session is not None else (Purpose.FLOOR, Purpose.DEFAULT):
        slot, below_ma = ledger.slot(place), assured_ma
        leasts = [_least_given(held, entry, below_ma, now_ms) for held in slot.candidates()]
        assured_ma = min(leasts) if slot.acknowledged is not None else min([below_ma, *leasts])
    return max(assured_ma, _seen_to_have(entry, now_ms))


def _least_given(held: Held, entry: Seen, below_ma: int, now_ms: int) -> int:
    """The least that this gives the car, if it lies there: what is below it where it is cleared, or for another's.

    Watts that were spread over more phases than they are now gave each phase a part only.
    """
    if held.limit_ma is None or (held.transaction_id is not None and not _is_for(held, entry.connector)):
        return below_ma
    return held.least_ma(now_ms) * entry.spread // max(held.spread, entry.spread)


def _seen_to_have(entry: Seen, now_ms: int) -> int:
    connector = entry.connector
    ledger = connector.ledger
    known = any(
        held is not None and held.limit_ma for held in (ledger.default.acknowledged, ledger.transaction.acknowledged)
    )
    if ledger.inherited is None or known or connector.disobeys_ms is not None or not connector.readings:
        return 0
    return max(entry.lo_ma) if now_ms - connector.readings[-1].at_ms <= JUST_NOW_MS else 0


def _may_raise(state: State) -> bool:
    """Behind a meter: one round per fresh sample, none on a repeated one or one older than the last round."""
    if state.storage_failing is not None:
        return False
    if state.site.supply.mode is Mode.STATIC:
        return True
    meter = state.meters.get(SITE)
    if meter is None or meter.taken_ms is None:
        return True  # no meter: the safe limit is all there is to share
    if any(phase.lost for phase in meter.phases.values()):
        return True  # likewise
    fresh = state.raised_ms is None or meter.taken_ms > state.raised_ms
    return fresh and not is_repeating(state, SITE, meter)


def _must_wait(ledger: Ledger, now_ms: int, *, lowers: bool) -> bool:
    """One command in flight: the next may only overtake it, as a decrease, after 2 s. A refusal is retried in time;
    a decrease does not become less urgent by being refused, and does not wait for what nobody answered."""
    if ledger.in_flight is not None and now_ms - ledger.in_flight_ms < SUPERSEDE_MS:
        return True
    unanswered = any(ledger.slot(purpose).open for purpose in LIVE)
    if ledger.refused_ms is None or (lowers and unanswered):
        return False
    pause_ms: int = RETRY_MS if lowers else min(RETRY_MS << min(ledger.refusals - 1, 10), RETRY_AT_MOST_MS)
    return now_ms - ledger.refused_ms < pause_ms


def _house_keeping(state: State, entry: Seen, books: _Books, now_ms: int) -> Command | None:
    """What must lie or go before anything is given: the floor, and live limits where no car is."""
    connector, ledger = entry.connector, entry.connector.ledger
    floor = _floor(state, entry, books, now_ms)
    if floor is not None and not gives_way(connector, now_ms):
        return floor
    if connector.session is None:
        unwanted = ledger.live() if not wants(connector, now_ms) else _live(ledger, Purpose.TRANSACTION)
        return ClearLimit(0, *entry.key) if unwanted or ledger.inherited is not None else None
    if not _live(ledger, Purpose.TRANSACTION):
        return None  # the transaction's own limit goes first
    untouched = ledger.inherited is not None and ledger.default.acknowledged is None
    if untouched or _live(ledger, Purpose.DEFAULT):
        return ClearLimit(0, *entry.key, purpose=Purpose.DEFAULT)
    return None


def _live(ledger: Ledger, purpose: Purpose) -> bool:
    return any(held.limit_ma is not None for held in ledger.slot(purpose).candidates())


def _floor(state: State, entry: Seen, books: _Books, now_ms: int) -> SetLimit | None:
    """The floor where it does not lie yet; one that gives more than what surely lies there only when it fits."""
    slot = entry.connector.ledger.floor
    wired = entry.station.phase_rotation
    floor_ma = _wanted_floor_ma(state, entry)
    sure_ma = min(h.limit_ma or 0 for h in slot.candidates()) if slot.acknowledged else bare_ma(entry, floor_ma, now_ms)
    if floor_ma > sure_ma and not (
        books.may_raise and books.fits(entry, wired) and floor_ma <= books.room_alone(entry)
    ):
        floor_ma = sure_ma
    if slot.acknowledged is not None and slot.acknowledged.limit_ma == floor_ma and not slot.open:
        return None
    lowers = floor_ma <= sure_ma
    return SetLimit(0, *entry.key, Purpose.FLOOR, floor_ma, floor_ma, None, None, len(wired), lowers=lowers)


def _wanted_floor_ma(state: State, entry: Seen) -> int:
    """What a car may get that starts while we are not there: never more than the CPO lets the connector have. In watts
    over several phases nothing: any one of them might get it all, and a third of what is safe charges no car."""
    station, capabilities = entry.station, state.stations[entry.station.id].capabilities
    if capabilities.in_watts and len(station.phase_rotation) > 1:
        return 0
    cap_ma = entry.connector.caps_ma.get(CapSource.CPO, station.start_alone_ma)
    floor_ma = min(cap_ma, station.start_alone_ma) // capabilities.step_ma * capabilities.step_ma
    return floor_ma if floor_ma >= least_of(station, capabilities.step_ma, 1) else 0


def _newest(ledger: Ledger, purpose: Purpose) -> Held | None:
    slot = ledger.slot(purpose)
    return slot.open[-1] if slot.open else slot.acknowledged


def _kept(state: State, entry: Seen, grant: Grant, books: _Books, now_ms: int) -> SetLimit | None:
    """The limit that it surely has, again: unless it lies there already, for this transaction, with a young lease."""
    connector = entry.connector
    assured_ma = _assured(entry, now_ms)
    limit_ma = _at_least(books.in_steps(entry, min(grant.limit_ma, assured_ma)), books.least(entry))
    slot = connector.ledger.slot(_purpose(connector))
    newest = _newest(connector.ledger, _purpose(connector))
    if newest is None or newest.limit_ma is None:
        if limit_ma == 0 and connector.session is None:
            return None  # the floor is enough for a car that only prepares
    elif _is_for(newest, connector) and newest.sent_ms >= state.leases_from_ms:
        aged = _is_aged(newest, now_ms) or newest.left_ma > max(books.room_alone(entry), 0)
        waits_to_rise = newest.limit_ma > assured_ma  # it may lie there: say it again when there is room
        lies_there = newest is slot.acknowledged and newest.limit_ma == limit_ma
        if not aged and (waits_to_rise or lies_there):
            return None
    return books.command(state, entry, limit_ma, lowers=True)


def _is_aged(held: Held, now_ms: int) -> bool:
    return held.lease_ms is not None and now_ms - held.sent_ms >= held.lease_ms * RENEW_AT // 100


def _is_for(held: Held, connector: ConnectorState) -> bool:
    return connector.session is None or held.transaction_id == connector.session.transaction_id


def _purpose(connector: ConnectorState) -> Purpose:
    return Purpose.DEFAULT if connector.session is None else Purpose.TRANSACTION


def _raise(state: State, entry: Seen, grant: Grant, books: _Books, now_ms: int) -> SetLimit | None:
    """The raise as far as it fits now: whole, or in part when nothing is under way that would make more room."""
    assured_ma = _assured(entry, now_ms)
    rise_ma = grant.limit_ma - assured_ma
    if rise_ma <= 0 or state.stations[entry.key[0]].clock_due_ms or not _is_worth_it(entry.connector, rise_ma, now_ms):
        return None
    limit_ma, room_ma = grant.limit_ma, books.room_for(entry)
    if limit_ma > room_ma:
        limit_ma = books.in_steps(entry, room_ma)
        if books.more_to_come or limit_ma < max(books.least(entry), assured_ma + RAISE_BY_MA):
            return None
    command = books.command(state, entry, limit_ma, lowers=False)
    if command.limit_ma <= assured_ma:
        return None
    books.enter(entry, command.limit_ma)
    return attrs.evolve(command, not_after_ms=silent_from_ms(state, books.chain(entry)))


def _is_worth_it(connector: ConnectorState, rise_ma: int, now_ms: int) -> bool:
    """Whether a raise is large enough, or has waited long enough, to be worth a write to the station's flash."""
    if rise_ma >= RAISE_BY_MA or connector.changed_ms is None:
        return True
    return now_ms - connector.changed_ms >= RAISE_AFTER_MS


class _Books:
    """Running sums while the commands of one tick are chosen; on most ticks hardly any is asked for."""

    def __init__(self, state: State, seen: tuple[Seen, ...], rooms: Mapping[str, Room], now_ms: int) -> None:
        self._state, self._seen, self._now_ms = state, seen, now_ms
        self.tree: Tree = state.site.limit_tree()
        self._raise_ma = {node_id: room.raise_ma for node_id, room in rooms.items()}
        self._alone = sum_per_node(self.tree, (*((e.station.node, _alone(e)) for e in seen), *_unseen(state, seen)))
        self._alone_limit = {node.id: list(node.limit_ma) for node in self.tree}
        if state.site.supply.mode is Mode.DYNAMIC:
            self._alone_limit[SITE] = list(self.tree[0].limit_ma.smaller(state.site.supply.fallback_ma))
        for node_id, cap in caps_in_force(state).items():
            self._alone_limit[node_id] = self._alone_below(node_id, cap)
        self.alone_fits = all(
            total <= limit
            for node_id, totals in self._alone.items()
            for total, limit in zip(totals, self._alone_limit[node_id], strict=True)
        )

    def _alone_below(self, node_id: str, cap: NodeCap) -> list[int]:
        """What may be left alone below limits from outside: they hold without us too, as far as we choose what is left.

        What is configured to be left alone is not ours to choose.
        """
        supply = self._state.site.supply
        own = supply.derated_ma if node_id == SITE else next(n.limit_ma for n in self.tree if n.id == node_id)
        fixed = (
            (e.station.node, on_phases(_reserved_alone_ma(e.station), e.station.phase_rotation)) for e in self._seen
        )
        fixed_ma = sum_per_node(self.tree, (*fixed, *_unseen(self._state, self._seen)))[node_id]
        limits_ma = []
        for i, phase in enumerate(PHASES):
            below_ma = self._alone_limit[node_id][i] - max(own[phase] - cap.total_ma[phase], 0)
            limits_ma.append(max(min(below_ma, cap.stations_ma[phase]), fixed_ma[i]))
        return limits_ma

    @cached_property
    def may_raise(self) -> bool:
        return _may_raise(self._state)

    @cached_property
    def more_to_come(self) -> bool:
        return any(e.online and _is_coming_down(e, self._now_ms) for e in self._seen)

    @cached_property
    def _worst(self) -> dict[str, list[int]]:
        sums = sum_per_node(self.tree, ((e.station.node, e.worst_ma) for e in self._seen))
        for entry in self._seen:
            for node in self.chain(entry) if entry.let_go_ma is not ZERO else ():
                counted = self._hiding.counted(entry, node)
                sums[node] = [a + b - c for a, b, c in zip(sums[node], counted, entry.worst_ma, strict=True)]
        return sums

    @cached_property
    def _hiding(self) -> Hiding:
        return Hiding(self._state, self._seen, self._now_ms)

    @cached_property
    def _parents(self) -> dict[str, str | None]:
        return {node.id: node.parent for node in self.tree}

    def chain(self, entry: Seen) -> list[str]:
        chain = []
        node: str | None = entry.station.node
        while node is not None:
            chain.append(node)
            node = self._parents[node]
        return chain

    def least(self, entry: Seen) -> int:
        return least_of(entry.station, self._step_ma(entry), entry.spread)

    def _step_ma(self, entry: Seen) -> int:
        return self._state.stations[entry.key[0]].capabilities.step_ma

    def in_steps(self, entry: Seen, limit_ma: int) -> int:
        step_ma = self._step_ma(entry)
        return limit_ma // step_ma * step_ma

    def room_for(self, entry: Seen) -> int:
        """The largest limit of this connector at which every worst case still fits; 0 where they do not fit now."""
        if not self.fits(entry, entry.phases):
            return 0
        return min(
            self._raise_ma[node][PHASES[i]] - self._worst[node][i] + own[i]
            for node, own in self._replaced(entry)
            for i in _indices(entry.phases)
        )

    def _replaced(self, entry: Seen) -> Iterator[tuple[str, list[int]]]:
        """At each node above it, the part of the sum that a new limit takes the place of."""
        for node in self.chain(entry):
            if entry.let_go_ma is ZERO:
                yield node, list(entry.worst_ma)
            else:
                yield node, self._hiding.replaced(entry, node)

    def fits(self, entry: Seen, phases: tuple[Phase, ...]) -> bool:
        """Whether all worst cases as they are counted fit at every node above this connector, on these phases."""
        return all(
            self._worst[node][i] <= self._raise_ma[node][PHASES[i]]
            for node in self.chain(entry)
            for i in _indices(phases)
        )

    def enter(self, entry: Seen, limit_ma: int) -> None:
        for node, own in self._replaced(entry):
            for i in _indices(entry.phases):
                self._worst[node][i] += max(limit_ma - own[i], 0)

    def command(self, state: State, entry: Seen, limit_ma: int, *, lowers: bool) -> SetLimit:
        """A live limit with its lease; where the station cannot fall back, only what fits for ever."""
        session = entry.connector.session
        alone_ma = self.room_alone(entry)
        lease_ms: int | None = state.site.supply.lease_ms
        if not decays(state, entry.key[0]):
            lease_ms = None
            limit_ma = then_ma = _at_least(min(limit_ma, self.in_steps(entry, alone_ma)), self.least(entry))
        else:
            fixed_ma, least_ma = entry.station.fallback_ma, self.least(entry)
            then_ma = _at_least(min(limit_ma, least_ma if fixed_ma is None else fixed_ma), least_ma)
            then_ma = then_ma if then_ma <= alone_ma else 0  # a fixed one, too: somebody may hold more than was checked
        self._promise(entry, then_ma)
        return SetLimit(
            0,
            *entry.key,
            _purpose(entry.connector),
            limit_ma,
            then_ma,
            lease_ms,
            session.transaction_id if session is not None else None,
            len(entry.phases),
            lowers=lowers,
        )

    def room_alone(self, entry: Seen) -> int:
        """The largest last period of this connector that fits beside those of all others."""
        own = list(_alone(entry))
        return min(
            self._alone_limit[node][i] - self._alone[node][i] + own[i]
            for node in self.chain(entry)
            for i in _indices(entry.station.phase_rotation)
        )

    def _promise(self, entry: Seen, then_ma: int) -> None:
        own = list(_alone(entry))
        for node in self.chain(entry):
            for i in _indices(entry.station.phase_rotation):
                self._alone[node][i] += max(then_ma - own[i], 0)


def _alone(entry: Seen) -> PerPhase:
    """What a connector gives when left alone, and what is kept for it to give: a fixed fallback is always reserved."""
    alone_ma = max(entry.connector.ledger.left_alone_ma(), _reserved_alone_ma(entry.station))
    return on_phases(alone_ma, entry.station.phase_rotation)


def _unseen(state: State, seen: tuple[Seen, ...]) -> Iterator[tuple[str, PerPhase]]:
    """The same for stations that have never connected: they may do so at any time."""
    met = {entry.key[0] for entry in seen}
    for station in state.site.stations:
        if station.id not in met and not station.out_of_service:
            alone_ma = _reserved_alone_ma(station) * station.connectors
            yield station.node, on_phases(alone_ma, station.phase_rotation)


def _reserved_alone_ma(station: Station) -> int:
    return max(station.start_alone_ma, station.fallback_ma or 0)


def _is_coming_down(entry: Seen, now_ms: int) -> bool:
    """Whether what it holds is above what it was told, and a command or the car is on its way to change that."""
    ledger = entry.connector.ledger
    under_way = ledger.in_flight is not None or any(now_ms < trail.until_ms for trail in ledger.trails)
    return under_way and entry.held_ma > entry.connector.offered_ma


def _indices(phases: tuple[Phase, ...]) -> list[int]:
    return [PHASES.index(phase) for phase in phases]


def _at_least(limit_ma: int, minimum_ma: int) -> int:
    return limit_ma if limit_ma >= minimum_ma else 0
