"""Everything about stations that is neither charging nor limits, behind one name for `step`."""

from __future__ import annotations

from typing import assert_never

from llm_core.commissioning import commission_told
from llm_core.commissions import CommissionTold
from llm_core.effects import Effect
from llm_core.local_lists import LocalListTold
from llm_core.ordering import order_ended, ordered
from llm_core.orders import (
    ConfigurationRead,
    OrderEnded,
    StationCare,
    StationOrdered,
    StationReported,
    StationScanStarted,
    StationScanStopped,
)
from llm_core.quantities import Now
from llm_core.reporting import configuration_read, reported
from llm_core.scanning import station_scan_started, station_scan_stopped
from llm_core.standalone import local_list_told
from llm_core.state import State


def cared(state: State, event: StationCare, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """What is known and to be done after one of these events."""
    match event:
        case StationOrdered():
            return ordered(state, event, now)
        case OrderEnded():
            return order_ended(state, event, now)
        case StationReported():
            return reported(state, event, now)
        case ConfigurationRead():
            return configuration_read(state, event), ()
        case StationScanStarted():
            return station_scan_started(state, event, now)
        case StationScanStopped():
            return station_scan_stopped(state, event, now)
        case CommissionTold():
            return commission_told(state, event, now)
        case LocalListTold():
            return local_list_told(state, event)
        case _:
            assert_never(event)
