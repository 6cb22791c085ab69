"""What step hands over about stations reaches the room that knows it."""

from __future__ import annotations

from typing import get_args

import pytest

from llm_core import (
    CommissionTold,
    ConfigurationRead,
    LocalList,
    LocalListTold,
    Order,
    OrderEnded,
    Progress,
    ReportKind,
    Site,
    State,
    Station,
    StationOrdered,
    StationReported,
    StationScanStarted,
    StationScanStopped,
    StationState,
)
from llm_core.orders import StationCare
from llm_core.station_care import cared
from unit.strategies import now

HOUSE = State(site=Site(stations=(Station("A"),)), stations={"A": StationState(online=True)})
FACTS: tuple[StationCare, ...] = (
    StationOrdered("ann", "A", Order.RESET),
    OrderEnded("ann", "A", Order.RESET, done=True, outcome="Accepted"),
    StationReported("A", ReportKind.FIRMWARE, "Installed"),
    ConfigurationRead("A", {"HeartbeatInterval": "60"}),
    LocalListTold(LocalList("A", 7)),
    CommissionTold("A", 1, "ann", Progress.DONE),
    StationScanStarted("ann"),
    StationScanStopped("ann"),
)


def test_the_facts_below_are_all_there_are() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(StationCare))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_each_is_taken_or_answered(fact: StationCare) -> None:
    state, effects = cared(HOUSE, fact, now())
    assert state != HOUSE or effects
