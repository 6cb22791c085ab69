"""What may hide behind a car that has let go: a building that rose meanwhile looks like no rise at all.

Theory of operation
-------------------
The building is what its meter shows less what the stations were last read to draw. A car that was told less lets go
before its next reading is in. From then on the meter shows so much less, and a building that rises by as much changes
nothing on it. Nobody is harmed as long as that reading goes on counting as the car's own (`Seen.worst_ma`). But who
raises this car again uses up that cover: its new limit comes *beside* what may hide there.

How much may hide is known: the building was taken for `high`, and it cannot be more than what the meter shows less all
that the cars draw at the least. Once the meter shows that the car has let go, and no more than before, nothing hides.
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_core.budget import Seen, decays, sum_per_node
from llm_core.quantities import PHASES, ZERO
from llm_core.site import on_phases
from llm_core.state import MeterState, State


class Hiding:
    """Answers for one tick, per node and phase in mA; a node without a meter of its stations hides nothing."""

    def __init__(self, state: State, seen: tuple[Seen, ...], now_ms: int) -> None:
        self._state, self._now_ms = state, now_ms
        lows = sum_per_node(state.site.limit_tree(), ((e.station.node, e.lo_ma) for e in seen))
        self._covered = {
            setup.node: _covered(state.meters.get(setup.node, MeterState()), lows[setup.node])
            for setup in state.site.read_meters
            if setup.includes_stations
        }

    def hidden(self, entry: Seen, node: str) -> list[int]:
        """What may have taken the place of what this connector let go, and is not counted as the building's yet."""
        if entry.let_go_ma is ZERO or node not in self._covered:
            return [0, 0, 0]
        return [max(gone - known, 0) for gone, known in zip(entry.let_go_ma, self._covered[node], strict=True)]

    def counted(self, entry: Seen, node: str) -> list[int]:
        """The worst case of the connector, with what may hide there beside what lies there."""
        falls_back = decays(self._state, entry.key[0])
        lies = on_phases(entry.connector.ledger.limits_ma(self._now_ms, falls_back), entry.phases)
        return [max(w, a + b) for w, a, b in zip(entry.worst_ma, lies, self.hidden(entry, node), strict=True)]

    def replaced(self, entry: Seen, node: str) -> list[int]:
        """The part of that which a new limit takes the place of: all but what may hide there."""
        return [a - b for a, b in zip(self.counted(entry, node), self.hidden(entry, node), strict=True)]


def _covered(meter: MeterState, lows: Sequence[int]) -> list[int]:
    """How much more the building was taken for than it seems to be now: so much may hide and is counted already."""
    covered = []
    for phase, low_ma in zip(PHASES, lows, strict=True):
        known = meter.phases.get(phase)
        seems_ma = None if known is None or known.current_ma is None else known.current_ma - low_ma
        covered.append(0 if known is None or seems_ma is None else max(known.high_ma - seems_ma, 0))
    return covered
