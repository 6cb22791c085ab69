"""The quantities every other room counts in: phases, integer milliamps, integer watt-hours, instants.

Rounding only ever loses current: a load or a draw rounds up, a limit rounds down, and only at the edge
(`ma_up`, `ma_down`). Inside, amps are integers of milliamps and floats do not occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

import attrs


class Phase(StrEnum):
    """A phase of the site's supply, as its terminals are labelled."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"


PHASES: tuple[Phase, Phase, Phase] = (Phase.L1, Phase.L2, Phase.L3)


@attrs.frozen
class PerPhase:
    """One integer for each phase of the site, milliamps unless the name of the field says otherwise.

    A single-phase site uses `l1` only and keeps the others at 0.
    """

    l1: int = 0
    l2: int = 0
    l3: int = 0

    @classmethod
    def same(cls, value: int) -> PerPhase:
        return cls(value, value, value)

    def __getitem__(self, phase: Phase) -> int:
        return getattr(self, _FIELD[phase])  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[int]:
        yield self.l1
        yield self.l2
        yield self.l3

    def __add__(self, other: PerPhase) -> PerPhase:
        return PerPhase(self.l1 + other.l1, self.l2 + other.l2, self.l3 + other.l3)

    def __sub__(self, other: PerPhase) -> PerPhase:
        return PerPhase(self.l1 - other.l1, self.l2 - other.l2, self.l3 - other.l3)

    def map(self, function: Callable[[int], int]) -> PerPhase:
        return PerPhase(function(self.l1), function(self.l2), function(self.l3))

    def smaller(self, other: PerPhase) -> PerPhase:
        """The smaller of both, phase by phase."""
        return PerPhase(min(self.l1, other.l1), min(self.l2, other.l2), min(self.l3, other.l3))

    def larger(self, other: PerPhase) -> PerPhase:
        """The larger of both, phase by phase."""
        if self.l1 >= other.l1 and self.l2 >= other.l2 and self.l3 >= other.l3:
            return self
        return PerPhase(max(self.l1, other.l1), max(self.l2, other.l2), max(self.l3, other.l3))


_FIELD = {Phase.L1: "l1", Phase.L2: "l2", Phase.L3: "l3"}
ZERO = PerPhase()


@attrs.frozen
class Now:
    """The instant of a step, read once by the shell and passed in.

    `monotonic_ms` decides ages and deadlines and never jumps. `utc` stamps records and judges expiry; it may step
    by a day and nothing that controls current depends on it. `utc_offset_s` is the site's offset from UTC at this
    instant (daylight saving included), so that the core knows the local day without reading a time zone file.
    """

    monotonic_ms: int
    utc: datetime
    utc_offset_s: int = 0

    @property
    def local(self) -> datetime:
        """The wall clock at the site (naive: only its date and time of day mean something)."""
        return (self.utc + timedelta(seconds=self.utc_offset_s)).replace(tzinfo=None)


def ma_down(amps: Decimal | int | str) -> int:
    """Milliamps of a limit: rounded down, so a limit never grows at the edge."""
    return int((Decimal(amps) * 1000).to_integral_value(ROUND_FLOOR))


def ma_up(amps: Decimal | int | str) -> int:
    """Milliamps of a load: rounded up, so a load never shrinks at the edge."""
    return int((Decimal(amps) * 1000).to_integral_value(ROUND_CEILING))
