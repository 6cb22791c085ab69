"""Each alarm holds exactly as long as its cause."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest

from llm_core import (
    SITE,
    STATIONS,
    AccessRule,
    Alarm,
    AlarmCode,
    Capabilities,
    Cluster,
    ConnectorState,
    ExternalLimit,
    Ledger,
    LimitRecord,
    LimitState,
    MeterPhase,
    MeterSetup,
    MeterState,
    Mode,
    NodeView,
    PerPhase,
    Phase,
    Reading,
    Session,
    Site,
    State,
    Station,
    StationState,
    Supply,
    Uplink,
    UplinkState,
    UplinkStation,
    UplinkStatus,
)
from llm_core.alarms import (
    CLOCK_OFF_MS,
    EXCEEDED_MS,
    GUARD_MS,
    OFFLINE_MS,
    STRANGER_MA,
    alarms_of,
)
from llm_core.sessions import AHEAD
from unit.strategies import NOON, now

NOW_MS = now().monotonic_ms
WELL = StationState(online=True, accepted=True, since_ms=0, clock_ahead_ms=0)
METERED = Site(supply=Supply(mode=Mode.DYNAMIC), stations=(Station("A"),), meters=(MeterSetup(SITE, "x", "h"),))


def scene(site: Site | None = None, station: StationState | None = WELL, **known: object) -> State:
    state = State(
        site=site if site is not None else Site(stations=(Station("A"),)),
        stations={"A": station} if station is not None else {},
        connectors={("A", 1): ConnectorState(Ledger(None))},
    )
    return attrs.evolve(state, **known)  # type: ignore[arg-type]


def codes(state: State) -> list[tuple[AlarmCode, str]]:
    return list(alarms_of(state, now()))


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert codes(scene()) == []


def test_an_alarm_keeps_its_beginning_while_it_holds() -> None:
    state = scene(storage_failing="full")
    (alarm,) = alarms_of(state, now()).values()
    assert alarm == Alarm(AlarmCode.STORAGE_FAILING, "", NOON)
    later = attrs.evolve(state, alarms={(alarm.code, alarm.subject): alarm})
    assert list(alarms_of(later, now(60)).values()) == [alarm]


# Meters


def meter(*ages_ms: int | None, frozen: bool = False, lost: bool = False) -> State:
    phases = {
        phase: MeterPhase(1_000, None if age_ms is None else NOW_MS - age_ms, lost=lost)
        for phase, age_ms in zip(Phase, ages_ms, strict=False)
    }
    return scene(METERED, meters={SITE: MeterState(phases=phases, frozen=frozen)})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (meter(0, 0, 5_000), []),
        (meter(5_001, 5_001, 5_001), [AlarmCode.METER_SILENT]),
        (meter(), [AlarmCode.METER_SILENT]),
        (scene(METERED), [AlarmCode.METER_SILENT]),
        (meter(0, 0, 5_001), [AlarmCode.METER_IMPLAUSIBLE]),
        (meter(0, 0, None), [AlarmCode.METER_IMPLAUSIBLE]),
        (meter(0, 0, 0, lost=True), [AlarmCode.METER_SILENT]),
        (meter(0, 0, 0, frozen=True), [AlarmCode.METER_FROZEN]),
    ],
)
def test_a_meter_is_named_by_what_is_wrong_with_it(state: State, said: list[AlarmCode]) -> None:
    assert codes(state) == [(code, SITE) for code in said]


def test_a_load_that_is_assumed_is_never_missed_and_a_clusters_meter_is_in_static_mode_too() -> None:
    assumed = attrs.evolve(METERED, meters=(MeterSetup(SITE, STATIONS),))
    assert codes(scene(assumed)) == []
    static = attrs.evolve(METERED, supply=Supply(), meters=(MeterSetup("default", "x", "h"),))
    assert codes(scene(static)) == [(AlarmCode.METER_SILENT, "default")]


def test_in_static_mode_no_meter_is_missed() -> None:
    static = attrs.evolve(METERED, supply=Supply(mode=Mode.STATIC))
    assert codes(scene(static)) == []


# Stations


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (None, [AlarmCode.STATION_OFFLINE]),
        (StationState(online=False, since_ms=NOW_MS - OFFLINE_MS), [AlarmCode.STATION_OFFLINE]),
        (StationState(online=False, since_ms=NOW_MS - OFFLINE_MS + 1), []),
        (attrs.evolve(WELL, clock_ahead_ms=None), [AlarmCode.STATION_CANNOT_FALL_BACK]),
        (attrs.evolve(WELL, clock_ahead_ms=None, since_ms=NOW_MS - OFFLINE_MS + 1), []),
        (attrs.evolve(WELL, clock_ahead_ms=None, accepted=False), []),
        (attrs.evolve(WELL, capabilities=Capabilities(decays=False)), [AlarmCode.STATION_CANNOT_FALL_BACK]),
    ],
)
def test_a_station_is_named_when_it_is_away_or_cannot_settle_by_itself(
    known: StationState | None, said: list[AlarmCode]
) -> None:
    assert codes(scene(station=known)) == [(code, "A") for code in said]


def test_one_that_is_out_of_service_is_not_missed() -> None:
    assert codes(scene(Site(stations=(Station("A", out_of_service=True),)), None)) == []


@pytest.mark.parametrize(
    ("connector", "said"),
    [
        (ConnectorState(Ledger(None), disobeys_ms=1), [AlarmCode.STATION_DISOBEYS]),
        (ConnectorState(Ledger(None, refusals=3)), [AlarmCode.STATION_REJECTS_LIMITS]),
        (ConnectorState(Ledger(None, refusals=2)), []),
    ],
)
def test_a_station_is_named_when_it_ignores_or_rejects_limits(connector: ConnectorState, said: list[AlarmCode]) -> None:
    assert codes(scene(connectors={("A", 1): connector})) == [(code, "A") for code in said]


def test_what_a_stranger_does_with_limits_is_not_asked_but_what_it_draws_is() -> None:
    stranger = {("S", 1): ConnectorState(Ledger(None), disobeys_ms=1)}
    assert codes(scene(connectors=stranger)) == []
    draws = {("S", 1): Reading(0, PerPhase(0, STRANGER_MA, 0)), ("T", 1): Reading(0, PerPhase.same(STRANGER_MA - 1))}
    assert codes(scene(strangers=draws)) == [(AlarmCode.STRANGER_DRAWS, "S")]


# Clocks


@pytest.mark.parametrize(
    ("latest_utc", "said"),
    [(NOON + AHEAD, []), (NOON + AHEAD + timedelta(seconds=1), [(AlarmCode.CLOCK_WRONG, "")])],
)
def test_our_clock_is_wrong_when_it_fell_back(latest_utc: datetime, said: list[tuple[AlarmCode, str]]) -> None:
    assert codes(scene(latest_utc=latest_utc)) == said


def test_our_clock_is_wrong_when_it_was_never_set() -> None:
    unset = now(utc=datetime.fromisoformat("2019-12-31T23:59:59+00:00"))
    assert list(alarms_of(scene(), unset)) == [(AlarmCode.CLOCK_WRONG, "")]


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_stations_clock_is_wrong_when_it_is_too_far_off_for_a_lease(sign: int) -> None:
    def with_clock(ahead_ms: int, *, online: bool = True) -> State:
        return scene(station=attrs.evolve(WELL, clock_ahead_ms=ahead_ms, online=online, since_ms=NOW_MS))

    assert codes(with_clock(sign * CLOCK_OFF_MS)) == []
    assert codes(with_clock(sign * (CLOCK_OFF_MS + 1))) == [(AlarmCode.CLOCK_WRONG, "A")]
    assert codes(with_clock(sign * (CLOCK_OFF_MS + 1), online=False)) == []


# The site


def over(since_ms: int | None) -> State:
    same = PerPhase.same(16_000)
    return scene(nodes={SITE: NodeView(SITE, same, same, same, same, PerPhase(), over_since_ms=since_ms)})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (over(None), []),
        (over(NOW_MS - EXCEEDED_MS + 1), []),
        (over(NOW_MS - EXCEEDED_MS), [(AlarmCode.LIMIT_EXCEEDED, SITE)]),
        (scene(intervened_ms=NOW_MS - GUARD_MS + 1), [(AlarmCode.GUARD_INTERVENED, "")]),
        (scene(intervened_ms=NOW_MS - GUARD_MS), []),
    ],
)
def test_the_site_is_named_when_it_is_overloaded_and_when_the_last_gate_stepped_in(
    state: State, said: list[tuple[AlarmCode, str]]
) -> None:
    assert codes(state) == said


CPO_SITE = Site(
    stations=(Station("A"),),
    access=AccessRule.CPO,
    uplink=Uplink(enabled=True, url="ws://cpo", stations=(UplinkStation("A", "NL-1"), UplinkStation("B", "NL-2"))),
)


def standing(state: UplinkState, since_ms: int = 0, refused: int = 0) -> dict[str, UplinkStatus]:
    return {"A": UplinkStatus(state, NOON, since_ms, refused=refused)}


@pytest.mark.parametrize("state", [UplinkState.OFFLINE, UplinkState.CONNECTING])
def test_an_operator_that_is_away_for_a_minute_is_an_alarm_while_the_station_is_there(state: UplinkState) -> None:
    away = scene(CPO_SITE, uplink=standing(state, NOW_MS - OFFLINE_MS))
    assert codes(away) == [(AlarmCode.CPO_OFFLINE, "A")]
    assert codes(attrs.evolve(away, uplink=standing(state, NOW_MS - OFFLINE_MS + 1))) == []
    off = attrs.evolve(CPO_SITE, access=AccessRule.BADGE, uplink=attrs.evolve(CPO_SITE.uplink, enabled=False))
    assert codes(attrs.evolve(away, site=off)) == []
    gone = scene(CPO_SITE, attrs.evolve(WELL, online=False, since_ms=NOW_MS), uplink=away.uplink)
    assert codes(gone) == []


def test_an_operator_that_refuses_a_station_or_a_message_is_an_alarm() -> None:
    assert codes(scene(CPO_SITE, uplink=standing(UplinkState.REFUSED))) == [(AlarmCode.CPO_REFUSES, "A")]
    assert codes(scene(CPO_SITE, uplink=standing(UplinkState.ACCEPTED, refused=1))) == [(AlarmCode.CPO_REFUSES, "A")]
    assert codes(scene(CPO_SITE, uplink=standing(UplinkState.REFUSED, refused=1))) == [(AlarmCode.CPO_REFUSES, "A")]
    assert codes(scene(CPO_SITE, uplink=standing(UplinkState.PENDING))) == []


def test_a_station_that_was_told_to_restart_may_be_away_for_three_minutes() -> None:
    def away(seconds: int, reset_s: int) -> list[tuple[AlarmCode, str]]:
        since_ms = NOW_MS - seconds * 1_000
        return codes(scene(station=StationState(since_ms=since_ms, met=True, reset_ms=NOW_MS - reset_s * 1_000)))

    assert away(179, reset_s=185) == []
    assert away(180, reset_s=185) == [(AlarmCode.STATION_OFFLINE, "A")]
    assert away(60, reset_s=30) == [(AlarmCode.STATION_OFFLINE, "A")], "it was gone before it was told to"


# Cars, places and senders


SESSION = Session(1, "A", 1, None, NOON, 0, 0)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"cut_short": True, "idle_since_ms": NOW_MS - 60_000}, [(AlarmCode.CAR_ASLEEP, "A")]),
        ({"cut_short": True, "idle_since_ms": NOW_MS - 59_999}, []),
        ({"cut_short": True}, []),
        ({"cut_short": True, "idle_since_ms": 0, "session": None}, []),
        ({"idle_since_ms": 0}, []),  # it stopped by itself: full
    ],
)
def test_a_car_that_does_not_wake_after_a_pause_is_named(
    known: dict[str, object], said: list[tuple[AlarmCode, str]]
) -> None:
    connector = attrs.evolve(ConnectorState(Ledger(None)), **{"session": SESSION, **known})  # type: ignore[arg-type]
    assert codes(scene(connectors={("A", 1): connector})) == said


def placed(limit_a: int, cluster_a: int | None = None, *, met: bool = True, **station: object) -> State:
    cluster = None if cluster_a is None else PerPhase(63_000, cluster_a * 1_000, 63_000)
    limit = PerPhase.same(limit_a * 1_000)
    site = Site(
        supply=Supply(static_max_ma=limit, derated_ma=limit),
        clusters=(Cluster("default", "all", None, cluster),),
        stations=(Station("A", **station),),  # type: ignore[arg-type]
    )
    return scene(site, attrs.evolve(WELL, met=met))


@pytest.mark.parametrize(
    ("state", "usable"),
    [
        (placed(6), True),
        (placed(5), False),
        (placed(0), True),  # switched off, and meant so
        (placed(32, 5), False),
        (placed(32, 5, phase_rotation=(Phase.L1,)), True),
        (placed(32, feed_ma=7_000, min_ma=8_000), False),
        (placed(5, out_of_service=True), True),
        (placed(5, met=False), True),
    ],
)
def test_a_station_that_can_never_be_given_enough_is_named(state: State, usable: bool) -> None:
    assert codes(state) == ([] if usable else [(AlarmCode.STATION_NOT_USABLE, "A")])


def test_whole_steps_may_ask_for_more_than_a_place_carries() -> None:
    coarse = attrs.evolve(WELL, met=True, capabilities=Capabilities(step_ma=4_000))
    state = attrs.evolve(placed(7), stations={"A": coarse})
    assert codes(state) == [(AlarmCode.STATION_NOT_USABLE, "A")]


def test_a_sender_that_does_not_keep_its_limit_alive_is_named() -> None:
    record = LimitRecord(ExternalLimit("1", limit_w=4_200), "grid", NOON)
    silent, heard = (LimitState(record, 0, silent=silent) for silent in (True, False))
    assert codes(scene(limits={"1": silent})) == [(AlarmCode.LIMIT_SENDER_SILENT, SITE)]
    assert codes(scene(limits={"1": heard})) == []


def test_a_station_that_takes_no_limit_needs_room_for_its_maximum() -> None:
    def told(takes_limits: bool, room_ma: int) -> bool:
        site = Site(supply=Supply(static_max_ma=PerPhase.same(room_ma)), stations=(Station("A", max_ma=16_000),))
        station = attrs.evolve(WELL, met=True, capabilities=Capabilities(takes_limits=takes_limits))
        return (AlarmCode.STATION_NOT_USABLE, "A") in codes(scene(site, station))

    assert told(takes_limits=False, room_ma=15_900)
    assert not told(takes_limits=False, room_ma=16_000)
    assert not told(takes_limits=True, room_ma=15_900)


def test_of_several_stations_at_one_place_only_those_that_need_more_are_named() -> None:
    stations = (Station("A"), Station("B", min_ma=8_000), Station("C"))
    site = Site(supply=Supply(static_max_ma=PerPhase.same(7_000)), stations=stations)
    state = scene(site, stations=dict.fromkeys("ABC", attrs.evolve(WELL, met=True)))
    assert codes(state) == [(AlarmCode.STATION_NOT_USABLE, "B")]
