"""From what everyone is to get to the commands that leave now: grants by hand, books and rooms as the core keeps them.

A command is written as people would say it: `A transaction 16 up` is a raise, `A transaction 10` is none.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest

from llm_core import ledger as books
from llm_core.budget import aged, interval, rooms, sampled, survey
from llm_core.dispatch import RAISE_AFTER_MS, Command, dispatch, told
from llm_core.effects import ClearLimit, Purpose, SetLimit
from llm_core.events import Capabilities, MeterSampled
from llm_core.external import CapSource
from llm_core.ledger import FOLLOW_MS, Inherited, Ledger
from llm_core.problem import Grant, GrantReason
from llm_core.quantities import PHASES, ZERO, PerPhase
from llm_core.sessions import open_session
from llm_core.site import SITE, Cluster, MeterSetup, Mode, Site, Station, Supply
from llm_core.state import ConnectorState, Reading, State, StationState
from unit.strategies import NOON, floor, limit

L1, L2, L3 = PHASES
NOW_MS, LEASE_MS = 20_000, 300_000
FLOOR, DEFAULT, TRANSACTION = Purpose.FLOOR, Purpose.DEFAULT, Purpose.TRANSACTION
NUMBERS = {"A": 1, "B": 2, "C": 3}  # of their transactions


# What lies in the stations


def laid(*commands: SetLimit | ClearLimit, spread: int = 1) -> Ledger:
    """Books in which these were sent and acknowledged at 0 ms, in this order."""
    ledger = Ledger(None)
    for command in commands:
        ledger = books.confirmed(books.sent(ledger, command, 0, spread=spread), command.seq, 0, decays=True)
    return ledger


def charging(name: str, limit_a: int, then_a: int = 0, *, spread: int = 1) -> ConnectorState:
    """A floor of 0, no default, and a limit for the transaction that runs."""
    leased = limit(3, limit_a * 1_000, then_a * 1_000, lease_ms=LEASE_MS)
    given = attrs.evolve(leased, transaction_id=NUMBERS[name])
    ledger = laid(floor(1, 0), ClearLimit(2, name, 1), given, spread=spread)
    return starting(name, ConnectorState(ledger, offered_ma=given.limit_ma))


def starting(name: str, before: ConnectorState) -> ConnectorState:
    return attrs.evolve(before, session=open_session(NUMBERS[name], name, 1, None, NOON, 0), preparing_ms=None)


EMPTY = ConnectorState(laid(floor(1, 0), ClearLimit(2, "A", 1)))
RESERVED = limit(3, 10_000, purpose=DEFAULT, lease_ms=LEASE_MS)
PREPARING = ConnectorState(laid(floor(1, 0), ClearLimit(2, "A", 1), RESERVED), preparing_ms=0, offered_ma=10_000)
BOOTED = ConnectorState(Ledger(Inherited(32_000, 32_000, None)))


def site(limit_a: float, *stations: Station) -> Site:
    wired = stations or tuple(Station(name, max_ma=32_000) for name in "ABC")
    clusters = (Cluster("default", ""), Cluster("attic", "", "default", PerPhase.same(16_000)))
    return Site(supply=Supply(static_max_ma=PerPhase.same(int(limit_a * 1_000))), clusters=clusters, stations=wired)


def scene(where: Site, **connectors: ConnectorState) -> State:
    """Stations on line whose clocks agree."""
    on_line = StationState(online=True, accepted=True, clock_ahead_ms=0)
    books_of = {(name, 1): connector for name, connector in connectors.items()}
    return State(site=where, stations=dict.fromkeys(connectors, on_line), connectors=books_of)


def changed(state: State, name: str, **changes: object) -> State:
    after = attrs.evolve(state.connectors[name, 1], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, connectors={**state.connectors, (name, 1): after})


def known(state: State, name: str, **changes: object) -> State:
    after = attrs.evolve(state.stations[name], **changes)  # type: ignore[arg-type]
    return attrs.evolve(state, stations={**state.stations, name: after})


def chosen(state: State, at_ms: int = NOW_MS, **grants_a: float) -> tuple[Command, ...]:
    seen = survey(state, at_ms)
    meters = interval(state, aged(state, at_ms), seen, at_ms)
    left = rooms(state.site, meters, seen, ZERO, at_ms)
    grants = {(n, 1): Grant(f"{n}/1", int(a * 1_000), GrantReason.SHARED_LIMIT) for n, a in grants_a.items()}
    return dispatch(attrs.evolve(state, meters=meters), seen, left, grants, at_ms)


def in_words(commands: Iterable[Command]) -> list[str]:
    return [f"{command.station_id} {_done(command)}" for command in commands]


def _done(command: Command) -> str:
    if isinstance(command, ClearLimit):
        return f"clear {command.purpose or 'both'}"
    return f"{command.purpose} {command.limit_ma / 1_000:g}{'' if command.lowers else ' up'}"


def said(state: State, at_ms: int = NOW_MS, **grants_a: float) -> list[str]:
    return in_words(chosen(state, at_ms, **grants_a))


def under_way(state: State, commands: Iterable[Command], at_ms: int = NOW_MS) -> State:
    for command in commands:
        connector = state.connectors[command.station_id, 1]
        state = changed(state, command.station_id, ledger=books.sent(connector.ledger, command, at_ms))
        if isinstance(command, SetLimit) and command.purpose is not FLOOR:
            state = changed(state, command.station_id, offered_ma=command.limit_ma)
    return attrs.evolve(state, next_seq=state.next_seq + 10)


def acknowledged(state: State, commands: Iterable[Command], at_ms: int = NOW_MS) -> State:
    for command in commands:
        state = under_way(state, (command,), at_ms)
        ledger = books.confirmed(state.connectors[command.station_id, 1].ledger, command.seq, at_ms, decays=True)
        state = changed(state, command.station_id, ledger=ledger)
    return state


def failed(state: State, command: Command, at_ms: int, *, refused: bool) -> State:
    fail = books.refused if refused else books.unanswered
    state = under_way(state, (command,), at_ms)
    return changed(state, "A", ledger=fail(state.connectors["A", 1].ledger, command.seq, at_ms))


def until_quiet(state: State, **grants_a: float) -> list[str]:
    """Everything said, each acknowledged before the next is asked."""
    state, words = attrs.evolve(state, next_seq=10), []
    while commands := chosen(state, NOW_MS, **grants_a):
        words += in_words(commands)
        state = acknowledged(state, commands)
        assert len(words) < 10
    return words


def test_where_everything_lies_as_it_should_nothing_is_said() -> None:
    assert said(scene(site(32), A=charging("A", 16), B=EMPTY), A=16) == []


def test_decreases_leave_before_raises_and_numbers_follow_that_order() -> None:
    state = attrs.evolve(scene(site(63), A=charging("A", 6), B=charging("B", 16)), next_seq=40)
    commands = chosen(state, A=16, B=10)
    assert in_words(commands) == ["B transaction 10", "A transaction 16 up"]
    assert [command.seq for command in commands] == [40, 41]


def test_no_raise_leaves_before_the_decrease_that_pays_for_it_is_acknowledged_and_followed() -> None:
    """Nor a part of it, though that would fit already, while more room is under way."""
    state = attrs.evolve(scene(site(32), A=charging("A", 6), B=charging("B", 20)), next_seq=10)
    decrease = chosen(state, A=6, B=10)
    assert in_words(decrease) == ["B transaction 10"]
    assert said(under_way(state, decrease), A=20, B=10) == []
    settled = acknowledged(state, decrease)
    assert said(settled, NOW_MS + FOLLOW_MS - 1, A=20, B=10) == []
    assert said(settled, NOW_MS + FOLLOW_MS, A=20, B=10) == ["A transaction 20 up"]


def test_one_is_in_flight_and_only_a_decrease_overtakes_it_after_two_seconds() -> None:
    state = attrs.evolve(scene(site(32), A=charging("A", 6)), next_seq=10)
    state = under_way(state, chosen(state, A=10))
    assert said(state, NOW_MS + 1_999, A=8) == []
    assert said(state, NOW_MS + 2_000, A=8) == ["A transaction 8"]
    assert said(state, NOW_MS + 9_000, A=16) == []


def test_a_refused_raise_is_tried_again_later_and_later_and_a_refused_decrease_every_two_seconds() -> None:
    state = scene(site(32), A=charging("A", 10))
    waits_ms = {16: (2_000, 4_000, 8_000, 10_000, 10_000), 6: (2_000,) * 5}
    for grant_a, expected in waits_ms.items():
        after, at_ms = attrs.evolve(state, next_seq=10), NOW_MS
        for wait_ms in expected:
            (command,) = chosen(after, at_ms, A=grant_a)
            after = failed(after, command, at_ms, refused=True)
            assert said(after, at_ms + wait_ms - 1, A=grant_a) == []
            at_ms += wait_ms
        assert len(said(after, at_ms, A=grant_a)) == 1


def test_who_cannot_hear_or_was_not_accepted_is_told_nothing() -> None:
    state = scene(site(32), A=charging("A", 16), B=charging("B", 16))
    assert said(known(state, "A", online=False), A=6, B=6) == ["B transaction 6"]
    assert said(known(state, "A", accepted=False), A=6, B=6) == ["B transaction 6"]


# Raises


def test_nobody_is_raised_whose_clock_may_have_been_set_while_the_link_was_down() -> None:
    state = scene(site(63), A=charging("A", 6), B=charging("B", 6))
    assert said(known(state, "A", clock_due_ms=NOW_MS + 1), A=16, B=16) == ["B transaction 16 up"]
    assert said(known(state, "A", clock_due_ms=NOW_MS + 1), A=0, B=6) == ["A transaction 0"]


def test_raises_of_one_round_count_for_each_other_and_the_last_in_turn_gets_what_fits() -> None:
    state = scene(site(32), A=charging("A", 6), B=charging("B", 6))
    assert said(state, A=20, B=20) == ["A transaction 20 up", "B transaction 12 up"]
    assert said(changed(state, "A", rank=1), A=20, B=20) == ["B transaction 20 up", "A transaction 12 up"]


@pytest.mark.parametrize(("step_ma", "told_a"), [(1_000, "13"), (100, "13.5")])
def test_a_raise_in_part_is_a_whole_number_of_steps(step_ma: int, told_a: str) -> None:
    narrow = site(0, Station("A"))
    narrow = attrs.evolve(narrow, supply=Supply(static_max_ma=PerPhase(30_000, 30_000, 13_599)))
    state = known(scene(narrow, A=charging("A", 6)), "A", capabilities=Capabilities(step_ma=step_ma))
    assert said(state, A=16) == [f"A transaction {told_a} up"]
    assert said(changed(state, "A", phases=(L1, L2)), A=16) == ["A transaction 16 up"]


@pytest.mark.parametrize(("before_a", "limit_a", "fits_a"), [(0, 5.9, 6), (8, 8.9, 9)])
def test_a_raise_in_part_below_the_minimum_or_of_less_than_an_amp_is_none(
    before_a: int, limit_a: float, fits_a: int
) -> None:
    state = known(scene(site(limit_a), A=charging("A", before_a)), "A", capabilities=Capabilities(step_ma=100))
    assert said(state, A=16) == []
    assert said(attrs.evolve(state, site=site(fits_a)), A=16) == [f"A transaction {fits_a} up"]


def test_nobody_is_raised_below_a_node_that_is_too_full_already() -> None:
    state = scene(site(20), A=charging("A", 6), B=charging("B", 16))
    assert said(state, A=8, B=16) == []
    in_attic = site(63, Station("A"), Station("B", cluster="attic"), Station("C", cluster="attic"))
    state = scene(in_attic, A=charging("A", 6), B=charging("B", 10), C=charging("C", 10))
    assert said(state, A=16, B=16, C=10) == ["A transaction 16 up"]


def test_a_raise_of_less_than_an_amp_waits_some_time_after_the_last_change() -> None:
    state = known(scene(site(32), A=charging("A", 6)), "A", capabilities=Capabilities(step_ma=100))
    assert said(state, A=6.9) == ["A transaction 6.9 up"]
    state = changed(state, "A", changed_ms=0)
    assert said(state, RAISE_AFTER_MS - 1, A=6.9) == []
    assert said(state, RAISE_AFTER_MS, A=6.9) == ["A transaction 6.9 up"]
    assert said(state, A=7) == ["A transaction 7 up"]


def test_while_the_disk_fails_nobody_is_raised_and_decreases_go_on() -> None:
    state = scene(site(63), A=charging("A", 6), B=charging("B", 16))
    assert said(attrs.evolve(state, storage_failing="full"), A=16, B=6) == ["B transaction 6"]


def test_what_is_in_doubt_is_a_raise_again_and_waits_for_room() -> None:
    """A raise to 16 A that nobody answered may lie there; surely there are 6 A."""
    state = attrs.evolve(scene(site(32), A=charging("A", 6), B=EMPTY), next_seq=10)
    (command,) = chosen(state, A=16)
    doubtful = failed(state, command, NOW_MS, refused=False)
    later_ms = NOW_MS + 2_000
    assert said(doubtful, later_ms, A=16) == ["A transaction 16 up"]
    assert said(doubtful, later_ms, A=10) == ["A transaction 10"]
    full = attrs.evolve(doubtful, site=site(12))
    assert said(full, later_ms, A=16) == []
    assert said(full, NOW_MS + LEASE_MS * 6 // 10, A=16) == ["A transaction 6"]


# Behind a meter


METERED = attrs.evolve(
    site(0),
    supply=Supply(Mode.DYNAMIC, derated_ma=PerPhase.same(40_000), fallback_ma=PerPhase.same(12_000)),
    meters=(MeterSetup(SITE, "", ""),),
)


def read(state: State, at_ms: int, *current_a: int | None, fingerprint: int = 0) -> State:
    current_ma = tuple(a if a is None else a * 1_000 for a in current_a)
    return sampled(state, MeterSampled(SITE, current_ma, at_ms, fingerprint), at_ms)  # type: ignore[arg-type]


def good_until(state: State, at_ms: int = NOW_MS, **grants_a: float) -> dict[str, int | None]:
    return {c.station_id: c.not_after_ms for c in chosen(state, at_ms, **grants_a) if isinstance(c, SetLimit)}


def test_a_raise_is_good_until_its_meter_would_be_silent_and_a_decrease_always() -> None:
    connected = scene(METERED, A=charging("A", 6), B=charging("B", 16))
    state = read(read(connected, NOW_MS, 6, 6, 6), NOW_MS + 1_000, 6, 6, None, fingerprint=1)
    assert good_until(state, NOW_MS + 1_000, A=16, B=6) == {"A": NOW_MS + 5_000, "B": None}
    alone = read(scene(METERED, A=charging("A", 6)), 0, 6, 6, 6)
    assert good_until(alone, A=10) == {"A": None}, "its meter is lost, and what is safe is so for ever"
    assert good_until(scene(site(40), A=charging("A", 6)), A=10) == {"A": None}


def test_a_raise_is_good_as_long_as_every_meter_above_it_and_no_longer() -> None:
    meters = (MeterSetup(SITE, "", ""), MeterSetup("hall", "", ""))
    stations = (Station("A", cluster="hall"), Station("B"))
    state = scene(
        attrs.evolve(METERED, clusters=(Cluster("hall", ""), Cluster("default", "")), stations=stations, meters=meters),
        A=charging("A", 6),
        B=charging("B", 6),
    )
    state = sampled(state, MeterSampled("hall", (6_000, 6_000, 6_000), NOW_MS - 2_000, 0), NOW_MS - 2_000)
    state = read(state, NOW_MS, 12, 12, 12)
    assert good_until(state, A=7, B=7) == {"A": NOW_MS + 3_000, "B": NOW_MS + 5_000}


def test_behind_a_meter_there_is_one_round_of_raises_for_a_fresh_sample() -> None:
    state = read(scene(METERED, A=charging("A", 6), B=charging("B", 16)), NOW_MS, 6, 6, 6)
    raised, older = attrs.evolve(state, raised_ms=NOW_MS), attrs.evolve(state, raised_ms=NOW_MS + 1)
    assert said(state, A=16, B=6) == ["B transaction 6", "A transaction 16 up"]
    assert said(raised, A=16, B=6) == said(older, A=16, B=6) == ["B transaction 6"]
    assert said(read(raised, NOW_MS + 1, 6, 6, 6, fingerprint=1), NOW_MS + 1, A=16) == ["A transaction 16 up"]


def test_a_sample_that_repeats_itself_while_the_stations_draw_otherwise_raises_nobody() -> None:
    state = read(scene(METERED, A=charging("A", 6)), NOW_MS, 6, 6, 6)
    drawing = changed(state, "A", readings=(Reading(NOW_MS, PerPhase.same(1_000)),))
    assert said(read(drawing, NOW_MS + 1, 6, 6, 6), NOW_MS + 1, A=16) == []
    assert said(read(drawing, NOW_MS + 1, 6, 6, 6, fingerprint=1), NOW_MS + 1, A=16) == ["A transaction 16 up"]


def test_the_place_of_a_car_that_was_paused_may_be_taken_until_its_reading_tells() -> None:
    """A was told 0 A and let go; its last reading still says 6, so the meter's 30 look like 24 A of building."""
    paused = changed(
        scene(METERED, A=charging("A", 0)),
        "A",
        readings=(Reading(NOW_MS - 3_000, PerPhase.same(6_000)),),
        settled_from_ms=NOW_MS - 1,
    )
    told = changed(paused, "A", readings=(Reading(NOW_MS, ZERO),))
    for state in (paused, told):
        assert said(read(state, NOW_MS, 30, 30, 30), A=16) == ["A transaction 10 up"]
    assert said(attrs.evolve(paused, site=site(40)), A=16) == ["A transaction 16 up"]
    fallen = read(read(paused, NOW_MS - 1, 30, 30, 30, fingerprint=1), NOW_MS, 24, 24, 24, fingerprint=2)
    seen_to_go = attrs.evolve(fallen, meters=interval(fallen, fallen.meters, survey(fallen, NOW_MS), NOW_MS))
    assert said(seen_to_go, A=16) == ["A transaction 16 up"]


def test_without_a_meter_raises_go_up_to_what_is_safe() -> None:
    never_read = attrs.evolve(scene(METERED, A=charging("A", 6)), raised_ms=NOW_MS)
    never_set_up = attrs.evolve(never_read, site=attrs.evolve(METERED, meters=()))
    for state in (never_read, never_set_up, read(never_read, 0, 0, 0, 0)):  # the last is silent for 20 s
        assert said(state, A=16) == ["A transaction 12 up"]


# House-keeping


def test_an_empty_connector_gets_its_floor_first_then_everything_live_is_cleared_then_a_car_its_share() -> None:
    assert until_quiet(scene(site(32), A=BOOTED)) == ["A floor 0", "A clear both"]
    arrived = attrs.evolve(BOOTED, preparing_ms=0)
    assert until_quiet(scene(site(32), A=arrived), A=10) == ["A floor 0", "A clear both", "A default 10 up"]
    assert until_quiet(scene(site(5), A=arrived), A=10) == ["A floor 0", "A clear both"]


def test_a_transaction_found_after_a_boot_gets_its_limit_before_the_default_goes() -> None:
    state = scene(site(32), A=starting("A", BOOTED))
    assert until_quiet(state, A=16) == ["A floor 0", "A transaction 16 up", "A clear default"]
    assert until_quiet(scene(site(5), A=starting("A", BOOTED)), A=16)[1:] == ["A transaction 0", "A clear default"]


@pytest.mark.parametrize(
    ("drawn_a", "second", "told"),
    [(9.37, 0, "A transaction 9"), (12, 0, "A transaction 10"), (5, 0, "A transaction 0"), (9, -11, "A transaction 0")],
)
def test_after_a_restart_a_car_keeps_what_it_is_just_seen_to_draw(drawn_a: float, second: int, told: str) -> None:
    reading = Reading(NOW_MS + second * 1_000, PerPhase.same(int(drawn_a * 1_000)))
    met_again = attrs.evolve(starting("A", BOOTED), readings=(reading,))
    assert until_quiet(scene(site(5), A=met_again), A=10)[1] == told


def test_after_a_restart_one_that_disobeys_keeps_nothing() -> None:
    lawless = attrs.evolve(starting("A", BOOTED), readings=(Reading(NOW_MS, PerPhase.same(9_000)),), disobeys_ms=0)
    assert until_quiet(scene(site(5), A=lawless), A=10)[1] == "A transaction 0"


def test_a_transaction_takes_over_what_its_default_gave_and_then_the_default_goes() -> None:
    started = starting("A", PREPARING)
    assert until_quiet(scene(site(10), A=started), A=16) == ["A transaction 10", "A clear default"]
    assert until_quiet(scene(site(32), A=started), A=16) == ["A transaction 16 up", "A clear default"]


def test_a_limit_of_another_transaction_gives_nothing_surely() -> None:
    next_one = attrs.evolve(charging("A", 10), session=open_session(9, "A", 1, None, NOON, 0))
    (command,) = chosen(scene(site(32), A=next_one), A=10)
    assert command == SetLimit(1, "A", 1, TRANSACTION, 10_000, 6_000, LEASE_MS, 9, 3, lowers=False)
    assert said(scene(site(9), A=next_one), A=10) == ["A transaction 0"]


def test_the_end_of_a_session_clears_its_limit_and_so_do_two_minutes_without_a_start() -> None:
    over = attrs.evolve(charging("A", 10), session=None)
    assert until_quiet(scene(site(32), A=over)) == ["A clear both"]
    next_car = attrs.evolve(over, preparing_ms=0)
    assert until_quiet(scene(site(32), A=next_car), A=16) == ["A clear both", "A default 16 up"]
    state = scene(site(32), A=PREPARING)
    assert (said(state, 119_999, A=10), said(state, 120_000)) == ([], ["A clear both"])


@pytest.mark.parametrize("now_a", [0, 8, 10])
def test_a_floor_that_is_as_low_or_lower_is_sent_at_once_and_permanently(now_a: int) -> None:
    where = site(0, Station("A", start_alone_ma=now_a * 1_000))
    doubtful = books.sent(laid(floor(1, 10_000), ClearLimit(2, "A", 1)), floor(3, 12_000), 0)
    state = scene(where, A=ConnectorState(books.unanswered(doubtful, 3, 0)))
    full = attrs.evolve(where, supply=Supply(static_max_ma=PerPhase.same(1_000)))
    assert chosen(attrs.evolve(state, site=full, storage_failing="full")) == (
        SetLimit(1, "A", 1, FLOOR, now_a * 1_000, now_a * 1_000, None, None, 3, lowers=True),
    )


def test_a_floor_that_gives_more_waits_until_it_fits_with_what_is_left_alone_too() -> None:
    alone = Station("A", start_alone_ma=8_000), Station("B", max_ma=32_000)
    fits = scene(site(32, *alone), A=EMPTY, B=charging("B", 20))
    assert said(fits, B=20) == ["A floor 8 up"]
    assert said(attrs.evolve(fits, storage_failing="full"), B=20) == []
    assert said(attrs.evolve(fits, site=site(27, *alone)), B=20) == []
    metered = attrs.evolve(METERED, stations=alone)
    beside = read(scene(metered, A=EMPTY, B=charging("B", 6, 6)), NOW_MS, 0, 0, 0)
    assert said(beside, B=6) == ["B transaction 6"]  # 8 and 6 A do not fit 12 A: first B leaves nothing behind
    cleared = changed(beside, "B", ledger=charging("B", 6).ledger)
    assert said(cleared, B=6) == ["A floor 8 up"]


def test_a_floor_in_watts_on_three_phases_gives_nothing() -> None:
    in_watts = Capabilities(in_watts=True)
    alone = Station("A", start_alone_ma=8_000)
    assert until_quiet(known(scene(site(32, alone), A=BOOTED), "A", capabilities=in_watts))[0] == "A floor 0"
    on_one = attrs.evolve(alone, phase_rotation=(L2,))
    assert until_quiet(known(scene(site(63, on_one), A=BOOTED), "A", capabilities=in_watts))[0] == "A floor 8 up"


def test_the_floor_is_never_above_what_the_cpo_lets_the_connector_have() -> None:
    alone = Station("A", start_alone_ma=8_000)
    for cap_a, floor_a in ((5, 0), (6, 6), (7, 7), (8, 8), (16, 8)):
        capped = attrs.evolve(BOOTED, caps_ma={CapSource.CPO: cap_a * 1_000})
        assert until_quiet(scene(site(32, alone), A=capped))[0].startswith(f"A floor {floor_a}"), cap_a
    lies = attrs.evolve(ConnectorState(laid(floor(1, 8_000), ClearLimit(2, "A", 1))), caps_ma={CapSource.CPO: 5_000})
    assert said(scene(site(32, alone), A=lies)) == ["A floor 0"]
    wished = attrs.evolve(lies, caps_ma={CapSource.DRIVER: 5_000})  # its driver is gone when another car starts
    assert said(scene(site(32, alone), A=wished)) == []


# Leases


def test_a_lease_is_renewed_when_forty_percent_of_it_are_left_and_at_once_when_our_clock_has_stepped() -> None:
    state = scene(site(32), A=charging("A", 16, 6))
    assert said(state, 179_999, A=16) == []
    assert chosen(state, 180_000, A=16) == (
        SetLimit(1, "A", 1, TRANSACTION, 16_000, 6_000, LEASE_MS, NUMBERS["A"], 3, lowers=True),
    )
    assert said(attrs.evolve(state, leases_from_ms=1), A=16) == ["A transaction 16"]
    (renewal,) = chosen(attrs.evolve(state, next_seq=10), 180_000, A=16)
    ledger = books.sent(state.connectors["A", 1].ledger, renewal, 180_000)
    renewed = changed(state, "A", ledger=books.confirmed(ledger, renewal.seq, 180_000, decays=True))
    assert said(renewed, 359_999, A=16) == []
    assert said(renewed, 360_000, A=16) == ["A transaction 16"]


def test_a_lease_that_may_be_over_is_given_again_only_where_it_fits() -> None:
    state = scene(site(32), A=charging("A", 16, 6), B=charging("B", 16, 6))
    may_be_over_ms = LEASE_MS - 10_000
    assert said(state, may_be_over_ms, A=16, B=16) == ["A transaction 16 up", "B transaction 16 up"]
    full = attrs.evolve(state, site=site(31))
    assert said(full, may_be_over_ms, A=16, B=16) == ["A transaction 6", "B transaction 6"]


def then_of(state: State, **grants_a: float) -> dict[str, int]:
    return {c.station_id: c.then_ma // 1_000 for c in chosen(state, NOW_MS, **grants_a) if isinstance(c, SetLimit)}


def test_a_lease_leaves_the_minimum_behind_as_long_as_all_that_is_left_fits_and_never_more_than_the_limit() -> None:
    assert then_of(scene(site(32), A=charging("A", 16, 6)), A=0) == {"A": 0}
    state = scene(site(32), **{name: charging(name, 0) for name in "ABC"})
    assert then_of(state, A=8, B=8, C=8) == {"A": 6, "B": 6, "C": 6}
    assert then_of(attrs.evolve(state, site=site(24)), A=8, B=8, C=8) == {"A": 6, "B": 6, "C": 6}
    metered = read(attrs.evolve(state, site=METERED), NOW_MS, 0, 0, 0)
    assert then_of(metered, A=8, B=8, C=8) == {"A": 6, "B": 6, "C": 0}
    wires = {"A": (L1,), "B": (L1,), "C": (L2,)}
    apart = tuple(attrs.evolve(station, phase_rotation=wires[station.id]) for station in METERED.stations)
    uneven = attrs.evolve(metered, site=attrs.evolve(METERED, stations=apart))
    assert then_of(uneven, A=8, B=8, C=8) == {"A": 6, "B": 6, "C": 6}


@pytest.mark.parametrize(("fallback_a", "limit_a", "then_a"), [(8, 16, 8), (8, 7, 7), (0, 16, 0), (5, 16, 0)])
def test_a_fallback_that_was_set_follows_every_lease(fallback_a: int, limit_a: int, then_a: int) -> None:
    state = scene(site(32, Station("A", fallback_ma=fallback_a * 1_000)), A=charging("A", 0))
    assert then_of(state, A=limit_a) == {"A": then_a}


def test_a_station_that_never_connected_keeps_what_it_may_give_by_itself() -> None:
    for other, then_a in (
        (Station("B", fallback_ma=6_000), 6),
        (Station("B", fallback_ma=7_000), 0),
        (Station("B", start_alone_ma=7_000), 0),
        (Station("B", fallback_ma=4_000, connectors=2), 0),
        (Station("B", fallback_ma=7_000, out_of_service=True), 6),
    ):
        where = attrs.evolve(METERED, stations=(Station("A"), other))
        assert then_of(read(scene(where, A=charging("A", 0)), NOW_MS, 0, 0, 0), A=10) == {"A": then_a}


def test_a_limit_that_leaves_too_much_behind_is_sent_again_with_less() -> None:
    state = read(scene(METERED, A=charging("A", 16, 6), B=charging("B", 16, 8)), NOW_MS, 0, 0, 0)
    assert then_of(state, A=16, B=16) == {"A": 0, "B": 6}
    enough = attrs.evolve(METERED, supply=attrs.evolve(METERED.supply, fallback_ma=PerPhase.same(14_000)))
    assert then_of(attrs.evolve(state, site=enough), A=16, B=16) == {}


@pytest.mark.parametrize("cannot", [{"clock_ahead_ms": None}, {"capabilities": Capabilities(decays=False)}])
def test_a_station_that_cannot_fall_back_gets_for_ever_what_fits_for_ever(cannot: dict[str, object]) -> None:
    state = known(read(scene(METERED, A=charging("A", 0)), NOW_MS, 0, 0, 0), "A", **cannot)
    (command,) = chosen(state, A=16)
    expected = SetLimit(1, "A", 1, TRANSACTION, 12_000, 12_000, None, NUMBERS["A"], 3, lowers=False)
    assert attrs.evolve(command, not_after_ms=None) == expected
    assert said(acknowledged(state, (command,)), NOW_MS + LEASE_MS, A=16) == []
    beside = attrs.evolve(METERED, stations=(Station("A"), Station("B", start_alone_ma=7_000)))
    assert said(attrs.evolve(state, site=beside), A=16) == []


def test_what_was_told_last_is_the_newest_live_limit_or_else_the_floor() -> None:
    for ledger, told_ma in (
        (Ledger(None), 0),
        (laid(floor(1, 8_000)), 8_000),
        (laid(floor(1, 8_000), ClearLimit(2, "A", 1)), 8_000),
        (laid(floor(1, 8_000), limit(2, 7_000, purpose=DEFAULT)), 7_000),
        (laid(limit(2, 7_000, purpose=DEFAULT), limit(3, 16_000)), 16_000),
        (books.sent(laid(limit(2, 7_000)), limit(3, 10_000), 0), 10_000),
    ):
        assert told(ConnectorState(ledger), 0, decays_=True) == told_ma

    leased = ConnectorState(laid(limit(1, 16_000, 6_000)))
    assert (told(leased, 10**6, decays_=True), told(leased, 10**6, decays_=False)) == (6_000, 16_000)


def test_watts_told_for_three_phases_surely_gave_each_a_third() -> None:
    state = known(scene(site(32), A=charging("A", 18, spread=3)), "A", capabilities=Capabilities(in_watts=True))
    due_ms = LEASE_MS * 6 // 10
    assert said(state, due_ms, A=18) == ["A transaction 18"]
    measured = changed(state, "A", phases=PHASES)
    assert said(measured, due_ms, A=18) == ["A transaction 18 up"]
    assert said(attrs.evolve(measured, storage_failing="full"), due_ms, A=18) == ["A transaction 6"]
