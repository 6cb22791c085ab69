"""What was acknowledged is on the disk; what was not is nowhere. On real files, with real faults."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_adapters.sqlite import Database, SqliteStore, snapshot_daily
from llm_adapters.sqlite.disk import connect, migrate
from llm_adapters.sqlite.schema import MIGRATIONS
from llm_adapters.sqlite.serialise import UnreadableError, from_json, to_json
from llm_core import (
    AuditEntry,
    Badge,
    BadgeRecord,
    BadgeType,
    Ceiling,
    Cluster,
    CurrentTransformer,
    MeterSetup,
    Mode,
    PerPhase,
    RefusedStart,
    Session,
    Sharing,
    Site,
    Station,
    StoreError,
    Supply,
    Verdict,
    close_session,
    open_session,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


BLOCKED = Verdict.BLOCKED


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
            await store.commit([Ceiling("ST1", 1, 16_000), Ceiling("ST1", 2, 0)])
        execute(tmp_path, f"UPDATE ceilings SET limit_ma = {damage} WHERE connector = 1")
        async with opened(tmp_path) as store:
            stored = await store.load()
        assert stored.ceilings == {("ST1", 2): 0}
        assert stored.doubtful == {("ST1", 1)}

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


def execute(directory: Path, statement: str) -> None:
    """Change the file behind the store's back."""
    with sqlite3.connect(directory / "llm.db") as connection:
        connection.execute(statement)
    connection.close()
