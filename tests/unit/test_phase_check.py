"""A station that hangs on other phases than it is said to is named; one that hangs where it should never is."""

from __future__ import annotations

from itertools import permutations

import attrs
import pytest

from llm_core import (
    PHASES,
    SITE,
    AlarmCode,
    Cluster,
    MeterPhase,
    MeterSetup,
    MeterState,
    PerPhase,
    Phase,
    PhaseCheck,
    PhaseStep,
    PutStation,
    SiteEdited,
    Station,
)
from llm_core.phase_check import LONGEST_MS, WITNESSES, phases_checked, suspects, witnessed
from unit.small_site import A, Car, SmallSite, dynamic, static
from unit.strategies import now

L1, L2, L3 = PHASES


def wired(small: SmallSite, name: str, *phases: Phase) -> None:
    """The electrician has connected the station like this, whatever the configuration says."""
    outlet = small.outlets[name]
    outlet.station = attrs.evolve(outlet.station, phase_rotation=phases)


def breathing(small: SmallSite, seconds: int) -> None:
    """The building takes current and gives it back, so that the limits of the cars move."""
    for second in range(0, seconds, 60):
        small.building(18 if second % 120 else 2)
        small.run(60)


def named(small: SmallSite) -> dict[str, tuple[Phase, ...]]:
    return dict(suspects(small.state))


@pytest.mark.parametrize("order", list(permutations(PHASES)))
def test_a_one_phase_car_tells_on_which_phase_its_station_really_hangs(order: tuple[Phase, ...]) -> None:
    small = SmallSite(dynamic(24, Station("A", max_ma=20 * A)))
    wired(small, "A", *order)
    small.plug("A", Car(most_ma=20 * A, phases=1))
    breathing(small, 900)
    if order[0] is L1:
        assert named(small) == {}
    else:
        assert named(small)["A"][0] is order[0]
        assert (AlarmCode.PHASE_ORDER_SUSPECT, "A") in small.state.alarms


def test_a_balanced_car_tells_nothing_and_is_no_trouble_to_others() -> None:
    small = SmallSite(dynamic(40, Station("A", max_ma=16 * A), Station("B", max_ma=16 * A)))
    wired(small, "A", L2, L3, L1)
    wired(small, "B", L2, L3, L1)
    small.plug("A", Car(most_ma=16 * A))
    small.plug("B", Car(most_ma=16 * A, phases=1))
    for second in range(0, 1_200, 60):
        small.building(30 if second % 120 else 2)
        small.run(60)
    assert set(named(small)) == {"B"}


def test_the_suspicion_ends_with_the_order_put_right() -> None:
    small = SmallSite(dynamic(24, Station("A", max_ma=20 * A)))
    wired(small, "A", L3, L1, L2)
    small.plug("A", Car(most_ma=20 * A, phases=1))
    breathing(small, 900)
    assert named(small) != {}
    small.post(SiteEdited("installer", PutStation(Station("A", max_ma=20 * A, phase_rotation=(L3, L1, L2)))))
    assert named(small) == {}
    breathing(small, 600)
    assert named(small) == {}


@pytest.mark.parametrize("site", [static(24, Station("A", max_ma=20 * A)), dynamic(24, Station("A", max_ma=20 * A))])
def test_without_a_meter_that_sees_the_stations_nothing_is_looked_for(site) -> None:  # type: ignore[no-untyped-def]
    meters = tuple(attrs.evolve(setup, includes_stations=False) for setup in site.meters)
    small = SmallSite(attrs.evolve(site, meters=meters))
    wired(small, "A", L2, L3, L1)
    small.plug("A", Car(most_ma=20 * A, phases=1))
    small.run(120)
    assert small.state.phase_checks == {}


# One step


CHECK = PhaseCheck((L1, L2, L3))
ONE = PerPhase(10 * A, 0, 0)


def test_a_step_on_the_phase_it_is_said_to_have_clears_what_was_suspected() -> None:
    suspected = attrs.evolve(CHECK, witnesses=2, seems=(L2, L1, L3))
    assert witnessed(suspected, ONE, PerPhase(10_200, 300, -100), PHASES) == attrs.evolve(
        suspected, witnesses=2
    )  # the order of the two idle phases is not told, and so nothing is settled


def test_two_phases_settle_the_order() -> None:
    suspected = attrs.evolve(CHECK, witnesses=2, seems=(L2, L1, L3))
    own = PerPhase(10 * A, 5 * A, 0)
    assert witnessed(suspected, own, own, PHASES) == CHECK
    elsewhere = witnessed(CHECK, own, PerPhase(0, 10 * A, 5 * A), PHASES)
    assert (elsewhere.witnesses, elsewhere.seems) == (1, (L2, L3, L1))


def test_what_fits_no_order_speaks_for_none() -> None:
    for seen in (PerPhase(10 * A, 10 * A, 10 * A), PerPhase(-5 * A, 0, 0), PerPhase(5 * A, 5 * A, 0)):
        assert witnessed(CHECK, ONE, seen, PHASES) == CHECK


def test_a_small_step_and_one_that_fits_nearly_tell_nothing() -> None:
    assert witnessed(CHECK, PerPhase(3 * A, 0, 0), PerPhase(0, 3 * A, 0), PHASES) == CHECK
    near = PerPhase(5 * A, 3_600, 0)
    assert witnessed(CHECK, near, PerPhase(3_600, 5 * A, 0), PHASES) == CHECK
    far = PerPhase(5 * A, 3_100, 0)
    assert witnessed(CHECK, far, PerPhase(3_150, 5 * A, 0), PHASES) == CHECK


def test_witnesses_must_agree() -> None:
    check = CHECK
    for seen in (PerPhase(0, 10 * A, 0), PerPhase(0, 10 * A, 0), PerPhase(0, 0, 10 * A)):
        check = witnessed(check, ONE, seen, PHASES)
    assert check.witnesses == 1
    assert check.seems is not None
    assert check.seems[0] is L3


def test_a_one_phase_station_is_looked_for_on_every_phase() -> None:
    check = PhaseCheck((L2,))
    own = PerPhase(0, 10 * A, 0)
    for _ in range(WITNESSES):
        check = witnessed(check, own, PerPhase(0, 0, 10 * A), PHASES)
    assert (check.witnesses, check.seems) == (WITNESSES, (L3,))
    assert witnessed(check, own, own, PHASES) == PhaseCheck((L2,))


def test_a_decrease_tells_as_much_as_a_raise() -> None:
    assert witnessed(PhaseCheck((L1,)), PerPhase(-10 * A, 0, 0), PerPhase(0, -10 * A, 0), PHASES).witnesses == 1


# When it can be judged


def after_a_change() -> SmallSite:
    """A one-phase car whose limit has just changed."""
    small = SmallSite(dynamic(24, Station("A", max_ma=20 * A)))
    small.plug("A", Car(most_ma=20 * A, phases=1))
    small.run(120)
    small.building(18)
    while not any(check.step for check in small.state.phase_checks.values()):
        small.run(1)
    return small


def test_a_step_waits_for_its_reading_and_for_the_meter_and_is_dropped_when_they_do_not_come() -> None:
    small = after_a_change()
    step = small.state.phase_checks["A", 1].step
    assert step is not None
    state = small.state
    late = now(small.second + LONGEST_MS // 1000 + 1).monotonic_ms
    assert phases_checked(state, late).phase_checks["A", 1].step is None
    soon = now(small.second + 1).monotonic_ms
    unread = attrs.evolve(state, connectors={("A", 1): attrs.evolve(state.connectors["A", 1], readings=())})
    assert phases_checked(unread, soon).phase_checks["A", 1].step is step
    assert phases_checked(state, soon).phase_checks["A", 1].step is step
    blind = attrs.evolve(state, meters={})
    assert phases_checked(blind, soon).phase_checks["A", 1].step is step
    gone = attrs.evolve(state, site=attrs.evolve(state.site, stations=()))
    assert phases_checked(gone, soon).phase_checks == {}


def test_a_step_that_begins_while_the_meter_cannot_be_believed_is_none() -> None:
    small = after_a_change()
    at_ms = small.state.connectors["A", 1].changed_ms
    assert at_ms is not None
    known = small.state.meters[SITE]
    for meter in (
        attrs.evolve(known, frozen=True),
        attrs.evolve(known, phases={**known.phases, L2: MeterPhase(1, at_ms, lost=True)}),
        attrs.evolve(known, phases={**known.phases, L2: MeterPhase(1, at_ms - 60_000)}),
        MeterState(),
    ):
        blind = attrs.evolve(small.state, meters={SITE: meter})
        assert phases_checked(blind, at_ms).phase_checks["A", 1].step is None


@pytest.mark.parametrize(("others_ma", "witnesses"), [(PerPhase(5 * A, 0, 0), 0), (PerPhase(), 1)])
def test_a_step_beside_one_of_another_car_on_one_phase_tells_nothing(others_ma: PerPhase, witnesses: int) -> None:
    small = SmallSite(dynamic(24, Station("A", max_ma=20 * A)))
    wired(small, "A", L2, L3, L1)
    small.plug("A", Car(most_ma=20 * A, phases=1))
    for _ in range(40):  # at every second it seems that another car moved meanwhile
        small.run(1)
        check = small.state.phase_checks.get(("A", 1), CHECK)
        if check.step is not None:
            check = attrs.evolve(check, step=attrs.evolve(check.step, others_ma=others_ma))
            small.state = attrs.evolve(small.state, phase_checks={("A", 1): check})
    assert small.state.phase_checks["A", 1].witnesses == witnesses


def test_the_nearest_meter_that_sees_the_station_is_asked() -> None:
    site = dynamic(60, Station("A", max_ma=20 * A, cluster="yard"))
    clusters = (Cluster("hall", "hall"), Cluster("yard", "yard", "hall"))
    meters = (*site.meters, MeterSetup("hall", "any", "h"), MeterSetup("yard", "any", "y", includes_stations=False))
    small = SmallSite(attrs.evolve(site, clusters=clusters, meters=meters))
    small.plug("A", Car(most_ma=20 * A, phases=1))
    small.run(30)
    assert small.state.meters["hall"].taken_ms is None
    assert all(check.step is None for check in small.state.phase_checks.values())


def test_on_a_one_phase_site_only_its_phase_must_be_known() -> None:
    site = dynamic(24, Station("A", max_ma=20 * A, phase_rotation=(L1,)))
    small = SmallSite(attrs.evolve(site, supply=attrs.evolve(site.supply, phases=1)))
    small.plug("A", Car(most_ma=20 * A, phases=1))
    steps: list[PhaseStep] = []
    for second in range(0, 240, 1):
        small.building(12 if second // 60 % 2 else 2, 0, 0)
        small.run(1)
        steps += [check.step for check in small.state.phase_checks.values() if check.step is not None]
    assert steps
    assert named(small) == {}
