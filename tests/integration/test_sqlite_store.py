"""What was acknowledged is on the disk; what was not is nowhere. On real files, with real faults."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.sqlite import Database, SqliteAccounts, SqliteStore, limit_records
from llm_adapters.sqlite.database import snapshot_if_due
from llm_adapters.sqlite.disk import connect, migrate
from llm_adapters.sqlite.schema import MIGRATIONS
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_core import (
    AccessRule,
    AuditEntry,
    Badge,
    BadgeRecord,
    BadgeType,
    Ceiling,
    Cluster,
    CurrentTransformer,
    Ended,
    ExternalLimit,
    Lapse,
    LimitRecord,
    MeterSetup,
    Mode,
    PerPhase,
    Phase,
    RefusedStart,
    Session,
    Sharing,
    Site,
    Station,
    Stored,
    StoreError,
    Strategy,
    Supply,
    Verdict,
    WrongPassword,
    close_session,
    open_session,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLOCKED = Verdict.BLOCKED


class SteadyClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def monotonic_ms(self) -> int:
        return int((self.now - NOON).total_seconds() * 1000)

    def utc(self) -> datetime:
        return self.now


@asynccontextmanager
async def opened(directory: Path, *, repair: bool = True) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(await Database.open(directory, SteadyClock(), repair=repair))
    try:
        yield store
    finally:
        await store.close()


def begun(transaction_id: int, at: datetime = NOON) -> Session:
    return open_session(transaction_id, "ST1", 1, "a1b2c3", at, 1_000)


def ended(transaction_id: int, at: datetime = NOON) -> Session:
    return close_session(begun(transaction_id, at), at + timedelta(hours=1), 9_000, "EVDisconnected")


SITE = Site(
    supply=Supply(Mode.DYNAMIC, fuse_ma=PerPhase(63_000, 50_000, 50_000), derated_ma=PerPhase.same(40_000)),
    clusters=(Cluster("default", "Cluster #1"), Cluster("c2", "Garage", "default", PerPhase.same(32_000))),
    stations=(Station("ST1", "Éen", badges=frozenset({"b", "a"}), feed_ma=32_000),),
    meters=(MeterSetup("site", "eastron_sdm630", "127.0.0.1", ct=CurrentTransformer(200, 5, "manager")),),
)


def test_everything_committed_is_loaded_again(tmp_path: Path) -> None:
    badge = Badge("A1:B2", BadgeType.SUPER, expires_on=date(2030, 1, 31), stations=frozenset({"ST1"}))

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([SITE, BadgeRecord("a1b2", badge), Ceiling("ST1", 1, 16_000), begun(7), ended(6)])
            await store.commit([AuditEntry(NOON + timedelta(days=1), "admin", "supply", "63 A", "50 A")])
        async with opened(tmp_path) as store:
            stored = await store.load()
            changes = [entry async for entry in store.audit(10)]
        assert stored.site == SITE
        assert stored.badges == (badge,)
        assert stored.ceilings == {("ST1", 1): 16_000}
        assert stored.open_sessions == (begun(7),)
        assert stored.recent_sessions == (ended(6),)
        assert stored.last_transaction_id == 7
        assert stored.latest_utc == NOON + timedelta(days=1)
        assert changes == [AuditEntry(NOON + timedelta(days=1), "admin", "supply", "63 A", "50 A")]

    asyncio.run(scenario())


def test_a_new_database_knows_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "new" / "directory") as store:
            stored = await store.load()
        assert (stored.site, stored.last_transaction_id, stored.latest_utc) == (None, 0, None)

    asyncio.run(scenario())


def test_a_record_replaces_the_one_before_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([begun(1), Ceiling("ST1", 1, 16_000), BadgeRecord("a", Badge("a")), SITE])
            await store.commit([ended(1), Ceiling("ST1", 1, 6_000), BadgeRecord("a", None), Site()])
            stored = await store.load()
        assert stored.open_sessions == ()
        assert stored.recent_sessions == (ended(1),)
        assert stored.ceilings == {("ST1", 1): 6_000}
        assert stored.badges == ()
        assert stored.site == Site()

    asyncio.run(scenario())


def test_the_newest_thousand_ended_sessions_are_recent_and_the_newest_is_last(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ended(number) for number in range(1, 1_203)])
            recent = (await store.load()).recent_sessions
        assert [session.transaction_id for session in recent] == list(range(203, 1_203))

    asyncio.run(scenario())


def test_a_transaction_id_is_remembered_when_its_session_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ended(41)])
        execute(tmp_path, "DELETE FROM sessions")
        async with opened(tmp_path) as store:
            await store.commit([ended(5)])
            assert (await store.load()).last_transaction_id == 41

    asyncio.run(scenario())


@pytest.mark.parametrize("transaction_id", [0, -1, 2**70])
def test_one_bad_record_takes_its_whole_commit_with_it(tmp_path: Path, transaction_id: int) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            with pytest.raises(StoreError):
                await store.commit([begun(3), begun(transaction_id)])
            assert (await store.load()).open_sessions == ()
            await store.commit([begun(4)])
            assert (await store.load()).open_sessions == (begun(4),)

    asyncio.run(scenario())


def test_a_tag_that_utf8_cannot_carry_is_stored_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([attrs.evolve(begun(1), id_tag="x\ud800\0"), RefusedStart(NOON, "S", "\udfff", BLOCKED)])
            assert (await store.load()).open_sessions[0].id_tag == "x\\ud800\0"
            assert await store.refused_starts(5) == (RefusedStart(NOON, "S", "\\udfff", BLOCKED),)

    asyncio.run(scenario())


def test_of_each_limit_the_newest_record_is_loaded_and_all_are_evidence(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    first = LimitRecord(ExternalLimit("1", limit_w=4_200, starts_at=NOON + 90 * hour, reason="§14a"), "grid", NOON)
    over = attrs.evolve(first, began_at=NOON, drawn_ma=PerPhase(1, 2, 3), ended_at=NOON + hour, ended=Ended.REPLACED)
    second = LimitRecord(ExternalLimit("1", limit_ma=PerPhase.same(20_000), keep_alive_s=60), "grid", NOON + hour)
    other = LimitRecord(ExternalLimit("2", limit_w=0, then=Lapse.LIFT), "x", NOON + hour / 2)

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([first, other])
            await store.commit([over, second])
            stored = await store.load()
            assert stored.limits == (other, second)
            assert stored.latest_utc == NOON + hour  # when it was set, never when it is to begin
            assert await store.limit_records(2) == (second, other)
            assert await store.limit_records(9) == (second, other, over)

    asyncio.run(scenario())


def test_ended_limits_are_bounded_and_those_that_hold_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_records, "ENDED_KEPT", 3)
    holding = LimitRecord(ExternalLimit("1", limit_w=4_200), "grid", NOON)
    ended = [
        LimitRecord(ExternalLimit(str(i), limit_w=0), "grid", NOON + timedelta(hours=i), ended=Ended.OVER)
        for i in range(2, 8)
    ]

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([holding, *ended])
            assert (await store.load()).limits == (holding, *ended[-3:])

    asyncio.run(scenario())


def test_a_limit_that_cannot_be_read_is_the_worst_it_may_have_been_until_it_is_taken_back(tmp_path: Path) -> None:
    holding = LimitRecord(ExternalLimit("7", limit_w=4_200), "grid", NOON)
    over = LimitRecord(ExternalLimit("8", limit_w=4_200), "grid", NOON, ended=Ended.OVER)

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([holding, over])
            await store._database.write(lambda c: c.execute("UPDATE external_limits SET document = '{}'"))
            (worst,) = (await store.load()).limits
            assert (worst.limit.id, worst.limit.node, worst.limit.limit_w) == ("7", "site", 0)
            assert await store.limit_records(9) == ()

    asyncio.run(scenario())


def test_refused_starts_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([RefusedStart(NOON, "ST1", str(number), BLOCKED) for number in range(1_100)])
            kept = await store.refused_starts(5_000)
        assert [refused.id_tag for refused in kept] == [str(number) for number in range(1_099, 99, -1)]

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["NULL", "-1", "'16000'", "16000.5", "limit_ma + 1", "x'00'"])
def test_a_ceiling_that_was_changed_on_the_disk_is_doubtful(tmp_path: Path, damage: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([Ceiling("ST1", 1, 16_000), Ceiling("ST1", 2, 0), Ceiling("ST1", 3, 16_000, 6_000)])
        execute(tmp_path, f"UPDATE ceilings SET limit_ma = {damage} WHERE connector = 1")
        async with opened(tmp_path) as store:
            stored = await store.load()
        assert (stored.ceilings, stored.left_alone) == ({("ST1", 2): 0, ("ST1", 3): 16_000}, {("ST1", 3): 6_000})
        assert stored.doubtful == {("ST1", 1)}
        execute(tmp_path, "UPDATE ceilings SET left_ma = 0 WHERE connector = 3")
        async with opened(tmp_path) as store:
            assert (await store.load()).doubtful == {("ST1", 1), ("ST1", 3)}

    asyncio.run(scenario())


def test_the_archive_gives_every_session_of_the_days_once_and_in_order(tmp_path: Path) -> None:
    """More than two batches, with many that start in the same instant."""
    sessions = [ended(number, NOON + timedelta(minutes=number // 7)) for number in range(1, 1_800)]

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([*reversed(sessions), begun(5_000, NOON + timedelta(minutes=3))])
            start, end = NOON + timedelta(minutes=3), NOON + timedelta(minutes=200)
            given_out = [session async for session in store.sessions(start, end)]
        expected = [session for session in sessions if start <= session.started_at < end]
        assert [s for s in given_out if not s.is_open] == expected
        assert [s.transaction_id for s in given_out if s.is_open] == [5_000]
        assert given_out == sorted(given_out, key=lambda s: (s.started_at, s.transaction_id))

    asyncio.run(scenario())


def test_commits_go_on_while_somebody_reads_the_archive(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([ended(number) for number in range(1, 1_500)])
            seen = 0
            async for session in store.sessions(NOON, NOON + timedelta(days=1)):
                if seen % 400 == 0:
                    await store.commit([Ceiling("ST1", 1, seen)])
                seen += session.energy_wh == 8_000
            assert seen == 1_499

    asyncio.run(scenario())


def test_a_closed_store_refuses_instead_of_losing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.close()
            with pytest.raises(StoreError):
                await store.commit([begun(1)])

    asyncio.run(scenario())


# The disk fails


def test_a_full_database_takes_nothing_and_shows_nothing_until_there_is_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = await Database.open(tmp_path, SteadyClock())
        store = SqliteStore(database)
        await store.commit([begun(1)])
        await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
        with pytest.raises(StoreError, match="full"):
            await store.commit([begun(2), *(RefusedStart(NOON, "ST1", "x" * 500, BLOCKED) for _ in range(200))])
        with pytest.raises(StoreError, match="full"):
            await store.probe()
        assert (await store.load()).open_sessions == (begun(1),)
        await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
        await store.probe()
        await store.commit([begun(3)])
        assert (await store.load()).open_sessions == (begun(1), begun(3))
        await store.close()

    asyncio.run(scenario())


def run_child(code: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own, `before` being the command that starts it."""
    command = [*before, sys.executable, "-c", CHILD_HEAD + code, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


CHILD_HEAD = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from integration.test_sqlite_store import *
"""

FULL_DISK = """
async def scenario(directory):
    async with opened(directory / "data"):
        pass  # what the tables took of the log is given back, else there would be room in it
    async with opened(directory / "data") as store:
        await store.commit([begun(1)])
        filler = (directory / "filler").open("wb", buffering=0)
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            print("the disk is full")
        records = [RefusedStart(NOON, "ST1", "x" * 500, BLOCKED) for _ in range(200)]
        for attempt in (store.commit([begun(2), *records]), store.probe(), store._database.snapshot()):
            try:
                await attempt
            except StoreError:
                print("refused")
        filler.close()
        (directory / "filler").unlink()
        await store.probe()
        await store.commit([begun(3)])
    async with opened(directory / "data") as store:
        print([session.transaction_id for session in (await store.load()).open_sessions])
        print(sorted(path.name for path in (directory / "data").iterdir() if "partial" in path.name))
asyncio.run(scenario(Path(sys.argv[1])))
"""


def test_a_full_disk_takes_nothing_and_the_store_heals_by_itself(tmp_path: Path) -> None:
    mounted = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode:
        pytest.skip("this machine allows no private mounts")
    child = run_child(FULL_DISK, tmp_path, before=mounted)
    assert child.stdout.splitlines() == ["the disk is full", "refused", "refused", "refused", "[1, 3]", "[]"], child


FAILING_SYNC = """
async def scenario(directory):
    async with opened(directory) as store:
        for number in range(1, 40):
            try:
                await store.commit([begun(number)])
                print("acknowledged", number)
            except StoreError:
                print("failed", number)
                while True:
                    if number in {session.transaction_id for session in (await store.load()).open_sessions}:
                        print("visible", number)
                    try:
                        await store.probe()
                        break
                    except StoreError:
                        pass
asyncio.run(scenario(Path(sys.argv[1])))
"""


def test_what_an_fsync_error_took_is_not_visible_and_what_was_acknowledged_is(tmp_path: Path) -> None:
    injected = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync")
    injected += ("-e", "inject=fsync,fdatasync:error=EIO:when=20..24")
    if shutil.which("strace") is None or subprocess.run([*injected, "true"], check=False).returncode:
        pytest.skip("this machine has no strace that may trace")
    child = run_child(FAILING_SYNC, tmp_path / "data", before=injected)
    told = [line.split() for line in child.stdout.splitlines()]
    acknowledged = [int(number) for word, number in told if word == "acknowledged"]
    assert {word for word, _ in told} == {"acknowledged", "failed"}, child
    assert asyncio.run(open_ids(tmp_path / "data")) == acknowledged


async def open_ids(directory: Path) -> list[int]:
    async with opened(directory) as store:
        return [session.transaction_id for session in (await store.load()).open_sessions]


# The process dies


def test_twenty_kills_lose_no_acknowledged_commit_and_halve_none(tmp_path: Path) -> None:
    child = run_child("kill_again_and_again(Path(sys.argv[1]))", tmp_path)
    assert child.returncode == 0, child.stderr
    lost, halved, last = child.stdout.split()
    assert (lost, halved) == ("0", "0")
    assert int(last) > 200


def kill_again_and_again(directory: Path) -> None:
    """Twenty writers, each killed in full flight; prints commits acknowledged and lost, and commits found in part.

    It forks, so it needs a process without threads: that of `run_child`.
    """
    lost = halved = last = 0
    for kill in range(int(os.environ.get("KILLS", "20"))):
        reading, writing = os.pipe()
        writer = os.fork()
        if writer == 0:
            asyncio.run(commit_for_ever(directory, last, writing))
        os.close(writing)
        with os.fdopen(reading) as told:
            acknowledged = [int(told.readline()) for _ in range(1 + 7 * kill % 23)]
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            acknowledged += [int(line) for line in told]
        found = asyncio.run(reopened(directory))
        ids = {session.transaction_id for session in found.open_sessions}
        lost += len(set(acknowledged) - ids)
        last = max(ids)
        halved += found.ceilings != {("ST1", 1): last}
    print(lost, halved, last)


async def commit_for_ever(directory: Path, number: int, told: int) -> None:
    async with opened(directory) as store:
        while True:
            number += 1
            await store.commit([begun(number), Ceiling("ST1", 1, number)])
            os.write(told, f"{number}\n".encode())  # so short that a pipe takes it whole


async def reopened(directory: Path) -> Stored:
    async with opened(directory) as store:
        return await store.load()


COMMITS_BESIDE = """
async def scenario(directory, first):
    async with opened(directory, repair=False) as store:
        for number in range(first, first + 60):
            await store.commit([begun(number)])
asyncio.run(scenario(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_two_processes_create_and_write_one_database_at_once(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", CHILD_HEAD + COMMITS_BESIDE, str(tmp_path), first] for first in ("1", "1001")]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    assert [child.communicate(timeout=60)[1] for child in children] == ["", ""]
    assert asyncio.run(open_ids(tmp_path)) == [*range(1, 61), *range(1001, 1061)]


# The file is damaged


async def lived_in(directory: Path, *, snapshot: bool) -> None:
    """A database with a past: a snapshot of yesterday, and a session that began since."""
    async with opened(directory) as store:
        await store.commit([SITE, begun(41), Ceiling("ST1", 1, 16_000), BadgeRecord("a", Badge("a"))])
        if snapshot:
            await store._database.snapshot()
        await store.commit([begun(42)])


def damage(directory: Path) -> None:
    """Every page but the first, half overwritten."""
    path = directory / "llm.db"
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 2048] = b"\xa5" * 2048
    path.write_bytes(data)


def test_a_damaged_database_is_set_aside_and_the_snapshot_takes_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=True)
        damage(tmp_path)
        database = await Database.open(tmp_path, SteadyClock())
        recovery, store = database.recovery, SqliteStore(database)
        stored = await store.load()
        assert recovery is not None
        assert recovery.set_aside == tmp_path / "llm.db.corrupt-20260301T120000Z"
        assert b"\xa5" * 2048 in recovery.set_aside.read_bytes()
        assert recovery.restored == tmp_path / "llm.db.daily-20260301T120000Z"
        assert stored.site == SITE
        assert stored.badges == (Badge("a"),)
        assert stored.open_sessions == (begun(41),)
        assert stored.ceilings == {}
        assert stored.doubtful == {("ST1", 1)}
        assert stored.last_transaction_id > 100_000
        (entry,) = [entry async for entry in store.audit(5)]
        assert "damaged" in entry.what
        assert recovery.restored.name == entry.new
        assert not await SqliteAccounts(database).is_factory()
        await store.commit([begun(stored.last_transaction_id + 1)])
        await store.close()
        assert (await Database.open(tmp_path, SteadyClock())).recovery is None

    asyncio.run(scenario())


def test_without_a_snapshot_a_damaged_database_starts_empty_and_not_in_the_factory_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=False)
        damage(tmp_path)
        database = await Database.open(tmp_path, SteadyClock())
        assert database.recovery is not None
        assert database.recovery.restored is None
        stored = await SqliteStore(database).load()
        assert stored.site is None
        assert stored.last_transaction_id > 42
        accounts = SqliteAccounts(database)
        assert not await accounts.is_factory()
        assert await accounts.sign_in("admin", "1234", "127.0.0.1") == WrongPassword()
        await database.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("loss", ["missing", "empty"])
def test_a_database_that_vanished_is_no_new_one_while_its_snapshots_are_there(tmp_path: Path, loss: str) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=True)
        if loss == "missing":
            (tmp_path / "llm.db").unlink()
        else:
            (tmp_path / "llm.db").write_bytes(b"")
        assert (await reopened(tmp_path)).site == SITE

    asyncio.run(scenario())


def test_a_damaged_snapshot_is_passed_over_for_the_older_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=True)
        (tmp_path / "llm.db.daily-20260301T120000Z").rename(tmp_path / "llm.db.daily-20260228T120000Z")
        (tmp_path / "llm.db.daily-20260301T120000Z").write_bytes(b"SQLite format 3\0" + b"\xa5" * 5000)
        damage(tmp_path)
        assert (await reopened(tmp_path)).site == SITE

    asyncio.run(scenario())


def test_a_recovery_that_was_cut_off_is_finished_by_the_next_start(tmp_path: Path) -> None:
    """The power went after the damaged file was moved aside and before the prepared one was in its place."""

    async def scenario() -> None:
        await lived_in(tmp_path / "data", snapshot=True)
        damage(tmp_path / "data")
        await reopened(tmp_path / "data")
        (tmp_path / "data" / "llm.db").rename(tmp_path / "data" / "llm.db.prepared")
        (tmp_path / "data" / "llm.db-wal").write_bytes(b"of the damaged one")
        (tmp_path / "data" / "llm.db.prepared.partial").write_bytes(b"of a start before")
        stored = await reopened(tmp_path / "data")
        assert stored.site == SITE
        assert stored.doubtful == {("ST1", 1)}

    asyncio.run(scenario())


def test_a_command_never_takes_the_file_away_from_a_running_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=True)
        damage(tmp_path)
        with pytest.raises(StoreError):
            async with opened(tmp_path, repair=False) as store:
                await store.load()

    asyncio.run(scenario())
    assert not list(tmp_path.glob("*corrupt*"))


def test_one_flipped_bit_never_stops_the_start_and_never_changes_a_limit(tmp_path: Path) -> None:
    """Bits of the header and of everywhere; what is not noticed must not matter."""

    async def scenario() -> None:
        await lived_in(tmp_path / "good", snapshot=True)
        good = (tmp_path / "good" / "llm.db").read_bytes()
        chance = random.Random(5)
        places = [*range(0, 100, 3), *(chance.randrange(len(good)) for _ in range(int(os.environ.get("FLIPS", "40"))))]
        for place in places:
            data = tmp_path / f"flipped-{place}"
            shutil.copytree(tmp_path / "good", data)
            flipped = bytearray(good)
            flipped[place] ^= 1 << chance.randrange(8)
            (data / "llm.db").write_bytes(flipped)
            stored = await reopened(data)
            assert stored.site == SITE, place
            assert stored.ceilings.get(("ST1", 1), 16_000) == 16_000, place
            assert stored.last_transaction_id >= 42, place
            shutil.rmtree(data)

    asyncio.run(scenario())


def test_a_configuration_that_was_changed_behind_our_back_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        await lived_in(tmp_path, snapshot=True)
        execute(tmp_path, "UPDATE site SET document = replace(document, '63000', '93000')")
        database = await Database.open(tmp_path, SteadyClock())
        assert database.recovery is not None
        assert "check sum" in database.recovery.reason
        assert (await SqliteStore(database).load()).site == SITE
        await database.close()

    asyncio.run(scenario())


# Snapshots and migrations


def test_there_is_a_snapshot_a_day_and_the_last_two_are_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = SteadyClock()
        database = await Database.open(tmp_path, clock)
        await SqliteStore(database).commit([begun(1)])
        taken = []
        for hours in (0, 1, 23, 24, 30, 72):
            clock.now = NOON + timedelta(hours=hours)
            taken.append(await snapshot_if_due(database) is not None)
        assert taken == [True, False, False, True, False, True]
        await database.close()

    asyncio.run(scenario())
    kept = sorted(path.name for path in tmp_path.glob("llm.db.*"))
    assert kept == ["llm.db.daily-20260302T120000Z", "llm.db.daily-20260304T120000Z"]
    copy = sqlite3.connect(tmp_path / kept[1])
    assert copy.execute("SELECT transaction_id FROM sessions").fetchall() == [(1,)]
    copy.close()


def test_nobody_else_on_the_machine_can_read_the_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await store.commit([begun(1)])
            await store._database.snapshot()
            assert set(modes_in(tmp_path).values()) == {0o600}, modes_in(tmp_path)

    asyncio.run(scenario())


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


def migrated(directory: Path, *more: tuple[str, ...]) -> Path | None:
    connection = connect(directory / "llm.db")
    try:
        return migrate(connection, directory / "llm.db", (*MIGRATIONS, *more))
    finally:
        connection.close()


def test_a_migration_leaves_a_snapshot_of_what_was(tmp_path: Path) -> None:
    asyncio.run(lived_in(tmp_path, snapshot=False))
    before = migrated(tmp_path, ("DROP TABLE badges",), ("CREATE TABLE hats (size)", "INSERT INTO hats VALUES (58)"))
    assert before == tmp_path / f"llm.db.before-v{len(MIGRATIONS) + 2}"
    copy, now = sqlite3.connect(before), sqlite3.connect(tmp_path / "llm.db")
    assert copy.execute("SELECT key FROM badges").fetchall() == [("a",)]
    assert copy.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert now.execute("SELECT size FROM hats").fetchall() == [(58,)]
    assert now.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 2,)
    copy.close()
    now.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    asyncio.run(lived_in(tmp_path, snapshot=False))
    with pytest.raises(sqlite3.OperationalError):
        migrated(tmp_path, ("DROP TABLE badges", "DROP TABLE what_is_not_there"))
    assert asyncio.run(reopened(tmp_path)).badges == (Badge("a"),)


def test_the_data_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    asyncio.run(lived_in(tmp_path, snapshot=False))
    migrated(tmp_path, ("CREATE TABLE hats (size)",))
    with pytest.raises(StoreError, match="newer release"):
        asyncio.run(reopened(tmp_path))
    assert not list(tmp_path.glob("*corrupt*"))


# Configurations as documents

amps = st.integers(0, 6_300_000)
words = st.text(max_size=12)
per_phase = st.builds(PerPhase, amps, amps, amps)
stations = st.builds(
    Station,
    id=words,
    name=words,
    cluster=st.none() | words,
    phase_rotation=st.permutations(list(Phase)).map(tuple) | st.sampled_from(Phase).map(lambda phase: (phase,)),
    max_ma=amps,
    fallback_ma=st.none() | amps,
    feed_ma=st.none() | amps,
    out_of_service=st.booleans(),
    badges=st.none() | st.frozensets(words, max_size=3),
)
meters = st.builds(
    MeterSetup,
    node=words,
    model=words,
    host=words,
    ct=st.none() | st.builds(CurrentTransformer, amps, st.sampled_from([1, 5]), st.sampled_from(["meter", "manager"])),
    invert=st.booleans(),
)
sites = st.builds(
    Site,
    supply=st.builds(
        Supply, st.sampled_from(Mode), st.sampled_from([1, 3]), *(per_phase,) * 4, st.none() | st.integers(30, 300)
    ),
    clusters=st.lists(st.builds(Cluster, words, words, st.none() | words, st.none() | per_phase), max_size=3).map(
        tuple
    ),
    stations=st.lists(stations, max_size=3).map(tuple),
    meters=st.lists(meters, max_size=2).map(tuple),
    sharing=st.builds(Sharing, st.sampled_from(Strategy), st.booleans(), st.integers(1, 99), st.none() | amps),
    access=st.sampled_from(AccessRule),
)


@given(sites)
def test_every_configuration_reads_back_as_it_was(site: Site) -> None:
    assert from_json(to_json(site), Site) == site


@given(st.dates(), st.sampled_from(BadgeType), words)
def test_every_badge_reads_back_as_it_was(day: date, kind: BadgeType, text: str) -> None:
    badge = Badge(text, kind, comment=text, expires_on=day, stations=frozenset({text}))
    assert from_json(to_json(badge), Badge) == badge


GOOD = json.dumps(json.loads(to_json(SITE)))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("63000", "63000.7"),
        ("63000", "true"),
        ("63000", '"63000"'),
        ("63000", "null"),
        ('"invert": false', '"invert": 0'),
        ('"invert": false', '"invert": "false"'),
        ('"invert": false', '"inverted": false'),
        ('"node": "site", ', ""),
        ('"L1"', '"L4"'),
        ('["a", "b"]', '"ab"'),
        ('"Garage"', "5"),
        ('"dynamic"', '"Dynamic"'),
        ("{", "["),
        (GOOD, "null"),
        (GOOD, "[" * 100_000),
    ],
)
def test_a_document_that_is_not_exactly_right_is_refused(good: str, bad: str) -> None:
    assert good in GOOD
    with pytest.raises(UnreadableError):
        from_json(GOOD.replace(good, bad, 1), Site)


def execute(directory: Path, statement: str) -> None:
    """Change the file behind the store's back."""
    with sqlite3.connect(directory / "llm.db") as connection:
        connection.execute(statement)
    connection.close()
