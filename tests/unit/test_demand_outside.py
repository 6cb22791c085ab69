"""What others let a connector have is a part of what it can use, and what its driver wished leaves with the car."""

from __future__ import annotations

from llm_core import CapSource, ConnectorState, Ledger, Station, Wish
from llm_core.demand import allowed_ma, demand_of, forgotten
from llm_core.site import MOST_MA

STATION = Station("A", max_ma=32_000)


def connector(**caps_ma: int) -> ConnectorState:
    return ConnectorState(Ledger(None), caps_ma={CapSource(name): ma for name, ma in caps_ma.items()})


def most_ma(known: ConnectorState) -> int:
    return demand_of(("A", 1), known, STATION, 100, 1, MOST_MA).max_ma


def test_the_smallest_of_the_caps_is_the_most() -> None:
    assert most_ma(connector()) == 32_000
    assert most_ma(connector(cpo=20_000, driver=16_000)) == allowed_ma(connector(cpo=20_000, driver=16_000)) == 16_000
    assert most_ma(connector(cpo=63_000)) == 32_000


def test_with_the_car_goes_what_its_driver_wished_and_not_what_the_cpo_said() -> None:
    both = connector(cpo=20_000, driver=16_000)
    assert forgotten(both).caps_ma == {CapSource.CPO: 20_000}
    assert forgotten(connector(cpo=20_000)).caps_ma == {CapSource.CPO: 20_000}
    assert forgotten(ConnectorState(Ledger(None), wish=Wish(energy_wh=1))).wish is None
