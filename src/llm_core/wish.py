"""What a driver, or somebody who knows, says of a car: how much it still wants, and when it leaves.

Blind is the normal case: a station tells neither. A wish is used to leave current to those who gave none, and never
to take any from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from llm_core.external import VOLTS, Between
from llm_core.problem import Fault
from llm_core.quantities import Phase
from llm_core.sessions import Session

MOST_WH = 1_000_000
SPARE = 6  # a car is taken to need a fifth more than it says: it may taper, and others may take turns…
IN_FIFTHS = 5
EARLY = timedelta(minutes=15)  # …and to leave a quarter of an hour earlier


@attrs.frozen
class Wish:
    """`energy_wh` since the session began, by `departs_at`; either may be left open."""

    departs_at: datetime | None = None
    energy_wh: int | None = None


@attrs.frozen
class WishPut:
    """A driver, or somebody who knows, says what a session still needs (None: nothing). Answer: `Saved`, `NotSaved`."""

    by: str
    transaction_id: int
    wish: Wish | None
    request: int = 0


@attrs.frozen
class Need:
    """What a wish comes to now. `rate_ma` None: nobody can tell how fast it must be, so it has no slack."""

    satisfied: bool = False
    rate_ma: int | None = None


def need_of(wish: Wish, session: Session, phases: tuple[Phase, ...] | None, between: Between) -> Need:
    """How fast the car must be charged so that it has its energy in time; unknown phases count as one.

    The time that is left is the shortest that it may be, whatever our clock is worth.
    """
    if wish.energy_wh is None:
        return Need()
    missing_wh = wish.energy_wh - session.energy_wh
    if missing_wh <= 0:
        return Need(satisfied=True)
    if wish.departs_at is None:
        return Need()
    left_s = (wish.departs_at - between[1] - EARLY) // timedelta(seconds=1)
    if left_s <= 0:
        return Need()
    volts = VOLTS * len(phases or (None,))
    return Need(rate_ma=-(-missing_wh * 3_600_000 * SPARE // (IN_FIFTHS * volts * left_s)))


def wish_faults(wish: Wish, between: Between) -> Iterator[Fault]:
    """What keeps this wish from being taken."""
    if wish.energy_wh is not None and not 0 < wish.energy_wh <= MOST_WH:
        yield Fault("/energy_kwh", f"must lie between 0 and {MOST_WH // 1000} kWh")
    if wish.departs_at is not None and wish.departs_at <= between[0]:
        yield Fault("/departs_at", "lies in the past")
