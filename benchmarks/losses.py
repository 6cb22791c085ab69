"""Where current goes that cars would have taken: each phase, every second, by the first cause that explains it.

What is unused is the room beside the building and the cars, as far as cars on that phase want more. It is explained in
the order in which a limit is made: what the building is taken for, how much charging may take, who gets it, what has
been sent, what the car makes of it. What others cannot use because a car stands on three phases is last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llm_adapters.virtual.connector import Connector
from llm_adapters.virtual.plant import Plant
from llm_core import PHASES, SITE, ConnectorState, Key, Phase, State

CAUSES = (
    "building taken for more than it draws",
    "room that has not been watched for 10 s",
    "phases not known yet",
    "held for cars that take nothing",
    "granted, waits to be sent (small, or others first)",
    "sent, the car follows",
    "offered, not drawn (whole amps, wobble)",
    "less than 6 A",
    "full on another phase or node",
)
WANTS_A = 0.3


class Losses:
    """What a run has lost; `kwh` has the energy for each cause, `used_kwh` what cars took."""

    def __init__(self, voltage_v: float = 230.0) -> None:
        self.kwh = dict.fromkeys(CAUSES, 0.0)
        self._voltage_v = voltage_v
        self._t = 0.0

    def watch(self, plant: Plant, state: Callable[[], State]) -> None:
        """Look on from now; `state` tells what the controller knows and has decided."""
        self._plant, self._state = plant, state
        plant.observers.append(self._observe)

    def _observe(self, cause: str, t: float) -> None:
        if cause != "time" or t < self._t + 1:
            return
        kwh_per_a, self._t = self._voltage_v * (t - self._t) / 3.6e6, t
        state = self._state()
        drawn = self._plant.drawn_by_node()[SITE]
        limit = self._plant.config.nodes[0]["limit_a"]
        for index, phase in enumerate(PHASES):
            room = limit[f"L{index + 1}"] - self._plant.building.load_a[index]
            hungry = list(self._hungry(index))
            unused = min(room - drawn[index], sum(more_a for _, more_a in hungry))
            if unused > 0:
                paused = all(outlet.pilot_a == 0 for outlet, _ in hungry)
                for name, amps in self._explained(state, index, phase, room, unused, paused=paused):
                    self.kwh[name] += amps * kwh_per_a

    def _hungry(self, index: int) -> Iterable[tuple[Connector, float]]:
        """Cars on this phase that want more, and how much."""
        for _, outlet in self._plant.connectors():
            car = outlet.car
            if car is None or outlet.session is None or index not in outlet.phases or car.full or car.asleep:
                continue
            more_a = min(car.model.max_a, outlet.max_a) - outlet.draw_a[index]
            if more_a > WANTS_A:
                yield outlet, more_a

    def _explained(
        self, state: State, index: int, phase: Phase, room: float, unused: float, *, paused: bool
    ) -> Iterable[tuple[str, float]]:
        believed = self._believed_a(state, index, phase)
        allowed = self._allowed_a(state, phase)
        parts = [room - max(believed, allowed), believed - allowed, *self._of_cars(state, index, phase)]
        for name, part in zip(CAUSES, parts, strict=False):
            amps = max(0.0, min(part, unused))
            unused -= amps
            yield name, amps
        yield CAUSES[-2] if paused and unused < 6 else CAUSES[-1], unused

    def _believed_a(self, state: State, index: int, phase: Phase) -> float:
        meter = state.meters.get(SITE)
        known = meter.phases.get(phase) if meter is not None else None
        limit_a: float = self._plant.config.nodes[0]["limit_a"][f"L{index + 1}"]
        return limit_a - (known.high_ma / 1000 if known is not None else 0.0)

    def _allowed_a(self, state: State, phase: Phase) -> float:
        allowance = state.allowances.get((SITE, phase))
        return allowance.limit_ma / 1000 if allowance is not None else 0.0

    def _of_cars(self, state: State, index: int, phase: Phase) -> tuple[float, ...]:
        """What is granted on phases that are not used, to cars that take nothing, not sent, not followed, not drawn."""
        elsewhere = idle = unsent = under_way = undrawn = 0.0
        for key, connector in state.connectors.items():
            outlet = self._outlet(key)
            granted_a = connector.grant.limit_ma / 1000 if connector.grant is not None else 0.0
            if outlet is None or not granted_a or phase not in _counted(state, key, connector):
                continue
            if outlet.car is None or outlet.car.full or outlet.car.asleep:
                idle += granted_a
            elif index not in outlet.phases:
                elsewhere += granted_a
            else:
                unsent += max(0.0, granted_a - outlet.pilot_a)
                short = max(0.0, outlet.pilot_a - outlet.draw_a[index])
                under_way += 0.0 if outlet.car.settled else short
                undrawn += short if outlet.car.settled else 0.0
        return elsewhere, idle, unsent, under_way, undrawn

    def _outlet(self, key: Key) -> Connector | None:
        station = self._plant.stations.get(key[0])
        return station.connectors[key[1] - 1] if station is not None else None


def _counted(state: State, key: Key, connector: ConnectorState) -> tuple[Phase, ...]:
    station = state.site.station(key[0])
    return connector.phases or (station.phase_rotation if station is not None else ())
