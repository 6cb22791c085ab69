"""The last gate, given commands that nobody above it would make: which of them survive, and what is named."""

from __future__ import annotations

import attrs
import pytest

from llm_core import (
    MANUAL,
    PHASES,
    SITE,
    Capabilities,
    ClearLimit,
    Cluster,
    ConnectorState,
    Ledger,
    MeterSetup,
    Mode,
    PerPhase,
    Phase,
    Purpose,
    SetLimit,
    Site,
    Station,
    StationState,
    Supply,
)
from llm_core.guard import Command, Passed, guard
from llm_core.ledger import Inherited, Trail, confirmed, sent, unanswered
from llm_core.state import Key, MeterPhase, MeterState, Reading, State
from unit.strategies import floor, limit

L1, L2, L3 = PHASES
NOW_MS = 100_000
LEASE_MS, MARGIN_MS = 120_000, 30_000
OVER_MS = LEASE_MS + MARGIN_MS  # when the leases of a scene, which began at 0, are surely over


# The stations and what they hold


def supply(limit_a: int) -> Supply:
    return Supply(static_max_ma=PerPhase.same(limit_a * 1_000))


def metered_supply(limit_a: int, fallback_a: int) -> Supply:
    limit_ma = PerPhase.same(limit_a * 1_000)
    return Supply(Mode.DYNAMIC, fuse_ma=limit_ma, derated_ma=limit_ma, fallback_ma=PerPhase.same(fallback_a * 1_000))


def wired(*stations: Station, supply: Supply, meters: tuple[str, ...] = (), **cluster_a: PerPhase) -> Site:
    """Stations in the default cluster or in those named, each of which has a limit."""
    clusters = (Cluster("default", ""), *(Cluster(name, "", "default", a) for name, a in cluster_a.items()))
    return Site(
        supply=supply, clusters=clusters, stations=stations, meters=tuple(MeterSetup(m, "", "") for m in meters)
    )


def holding(limit_a: int, then_a: int = 0) -> ConnectorState:
    """A floor of 0 and one limit for the transaction, both acknowledged."""
    ledger = Ledger(None)
    for command in (floor(1, 0), limit(2, limit_a * 1_000, then_a * 1_000, lease_ms=LEASE_MS)):
        ledger = confirmed(sent(ledger, command, 0), command.seq, 0, decays=True)
    return ConnectorState(ledger)


def scene(site: Site, **held: ConnectorState) -> State:
    """Every station that holds something is on line, and its clock agrees."""
    on_line = StationState(online=True, accepted=True, clock_ahead_ms=0)
    connectors = {(name, 1): connector for name, connector in held.items()}
    return State(site=site, stations=dict.fromkeys(held, on_line), connectors=connectors)


def changed(state: State, station_id: str, **changes: object) -> State:
    key = (station_id, 1)
    after = attrs.evolve(state.connectors[key], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, connectors={**state.connectors, key: after})


def known(state: State, station_id: str, **changes: object) -> State:
    after = attrs.evolve(state.stations[station_id], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, stations={**state.stations, station_id: after})


def with_meter(
    state: State, node: str, *highs_a: int | None, lost: tuple[Phase, ...] = (), seen_ms: int = NOW_MS
) -> State:
    """A meter that shows so much building load and no station; None is a phase that was never read."""
    read = {p: a * 1_000 for p, a in zip(PHASES, highs_a, strict=True) if a is not None}
    phases = {p: MeterPhase(current_ma=ma, seen_ms=seen_ms, high_ma=ma, lost=p in lost) for p, ma in read.items()}
    return attrs.evolve(state, meters={**state.meters, node: MeterState(phases)})


def raising(station_id: str, limit_a: int, then_a: int = 0, purpose: Purpose = Purpose.TRANSACTION) -> SetLimit:
    command = limit(7, limit_a * 1_000, then_a * 1_000, purpose=purpose)
    return attrs.evolve(command, station_id=station_id)


def lowering(station_id: str, limit_a: int, then_a: int = 0) -> SetLimit:
    return attrs.evolve(raising(station_id, limit_a, then_a), lowers=True)


def passed(state: State, *commands: Command, at_ms: int = NOW_MS) -> Passed:
    return guard(state, commands, at_ms)


def most_given(state: State, station_id: str, at_ms: int = NOW_MS) -> int:
    """The highest whole number of amps that the gate lets this station be raised to."""
    return max(a for a in range(6, 33) if passed(state, raising(station_id, a), at_ms=at_ms).commands)


THREE = (Station("A", max_ma=32_000), Station("B", max_ma=32_000), Station("C", max_ma=32_000))
A_AND_B = scene(wired(*THREE, supply=supply(32)), A=holding(6), B=holding(16))


# I1


def test_what_fits_passes_as_it_came() -> None:
    commands = (ClearLimit(6, "B", 1), raising("A", 16))
    assert passed(A_AND_B, *commands) == Passed(commands, ())


def test_a_milliamp_too_much_drops_every_raise_and_no_decrease() -> None:
    too_much = attrs.evolve(raising("A", 16), limit_ma=16_001)
    decrease, clear, other = lowering("B", 6), ClearLimit(8, "B", 1), raising("B", 16)
    after = passed(A_AND_B, decrease, clear, too_much, other)
    assert after.commands == (decrease, clear)
    assert after.violations == tuple(f"I1: site {p}: 32001 mA" for p in PHASES)


def test_a_decrease_of_the_same_tick_pays_for_nothing() -> None:
    """I2: until it is acknowledged and followed, B counts with its 16 A."""
    decrease = lowering("B", 6)
    assert passed(A_AND_B, decrease, raising("A", 26)).commands == (decrease,)
    assert passed(A_AND_B, decrease, raising("A", 16)).violations == ()


def test_raises_that_fit_one_by_one_and_not_together_are_all_dropped() -> None:
    assert passed(A_AND_B, raising("A", 10), raising("B", 22)).commands != ()
    assert passed(A_AND_B, raising("A", 12), raising("B", 22)).commands == ()


def test_of_two_commands_for_one_connector_the_larger_counts() -> None:
    assert passed(A_AND_B, raising("A", 17), raising("A", 6)).commands == ()
    assert passed(A_AND_B, raising("A", 6), raising("A", 17)).commands == ()


def test_one_phase_of_a_cluster_above_its_limit_is_enough() -> None:
    site = wired(attrs.evolve(THREE[0], cluster="attic"), supply=supply(63), attic=PerPhase(32_000, 32_000, 16_000))
    state = scene(site, A=holding(6))
    assert passed(state, raising("A", 20)) == Passed((), ("I1: attic L3: 20000 mA",))
    on_two = changed(state, "A", phases=(L1, L2))
    assert passed(on_two, raising("A", 20)).violations == ()


def test_an_overload_where_nobody_is_raised_stops_no_raise_elsewhere() -> None:
    site = wired(*THREE[:2], attrs.evolve(THREE[2], cluster="attic"), supply=supply(63), attic=PerPhase.same(10_000))
    state = scene(site, A=holding(6), C=holding(16))
    assert passed(state, raising("A", 16)).violations == ()
    assert passed(state, raising("C", 16)).commands == ()


def test_without_a_raise_no_overload_is_a_violation() -> None:
    state = scene(wired(*THREE, supply=supply(10)), A=holding(16), B=holding(16))
    assert passed(state, lowering("A", 6)) == Passed((lowering("A", 6),), ())


# What a connector counts with


def test_every_place_where_current_may_come_from_counts() -> None:
    """B holds 16 A of 32 A and A may have 16 A; whatever B may hold beyond its 16 A is taken off."""
    ledger = A_AND_B.connectors["B", 1].ledger
    in_doubt = unanswered(sent(ledger, limit(3, 20_000), NOW_MS), 3, NOW_MS)
    cases = {
        "as it is": (ledger, 16),
        "a command of open fate": (in_doubt, 12),
        "a floor": (sent(ledger, floor(3, 20_000), NOW_MS), 12),
        "a default": (sent(ledger, limit(3, 20_000, purpose=Purpose.DEFAULT), NOW_MS), 12),
        "a car that follows down": (attrs.evolve(ledger, trails=(Trail(20_000, NOW_MS + 1),)), 12),
        "a car that has followed": (attrs.evolve(ledger, trails=(Trail(20_000, NOW_MS),)), 16),
        "what was there before": (attrs.evolve(ledger, inherited=Inherited(20_000, 18_000, None)), 12),
        "with a lease": (attrs.evolve(ledger, inherited=Inherited(20_000, 18_000, NOW_MS + 1)), 12),
        "which is over": (attrs.evolve(ledger, inherited=Inherited(20_000, 18_000, NOW_MS)), 14),
    }
    given = {name: most_given(changed(A_AND_B, "B", ledger=ledger), "A") for name, (ledger, _) in cases.items()}
    assert given == {name: most_a for name, (_, most_a) in cases.items()}
    without_clock = known(changed(A_AND_B, "B", ledger=cases["which is over"][0]), "B", clock_ahead_ms=None)
    assert most_given(without_clock, "A") == 12


@pytest.mark.parametrize(
    ("ahead_ms", "decays", "frees"),
    [
        (0, True, True),
        (10_000, True, True),
        (-10_000, True, True),
        (10_001, True, False),
        (-10_001, True, False),
        (None, True, False),
        (0, False, False),
    ],
)
def test_a_lease_frees_when_it_is_over_and_only_on_a_clock_that_agrees(
    ahead_ms: int | None, decays: bool, frees: bool
) -> None:
    state = known(A_AND_B, "B", clock_ahead_ms=ahead_ms, capabilities=Capabilities(decays=decays))
    assert most_given(state, "A", OVER_MS - 1) == 16
    assert most_given(state, "A", OVER_MS) == (32 if frees else 16)


def test_a_draw_above_the_books_counts_while_the_station_is_heard() -> None:
    drawing = changed(A_AND_B, "B", mean_ma=PerPhase(18_000, 0, 0))
    assert most_given(drawing, "A") == 14
    assert most_given(known(drawing, "B", online=False), "A") == 16
    disobeys = changed(drawing, "B", disobeys_ms=1)
    assert most_given(known(disobeys, "B", online=False), "A") == 14


def test_a_car_counts_on_the_phases_it_was_measured_on_and_on_all_once_its_station_is_lost() -> None:
    state = changed(changed(A_AND_B, "B", phases=(L1,)), "A", phases=(L2,))
    assert most_given(state, "A") == 32
    assert most_given(known(state, "B", online=False), "A") == 16
    assert passed(known(state, "A", online=False), raising("A", 17)).violations == ("I1: site L1: 33000 mA",)


def test_a_floor_counts_on_every_wire_whatever_car_is_there() -> None:
    state = changed(A_AND_B, "A", phases=(L2,))
    on_one_phase = changed(state, "B", phases=(L1,))
    assert passed(on_one_phase, raising("A", 17)).violations == ()
    assert passed(on_one_phase, raising("A", 17, purpose=Purpose.FLOOR)).violations == ("I1: site L1: 33000 mA",)


def test_a_station_counts_with_its_floor_before_that_is_sent() -> None:
    starts_alone = attrs.evolve(THREE[2], start_alone_ma=8_000)
    state = scene(wired(*THREE[:2], starts_alone, supply=supply(32)), A=holding(6), B=holding(10), C=holding(0))
    assert most_given(state, "A") == 14
    on_l1 = wired(*THREE[:2], attrs.evolve(starts_alone, phase_rotation=(L1,)), supply=supply(32))
    assert most_given(changed(attrs.evolve(state, site=on_l1), "A", phases=(L2,)), "A") == 22


def test_out_of_service_counts_nothing_until_it_connects_and_the_never_connected_nothing() -> None:
    retired = attrs.evolve(THREE[1], out_of_service=True)
    state = attrs.evolve(A_AND_B, site=wired(THREE[0], retired, THREE[2], supply=supply(32)))
    assert most_given(state, "A") == 16
    assert most_given(known(state, "B", online=False), "A") == 32
    never = attrs.evolve(A_AND_B, stations={"A": A_AND_B.stations["A"]})
    assert most_given(never, "A") == 32


def test_the_books_of_a_removed_station_count_nothing() -> None:
    assert most_given(attrs.evolve(A_AND_B, site=wired(THREE[0], supply=supply(32))), "A") == 32


# Building and strangers


def test_a_stranger_takes_from_a_site_without_a_meter_on_each_phase_that_it_draws_on() -> None:
    state = attrs.evolve(
        A_AND_B, strangers={("X", 1): Reading(0, PerPhase(0, 3_000, 0)), ("Y", 1): Reading(0, PerPhase())}
    )
    assert passed(state, raising("A", 13)).violations == ()
    assert passed(state, raising("A", 14)).violations == ("I1: site L2: 33000 mA",)


READ = MeterPhase(0, seen_ms=NOW_MS)
METERED = attrs.evolve(A_AND_B, site=wired(*THREE, supply=metered_supply(50, 24), meters=(SITE,)))


def test_behind_a_meter_the_building_counts_at_its_highest() -> None:
    state = with_meter(METERED, SITE, 10, 0, 0)
    assert most_given(state, "A") == 24
    fell = attrs.evolve(state.meters[SITE].phases[L1], current_ma=1_000)
    assert most_given(attrs.evolve(state, meters={SITE: MeterState({L1: fell})}), "A") == 8  # L2, L3 are unknown
    one_phase = attrs.evolve(changed(state, "A", phases=(L1,)), meters={SITE: MeterState({L1: fell})})
    assert most_given(one_phase, "A") == 24


def test_behind_a_meter_a_stranger_is_in_its_reading_already() -> None:
    state = attrs.evolve(with_meter(METERED, SITE, 10, 10, 10), strangers={("X", 1): Reading(0, PerPhase.same(10_000))})
    assert most_given(state, "A") == 24


@pytest.mark.parametrize(
    "blind",
    [
        METERED,  # never read
        with_meter(METERED, SITE, 0, None, 0),
        with_meter(METERED, SITE, 0, 0, 0, lost=(L3,)),
        attrs.evolve(METERED, meters={SITE: MeterState({**dict.fromkeys(PHASES, READ), L1: MeterPhase()})}),
        attrs.evolve(METERED, site=wired(*THREE, supply=metered_supply(50, 24))),  # nobody set one up
    ],
)
def test_a_meter_that_is_not_to_be_trusted_on_one_phase_leaves_what_is_safe_there(blind: State) -> None:
    assert most_given(blind, "A") == 24 - 16


def test_a_lost_phase_binds_only_those_who_use_it() -> None:
    state = changed(with_meter(METERED, SITE, 0, 0, 90, lost=(L3,)), "B", ledger=holding(26).ledger)
    assert passed(state, raising("A", 6)).commands == ()
    assert most_given(changed(state, "A", phases=(L1, L2)), "A") == 50 - 26


def test_a_meter_that_is_back_but_not_trusted_yet_proves_what_is_not_there_and_nothing_else() -> None:
    for building_a, most_a in ((0, 24 - 16), (26, 24 - 16), (27, 50 - 27 - 16), (60, None)):
        lost = with_meter(METERED, SITE, building_a, building_a, building_a, lost=PHASES)
        assert most_given(lost, "A") == 24 - 16
        known = {p: attrs.evolve(phase, good_since_ms=NOW_MS) for p, phase in lost.meters[SITE].phases.items()}
        back = attrs.evolve(lost, meters={SITE: MeterState(known)})
        if most_a is None:
            assert passed(back, raising("A", 6)).commands == ()
        else:
            assert most_given(back, "A") == most_a


def test_a_fallback_above_the_limit_gives_no_more_than_the_limit() -> None:
    site = wired(*THREE, supply=metered_supply(20, 63), meters=(SITE,))
    assert passed(attrs.evolve(A_AND_B, site=site), raising("A", 6)).commands == ()


def test_an_assumed_load_is_carried_and_needs_no_safe_limit() -> None:
    site = wired(*THREE, supply=metered_supply(20, 0))
    assumed = attrs.evolve(site, meters=(MeterSetup(SITE, MANUAL, load_ma=PerPhase(5_000, 0, 0)),))
    assert most_given(scene(assumed, A=holding(6)), "A") == 15
    assert passed(scene(site, A=holding(0)), raising("A", 6)).commands == ()


def test_a_cluster_with_a_meter_of_its_own_carries_its_other_consumers() -> None:
    site = wired(
        attrs.evolve(THREE[0], cluster="attic"), supply=supply(63), meters=("attic", SITE), attic=PerPhase.same(20_000)
    )
    state = scene(site, A=holding(6))
    assert most_given(with_meter(state, "attic", 0, 8, 0), "A") == 12
    assert (
        most_given(with_meter(with_meter(state, "attic", 0, 0, 0), SITE, 60, 60, 60), "A") == 20
    )  # static: no meter measures the site


# I4


@pytest.mark.parametrize(
    "wrong",
    [
        attrs.evolve(raising("A", 6), limit_ma=5_999),
        attrs.evolve(raising("A", 6), limit_ma=1),
        attrs.evolve(raising("A", 6), limit_ma=-1),
        attrs.evolve(raising("A", 8), then_ma=5_999),
        raising("A", 6, then_a=7),  # a lease would rise when it runs out
        raising("A", 0, then_a=6),
        raising("A", 33),
        raising("nobody", 6),
    ],
)
def test_a_limit_that_must_not_be_is_dropped_and_every_raise_with_it(wrong: SetLimit) -> None:
    decrease, clear = lowering("B", 6), ClearLimit(8, "A", 1)
    after = passed(A_AND_B, wrong, raising("A", 8), decrease, clear)
    assert after == Passed((decrease, clear), (f"I4: {wrong}",))


@pytest.mark.parametrize(
    ("wrong", "safe_a"),
    [
        (attrs.evolve(lowering("B", 6), limit_ma=5_999), 0),
        (attrs.evolve(lowering("B", 6), limit_ma=-1), 0),
        (lowering("B", 6, then_a=7), 6),
        (lowering("B", 33), 16),
    ],
)
def test_in_place_of_a_decrease_that_must_not_be_told_stands_one_that_gives_nobody_more(
    wrong: SetLimit, safe_a: int
) -> None:
    """Something is too much: what surely lies there may stay, else the car pauses; it is left nothing behind."""
    after = passed(A_AND_B, wrong)
    assert after == Passed((lowering("B", safe_a),), (f"I4: {wrong}",))


def test_a_floor_is_never_cleared_away() -> None:
    bare, clear = ClearLimit(7, "B", 1, purpose=Purpose.FLOOR), ClearLimit(8, "A", 1, purpose=Purpose.DEFAULT)
    assert passed(A_AND_B, bare, clear, raising("A", 8)) == Passed((clear,), (f"I6: {bare}",))


@pytest.mark.parametrize(("limit_a", "then_a"), [(0, 0), (6, 0), (6, 6), (16, 6), (16, 16)])
def test_nothing_the_minimum_and_above_may_be_told(limit_a: int, then_a: int) -> None:
    assert passed(A_AND_B, raising("A", limit_a, then_a)).violations == ()


WRONG = raising("nobody", 6)


def test_beside_a_violation_a_decrease_that_is_none_becomes_what_is_held() -> None:
    kept = (lowering("A", 6), lowering("B", 16))
    assert passed(A_AND_B, WRONG, *kept).commands == kept
    assert passed(A_AND_B, WRONG, lowering("A", 7, 6), lowering("B", 17)).commands == kept


def test_beside_a_violation_a_permanent_limit_that_is_no_decrease_becomes_nothing() -> None:
    """What is held with a lease may be too much for ever."""
    permanent = attrs.evolve(lowering("A", 7), lease_ms=None)
    assert passed(A_AND_B, WRONG, permanent).commands == (attrs.evolve(permanent, limit_ma=0),)


def test_beside_a_violation_nothing_is_told_to_a_connector_that_nobody_knows() -> None:
    assert passed(A_AND_B, WRONG, lowering("C", 0)).commands == ()
    assert passed(A_AND_B, WRONG, attrs.evolve(lowering("A", 0), connector=2)).commands == ()


# I6


def test_last_periods_that_do_not_fit_together_are_no_raise() -> None:
    """Behind a meter 24 A are safe without it: 6, 8 and 10 A may be left behind, 6, 8 and 11 A may not."""
    state = with_meter(METERED, SITE, 0, 0, 0)
    state = attrs.evolve(state, connectors={("A", 1): holding(6, 6), ("B", 1): holding(8, 8), ("C", 1): holding(6)})
    state = attrs.evolve(state, stations=dict.fromkeys("ABC", state.stations["A"]))
    decrease, clear, raise_a = lowering("B", 6, 6), ClearLimit(8, "B", 1), raising("A", 16, 6)
    fits = (raise_a, decrease, clear, raising("C", 10, 10))
    assert passed(state, *fits) == Passed(fits, ())
    after = passed(state, raise_a, decrease, clear, raising("C", 11, 11))
    assert after == Passed((decrease, clear), tuple(f"I6: site {p}: 25000 mA left alone" for p in PHASES))


def test_only_who_leaves_more_behind_is_asked_whether_it_fits() -> None:
    """A limit that was lowered by hand leaves old last periods too high: they stop nobody who adds nothing."""
    site = wired(
        THREE[0],
        attrs.evolve(THREE[1], phase_rotation=(L1,)),
        attrs.evolve(THREE[2], phase_rotation=(L2,)),
        supply=supply(16),
    )
    crowded = scene(site, A=holding(0), B=holding(20, 20), C=holding(6, 6))
    assert passed(crowded, lowering("B", 16, 16)).violations == ()
    assert passed(crowded, raising("C", 8, 8)).violations == ()
    assert passed(crowded, lowering("A", 6, 6)).violations == (
        "I1: site L1: 26000 mA",  # it says that it lowers, but gives more: it is asked like any raise
        "I6: site L1: 26000 mA left alone",
    )


def test_a_cleared_place_leaves_nothing_behind() -> None:
    state = scene(wired(*THREE, supply=supply(12)), A=holding(6, 6), B=holding(0), C=holding(6, 6))
    ledger = state.connectors["A", 1].ledger
    cleared = confirmed(sent(ledger, ClearLimit(3, "A", 1), 0), 3, 0, decays=True)
    assert passed(state, lowering("B", 6, 6)).violations != ()
    assert passed(changed(state, "A", ledger=cleared), lowering("B", 6, 6)).violations == ()


def test_the_books_of_a_removed_station_leave_nothing_behind() -> None:
    connectors: dict[Key, ConnectorState] = {("A", 1): holding(0), ("gone", 1): holding(16, 16)}
    state = attrs.evolve(A_AND_B, connectors=connectors)
    assert passed(state, raising("A", 32, 32)).violations == ()


def test_out_of_service_leaves_nothing_behind_until_it_connects() -> None:
    retired = attrs.evolve(THREE[1], out_of_service=True)
    state = scene(wired(THREE[0], retired, supply=supply(32)), A=holding(6), B=holding(16, 16))
    assert passed(known(state, "B", online=False), raising("A", 17, 17)).violations == ()
    assert passed(state, raising("A", 17, 17)).violations != ()


def test_what_may_lie_there_from_before_is_left_alone_too() -> None:
    """After a restart nobody has spoken to B: when its lease is over it gives its last period, 8 A for all we know."""
    ledger = Ledger(Inherited(16_000, 8_000, NOW_MS + 1))
    state = scene(wired(*THREE, supply=supply(32)), A=holding(6), B=ConnectorState(ledger), C=holding(0))
    assert passed(state, raising("C", 8, 6), raising("A", 8)).violations == ()
    crowded = attrs.evolve(state, site=wired(*THREE, supply=supply(12)))
    assert "I6: site L1: 14000 mA left alone" in passed(crowded, lowering("A", 6, 6)).violations


def test_the_floor_of_a_station_is_left_alone_before_it_is_sent() -> None:
    starts_alone = attrs.evolve(THREE[1], start_alone_ma=8_000)
    state = scene(wired(THREE[0], starts_alone, supply=supply(14)), A=holding(6), B=holding(0))
    assert passed(state, lowering("A", 6, 6)).violations == ()
    tight = attrs.evolve(state, site=wired(THREE[0], starts_alone, supply=supply(13)))
    assert passed(tight, lowering("A", 6, 6)).violations == tuple(f"I6: site {p}: 14000 mA left alone" for p in PHASES)
