"""What a fault of the building's meter does to the cars, from the sample to the limit in force."""

from __future__ import annotations

import pytest

from llm_core import SITE, AlarmCode, MeterSampled, Station
from unit.small_site import A, SmallSite, dynamic
from unit.strategies import now

FALLBACK_A = 14


def charging() -> SmallSite:
    site = SmallSite(dynamic(40, Station("A", max_ma=32 * A), Station("B", max_ma=32 * A), fallback_a=FALLBACK_A))
    site.building(4)
    site.plug("A")
    site.plug("B")
    site.run(150)
    assert sum(site.offered()) == 36
    return site


def alarms(site: SmallSite) -> list[AlarmCode]:
    return [code for code, _ in site.state.alarms]


def test_a_step_of_the_building_is_answered_within_two_seconds_of_the_sample() -> None:
    """The meter is a second late; the commands leave with the sample that shows the step."""
    site = charging()
    site.building(20)
    stepped = site.second + 1
    site.run(3)
    lowered = [at for at, command in site.sent if at >= stepped and command.lowers]
    assert min(lowered) <= stepped + 1 + 2
    site.run(10)
    assert max(site.load_ma) <= 40 * A


def test_a_silent_meter_freezes_raises_after_5_s_and_falls_back_after_10() -> None:
    site = charging()
    site.meter_works = False
    site.run(10)
    assert site.offered() == [18, 18]
    site.run(4)
    assert sum(site.offered()) == FALLBACK_A
    assert alarms(site) == [AlarmCode.METER_SILENT]
    site.meter_works = True
    site.run(120)
    assert sum(site.offered()) == 36
    assert alarms(site) == []


def test_behind_a_silent_meter_nobody_gets_what_another_leaves() -> None:
    """With its meter A would get B's place 20 s after B has left: by then the meter has been silent for 7."""
    site = charging()
    site.unplug("B")
    site.run(13)
    site.meter_works = False
    site.run(9)
    assert site.offered("A") == [18]
    assert site.state.intervened_ms is None  # nobody asked the last gate for more


@pytest.mark.parametrize("shown", [None, 1_000_000 * A], ids=["no number", "out of range"])
def test_a_phase_that_the_meter_does_not_tell_falls_back_alone_with_an_alarm(shown: int | None) -> None:
    site = charging()
    site.meter_works = False
    for _ in range(30):
        site.run(1)
        amps = site.load_ma
        site.post(MeterSampled(SITE, (amps.l1, shown, amps.l3), now(site.second).monotonic_ms, site.second))
    assert sum(site.offered()) <= FALLBACK_A
    assert alarms(site) == [AlarmCode.METER_IMPLAUSIBLE]


def test_a_meter_that_stands_still_falls_back_with_an_alarm() -> None:
    site = charging()
    stands = site.load_ma
    site.meter_works = False
    for _ in range(70):
        site.run(1)
        site.post(MeterSampled(SITE, (stands.l1, stands.l2, stands.l3), now(site.second).monotonic_ms, 7))
    assert sum(site.offered()) <= FALLBACK_A
    assert alarms(site) == [AlarmCode.METER_FROZEN]
