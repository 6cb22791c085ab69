"""Are a station's phases where we think they are? The steps that our own limits cause are looked for in the meter.

Theory of operation
-------------------
When a connector's limit changes, the meter and all readings are noted. When the change has settled and its reading is
in, the meter must have moved as the car did, on the phases where the station is said to hang. What the others moved
meanwhile is taken off, if they moved all phases alike: then it does not matter how *they* are wired.

A step is a witness only if it is larger than the noise and different on the phases. It speaks for the present order,
or for another one, or (the building moved, nothing fits) not at all. Three in a row for the same other order make a
suspicion, one for the present order ends it. A balanced three-phase car tells nothing, and no limit depends on this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import attrs

from llm_core.budget import drawn_ma
from llm_core.quantities import PHASES, PerPhase, Phase
from llm_core.site import MeterSetup, Station
from llm_core.state import ConnectorState, PhaseCheck, PhaseStep, State

LEAST_STEP_MA = 4_000
NOISE_MA = 1_000
BALANCED_MA = 1_000
AFTER_MS = 2_000  # a meter is a little late
WITNESSES = 3
LONGEST_MS = 60_000


def phases_checked(state: State, now_ms: int) -> State:
    """The state with what the steps of this tick began, and of those that have settled, what they showed."""
    checks = dict(state.phase_checks)
    for key, connector in state.connectors.items():
        check = checks.get(key)
        begins = connector.changed_ms == now_ms
        if not begins and (check is None or check.step is None):
            continue
        station = state.site.station(key[0])
        setup = _meter_above(state, station) if station is not None else None
        if station is None or setup is None:
            checks.pop(key, None)
            continue
        if check is None or check.rotation != station.phase_rotation:
            check = PhaseCheck(station.phase_rotation)
        if begins:
            checks[key] = attrs.evolve(check, step=_begun(state, connector, setup.node, now_ms))
        elif check.step is not None:
            checks[key] = _settled(state, check, check.step, connector, setup.node, now_ms)
    return state if checks == state.phase_checks else attrs.evolve(state, phase_checks=checks)


def suspects(state: State) -> Iterator[tuple[str, tuple[Phase, ...]]]:
    """Stations whose phases seem to hang elsewhere, and where."""
    for key, check in state.phase_checks.items():
        station = state.site.station(key[0])
        same = station is not None and station.phase_rotation == check.rotation
        if same and check.witnesses >= WITNESSES and check.seems is not None:
            yield key[0], check.seems


def _settled(
    state: State, check: PhaseCheck, step: PhaseStep, connector: ConnectorState, node: str, now_ms: int
) -> PhaseCheck:
    """The check with the outcome of a step, once everything is in; a step that takes too long is dropped."""
    if now_ms - step.at_ms > LONGEST_MS:
        return attrs.evolve(check, step=None)
    reading = connector.readings[-1] if connector.readings else None
    shown_ma, taken_ms = _shown(state, node, now_ms), state.meters[node].taken_ms if node in state.meters else None
    if reading is None or shown_ma is None or taken_ms is None:
        return check
    if reading.at_ms < connector.settled_from_ms or taken_ms < reading.at_ms + AFTER_MS:
        return check
    own_ma = reading.current_ma - step.own_ma
    others_ma = drawn_ma(state, node) - reading.current_ma - step.others_ma
    check = attrs.evolve(check, step=None)
    if max(others_ma) - min(others_ma) > BALANCED_MA:
        return check
    return witnessed(check, own_ma, shown_ma - step.meter_ma - others_ma, state.site.supply.site_phases)


def _begun(state: State, connector: ConnectorState, node: str, now_ms: int) -> PhaseStep | None:
    shown_ma = _shown(state, node, now_ms)
    if shown_ma is None:
        return None
    own_ma = connector.readings[-1].current_ma if connector.readings else PerPhase()
    return PhaseStep(now_ms, shown_ma, own_ma, drawn_ma(state, node) - own_ma)


def _shown(state: State, node: str, now_ms: int) -> PerPhase | None:
    """What the meter shows, if it can be believed now."""
    meter = state.meters.get(node)
    if meter is None or meter.frozen:
        return None
    values = []
    for phase in PHASES:
        known = meter.phases.get(phase)
        on_site = phase in state.site.supply.site_phases
        if on_site and (known is None or known.lost or known.seen_ms is None or now_ms - known.seen_ms > AFTER_MS):
            return None
        values.append(known.current_ma or 0 if known is not None and on_site else 0)
    return PerPhase(*values)


def _meter_above(state: State, station: Station) -> MeterSetup | None:
    """The nearest meter that sees this station."""
    nodes = {node.id: node for node in state.site.limit_tree()}
    meters = {setup.node: setup for setup in state.site.read_meters if setup.includes_stations}
    node: str | None = station.node
    while node is not None and node not in meters:
        node = nodes[node].parent
    return meters[node] if node is not None else None


def witnessed(check: PhaseCheck, own_ma: PerPhase, seen_ma: PerPhase, site_phases: tuple[Phase, ...]) -> PhaseCheck:
    """The check after a step: `own_ma` as the station told it on the phases it is said to have, `seen_ma` in the
    meter."""
    largest_ma = max(abs(ma) for ma in own_ma)
    if largest_ma < LEAST_STEP_MA:
        return check
    told = {phase: own_ma[where] for phase, where in enumerate(check.rotation)}
    errors = {order: _error(told, order, seen_ma) for order in permutations(site_phases, len(check.rotation))}
    slack_ma = max(NOISE_MA, largest_ma // 5)
    fitting = [order for order, error in errors.items() if error <= slack_ma]
    if check.rotation in fitting:
        unique = len(fitting) == 1
        return attrs.evolve(check, witnesses=0, seems=None) if unique else check
    if not fitting or errors[check.rotation] < 2 * slack_ma:
        return check
    best = min(fitting, key=lambda order: errors[order])
    again = check.seems is None or check.seems in fitting
    seems = check.seems if check.seems is not None and again else best
    return attrs.evolve(check, witnesses=check.witnesses + 1 if again else 1, seems=seems)


def _error(told: Mapping[int, int], order: tuple[Phase, ...], seen_ma: PerPhase) -> int:
    """How far the meter is from what it would have shown with the station's phases in this order."""
    expected = dict.fromkeys(PHASES, 0)
    for phase, where in enumerate(order):
        expected[where] += told[phase]
    return max(abs(seen_ma[phase] - expected[phase]) for phase in PHASES)
