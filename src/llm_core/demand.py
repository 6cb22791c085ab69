"""What a connector can use, from what it was seen to do.

Everything here is measured, nothing typed in: which phases the car draws on, how much it can take, whether it has
finished, whether it obeys. What is not known counts as the worst.
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_core.copies import changed
from llm_core.external import CapSource
from llm_core.ledger import FOLLOW_MS
from llm_core.problem import Demand
from llm_core.quantities import ZERO, PerPhase, Phase
from llm_core.site import MOST_MA, Station
from llm_core.state import ConnectorState, Key, Reading

CLEAR_MA = 5_000  # a phase above this is in use…
NOTHING_MA = 1_000  # …below this it is not; between, nothing is concluded (a phantom is not a phase)
PROVEN_MS = 60_000  # so long must a pattern last before current is released
MARGIN_MA = 1_500  # what a car keeps above its draw: cars that round to 1 A must not oscillate
MEAN_MS = 60_000
PREPARING_MS = 120_000  # so long is a share kept for a car that does not start
WAKE_EVERY_MS = 3_600_000
WAKE_MS = 180_000
WAKE_TURNS = WAKE_EVERY_MS // WAKE_MS
MOST_WAKES = 12  # a car that slept through so many will not wake before it is plugged in again
FULL_WAKES = 3  # one that charged and stopped by itself is full: it has so many chances to think otherwise
BELIEVED_MS = 300_000
LAST_RANK = 999_999  # behind every turn


def observed(connector: ConnectorState, reading: Reading, wired: tuple[Phase, ...]) -> ConnectorState:
    """The connector after a live reading of its draw; `reading.held_ma` is what it might hold when it was taken."""
    after = changed(connector, readings=(*connector.readings[-1:], reading), mean_ma=_mean(connector, reading))
    if after.mean_ma is not None and reading.at_ms >= connector.settled_from_ms:
        after = changed(after, over_ma=after.mean_ma.map(lambda ma: max(ma - reading.held_ma, 0)))
    after = _with_phases(after, reading, wired)
    after = _with_cap(after, reading)
    return _with_obedience(after, reading)


def unread(connector: ConnectorState) -> ConnectorState:
    """The connector as if nothing had been read of what its car draws on which phase."""
    return changed(
        connector, readings=(), mean_ma=None, over_ma=ZERO, phases=None, phases_pending=None, below_since_ms=None
    )


def forgotten(connector: ConnectorState) -> ConnectorState:
    """The connector after its car left: the next one is a stranger."""
    return changed(
        unread(connector),
        cap_ma=None,
        idle_since_ms=None,
        cut_short=False,
        disobeys_ms=None,
        disobeyed=0,
        took_ma=0,
        obeys_since_ms=None,
        stop_asked_ms=None,
        served_ms=0,
        caps_ma=_lasting(connector),
        wish=None,
        paused_window=None,
    )


def _lasting(connector: ConnectorState) -> Mapping[CapSource, int]:
    """The caps that outlast a car: what its driver wished goes with it."""
    if CapSource.DRIVER not in connector.caps_ma:
        return connector.caps_ma
    return {source: ma for source, ma in connector.caps_ma.items() if source is not CapSource.DRIVER}


def wants(connector: ConnectorState, now_ms: int) -> bool:
    """Whether there is a car to give current to: a session, or a car that is about to start one."""
    if connector.session is not None:
        return True
    return connector.preparing_ms is not None and now_ms - connector.preparing_ms < PREPARING_MS


def rank_of(connector: ConnectorState) -> int:
    """Its place among equals: a share is kept for a car that is about to start only behind all who have started, where
    it will stand once it has. Else it would begin with what belongs to others, and be paused a second later."""
    return connector.rank if connector.session is not None else LAST_RANK


def is_finished(connector: ConnectorState, turn: int, now_ms: int) -> bool:
    """Whether the car draws nothing although it could. Once an hour, in turn, it counts as awake for 3 minutes: three
    times when it charged and stopped by itself, twelve times when it never began, or not again after we stopped it."""
    if connector.idle_since_ms is None:
        return False
    idle_ms = now_ms - connector.idle_since_ms
    if idle_ms < PROVEN_MS:
        return False
    asleep_ms = idle_ms - turn % WAKE_TURNS * WAKE_MS
    wakes, since_wake_ms = divmod(asleep_ms, WAKE_EVERY_MS)
    return not 1 <= wakes <= _most_wakes(connector) or since_wake_ms >= WAKE_MS


def _most_wakes(connector: ConnectorState) -> int:
    charged = connector.session is not None and connector.session.charging_ms > 0
    return FULL_WAKES if charged and not connector.cut_short else MOST_WAKES


def is_asleep(connector: ConnectorState, now_ms: int) -> bool:
    """Whether a car that we stopped while it charged takes nothing any more although it may again."""
    if not connector.cut_short or connector.session is None or connector.idle_since_ms is None:
        return False
    return now_ms - connector.idle_since_ms >= PROVEN_MS


def least_of(station: Station, step_ma: int, spread: int) -> int:
    """The least that this station can be given so that any car charges: its minimum in whole steps, on each phase.

    Watts over `spread` phases may all go to one of them, so there they count with all of it, up to the maximum.
    """
    least_ma = -(-station.min_ma // step_ma) * step_ma
    return min(least_ma * spread, station.max_ma)


def demand_of(
    key: Key, connector: ConnectorState, station: Station, step_ma: int, spread: int, bound_ma: int = MOST_MA
) -> Demand:
    """What the connector may be given, as the allocation wants it; priority and rank decide among equals.

    `bound_ma` is the most that it may ask for now, at least its minimum.
    """
    least_ma = least_of(station, step_ma, spread)
    most_ma = min(station.max_ma, bound_ma)
    if connector.caps_ma:
        most_ma = min(most_ma, allowed_ma(connector))
    if connector.cap_ma is not None:
        most_ma = min(most_ma, connector.cap_ma)
    since_ms = connector.session_ms if connector.session is not None else connector.preparing_ms or 0
    return Demand(
        id=demand_id(key),
        node=station.node,
        phases=connector.phases or station.phase_rotation,
        min_ma=least_ma,
        max_ma=max(least_ma, most_ma),
        step_ma=step_ma,
        priority=station.priority,
        rank=rank_of(connector),
        since=since_ms,
    )


def least_told(connector: ConnectorState) -> int:
    """The least that the connector was told since the last reading that showed the effect of a command."""
    if connector.readings and connector.readings[-1].at_ms < connector.settled_from_ms:
        return min(connector.least_told_ma, connector.offered_ma)
    return connector.offered_ma


def allowed_ma(connector: ConnectorState) -> int:
    """What others let the connector have: the smallest of its caps."""
    return min(connector.caps_ma.values(), default=MOST_MA)


def demand_id(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _mean(connector: ConnectorState, reading: Reading) -> PerPhase | None:
    """A running mean over 60 s. After a change of the limit the old one counts until a settled reading replaces it;
    what lies above the books counts at once, whole: no mean may hide a car that ignores its limit for a minute."""
    old, new = connector.mean_ma, reading.current_ma
    above = max(new) > _tolerated(reading.held_ma)
    if reading.at_ms < connector.settled_from_ms:
        return old if not above else new if old is None else old.larger(new)
    before = connector.readings[-1] if connector.readings else None
    if old is None or before is None or before.at_ms < connector.settled_from_ms:
        return new
    if above:
        return old.larger(new)
    weight_ms = min(reading.at_ms - before.at_ms, MEAN_MS)
    return PerPhase(*(o + (n - o) * weight_ms // MEAN_MS for o, n in zip(old, new, strict=True)))


def _with_phases(connector: ConnectorState, reading: Reading, wired: tuple[Phase, ...]) -> ConnectorState:
    if not reading.by_phase:
        return changed(connector, phases=None, phases_pending=None)
    draws = {phase: reading.current_ma[phase] for phase in wired}
    in_use = tuple(phase for phase in wired if draws[phase] >= NOTHING_MA)
    if not in_use:
        return changed(connector, phases=None, phases_pending=None)
    if connector.phases is not None and not set(in_use) <= set(connector.phases):
        return changed(connector, phases=None, phases_pending=None)  # it added a phase: nothing is known
    if any(NOTHING_MA <= draw < CLEAR_MA for draw in draws.values()):
        return changed(connector, phases_pending=None)
    if connector.phases_pending != in_use:
        return changed(connector, phases_pending=in_use, phases_since_ms=reading.at_ms)
    if reading.at_ms - connector.phases_since_ms >= PROVEN_MS:
        return changed(connector, phases=in_use)
    return connector


def _with_cap(connector: ConnectorState, reading: Reading) -> ConnectorState:
    """A car that uses less than offered for 60 s is capped at its draw and a margin, until it climbs to its cap. One
    that charged and stopped by itself is capped at once: so it keeps its minimum, and the rest is not idle. Of a total
    any phase may draw all."""
    draw_ma = sum(reading.current_ma) if reading.spread else max(reading.current_ma)
    if draw_ma >= NOTHING_MA:
        connector = changed(connector, idle_since_ms=None, cut_short=connector.cut_short and connector.offered_ma == 0)
    elif connector.offered_ma > 0 and connector.idle_since_ms is None and reading.at_ms >= connector.settled_from_ms:
        connector = changed(connector, idle_since_ms=reading.at_ms)
        if max(connector.readings[0].current_ma) >= NOTHING_MA:  # the one before this
            return changed(connector, cap_ma=draw_ma + MARGIN_MA, below_since_ms=None)
    if connector.cap_ma is not None and draw_ma > connector.cap_ma - MARGIN_MA // 2:
        return changed(connector, cap_ma=None, below_since_ms=None)
    if reading.at_ms < connector.settled_from_ms or draw_ma + 2 * MARGIN_MA > connector.offered_ma:
        return changed(connector, below_since_ms=None)
    if connector.below_since_ms is None:
        return changed(connector, below_since_ms=reading.at_ms)
    if reading.at_ms - connector.below_since_ms < PROVEN_MS:
        return connector
    return changed(connector, cap_ma=draw_ma + MARGIN_MA, below_since_ms=None)


def _with_obedience(connector: ConnectorState, reading: Reading) -> ConnectorState:
    """Two readings in a row above all that it might hold in the last seconds: a change of the limit excuses nobody.

    It is believed again once it has kept to a limit above 0 for five minutes: at 0 A every car obeys.
    """
    before = connector.readings[0]  # `reading` is the last of the two
    drawn_ma = max(reading.current_ma)
    held_ma = reading.held_ma  # the books leave a car its time to follow; one read so often may be told late besides
    if reading.at_ms - before.at_ms <= FOLLOW_MS:
        held_ma = max(held_ma, before.held_ma)
    if drawn_ma > _tolerated(held_ma):
        caught = connector.disobeyed >= 1 and connector.disobeys_ms is None
        return changed(
            connector,
            disobeyed=connector.disobeyed + 1,
            disobeys_ms=reading.at_ms if caught else connector.disobeys_ms,
            took_ma=max(connector.took_ma, drawn_ma),
            obeys_since_ms=None,
        )
    if connector.disobeys_ms is None:
        return changed(connector, disobeyed=0) if connector.disobeyed else connector
    if connector.offered_ma == 0 or drawn_ma < NOTHING_MA:
        return changed(connector, disobeyed=0, obeys_since_ms=None)
    if connector.obeys_since_ms is None:
        return changed(connector, disobeyed=0, obeys_since_ms=reading.at_ms)
    if reading.at_ms - connector.obeys_since_ms < BELIEVED_MS:
        return connector
    return changed(connector, disobeys_ms=None, took_ma=0, obeys_since_ms=None, stop_asked_ms=None)


def _tolerated(limit_ma: int) -> int:
    """What a car may be read to draw at a limit: a tenth and 1 A more (it follows late, and meters differ)."""
    return limit_ma + limit_ma // 10 + 1_000
