"""One tick: turns and time, commands into the books, what is asked of stations, and what people see."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from llm_core import (
    DEFAULT_CLUSTER,
    MANUAL,
    SITE,
    STATIONS,
    Alarm,
    AlarmCode,
    AskReading,
    Capabilities,
    CapabilitiesFound,
    Ceiling,
    ClearAlarm,
    Cluster,
    GrantReason,
    MeterSampled,
    MeterSetup,
    MeterValuesReceived,
    Note,
    PerPhase,
    Phase,
    Purpose,
    PutStation,
    RaiseAlarm,
    Save,
    Session,
    SetLimit,
    Site,
    SiteEdited,
    Station,
    StationClockRead,
    StationConnected,
    Status,
    StatusChanged,
    StopRemotely,
    Supply,
    Tick,
    control,
    step,
)
from unit.small_site import A, Car, SmallSite, dynamic, static
from unit.strategies import now

KEY = ("A", 1)
ALONE = static(16, Station("A"))


def charging(site: Site = ALONE, *, seconds: int = 30) -> SmallSite:
    """The site after a car came to every station."""
    small = SmallSite(site)
    small.run(12)
    for name in small.outlets:
        small.plug(name)
    small.run(seconds)
    return small


def commands(small: SmallSite) -> list[SetLimit]:
    return [e for e in small.effects if isinstance(e, SetLimit) and e.purpose is not Purpose.FLOOR]


# Turns


def three(rotation_min: int = 15) -> SmallSite:
    return charging(static(13, *(Station(name) for name in "ABC"), rotation_min=rotation_min))


def test_a_station_that_is_back_without_a_stamp_is_raised_no_more_and_is_soon_one_without_a_clock() -> None:
    site = charging(ALONE)
    site.post(StationConnected("A"))
    assert site.state.stations["A"].clock_due_ms is not None
    site.run(29)
    assert site.state.stations["A"].clock_ahead_ms is not None
    site.run(2)
    known = site.state.stations["A"]
    assert (known.clock_ahead_ms, known.clock_due_ms) == (None, None)


def test_who_waited_is_first_at_the_next_turn() -> None:
    small = three()
    assert small.offered() == [6.5, 6.5, 0]
    small.run(15 * 60 - small.second, every=30)
    assert small.offered() == [6.5, 6.5, 0]
    small.run(30)
    assert small.offered() == [6.5, 0, 6.5]
    assert small.state.connectors["C", 1].rank == 0


def test_nobody_changes_places_within_a_window() -> None:
    small = three()
    ranks = [connector.rank for connector in small.state.connectors.values()]
    small.run(600, every=20)
    assert [connector.rank for connector in small.state.connectors.values()] == ranks


def test_a_car_that_is_about_to_start_takes_nobodys_place() -> None:
    """It would be given what belongs to others, and be paused as soon as it stood behind them."""
    small = SmallSite(static(13, *(Station(name) for name in "ABC")))
    small.run(12)
    for name in "BC":
        small.plug(name)
    small.run(30)
    small.post(StatusChanged("A", 1, Status.PREPARING))
    small.run(20)
    assert small.offered() == [0, 6.5, 6.5]
    small.plug("A")
    small.run(20)
    assert small.offered() == [0, 6.5, 6.5]


def test_turns_follow_the_wall_clock_of_the_site() -> None:
    """A window begins at a full multiple of its length by the local clock, not by UTC."""
    state = three(rotation_min=45).state
    second = 1_000
    windows = {step(state, Tick(), now(second, utc_offset_s=offset)).state.window for offset in (0, 3_600)}
    assert len(windows) == 2


# Time of sessions


def test_the_time_of_a_session_is_counted_and_that_of_charging_apart() -> None:
    small = charging(seconds=60)
    small.outlets["A"].car = Car(most_ma=0)
    small.run(60)
    session = small.state.connectors[KEY].session
    assert session is not None
    assert 50_000 <= session.charging_ms <= 65_000
    assert 110_000 <= session.charging_ms + session.idle_ms <= 120_000


def test_a_car_is_served_while_it_is_offered_current() -> None:
    small = three()
    small.run(300, every=5)
    served = [connector.served_ms for connector in small.state.connectors.values()]
    assert served[0] == served[1] >= 300_000
    assert served[2] == 0


# Commands into the books


def test_a_ceiling_is_on_the_disk_before_a_raise_above_it_is_sent() -> None:
    small = charging()
    small.run(120)  # the maximum that was promised at first has come down to what it holds
    assert small.state.connectors[KEY].ceiling_ma == 16 * A
    small.unplug("A")
    small.run(120)
    assert small.state.connectors[KEY].ceiling_ma == 0
    small.plug("A")
    small.run(1)
    (told,) = commands(small)
    saved = [e for e in small.effects if isinstance(e, Save)]
    assert saved[-1] == Save(Ceiling("A", 1, 16 * A, 6 * A))
    assert told.limit_ma == 16 * A
    assert small.effects.index(saved[-1]) < small.effects.index(told)


def test_a_command_is_in_the_books_before_it_is_answered() -> None:
    small = charging(seconds=0)
    small.run(1)
    (told,) = commands(small)
    connector = small.state.connectors[KEY]
    assert connector.ledger.in_flight == told.seq
    assert connector.ledger.held_ma(now(small.second).monotonic_ms, decays=True) >= told.limit_ma
    assert connector.offered_ma == told.limit_ma


def test_no_two_commands_have_a_number_in_common() -> None:
    small = three()
    small.run(400, every=2)  # long enough to renew their leases
    numbers = [command.seq for _, command in small.sent]
    assert len(set(numbers)) == len(numbers) > 4


def test_a_renewal_of_a_lease_changes_nothing_else() -> None:
    small = charging()
    before = small.state.connectors[KEY]
    since = small.second
    small.run(240)
    after = small.state.connectors[KEY]
    assert small.sent_since(since) == [16]
    assert (after.offered_ma, after.changed_ms) == (before.offered_ma, before.changed_ms)


def test_a_car_that_is_paused_for_others_is_known_to_have_been_in_this_window() -> None:
    small = charging(static(20, *(Station(name) for name in "ABC")))
    lowered = Supply(static_max_ma=PerPhase.same(13 * A))
    small.state = attrs.evolve(small.state, site=attrs.evolve(small.state.site, supply=lowered))
    small.run(5)
    paused = small.state.connectors["C", 1]
    assert paused.paused_window == small.state.window
    assert paused.grant is not None
    assert paused.grant.reason is GrantReason.WAITING


def in_watts(max_ma: int) -> list[int]:
    """The limits that a station is told which knows watts only, with a car of which no phase is known."""
    small = SmallSite(static(30, Station("A", max_ma=max_ma)))
    small.post(CapabilitiesFound("A", Capabilities(step_ma=100, in_watts=True)))
    small.run(12)
    small.plug("A")
    small.run(5)
    return [command.limit_ma for _, command in small.sent]


def test_watts_that_one_phase_may_get_whole_are_told_as_a_part_for_each() -> None:
    """30 A on any one phase is 10 A on each of three."""
    assert in_watts(32 * A) == [10 * A]


def test_a_maximum_in_watts_is_told_as_it_is() -> None:
    """No phase can get more than the station's maximum anyway."""
    assert in_watts(16 * A) == [16 * A]


# What is asked of stations


def test_a_reading_is_asked_for_once_a_change_has_settled() -> None:
    small = SmallSite(ALONE)
    small.run(15)
    small.plug("A")
    asked = []
    for _ in range(30):
        small.run(1)
        asked += [small.second for effect in small.effects if effect == AskReading(*KEY)]
    changed_s = small.sent[0][0]
    assert asked == [changed_s + 1 + 6 + 1]  # acknowledged, followed, asked


def test_a_reading_that_came_by_itself_is_not_asked_for() -> None:
    small = charging(seconds=0)
    small.run(8)
    transaction_id = small.outlets["A"].transaction_id
    small.post(MeterValuesReceived("A", 1, transaction_id, (16 * A, 16 * A, 16 * A)))
    for _ in range(60):
        small.run(1)
        assert AskReading(*KEY) not in small.effects


@pytest.mark.parametrize("tells_on_demand", [True, False])
def test_a_station_that_reports_seldom_is_asked_in_between_while_its_car_may_draw(tells_on_demand: bool) -> None:
    """20 s after it told or was asked last, whether it tells or not, and never while it is away."""
    small = charging(seconds=10)
    small.outlets["A"].reads_s, small.outlets["A"].tells_on_demand = 6_000, tells_on_demand
    small.run(30)
    asked = []
    for _ in range(300):
        small.run(1)
        asked += [small.second for effect in small.effects if effect == AskReading(*KEY)]
    gaps = [after - before for before, after in pairwise(asked)]
    assert set(gaps) == {21 if tells_on_demand else 20}  # the reading is in a second after it was asked for
    small.cut("A")
    for _ in range(60):
        small.run(1)
        assert AskReading(*KEY) not in small.effects


def test_nobody_asks_what_a_car_draws_that_may_draw_nothing_and_does_not() -> None:
    small = charging(static(8, Station("A"), Station("B")), seconds=60)
    waits = next(name for name in small.outlets if small.offered(name) == [0])
    for outlet in small.outlets.values():
        outlet.reads_s = 6_000
    small.run(5)
    asked = set[str]()
    for _ in range(60):
        small.run(1)
        asked |= {effect.station_id for effect in small.effects if isinstance(effect, AskReading)}
    assert asked == set(small.outlets) - {waits}


def test_nobody_is_paused_because_a_car_on_other_phases_leaves() -> None:
    """What it leaves behind counts on all its station's phases until it is cleared, but is on its way to go."""
    turned = Station("B", phase_rotation=(Phase.L2, Phase.L3, Phase.L1))
    small = charging(static(20, Station("A"), turned), seconds=10)
    small.outlets["A"].car, small.outlets["B"].car = Car(phases=1), Car(phases=2)
    small.run(100)
    assert small.offered("A", "B") == [16, 16]
    small.unplug("B")
    left_s = small.second
    small.run(60)
    assert small.sent_since(left_s, "A") == []
    assert small.offered("A") == [16]


@pytest.mark.parametrize("prepares", [True, False])
def test_the_next_car_is_given_its_share_where_what_the_last_one_left_is_never_cleared(prepares: bool) -> None:
    small = charging()
    small.outlets["A"].clears = False
    small.unplug("A")
    small.run(5)
    small.plug("A", prepares=prepares)
    small.run(30)
    assert small.sent_since(small.second - 30, "A")[-1:] == [16]
    assert small.state.connectors[KEY].lowering_ms is None


def test_a_station_lost_before_its_floor_lay_stops_nobody_with_a_fixed_fallback_nor_others() -> None:
    """X may hold 16 A for ever, so F's fixed 8 A do not fit beside it: F falls to 0 A without us, and charges."""
    fixed = Station("F", fallback_ma=8 * A)
    small = SmallSite(dynamic(60, Station("X"), fixed, Station("Y"), fallback_a=20), links=False)
    small.building(5)
    small.link("X")
    small.cut("X")
    small.link("F")
    small.link("Y")
    small.run(60)
    small.plug("F")
    small.plug("Y")
    small.run(120)
    assert small.offered("F", "Y") == [16, 16]
    assert {(c.station_id, c.then_ma) for _, c in small.sent if c.limit_ma == 16 * A} == {("F", 0), ("Y", 0)}


def test_a_floor_is_told_in_whole_steps_and_never_below_the_minimum() -> None:
    small = SmallSite(static(32, Station("A", min_ma=6_500, start_alone_ma=6_500)), step_ma=1_000)
    small.run(12)
    assert small.outlets["A"].limits[Purpose.FLOOR][1].limit_ma == 0
    small = SmallSite(static(32, Station("A", start_alone_ma=6_500)), step_ma=1_000)
    small.run(12)
    assert small.outlets["A"].limits[Purpose.FLOOR][1].limit_ma == 6_000


def test_a_car_that_adds_a_phase_at_a_station_that_reports_seldom_is_seen_before_it_is_taken_for_silent() -> None:
    small = charging(static(32, Station("A"), Station("B")), seconds=10)
    for outlet in small.outlets.values():
        outlet.reads_s = 600
    small.outlets["A"].car = Car(phases=1)
    small.run(120)
    assert small.state.connectors[KEY].phases == (Phase.L1,)
    small.outlets["A"].car = Car(phases=3)
    small.run(25)
    assert small.state.connectors[KEY].phases != (Phase.L1,)


def disobedient(seconds: int) -> tuple[SmallSite, list[int]]:
    """A car that takes 16 A whatever it is told, where 8 A are left: when was the station asked to stop it?"""
    small = charging()
    small.outlets["A"].car = Car(most_ma=16 * A, obeys=False)
    lowered = Supply(static_max_ma=PerPhase.same(8 * A))
    small.state = attrs.evolve(small.state, site=attrs.evolve(small.state.site, supply=lowered))
    stops = []
    for _ in range(seconds):
        small.run(1)
        stops += [small.second for effect in small.effects if isinstance(effect, StopRemotely)]
    return small, stops


def test_a_car_that_draws_at_zero_is_stopped_and_again_after_a_minute() -> None:
    small, stops = disobedient(150)
    told_s = next(at for at, command in small.sent if command.limit_ma == 0)
    assert stops[:2] == [told_s + 30, told_s + 90]


def test_a_car_that_obeys_in_the_end_is_not_stopped() -> None:
    small, stops = disobedient(25)
    assert small.state.connectors[KEY].disobeys_ms is not None
    small.outlets["A"].car = Car()
    for _ in range(60):
        small.run(1)
        stops += [small.second for effect in small.effects if isinstance(effect, StopRemotely)]
    assert stops == []


# Once a minute


def test_what_stays_for_ever_is_promised_to_the_disk_although_it_is_no_raise() -> None:
    """The clock of A turns out to be wrong, so its limit has no lease any more: without us it would keep it."""
    small = charging()
    small.run(120)
    assert small.state.connectors[KEY].ceiling_left_ma == 6 * A
    small.post(StationClockRead("A", 600_000))
    promised: list[object] = []
    for _ in range(120):
        small.run(1)
        promised += [e.record for e in small.effects if isinstance(e, Save) and isinstance(e.record, Ceiling)]
    (kept,) = {command.limit_ma for command in small.state.connectors[KEY].ledger.live()}
    assert promised == [Ceiling("A", 1, 16 * A, kept)]
    assert kept > 6 * A
    assert small.state.connectors[KEY].ceiling_left_ma == kept


def test_open_sessions_and_lower_ceilings_are_noted_once_a_minute() -> None:
    small = charging()
    small.run(60)
    small.unplug("A")
    noted: list[object] = []
    sessions = 0
    for _ in range(60):
        small.run(1)
        noted += [effect.record for effect in small.effects if isinstance(effect, Note)]
    assert noted == [Ceiling("A", 1, 0, 0)]
    small.plug("A")
    for _ in range(120):
        small.run(1)
        sessions += sum(isinstance(e, Note) and isinstance(e.record, Session) for e in small.effects)
    assert sessions == 2


# What people see


def test_a_static_site_shows_what_its_stations_draw_and_what_is_free() -> None:
    small = charging(static(20, Station("A")), seconds=40)
    small.post(StationConnected("stranger"))
    small.post(MeterValuesReceived("stranger", 1, None, (1 * A, 0, 0)))
    small.run(1)
    view = small.state.nodes[SITE]
    assert view.total_ma is None
    assert view.stations_ma == view.worst_ma == PerPhase.same(16 * A)
    assert view.free_ma == PerPhase.same(3 * A)  # the stranger may be wired to any phase
    assert view.over_since_ms is None


def test_below_a_cluster_no_more_is_free_than_above_it() -> None:
    small = charging(static(20, Station("A")), seconds=40)
    assert small.state.nodes[DEFAULT_CLUSTER].free_ma == small.state.nodes[SITE].free_ma == PerPhase.same(4 * A)


def test_what_a_stranger_draws_is_free_for_nobody() -> None:
    small = charging(static(20, Station("A", max_ma=32 * A)), seconds=40)
    assert small.offered() == [20]
    small.post(StationConnected("stranger"))
    small.post(MeterValuesReceived("stranger", 1, None, (5 * A, 0, 0)))
    small.run(10)
    assert small.offered()[0] <= 15


def test_a_meter_of_everything_shows_its_total() -> None:
    small = SmallSite(dynamic(25, Station("A")))
    small.run(1)
    assert small.state.nodes[SITE].total_ma == PerPhase()
    small.building(4, 5, 6)
    small.run(2)
    assert small.state.nodes[SITE].total_ma == PerPhase(4 * A, 5 * A, 6 * A)


def test_a_meter_of_the_others_is_shown_with_the_stations_added() -> None:
    site = dynamic(40, Station("A"))
    apart = attrs.evolve(site, meters=(MeterSetup(SITE, "any", "meter", includes_stations=False),))
    small = charging(apart, seconds=40)
    small.meter_works = False
    small.sample((3 * A, 4 * A, 5 * A), taken_s=small.second + 1, fingerprint=1)
    small.run(1)
    assert small.state.nodes[SITE].total_ma == PerPhase(19 * A, 20 * A, 21 * A)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_meter_that_says_nothing_shows_no_total(sampled: bool) -> None:
    small = SmallSite(dynamic(25, Station("A")))
    small.meter_works = False
    if sampled:
        small.post(MeterSampled(SITE, (None, None, None), now(1).monotonic_ms, 1))
    small.run(1)
    assert small.state.nodes[SITE].total_ma is None


def test_an_assumed_load_is_shown_with_what_the_stations_say_and_a_silent_one_counts_where_they_are_the_meter() -> None:
    site = attrs.evolve(dynamic(40, Station("A")), meters=(MeterSetup(SITE, MANUAL, load_ma=PerPhase(5 * A, 0, 0)),))
    small = charging(site, seconds=40)
    assert small.state.nodes[SITE].total_ma == PerPhase(21 * A, 16 * A, 16 * A)
    small.cut("A")
    small.run(1)
    assert small.state.nodes[SITE].total_ma == PerPhase(5 * A, 0, 0)
    by_stations = attrs.evolve(site, meters=(MeterSetup(SITE, STATIONS, load_ma=PerPhase(5 * A, 0, 0)),))
    small = charging(by_stations, seconds=40)
    small.cut("A")
    small.run(1)
    assert small.state.nodes[SITE].total_ma == PerPhase(21 * A, 16 * A, 16 * A)


def test_a_place_without_a_meter_shows_no_total() -> None:
    site = dynamic(25, Station("A", cluster="garage"))
    small = charging(attrs.evolve(site, clusters=(Cluster("garage", "Garage"),)), seconds=40)
    view = small.state.nodes["garage"]
    assert view.total_ma is None
    assert view.stations_ma == PerPhase.same(16 * A)


def test_a_lost_station_is_shown_to_draw_nothing_but_stays_reserved() -> None:
    small = charging(seconds=40)
    small.cut("A")
    small.run(1)
    view = small.state.nodes[SITE]
    assert view.stations_ma == PerPhase()
    assert view.worst_ma == PerPhase.same(16 * A)


def test_an_overload_is_shown_with_its_beginning_until_it_is_over() -> None:
    small = SmallSite(dynamic(25, Station("A")))
    small.building(10, 10, 26)
    small.run(2)
    began_ms = now(small.second).monotonic_ms
    small.run(5)
    assert small.state.nodes[SITE].over_since_ms == began_ms
    small.building(10)
    small.run(2)
    assert small.state.nodes[SITE].over_since_ms is None


# Alarms


def test_an_alarm_is_told_when_it_comes_and_when_it_goes_and_not_between() -> None:
    small = SmallSite(dynamic(25, Station("A")))
    small.building(26)
    told = []
    for _ in range(30):
        small.run(1)
        told += [(small.second, e) for e in small.effects if isinstance(e, RaiseAlarm | ClearAlarm)]
        if small.second == 20:
            small.building(10)
    alarm = Alarm(AlarmCode.LIMIT_EXCEEDED, SITE, now(12).utc)
    assert told == [(12, RaiseAlarm(alarm)), (22, ClearAlarm(alarm))]


def test_what_the_last_gate_stops_is_not_sent_and_an_alarm_tells_of_it() -> None:
    """A maximum below the minimum, which no checked configuration has, makes a limit that must not leave: a decrease
    to 5 A, in whose place the car pauses."""
    small = charging()
    assert small.state.intervened_ms is None
    broken = static(16, Station("A", max_ma=5 * A))
    small.state = attrs.evolve(small.state, site=broken)
    small.run(1)
    assert [command.limit_ma for command in commands(small) if isinstance(command, SetLimit)] == [0]
    assert small.state.intervened_ms == now(small.second).monotonic_ms
    assert (AlarmCode.GUARD_INTERVENED, "") in small.state.alarms


def test_a_station_in_use_gets_its_new_maximum() -> None:
    small = charging()
    small.post(SiteEdited("ann", PutStation(Station("A", max_ma=10 * A))))
    small.run(3)
    assert small.offered() == [10]


def test_a_car_that_left_without_a_stop_is_charged_no_longer() -> None:
    small = charging()
    small.outlets["A"].car = None
    small.post(StatusChanged("A", 1, Status.AVAILABLE))
    small.run(59)
    assert small.state.connectors[KEY].session is not None
    small.run(1)
    assert small.state.connectors[KEY].session is None
    (ended,) = [e.record for e in small.effects if isinstance(e, Save) and isinstance(e.record, Session)]
    assert ended.stopped_at == now(small.second - 60).utc


def test_the_last_changes_of_limits_are_kept_with_their_reasons_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    site = SmallSite(static(20, Station("A"), Station("B")))
    site.plug("A")
    site.run(20)
    site.plug("B")
    site.run(40)
    changes = site.state.changes
    assert [(c.station_id, c.before_ma, c.limit_ma) for c in changes] == [
        ("A", 0, 16_000),
        ("A", 16_000, 10_000),
        ("B", 0, 10_000),
    ]
    assert changes[1].reason is GrantReason.SHARED_LIMIT
    monkeypatch.setattr(control, "MOST_CHANGES", 2)
    site.unplug("B")
    site.run(60)
    assert [(c.station_id, c.limit_ma) for c in site.state.changes] == [("B", 10_000), ("A", 16_000)]
