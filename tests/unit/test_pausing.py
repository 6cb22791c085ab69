"""Stations that refuse 0 A, or the floor, are brought as low as they take, counted with it, and asked to stop."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    AlarmCode,
    CapSource,
    ConnectorCapped,
    ConnectorState,
    GrantReason,
    LimitRefused,
    PerPhase,
    Purpose,
    SetLimit,
    Station,
    StationNote,
    station_notes,
)
from llm_core.ledger import Ledger
from llm_core.pausing import ended, refuses_zero, rejects_limits, takes_no_zero, without_late_refusals
from unit.small_site import A, Car, SmallSite, dynamic, static
from unit.strategies import now


def no_zero(command: SetLimit) -> bool:
    return command.limit_ma >= 6 * A


def no_default(command: SetLimit) -> bool:
    return command.purpose is Purpose.TRANSACTION


ABLE = Station("A", fallback_ma=6 * A, start_alone_ma=6 * A)  # as the guide to commissioning says


def capped(site: SmallSite, amps: float | None, name: str = "A") -> None:
    site.post(ConnectorCapped(name, 1, CapSource.CPO, None if amps is None else round(amps * A)))


def worst_a(site: SmallSite, name: str = "A") -> float:
    ledger = site.state.connectors[name, 1].ledger
    return ledger.held_ma(now(site.second).monotonic_ms, decays=True) / A


def charging(station: Station = ABLE, limit_a: float = 40) -> SmallSite:
    site = SmallSite(static(limit_a, station))
    site.outlets["A"].takes = no_zero
    site.run(5)
    site.plug("A")
    site.run(20)
    assert site.offered("A") == [16]
    return site


def test_one_that_refuses_0_a_is_told_the_least_that_it_takes_within_seconds() -> None:
    site = charging()
    capped(site, 0)
    site.run(10)
    assert site.offered("A") == [6]
    site.run(10)
    assert site.drawn_ma().l1 == 6 * A
    assert worst_a(site) == 6


def test_0_a_is_tried_again_once_a_minute_and_what_was_told_instead_is_renewed() -> None:
    site = charging()
    capped(site, 0)
    site.run(300)
    told = site.sent_since(25, "A")
    assert 5 <= told.count(0) <= 8
    assert set(told) == {0, 6}
    assert {offer for second, offer in site.outlets["A"].offered if second > 35} <= {6 * A}


def test_one_that_must_have_nothing_is_asked_to_end_its_transaction_after_30_seconds_and_once_a_minute() -> None:
    site = charging()
    capped(site, 0)
    began = site.second
    site.run(200)
    asked = [second - began for second, _ in site.stops]
    assert 30 <= asked[0] <= 40
    assert asked[1] - asked[0] == asked[2] - asked[1] == 60
    site.unplug("A")
    site.run(100)
    assert len(site.stops) == len(asked)


def test_one_that_may_charge_again_or_draws_nothing_is_not_asked_to_end_it() -> None:
    site = charging()
    capped(site, 0)
    site.run(25)
    capped(site, None)
    site.run(40)
    assert site.offered("A") == [16]
    capped(site, 0)
    site.outlets["A"].car = Car(most_ma=0)
    site.run(60)
    capped(site, None)
    site.outlets["A"].car = Car()
    site.run(60)
    capped(site, 0)
    site.run(25)
    assert site.stops == []  # every time it is given 30 s anew


def test_it_is_the_building_that_comes_first_and_another_cars_turn_that_does_not() -> None:
    stations = (ABLE, Station("B"), Station("C"))
    site = SmallSite(dynamic(13, *stations, fallback_a=13))
    site.outlets["A"].takes = no_zero
    site.run(5)
    for name in "ABC":
        site.plug(name)
    site.run(120)
    site.most_ma = PerPhase()
    site.run(3_000)  # three turns: in its own it cannot be paused, and nobody ends it for that
    assert site.stops == []
    assert site.outlets["B"].charged_s > 600
    assert site.outlets["C"].charged_s > 600
    assert site.most_ma.l1 <= 13 * A
    site.building(12)
    site.run(90)
    assert {name for _, name in site.stops} == {"A"}


def test_a_floor_that_is_refused_keeps_nobody_from_limits_of_his_own() -> None:
    site = SmallSite(static(40, Station("A")))
    site.outlets["A"].takes = no_default
    site.run(20)
    site.plug("A")
    site.run(30)
    capped(site, 8)
    site.run(20)
    assert site.offered("A") == [8]
    assert worst_a(site) == 16  # the next car would get it all
    assert (AlarmCode.STATION_REJECTS_LIMITS, "A") in site.state.alarms
    site.outlets["A"].takes = None
    site.run(70)
    assert worst_a(site) == 8
    assert site.state.alarms == {}


def test_a_floor_waits_for_nobody_while_no_car_is_there() -> None:
    site = SmallSite(static(40, Station("A")))
    site.outlets["A"].takes = no_default
    site.run(60)
    before = site.state.connectors["A", 1].ledger.floor_refused_ms
    site.run(20)
    assert site.state.connectors["A", 1].ledger.floor_refused_ms != before


def test_its_page_says_that_it_takes_no_0_a_and_the_alarm_lasts_as_long_as_it_matters() -> None:
    site = charging()
    assert StationNote.REFUSES_ZERO not in station_notes(site.state, "A")
    capped(site, 0)
    site.run(10)
    assert {StationNote.REFUSES_ZERO, StationNote.REJECTS_LIMITS} <= set(station_notes(site.state, "A"))
    assert (AlarmCode.STATION_REJECTS_LIMITS, "A") in site.state.alarms
    capped(site, None)
    site.run(10)
    assert StationNote.REFUSES_ZERO in station_notes(site.state, "A")
    assert site.state.alarms == {}


@pytest.mark.parametrize("untold", [True, False])
def test_what_was_never_told_was_never_refused(untold: bool) -> None:
    site = charging()
    site.outlets["A"].linked = False  # whatever is sent goes nowhere
    capped(site, 0)
    for _ in range(2):
        site.run(3)
        assert site.sent[-1][1].limit_ma == 0
        site.post(LimitRefused("A", 1, site.sent[-1][1].seq, "superseded", untold=untold))
    assert refuses_zero(site.state.connectors["A", 1].ledger) is not untold


def test_one_that_has_nothing_is_given_nothing_for_refusing_0_a() -> None:
    site = SmallSite(static(40, Station("A")))
    site.outlets["A"].takes = lambda command: command.purpose is Purpose.FLOOR or no_zero(command)
    site.run(5)
    capped(site, 0)
    site.plug("A")
    site.run(120)
    assert refuses_zero(site.state.connectors["A", 1].ledger)
    assert site.offered("A") == [0]


@pytest.mark.parametrize(("over_since_s", "asked_at"), [(None, []), (35, []), (0, [40])])
def test_a_turn_ends_no_transaction_unless_more_flows_than_may(over_since_s: int | None, asked_at: list[int]) -> None:
    """Ten seconds of overload are the ramp that every building step causes; then its car has 30 s."""
    site = charging()
    capped(site, 0)
    site.run(12)
    connector = site.state.connectors["A", 1]
    assert connector.grant is not None
    waiting = attrs.evolve(connector, grant=attrs.evolve(connector.grant, reason=GrantReason.WAITING))
    since_ms = None if over_since_s is None else now(site.second + over_since_s).monotonic_ms
    nodes = {name: attrs.evolve(view, over_since_ms=since_ms) for name, view in site.state.nodes.items()}
    state, asked = attrs.evolve(site.state, connectors={("A", 1): waiting}, nodes=nodes), []
    for second in range(0, 45, 5):
        state, more = ended(state, now(site.second + second).monotonic_ms)
        asked += [second] * len(more)
    assert asked == asked_at


def test_what_was_refused_after_its_transaction_had_ended_says_nothing_of_0_a() -> None:
    ledger = Ledger(None, zero_refused_ms=5_000, zero_refusals=2)
    assert without_late_refusals(ledger, 5_001) == ledger
    assert without_late_refusals(ledger, 5_000) == Ledger(None)
    assert without_late_refusals(Ledger(None), 0) == Ledger(None)


@pytest.mark.parametrize("refused", [{"zero_refusals": 2}, {"floor_refused_ms": 1}])
def test_0_a_is_refused_as_a_limit_or_as_the_floor(refused: dict[str, int]) -> None:
    assert takes_no_zero(Ledger(None, **refused))
    assert not takes_no_zero(Ledger(None, floor_refused_ms=1, floor_refused_ma=6_000))
    assert not takes_no_zero(Ledger(None, zero_refusals=1))


def test_who_refuses_three_times_in_a_row_rejects_limits() -> None:
    assert rejects_limits(ConnectorState(Ledger(None, refusals=3)))
    assert not rejects_limits(ConnectorState(Ledger(None, refusals=2)))
    assert not rejects_limits(ConnectorState(Ledger(None, zero_refusals=2)))  # nobody charges there


def test_the_floor_that_it_takes_is_laid_while_its_car_draws_as_much_although_its_maximum_fits_nowhere() -> None:
    site = SmallSite(static(13, ABLE))
    site.outlets["A"].takes = no_zero
    site.run(30)
    assert worst_a(site) == 16  # 16 A do not fit, so a floor of 6 A may be a raise, and it refuses 0 A
    assert (AlarmCode.STATION_REJECTS_LIMITS, "A") in site.state.alarms
    site.plug("A", Car(most_ma=5 * A))
    site.run(150)
    assert worst_a(site) == 16
    site.outlets["A"].car = Car()
    site.run(90)
    assert worst_a(site) == 13
    site.unplug("A")
    site.run(10)
    assert worst_a(site) == 6
    assert site.state.alarms == {}
