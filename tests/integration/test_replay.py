"""A run of the controller in virtual time is journalled, and replaying the journal gives what the run gave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from patience import PATIENCE_S

from llm_adapters.files.journal import PRESENT, PREVIOUS, Batch, JournalFiles, Snapshot, event_line, masked, read
from llm_adapters.ocpp16.stations import StationServer
from llm_adapters.virtual import clockwork
from llm_adapters.virtual.demo import demo_site
from llm_adapters.virtual.links import End, pair
from llm_adapters.virtual.plant import Plant
from llm_adapters.virtual.shell import Shell
from llm_app.clock import LoopClock
from llm_app.controller import Controller
from llm_app.faults import Failure, WrongInput
from llm_app.journalling import FLUSH_BYTES, Journal
from llm_app.replay import Broken, Compared, Kind, Replayed, instant, lines_of, replay, rerun
from llm_app.virtual_site import badges_of, site_of
from llm_core import (
    SITE,
    Effect,
    Event,
    MeterSampled,
    NotStored,
    Now,
    Record,
    Reply,
    SetLimit,
    State,
    StationClockRead,
    Status,
    StatusChanged,
    Step,
    Stored,
    StoreError,
    Tick,
    recover,
)

SECONDS = 600
REFUSED_COMMITS = (2, 5, 6)
BOUND = 160 * 1024  # one change of files in a run
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def now(seconds: int) -> Now:
    return Now(1_000_000 + seconds * 1_000, NOON + timedelta(seconds=seconds), 3_600)


# A run


class FailingStore:
    """A disk that refuses some of what it is asked to promise, and soon works again."""

    def __init__(self) -> None:
        self._commits = 0

    async def load(self) -> Stored:
        return Stored()

    async def commit(self, records: Iterable[Record]) -> None:
        del records
        self._commits += 1
        if self._commits in REFUSED_COMMITS:
            raise StoreError("no space left")

    async def probe(self) -> None:
        return None

    async def close(self) -> None:
        return None


class Journalled(Controller):
    """A controller that is journalled, and remembers what it did."""

    def __init__(self, state: State, clock: LoopClock, journal: Journal) -> None:
        super().__init__(state, clock, FailingStore())
        self._notebook = journal
        self.done: list[Effect] = []
        self.dropped = 0

    async def _apply(self, event: Event) -> None:
        self._notebook.record(self.state, event, self.now())
        await super()._apply(event)

    async def _not_stored(self, event: Event, outcome: Step, reason: str) -> None:
        self._notebook.undone()
        self.dropped += 1
        await super()._not_stored(event, outcome, reason)

    def _do(self, effect: Effect) -> None:
        self.done.append(effect)
        super()._do(effect)


async def run(folder: Path, bound: int) -> Journalled:
    """A virtual site for a quarter of an hour, in which the disk fails and the clock is set."""
    config = demo_site(4, 3)
    plant = Plant(config, 3)
    clock = LoopClock(datetime.fromtimestamp(config.epoch, UTC))
    stored = Stored(site=site_of(config, fallback_a=16), badges=badges_of(config))
    state, _ = recover(stored, Now(clock.monotonic_ms(), clock.utc()), factory=False)
    journal = Journal(folder, "0.0.1", bound)
    controller = Journalled(state, clock, journal)
    stations = StationServer(controller, clock)
    controller.command_with(stations.perform)
    links: list[asyncio.Task[str]] = []

    async def connect(station_id: str) -> End:
        client, server = pair(seed=f"{station_id}/{len(links)}")
        links.append(asyncio.create_task(stations.attach(server, station_id, "192.0.2.1", f"/ocpp/{station_id}")))
        return client

    async def meter() -> None:
        while True:
            reading = plant.meter.reading()
            if reading is not None:
                l1, l2, l3 = (round(amps * 1000) for amps in reading.current_a)
                print_of = zlib.crc32(repr(reading.energy_import_wh).encode())
                controller.post(MeterSampled(SITE, (l1, l2, l3), clock.monotonic_ms(), print_of))
            await asyncio.sleep(1)

    async def clock_is_set() -> None:
        await asyncio.sleep(SECONDS / 2)
        clock.stepped = timedelta(hours=-3)

    shell = Shell(plant, connect, tick_s=1.0)
    tasks = [asyncio.create_task(part) for part in (controller.run(), shell.run(), meter(), clock_is_set())]
    await asyncio.sleep(SECONDS)
    for task in (*tasks, *links):
        task.cancel()
    await asyncio.gather(*tasks, *links, return_exceptions=True)
    journal.close()
    return controller


@attrs.frozen
class Run:
    """What was journalled, what the controller did and how many steps it dropped, and what a replay tells."""

    folder: Path
    done: list[Effect]
    dropped: int
    told: list[dict[str, Any]]


@pytest.fixture(scope="module")
def journalled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    controller = clockwork.run(run(folder, BOUND))
    return Run(folder, controller.done, controller.dropped, findings(folder))


def both(folder: Path) -> Iterator[Any]:
    for name in (PREVIOUS, PRESENT):
        if (folder / name).exists():
            yield from read(folder / name)


def findings(journal: Path, until: datetime | None = None) -> list[dict[str, Any]]:
    (document,) = lines_of(replay(journal, until), as_json=True)
    told: list[dict[str, Any]] = json.loads(document)["findings"]
    return told


def told_as(kind: Kind, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in told if finding["kind"] == kind]


# Replaying it


def test_replaying_a_run_gives_the_effects_of_the_run(journalled: Run) -> None:
    outcomes = [outcome for _, outcome in rerun(both(journalled.folder))]
    replayed = [outcome for outcome in outcomes if isinstance(outcome, Replayed)]
    effects = [effect for one in replayed if not one.happened.undone for effect in one.outcome.effects]
    assert sum(isinstance(effect, SetLimit) for effect in effects) > 20
    assert without_not_stored(journalled.done) == without_not_stored(effects)
    assert sum(one.happened.undone for one in replayed) == journalled.dropped > 0
    assert not [outcome for outcome in outcomes if isinstance(outcome, Broken)]


def without_not_stored(effects: list[Effect]) -> list[Effect]:
    """All but “not stored”, which the controller says by itself as well: what a step never saved has no effects."""
    return [effect for effect in effects if not (isinstance(effect, Reply) and isinstance(effect.answer, NotStored))]


def test_the_state_that_a_file_leads_to_is_that_at_the_head_of_the_next(journalled: Run) -> None:
    compared = [outcome for _, outcome in rerun(both(journalled.folder)) if isinstance(outcome, Compared)]
    assert [(one.missing, one.differences) for one in compared] == [(0, ())]
    for told in (journalled.told, findings(journalled.folder / PREVIOUS)):
        assert told_as(Kind.SAME, told)
        assert told[-1]["agrees"] is True
    assert findings(journalled.folder / PRESENT)[-1]["agrees"] is None


def test_another_process_with_other_hashes_tells_the_same(journalled: Run) -> None:
    program = "import sys; from pathlib import Path; from llm_app.replay import lines_of, replay\n"
    program += "for line in lines_of(replay(Path(sys.argv[1])), as_json=False): print(line)"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONIOENCODING": "utf-8"}
    other = subprocess.run(
        [sys.executable, "-c", program, journalled.folder], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.splitlines() == list(lines_of(replay(journalled.folder), as_json=False))


def test_every_limit_is_told_with_its_time_its_reason_and_what_binds_it(journalled: Run) -> None:
    sent = [effect for effect in journalled.done if isinstance(effect, SetLimit)]
    told = told_as(Kind.LIMIT, journalled.told)
    assert [(limit["station"], limit["connector"], limit["limit_a"]) for limit in told] == [
        (limit.station_id, limit.connector, limit.limit_ma / 1000) for limit in sent
    ]
    live = [limit for limit in told if limit["purpose"] != "floor"]
    assert all(limit["reason"] for limit in live)
    assert any(limit["limited_by"] for limit in live)
    assert all(datetime.fromisoformat(limit["at"]).tzinfo for limit in told)


def test_a_person_reads_when_who_got_how_much_and_why(journalled: Run) -> None:
    lines = list(lines_of(replay(journalled.folder), as_json=False))
    live = next(line for line in lines if " limit " in line and "transaction" in line)
    at, kind, connector, amps = live.split()[:4]
    assert datetime.fromisoformat(at).tzinfo is not None
    assert (kind, connector.partition("/")[0][:2]) == ("limit", "ST")
    assert float(amps) >= 0
    assert lines[-1].endswith("the outcome is the recorded one")


def test_replaying_stops_at_the_instant_that_was_asked_for(journalled: Run) -> None:
    first = datetime.fromisoformat(journalled.told[0]["at"])
    asked_for = first + timedelta(minutes=2)
    told = findings(journalled.folder, asked_for)
    assert max(datetime.fromisoformat(finding["at"]) for finding in told) <= asked_for
    assert 0 < told[-1]["events"] < journalled.told[-1]["events"]


def test_a_masked_journal_is_replayed_with_the_same_limits(journalled: Run, tmp_path: Path) -> None:
    texts = [(journalled.folder / name).read_text() for name in (PREVIOUS, PRESENT)]
    (tmp_path / PRESENT).write_text("".join(masked("".join(texts).splitlines(keepends=True))))
    told = findings(tmp_path)
    assert wherever(told_as(Kind.LIMIT, told)) == wherever(told_as(Kind.LIMIT, journalled.told))
    assert told[-1]["agrees"] is True


def wherever(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**finding, "journal": "", "line": 0} for finding in told]


# When something is wrong with it


def tampered(journalled: Run, folder: Path) -> Path:
    """The journal of the run, one of whose readings of the meter was changed afterwards."""
    path = folder / PREVIOUS
    lines = (journalled.folder / PREVIOUS).read_text().splitlines(keepends=True)
    index = max(index for index, line in enumerate(lines) if '"MeterSampled"' in line)
    entry = json.loads(lines[index])
    entry["event"]["current_ma"] = [63_000, 63_000, 63_000]
    path.write_text("".join([*lines[:index], json.dumps(entry) + "\n", *lines[index + 1 :]]))
    (folder / PRESENT).write_text((journalled.folder / PRESENT).read_text())
    return path


def test_another_outcome_than_the_recorded_one_is_named_and_fails(journalled: Run, tmp_path: Path) -> None:
    told = list(replay(tampered(journalled, tmp_path)))
    (different,) = [finding for finding in told if finding.kind is Kind.DIFFERENT]
    assert "state.meters" in different.text
    assert told[-1].facts["agrees"] is False
    with pytest.raises(Failure):
        list(lines_of(told, as_json=True))


def recorded(folder: Path, *events: Event, state: State | None = None) -> Path:
    journal = Journal(folder, "0.0.1")
    for index, event in enumerate(events):
        journal.record(state or State(), event, now(index))
    journal.close()
    return folder / PRESENT


def test_a_torn_last_line_is_said_and_left_out(tmp_path: Path) -> None:
    path = recorded(tmp_path, Tick(), Tick())
    path.write_bytes(path.read_bytes()[:-9])
    assert [finding["kind"] for finding in findings(path)] == ["started", "torn", "end"]
    assert findings(path)[-1]["events"] == 1


@pytest.mark.parametrize(
    ("content", "line"), [(b"", 1), (b"\x89PNG\r\n\x1a\n", 1), (b'{"a":1}\n', 1), (b"J" + b"oops\n", 3)]
)
def test_what_is_no_journal_is_refused_in_one_line(content: bytes, line: int, tmp_path: Path) -> None:
    path = recorded(tmp_path, Tick())
    path.write_bytes(content.replace(b"J", path.read_bytes(), 1))
    with pytest.raises(WrongInput, match=rf"line {line}: ") as refusal:
        list(replay(path))
    assert len(str(refusal.value).splitlines()) == 1


def test_a_journal_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "nowhere.jsonl"):
        with pytest.raises(WrongInput) as refusal:
            list(replay(missing))
        assert len(str(refusal.value).splitlines()) == 1


def test_what_is_no_instant_is_refused() -> None:
    assert instant("2026-03-14T12:00") == NOON
    assert instant("2026-03-14T13:00+01:00") == NOON
    with pytest.raises(WrongInput):
        instant("yesterday")


def test_an_event_that_breaks_the_core_is_told(tmp_path: Path) -> None:
    nobody_says_so: Any = None  # such as a fault in the core would meet
    start = Snapshot("0.0.1", "r", 0, now(0), State())
    line = event_line(StationClockRead("A", 5), Now(1, NOON.replace(tzinfo=nobody_says_so)))
    JournalFiles(tmp_path).append(Batch(start, (event_line(Tick(), now(0)), line), 2))
    told = told_as(Kind.FAILED, findings(tmp_path))
    assert [(finding["event"], finding["line"]) for finding in told] == [("StationClockRead", 3)]


# Recording


@contextmanager
def files_no_longer_than(most_bytes: int) -> Iterator[None]:
    """A disk that is full: a write beyond stops in the middle, as the system's own limit on files does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def a_minute(journal: Journal, minute: int) -> None:
    """Events for a bit more than a minute, so that the next minute hands them over."""
    for second in range(61):
        journal.record(State(), StatusChanged("A", 1, Status.AVAILABLE), now(61 * minute + second))


def test_a_full_disk_stops_the_journal_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, "0.0.1")
    with files_no_longer_than(1_000):
        for minute in range(4):
            a_minute(journal, minute)
        journal.close()
    assert len(caplog.messages) == 1


def test_when_the_disk_has_room_again_the_journal_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="llm.journal")
    journal = Journal(tmp_path, "0.0.1")
    with files_no_longer_than(1_000):
        a_minute(journal, 0)
        a_minute(journal, 1)
        until(lambda: len(caplog.messages) == 1)
    a_minute(journal, 2)
    a_minute(journal, 3)
    journal.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    told = findings(tmp_path)
    assert told_as(Kind.MISSING, told)
    assert told[-1]["events"] > 2 * 60


def until(holds: Callable[[], bool]) -> None:
    """Wait for the thread that writes."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_gathers_reaches_the_disk_within_a_minute_or_64_kib(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "0.0.1")
    path = tmp_path / PRESENT
    for second in range(60):
        journal.record(State(), Tick(), now(second))
    assert not path.exists()
    journal.record(State(), Tick(), now(60))
    until(path.exists)
    flood = FLUSH_BYTES // len(event_line(Tick(), now(61))) + 3
    for _ in range(flood):
        journal.record(State(), Tick(), now(61))
    until(lambda: path.stat().st_size > FLUSH_BYTES)
    journal.close()
    assert findings(path)[-1]["events"] == 61 + flood


def test_a_value_that_cannot_be_written_leaves_a_gap_and_never_reaches_the_control_loop(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "0.0.1")
    strange: Any = float("nan")
    told_to_it: tuple[Event, ...] = (Tick(), StationClockRead("A", strange), Tick())
    for index, event in enumerate(told_to_it):
        journal.record(State(), event, now(index))
        if index == 1:
            journal.undone()
    journal.close()
    told = findings(tmp_path)
    assert [finding["kind"] for finding in told] == ["started", "missing", "end"]
    assert (told[1]["events"], told[2]["events"]) == (1, 2)


def test_recording_costs_the_control_loop_at_most_50_us_an_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "0.0.1")
    event = MeterSampled(SITE, (12_000, 13_000, 14_000), 1_000_000, 3_735_928_559, power_w=8_970)
    costs = []
    for _ in range(20):
        before = time.perf_counter()
        for _ in range(200):
            journal.record(State(), event, now(0))
        costs.append((time.perf_counter() - before) / 200 * 1e6)
    journal.close()
    assert min(costs) <= 50  # the least disturbed of them: other work on the machine is none of the journal's
