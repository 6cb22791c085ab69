"""What flowed, over time: slices of a minute, a quarter of an hour or a day, for each node and each station.

A slice says what people ask of it later: what the limit was, what the building took, what the cars took. Means are
over the time that was seen; what was not measured is None. A day begins at midnight at the site.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs

from llm_core.quantities import PerPhase


class Span(StrEnum):
    """How long a slice is."""

    MINUTE = "minute"
    QUARTER = "quarter"
    DAY = "day"


@attrs.frozen
class Place:
    """A node of the limit tree, or a station."""

    id: str
    is_station: bool = False


@attrs.frozen
class Slice:
    """What flowed at a place from `at` (UTC) on.

    `total_ma`, `power_w` and `energy_wh` are those of everything at a node, building and cars, and None where no meter
    told; `power_w` of a station is its cars'. `limit_ma` is the limit of the node, or what the station was offered;
    `peak_ma` the highest total (of the cars where no meter told) at any instant.
    """

    place: Place
    at: datetime
    total_ma: PerPhase | None
    cars_ma: PerPhase
    limit_ma: PerPhase
    peak_ma: PerPhase
    power_w: int | None
    energy_wh: int | None
    cars_wh: int
