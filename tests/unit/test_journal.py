"""What the core was told comes back from the journal as the same values, whole or not at all, and within its bound."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_adapters.files.journal import (
    BADGE_FIELDS,
    MOST_BYTES,
    PRESENT,
    PREVIOUS,
    UNDONE,
    Batch,
    Happened,
    JournalError,
    JournalFiles,
    Snapshot,
    Torn,
    event_line,
    masked,
    read,
    snapshot_line,
)
from llm_adapters.files.values import UnreadableError, decoded, encoded, parsed, printed
from llm_core import (
    AccessRule,
    Badge,
    BadgePresented,
    BadgesEdited,
    Capabilities,
    CapabilitiesFound,
    ClockStepped,
    Event,
    LimitConfirmed,
    LimitRefused,
    LimitUnanswered,
    MeterSampled,
    MeterSetup,
    MeterValuesReceived,
    Mode,
    Now,
    PerPhase,
    PutAccess,
    PutStation,
    Session,
    SetLimit,
    SetUpDone,
    Site,
    SiteEdited,
    StartRequested,
    State,
    Station,
    StationBooted,
    StationClockRead,
    StationConnected,
    StationDisconnected,
    Status,
    StatusChanged,
    StopRequested,
    StorageFailed,
    StorageHealed,
    Supply,
    Tick,
    normalise,
    step,
)
from unit.strategies import NOON, badges, now, sites

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(timezones=st.just(UTC) | offsets)
st.register_type_strategy(datetime, instants)

NAMES = ("A", "B", "C")
SITE_OF_TESTS = Site(
    supply=Supply(mode=Mode.DYNAMIC, derated_ma=PerPhase.same(40_000), fallback_ma=PerPhase.same(16_000)),
    stations=(Station("A"), Station("B", connectors=2, badges=frozenset({"04:a1", "FF"}))),
    meters=(MeterSetup("site", "eastron_sdm630", "192.0.2.7"),),
)
BADGES = {normalise(badge_id): Badge(badge_id, comment="Somebody") for badge_id in ("04:A1", "ff", "C0 DE")}

# What happens at a site, often enough at the same few stations for something to come of it

names = st.sampled_from(NAMES)
connectors = st.integers(1, 2)
seconds = st.integers(0, 900)
tags = st.sampled_from(("04:A1", "04a1", "FF", "c0de", "unknown", ""))
stamps = st.none() | seconds.map(lambda ahead: NOON + timedelta(seconds=ahead))
milliamps = st.none() | st.integers(-40_000, 80_000)
sequences = st.integers(1, 40)
facts = st.one_of(
    *[st.just(Tick())] * 4,
    st.builds(MeterSampled, st.just("site"), st.tuples(*[milliamps] * 3), st.just(0), st.integers(0, 3)),
    st.builds(StationConnected, names, st.just("192.0.2.9")),
    st.builds(StationDisconnected, names),
    st.builds(StationBooted, names, request=st.just(1)),
    st.builds(CapabilitiesFound, names, st.builds(Capabilities, st.sampled_from([100, 1_000]))),
    st.builds(StationClockRead, names, st.integers(-60_000, 60_000)),
    st.builds(StatusChanged, names, connectors, st.sampled_from(Status), at=stamps),
    st.builds(BadgePresented, names, tags, request=st.just(2)),
    st.builds(StartRequested, names, connectors, tags, st.integers(0, 9_999), stamps, request=st.just(3)),
    st.builds(StopRequested, names, st.integers(1, 5), st.integers(0, 99_999), stamps, id_tag=tags, request=st.just(4)),
    st.builds(
        MeterValuesReceived,
        names,
        connectors,
        st.integers(1, 5),
        st.none() | st.tuples(*[st.integers(0, 32_000)] * 3),
        st.none() | st.integers(0, 99_999),
        stamps,
    ),
    st.builds(LimitConfirmed, names, connectors, sequences),
    st.builds(LimitRefused, names, connectors, sequences, st.just("no")),
    st.builds(LimitUnanswered, names, connectors, sequences),
    st.builds(SiteEdited, st.just("admin"), st.builds(PutStation, st.builds(Station, names)), st.just(5)),
    st.builds(SiteEdited, st.just("admin"), st.builds(PutAccess, st.sampled_from(AccessRule)), st.just(6)),
    st.builds(BadgesEdited, st.just("admin"), st.tuples(badges()), request=st.just(7)),
    st.builds(SetUpDone),
    st.builds(ClockStepped, st.integers(-90_000, 90_000)),
    st.builds(StorageFailed, st.just("disk full")),
    st.builds(StorageHealed),
)
timed = st.tuples(facts, st.sampled_from((0, 1, 1, 2, 7, 60)))


# Two stations come up and a car plugs in, so that there is something to decide from the beginning
MORNING: tuple[tuple[Event, int], ...] = (
    (MeterSampled("site", (5_000, 5_000, 5_000), 0, 9), 0),
    *((StationConnected(name), 0) for name in "AB"),
    *((StationBooted(name, request=1), 1) for name in "AB"),
    (Tick(), 1),
    (LimitConfirmed("A", 1, 1), 1),
    (StatusChanged("A", 1, Status.PREPARING), 0),
    (StartRequested("A", 1, "04A1", 0, request=2), 0),
    (Tick(), 1),
)


def moments(drawn: list[tuple[Event, int]]) -> list[tuple[Event, Now]]:
    """A morning, then each fact some seconds after the one before it; a meter is read when its reading arrives."""
    at, told = 0, []
    for event, gap in (*MORNING, *drawn):
        at += gap
        if isinstance(event, MeterSampled):
            event = attrs.evolve(event, taken_ms=now(at).monotonic_ms)
        told.append((event, now(at)))
    return told


def begun(site: Site = SITE_OF_TESTS) -> State:
    return State(site=site, factory=False, badges=BADGES)


def through_text(value: Any, kind: Any) -> Any:
    return decoded(parsed(printed(encoded(value, kind))), kind)


# Values


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type) -> None:
    @settings(max_examples=25)
    @given(st.from_type(kind))
    def comes_back(event: Any) -> None:
        assert through_text(event, Event) == event

    comes_back()


@given(st.builds(Now, st.integers(), instants, st.integers()))
def test_an_instant_comes_back_to_the_microsecond(at: Now) -> None:
    assert through_text(at, Now) == at


@settings(max_examples=30)
@given(st.one_of(st.just(SITE_OF_TESTS), sites(4)), st.lists(timed, min_size=20, max_size=60))
def test_every_state_that_is_reached_comes_back_and_goes_on_in_the_same_way(
    site: Site, drawn: list[tuple[Event, int]]
) -> None:
    original = restored = begun(site)
    for event, at in moments(drawn):
        ours, theirs = step(original, event, at), step(restored, event, at)
        assert theirs == ours
        original, restored = ours.state, through_text(ours.state, State)
        assert restored == original


def test_the_order_of_a_mapping_comes_back() -> None:
    sessions = {number: Session(number, "A", 1, None, NOON, 0, 0) for number in (7, 3, 5)}
    assert list(through_text(State(recent=sessions), State).recent) == [7, 3, 5]


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u2028", "é", '"\\\n', "𝄞"])
def test_any_text_is_one_line_of_ascii(text: str) -> None:
    line = event_line(BadgePresented("A", text), now())
    assert line.isascii()
    assert line.count("\n") == 1
    assert through_text(BadgePresented("A", text), Event) == BadgePresented("A", text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"is": "Nothing"},
        {"is": []},
        {},
        [],
        None,
        {"is": "Tick", "extra": 1},
        {"is": "StationClockRead", "station_id": "A", "ahead_ms": 3.0},
        {"is": "StationClockRead", "station_id": "A", "ahead_ms": True},
        {"is": "StationClockRead", "station_id": "A", "ahead_ms": "3"},
        {"is": "StationClockRead", "station_id": 3, "ahead_ms": 3},
        {"is": "StationClockRead", "station_id": "A"},
        {"is": "StatusChanged", "station_id": "A", "connector": 1, "status": "charging"},
        {"is": "StatusChanged", "station_id": "A", "connector": 1, "status": "Charging", "at": 5},
        {"is": "BadgesEdited", "by": "admin", "remove": "ab"},
        {"is": "MeterSampled", "node": "site", "current_ma": [1, 2], "taken_ms": 1, "fingerprint": 1},
    ],
)
def test_what_is_not_exactly_an_event_is_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(UnreadableError) as refusal:
        decoded(wrong, Event)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_line_is_what_the_documentation_shows() -> None:
    at = Now(5_000, datetime(2026, 3, 14, 12, 0, 0, 250_000, UTC), 3_600)
    assert json.loads(event_line(StatusChanged("A", 2, Status.CHARGING), at)) == {
        "now": [5_000, "2026-03-14T12:00:00.250000+00:00", 3_600],
        "event": {"is": "StatusChanged", "station_id": "A", "connector": 2, "status": "Charging"},
    }


# Files


def batch(*events: Event, number: int = 0, state: State | None = None, run: str = "r", program: str = "1") -> Batch:
    start = Snapshot(program, run, number, now(number), begun() if state is None else state)
    lines = tuple(event_line(event, now(number + index)) for index, event in enumerate(events))
    return Batch(start, lines, len(events))


def entries(path: Path) -> list[Snapshot | Happened | Torn]:
    return [entry.what for entry in read(path)]


def kinds(path: Path) -> str:
    """The entries of a journal, one letter each: a Snapshot, an event that Happened, a Torn line."""
    return "".join(type(what).__name__[0] for what in entries(path))


def what_is_in(line: str) -> Snapshot | Happened:
    """One line alone, whose event needs no snapshot before it."""
    data = json.loads(line)
    if "event" in data:
        return Happened(decoded(data["event"], Event), decoded(data["now"], Now))
    del data["journal"]
    snapshot: Snapshot = decoded(data, Snapshot)
    return snapshot


def fault(path: Path) -> JournalError:
    with pytest.raises(JournalError) as refusal:
        entries(path)
    return refusal.value


def test_batches_that_follow_each_other_share_one_snapshot(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    files.append(batch(Tick(), SetUpDone()))
    files.append(batch(StorageHealed(), number=2))
    snapshot, *happened = entries(tmp_path / PRESENT)
    assert snapshot == Snapshot("1", "r", 0, now(), begun())
    assert happened == [Happened(Tick(), now(0)), Happened(SetUpDone(), now(1)), Happened(StorageHealed(), now(2))]


def test_what_does_not_follow_begins_with_a_snapshot_of_its_own(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    files.append(batch(Tick()))
    files.append(batch(Tick(), number=5))
    JournalFiles(tmp_path).append(batch(Tick(), run="s"))
    assert kinds(tmp_path / PRESENT) == "SHSHSH"


def test_a_step_that_never_happened_is_told_of_its_event(tmp_path: Path) -> None:
    path = tmp_path / PRESENT
    start = batch(Tick())
    path.write_text(snapshot_line(start.start) + start.lines[0] + start.lines[0] + UNDONE + start.lines[0])
    assert [what.undone for what in entries(path) if isinstance(what, Happened)] == [False, True, False]


def test_the_journal_never_exceeds_its_bound_and_each_file_begins_with_a_snapshot(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    flood = [StationConnected("A", path="/" * 10_000)] * 50
    for number in range(0, 50 * 60, 50):
        files.append(batch(*flood, number=number))
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        assert len(sizes) <= 2
        assert max(sizes) <= MOST_BYTES
    numbers = []
    for name in (PREVIOUS, PRESENT):
        first, *others = entries(tmp_path / name)
        assert isinstance(first, Snapshot)
        numbers.append((first.number, first.number + len(others)))
    assert numbers[0][1] == numbers[1][0], "the present file begins where the one before it ends"
    assert numbers[1][1] == 50 * 60


def test_what_fits_in_no_file_is_refused_and_what_follows_is_written(tmp_path: Path) -> None:
    files = JournalFiles(tmp_path)
    files.append(batch(Tick()))
    with pytest.raises(OverflowError):
        files.append(batch(StationConnected("A", path="/" * MOST_BYTES), number=1))
    files.append(batch(Tick(), number=2))
    assert kinds(tmp_path / PRESENT) == "SHSH"


def test_a_line_that_a_power_cut_tore_is_cut_off_before_more_is_written(tmp_path: Path) -> None:
    JournalFiles(tmp_path).append(batch(Tick(), Tick()))
    path = tmp_path / PRESENT
    path.write_bytes(path.read_bytes()[:-20])
    assert kinds(path) == "SHT"
    JournalFiles(tmp_path).append(batch(Tick(), run="s"))
    assert kinds(path) == "SHSH"


def test_another_version_begins_another_file(tmp_path: Path) -> None:
    JournalFiles(tmp_path).append(batch(Tick(), program="1"))
    JournalFiles(tmp_path).append(batch(Tick(), program="2"))
    assert kinds(tmp_path / PREVIOUS) == kinds(tmp_path / PRESENT) == "SH"


def test_nobody_else_on_the_machine_reads_the_journal(tmp_path: Path) -> None:
    JournalFiles(tmp_path).append(batch(Tick()))
    assert (tmp_path / PRESENT).stat().st_mode & 0o077 == 0


@given(cut=st.integers(min_value=0))
def test_a_file_torn_anywhere_is_read_up_to_there_or_refused(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    JournalFiles(folder).append(batch(Tick(), StatusChanged("A", 1, Status.CHARGING), SetUpDone()))
    path = folder / PRESENT
    whole = path.read_bytes()
    left = whole[: cut % len(whole)]
    path.write_bytes(left)
    *lines, rest = left.split(b"\n")
    complete = len(lines) + (rest + b"\n" in whole.splitlines(keepends=True))  # lacking nothing but its end
    if not complete:
        assert fault(path).line == 1
    else:
        assert kinds(path) == "SHHH"[:complete] + ("T" if rest and complete == len(lines) else "")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (1, ""),
        (1, "{}\n"),
        (1, "not a journal\n"),
        (1, "SQLite format 3\x00"),
        (1, "T"),
        (1, '{"journal":2,"program":"9"}\n'),
        (2, "S\n"),
        (2, "S{}\n"),
        (2, "Su"),
        (3, "STx\nT"),
        (3, "ST5\n"),
        (4, "STTnull\n"),
        (3, 'ST{"now":[1],"event":{"is":"Tick"}}\n'),
    ],
)
def test_what_is_no_journal_is_refused_with_the_line(line: int, wrong: str, tmp_path: Path) -> None:
    start = batch(Tick())
    parts = {"S": snapshot_line(start.start), "T": start.lines[0], "u": UNDONE}
    lead = len(wrong) - len(wrong.lstrip("STu")) if not wrong.startswith("SQLite") else 0
    path = tmp_path / "field.jsonl"
    path.write_text("".join(parts[letter] for letter in wrong[:lead]) + wrong[lead:])
    assert fault(path).line == line
    assert len(str(fault(path)).splitlines()) == 1


# Masking

CANARY = "04:CA:7A:12"


def badge_fields() -> set[str]:
    """Every field of the events and the state whose name speaks of badges or tags."""
    found, ahead, seen = set(), [*get_args(Event), State], set[Any]()
    while ahead:
        kind = ahead.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if attrs.has(kind):
            attrs.resolve_types(kind)
            found |= {f.name for f in attrs.fields(kind) if {"tag", "badge", "badges"} & set(f.name.split("_"))}
            ahead += [field.type for field in attrs.fields(kind)]
        ahead += get_args(kind)
    return found


def with_canaries() -> list[str]:
    badge = Badge(CANARY, group=CANARY.lower(), comment="Canary Bird", email="canary@example.org")
    station = Station("A", badges=frozenset({CANARY}))
    state = State(site=Site(stations=(station,)), factory=False, badges={normalise(CANARY): badge})
    told: list[Event] = [
        BadgesEdited("admin", (badge,), request=1),
        SiteEdited("admin", PutStation(station)),
        StationConnected("A", path="/ocpp/A?key=canary"),
        StatusChanged("A", 1, Status.PREPARING),
        BadgePresented("A", CANARY.replace(":", "")),
        BadgePresented("A", "another"),
        StartRequested("A", 1, CANARY, 0),
        StopRequested("A", 1, 5, id_tag=CANARY),
        BadgesEdited("admin", remove=(CANARY,)),
    ]
    lines = [event_line(event, now(index)) for index, event in enumerate(told)]
    for index, event in enumerate(told):
        state = step(state, event, now(index)).state
    return [*lines, snapshot_line(Snapshot("1", "r", len(told), now(99), state))]


def test_no_badge_and_nobody_appears_in_what_is_masked() -> None:
    told = "".join(with_canaries())
    assert "ca7a12" in told.lower().replace(":", "")
    shown = "".join(masked(with_canaries())).lower().replace(":", "")
    assert "ca7a12" not in shown
    assert "canary" not in shown
    assert "another" not in shown


def test_every_field_that_holds_a_badge_is_masked() -> None:
    assert {"id_tag", "badge_id", "badges"} <= badge_fields() <= BADGE_FIELDS


def test_one_badge_has_one_false_id_and_another_has_another() -> None:
    shown = [json.loads(line) for line in masked(with_canaries())]
    presented = [entry["event"]["id_tag"] for entry in shown if entry.get("event", {}).get("is") == "BadgePresented"]
    assert presented[0] != presented[1]
    assert presented[0] == shown[6]["event"]["id_tag"] == shown[0]["event"]["put"][0]["badge_id"]


@pytest.mark.parametrize("line", ['{"id_tag":"%s"', "%s", '"%s"', '["%s"]', '{"log":"%s"}'])
def test_masking_leaves_out_a_line_that_is_none_of_a_journal(line: str) -> None:
    assert list(masked([line % CANARY])) == []


def test_too_long_a_tag_stays_too_long() -> None:
    (line,) = masked([event_line(BadgePresented("A", "12345678901234567890-"), now())])
    assert len(json.loads(line)["event"]["id_tag"]) == 21


def test_what_is_masked_can_be_replayed_with_the_same_limits() -> None:
    limits = 0

    @settings(max_examples=30)
    @given(st.lists(timed, min_size=20, max_size=60))
    def gives_the_same_limits(drawn: list[tuple[Event, int]]) -> None:
        nonlocal limits
        told = moments(drawn)
        lines = [snapshot_line(Snapshot("1", "r", 0, now(), begun())), *(event_line(*moment) for moment in told)]
        first, *others = [what_is_in(line) for line in masked(lines)]
        assert isinstance(first, Snapshot)
        original, disguised = begun(), first.state
        for (event, at), other in zip(told, others, strict=True):
            assert isinstance(other, Happened)
            ours, theirs = step(original, event, at), step(disguised, other.event, other.now)
            sent = [effect for effect in ours.effects if isinstance(effect, SetLimit)]
            assert [effect for effect in theirs.effects if isinstance(effect, SetLimit)] == sent
            limits += len(sent)
            original, disguised = ours.state, theirs.state

    gives_the_same_limits()
    assert limits > 0, "nothing was compared"
